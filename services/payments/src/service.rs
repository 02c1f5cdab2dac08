//! Payments as a ledger: what each event means here, and how decisions are loaded, made and written.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::events;
use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, EventKind, Money, NewEvent, OrderId, Subject};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{AboutDue, Due, Sample, Says, Service, StoreError, Tx, Unreadable};
use uuid::Uuid;

use crate::counters;
use crate::domain::{
    self, Answered, Decision, Deferred, DueStep, OrderEnded, Payment, Policy, Purpose, Refused, Settle, Settled,
    StockHeld, Task,
};
use crate::evidence::EVIDENCE;
use crate::spans::retry_name;
use crate::store::{self, Book, Settlement};

/// The kinds of due work.
pub const DUE_KINDS: &[&str] = &["charge", "refund"];

/// What a payments ledger decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    StockHeld(StockHeld),
    OrderEnded(OrderEnded),
    /// The provider answered, or did not.
    Answered(Answered),
    /// The provider cannot be reached, and the order waits.
    Deferred(Deferred),
    /// A human says what became of it.
    Settle(Settle),
    /// A due row that this build cannot read.
    Unreadable {
        kind: &'static str,
        key: Bytes,
    },
}

impl Input {
    fn order(&self) -> Option<OrderId> {
        match self {
            Input::StockHeld(event) => Some(event.order),
            Input::OrderEnded(event) => Some(event.order),
            Input::Answered(answered) => Some(answered.task.order),
            Input::Deferred(event) => Some(event.order),
            Input::Settle(settle) => Some(settle.order),
            Input::Unreadable { key, .. } => OrderId::from_bytes(key),
        }
    }
}

/// What came of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// What an answer of the provider made of something unknown, and why the payment was parked with it.
    Worked { settled: Settled, parked: Option<&'static str> },
    /// Whether it is said now that the order waits.
    Deferred(bool),
    /// The payment as it is from now on, or why it is not settled.
    Settled(Box<Result<Payment, Refused>>),
}

/// The decisions of a payments ledger.
#[derive(Clone, Copy, Debug)]
pub struct Payments {
    policy: Policy,
}

impl Payments {
    pub fn new(policy: Policy) -> Self {
        Payments { policy }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Service for Payments {
    type Input = Input;
    type Answer = Answer;
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Input>, Unreadable> {
        match kind {
            EventKind::StockHeld => stock_held(event).map(Some),
            EventKind::OrderRejected | EventKind::OrderCancelled => {
                let (order, shop, traceparent) = (order_of(event)?, event.shop.clone(), event.traceparent.clone());
                Ok(Some(Input::OrderEnded(OrderEnded { order, shop, traceparent })))
            }
            // Orders says it once clients can ask for refunds; nothing here gives one for the asking.
            EventKind::RefundRequested => Ok(None),
            // Nothing is charged before the hold, and what was charged is charged.
            EventKind::OrderPlaced
            | EventKind::OrderConfirmed
            | EventKind::StockRefused
            | EventKind::StockCommitted
            | EventKind::StockReleased
            | EventKind::StockReturned
            | EventKind::StockAdjusted
            | EventKind::NotificationSent
            | EventKind::NotificationFailed
            | EventKind::DeadLetterRedriven
            | EventKind::DeadLetterDiscarded
            | EventKind::FlowPaused
            | EventKind::FlowResumed
            | EventKind::FlowSettingChanged => Ok(None),
            // Said by payments itself.
            EventKind::PaymentCaptured
            | EventKind::PaymentDeclined
            | EventKind::PaymentDeferred
            | EventKind::PaymentRefunded
            | EventKind::PaymentSettled
            | EventKind::RefundFailed => Ok(None),
        }
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Input]) -> Result<Book, StoreError> {
        let requests = inputs.iter().filter_map(|input| self.command_id(input));
        store::load(tx, inputs.iter().filter_map(|input| input.order()), requests)
    }

    fn decide(&self, book: &mut Book, input: &Input, at: Timestamp, says: &mut Says) -> Answer {
        let nothing = Answer::Worked { settled: Settled::Nothing, parked: None };
        let Some(order) = input.order() else {
            if let Input::Unreadable { kind, key } = input {
                says.done(kind, key.clone());
            }
            return nothing;
        };
        let (payment, policy) = (book.payment(order), &self.policy);
        let (decision, answer) = match input {
            Input::StockHeld(event) => (domain::stock_held(payment, event, at, policy), nothing),
            Input::OrderEnded(event) => (domain::order_ended(payment, event, at, policy), nothing),
            Input::Answered(answered) => {
                let decision = answered_by(payment, answered, at, policy);
                let answer = worked(payment, &decision, answered);
                book.record(answered, at);
                (decision, answer)
            }
            Input::Deferred(event) => {
                let decision = payment.map(|payment| domain::deferred(payment, event)).unwrap_or_default();
                let answer = Answer::Deferred(!decision.says.is_empty());
                (decision, answer)
            }
            Input::Settle(settle) => match settled(book, settle, at, policy) {
                Ok(Some(decision)) => {
                    book.settle(settle, at);
                    let after = decision.payment.clone().or_else(|| book.payment(order).cloned());
                    (decision, Answer::Settled(Box::new(after.ok_or(Refused::Unknown))))
                }
                Ok(None) => {
                    let before = payment.cloned().ok_or(Refused::Unknown);
                    (Decision::nothing(), Answer::Settled(Box::new(before)))
                }
                Err(refused) => (Decision::nothing(), Answer::Settled(Box::new(Err(refused)))),
            },
            Input::Unreadable { kind, .. } => (again(payment, kind, at, policy), nothing),
        };
        apply(decision, input, order, book, says);
        answer
    }

    fn command_id(&self, input: &Input) -> Option<Uuid> {
        match input {
            Input::Settle(settle) => Some(settle.request_id),
            Input::StockHeld(_)
            | Input::OrderEnded(_)
            | Input::Answered(_)
            | Input::Deferred(_)
            | Input::Unreadable { .. } => None,
        }
    }

    fn about_due(&self, due: &Due) -> AboutDue {
        let subject = OrderId::from_bytes(&due.key).map(Subject::Order);
        match Task::decode(due.kind, &due.key, due.payload.clone()) {
            Ok(task) => AboutDue {
                subject,
                input: vec![
                    ("key", task.key().text),
                    ("amount", task.amount.to_string()),
                    ("step", task.step.words().to_owned()),
                ],
                shop: task.shop,
                traceparent: task.traceparent,
            },
            Err(error) => AboutDue { subject, input: vec![("problem", error.to_string())], ..AboutDue::default() },
        }
    }

    fn worked(&self, answer: Answer) {
        match answer {
            Answer::Worked { settled, parked } => {
                counters::settled(settled);
                parked.into_iter().for_each(counters::parked);
            }
            // Neither is the result of due work.
            Answer::Deferred(_) | Answer::Settled(_) => {}
        }
    }

    fn sample(&self, tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Sample>, StoreError> {
        let unsettled = store::unsettled(tx)?;
        let age = unsettled.oldest.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0));
        let sample = |name, value| Sample { name, label: None, value };
        Ok(vec![
            sample("spillway_payments_unknown", unsettled.unknown as f64),
            sample("spillway_payments_unknown_oldest_age_seconds", age),
            sample("spillway_payments_parked", unsettled.parked as f64),
        ])
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        store::save(tx, &book)
    }
}

