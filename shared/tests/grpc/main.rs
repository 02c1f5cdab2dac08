//! The gRPC server against real clients on real sockets.

mod attacks;
mod connections;
mod discovery;
mod drain;
mod errors;
mod gate;
mod kit;
mod limits;
mod web;
