//! The laws over generated histories of many orders, decided in memory.
//!
//! The histories are those that ledgers can say while they work as they should: an order is either refused, or held and
//! then captured or declined. They arrive in any order, since they come from three streams.

use proptest::prelude::*;
use spillway_proto::pb::orders::Reason;
use spillway_proto::{Event, Ledger as Source};
use spillway_shared::ledger::{Says, Service};

use super::kit::{
    Told, at, captured, declined, deferred, heard, held, orders, placed, refund_failed, refunded, refused,
};
use crate::Book;
use crate::domain::{Order, State};

/// What the other ledgers make of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Undecided,
    Held,
    Refused,
    Captured,
    Declined,
    ActionRequired,
}

/// One order: what becomes of it, what happens besides, and whether somebody is to be told.
#[derive(Clone, Debug)]
pub struct Story {
    pub fate: Fate,
    pub outages: i64,
    pub refunds: i64,
    pub contact: bool,
}

impl Story {
    /// Everything that is said of it, each with the second in which it was said.
    pub fn events(&self) -> Vec<Event> {
        let mut events = vec![placed("ann", if self.contact { "ann@example.com" } else { "" })];
        events.extend(match self.fate {
            Fate::Undecided => vec![],
            Fate::Held => vec![held()],
            Fate::Refused => vec![refused()],
            Fate::Captured => vec![held(), captured()],
            Fate::Declined => vec![held(), declined(false)],
            Fate::ActionRequired => vec![held(), declined(true)],
        });
        events.extend((0..self.outages).map(|n| deferred(&format!("o{n}"), n)));
        for n in 0..self.refunds {
            events.extend([refunded(&format!("r{n}"), n + 1), refund_failed(&format!("f{n}"))]);
        }
        events
    }

    pub fn end(&self) -> (State, Reason) {
        match self.fate {
            Fate::Undecided | Fate::Held => (State::Pending, Reason::Unspecified),
            Fate::Captured => (State::Confirmed, Reason::Unspecified),
            Fate::Refused => (State::Rejected, Reason::OutOfStock),
            Fate::Declined => (State::Rejected, Reason::PaymentDeclined),
            Fate::ActionRequired => (State::Rejected, Reason::ActionRequired),
        }
    }

    /// Events in its history at the end, its own one included.
    pub fn version(&self) -> i64 {
        let own = i64::from(self.end().0.is_finished());
        i64::try_from(self.events().len()).expect("few") + own
    }
}

pub fn stories(most: usize) -> impl Strategy<Value = Vec<Story>> {
    let fates = vec![Fate::Undecided, Fate::Held, Fate::Refused, Fate::Captured, Fate::Declined, Fate::ActionRequired];
    let story = (prop::sample::select(fates), 0i64..3, 0i64..3, any::<bool>());
    let story = story.prop_map(|(fate, outages, refunds, contact)| Story { fate, outages, refunds, contact });
    prop::collection::vec(story, 1..most)
}

/// Which events are told again, and in which order all of them come.
pub type Shuffle = Vec<(prop::sample::Index, u16)>;

pub fn shuffle() -> impl Strategy<Value = Shuffle> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u16>()), 0..40)
}

/// Every event of every story at least once, in any order.
pub fn tell(stories: &[Story], shuffle: &Shuffle) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    for (n, story) in (0..).zip(stories) {
        all.extend((0i64..).zip(story.events()).map(|(second, event)| (n, second, event)));
    }
    let once = all.len();
    for (which, _) in shuffle {
        all.push(all[which.index(once)].clone());
    }
    for (n, (_, to)) in shuffle.iter().enumerate() {
        let (from, to) = ((n * 7) % all.len(), usize::from(*to) % all.len());
        all.swap(from, to);
    }
    all
}

/// Hears it all in one commit, and answers the orders and how many events were said.
fn run(stories: &[Story], told: &[Told]) -> (Vec<Order>, i64) {
    let mut book = Book::default();
    let mut says = Says::new(Source::Orders, at(500));
    for told in told {
        orders().decide(&mut book, &heard(told), at(500), &mut says);
    }
    let ids = 0..u32::try_from(stories.len()).expect("few");
    let ends = ids.map(|n| sorted(book.order(&heard(&(n, 0, held()))).clone()));
    (ends.collect(), says.events())
}

/// In which order they were heard does not matter.
fn sorted(mut order: Order) -> Order {
    let mut seen: Vec<&[u8]> = order.seen.chunks(16).collect();
    seen.sort_unstable();
    order.seen = seen.concat();
    // Which of them made it.
    order.placed_version = order.placed_version.signum();
    order
}

proptest! {
    #[test]
    fn permutations_and_repeats_end_the_same(stories in stories(6), one in shuffle(), other in shuffle()) {
        let (ends, said) = run(&stories, &tell(&stories, &one));
        prop_assert_eq!(&run(&stories, &tell(&stories, &other)), &(ends.clone(), said));
        for (order, story) in ends.iter().zip(&stories) {
            prop_assert_eq!((order.state, order.reason), story.end());
            prop_assert_eq!(order.version, story.version());
            prop_assert_eq!(order.deadline, at(24 * 3600));
            prop_assert_eq!(order.created, at(0));
            prop_assert_eq!(order.refunded_minor, (1..=story.refunds).sum::<i64>() * 100);
        }
        let ended = stories.iter().filter(|story| story.end().0.is_finished()).count();
        prop_assert_eq!(said, i64::try_from(ended).expect("few"));
    }

    #[test]
    fn told_twice_in_any_history_says_nothing(stories in stories(5), shuffle in shuffle()) {
        let mut book = Book::default();
        let mut says = Says::new(Source::Orders, at(500));
        for told in tell(&stories, &shuffle) {
            let heard = heard(&told);
            orders().decide(&mut book, &heard, at(500), &mut says);
            let before = (book.order(&heard).clone(), says.events());
            orders().decide(&mut book, &heard, at(501), &mut says);
            prop_assert_eq!((book.order(&heard).clone(), says.events()), before);
        }
    }

    #[test]
    fn a_finished_order_stays_as_it_ended(stories in stories(5), shuffle in shuffle()) {
        let mut book = Book::default();
        for told in tell(&stories, &shuffle) {
            let heard = heard(&told);
            let before = book.order(&heard).clone();
            let mut says = Says::new(Source::Orders, at(500));
            orders().decide(&mut book, &heard, at(500), &mut says);
            let after = book.order(&heard);
            if before.state.is_finished() {
                prop_assert_eq!((after.state, after.reason, says.events()), (before.state, before.reason, 0));
            }
        }
    }
}
