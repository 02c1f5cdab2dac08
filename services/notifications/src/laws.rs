//! The laws of notices, over every state and every input.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{EventId, OrderId, Partition, ids};

use crate::domain::{Delivery, Ending, Key, Patience, State, Step, Trouble, mail_failed, mail_sent, tell};

const TRIES: i64 = 4;

const PATIENCE: Patience = Patience {
    base: Duration::from_secs(5),
    max: Duration::from_secs(60),
    tries: TRIES,
    age: Duration::from_secs(3600),
};

const TROUBLES: [Trouble; 10] = [
    Trouble::Refused(550),
    Trouble::BadAddress,
    Trouble::Unreadable,
    Trouble::Deferred(451),
    Trouble::Unreachable,
    Trouble::TimedOut,
    Trouble::Insecure,
    Trouble::Garbled,
    Trouble::Unusable,
    Trouble::Folder(std::io::ErrorKind::StorageFull),
];

fn key(n: u16) -> Key {
    let event = EventId(ids::named("test", &n.to_string()));
    Key { order: OrderId::new(Timestamp::UNIX_EPOCH, Partition(n), [7; 10]), event }
}

fn at(second: i64) -> Timestamp {
    time::from_micros(second * 1_000_000)
}

/// Everything that can be done to a notice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Tell,
    Sent,
    Failed { attempt: i64, trouble: Trouble },
}

fn acts() -> Vec<Act> {
    let tries = (1..=TRIES + 1).flat_map(|attempt| TROUBLES.map(|trouble| Act::Failed { attempt, trouble }));
    [Act::Tell, Act::Sent].into_iter().chain(tries).collect()
}

/// Every state that a notice can be in.
fn states() -> Vec<Option<Delivery>> {
    let each = State::ALL.into_iter().flat_map(|state| (1..=TRIES).map(move |attempt| (state, attempt)));
    let each = each.map(|(state, attempt)| {
        let ended_at = (state != State::Pending).then(|| at(5));
        let error = (state == State::Failed).then(|| "why".to_owned());
        Some(Delivery { state, attempt, told_at: at(0), ended_at, error })
    });
    std::iter::once(None).chain(each).collect()
}

/// The effects outside of the notice.
#[derive(Clone, Debug, PartialEq)]
enum Effect {
    Due { attempt: i64, at: Timestamp },
    Said(Ending),
}

fn act(state: &mut Option<Delivery>, act: Act, now: Timestamp) -> Vec<Effect> {
    let step = match (&*state, act) {
        (known, Act::Tell) => {
            let Some(new) = tell(known.as_ref(), now) else { return vec![] };
            let due = Effect::Due { attempt: new.attempt, at: now };
            *state = Some(new);
            return vec![due];
        }
        (None, Act::Sent | Act::Failed { .. }) => return vec![],
        (Some(delivery), Act::Sent) => mail_sent(delivery, now),
        (Some(delivery), Act::Failed { attempt, trouble }) => {
            mail_failed(&key(1), delivery, attempt, trouble, &PATIENCE, now)
        }
    };
    match step {
        Step::Nothing => vec![],
        Step::TryAgain { delivery, at } => {
            let due = Effect::Due { attempt: delivery.attempt, at };
            *state = Some(delivery);
            vec![due]
        }
        Step::End { delivery, ending } => {
            *state = Some(delivery);
            vec![Effect::Said(ending)]
        }
    }
}

#[test]
fn told_twice_changes_nothing_and_says_nothing() {
    for state in states() {
        for one in acts() {
            let mut once = state.clone();
            act(&mut once, one, at(10));
            let mut twice = once.clone();
            let said = act(&mut twice, one, at(11));
            assert_eq!((twice, said), (once, vec![]), "{one:?} in {state:?}");
        }
    }
}

