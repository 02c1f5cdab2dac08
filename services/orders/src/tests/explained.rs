//! What `explain` answers.

use prost::Message;
use spillway_proto::Event;
use spillway_proto::pb::internal::{ExplainRequest, ExplainResponse};
use spillway_proto::pb::orders::LedgerExplanation;

use super::kit::{Bench, call, captured, declined, deferred, held, order_id, placed, refund_failed, refunded, refused};
use crate::explain::explain;

async fn told(events: Vec<Event>) -> LedgerExplanation {
    let mut bench = Bench::open();
    let story: Vec<_> = (1..).zip(events).map(|(second, event)| (0, second, event)).collect();
    bench.hear(&story).await;
    let request = ExplainRequest { order_id: order_id(0).to_string() };
    let answer = explain(bench.ledger.clone(), call(&request)).await.expect("an answer");
    ExplainResponse::decode(answer).expect("a response").explanation.expect("always there")
}

#[tokio::test]
async fn every_stage_of_an_order_is_told_in_words_that_are_true_of_it() {
    let ann = || placed("ann", "");
    let table = [
        (vec![], "", "has not heard of this order"),
        (vec![ann()], "PENDING", "inventory has neither held nor refused the lines yet"),
        (vec![ann(), held()], "PENDING", "the lines are held, the charge has not come to an end yet"),
        (vec![ann(), held(), deferred("o1", 2)], "PENDING", "the payment provider stopped answering at"),
        (vec![ann(), held(), captured()], "CONFIRMED", "It was paid and confirmed at"),
        (vec![ann(), refused()], "REJECTED", "Short: tea (2 ordered, 1 available)."),
        (vec![ann(), held(), declined(false)], "REJECTED", "declined the charge at"),
        (vec![ann(), held(), declined(false)], "REJECTED", "Its code: no_funds."),
        (vec![ann(), held(), declined(true)], "REJECTED", "wants the customer to confirm"),
        (vec![ann(), held(), captured(), refunded("r1", 5)], "CONFIRMED", "5.00 EUR went back"),
    ];
    for (events, state, words) in table {
        let told = told(events).await;
        assert_eq!((told.state.as_str(), told.ledger.as_str()), (state, "orders"));
        assert_eq!(told.knows_order, !state.is_empty());
        assert!(told.summary.contains(words), "{words:?} in {:?}", told.summary);
        assert_eq!(told.waiting_since.is_some(), state == "PENDING", "{told:?}");
    }
    let told = told(vec![ann(), held(), captured(), refund_failed("r1")]).await;
    assert!(told.last_problem.contains("refused a refund"), "{told:?}");
}
