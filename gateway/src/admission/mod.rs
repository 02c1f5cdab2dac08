//! Which orders are let in when more come than can be carried out in time.
//!
//! | what | where |
//! | --- | --- |
//! | how long accepts wait for their commit | [`waits`] |
//! | how long what was said waits to be heard, edge by edge | [`edges`], asked for by [`pulse`] |
//! | how many are on their way | [`backlog`] |
//! | how many come to their end | [`served`], from the same answers |
//! | how many are let in | [`pressure`] |
//! | whose orders those are | [`shares`], by the [`customer`] in the message |
//! | what the others are answered | [`refusals`] |
//!
//! Absent here: the due rows of anybody. An outage of the provider refuses nobody.

mod backlog;
mod customer;
mod edges;
mod pressure;
pub mod pulse;
mod refusals;
mod served;
mod shares;
#[cfg(test)]
mod simulated;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use http::Extensions;
use spillway_shared::grpc::{CallError, Gate, LetIn, Refusal, Unread};

use backlog::Room;
use customer::PLACE_ORDER;
use refusals::Refusals;
use shares::Shares;
pub use waits::Waiting;
use waits::Waits;

/// What an order placed now would wait for the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// The gateway's own commit.
    #[default]
    CommitWait,
    /// That the services hear what was said.
    Unheard,
}

impl Signal {
    const ALL: [Signal; 2] = [Signal::CommitWait, Signal::Unheard];

    fn name(self) -> &'static str {
        match self {
            Signal::CommitWait => "commit_wait",
            Signal::Unheard => "unheard",
        }
    }
}

/// Decides, call by call. One per gateway.
#[derive(Debug)]
pub struct Admission {
    shop: Arc<str>,
    waits: Arc<Waits>,
    shares: Shares,
    refusals: Refusals,
    /// The share that is let in, in millionths.
    share: AtomicU32,
    is_unheard: AtomicBool,
    /// Orders judged since the last look, and those of them that were let in.
    came: AtomicU64,
    let_in: AtomicU64,
    /// No more are let in before the next look; and of those who place less than their share.
    most: AtomicU64,
    most_spared: AtomicU64,
    /// Orders refused since the last look, by [`Signal`].
    refused: [AtomicU64; 2],
}

const WHOLE: u32 = 1_000_000;

impl Admission {
    pub fn new(shop: Arc<str>) -> Admission {
        Admission {
            shop,
            waits: Arc::new(Waits::new(Instant::now())),
            shares: Shares::default(),
            refusals: Refusals::new(),
            share: AtomicU32::new(WHOLE),
            is_unheard: AtomicBool::new(false),
            came: AtomicU64::new(0),
            let_in: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            most_spared: AtomicU64::new(u64::MAX),
            refused: Default::default(),
        }
    }

    /// For an order that waits for its commit, until it is dropped.
    pub fn wait(&self) -> Arc<Waiting> {
        Arc::new(self.waits.enter(Instant::now()))
    }

    /// Judges a call that the gate could not read, since it was compressed; lets in what the gate has let in.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, with the reason OVERLOADED and the signal.
    pub fn admit(&self, extensions: &Extensions, customer_id: &str) -> Result<(), CallError> {
        if extensions.get::<LetIn>().is_some() || self.lets_in(customer_id.as_bytes()) {
            return Ok(());
        }
        Err(self.refusals.error(self.signal(), self.share()))
    }

    fn lets_in(&self, customer: &[u8]) -> bool {
        let (chance, place) = self.shares.count(&self.shop, customer);
        let is_let_in = self.draw(chance);
        if is_let_in {
            self.shares.let_in(place);
        }
        is_let_in
    }

    /// Whether an order is let in that has this chance.
    fn draw(&self, chance: f64) -> bool {
        self.came.fetch_add(1, Ordering::Relaxed);
        let has_luck = chance >= 1.0 || rand::random::<f64>() < chance;
        let is_let_in = has_luck && self.has_room(chance >= 1.0);
        if !is_let_in {
            self.refused[self.signal() as usize].fetch_add(1, Ordering::Relaxed);
        }
        is_let_in
    }

    /// Takes a place of those that are left until the next look.
    fn has_room(&self, is_spared: bool) -> bool {
        let most = if is_spared { &self.most_spared } else { &self.most };
        let most = most.load(Ordering::Relaxed);
        let taken = |let_in| (let_in < most).then_some(let_in + 1);
        self.let_in.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    fn signal(&self) -> Signal {
        if self.is_unheard.load(Ordering::Relaxed) { Signal::Unheard } else { Signal::CommitWait }
    }

    fn share(&self) -> f64 {
        f64::from(self.share.load(Ordering::Relaxed)) / f64::from(WHOLE)
    }

    /// A refusal has no time to look for its counter: they are counted together.
    fn count_refusals(&self) {
        for (signal, refused) in Signal::ALL.iter().zip(&self.refused) {
            let refused = refused.swap(0, Ordering::Relaxed);
            if refused > 0 {
                let signal = signal.name();
                let refusals = metrics::counter!("spillway_admission_refusals_total", "role" => "gateway", "listener" => "grpc", "signal" => signal);
                refusals.increment(refused);
            }
        }
    }

    /// How many were let in since the last look, which begins anew.
    fn take_let_in(&self) -> u64 {
        self.let_in.swap(0, Ordering::Relaxed)
    }

    /// No more than so many are let in until the next look.
    fn let_in_at_most(&self, room: Room) {
        self.most.store(room.all as u64, Ordering::Relaxed);
        self.most_spared.store(room.spared as u64, Ordering::Relaxed);
    }

    /// Lets in so much from now on.
    fn let_in(&self, share: f64, signal: Signal) {
        let share = self.shares.tick(share);
        let was_whole = self.share.swap((share * f64::from(WHOLE)) as u32, Ordering::Relaxed) == WHOLE;
        self.is_unheard.store(signal == Signal::Unheard, Ordering::Relaxed);
        self.refusals.draw();
        self.count_refusals();
        match (was_whole, share >= 1.0) {
            (true, false) => tracing::warn!(signal = signal.name(), "more orders come than can be carried out in time"),
            (false, true) => tracing::info!("every order is let in again"),
            (true, true) | (false, false) => {}
        }
    }
}

impl Gate for Admission {
    fn guards(&self, path: &str) -> bool {
        path == PLACE_ORDER
    }

