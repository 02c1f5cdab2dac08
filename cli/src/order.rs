//! `spillway order`: one file for each verb.

mod events;
mod explain;
mod follow;
mod get;
pub mod line;
mod list;
mod place;
pub mod shown;
mod trace;
mod watch;

use crate::cli::OrderVerb;
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(verb: OrderVerb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        OrderVerb::Place(args) => place::run(*args, ctx).await,
        OrderVerb::Get { order_id } => get::run(order_id, ctx).await,
        OrderVerb::List(args) => list::run(args, ctx).await,
        OrderVerb::Watch(args) => watch::run(args, ctx).await,
        OrderVerb::Explain { order_id } => explain::run(order_id, ctx).await,
        OrderVerb::Events { order_id } => events::run(order_id, ctx).await,
        OrderVerb::Trace { order_id } => trace::run(order_id, ctx).await,
    }
}
