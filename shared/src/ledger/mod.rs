//! The ledger: one SQL transaction holds everything that one step does. Messages are marked as seen (inbox), states
//! change, the events that follow are written down (outbox), and only then is anybody told.
//!
//! Absent here: any idea of what is decided (that is a [`Service`]), and NATS (that is the bus).

mod act;
mod collect;
mod command;
mod commit;
mod condition;
mod crowding;
mod dead_letter;
mod due;
mod due_in_hand;
mod error;
mod fingerprint;
mod handle;
mod in_hand;
mod inbox;
mod incident;
mod job;
pub mod letters;
mod newer;
mod open;
mod outbox;
mod pace;
mod pause;
mod queue_wait;
mod reader;
mod readers;
mod redrive;
mod resume;
mod says;
mod schema;
mod service;
mod setting;
mod spans;
mod spec;
mod suspects;
mod take;
mod tx;
mod work;
mod writer;

pub use act::{Act, Acted};
pub use due::{DueFeed, due_at};
pub use due_in_hand::SET_ASIDE_US;
pub use error::{NotTaken, OpenError, ReadError, StoreError};
pub use handle::{Ledger, Throughput};
pub use inbox::{Inbox, Line, Mark};
pub use incident::{INCIDENTS, Incident, IncidentKind, told as incidents_told};
pub use job::ToldMark;
pub use outbox::{Numbering, OutboxBatch};
pub use pause::Pause;
pub use reader::{Reader, Traced};
pub use redrive::{RedriveError, Redriven};
pub use says::{Due, Recorded, Says};
pub use schema::Migration;
pub use service::{AboutDue, Batch, CAUSES, Came, Cause, Heard, Origin, Read, Sample, Service, Unreadable};
pub use setting::{Setting, told as settings_told};
pub(crate) use spans::Sent;
pub use spec::{Clock, Identity, LINES_PER_SECOND, LedgerSpec, Limits, SystemClock};
pub use tx::{Row, Tx, Value};
pub use work::{Gate, Held, NoGate, Wait};
