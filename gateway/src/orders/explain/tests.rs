//! Everything that an order can wait for, and how it is told.

use spillway_proto::Ledger as Source;
use spillway_proto::pb::ops::DeadLetter;
use spillway_proto::pb::ops::dead_letter::Cause;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::waiting::Kind;
use spillway_proto::pb::orders::{ExplainOrderResponse, LedgerExplanation, Order, Reason, Waiting};
use spillway_proto::time::{self, Timestamp};

use super::ASKED;
use super::compose::{Accepted, Answer, Known, compose, with_letters};

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    time::from_micros((NOW + second) * 1_000_000)
}

fn pending(kind: Kind) -> Order {
    let since = Some(time::to_wire(at(-180)));
    let waiting = Waiting { kind: kind.into(), since, expected: None, detail: "as orders knows it".into() };
    Order {
        order_id: "o1".into(),
        state: State::Pending.into(),
        version: 2,
        waiting: Some(waiting),
        ..Order::default()
    }
}

fn finished(state: State, reason: Reason) -> Order {
    Order { state: state.into(), reason: reason.into(), version: 4, ..Order::default() }
}

fn known(state: &str) -> LedgerExplanation {
    LedgerExplanation {
        knows_order: true,
        state: state.into(),
        summary: format!("it is {state}"),
        ..Default::default()
    }
}

/// Everybody answers and nobody knows the order.
fn all(order: Option<Order>) -> Known {
    let answers = ASKED.map(|source| (source, Answer::Said(Box::default()))).to_vec();
    let accepted = Some(Accepted { at: at(-181), is_told: true });
    Known { now: at(0), order, accepted, is_connected: true, answers }
}

impl Known {
    fn with(mut self, source: Source, answer: Answer) -> Self {
        let slot = self.answers.iter_mut().find(|(asked, _)| *asked == source).expect("it is asked");
        slot.1 = answer;
        self
    }

    fn says(self, source: Source, told: LedgerExplanation) -> Self {
        self.with(source, Answer::Said(Box::new(told)))
    }

    fn silent(self, source: Source) -> Self {
        self.with(source, Answer::Silent("no responders".into()))
    }

    fn held(self) -> Self {
        self.says(Source::Inventory, known("HELD"))
    }

    fn untold(self) -> Self {
        Known { accepted: Some(Accepted { at: at(-181), is_told: false }), ..self }
    }

    fn cut_off(self) -> Self {
        Known { is_connected: false, ..ASKED.into_iter().fold(self, Known::silent) }
    }
}

fn put_away() -> LedgerExplanation {
    with_letters(known("CHARGING"), &[], &[letter("d1")])
}

fn waits_for_payment(told: LedgerExplanation) -> Known {
    all(Some(pending(Kind::Payment))).held().says(Source::Payments, told)
}

fn breaker_open() -> LedgerExplanation {
    LedgerExplanation {
        summary: "the charge is not made yet".into(),
        breaker: "calls to the provider are held back after 5 failures in a row".into(),
        next_step: "the provider is tried again".into(),
        next_time: Some(time::to_wire(at(20))),
        ..known("CHARGING")
    }
}

fn letter(id: &str) -> DeadLetter {
    let (dead_letter_id, error, reason) = (id.to_owned(), "out of bounds".to_owned(), "known fraud".to_owned());
    DeadLetter { dead_letter_id, error, reason, cause: Cause::Panic.into(), ..DeadLetter::default() }
}

fn dead() -> LedgerExplanation {
    with_letters(LedgerExplanation::default(), &[letter("d1")], &[letter("d0")])
}

fn set_aside() -> LedgerExplanation {
    let charge = DeadLetter { due_kind: "charge".to_owned(), ..letter("d2") };
    with_letters(known("CHARGING"), &[charge], &[])
}

