//! What a worker is to do, as it stands in the due row.

use bytes::Bytes;
use prost::Message;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Currency, Money, OrderId};

use super::key::{Key, Purpose};
use super::payment::Payment;

/// How the provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To carry it out, under its key.
    Send,
    /// Whether it was carried out, by our reference.
    LookUp,
}

impl Step {
    pub fn words(self) -> &'static str {
        match self {
            Step::Send => "send it",
            Step::LookUp => "ask whether it was carried out",
        }
    }
}

/// All that a worker needs, so that it need not ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub order: OrderId,
    pub shop: String,
    /// W3C trace context of what caused it; empty where there is none.
    pub traceparent: String,
    pub purpose: Purpose,
    /// Of the order's charge.
    pub attempt: i32,
    pub amount: Money,
    /// The means of payment to charge, or the provider's name for the charge to take back.
    pub source: String,
    /// From then on it is only looked up: the provider may take the key for a new one.
    pub key_until: Timestamp,
    pub step: Step,
    /// Which look at something absent this is; 0 where it is none.
    pub recheck: u32,
    /// When it was called for first; `None` where it was not yet.
    pub began: Option<Timestamp>,
}

/// A payload that this build did not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable due work: {0}")]
pub struct UnreadableTask(pub &'static str);

impl Task {
    /// To charge. `None` where the payment has no charge to try.
    pub(super) fn charge(payment: &Payment, traceparent: &str, step: Step) -> Option<Self> {
        let amount = payment.amount?;
        (payment.attempt > 0).then(|| Task {
            order: payment.order,
            shop: payment.shop.clone(),
            traceparent: traceparent.to_owned(),
            purpose: Purpose::Charge,
            attempt: payment.attempt,
            amount,
            source: payment.payment_method.clone(),
            key_until: payment.key_until,
            step,
            recheck: 0,
            began: None,
        })
    }

    /// To give back what was captured. `None` where nothing was.
    pub(super) fn compensate(payment: &Payment, traceparent: &str, step: Step) -> Option<Self> {
        let charge = Task::charge(payment, traceparent, step)?;
        let amount = Money::new(payment.captured_minor - payment.refunded_minor, charge.amount.currency);
        let source = payment.provider_reference.clone();
        (amount.minor > 0).then_some(Task { purpose: Purpose::Compensate, amount, source, ..charge })
    }

    /// The key under which it is carried out.
    pub fn key(&self) -> Key {
        match self.purpose {
            Purpose::Charge => Key::charge(self.order, self.attempt),
            Purpose::Compensate => Key::compensate(self.order, self.attempt),
        }
    }

    /// What is really to be done at this time: a call that could reach the provider after it forgot the key would
    /// be a new charge, so it is looked up instead.
    pub fn step_at(&self, now: Timestamp, call_timeout: std::time::Duration) -> Step {
        match self.step {
            Step::Send if super::policy::after(now, call_timeout) < self.key_until => Step::Send,
            Step::Send | Step::LookUp => Step::LookUp,
        }
    }

    /// As the due row keeps it. Its order is the row's key.
    pub fn encode(&self) -> Bytes {
        let record = Record {
            shop: self.shop.clone(),
            traceparent: self.traceparent.clone(),
            attempt: self.attempt,
            minor: self.amount.minor,
            currency: self.amount.currency.code().to_owned(),
            source: self.source.clone(),
            key_until_us: time::to_micros(self.key_until),
            look_up: self.step == Step::LookUp,
            recheck: self.recheck,
            began_us: self.began.map(time::to_micros),
        };
        Bytes::from(record.encode_to_vec())
    }

    /// From a due row.
    ///
    /// # Errors
    /// Says what cannot be read.
    pub fn decode(kind: &str, key: &[u8], payload: Bytes) -> Result<Self, UnreadableTask> {
        let record = Record::decode(payload).map_err(|_| UnreadableTask("payload"))?;
        let currency = Currency::parse(&record.currency).ok_or(UnreadableTask("currency"))?;
        Ok(Task {
            order: OrderId::from_bytes(key).ok_or(UnreadableTask("key"))?,
            shop: record.shop,
            traceparent: record.traceparent,
            purpose: Purpose::of_due_kind(kind).ok_or(UnreadableTask("kind"))?,
            attempt: record.attempt,
            amount: Money::new(record.minor, currency),
            source: record.source,
            key_until: time::from_micros(record.key_until_us),
            step: if record.look_up { Step::LookUp } else { Step::Send },
            recheck: record.recheck,
            began: record.began_us.map(time::from_micros),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(string, tag = "1")]
    shop: String,
    #[prost(string, tag = "2")]
    traceparent: String,
    #[prost(int32, tag = "3")]
    attempt: i32,
    #[prost(int64, tag = "4")]
    minor: i64,
    #[prost(string, tag = "5")]
    currency: String,
    #[prost(string, tag = "6")]
    source: String,
    #[prost(int64, tag = "7")]
    key_until_us: i64,
    #[prost(bool, tag = "8")]
    look_up: bool,
    #[prost(uint32, tag = "9")]
    recheck: u32,
    #[prost(int64, optional, tag = "10")]
    began_us: Option<i64>,
}
