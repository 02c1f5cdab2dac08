//! Every payment there can be, and every input there can be, one by one.

use std::time::Duration;

use spillway_proto::Event;
use spillway_proto::time::Timestamp;

use super::{IMPATIENT, POLICY, decide, decide_by, ended, eur, held, order, outage, seconds};
use crate::domain::{Answered, Decision, DueStep, Key, Outcome, Payment, Purpose, Reason, Receipt, State, Step, Task};
use crate::service::Input;

const TOTAL: i64 = 500;
const NOW: i64 = 50_000;

fn payment(state: State, reason: Option<Reason>) -> Payment {
    let is_refund = matches!(state, State::Compensating | State::Refunded)
        || reason.is_some_and(|reason| reason.name().starts_with("REFUND_"));
    Payment {
        order: order(),
        shop: "default".to_owned(),
        state,
        ended: None,
        amount: Some(eur(TOTAL)),
        payment_method: "pm_ok".to_owned(),
        attempt: 1,
        provider_reference: "ch_1".to_owned(),
        reason,
        key_until: seconds(90_000),
        sent: None,
        captured_minor: if is_refund || state == State::Captured { TOTAL } else { 0 },
        refunded_minor: if state == State::Refunded { TOTAL } else { 0 },
        unknown: None,
        deferred: None,
        created: seconds(0),
        updated: seconds(0),
    }
}

/// Whether the domain can ever bring a payment there.
fn is_reachable(payment: &Payment) -> bool {
    let (is_over, was_sent) = (payment.ended.is_some(), payment.sent.is_some());
    match payment.state {
        State::Charging => !was_sent,
        State::Unknown | State::Pending => was_sent,
        State::Captured => !is_over,
        State::Declined => true,
        State::Cancelled | State::Compensating | State::Refunded => is_over,
        State::Parked => match payment.reason {
            Some(Reason::Absent) => was_sent && !is_over,
            Some(Reason::Rejected | Reason::WrongAmount | Reason::Several | Reason::TriesSpent) => true,
            Some(_of_the_refund) => is_over,
            None => false,
        },
    }
}

pub(super) fn every_payment() -> Vec<Payment> {
    let mut kinds: Vec<(State, Option<Reason>)> = Vec::new();
    for state in State::ALL {
        match state {
            State::Parked => kinds.extend(Reason::ALL.map(|reason| (state, Some(reason)))),
            _other => kinds.push((state, None)),
        }
    }
    let mut all = vec![];
    for (state, reason) in kinds {
        for ended in [None, Some(seconds(100)), Some(seconds(NOW - 60))] {
            for sent in [None, Some(seconds(90)), Some(seconds(NOW - 30))] {
                for key_until in [seconds(NOW - 1), seconds(NOW + 5), seconds(90_000)] {
                    all.push(Payment { ended, sent, key_until, ..payment(state, reason) });
                }
            }
        }
    }
    all.retain(is_reachable);
    let told = all
        .clone()
        .into_iter()
        .filter(|payment| payment.key_until == seconds(90_000))
        .map(|payment| Payment { deferred: Some(seconds(NOW - 40)), ..payment });
    all.extend(told);
    let tombstone = Payment { attempt: 0, amount: None, ..payment(State::Cancelled, None) };
    all.push(Payment { ended: Some(seconds(1)), ..tombstone });
    all
}

fn every_outcome() -> Vec<Outcome> {
    let receipt = |minor, currency: &str| {
        Outcome::Approved(Receipt { provider_reference: "ch_1".into(), minor, currency: currency.into() })
    };
    let (provider_reference, code) = ("ch_1".to_owned(), "no".to_owned());
    vec![
        receipt(TOTAL, "EUR"),
        receipt(TOTAL + 1, "EUR"),
        receipt(TOTAL, "USD"),
        Outcome::Declined { provider_reference: provider_reference.clone(), code: code.clone() },
        Outcome::ActionRequired { provider_reference: provider_reference.clone(), code: code.clone() },
        Outcome::Pending { provider_reference },
        Outcome::Rejected { code },
        Outcome::Throttled { after: Duration::from_secs(3) },
        Outcome::Unavailable,
        Outcome::InFlight,
        Outcome::Unknown,
        Outcome::Absent,
        Outcome::Several,
    ]
}