/// (what it is, what is known, words of the summary, what an operator can do)
type Case = (&'static str, Known, Vec<&'static str>, Vec<&'static str>);

fn waiting_for_stock() -> Vec<Case> {
    let stock = || all(Some(pending(Kind::Stock)));
    let accepted = || Order { version: 0, ..pending(Kind::Stock) };
    vec![
        (
            "not heard",
            stock(),
            vec!["waits for its stock since", "(3 min ago)", "Inventory has not come to it yet"],
            vec![],
        ),
        ("held, not heard", stock().held(), vec!["holds its lines", "about to hear"], vec![]),
        ("refused, not heard", stock().says(Source::Inventory, known("REFUSED")), vec!["Inventory refused it"], vec![]),
        (
            "inventory down",
            stock().silent(Source::Inventory),
            vec!["Inventory does not answer: is it running?", "goes on by itself"],
            vec!["spillway doctor", "spillway run inventory"],
        ),
        (
            "inventory cannot say",
            stock().with(Source::Inventory, Answer::Cannot("its ledger is busy".into())),
            vec!["Inventory cannot say how far it is: its ledger is busy"],
            vec!["spillway doctor", "spillway run inventory"],
        ),
        ("just accepted", all(Some(accepted())).untold(), vec!["is about to be told to the other services"], vec![]),
        (
            "a poison message",
            stock().says(Source::Inventory, dead()),
            vec![
                "Inventory could not take a message of this order: deciding on it panicked: out of bounds.",
                "dead letter d1",
            ],
            vec!["spillway dlq show d1", "spillway dlq redrive d1 --reason TEXT"],
        ),
    ]
}

fn waiting_for_payment() -> Vec<Case> {
    let paused = LedgerExplanation { paused: "the provider asked us to".into(), ..breaker_open() };
    let parked = LedgerExplanation {
        last_problem: "the provider captured another amount".into(),
        next_step: "a person settles it".into(),
        operator_actions: vec!["spillway payment settle o1 --as captured --reference R --reason TEXT".into()],
        ..known("PARKED")
    };
    let unknown = LedgerExplanation {
        attempt: 3,
        next_step: "the provider is asked what became of it".into(),
        ..known("UNKNOWN")
    };
    vec![
        (
            "breaker open",
            waits_for_payment(breaker_open()),
            vec![
                "waits for its payment since",
                "The charge is not made yet.",
                "held back after 5 failures in a row.",
                "Next: the provider is tried again, at",
                "(in 20 s)",
            ],
            vec![],
        ),
        (
            "unknown",
            waits_for_payment(unknown),
            vec!["It is UNKNOWN.", "at attempt 3", "asked what became of it"],
            vec![],
        ),
        (
            "paused",
            waits_for_payment(paused),
            vec!["An operator holds this work up: the provider asked us to."],
            vec!["spillway resume payments --reason TEXT"],
        ),
        (
            "parked",
            waits_for_payment(parked),
            vec!["It is PARKED.", "Last problem: the provider captured another amount.", "Next: a person settles it."],
            vec!["spillway payment settle o1 --as captured --reference R --reason TEXT"],
        ),
        ("captured, not heard", waits_for_payment(known("CAPTURED")), vec!["Orders is about to hear of it."], vec![]),
        ("not heard", waits_for_payment(LedgerExplanation::default()), vec!["payments has not come to it yet"], vec![]),
        (
            "a poison message, put away",
            waits_for_payment(put_away()),
            vec!["Last problem: a message of it, dead letter d1, was put away for good by an operator: known fraud."],
            vec![],
        ),
        (
            "payments down",
            waits_for_payment(known("CHARGING")).silent(Source::Payments),
            vec!["Payments does not answer: is it running?"],
            vec!["spillway doctor", "spillway run payments"],
        ),
        (
            "a poison message",
            waits_for_payment(dead()),
            vec!["Payments could not take a message of this order"],
            vec!["spillway dlq show d1", "spillway dlq redrive d1 --reason TEXT"],
        ),
    ]
}

fn out_of_sight() -> Vec<Case> {
    let stands = |state, reason| all(Some(finished(state, reason)));
    let orders = LedgerExplanation { summary: "It was rejected. Short: tea".into(), ..known("REJECTED") };
    let mail = LedgerExplanation { waiting_since: Some(time::to_wire(at(-9))), ..known("PENDING") };
    vec![
        (
            "a charge that is set aside",
            waits_for_payment(set_aside()),
            vec!["Payments had to set its work for this order aside: out of bounds.", "dead letter d2"],
            vec!["spillway dlq show d2", "spillway dlq redrive d2 --reason TEXT"],
        ),
        (
            "jetstream down, never told",
            all(None).untold().cut_off(),
            vec!["accepted at", "safe in the gateway's ledger", "waits for JetStream", "goes on by itself"],
            vec!["spillway doctor"],
        ),
        (
            "jetstream down",
            all(None).cut_off(),
            vec!["cannot be said", "nothing of it is lost"],
            vec!["spillway doctor"],
        ),
        (
            "orders down",
            all(None).held().silent(Source::Orders),
            vec!["Orders does not answer: is it running?"],
            vec!["spillway doctor"],
        ),
        (
            "rejected",
            stands(State::Rejected, Reason::OutOfStock).says(Source::Orders, orders),
            vec!["Short: tea."],
            vec![],
        ),
        (
            "ended, orders has just gone",
            stands(State::Rejected, Reason::OutOfStock).silent(Source::Orders),
            vec!["The order is rejected: out of stock."],
            vec![],
        ),
        (
            "confirmed, the mail waits",
            stands(State::Confirmed, Reason::Unspecified).says(Source::Notifications, mail),
            vec!["The order is confirmed.", "Still to come from notifications: It is PENDING."],
            vec![],
        ),
    ]
}

#[test]
fn whatever_an_order_waits_for_is_said_with_what_can_be_done_about_it() {
    for (what, known, words, actions) in [waiting_for_stock(), waiting_for_payment(), out_of_sight()].concat() {
        let told = compose(known);
        for words in words {
            assert!(told.summary.contains(words), "{what}: {words:?} in {:?}", told.summary);
        }
        assert_eq!(told.operator_actions, actions, "{what}");
        assert_eq!(told.ledgers.len(), ASKED.len(), "{what}");
    }
}

fn waiting(told: &ExplainOrderResponse) -> Waiting {
    told.order.as_ref().and_then(|order| order.waiting.clone()).expect("it waits")
}

#[test]
fn the_order_itself_says_what_the_summary_says() {
    let told = compose(waits_for_payment(breaker_open()));
    let waiting = waiting(&told);
    assert_eq!((waiting.kind(), waiting.since), (Kind::Payment, Some(time::to_wire(at(-180)))));
    assert_eq!(waiting.expected, Some(time::to_wire(at(20))));
    assert!(told.summary.ends_with(&waiting.detail), "{told:?}");
}

#[test]
fn an_end_that_nobody_knows_is_not_expected() {
    let past = LedgerExplanation { next_time: Some(time::to_wire(at(-1))), ..breaker_open() };
    let paused = LedgerExplanation { paused: "stop".into(), ..breaker_open() };
    for told in [past, paused] {
        assert_eq!(waiting(&compose(waits_for_payment(told))).expected, None);
    }
}

#[test]
fn payments_that_is_ahead_of_orders_tells_what_it_waits_for() {
    let ahead = all(Some(pending(Kind::Stock))).held().says(Source::Payments, breaker_open());
    let told = compose(ahead);
    assert_eq!(waiting(&told).kind(), Kind::Payment);
    assert!(told.summary.contains("held back after 5 failures"), "{told:?}");
}

#[test]
fn a_ledger_that_does_not_answer_is_named_and_says_so() {
    let told = compose(waits_for_payment(breaker_open()).silent(Source::Notifications));
    let names: Vec<&str> = told.ledgers.iter().map(|told| told.ledger.as_str()).collect();
    assert_eq!(names, ["inventory", "payments", "orders", "notifications"]);
    assert_eq!(told.ledgers.iter().map(|told| told.answered).collect::<Vec<_>>(), [true, true, true, false]);
    assert!(told.ledgers[3].summary.contains("(no responders): is it running?"), "{told:?}");
    assert_eq!(told.operator_actions, [""; 0], "nothing waits for notifications");
}
