//! Whole lives of an order, generated: events in any order with repeats, calls with any fate, results handed back in
//! any order, processes that end in the middle, and outages that outlast the provider's memory.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use spillway_proto::{Event, EventKind};

use super::world::{Fate, Temper, World};
use super::{IMPATIENT, ended, held, outage};
use crate::domain::{Purpose, Reason, SettleAs, State};

const TOTAL: i64 = 500;

#[derive(Clone, Debug)]
enum Act {
    Held,
    Ended,
    Call(Fate),
    HandBack(u8),
    /// Nothing happens for so many seconds.
    Pass(u32),
    /// It is said that the provider cannot be reached.
    Outage,
    /// A human looks.
    Settle(SettleAs),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Answered),
        2 => Just(Fate::AnswerLost),
        2 => Just(Fate::RequestLost),
        1 => (1u16..400).prop_map(Fate::Late),
        2 => Just(Fate::Unavailable),
        1 => (1u8..100).prop_map(Fate::Throttled),
        1 => Just(Fate::Rejected),
        2 => Just(Fate::ErrorKept),
        1 => Just(Fate::BreakerOpen),
        2 => Just(Fate::Killed),
    ]
}

fn act(pass: u32) -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Held),
        2 => Just(Act::Ended),
        5 => fate().prop_map(Act::Call),
        5 => any::<u8>().prop_map(Act::HandBack),
        2 => (0..pass).prop_map(Act::Pass),
        1 => Just(Act::Outage),
    ]
}

/// The same, and a human has a word in it.
fn act_with_human() -> impl Strategy<Value = Act> {
    let settle_as = prop_oneof![Just(SettleAs::Captured), Just(SettleAs::Absent), Just(SettleAs::Refunded)];
    prop_oneof![8 => act(3_000), 2 => settle_as.prop_map(Act::Settle)]
}

fn temper() -> impl Strategy<Value = Temper> {
    prop_oneof![
        5 => Just(Temper::Approves),
        1 => Just(Temper::Declines),
        1 => Just(Temper::WantsAction),
        1 => (1u16..500).prop_map(Temper::Dawdles),
        1 => Just(Temper::CapturesMore),
    ]
}

fn live(temper: Temper, lag_s: u64, acts: &[Act]) -> World {
    live_in(World::new(temper, Duration::from_secs(lag_s)), acts)
}

fn live_in(mut world: World, acts: &[Act]) -> World {
    for act in acts {
        match act {
            Act::Held => world.take(&held(TOTAL, "pm_ok")),
            Act::Ended => world.take(&ended()),
            Act::Call(fate) => {
                world.call(*fate);
            }
            Act::HandBack(which) => world.hand_back(usize::from(*which)),
            Act::Pass(seconds) => world.pass(Duration::from_secs((*seconds).into())),
            Act::Outage => world.take(&outage(world.now)),
            Act::Settle(settle_as) => world.settle(*settle_as),
        }
        assert!(world.moved(Purpose::Charge).0 <= 1, "charged twice: {:?}", world.payment);
        assert!(world.moved(Purpose::Compensate).0 <= 1, "refunded twice: {:?}", world.payment);
    }
    world.run_until_quiet();
    world
}

fn kinds(world: &World) -> Vec<EventKind> {
    let all = world.said.iter().map(Event::kind);
    // That it waits, and that a human had a word, settles nothing by itself.
    let aside = [EventKind::PaymentDeferred, EventKind::PaymentSettled];
    let mut kinds: Vec<EventKind> = all.filter(|kind| !aside.contains(kind)).collect();
    kinds.sort();
    kinds
}

