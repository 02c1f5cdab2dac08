//! The laws once more through the real ledger: batches in any order with repeats, restarts, and what cannot be read.

mod common;

use bytes::Bytes;
use common::{Rig, about, cancelled, config, held, kinds, order, sandbox_config};
use spillway_payments::domain::{Payment, State};
use spillway_proto::batch::BatchWriter;
use spillway_proto::pb::events;
use spillway_proto::trace::step_span;
use spillway_proto::{Event, EventKind, Ledger as Role, Money, OrderId, TraceContext};

const TOTAL: i64 = 300;

/// Of order `n`: held; every third one cancelled as well; every fifth one rejected after a decline.
fn history(n: u8) -> Vec<(OrderId, Event)> {
    let method = if n.is_multiple_of(5) { "pm_declined" } else { "pm_ok" };
    let mut events = vec![(order(n), held(TOTAL, method))];
    if n.is_multiple_of(3) {
        events.push((order(n), cancelled()));
    }
    if n.is_multiple_of(5) {
        events.push((order(n), Event::from(events::OrderRejected::default())));
    }
    events
}

/// Deals the events of many orders in an order that follows from the seed, each of them up to three times.
fn dealt(seed: u64) -> Vec<(OrderId, Event)> {
    let all: Vec<(OrderId, Event)> = (0..30).flat_map(history).collect();
    let mut dealt: Vec<(u64, (OrderId, Event))> = Vec::new();
    for (place, event) in (0u64..).zip(&all) {
        for copy in 0..=(seed + place) % 3 {
            let rank = (seed * 31 + place * 17 + copy * 101).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            dealt.push((rank, event.clone()));
        }
    }
    dealt.sort_by_key(|(rank, _)| *rank);
    dealt.into_iter().map(|(_, event)| event).collect()
}

/// What is left of a payment when it does not matter when it was heard.
fn end(payment: &Payment) -> (State, i64, i64) {
    (payment.state, payment.captured_minor, payment.refunded_minor)
}

#[tokio::test]
async fn batches_in_any_order_with_repeats_end_the_same() {
    for seed in 0..3 {
        let mut rig = Rig::idle(config(), sandbox_config()).await;
        for batch in dealt(seed).chunks(7) {
            rig.hear(batch).await;
        }
        rig.set_to_work();
        for n in 0..30 {
            // Nobody worked while these were heard: whatever is over was never charged.
            let expected = match (n % 3 == 0 || n % 5 == 0, n) {
                (true, _) => (State::Cancelled, 0, 0),
                (false, _) => (State::Captured, TOTAL, 0),
            };
            let payment = rig.until(order(n), expected.0).await;
            assert_eq!(end(&payment), expected, "order {n}, seed {seed}");
        }
        assert_eq!(rig.count("select count(*) from dead_letter").await, 0);
    }
}

