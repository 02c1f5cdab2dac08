//! ExplainOrder: every ledger that may know of the order is asked at once, and what they say is put together.

mod compose;
#[cfg(test)]
mod tests;
mod words;

use spillway_proto::pb::internal::{DeadLettersRequest, DeadLettersResponse, ExplainRequest, ExplainResponse};
use spillway_proto::pb::ops::DeadLetter;
use spillway_proto::pb::ops::dead_letter::State as LetterState;
use spillway_proto::pb::orders::ExplainOrderResponse;
use spillway_proto::time::Timestamp;
use spillway_proto::{Ledger as Source, OrderId, Subject};
use spillway_shared::bus::{CallFailed, Caller};
use spillway_shared::grpc::CallError;
use tonic::Status;

use crate::intake;
use crate::reading::Reading;
use crate::refusal::{self, Asked};
use crate::view;
use compose::{Accepted, Answer, Known};

/// In the order in which an order passes them.
const ASKED: [Source; 4] = [Source::Inventory, Source::Payments, Source::Orders, Source::Notifications];

/// Dead letters of an order that are told of.
const LETTERS: i32 = 10;

/// # Errors
/// NOT_FOUND where neither orders nor the intake knows the order; UNAVAILABLE where orders does not answer and the
/// intake does not know the order either, or cannot be read.
pub(super) async fn explain(
    reading: &Reading,
    caller: &Caller,
    order_id: OrderId,
) -> Result<ExplainOrderResponse, Status> {
    let not_found = || CallError::NotFound { resource_type: "order", resource_name: order_id.to_string() };
    // No gateway made such an id.
    if order_id.partition().0 >= reading.partitions {
        return Err(not_found().into());
    }
    let answers = futures::future::join_all(ASKED.map(|source| ask(reading, caller, source, order_id)));
    let (history, answers) = tokio::join!(reading.ask_orders(caller, order_id, 0, 0), answers);
    let shop = caller.shop.clone();
    let entry = reading.intake.query(move |tx| intake::by_order(tx, &shop, order_id)).await;
    let entry = entry.map_err(refusal::not_read)?;
    let order = match history {
        Ok(history) => match (history.order, &entry) {
            (Some(order), _) => Some(order),
            (None, Some(entry)) => {
                let placed = entry.placed.clone().unwrap_or_default();
                Some(view::accepted(order_id, placed, entry.create_time))
            }
            (None, None) => return Err(not_found().into()),
        },
        // How it stands is not known, and the intake's word could be older than what a client has seen.
        Err(_) if entry.is_some() => None,
        Err(failed) => return Err(refusal::of_call(failed, Asked::Question)),
    };
    let unsaid = reading.intake.unsaid_since(order_id.partition()).await.map_err(refusal::not_read)?;
    let accepted = entry.map(|entry| Accepted {
        at: entry.create_time,
        is_told: unsaid.is_none_or(|oldest| entry.create_time < oldest),
    });
    let is_connected = reading.bus.is_connected();
    let known = Known { now: Timestamp::now(), order, accepted, is_connected, answers };
    Ok(compose::compose(known))
}

/// What a ledger says of the order, and of its messages that it could not take.
async fn ask(reading: &Reading, caller: &Caller, source: Source, order_id: OrderId) -> (Source, Answer) {
    let request = ExplainRequest { order_id: order_id.to_string() };
    let asked = reading.bus.call::<ExplainResponse>(source, order_id.partition(), "explain", caller, &request);
    let dead = letters(reading, caller, source, order_id, LetterState::Dead);
    let discarded = letters(reading, caller, source, order_id, LetterState::Discarded);
    let (answer, dead, discarded) = tokio::join!(asked, dead, discarded);
    let answer = match answer {
        Ok(ExplainResponse { explanation: Some(explanation) }) => {
            Answer::Said(Box::new(compose::with_letters(explanation, &dead, &discarded)))
        }
        Ok(ExplainResponse { explanation: None }) => Answer::Cannot("its answer is empty".to_owned()),
        Err(CallFailed::NoAnswer { why, .. }) => Answer::Silent(why),
        Err(CallFailed::Refused(refusal)) => Answer::Cannot(refusal.message),
        Err(CallFailed::Unreadable { why, .. }) => Answer::Cannot(why),
    };
    (source, answer)
}

/// None where the ledger cannot say: its own explanation then tells that it does not answer.
async fn letters(
    reading: &Reading,
    caller: &Caller,
    source: Source,
    order_id: OrderId,
    state: LetterState,
) -> Vec<DeadLetter> {
    let subject = Subject::Order(order_id).to_string();
    let request = DeadLettersRequest { subject, state: state.into(), limit: LETTERS, ..DeadLettersRequest::default() };
    let asked = reading.bus.call::<DeadLettersResponse>(source, order_id.partition(), "dead_letters", caller, &request);
    asked.await.map(|told| told.dead_letters).unwrap_or_default()
}