fn answered_by(payment: Option<&Payment>, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    match (payment, answered.task.purpose) {
        // Nobody here asked for it: it is recorded, and nothing more is asked.
        (None, purpose) => Decision { due: vec![DueStep::Done(purpose)], ..Decision::nothing() },
        (Some(payment), Purpose::Charge) => domain::charge_answered(payment, answered, at, policy),
        (Some(payment), Purpose::Compensate) => domain::refund_answered(payment, answered, at, policy),
    }
}

fn worked(before: Option<&Payment>, decision: &Decision, answered: &Answered) -> Answer {
    let (Some(before), Some(after)) = (before, &decision.payment) else {
        return Answer::Worked { settled: Settled::Nothing, parked: None };
    };
    let parked = after.reason.filter(|_| before.reason.is_none()).map(domain::Reason::name);
    Answer::Worked { settled: Settled::by_answer(before, after, answered.step), parked }
}

/// What follows from a human's word; `None` where the same request said it before.
fn settled(book: &Book, settle: &Settle, at: Timestamp, policy: &Policy) -> Result<Option<Decision>, Refused> {
    let payment = book.payment(settle.order).ok_or(Refused::Unknown)?;
    match book.settlement(settle.request_id) {
        Some(known) if known.is_like(&Settlement::of(settle, at)) => Ok(None),
        Some(_of_something_else) => Err(Refused::RequestIdReused),
        None => domain::settle(payment, settle, at, policy).map(Some),
    }
}

fn again(payment: Option<&Payment>, kind: &'static str, at: Timestamp, policy: &Policy) -> Decision {
    let Some(purpose) = Purpose::of_due_kind(kind) else {
        return Decision::nothing();
    };
    Decision { due: vec![domain::due_again(payment, purpose, at, policy)], ..Decision::nothing() }
}

fn apply(decision: Decision, input: &Input, order: OrderId, book: &mut Book, says: &mut Says) {
    for say in decision.says {
        let shop = match input {
            Input::StockHeld(event) => event.shop.clone(),
            Input::OrderEnded(event) => event.shop.clone(),
            Input::Answered(answered) => answered.task.shop.clone(),
            Input::Deferred(_) | Input::Settle(_) | Input::Unreadable { .. } => {
                book.payment(order).map(|payment| payment.shop.clone()).unwrap_or_default()
            }
        };
        let (subject, occurrence, traceparent) = (Subject::Order(order), say.occurrence, say.traceparent);
        says.event(&NewEvent { shop, subject, occurrence, traceparent, event: say.event });
    }
    if let Some(payment) = decision.payment {
        book.put(payment);
    }
    let key = || Bytes::copy_from_slice(order.as_bytes());
    for step in decision.due {
        match step {
            DueStep::Done(purpose) => says.done(purpose.due_kind(), key()),
            DueStep::Set { task, at, tries } => {
                let (kind, payload) = (task.purpose.due_kind(), task.encode());
                if tries > 1 {
                    says.waits(retry_name(task.purpose), &task.traceparent, tries, at);
                }
                says.due(Due { kind, key: key(), at, attempt: tries, payload });
            }
        }
    }
}

fn stock_held(event: &Envelope) -> Result<Input, Unreadable> {
    let order = order_of(event)?;
    let held = events::StockHeld::decode(event.payload.clone()).map_err(|e| Unreadable::Undecodable(e.to_string()))?;
    let total = held.total.as_ref().ok_or_else(|| Unreadable::Undecodable("total is missing".to_owned()))?;
    let total = Money::from_wire(total).map_err(|e| Unreadable::Undecodable(format!("total: {e}")))?;
    if total.minor < 0 {
        return Err(Unreadable::Undecodable("total is negative".to_owned()));
    }
    Ok(Input::StockHeld(StockHeld {
        order,
        shop: event.shop.clone(),
        traceparent: event.traceparent.clone(),
        total,
        payment_method: held.payment_method,
    }))
}

fn order_of(event: &Envelope) -> Result<OrderId, Unreadable> {
    event.subject.order().ok_or_else(|| Unreadable::Undecodable(format!("{} is no order", event.subject)))
}