#[tokio::test]
async fn an_end_around_a_charge_has_one_of_two_ends_however_often_it_is_told() {
    let rig = Rig::start().await;
    for batch in dealt(7).chunks(3) {
        rig.hear(batch).await;
    }
    for n in 0..30u8 {
        let payment = common::wait_for("a settled payment", || async {
            let payment = rig.payment(order(n)).await.expect("a payment");
            let is_over = n.is_multiple_of(3);
            let is_end = match payment.state {
                State::Captured => !is_over,
                State::Cancelled | State::Declined | State::Refunded => true,
                State::Charging | State::Unknown | State::Pending | State::Parked | State::Compensating => false,
            };
            is_end.then_some(payment)
        });
        let payment = payment.await;
        let said = kinds(&rig.said(order(n)).await);
        let expected = match payment.state {
            State::Captured => vec![EventKind::PaymentCaptured],
            State::Declined => vec![EventKind::PaymentDeclined],
            State::Refunded => vec![EventKind::PaymentCaptured, EventKind::PaymentRefunded],
            other => {
                assert_eq!(other, State::Cancelled);
                vec![]
            }
        };
        assert_eq!(said, expected, "order {n}");
        let net = rig.provider.moved(order(n), "charge").await.iter().sum::<i64>()
            - rig.provider.moved(order(n), "refund").await.iter().sum::<i64>();
        assert_eq!(net, payment.captured_minor - payment.refunded_minor, "order {n}");
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stopped() {
    let mut rig = Rig::idle(config(), sandbox_config()).await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok")), (order(2), held(TOTAL, "pm_lost_answer"))]).await;
    let before = rig.payment(order(1)).await;
    rig = rig.restart().await;
    assert_eq!(rig.payment(order(1)).await, before);
    rig.set_to_work();
    rig.until(order(1), State::Captured).await;
    let captured = rig.until(order(2), State::Captured).await;
    rig.rest().await;
    rig = rig.restart().await;
    assert_eq!(rig.payment(order(2)).await, Some(captured));
    assert_eq!(rig.provider.moved(order(2), "charge").await, [TOTAL]);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_its_batch_mates_pass() {
    let rig = Rig::start().await;
    let no_total = Event::from(events::StockHeld { total: None, payment_method: "pm_ok".to_owned() });
    let negative = held(-1, "pm_ok");
    let mut no_money = held(TOTAL, "pm_ok");
    if let Event::StockHeld(held) = &mut no_money {
        held.total = Some(spillway_proto::pb::Money { currency_code: "???".into(), ..held.total.take().expect("set") });
    }
    let mut writer = BatchWriter::default();
    for (n, event) in
        [(1, held(TOTAL, "pm_ok")), (2, no_total), (3, negative), (4, no_money), (5, held(TOTAL, "pm_ok"))]
    {
        writer.push(&about(order(n), event), Role::Inventory, rig.ledger.now());
    }
    let mut body = writer.into_bytes();
    // An event that is no event, in the same batch.
    body.extend_from_slice(&[10, 3, 255, 255, 255]);
    rig.hear_bytes(Bytes::from(body)).await;
    rig.until(order(1), State::Captured).await;
    rig.until(order(5), State::Captured).await;
    assert_eq!(rig.count("select count(*) from dead_letter where cause = 'UNDECODABLE'").await, 4);
    assert_eq!(rig.count("select count(*) from payment").await, 2);
}

#[tokio::test]
async fn due_work_that_cannot_be_read_is_made_anew_from_its_payment() {
    let mut rig = Rig::idle(config(), sandbox_config()).await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    rig.spoil_due();
    rig = rig.restart().await;
    rig.set_to_work();
    rig.until(order(1), State::Captured).await;
}

#[tokio::test]
async fn events_carry_the_shop_and_the_trace_of_what_caused_them() {
    let rig = Rig::start().await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    rig.until(order(1), State::Captured).await;
    let envelopes = rig.envelopes().await;
    assert_eq!(envelopes.len(), 1);
    let cause = about(order(1), held(TOTAL, "pm_ok"));
    assert_eq!(envelopes[0].shop, cause.shop);
    let (told, sent) = (TraceContext::parse(&envelopes[0].traceparent), TraceContext::parse(&cause.traceparent));
    let step = sent.expect("a trace").at(step_span(Role::Payments, cause.id()));
    // The cause is of another day: what it leads to may begin a trace of its own.
    assert!([Some(step), Some(step.renewed())].contains(&told), "{told:?}");
    assert_eq!(envelopes[0].source, "payments");
}

#[tokio::test]
async fn an_answer_for_a_charge_that_is_not_known_is_recorded_and_changes_nothing() {
    let rig = Rig::idle(config(), sandbox_config()).await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    let due = rig.take_due().await.remove(0);
    let known = rig.work(due).await;
    let strangers = [rig.of_order(&known, order(9)), rig.of_attempt(&known, 2)];
    let before = rig.payment(order(1)).await;
    for stranger in strangers {
        rig.ledger.command(stranger).await.expect("taken");
    }
    assert_eq!(rig.payment(order(1)).await, before);
    assert_eq!(rig.count("select count(*) from answer where outcome = 'APPROVED'").await, 2);
    for _ in 0..2 {
        rig.ledger.command(known.clone()).await.expect("taken");
    }
    assert_eq!(rig.payment(order(1)).await.map(|payment| payment.state), Some(State::Captured));
    assert_eq!(kinds(&rig.said(order(1)).await), [EventKind::PaymentCaptured]);
    let answers = "select count(*) from answer where outcome = 'APPROVED' and amount_minor = 300";
    assert_eq!((rig.count("select count(*) from answer").await, rig.count(answers).await), (3, 3), "once each");
}

#[tokio::test]
async fn amounts_of_any_currency_survive_the_way() {
    let rig = Rig::start().await;
    for (n, code, minor) in [(1, "JPY", 1_200), (2, "KWD", 1_234)] {
        let total = Money::new(minor, spillway_proto::Currency::parse(code).expect("a currency"));
        let (wire, payment_method) = (Some(total.to_wire()), "pm_ok".to_owned());
        rig.hear(&[(order(n), Event::from(events::StockHeld { total: wire.clone(), payment_method }))]).await;
        rig.until(order(n), State::Captured).await;
        let said = rig.said(order(n)).await;
        let [Event::PaymentCaptured(captured)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(captured.amount, wire);
        assert_eq!(rig.provider.moved(order(n), "charge").await, [minor]);
    }
}