/// What must be true of every life once it is quiet.
fn check_end(world: &World, temper: Temper, acts: &[Act]) {
    let (is_held, is_ended) =
        (acts.iter().any(|act| matches!(act, Act::Held)), acts.iter().any(|act| matches!(act, Act::Ended)));
    let (charges, charged) = world.moved(Purpose::Charge);
    let (refunds, refunded) = world.moved(Purpose::Compensate);
    assert!(charges <= 1 && refunds <= 1, "{charges} charges, {refunds} refunds");
    let said = kinds(world);
    let distinct: BTreeSet<EventKind> = said.iter().copied().collect();
    assert_eq!(distinct.len(), said.len(), "said twice: {said:?}");
    let Some(payment) = &world.payment else {
        assert!(!is_held && !is_ended, "a payment is missing");
        return;
    };
    match payment.state {
        State::Captured => {
            assert!(!is_ended, "an order that is over keeps money");
            assert_eq!((charged, refunded), (TOTAL, 0));
            assert_eq!(said, [EventKind::PaymentCaptured]);
        }
        State::Declined => {
            assert!(matches!(temper, Temper::Declines | Temper::WantsAction));
            assert_eq!(said, [EventKind::PaymentDeclined]);
        }
        State::Cancelled => {
            assert!(is_ended);
            assert_eq!((charged - refunded, said), (0, vec![]));
        }
        State::Refunded => {
            assert!(is_ended);
            assert_eq!((charged, refunded), (TOTAL, TOTAL));
            assert_eq!(said, [EventKind::PaymentCaptured, EventKind::PaymentRefunded]);
        }
        State::Parked => match payment.reason {
            Some(Reason::WrongAmount) => assert_eq!(temper, Temper::CapturesMore),
            // Nothing of it is there, and it was looked for three times.
            Some(Reason::Absent) => assert_eq!((charges, is_ended), (0, false)),
            Some(Reason::Rejected | Reason::TriesSpent) => assert_eq!(charges, 0),
            Some(Reason::RefundAbsent | Reason::RefundRejected | Reason::RefundTriesSpent) => assert_eq!(refunds, 0),
            other => panic!("parked for {other:?}"),
        },
        State::Charging | State::Unknown | State::Pending | State::Compensating => {
            panic!("still open: {payment:?}")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_life_ends_and_money_moves_once(
        temper in temper(), lag_s in 0u64..300, acts in prop::collection::vec(act(3_000), 0..40)
    ) {
        let world = live(temper, lag_s, &acts);
        check_end(&world, temper, &acts);
        let reason = world.payment.as_ref().and_then(|payment| payment.reason);
        let is_lost = matches!(reason, Some(Reason::Absent | Reason::RefundAbsent));
        prop_assert!(!is_lost, "parked within the key's window: {:?}", world.payment);
    }

    #[test]
    fn an_outage_longer_than_the_provider_remembers_charges_nobody_twice(
        temper in temper(), lag_s in 0u64..300, acts in prop::collection::vec(act(200_000), 0..40)
    ) {
        let world = live(temper, lag_s, &acts);
        check_end(&world, temper, &acts);
    }

    #[test]
    fn who_gives_up_soon_loses_nothing_and_moves_nothing_twice(
        temper in temper(), lag_s in 0u64..300, acts in prop::collection::vec(act(3_000), 0..40)
    ) {
        let world = live_in(World::new(temper, Duration::from_secs(lag_s)).by(IMPATIENT), &acts);
        check_end(&world, temper, &acts);
    }

    /// Whenever a human says something, and whatever: what the provider does not bear out is not done.
    #[test]
    fn a_humans_word_moves_no_money_twice_and_ends_as_the_provider_has_it(
        temper in temper(), lag_s in 0u64..300, acts in prop::collection::vec(act_with_human(), 0..40),
        impatient: bool
    ) {
        let world = World::new(temper, Duration::from_secs(lag_s));
        let world = live_in(if impatient { world.by(IMPATIENT) } else { world }, &acts);
        let (charged, refunded) = (world.moved(Purpose::Charge).1, world.moved(Purpose::Compensate).1);
        let said = kinds(&world);
        let distinct: BTreeSet<EventKind> = said.iter().copied().collect();
        prop_assert_eq!(distinct.len(), said.len(), "said twice: {:?}", &said);
        let both = [EventKind::PaymentCaptured, EventKind::PaymentDeclined];
        prop_assert!(!both.iter().all(|kind| said.contains(kind)), "{:?}", &said);
        let Some(payment) = &world.payment else { return Ok(()) };
        match payment.state {
            State::Captured => prop_assert_eq!((charged, refunded), (TOTAL, 0)),
            State::Declined | State::Cancelled | State::Refunded => prop_assert_eq!(charged - refunded, 0),
            State::Parked => {}
            State::Charging | State::Unknown | State::Pending | State::Compensating => {
                prop_assert!(false, "still open: {:?}", payment)
            }
        }
    }

    #[test]
    fn events_of_others_in_any_order_with_repeats_end_the_same(
        temper in temper(), order in prop::collection::vec(any::<bool>(), 1..12)
    ) {
        let acts: Vec<Act> = order.iter().map(|is_held| if *is_held { Act::Held } else { Act::Ended }).collect();
        let world = live(temper, 0, &acts);
        let expected = if acts.iter().any(|act| matches!(act, Act::Ended)) {
            (State::Cancelled, vec![])
        } else {
            match temper {
                Temper::Approves | Temper::Dawdles(_) => (State::Captured, vec![EventKind::PaymentCaptured]),
                Temper::Declines | Temper::WantsAction => (State::Declined, vec![EventKind::PaymentDeclined]),
                Temper::CapturesMore => (State::Parked, vec![]),
            }
        };
        prop_assert_eq!((world.state(), kinds(&world)), (Some(expected.0), expected.1));
    }

    /// The end of an order against the provider's answer, with the events of others at any place around it.
    #[test]
    fn an_end_that_meets_a_charge_has_one_of_two_ends(
        before in prop::collection::vec(any::<bool>(), 0..6), after in prop::collection::vec(any::<bool>(), 0..6),
        fate in fate()
    ) {
        let events = |flags: &[bool]| -> Vec<Act> {
            flags.iter().map(|is_held| if *is_held { Act::Held } else { Act::Ended }).collect()
        };
        let mut acts = events(&before);
        acts.extend([Act::Held, Act::Call(fate), Act::HandBack(0)]);
        acts.extend(events(&after));
        acts.push(Act::Ended);
        let world = live(Temper::Approves, 0, &acts);
        match world.state() {
            Some(State::Cancelled) => prop_assert_eq!((world.moved(Purpose::Charge).0, kinds(&world)), (0, vec![])),
            Some(State::Refunded) => prop_assert_eq!(world.moved(Purpose::Charge), world.moved(Purpose::Compensate)),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
