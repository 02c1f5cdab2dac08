//! What inventory has to say of an order when somebody asks why it stands as it does.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{Call, ExplainRequest, ExplainResponse, Refusal};
use spillway_proto::pb::orders::LedgerExplanation;
use spillway_proto::time;
use spillway_proto::{Ledger as Source, OrderId};
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;

use crate::domain::{HoldState, Line};
use crate::service::Inventory;
use crate::store::{self, HoldRow};

/// Lines that are named; of more, only how many.
const MAX_LINES: usize = 10;

/// `explain`: an `ExplainRequest` is answered with an `ExplainResponse`.
pub async fn explain(ledger: Ledger<Inventory>, call: Call) -> Result<Bytes, Refusal> {
    let request: ExplainRequest = refusal::read(&call)?;
    let order_id: OrderId = (request.order_id.parse())
        .map_err(|_| refusal::new(Code::InvalidArgument, "INVALID_ORDER_ID", "an order's id is a UUID"))?;
    let hold = ledger.query(move |tx| store::hold(tx, &call.shop, order_id)).await;
    let hold = hold.map_err(|error| refusal::not_read(Source::Inventory, &error))?;
    Ok(ExplainResponse { explanation: Some(explanation(hold.as_ref())) }.encode_to_vec().into())
}

fn explanation(row: Option<&HoldRow>) -> LedgerExplanation {
    let ledger = Source::Inventory.name().to_owned();
    let Some(row) = row else {
        return LedgerExplanation {
            ledger,
            summary: "Inventory has not heard of this order yet.".to_owned(),
            next_step: "inventory holds all of its lines, or refuses them".to_owned(),
            ..LedgerExplanation::default()
        };
    };
    let (made, moved) = (time::from_micros(row.create_us), time::from_micros(row.update_us));
    let lines = lines(&row.hold.lines);
    let (summary, next_step) = match row.hold.state {
        HoldState::Held => (
            format!("It holds {lines} for this order since {made:.0}, until the order is decided."),
            "the units are sold when the order is confirmed, or go back into stock when it is not",
        ),
        HoldState::Sold => (format!("{lines} held since {made:.0} were sold to the customer at {moved:.0}."), ""),
        HoldState::Released => (format!("{lines} held since {made:.0} went back into stock at {moved:.0}."), ""),
        HoldState::Refused => {
            (format!("It refused the order at {moved:.0}: not every line could be held, so nothing was."), "")
        }
        HoldState::Tombstone => {
            (format!("The order ended at {made:.0}, before inventory heard that it was placed: nothing was held."), "")
        }
    };
    let is_held = row.hold.state == HoldState::Held;
    LedgerExplanation {
        ledger,
        knows_order: true,
        state: row.hold.state.name().to_owned(),
        summary,
        waiting_since: is_held.then(|| time::to_wire(made)),
        next_step: next_step.to_owned(),
        ..LedgerExplanation::default()
    }
}

/// "2 of tea, 1 of cup"
fn lines(lines: &[Line]) -> String {
    let named = lines.iter().take(MAX_LINES).map(|line| format!("{} of {}", line.quantity, line.sku));
    let mut named: Vec<String> = named.collect();
    if let Some(more @ 1..) = lines.len().checked_sub(MAX_LINES) {
        named.push(format!("{more} more lines"));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Hold;
    use spillway_proto::Partition;
    use spillway_proto::time::Timestamp;

    fn row(state: HoldState) -> HoldRow {
        let lines = match state {
            HoldState::Held | HoldState::Sold | HoldState::Released => {
                vec![Line { sku: "tea".into(), quantity: 2 }, Line { sku: "cup".into(), quantity: 1 }]
            }
            HoldState::Refused | HoldState::Tombstone => vec![],
        };
        HoldRow {
            order_id: OrderId::new(Timestamp::UNIX_EPOCH, Partition(0), [0; 10]),
            shop: "default".into(),
            hold: Hold { state, lines },
            create_us: 1_000_000,
            update_us: 61_000_000,
        }
    }

    #[test]
    fn every_state_of_a_hold_is_told_with_its_units_and_its_times() {
        let table = [
            (HoldState::Held, "holds 2 of tea, 1 of cup for this order since 1970-01-01T00:00:01Z"),
            (HoldState::Sold, "2 of tea, 1 of cup held since 1970-01-01T00:00:01Z were sold to the customer at"),
            (HoldState::Released, "went back into stock at 1970-01-01T00:01:01Z"),
            (HoldState::Refused, "refused the order at 1970-01-01T00:01:01Z"),
            (HoldState::Tombstone, "before inventory heard that it was placed"),
        ];
        assert_eq!(table.map(|(state, _)| state), HoldState::ALL);
        for (state, words) in table {
            let told = explanation(Some(&row(state)));
            assert_eq!((told.knows_order, told.state.as_str()), (true, state.name()));
            assert!(told.summary.contains(words), "{words:?} in {:?}", told.summary);
            assert_eq!(told.waiting_since.is_some(), state == HoldState::Held);
        }
        let told = explanation(None);
        assert_eq!((told.knows_order, told.state.as_str()), (false, ""));
    }
}
