//! gRPC serving: limits, deadlines, sizes, health, reflection, gRPC-Web, and errors that tell what to do.
//!
//! A call passes these from the outside in: under pressure the gate ([`early`]), CORS and gRPC-Web ([`web`]), then the
//! column in [`calls`]: deadline, panic guard, message, gate, place, trace context, service; on the way out every error
//! is completed ([`explain`]).
//!
//! A handler's future is dropped when its client goes away or its deadline passes: what must not stop half way runs
//! in a task of its own.

mod admission;
mod calls;
mod deadline;
mod durations;
mod early;
mod error;
mod explain;
mod gate;
mod health;
mod limits;
mod message;
mod methods;
mod panics;
mod server;
mod streams;
mod trace;
mod web;

pub use deadline::Deadline;
pub use error::{CallError, Cause, DOMAIN, FieldViolation, RETRY_PUSHBACK, Reason};
pub use gate::{Gate, LetIn, Refusal, Unread};
pub use health::Health;
pub use limits::{GrpcLimits, MAX_REQUEST_BYTES};
pub use server::{BuildError, GrpcServer, GrpcServerBuilder};
pub use trace::TraceParent;

use tonic::body::Body;

/// A call as it travels through the layers.
type Call = http::Request<Body>;
/// Its answer.
type Answer = http::Response<Body>;
