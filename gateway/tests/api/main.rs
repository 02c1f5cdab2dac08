//! The API as clients see it: real gRPC, a real nats-server, the real ledgers of orders, inventory and audit; and where
//! a test wants to say what orders answers, a stand-in on the same subjects.

mod audit;
mod dead_letters;
mod kit;
mod outages;
mod pages;
mod place;
mod serving;
mod stand_in;
mod stock;
mod watch;
mod watch_ends;