/// The ids follow from the task; there are two of them here, and many inputs.
fn charge_id(purpose: Purpose) -> uuid::Uuid {
    match purpose {
        Purpose::Charge => Key::charge(order(), 1).id,
        Purpose::Compensate => Key::compensate(order(), 1).id,
    }
}

fn answered(purpose: Purpose, step: Step, outcome: Outcome, tries: i64, recheck: u32, called: Timestamp) -> Input {
    let task = Task {
        order: order(),
        shop: "default".to_owned(),
        traceparent: String::new(),
        purpose,
        attempt: 1,
        amount: eur(TOTAL),
        source: "pm_ok".to_owned(),
        key_until: seconds(90_000),
        step,
        recheck,
        began: None,
    };
    let charge_id = charge_id(purpose);
    Input::Answered(Answered { task, charge_id, tries, step, called, outcome })
}

fn every_input() -> Vec<Input> {
    let mut all = vec![held(TOTAL, "pm_ok"), held(TOTAL + 7, "pm_other"), held(0, "pm_ok"), ended()];
    all.extend([outage(seconds(NOW - 40)), outage(seconds(NOW - 10))]);
    for purpose in [Purpose::Charge, Purpose::Compensate] {
        for outcome in every_outcome() {
            for (step, rechecks) in [(Step::Send, 0..=0), (Step::LookUp, 0..=2)] {
                if step == Step::Send && matches!(outcome, Outcome::Absent | Outcome::Several) {
                    continue;
                }
                for recheck in rechecks {
                    // The next try is one of each kind.
                    for tries in [1, 2, 3] {
                        for called in [seconds(NOW - 20), seconds(NOW)] {
                            all.push(answered(purpose, step, outcome.clone(), tries, recheck, called));
                        }
                    }
                }
            }
        }
    }
    all
}

/// Checks every pair; the law is told the payment before and after.
fn for_every_pair(law: impl Fn(&Payment, &Input, &Decision, &Payment)) {
    let (payments, inputs) = (every_payment(), every_input());
    assert!(payments.len() > 150 && inputs.len() > 600, "{} payments, {} inputs", payments.len(), inputs.len());
    for before in &payments {
        for input in &inputs {
            for decision in std::iter::once(decide(Some(before), input, seconds(NOW))).chain(impatient(before, input)) {
                let after = decision.payment.clone().unwrap_or_else(|| before.clone());
                law(before, input, &decision, &after);
            }
        }
    }
}

/// Who gives up soon is under the same laws, where it makes a difference.
fn impatient(before: &Payment, input: &Input) -> Option<Decision> {
    let is_last_try = matches!(input, Input::Answered(answered) if answered.tries == 3);
    is_last_try.then(|| decide_by(&IMPATIENT, Some(before), input, seconds(NOW)))
}

fn is_open(payment: &Payment, purpose: Purpose) -> bool {
    match payment.state {
        State::Charging | State::Unknown | State::Pending => purpose == Purpose::Charge,
        State::Compensating => purpose == Purpose::Compensate,
        State::Captured | State::Declined | State::Parked | State::Cancelled | State::Refunded => false,
    }
}

#[test]
fn told_twice_changes_nothing_and_says_nothing() {
    for_every_pair(|before, input, _, after| {
        let again = decide(Some(after), input, seconds(NOW));
        assert_eq!(again.says, [], "{before:?} {input:?}");
        assert_eq!(again.payment.as_ref().unwrap_or(after), after, "{before:?} {input:?}");
    });
    for input in [held(TOTAL, "pm_ok"), held(0, "pm_ok"), ended()] {
        let first = decide(None, &input, seconds(NOW)).payment.expect("begins");
        assert_eq!(decide(Some(&first), &input, seconds(NOW + 1)), Decision::nothing());
    }
}

