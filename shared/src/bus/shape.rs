//! What a relay knows of its own stream: whether it is as it should be, and whether it lost what it had acknowledged.
//!
//! A loss is told and counted here; it is healed elsewhere: whoever has not heard a number asks the outbox.

use std::time::Duration;

use async_nats::jetstream::stream::Info;
use tokio::time::Instant;

use crate::ledger::IncidentKind;

/// How often a stream that is in shape is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How soon a stream that is not in shape is looked at again, at first and at the most.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// A stream at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// Unix time in nanoseconds.
    pub created: i128,
    pub messages: u64,
    pub last_sequence: u64,
    /// Messages that are missing between the first and the last.
    pub holes: u64,
    /// It was not there, and was just made.
    pub is_new: bool,
    /// It was not as configured, and is so again.
    pub is_changed_back: bool,
    /// It is not as configured, and this is why.
    pub problem: Option<String>,
}

impl Looked {
    pub fn at(info: &Info, problem: Option<String>) -> Self {
        Looked {
            created: info.created.unix_timestamp_nanos(),
            messages: info.state.messages,
            last_sequence: info.state.last_sequence,
            holes: info.state.deleted_count.unwrap_or(0),
            is_new: false,
            is_changed_back: false,
            problem,
        }
    }
}

/// What happened to a stream behind the back of its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incident {
    /// It was deleted, and made again.
    Recreated,
    /// Its last message is older than one that it acknowledged: restored from an old copy, or cut.
    Behind,
    /// A sequence number was given twice.
    SequenceReused,
    /// Messages are missing in the middle.
    Holes,
    /// All its messages are gone.
    Emptied,
    /// Somebody changed it, and it was changed back.
    ChangedBack,
}

impl From<Incident> for IncidentKind {
    fn from(incident: Incident) -> Self {
        match incident {
            Incident::Recreated => IncidentKind::StreamRecreated,
            Incident::Behind => IncidentKind::StreamBehind,
            Incident::SequenceReused => IncidentKind::SequenceReused,
            Incident::Holes => IncidentKind::StreamHoles,
            Incident::Emptied => IncidentKind::StreamEmptied,
            Incident::ChangedBack => IncidentKind::StreamChangedBack,
        }
    }
}

impl Incident {
    /// As a label of a metric.
    fn kind(self) -> &'static str {
        match self {
            Incident::Recreated => "recreated",
            Incident::Behind => "behind",
            Incident::SequenceReused => "sequence_reused",
            Incident::Holes => "holes",
            Incident::Emptied => "emptied",
            Incident::ChangedBack => "changed_back",
        }
    }
}

/// The stream as its relay knows it.
#[derive(Debug)]
pub(super) struct Shape {
    role: &'static str,
    stream: String,
    known: Option<Looked>,
    /// The highest sequence number that it acknowledged.
    last: u64,
    problem: Option<String>,
    next_look: Instant,
    again: Duration,
    /// It held something before this process began.
    has_held: bool,
    /// Told, and not yet noted.
    news: Vec<Incident>,
}

impl Shape {
    pub fn new(role: &'static str, stream: &str, has_held: bool) -> Self {
        let stream = stream.to_owned();
        Shape {
            role,
            stream,
            known: None,
            last: 0,
            problem: None,
            next_look: Instant::now(),
            again: AGAIN,
            has_held,
            news: Vec::new(),
        }
    }

    /// Something went wrong: look before anything else.
    pub fn doubt(&mut self) {
        self.next_look = Instant::now();
    }

    /// When it is to be looked at.
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// It acknowledged a message under this sequence number.
    pub fn took(&mut self, sequence: u64) {
        if sequence <= self.last {
            self.tell(Incident::SequenceReused);
        }
        self.last = sequence;
    }

    /// It was looked at, or could not be.
    pub fn looked<E: std::fmt::Display>(&mut self, looked: Result<Looked, E>) {
        let problem = match looked {
            Ok(looked) => {
                for incident in self.compare(&looked) {
                    self.tell(incident);
                    if incident != Incident::ChangedBack {
                        // Its numbers begin anew, wherever.
                        self.last = 0;
                    }
                }
                let problem = looked.problem.clone();
                self.known = Some(looked);
                problem
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = &problem
            && self.problem != problem
        {
            tracing::warn!(ledger = self.role, stream = self.stream, why, "stream is not in shape, trying again");
        }
        let wait = match problem {
            None => LOOK_EVERY,
            Some(_) => self.again,
        };
        self.again = if problem.is_none() { AGAIN } else { AGAIN_AT_MOST.min(self.again * 2) };
        self.problem = problem;
        self.next_look = Instant::now() + wait;
    }

    fn compare(&self, now: &Looked) -> Vec<Incident> {
        let Some(before) = &self.known else {
            // It went while nobody was there to see it.
            return if now.is_new && self.has_held { vec![Incident::Recreated] } else { Vec::new() };
        };
        if before.created != now.created {
            return vec![Incident::Recreated];
        }
        let mut incidents = Vec::new();
        if now.is_changed_back {
            incidents.push(Incident::ChangedBack);
        }
        if now.last_sequence < self.last {
            incidents.push(Incident::Behind);
        }
        if now.holes > before.holes {
            incidents.push(Incident::Holes);
        }
        if now.messages == 0 && before.messages > 0 {
            incidents.push(Incident::Emptied);
        }
        incidents
    }

    /// What was told since this was asked last.
    pub fn news(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.news)
    }

    fn tell(&mut self, incident: Incident) {
        self.news.push(incident);
        let kind = incident.kind();
        metrics::counter!("spillway_stream_incidents_total", "role" => self.role, "kind" => kind).increment(1);
        if incident == Incident::ChangedBack {
            return;
        }
        tracing::error!(
            ledger = self.role,
            stream = self.stream,
            kind,
            "the stream does not hold what it acknowledged; who has not heard it asks the outbox"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(created: i128, messages: u64, last_sequence: u64, holes: u64) -> Looked {
        Looked { created, messages, last_sequence, holes, is_new: false, is_changed_back: false, problem: None }
    }

    /// A stream that held three messages acknowledged two more.
    fn check(now: Looked, expected: &[Incident]) {
        let mut shape = Shape::new("orders", "spillway-orders-0", true);
        shape.looked(Ok::<_, String>(looked(7, 3, 3, 0)));
        shape.took(4);
        shape.took(5);
        assert_eq!(shape.compare(&now), expected);
    }

    #[test]
    fn a_stream_that_holds_what_it_acknowledged_is_no_incident() {
        check(looked(7, 5, 5, 0), &[]);
        // More than is acknowledged here yet.
        check(looked(7, 6, 6, 0), &[]);
        // The oldest may go.
        check(looked(7, 2, 5, 0), &[]);
    }

    #[test]
    fn every_loss_has_its_name() {
        check(looked(7, 4, 4, 0), &[Incident::Behind]);
        check(looked(7, 4, 5, 1), &[Incident::Holes]);
        check(looked(7, 0, 5, 0), &[Incident::Emptied]);
        check(looked(7, 0, 0, 0), &[Incident::Behind, Incident::Emptied]);
        check(looked(8, 0, 0, 0), &[Incident::Recreated]);
    }
}
