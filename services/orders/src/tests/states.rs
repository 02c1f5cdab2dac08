//! The whole state space of one order, enumerated: every state that any sequence of events can reach, also one that
//! cannot come while every ledger works as it should, and every event in it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use spillway_proto::Event;
use spillway_proto::pb::orders::Reason;

use super::kit::{at, captured, declined, deferred, heard, held, placed, refund_failed, refunded, refused};
use crate::domain::{Decision, Facts, Order, State};
use crate::service::decide;

fn events() -> Vec<Event> {
    vec![
        placed("ann", "ann@example.com"),
        held(),
        refused(),
        captured(),
        declined(false),
        declined(true),
        deferred("o1", 3),
        deferred("o2", 5),
        refunded("r1", 2),
        refund_failed("r2"),
    ]
}

/// When each of them was said: told again, it is the same event.
fn tell(order: &mut Order, event: &Event) -> Decision {
    let second = events().iter().position(|known| known == event).map_or(0, |n| i64::try_from(n).expect("few"));
    let decision = decide(order, &heard(&(0, second, event.clone())));
    if let Decision::Ended(_) = decision {
        order.record(at(100));
    }
    decision
}

/// What makes a difference to what comes next.
type Key = (State, Reason, Facts, Vec<u8>);

fn key(order: &Order) -> Key {
    let mut seen: Vec<&[u8]> = order.seen.chunks(16).collect();
    seen.sort_unstable();
    (order.state, order.reason, order.facts, seen.concat())
}

/// Every order that can be reached.
fn reachable() -> Vec<Order> {
    let first = Order::unheard("default", at(0));
    let mut found = HashMap::from([(key(&first), first.clone())]);
    let mut open = VecDeque::from([first]);
    while let Some(order) = open.pop_front() {
        for event in events() {
            let mut next = order.clone();
            tell(&mut next, &event);
            if let Entry::Vacant(unseen) = found.entry(key(&next)) {
                unseen.insert(next.clone());
                open.push_back(next);
                assert!(found.len() < 10_000, "what an order can be has no end");
            }
        }
    }
    found.into_values().collect()
}

fn same_decline(event: &Event, other: &Event) -> bool {
    matches!((event, other), (Event::PaymentDeclined(a), Event::PaymentDeclined(b)) if a != b)
}

#[test]
fn told_twice_changes_nothing_and_says_nothing_in_every_state() {
    let orders = reachable();
    assert!(orders.len() > 500, "{}", orders.len());
    for order in orders {
        for event in events() {
            let mut order = order.clone();
            tell(&mut order, &event);
            let before = order.clone();
            assert_eq!(tell(&mut order, &event), Decision::Known, "{event:?} in {before:?}");
            assert_eq!(order, before);
        }
    }
}

#[test]
fn a_finished_order_absorbs_everything_and_still_records_it_once() {
    for order in reachable().into_iter().filter(|order| order.state.is_finished()) {
        for event in events() {
            let mut now = order.clone();
            let decision = tell(&mut now, &event);
            assert!(matches!(decision, Decision::Known | Decision::Recorded), "{decision:?}");
            assert_eq!((now.state, now.reason), (order.state, order.reason));
            let recorded = i64::from(decision == Decision::Recorded);
            assert_eq!(now.version, order.version + recorded);
        }
    }
}

#[test]
fn an_order_ends_exactly_when_it_is_placed_and_an_outcome_is_known() {
    for order in reachable() {
        let decided = [Facts::CAPTURED, Facts::REFUSED, Facts::DECLINED].into_iter().any(|fact| order.facts.has(fact));
        assert_eq!(order.state.is_finished(), order.facts.has(Facts::PLACED) && decided, "{order:?}");
        match (order.state, order.reason) {
            (State::Pending, Reason::Unspecified) => {}
            (State::Confirmed, Reason::Unspecified) => assert!(order.facts.has(Facts::CAPTURED)),
            (State::Rejected, Reason::OutOfStock) => assert!(order.facts.has(Facts::REFUSED)),
            (State::Rejected, Reason::PaymentDeclined) => assert!(order.facts.has(Facts::DECLINED)),
            (State::Rejected, Reason::ActionRequired) => assert!(order.facts.has(Facts::ACTION_REQUIRED)),
            (state, reason) => panic!("{state:?} for {reason:?}"),
        }
    }
}

#[test]
fn versions_count_every_recorded_event_without_a_gap() {
    for order in reachable() {
        for event in events() {
            let mut now = order.clone();
            let steps = match tell(&mut now, &event) {
                Decision::Known => 0,
                Decision::Recorded => 1,
                Decision::Ended(_) => 2,
            };
            assert_eq!(now.version - order.version, steps);
        }
    }
}

#[test]
fn what_is_shown_as_refunded_is_what_was_told_to_be() {
    let units = |order: &Order| if order.seen.is_empty() { 0 } else { order.refunded_minor };
    for order in reachable() {
        let mut now = order.clone();
        let decision = tell(&mut now, &refunded("r1", 2));
        let added = if decision == Decision::Known { 0 } else { 200 };
        assert_eq!(now.refunded_minor, order.refunded_minor + added);
        assert_eq!(units(&now), 200);
    }
}

/// Where two outcomes are known before the order is heard of, which cannot be while every ledger works as it should, it
/// ends the same in whatever order they came.
#[test]
fn of_two_outcomes_that_are_known_before_the_order_the_money_goes_first() {
    let outcomes = [captured(), refused(), declined(false), declined(true)];
    for first in &outcomes {
        for second in outcomes.iter().filter(|second| *second != first && !same_decline(first, second)) {
            let ends = [[first, second], [second, first]].map(|heard| {
                let mut order = Order::unheard("default", at(0));
                heard.into_iter().for_each(|event| assert_eq!(tell(&mut order, event), Decision::Recorded));
                assert!(matches!(tell(&mut order, &placed("ann", "")), Decision::Ended(_)));
                order
            });
            assert_eq!(ends[0], ends[1]);
            let paid = [first, second].into_iter().any(|event| matches!(event, Event::PaymentCaptured(_)));
            assert_eq!(ends[0].state == State::Confirmed, paid);
        }
    }
}