#[test]
fn whatever_the_decision_leads_to_can_be_reached_and_is_covered_here() {
    for_every_pair(|before, input, _, after| {
        assert!(after.attempt == 0 || is_reachable(after), "{before:?} {input:?} {after:?}");
    });
}

#[test]
fn money_is_conserved_at_every_step_and_every_move_is_said_once() {
    for_every_pair(|before, input, decision, after| {
        let context = || format!("{before:?} {input:?} {after:?}");
        assert!(0 <= after.refunded_minor && after.refunded_minor <= after.captured_minor, "{}", context());
        assert!(after.captured_minor >= before.captured_minor, "{}", context());
        assert!(after.refunded_minor >= before.refunded_minor, "{}", context());
        let captured = after.captured_minor - before.captured_minor;
        let refunded = after.refunded_minor - before.refunded_minor;
        assert!([0, TOTAL].contains(&captured) && [0, TOTAL].contains(&refunded), "{}", context());
        assert!(decision.says.len() <= 1, "{}", context());
        let said = decision.says.first().map(|say| &say.event);
        match said {
            Some(Event::PaymentCaptured(event)) => {
                assert_eq!((captured, event.amount.clone()), (TOTAL, Some(eur(TOTAL).to_wire())), "{}", context());
            }
            Some(Event::PaymentRefunded(event)) => {
                assert_eq!((refunded, event.amount.clone()), (TOTAL, Some(eur(TOTAL).to_wire())), "{}", context());
            }
            Some(Event::PaymentDeclined(_)) => assert_eq!(after.state, State::Declined, "{}", context()),
            Some(Event::PaymentDeferred(_)) => assert_eq!((captured, refunded), (0, 0), "{}", context()),
            Some(other) => panic!("{other:?}: {}", context()),
            None => {
                // What was told as declined is given back without being told as captured.
                assert!(captured == 0 || before.state == State::Declined, "{}", context());
                assert_eq!(refunded, 0, "{}", context());
            }
        }
    });
}

#[test]
fn only_the_right_amount_in_the_right_currency_is_taken_for_the_money() {
    for_every_pair(|before, input, _, after| {
        let has_moved = (before.captured_minor, before.refunded_minor) != (after.captured_minor, after.refunded_minor);
        let Input::Answered(answered) = input else {
            assert!(!has_moved, "{before:?} {input:?}");
            return;
        };
        let is_right = matches!(&answered.outcome, Outcome::Approved(receipt)
            if receipt.minor == TOTAL && receipt.currency == "EUR");
        assert!(is_right || !has_moved, "{before:?} {input:?}");
    });
}

#[test]
fn absent_is_concluded_only_after_the_longest_in_flight_time() {
    let concluded = std::cell::Cell::new(0);
    for_every_pair(|before, input, _, after| {
        let Input::Answered(Answered { outcome: Outcome::Absent, called, task, .. }) = input else { return };
        if !is_open(before, task.purpose) || is_open(after, task.purpose) {
            return;
        }
        let last =
            before.sent.max(before.ended.filter(|_| task.purpose == Purpose::Charge)).expect("something was out");
        assert!(called.duration_since(last) >= POLICY.in_flight.try_into().expect("short"), "{before:?} {input:?}");
        concluded.set(concluded.get() + 1);
    });
    assert!(concluded.get() > 0, "none was concluded at all");
}

