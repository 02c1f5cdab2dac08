//! How work flows through a ledger: shown to operators, held up and changed by them.
//!
//! | what | where |
//! | --- | --- |
//! | what a ledger tells of itself | [`figures`] |
//! | the same as gauges, every few seconds | [`gauges`] |
//! | what operators do | [`acts`] |

mod acts;
mod figures;
mod gauges;

use prost::Message as _;
use spillway_proto::pb::internal::FlowResponse;

pub use acts::{Verb, act};
pub use figures::of;
pub(crate) use gauges::keep;

use crate::bus::{Bus, Routes, refusal};
use crate::ledger::{Ledger, Service};

/// What every ledger answers operators.
pub(crate) fn routes<S: Service>(ledger: &Ledger<S>, bus: &Bus) -> Routes {
    let (shown, bus) = (ledger.clone(), bus.clone());
    let routes = Routes::new().on("flow", move |_call| {
        let (ledger, is_connected) = (shown.clone(), bus.is_connected());
        async move {
            let callee = ledger.identity().id.ledger;
            let flow = of(&ledger, is_connected).await.map_err(|why| refusal::not_read(callee, &why))?;
            Ok(FlowResponse { flow: Some(flow) }.encode_to_vec().into())
        }
    });
    [Verb::Pause, Verb::Resume, Verb::Set].into_iter().fold(routes, |routes, verb| {
        let ledger = ledger.clone();
        routes.on(verb.endpoint(), move |call| acts::answer(ledger.clone(), verb, call))
    })
}
