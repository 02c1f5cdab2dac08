//! What makes a ledger the ledger of something: how it reads what it hears, and what it decides.

use std::sync::Arc;

use bytes::Bytes;
use spillway_proto::batch::{self, BatchNumber};
use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, EventKind, Ledger, Subject};
use uuid::Uuid;

use super::error::StoreError;
use super::reader::{Reader, Traced};
use super::says::{Due, Says};
use super::tx::Tx;
use crate::evidence::Evidence;

/// The decisions of one ledger. Inputs come in batches: all states are loaded, all is decided in memory, all is
/// written, in one transaction with the inbox and the outbox.
pub trait Service: Send + Sync + 'static {
    /// One fact heard, one command, or one result of due work.
    type Input: Send + 'static;
    /// What whoever handed in a command or a result is told after the commit.
    type Answer: Send + 'static;
    /// The states that a batch of inputs touches, as loaded and as decided.
    type Book;

    /// What the ledger shows of its own tables to whoever checks it.
    const EVIDENCE: &'static [Evidence] = &[];

    /// What an event means here: the one place that lists every kind. `None` where it is of no concern.
    /// An error makes the event a dead letter.
    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Self::Input>, Unreadable>;

    /// Loads every state that the inputs touch.
    fn load(&self, tx: &Tx<'_>, inputs: &[&Self::Input]) -> Result<Self::Book, StoreError>;

    /// Decides one input: a plain function of the book, the input and the time. A panic makes a heard input a dead
    /// letter and refuses a command; the book is then loaded anew.
    fn decide(&self, book: &mut Self::Book, input: &Self::Input, at: Timestamp, says: &mut Says) -> Self::Answer;

    /// What a command is known by whenever its caller repeats it. Once the process has died with it in hand again and
    /// again it is refused. `None` where no track of it is kept.
    fn command_id(&self, _input: &Self::Input) -> Option<Uuid> {
        None
    }

    /// Writes every state that was changed.
    fn save(&self, tx: &Tx<'_>, book: Self::Book) -> Result<(), StoreError>;

    /// What a due row is about, for its dead letter. Read outside the writer, and not at all where reading it ends the
    /// process.
    fn about_due(&self, _due: &Due) -> AboutDue {
        AboutDue::default()
    }

    /// After the commit of a result of due work: what was decided. For counting; nothing follows from it.
    fn worked(&self, _answer: Self::Answer) {}

    /// After a commit, for each input that was decided in it, heard or handed in. For measuring; nothing follows from it.
    fn decided(&self, _answer: &Self::Answer) {}

    /// What is measured of its own tables every few seconds, beside the writer. Its queries go by an index.
    fn sample(&self, _tx: &Tx<'_>, _now: Timestamp) -> Result<Vec<Sample>, StoreError> {
        Ok(vec![])
    }

    /// Reads a batch into inputs. Only who keeps batches whole (audit) has another way than one by one.
    fn read(&self, reader: &Reader<'_>, batch: &Batch) -> Result<Vec<Read<Self::Input>>, batch::BadBatch> {
        Ok(batch::read(batch.body.clone())?.into_iter().map(|event| reader.event(self, event)).collect())
    }

    /// Whether [`Service::read`] makes one input of a whole batch.
    fn keeps_batches_whole(&self) -> bool {
        false
    }
}

/// What a due row is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AboutDue {
    pub subject: Option<Subject>,
    /// Empty where it is not known.
    pub shop: String,
    /// W3C trace context; empty where there is none.
    pub traceparent: String,
    /// What is to be done, as names and values. No secret and no address is among them.
    pub input: Vec<(&'static str, String)>,
}

/// A gauge of a ledger's own, which is labelled with role, partition and this.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: &'static str,
    /// Name and value.
    pub label: Option<(&'static str, &'static str)>,
    pub value: f64,
}

/// A batch as it came: from a stream, or from an outbox that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub source: Ledger,
    /// `None` where the headers hold no valid number: such a message can only be a dead letter.
    pub number: Option<BatchNumber>,
    /// Unix time in microseconds of the commit that said it; 0 where it is unknown.
    pub time_us: i64,
    /// An `io.cloudevents.v1.CloudEventBatch`.
    pub body: Bytes,
    /// It is the outbox's own copy: if that cannot be read either, the number counts as heard.
    pub asked: bool,
}

/// A batch, and how it came.
#[derive(Clone)]
pub struct Came {
    pub batch: Batch,
    /// How often JetStream has delivered it, this time included; 1 where it was asked for.
    pub delivered: i64,
    /// Where it came from; `None` where it was asked for.
    pub origin: Option<Arc<dyn Origin>>,
}

