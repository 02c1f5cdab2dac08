//! The laws of orders, in memory and through a real ledger, and what it answers.

mod answers;
mod ends;
mod explained;
mod kit;
mod laws;
mod ledger;
mod pages;
mod states;
