//! A human's word over every payment there can be, with every word of the provider beside it.

use spillway_proto::EventKind;
use spillway_proto::time::Timestamp;
use uuid::Uuid;

use super::pairs::every_payment;
use super::{POLICY, eur, order, seconds};
use crate::domain::{
    Decision, DueStep, Outcome, Payment, Proof, Purpose, Receipt, Refused, Settle, SettleAs, Sight, State, Step, settle,
};

const TOTAL: i64 = 500;
const NOW: i64 = 50_000;

fn approved(minor: i64, currency: &str) -> Outcome {
    Outcome::Approved(Receipt { provider_reference: "ch_9".to_owned(), minor, currency: currency.to_owned() })
}

fn every_outcome() -> Vec<Outcome> {
    let (provider_reference, code) = ("ch_9".to_owned(), "no".to_owned());
    vec![
        approved(TOTAL, "EUR"),
        approved(TOTAL + 1, "EUR"),
        approved(TOTAL, "USD"),
        Outcome::Declined { provider_reference: provider_reference.clone(), code: code.clone() },
        Outcome::ActionRequired { provider_reference: provider_reference.clone(), code },
        Outcome::Pending { provider_reference },
        Outcome::Absent,
        Outcome::Several,
    ]
}

fn every_sight() -> Vec<Sight> {
    let shown = |outcome: &Outcome, reference: String| {
        let charge = "ch_9".to_owned();
        Sight::Shown { outcome: outcome.clone(), reference, charge }
    };
    let ours = every_outcome();
    let mut all: Vec<Sight> = ours.iter().map(|outcome| shown(outcome, order().to_string())).collect();
    all.push(shown(&ours[0], "another-order".to_owned()));
    all.push(Sight::Nothing);
    all
}

fn every_word(called: Timestamp) -> Vec<Settle> {
    let mut proofs: Vec<(SettleAs, Proof)> = Vec::new();
    for sight in every_sight() {
        proofs.push((SettleAs::Captured, Proof::Charge(sight.clone())));
        for charge in every_sight() {
            proofs.push((SettleAs::Refunded, Proof::Refund { refund: sight.clone(), charge }));
        }
    }
    proofs.extend(every_outcome().into_iter().map(|outcome| (SettleAs::Absent, Proof::ByReference(outcome))));
    let word = |(settle_as, proof)| Settle {
        order: order(),
        request_id: Uuid::from_u128(1),
        settle_as,
        provider_reference: "ch_9".to_owned(),
        reason: "seen at the provider".to_owned(),
        traceparent: String::new(),
        proof,
        called,
    };
    proofs.into_iter().map(word).collect()
}

fn for_every_settlement(law: impl Fn(&Payment, &Settle, &Result<Decision, Refused>)) {
    let mut taken = 0;
    for before in every_payment() {
        for word in every_word(seconds(NOW)) {
            let settled = settle(&before, &word, seconds(NOW), &POLICY);
            taken += usize::from(settled.is_ok());
            law(&before, &word, &settled);
        }
    }
    assert!(taken > 100, "only {taken} were taken");
}

fn kinds(decision: &Decision) -> Vec<EventKind> {
    decision.says.iter().map(|say| say.event.kind()).collect()
}

#[test]
fn every_settlement_is_told_once_and_what_follows_is_told_beside_it() {
    for_every_settlement(|before, word, settled| {
        let Ok(decision) = settled else { return };
        let said = kinds(decision);
        assert_eq!(said[0], EventKind::PaymentSettled, "{before:?} {word:?}");
        let follows = [EventKind::PaymentCaptured, EventKind::PaymentDeclined, EventKind::PaymentRefunded];
        assert!(said.len() <= 2 && said[1..].iter().all(|kind| follows.contains(kind)), "{said:?}");
        let after = decision.payment.as_ref().expect("it changes");
        // An order that still waits hears its end; one that was told nothing is told nothing it cannot bear.
        let waits = before.ended.is_none() && !before.is_parked_refund() && before.state != State::Compensating;
        let ends = said.contains(&EventKind::PaymentCaptured) || said.contains(&EventKind::PaymentDeclined);
        assert!(!waits || ends, "{before:?} {word:?} {said:?}");
        assert!(ends || before.ended.is_some() || before.captured_minor > 0, "{before:?}");
        assert_ne!(after.state, State::Parked);
    });
}

