//! What is counted of a load run; only orders sent after the warm-up.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// An order that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it should have been sent.
    pub due: Instant,
    /// The second of the run, if it counts: the warm-up does not.
    pub second: Option<usize>,
    /// By the customer who places more than the others.
    pub is_hot: bool,
}

/// An answer that was no acceptance.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub code: tonic::Code,
    /// It said when to come back.
    pub has_retry_info: bool,
    /// From when this call, of several perhaps, was made.
    pub took: Duration,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Confirmed,
    Rejected,
    Cancelled,
}

/// What became of the orders of one second, by when they should have been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    pub sent: u64,
    /// Answers, several perhaps for one order.
    pub refused: u64,
    /// Confirmed in time.
    pub in_time: u64,
    /// From when it should have been sent to its confirmation.
    pub slowest_ms: f64,
}

/// What became of the orders of some customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Customers {
    pub sent: u64,
    pub accepted: u64,
    /// Confirmed in time.
    pub in_time: u64,
}

impl Customers {
    /// Which part of what they sent was confirmed in time.
    pub fn in_time_share(&self) -> f64 {
        self.in_time as f64 / self.sent.max(1) as f64
    }
}

impl AddAssign for Customers {
    fn add_assign(&mut self, more: Customers) {
        self.sent += more.sent;
        self.accepted += more.accepted;
        self.in_time += more.in_time;
    }
}

/// The counts and latencies of a run.
#[derive(Clone, Debug)]
pub struct Tally {
    pub sent: u64,
    pub accepted: u64,
    pub confirmed: u64,
    pub rejected: u64,
    pub cancelled: u64,
    /// Confirmed within the time that makes an order a good one.
    pub in_time: u64,
    /// Answers that were no acceptance, by gRPC code.
    pub refused: BTreeMap<String, u64>,
    /// Those of them that did not say when to come back.
    pub without_retry_info: u64,
    /// From when it was (or should have been) sent to the answer.
    pub accept: Histogram<u64>,
    /// From when it was (or should have been) sent to its end as confirmed.
    pub confirm: Histogram<u64>,
    /// From a call to its refusal.
    pub refusal: Histogram<u64>,
    /// From when an order should have been sent to when it was: the load's own lateness.
    pub late: Histogram<u64>,
    /// When the first was sent and the last came to its end.
    pub first: Option<Instant>,
    pub last: Option<Instant>,
    pub hot: Customers,
    pub others: Customers,
    pub seconds: Vec<Second>,
    within: Duration,
}

impl Tally {
    /// `within` makes an order a good one.
    pub fn new(within: Duration) -> Self {
        // 1 µs to 5 minutes, to three digits.
        let histogram = || Histogram::new_with_bounds(1, 300_000_000, 3).expect("valid bounds");
        Tally {
            sent: 0,
            accepted: 0,
            confirmed: 0,
            rejected: 0,
            cancelled: 0,
            in_time: 0,
            refused: BTreeMap::new(),
            without_retry_info: 0,
            accept: histogram(),
            confirm: histogram(),
            refusal: histogram(),
            late: histogram(),
            first: None,
            last: None,
            hot: Customers::default(),
            others: Customers::default(),
            seconds: Vec::new(),
            within,
        }
    }

    /// Accepted and not yet at their end.
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.confirmed + self.rejected + self.cancelled)
    }

    pub fn sent(&mut self, sent: &Sent) {
        if let Some(second) = self.second(sent) {
            second.sent += 1;
            self.sent += 1;
            self.customers(sent).sent += 1;
            self.first.get_or_insert(sent.due);
            record(&mut self.late, sent.due.elapsed());
        }
    }

    pub fn accepted(&mut self, sent: &Sent, now: Instant) {
        if sent.second.is_some() {
            self.accepted += 1;
            self.customers(sent).accepted += 1;
            record(&mut self.accept, now.saturating_duration_since(sent.due));
        }
    }

    pub fn refused(&mut self, sent: &Sent, refused: &Refused) {
        if let Some(second) = self.second(sent) {
            second.refused += 1;
            *self.refused.entry(format!("{:?}", refused.code)).or_insert(0) += 1;
            self.without_retry_info += u64::from(!refused.has_retry_info);
            record(&mut self.refusal, refused.took);
        }
    }

    pub fn ended(&mut self, sent: &Sent, end: End, now: Instant) {
        let took = now.saturating_duration_since(sent.due);
        let is_in_time = u64::from(took <= self.within);
        let Some(second) = self.second(sent) else { return };
        if end == End::Confirmed {
            second.in_time += is_in_time;
            second.slowest_ms = second.slowest_ms.max(took.as_secs_f64() * 1e3);
        }
        self.last = Some(now);
        match end {
            End::Confirmed => {
                self.confirmed += 1;
                self.in_time += is_in_time;
                self.customers(sent).in_time += is_in_time;
                record(&mut self.confirm, took);
            }
            End::Rejected => self.rejected += 1,
            End::Cancelled => self.cancelled += 1,
        }
    }

    fn customers(&mut self, sent: &Sent) -> &mut Customers {
        if sent.is_hot { &mut self.hot } else { &mut self.others }
    }

    /// The second of an order, if it counts.
    fn second(&mut self, sent: &Sent) -> Option<&mut Second> {
        let second = sent.second?;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        self.seconds.get_mut(second)
    }
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(micros.max(1));
}
