//! What notifications has to say of an order when somebody asks why it stands as it does.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{Call, ExplainRequest, ExplainResponse, Refusal};
use spillway_proto::pb::orders::LedgerExplanation;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Ledger as Source, OrderId};
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::{Ledger, Pause, due_at};

use crate::domain::State;
use crate::run::FLOW;
use crate::service::{EMAIL, Notifications};
use crate::store::{self, Stored};

/// A notice, and when its next try is due.
type Notice = (Stored, Option<Timestamp>);

/// `explain`: an `ExplainRequest` is answered with an `ExplainResponse`.
pub async fn explain(ledger: Ledger<Notifications>, call: Call) -> Result<Bytes, Refusal> {
    let request: ExplainRequest = refusal::read(&call)?;
    let order_id: OrderId = (request.order_id.parse())
        .map_err(|_| refusal::new(Code::InvalidArgument, "INVALID_ORDER_ID", "an order's id is a UUID"))?;
    let notices = ledger.query(move |tx| {
        let stored = store::of_order(tx, &call.shop, order_id)?;
        let with_due = stored.into_iter().map(|(key, stored)| {
            let due = due_at(tx, EMAIL, &store::due_key(&key))?;
            Ok((stored, due.map(|(at, _)| at)))
        });
        with_due.collect::<Result<Vec<Notice>, _>>()
    });
    let notices = notices.await.map_err(|error| refusal::not_read(Source::Notifications, &error))?;
    let pause = ledger.pauses().borrow().get(FLOW).cloned();
    let explanation = held_up(explanation(&notices), pause.as_ref());
    Ok(ExplainResponse { explanation: Some(explanation) }.encode_to_vec().into())
}

/// The notice that is not sent yet tells; else the last.
fn explanation(notices: &[Notice]) -> LedgerExplanation {
    let ledger = Source::Notifications.name().to_owned();
    let pending = notices.iter().find(|(stored, _)| stored.delivery.state == State::Pending);
    let Some((stored, due)) = pending.or(notices.last()) else {
        return LedgerExplanation {
            ledger,
            summary: "Nobody has been told: the customer hears when the order has ended, where it has a contact."
                .to_owned(),
            ..LedgerExplanation::default()
        };
    };
    let delivery = &stored.delivery;
    let mut told = LedgerExplanation {
        ledger,
        knows_order: true,
        state: delivery.state.name().to_owned(),
        attempt: delivery.attempt,
        ..LedgerExplanation::default()
    };
    let (asked, ended) = (delivery.told_at, delivery.ended_at.unwrap_or(delivery.told_at));
    match delivery.state {
        State::Pending => {
            told.summary = format!("A mail to the customer waits since {asked:.0} to be handed over.");
            told.waiting_since = Some(time::to_wire(asked));
            if delivery.attempt > 1 {
                told.last_problem = format!("the mail server did not take it, {} times so far", delivery.attempt - 1);
            }
            told.next_step = format!("try {} of handing the mail over", delivery.attempt);
            told.next_time = due.map(time::to_wire);
        }
        State::Sent => told.summary = format!("The customer was written to at {ended:.0}."),
        State::Failed => {
            told.summary = format!("No mail could be handed over, and it was given up at {ended:.0}.");
            told.last_problem = delivery.error.clone().unwrap_or_default();
        }
    }
    told
}

/// Where an operator holds up what is still to be sent.
fn held_up(told: LedgerExplanation, pause: Option<&Pause>) -> LedgerExplanation {
    let Some(pause) = pause.filter(|_| told.waiting_since.is_some()) else { return told };
    let operator_actions = vec!["spillway resume notifications --reason TEXT".to_owned()];
    LedgerExplanation { paused: format!("{} (since {:.0})", pause.reason, pause.since), operator_actions, ..told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Delivery;

    fn at(second: i64) -> Timestamp {
        time::from_micros(second * 1_000_000)
    }

    fn notice(state: State, attempt: i64) -> Notice {
        let error = (state == State::Failed).then(|| "given up after 3 tries: the mail server broke off".to_owned());
        let ended_at = (state != State::Pending).then(|| at(9));
        let delivery = Delivery { state, attempt, told_at: at(1), ended_at, error };
        (Stored { shop: "default".into(), kind: "OrderConfirmed".into(), delivery }, Some(at(5)))
    }

    #[test]
    fn every_state_of_a_notice_is_told_and_what_is_not_sent_goes_first() {
        let none = explanation(&[]);
        assert_eq!((none.knows_order, none.state.as_str()), (false, ""));
        let pending = explanation(&[notice(State::Pending, 3), notice(State::Sent, 1)]);
        assert_eq!((pending.state.as_str(), pending.attempt), ("PENDING", 3));
        assert_eq!(pending.next_time, Some(time::to_wire(at(5))));
        assert!(pending.last_problem.contains("2 times so far"), "{pending:?}");
        let first = explanation(&[notice(State::Pending, 1)]);
        assert_eq!((first.last_problem.as_str(), first.waiting_since), ("", Some(time::to_wire(at(1)))));
        let pause = Pause { reason: "relay moves".into(), by: "ops".into(), since: at(3) };
        let paused = held_up(first, Some(&pause));
        assert_eq!(paused.paused, "relay moves (since 1970-01-01T00:00:03Z)");
        assert_eq!(paused.operator_actions, ["spillway resume notifications --reason TEXT"]);
        let sent = explanation(&[notice(State::Sent, 1)]);
        assert_eq!(held_up(sent.clone(), Some(&pause)), sent, "what is sent is not held up");
        assert_eq!(
            (sent.summary.as_str(), sent.waiting_since),
            ("The customer was written to at 1970-01-01T00:00:09Z.", None)
        );
        let failed = explanation(&[notice(State::Failed, 3)]);
        assert!(failed.summary.contains("given up at") && failed.last_problem.contains("broke off"), "{failed:?}");
    }
}