#[test]
fn an_ended_notice_absorbs_everything() {
    for state in states().into_iter().filter(|state| state.as_ref().is_some_and(|d| d.state != State::Pending)) {
        for one in acts() {
            let mut after = state.clone();
            assert_eq!((act(&mut after, one, at(10)), &after), (vec![], &state), "{one:?}");
        }
    }
}

#[test]
fn a_permanent_trouble_ends_it_at_once_and_no_other_does() {
    for trouble in TROUBLES {
        let mut state = tell(None, at(0));
        let effects = act(&mut state, Act::Failed { attempt: 1, trouble }, at(1));
        let expected = if trouble.is_permanent() { State::Failed } else { State::Pending };
        assert_eq!(state.map(|delivery| delivery.state), Some(expected), "{trouble}");
        let said = effects.contains(&Effect::Said(Ending::Failed { error: trouble.to_string() }));
        assert_eq!(said, trouble.is_permanent(), "{trouble}");
    }
}

#[test]
fn it_is_given_up_after_so_many_tries_and_after_such_an_age() {
    let mut state = tell(None, at(0));
    for attempt in 1..TRIES {
        let effects = act(&mut state, Act::Failed { attempt, trouble: Trouble::TimedOut }, at(attempt));
        let [Effect::Due { attempt: next, at: due }] = effects[..] else { panic!("{effects:?}") };
        assert_eq!(next, attempt + 1);
        assert_eq!(due, at(attempt).checked_add(PATIENCE.wait(&key(1), attempt)).expect("in range"));
    }
    let effects = act(&mut state, Act::Failed { attempt: TRIES, trouble: Trouble::TimedOut }, at(9));
    let error = "given up after 4 tries: the mail server did not answer in time".to_owned();
    assert_eq!(effects, [Effect::Said(Ending::Failed { error })]);

    let mut old = tell(None, at(0));
    let effects = act(&mut old, Act::Failed { attempt: 1, trouble: Trouble::TimedOut }, at(3600));
    assert!(matches!(effects[..], [Effect::Said(Ending::Failed { .. })]), "{effects:?}");
}

#[test]
fn no_error_names_an_address() {
    for trouble in TROUBLES {
        assert!(!trouble.to_string().contains('@'), "{trouble}");
    }
}

fn any_act() -> impl Strategy<Value = Act> {
    prop::sample::select(acts())
}

proptest! {
    /// Events of others, in whatever order and however often: the same notices, each due once.
    #[test]
    fn the_order_and_the_number_of_tellings_make_no_difference(told in prop::collection::vec(0u16..6, 0..40)) {
        let mut notices: BTreeMap<u16, Option<Delivery>> = BTreeMap::new();
        let mut due = 0;
        for n in &told {
            due += act(notices.entry(*n).or_default(), Act::Tell, at(1)).len();
        }
        prop_assert_eq!(due, notices.len());
        prop_assert!(notices.values().all(|state| *state == tell(None, at(1))));
    }

    /// With results interleaved in any way, there is one of exactly two ends, said once, and after it nothing is due.
    #[test]
    fn a_notice_ends_once_as_sent_or_as_failed(acts in prop::collection::vec(any_act(), 0..60)) {
        let (mut state, mut said, mut due_after_end) = (None, Vec::new(), 0);
        for (second, one) in (0..).zip(acts) {
            for effect in act(&mut state, one, at(second)) {
                match effect {
                    Effect::Due { .. } if said.is_empty() => {}
                    Effect::Due { .. } => due_after_end += 1,
                    Effect::Said(ending) => said.push(ending),
                }
            }
        }
        prop_assert_eq!(due_after_end, 0);
        match state.map(|delivery| delivery.state) {
            None | Some(State::Pending) => prop_assert!(said.is_empty()),
            Some(State::Sent) => prop_assert_eq!(said, [Ending::Sent]),
            Some(State::Failed) => {
                let failed_once = matches!(said[..], [Ending::Failed { .. }]);
                prop_assert!(failed_once);
            }
        }
    }
}
