//! One order: what is known of it, and how it stands.

use std::ops::BitOr;

use spillway_proto::pb::orders::Reason;
use spillway_proto::time::Timestamp;
use spillway_proto::{Event, EventId, Money};

/// How an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Accepted and not yet decided.
    #[default]
    Pending,
    /// Paid, and the stock is the customer's.
    Confirmed,
    /// Not fulfilled.
    Rejected,
}

impl State {
    pub const ALL: [State; 3] = [State::Pending, State::Confirmed, State::Rejected];

    /// As SQL has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Confirmed => "CONFIRMED",
            State::Rejected => "REJECTED",
        }
    }

    /// From SQL.
    pub fn parse(name: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Nothing changes it any more.
    pub fn is_finished(self) -> bool {
        match self {
            State::Pending => false,
            State::Confirmed | State::Rejected => true,
        }
    }
}

/// Which events of those that an order has at most once were heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts(pub i64);

impl Facts {
    pub const PLACED: Facts = Facts(1);
    pub const HELD: Facts = Facts(2);
    pub const REFUSED: Facts = Facts(4);
    pub const CAPTURED: Facts = Facts(8);
    pub const DECLINED: Facts = Facts(16);
    /// Of a decline: the provider wants the customer to act.
    pub const ACTION_REQUIRED: Facts = Facts(32);
    /// Of no consequence for the order: its trace is exported, earlier steps included.
    pub const TRACED: Facts = Facts(64);

    pub fn has(self, facts: Facts) -> bool {
        self.0 & facts.0 == facts.0
    }
}

impl BitOr for Facts {
    type Output = Facts;

    fn bitor(self, other: Facts) -> Facts {
        Facts(self.0 | other.0)
    }
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub shop: String,
    pub state: State,
    /// Why it ended so; unspecified while it is pending, and where it is confirmed.
    pub reason: Reason,
    pub facts: Facts,
    /// How many events are recorded, own ones included.
    pub version: i64,
    /// The version that `OrderPlaced` made; 0 where it was not heard.
    pub placed_version: i64,
    /// When the wait for an outcome ends.
    pub deadline: Timestamp,
    /// When it was accepted; until that is heard, the time of the earliest event.
    pub created: Timestamp,
    /// The time of the latest event.
    pub updated: Timestamp,
    /// When inventory held its lines.
    pub held: Option<Timestamp>,
    /// Since when the provider cannot be reached, by the latest outage that it was told of.
    pub deferred_since: Option<Timestamp>,
    /// The shop's name for the customer; empty until the order is heard of.
    pub customer_id: String,
    /// The sum of its lines; `None` until the order is heard of.
    pub total: Option<Money>,
    /// What was paid back, in minor units of the total's currency.
    pub refunded_minor: i64,
    /// Whom to tell.
    pub email: Option<String>,
    /// The ids of the events heard of those that an order can have several times, 16 bytes each.
    pub seen: Vec<u8>,
}

/// What follows for an order. What was heard, and when, is in the order.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It was told before: nothing changes and nothing is said.
    Known,
    /// It is one more event of the order's history, and nothing follows from it.
    Recorded,
    /// It is one more event of the history, and with it the order ends: this is said, and recorded as well.
    Ended(Event),
}

impl Order {
    /// An order of which nothing was recorded yet, made by the first event heard of it.
    pub fn unheard(shop: &str, at: Timestamp) -> Self {
        Order {
            shop: shop.to_owned(),
            state: State::Pending,
            reason: Reason::Unspecified,
            facts: Facts::default(),
            version: 0,
            placed_version: 0,
            deadline: Timestamp::MAX,
            created: at,
            updated: at,
            held: None,
            deferred_since: None,
            customer_id: String::new(),
            total: None,
            refunded_minor: 0,
            email: None,
            seen: Vec::new(),
        }
    }

    /// Records an event that an order has at most once. False where it was told before.
    pub(super) fn learn(&mut self, fact: Facts, at: Timestamp) -> bool {
        let is_new = !self.facts.has(fact);
        if is_new {
            self.facts = self.facts | fact;
            self.record(at);
        }
        is_new
    }

    /// Records an event that an order can have several times. False where this one was told before.
    pub(super) fn learn_once(&mut self, id: EventId, at: Timestamp) -> bool {
        let is_new = !self.seen.chunks_exact(16).any(|seen| seen == id.0.as_bytes());
        if is_new {
            self.seen.extend_from_slice(id.0.as_bytes());
            self.record(at);
        }
        is_new
    }

    /// One more event, of this time, is in the history.
    pub fn record(&mut self, at: Timestamp) {
        self.version += 1;
        self.updated = self.updated.max(at);
        if !self.facts.has(Facts::PLACED) {
            self.created = self.created.min(at);
        }
    }
}
