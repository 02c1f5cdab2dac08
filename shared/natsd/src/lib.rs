//! A real nats-server beside `spillway up`, the benchmark and the tests: where its binary comes
//! from ([`Obtain`]), how it runs and ends ([`NatsServer`], [`Running`]), who sits on a port
//! ([`port_holder`]), and one server per test ([`testing`]). Any other server that must not outlive
//! this process can be run the same way ([`Supervised`], [`on_path`]).
//!
//! Absent here: any NATS client, and anything that knows what the server is used for. Linux only
//! (process file descriptors and `/proc`).

mod command;
pub mod obtain;
mod port;
mod release;
pub mod server;
mod supervised;
pub mod testing;
mod version;

pub use obtain::{Obtain, ObtainError, Obtained, Origin, on_path};
pub use port::port_holder;
pub use server::{Exit, NatsServer, Running, Sick, StartError, SyncInterval};
pub use supervised::{Supervised, take_output};
pub use version::{MINIMUM, Version};