#[test]
fn only_what_the_provider_bears_out_is_money() {
    for_every_settlement(|before, word, settled| {
        let Ok(decision) = settled else { return };
        let after = decision.payment.as_ref().expect("it changes");
        let context = || format!("{before:?} {word:?} {after:?}");
        assert!(0 <= after.refunded_minor && after.refunded_minor <= after.captured_minor, "{}", context());
        let moved = (after.captured_minor - before.captured_minor, after.refunded_minor - before.refunded_minor);
        match &word.proof {
            Proof::Charge(Sight::Shown { outcome, reference, .. }) => {
                assert_eq!((outcome, reference), (&approved(TOTAL, "EUR"), &order().to_string()), "{}", context());
                assert_eq!(moved, (TOTAL, 0), "{}", context());
            }
            Proof::ByReference(found) => {
                assert!(!matches!(found, Outcome::Approved(_) | Outcome::Pending { .. } | Outcome::Several));
                assert_eq!(moved, (0, 0), "{}", context());
            }
            Proof::Refund { refund: Sight::Shown { outcome: Outcome::Approved(back), .. }, .. } => {
                assert_eq!(after.captured_minor, after.refunded_minor, "{}", context());
                assert_eq!(moved.1, back.minor, "{}", context());
            }
            Proof::Charge(Sight::Nothing) | Proof::Refund { .. } => panic!("taken without a proof: {}", context()),
        }
    });
}

#[test]
fn absent_is_taken_for_true_only_after_the_longest_in_flight_time() {
    let early = std::cell::Cell::new(0);
    for before in every_payment() {
        for word in every_word(seconds(NOW)).into_iter().filter(|word| word.settle_as == SettleAs::Absent) {
            let settled = settle(&before, &word, seconds(NOW), &POLICY);
            let purpose = if before.is_parked_refund() { Purpose::Compensate } else { Purpose::Charge };
            let last = before.sent.max(before.ended.filter(|_| purpose == Purpose::Charge));
            let is_early =
                last.is_some_and(|last| word.called.duration_since(last) < POLICY.in_flight.try_into().expect("short"));
            let is_absent = word.proof == Proof::ByReference(Outcome::Absent);
            assert!(!(settled.is_ok() && is_early && is_absent), "{before:?}");
            early.set(early.get() + usize::from(matches!(settled, Err(Refused::TooEarly(_)))));
        }
    }
    assert!(early.get() > 0, "none was too early at all");
}

#[test]
fn no_settlement_sends_a_charge_and_what_is_called_absent_is_looked_up_again() {
    for_every_settlement(|before, word, settled| {
        let Ok(decision) = settled else { return };
        let is_sent = |step: &DueStep| {
            matches!(step, DueStep::Set { task, .. }
            if task.purpose == Purpose::Charge && task.step == Step::Send)
        };
        assert!(!decision.due.iter().any(is_sent), "{before:?} {word:?}");
        let is_looked_up = |step: &DueStep| matches!(step, DueStep::Set { task, .. } if task.recheck == 1);
        let is_absent_charge = word.settle_as == SettleAs::Absent && !before.is_parked_refund();
        assert_eq!(decision.due.iter().any(is_looked_up), is_absent_charge, "{before:?} {word:?}");
    });
}

#[test]
fn what_is_settled_is_not_settled_again() {
    for_every_settlement(|before, word, settled| {
        let Ok(decision) = settled else { return };
        let after = decision.payment.clone().expect("it changes");
        // A refund that is tried anew may be settled as refunded meanwhile; nothing else may.
        for other in every_word(seconds(NOW)) {
            let again = settle(&after, &other, seconds(NOW), &POLICY);
            let is_way_back = after.state == State::Compensating && other.settle_as == SettleAs::Refunded;
            assert!(again.is_err() || is_way_back, "{before:?} {word:?} {other:?}");
        }
    });
}

#[test]
fn what_costs_nothing_and_what_was_never_tried_is_never_open() {
    let free = Payment { amount: Some(eur(0)), ..every_payment().remove(0) };
    let free = Payment { state: State::Captured, ..free };
    assert!(every_word(seconds(NOW)).iter().all(|word| settle(&free, word, seconds(NOW), &POLICY).is_err()));
}
