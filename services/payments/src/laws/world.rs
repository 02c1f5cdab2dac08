//! A provider in memory that can do all that real ones do, and one payment's ledger beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use spillway_proto::Event;
use spillway_proto::time::{self, Timestamp};

use super::{POLICY, decide_by, order, seconds};
use crate::domain::{
    Answered, DueStep, Key, Outcome, Payment, Policy, Proof, Purpose, Receipt, Settle, SettleAs, Sight, State, Step,
    Task,
};
use crate::service::Input;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Carried out and answered.
    Answered,
    /// Carried out, and the answer is lost.
    AnswerLost,
    /// The request is lost.
    RequestLost,
    /// Carried out up to this many seconds later, and not answered.
    Late(u16),
    /// Not carried out, and said so.
    Unavailable,
    /// Not carried out, and said so: not before so many seconds.
    Throttled(u8),
    /// Not carried out: our request is called invalid.
    Rejected,
    /// Carried out, and answered with an error that is kept for the key.
    ErrorKept,
    /// No call is made.
    BreakerOpen,
    /// Carried out, and then our process ends: nobody hears of it, the due row stays.
    Killed,
}

/// What the provider makes of a charge once it carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    Approves,
    Declines,
    WantsAction,
    /// Pending for so many seconds, then approved.
    Dawdles(u16),
    CapturesMore,
}

#[derive(Clone, Debug)]
struct Object {
    /// When it was carried out.
    since: Timestamp,
    minor: i64,
    /// An error stands in for its answer.
    is_error_kept: bool,
}

pub struct World {
    pub now: Timestamp,
    pub payment: Option<Payment>,
    pub due: BTreeMap<&'static str, (Task, Timestamp, i64)>,
    pub said: Vec<Event>,
    policy: Policy,
    temper: Temper,
    /// For how long a lookup does not show what was carried out.
    lag: Duration,
    objects: BTreeMap<String, Vec<Object>>,
    /// Results that are not handed back yet.
    pub in_hand: Vec<Input>,
}

impl World {
    pub fn new(temper: Temper, lag: Duration) -> Self {
        World {
            now: seconds(0),
            payment: None,
            due: BTreeMap::new(),
            said: vec![],
            policy: POLICY,
            temper,
            lag,
            objects: BTreeMap::new(),
            in_hand: vec![],
        }
    }

    /// By other figures.
    pub fn by(self, policy: Policy) -> Self {
        World { policy, ..self }
    }

    pub fn state(&self) -> Option<State> {
        self.payment.as_ref().map(|payment| payment.state)
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = later(self.now, time);
    }

    /// Takes an input into the ledger.
    pub fn take(&mut self, input: &Input) {
        let decision = decide_by(&self.policy, self.payment.as_ref(), input, self.now);
        self.said.extend(decision.says.into_iter().map(|say| say.event));
        if decision.payment.is_some() {
            self.payment = decision.payment;
        }
        for step in decision.due {
            match step {
                DueStep::Set { task, at, tries } => {
                    self.due.insert(task.purpose.due_kind(), (task, at, tries));
                }
                DueStep::Done(purpose) => {
                    self.due.remove(purpose.due_kind());
                }
            }
        }
    }

    /// Waits for the earliest due row and calls the provider for it. The result is in hand. False where nothing is due.
    pub fn call(&mut self, fate: Fate) -> bool {
        let Some((task, at, tries)) = self.due.values().min_by_key(|(_, at, _)| *at).cloned() else {
            return false;
        };
        self.now = self.now.max(at);
        if fate == Fate::BreakerOpen {
            // Nothing is taken: the row stays as it is.
            self.pass(Duration::from_secs(30));
            return true;
        }
        let (called, step) = (self.now, task.step_at(self.now, POLICY.call_timeout));
        let outcome = match step {
            Step::Send => self.send(&task, fate),
            Step::LookUp => self.look_up(&task, fate),
        };
        if fate != Fate::Killed {
            let charge_id = task.key().id;
            self.in_hand.push(Input::Answered(Answered { task, charge_id, tries, step, called, outcome }));
        }
        true
    }

    /// Hands back a result.
    pub fn hand_back(&mut self, which: usize) {
        if !self.in_hand.is_empty() {
            let input = self.in_hand.remove(which % self.in_hand.len());
            self.take(&input);
        }
    }

    /// Calls, without trouble, until nothing is left to be done. Panics where it never ends.
    pub fn run_until_quiet(&mut self) {
        while !self.in_hand.is_empty() {
            self.hand_back(0);
        }
        for _ in 0..200 {
            if !self.call(Fate::Answered) {
                return;
            }
            self.hand_back(0);
        }
        panic!("never quiet: {:?} {:?}", self.payment, self.due);
    }

    /// How often, and how much, the provider really moved for this purpose.
    pub fn moved(&self, purpose: Purpose) -> (usize, i64) {
        let is_meant = |key: &str| key.contains("compensate/") == (purpose == Purpose::Compensate);
        let objects = || self.objects.iter().filter(|(key, _)| is_meant(key)).flat_map(|(_, objects)| objects);
        let moves = || objects().filter(|_| self.moves(purpose));
        (moves().count(), moves().map(|object| object.minor).sum())
    }

