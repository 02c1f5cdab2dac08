//! The gRPC server against real clients on real sockets.

mod connections;
mod discovery;
mod drain;
mod errors;
mod kit;
mod limits;
mod web;