    fn is_shut(&self) -> bool {
        let has_room = self.let_in.load(Ordering::Relaxed) < self.most.load(Ordering::Relaxed);
        self.share.load(Ordering::Relaxed) < WHOLE || !has_room
    }

    fn refuse(&self, message: &[u8], tried: u32) -> Option<Refusal> {
        (!self.lets_in(customer::of(message))).then(|| self.refusals.pick(self.signal(), self.share(), tried))
    }

    /// Whose it is, nobody knows yet, and to wait for that is what there is no time for: it has the chance that all have
    /// together. Few messages are cut off from their headers, those at the end of a client's batch.
    fn unread(&self, tried: u32) -> Unread {
        self.shares.count_unknown();
        let share = self.share();
        if self.draw(share) {
            return Unread::LetIn;
        }
        Unread::Refused(self.refusals.pick(self.signal(), share, tried))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use spillway_proto::pb::orders::PlaceOrderRequest;

    use super::*;

    #[test]
    fn at_rest_everything_is_let_in_and_under_pressure_the_share() {
        let admission = Admission::new(Arc::from("default"));
        let message = PlaceOrderRequest { customer_id: "ada".to_owned(), ..Default::default() }.encode_to_vec();
        assert!(admission.guards(PLACE_ORDER) && !admission.guards("/spillway.orders.v1.OrderService/GetOrder"));
        let let_in = || (0..5000).filter(|_| admission.refuse(&message, 0).is_none()).count();
        assert_eq!(let_in(), 5000);
        admission.let_in(0.25, Signal::Unheard);
        let some = let_in();
        assert!((500..2000).contains(&some), "{some}");
        admission.let_in(1.0, Signal::Unheard);
        assert_eq!(let_in(), 5000);
    }

    #[test]
    fn a_call_whose_message_is_not_here_has_the_chance_of_all_together() {
        let admission = Admission::new(Arc::from("default"));
        let let_in = || (0..4000).filter(|_| matches!(admission.unread(0), Unread::LetIn)).count();
        assert_eq!(let_in(), 4000);
        for _ in 0..5000 {
            admission.lets_in(b"ada");
        }
        admission.let_in(0.25, Signal::Unheard);
        let some = let_in();
        assert!((800..1200).contains(&some), "{some}");
        admission.let_in_at_most(Room { all: 10.0, spared: 10.0 });
        admission.take_let_in();
        assert_eq!(let_in(), 10);
    }

    #[test]
    fn calls_whose_message_is_not_here_are_no_trickle() {
        let admission = Admission::new(Arc::from("default"));
        for _ in 0..20 {
            (0..1_000).for_each(|_| drop(admission.unread(0)));
            admission.let_in(0.02, Signal::Unheard);
        }
        assert!(admission.share() < 0.05, "{}", admission.share());
    }

    #[test]
    fn no_more_are_let_in_than_may_be_on_their_way() {
        let admission = Admission::new(Arc::from("default"));
        admission.let_in_at_most(Room { all: 100.0, spared: 100.0 });
        let let_in = (0..500).filter(|_| admission.lets_in(b"ada")).count();
        assert_eq!(let_in, 100);
        assert!(admission.is_shut());
        assert_eq!(admission.take_let_in(), 100);
        assert!(!admission.is_shut() && admission.lets_in(b"ada"));
    }

    #[test]
    fn who_places_less_than_its_share_does_not_pay_for_a_line_that_is_too_long() {
        let admission = Admission::new(Arc::from("default"));
        let place =
            |customer: &str, orders: u32| (0..orders).filter(|_| admission.lets_in(customer.as_bytes())).count();
        for _ in 0..20 {
            place("much", 900);
            place("little", 100);
            admission.let_in(0.5, Signal::Unheard);
            admission.take_let_in();
        }
        admission.let_in_at_most(Room { all: 50.0, spared: 400.0 });
        assert_eq!((place("much", 900), place("little", 100)), (50, 100));
        assert_eq!(place("little", 900), 250, "less than all of it, and no more than there is room");
    }

    #[test]
    fn a_compressed_call_is_judged_once_it_is_decoded_and_no_call_twice() {
        let admission = Admission::new(Arc::from("default"));
        let (read, mut let_in) = (Extensions::new(), Extensions::new());
        let_in.insert(LetIn);
        for _ in 0..5000 {
            admission.admit(&read, "ada").expect("nobody is refused at rest");
        }
        admission.let_in(0.01, Signal::CommitWait);
        let refused = (0..100).filter_map(|_| admission.admit(&read, "ada").err()).count();
        assert!(refused > 30, "{refused}");
        assert!((0..100).all(|_| admission.admit(&let_in, "ada").is_ok()));
    }
}