#[test]
fn a_finished_payment_absorbs_everything() {
    for_every_pair(|before, input, decision, after| {
        let is_of_orders = matches!(input, Input::StockHeld(_) | Input::OrderEnded(_));
        let absorbs = match before.state {
            State::Refunded => true,
            State::Declined | State::Cancelled => is_of_orders,
            State::Captured => !matches!(input, Input::OrderEnded(_)),
            State::Charging | State::Unknown | State::Pending | State::Parked | State::Compensating => false,
        };
        if absorbs {
            assert_eq!((decision.says.as_slice(), after), ([].as_slice(), before), "{input:?}");
        }
        // Money that turns up after a refusal goes back, or waits for a human; nothing else moves it.
        if before.state == State::Declined {
            let ends = [State::Declined, State::Compensating, State::Parked];
            assert!(ends.contains(&after.state) && decision.says.is_empty(), "{input:?}");
        }
    });
}

#[test]
fn nothing_that_waits_is_forgotten_and_nothing_that_is_settled_goes_on() {
    for_every_pair(|before, input, decision, after| {
        let context = || format!("{before:?} {input:?} {decision:?}");
        for purpose in [Purpose::Charge, Purpose::Compensate] {
            let sets = |step: &DueStep| matches!(step, DueStep::Set { task, .. } if task.purpose == purpose);
            let is_set = decision.due.iter().any(sets);
            let is_done = decision.due.contains(&DueStep::Done(purpose));
            if is_open(after, purpose) && !is_open(before, purpose) {
                assert!(is_set, "{}", context());
            }
            if is_open(after, purpose) {
                assert!(!is_done, "{}", context());
            }
            let is_answer = matches!(input, Input::Answered(answered) if answered.task.purpose == purpose);
            if is_open(before, purpose) && is_answer {
                assert!(is_set || is_done, "{}", context());
            }
            if is_open(before, purpose) && !is_open(after, purpose) {
                assert!(is_set || is_done, "{}", context());
            }
        }
    });
}

#[test]
fn no_charge_is_sent_for_an_order_that_is_over_nor_under_another_key_nor_under_a_forgotten_one() {
    let keys = [Key::charge(order(), 1), Key::compensate(order(), 1)];
    for_every_pair(|before, input, decision, after| {
        for step in &decision.due {
            let DueStep::Set { task, at, .. } = step else { continue };
            let context = || format!("{before:?} {input:?} {task:?}");
            assert!(keys.contains(&task.key()), "{}", context());
            let is_sent = task.step_at(*at, POLICY.call_timeout) == Step::Send;
            assert!(!is_sent || task.purpose == Purpose::Compensate || after.ended.is_none(), "{}", context());
            // Only where no call ever went unanswered may the key be renewed: nothing is known under the old one.
            if after.key_until != before.key_until && is_open(before, task.purpose) {
                assert_eq!(before.sent, None, "{}", context());
            }
            assert!(task.step == Step::LookUp || task.key_until == after.key_until, "{}", context());
        }
    });
}

#[test]
fn an_answer_for_a_charge_that_is_not_this_payments_changes_nothing() {
    for_every_pair(|before, input, _, _| {
        let Input::Answered(answered) = input else { return };
        let task = Task { attempt: 2, ..answered.task.clone() };
        let stranger = Answered { charge_id: task.key().id, task, ..answered.clone() };
        assert_eq!(decide(Some(before), &Input::Answered(stranger), seconds(NOW)), Decision::nothing());
    });
}

#[test]
fn an_order_that_waits_says_so_once_for_each_outage_and_nothing_else_changes() {
    let said = std::cell::Cell::new(0);
    for_every_pair(|before, input, decision, after| {
        let Input::Deferred(event) = input else {
            assert!(!decision.says.iter().any(|say| matches!(say.event, Event::PaymentDeferred(_))), "{input:?}");
            return;
        };
        let waits = is_open(before, Purpose::Charge) && before.ended.is_none();
        let is_news = waits && before.deferred < Some(event.since);
        assert_eq!(decision.says.len(), usize::from(is_news), "{before:?} {input:?}");
        assert_eq!(decision.due, [], "{before:?}");
        assert_eq!(&Payment { deferred: before.deferred, ..after.clone() }, before);
        said.set(said.get() + decision.says.len());
    });
    assert!(said.get() > 0, "none was told at all");
}