    fn moves(&self, purpose: Purpose) -> bool {
        match self.temper {
            Temper::Approves | Temper::Dawdles(_) | Temper::CapturesMore => true,
            Temper::Declines | Temper::WantsAction => purpose == Purpose::Compensate,
        }
    }

    fn send(&mut self, task: &Task, fate: Fate) -> Outcome {
        match fate {
            Fate::Unavailable | Fate::BreakerOpen => Outcome::Unavailable,
            Fate::Throttled(after) => Outcome::Throttled { after: Duration::from_secs(after.into()) },
            Fate::RequestLost => Outcome::Unknown,
            Fate::Rejected => Outcome::Rejected { code: "bad".to_owned() },
            Fate::Late(by) => {
                let by = Duration::from_secs(u64::from(by).min(POLICY.in_flight.as_secs() / 2));
                self.carry_out(task, later(self.now, by), false);
                Outcome::Unknown
            }
            Fate::AnswerLost | Fate::Killed => {
                self.carry_out(task, self.now, false);
                Outcome::Unknown
            }
            Fate::ErrorKept => {
                self.carry_out(task, self.now, true);
                Outcome::Unknown
            }
            Fate::Answered => {
                let object = self.carry_out(task, self.now, false);
                if object.since > self.now {
                    return Outcome::InFlight;
                }
                if object.is_error_kept { Outcome::Unknown } else { self.shown(task.purpose, &object) }
            }
        }
    }

    /// Under a key that is still known it is what it was; else it is a new one.
    fn carry_out(&mut self, task: &Task, since: Timestamp, is_error_kept: bool) -> Object {
        let objects = self.objects.entry(task.key().text).or_default();
        let known = objects.last().filter(|object| self.now < later(object.since, POLICY.key_window));
        if let Some(known) = known {
            return known.clone();
        }
        let is_more = self.temper == Temper::CapturesMore && task.purpose == Purpose::Charge;
        let object = Object { since, minor: task.amount.minor + i64::from(is_more), is_error_kept };
        objects.push(object.clone());
        object
    }

    fn look_up(&self, task: &Task, fate: Fate) -> Outcome {
        match fate {
            Fate::Answered => {}
            Fate::Throttled(after) => return Outcome::Throttled { after: Duration::from_secs(after.into()) },
            Fate::AnswerLost
            | Fate::RequestLost
            | Fate::Late(_)
            | Fate::Unavailable
            | Fate::BreakerOpen
            | Fate::Rejected
            | Fate::ErrorKept
            | Fate::Killed => return Outcome::Unavailable,
        }
        self.visible(task.purpose, &task.key().text)
    }

    fn visible(&self, purpose: Purpose, key: &str) -> Outcome {
        let all = self.objects.get(key).map_or(&[][..], Vec::as_slice);
        let visible: Vec<&Object> = all.iter().filter(|object| later(object.since, self.lag) <= self.now).collect();
        match visible.as_slice() {
            [] => Outcome::Absent,
            [object] => self.shown(purpose, object),
            _several => Outcome::Several,
        }
    }

    /// A human looks at what the provider shows, and says this of the payment.
    pub fn settle(&mut self, settle_as: SettleAs) {
        let Some(payment) = &self.payment else { return };
        let keys = [Key::charge(payment.order, 1), Key::compensate(payment.order, 1)].map(|key| key.text);
        let shown = |purpose: Purpose| match self.visible(purpose, &keys[usize::from(purpose == Purpose::Compensate)]) {
            Outcome::Absent => Sight::Nothing,
            outcome => {
                let charge = format!("{:?}", Purpose::Charge);
                Sight::Shown { outcome, reference: order().to_string(), charge }
            }
        };
        let purpose = if payment.is_parked_refund() { Purpose::Compensate } else { Purpose::Charge };
        let proof = match settle_as {
            SettleAs::Captured => Proof::Charge(shown(Purpose::Charge)),
            SettleAs::Absent => {
                Proof::ByReference(self.visible(purpose, &keys[usize::from(purpose == Purpose::Compensate)]))
            }
            SettleAs::Refunded => Proof::Refund { refund: shown(Purpose::Compensate), charge: shown(Purpose::Charge) },
        };
        let word = Settle {
            order: order(),
            request_id: uuid::Uuid::nil(),
            settle_as,
            provider_reference: format!("{purpose:?}"),
            reason: "seen".to_owned(),
            traceparent: String::new(),
            proof,
            called: self.now,
        };
        self.take(&Input::Settle(word));
    }

    fn shown(&self, purpose: Purpose, object: &Object) -> Outcome {
        let provider_reference = format!("{purpose:?}");
        let receipt =
            Receipt { provider_reference: provider_reference.clone(), minor: object.minor, currency: "EUR".to_owned() };
        match self.temper {
            Temper::Dawdles(by) if self.now < later(object.since, Duration::from_secs(by.into())) => {
                Outcome::Pending { provider_reference }
            }
            Temper::Declines if purpose == Purpose::Charge => {
                Outcome::Declined { provider_reference, code: "no".to_owned() }
            }
            Temper::WantsAction if purpose == Purpose::Charge => {
                Outcome::ActionRequired { provider_reference, code: "3ds".to_owned() }
            }
            Temper::Approves | Temper::CapturesMore | Temper::Dawdles(_) | Temper::Declines | Temper::WantsAction => {
                Outcome::Approved(receipt)
            }
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).expect("a test's own time");
    time::from_micros(time::to_micros(at) + micros)
}
