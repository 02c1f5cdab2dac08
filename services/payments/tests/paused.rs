//! Operators hold up refunds and charges, each by itself.

mod common;

use common::{Rig, cancelled, held, order, wait_for};
use spillway_payments::domain::State;
use spillway_shared::ledger::{Act, Acted};
use uuid::Uuid;

const TOTAL: i64 = 1250;

fn act(request: u128) -> Act {
    Act {
        request_id: Uuid::from_u128(request),
        reason: "the bank moves".to_owned(),
        by: "ada".to_owned(),
        traceparent: String::new(),
    }
}

#[tokio::test]
async fn paused_refunds_wait_while_charges_go_on_and_then_money_goes_back_once() {
    let rig = Rig::start().await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    rig.until(order(1), State::Captured).await;
    assert_eq!(rig.ledger.pause("refunds", act(1)).await, Ok(Acted::Done));
    rig.hear(&[(order(1), cancelled()), (order(2), held(TOTAL, "pm_ok"))]).await;
    rig.until(order(2), State::Captured).await;
    rig.until(order(1), State::Compensating).await;
    assert_eq!(rig.count("select count(*) from due where kind = 'refund'").await, 1);
    assert_eq!(rig.provider.moved(order(1), "refund").await, [0; 0]);
    assert_eq!(rig.ledger.resume("refunds", act(2)).await, Ok(Acted::Done));
    rig.until(order(1), State::Refunded).await;
    assert_eq!(rig.provider.moved(order(1), "refund").await, [TOTAL]);
}

#[tokio::test]
async fn paused_payments_make_no_call_while_refunds_go_on() {
    let rig = Rig::start().await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    rig.until(order(1), State::Captured).await;
    assert_eq!(rig.ledger.pause("payments", act(1)).await, Ok(Acted::Done));
    rig.hear(&[(order(2), held(TOTAL, "pm_ok")), (order(1), cancelled())]).await;
    rig.until(order(1), State::Refunded).await;
    let waiting = || async { (rig.count("select count(*) from due where kind = 'charge'").await == 1).then_some(()) };
    wait_for("the charge waits", waiting).await;
    assert_eq!(rig.provider.moved(order(2), "charge").await, [0; 0]);
    assert_eq!(rig.ledger.resume("payments", act(2)).await, Ok(Acted::Done));
    rig.until(order(2), State::Captured).await;
    assert_eq!(rig.provider.moved(order(2), "charge").await, [TOTAL]);
}