/// What a message looked like on its way: kept with its dead letters, and asked for only there.
pub trait Origin: Send + Sync {
    /// The stream that it came from.
    fn stream(&self) -> &str;

    /// Its headers, as they were.
    fn headers(&self) -> Vec<(String, String)>;
}

/// What became of one event of a batch.
pub enum Read<I> {
    /// To be decided; with the event as it was said, and its step where that is traced.
    Input { input: I, raw: Bytes, traced: Option<Box<Traced>> },
    /// Of no concern here.
    Passed,
    /// A dead letter.
    Dead { cause: Cause, error: String, raw: Bytes, traced: Option<Box<Traced>> },
}

/// An event whose payload does not say what its kind should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("unreadable payload: {0}")]
    Undecodable(String),
    /// It holds a value that this build does not know yet.
    #[error("payload of a newer kind: {0}")]
    Newer(String),
}

/// Why a message is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It cannot be decoded.
    Undecodable,
    /// It is of a kind, or holds a value, that this build does not know yet.
    Newer,
    /// Deciding it panicked.
    Panic,
    /// The database refuses what it leads to.
    Constraint,
    /// Its headers hold no valid number.
    Unnumbered,
    /// The process died with it in hand, again and again.
    Crash,
}

impl Cause {
    pub const ALL: [Cause; 6] =
        [Cause::Undecodable, Cause::Newer, Cause::Panic, Cause::Constraint, Cause::Unnumbered, Cause::Crash];

    pub const fn name(self) -> &'static str {
        match self {
            Cause::Undecodable => "UNDECODABLE",
            Cause::Newer => "NEWER",
            Cause::Panic => "PANIC",
            Cause::Constraint => "CONSTRAINT",
            Cause::Unnumbered => "UNNUMBERED",
            Cause::Crash => "CRASH",
        }
    }
}

/// The names of all causes.
pub const CAUSES: &[&str] = &{
    let mut names = [""; Cause::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Cause::ALL[at].name();
        at += 1;
    }
    names
};

/// A batch that was read and waits to be decided.
pub struct Heard<I> {
    pub source: Ledger,
    pub number: Option<BatchNumber>,
    pub time_us: i64,
    pub asked: bool,
    /// The whole batch, where it could not be read at all.
    pub unreadable: Option<(Cause, String, Bytes)>,
    pub events: Vec<Read<I>>,
    /// Where it came from, for its dead letters.
    pub origin: Option<Arc<dyn Origin>>,
}

impl<I> Heard<I> {
    /// Reads a batch; this is done outside the writer.
    pub fn read<S: Service<Input = I>>(ledger: &super::Ledger<S>, batch: &Batch) -> Self {
        if batch.number.is_none() {
            let error = "the headers hold no valid batch number".to_owned();
            return Heard { unreadable: Some((Cause::Unnumbered, error, batch.body.clone())), ..Heard::empty(batch) };
        }
        Heard::read_by(&ledger.reader(), ledger.service().as_ref(), batch)
    }

    /// Reads a batch that may have no number: somebody hands it in all the same.
    pub(super) fn read_by<S: Service<Input = I>>(reader: &Reader<'_>, service: &S, batch: &Batch) -> Self {
        let mut heard = Heard::empty(batch);
        // Every batch holds an event. Without its body it would count as heard, and what it said be lost.
        if batch.body.is_empty() {
            heard.unreadable = Some((Cause::Undecodable, "it is empty".to_owned(), batch.body.clone()));
            return heard;
        }
        match service.read(reader, batch) {
            Ok(events) => heard.events = events,
            Err(bad) => heard.unreadable = Some((Cause::Undecodable, bad.0, batch.body.clone())),
        }
        heard
    }

    /// Reads what came.
    pub(super) fn of<S: Service<Input = I>>(ledger: &super::Ledger<S>, came: &Came) -> Self {
        Heard { origin: came.origin.clone(), ..Heard::read(ledger, &came.batch) }
    }

    /// The same batch, without what was in it.
    pub(super) fn again(&self) -> Self {
        Heard {
            source: self.source,
            number: self.number,
            time_us: self.time_us,
            asked: self.asked,
            unreadable: None,
            events: Vec::new(),
            origin: self.origin.clone(),
        }
    }

    /// A batch of which nothing is to be taken but its number.
    pub(super) fn empty(batch: &Batch) -> Self {
        Heard {
            source: batch.source,
            number: batch.number,
            time_us: batch.time_us,
            asked: batch.asked,
            unreadable: None,
            events: Vec::new(),
            origin: None,
        }
    }
}
