//! What ledgers say of an order, put together: plain functions of what was heard.

use spillway_proto::Ledger as Source;
use spillway_proto::pb::ops::DeadLetter;
use spillway_proto::pb::ops::dead_letter::Cause;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::waiting::Kind;
use spillway_proto::pb::orders::{ExplainOrderResponse, LedgerExplanation, Order, Reason, Waiting};
use spillway_proto::time::{self, Timestamp};

use super::words::{join, moment, of_ledger, sentence};

/// All that is known of an order.
#[derive(Clone, Debug)]
pub struct Known {
    pub now: Timestamp,
    /// As orders has it, or as the intake does where orders does not know it. `None` where orders does not answer.
    pub order: Option<Order>,
    /// What the intake of this gateway knows; `None` for an order that another gateway accepted.
    pub accepted: Option<Accepted>,
    /// Whether this gateway is connected to NATS.
    pub is_connected: bool,
    /// In the order in which an order passes them.
    pub answers: Vec<(Source, Answer)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    pub at: Timestamp,
    /// Its `OrderPlaced` was published.
    pub is_told: bool,
}

/// What came of asking a ledger.
#[derive(Clone, Debug)]
pub enum Answer {
    Said(Box<LedgerExplanation>),
    /// Nobody answers, and why.
    Silent(String),
    /// It answers, but cannot say: its own words.
    Cannot(String),
}

/// What an order waits for.
struct Wait {
    /// Why, in sentences.
    why: String,
    kind: Kind,
    /// When it is expected to end.
    expected: Option<Timestamp>,
    actions: Vec<String>,
}

impl Wait {
    fn on(kind: Kind, why: String) -> Self {
        Wait { why, kind, expected: None, actions: Vec::new() }
    }

    fn with(self, actions: &[&str]) -> Self {
        Wait { actions: actions.iter().map(|action| (*action).to_owned()).collect(), ..self }
    }
}

pub fn compose(known: Known) -> ExplainOrderResponse {
    let ledgers = known.answers.iter().map(|(source, answer)| own_words(*source, answer, known.is_connected)).collect();
    let mut order = known.order.clone();
    let (summary, mut operator_actions) = match &mut order {
        None => (unreadable(&known), vec!["spillway doctor".to_owned()]),
        Some(order) if order.state() == State::Pending => {
            let wait = wait(&known, order);
            let summary = join([since(order, &wait, known.now), wait.why.clone()]);
            tell(order, &wait);
            (summary, wait.actions)
        }
        Some(order) => (ended(&known, order), Vec::new()),
    };
    for action in known.answers.iter().flat_map(|(_, answer)| answer.actions()) {
        if !operator_actions.contains(action) {
            operator_actions.push(action.clone());
        }
    }
    ExplainOrderResponse { order, summary, ledgers, operator_actions }
}

/// How a problem begins that is work set aside, and no message.
const SET_ASIDE: &str = "work set aside: ";

/// Adds what a ledger could not take of the order's messages or had to set aside of its work, and what of them somebody
/// put away for good.
pub fn with_letters(told: LedgerExplanation, dead: &[DeadLetter], discarded: &[DeadLetter]) -> LedgerExplanation {
    let problem = match (dead.first(), discarded.first()) {
        (Some(letter), _) if letter.due_kind.is_empty() => format!("{}: {}", cause(letter), letter.error),
        (Some(letter), _) => format!("{SET_ASIDE}{}", letter.error),
        (None, Some(letter)) => {
            let (id, reason) = (&letter.dead_letter_id, &letter.reason);
            let what = match letter.due_kind.as_str() {
                "" => "a message of it".to_owned(),
                kind => format!("its {kind}"),
            };
            format!("{what}, dead letter {id}, was put away for good by an operator: {reason}")
        }
        (None, None) => return told,
    };
    let dead_letters = dead.iter().map(|letter| letter.dead_letter_id.clone()).collect();
    LedgerExplanation { dead_letters, last_problem: problem, ..told }
}

fn cause(letter: &DeadLetter) -> &'static str {
    match letter.cause() {
        Cause::Undecodable => "it cannot be read",
        Cause::Newer => "a newer build said it, and this one does not know it yet",
        Cause::Panic => "deciding on it panicked",
        Cause::Constraint => "the database refuses what it leads to",
        Cause::Unnumbered => "it has no valid number",
        Cause::Crash => "the process died with it in hand, again and again",
        Cause::Unspecified => "for a reason that this build does not know",
    }
}

impl Answer {
    fn said(&self) -> Option<&LedgerExplanation> {
        match self {
            Answer::Said(told) => Some(told),
            Answer::Silent(_) | Answer::Cannot(_) => None,
        }
    }

    fn actions(&self) -> &[String] {
        self.said().map_or(&[], |told| &told.operator_actions)
    }
}

impl Known {
    fn of(&self, source: Source) -> Option<&Answer> {
        self.answers.iter().find(|(asked, _)| *asked == source).map(|(_, answer)| answer)
    }

    fn said(&self, source: Source) -> Option<&LedgerExplanation> {
        self.of(source).and_then(Answer::said)
    }
}

/// A ledger's own explanation, or that it has none.
fn own_words(source: Source, answer: &Answer, is_connected: bool) -> LedgerExplanation {
    let ledger = source.name().to_owned();
    match answer {
        Answer::Said(told) => LedgerExplanation { ledger, answered: true, ..(**told).clone() },
        Answer::Silent(_) if !is_connected => {
            let summary = "It cannot be asked: the gateway is not connected to NATS.".to_owned();
            LedgerExplanation { ledger, summary, ..LedgerExplanation::default() }
        }
        Answer::Silent(why) => {
            let summary = format!("It does not answer ({why}): is it running?");
            LedgerExplanation { ledger, summary, ..LedgerExplanation::default() }
        }
        Answer::Cannot(why) => {
            let summary = sentence(&format!("it cannot say: {why}"));
            LedgerExplanation { ledger, answered: true, summary, ..LedgerExplanation::default() }
        }
    }
}

/// Orders does not answer; the intake knows the order.
fn unreadable(known: &Known) -> String {
    let accepted = known.accepted.map_or_else(String::new, |accepted| {
        format!("The order was accepted at {} and is safe in the gateway's ledger.", moment(accepted.at, known.now))
    });
    let is_told = known.accepted.is_none_or(|accepted| accepted.is_told);
    let why = match (known.is_connected, is_told) {
        (false, false) => {
            "The gateway is not connected to NATS: the order waits for JetStream, and goes on by itself once that is \
             back."
        }
        (false, true) => {
            "The gateway is not connected to NATS: how the order stands by now cannot be said, and nothing of it is \
             lost."
        }
        (true, _) => {
            "Orders does not answer: is it running? How the order stands by now cannot be said until it does, and \
             nothing of it is lost."
        }
    };
    join([accepted, why.to_owned()])
}

/// "It is not decided yet. It waits for its payment since 2026-11-21T10:29:32Z (3 min ago)."
fn since(order: &Order, wait: &Wait, now: Timestamp) -> String {
    let what = match wait.kind {
        Kind::Stock => "its stock",
        Kind::Payment => "its payment",
        Kind::Unspecified => "its next step",
    };
    let since = order.waiting.as_ref().and_then(|waiting| waiting.since.as_ref()).and_then(time::from_wire);
    let since = since.map_or_else(String::new, |since| format!(" since {}", moment(since, now)));
    format!("The order waits for {what}{since}.")
}

/// So that the order itself says the same.
fn tell(order: &mut Order, wait: &Wait) {
    let since = order.waiting.as_ref().and_then(|waiting| waiting.since);
    let expected = wait.expected.map(time::to_wire);
    order.waiting = Some(Waiting { kind: wait.kind.into(), since, expected, detail: wait.why.clone() });
}

/// What a pending order waits for: the first thing on its way that is not done.
fn wait(known: &Known, order: &Order) -> Wait {
    let kind = order.waiting.as_ref().map_or(Kind::Stock, Waiting::kind);
    if let Some(dead) = dead_letter(known, kind) {
        return dead;
    }
    let is_untold = known.accepted.is_some_and(|accepted| !accepted.is_told);
    if order.version == 0 && is_untold {
        let why = match known.is_connected {
            true => "It is accepted and safe in the gateway's ledger, and is about to be told to the other services.",
            false => {
                "It is accepted and safe in the gateway's ledger, and waits for JetStream: the gateway is not \
                 connected to NATS. It goes on by itself once that is back."
            }
        };
        let wait = Wait::on(Kind::Stock, why.to_owned());
        return if known.is_connected { wait } else { wait.with(&["spillway doctor"]) };
    }
    let is_heard_by_payments = known.said(Source::Payments).is_some_and(|told| told.knows_order);
    match kind {
        Kind::Stock | Kind::Unspecified if !is_heard_by_payments => stock(known),
        Kind::Stock | Kind::Unspecified | Kind::Payment => payment(known),
    }
}

/// A message of this order that a ledger could not take: nothing goes on before it is seen to.
fn dead_letter(known: &Known, kind: Kind) -> Option<Wait> {
    let (source, told) = known.answers.iter().find_map(|(source, answer)| {
        let told = answer.said().filter(|told| !told.dead_letters.is_empty())?;
        // Whom nobody waits for holds no order up.
        (*source != Source::Notifications).then_some((source, told))
    })?;
    let ids = told.dead_letters.join(", ");
    let (what, problem) = match told.last_problem.strip_prefix(SET_ASIDE) {
        Some(problem) => ("had to set its work for this order aside", problem),
        None => ("could not take a message of this order", told.last_problem.as_str()),
    };
    let colon = if problem.is_empty() { "" } else { ": " };
    let why = format!(
        "{source} {what}{colon}{problem}. It is kept as dead letter {ids}, and the order goes on when somebody redrives it."
    );
    let show = format!("spillway dlq show {}", told.dead_letters[0]);
    let redrive = format!("spillway dlq redrive {} --reason TEXT", told.dead_letters[0]);
    Some(Wait::on(kind, sentence(&why)).with(&[show.as_str(), redrive.as_str()]))
}

fn stock(known: &Known) -> Wait {
    let Some(told) = known.said(Source::Inventory) else { return silent(known, Source::Inventory, Kind::Stock) };
    let why = match (told.knows_order, told.state.as_str()) {
        (false, _) if !told.last_problem.is_empty() => of_ledger(told, known.now),
        (false, _) => "Inventory has not come to it yet: it takes orders as they were accepted.".to_owned(),
        (true, "HELD") => "Inventory holds its lines, and orders and payments are about to hear of it.".to_owned(),
        (true, "REFUSED") => "Inventory refused it, and orders is about to hear of it.".to_owned(),
        (true, _) => of_ledger(told, known.now),
    };
    Wait::on(Kind::Stock, why)
}

fn payment(known: &Known) -> Wait {
    let Some(told) = known.said(Source::Payments) else { return silent(known, Source::Payments, Kind::Payment) };
    if !told.knows_order && told.last_problem.is_empty() {
        return Wait::on(Kind::Payment, "Its lines are held, and payments has not come to it yet.".to_owned());
    }
    let expected = told.next_time.as_ref().and_then(time::from_wire);
    let expected = expected.filter(|at| *at > known.now && told.paused.is_empty());
    let resume = (!told.paused.is_empty()).then(|| "spillway resume payments --reason TEXT".to_owned());
    let is_decided = ["CAPTURED", "DECLINED"].contains(&told.state.as_str());
    let heard = if is_decided { "Orders is about to hear of it." } else { "" };
    let why = join([of_ledger(told, known.now), heard.to_owned()]);
    Wait { expected, actions: resume.into_iter().collect(), ..Wait::on(Kind::Payment, why) }
}

/// The ledger whose turn it is does not say anything.
fn silent(known: &Known, source: Source, kind: Kind) -> Wait {
    let role = source.name();
    let why = match known.of(source) {
        Some(Answer::Cannot(why)) => format!("{role} cannot say how far it is: {why}"),
        _ if !known.is_connected => {
            format!("{role} cannot be asked, for the gateway is not connected to NATS; nothing of the order is lost")
        }
        _ => {
            format!("{role} does not answer: is it running? Once it is back, the order goes on by itself")
        }
    };
    let run = format!("spillway run {role}");
    let actions: &[&str] = if known.is_connected { &["spillway doctor", &run] } else { &["spillway doctor"] };
    Wait::on(kind, sentence(&why)).with(actions)
}

/// Why it ended so, and what still follows from it.
fn ended(known: &Known, order: &Order) -> String {
    let why = match known.said(Source::Orders).filter(|told| told.knows_order) {
        Some(told) => of_ledger(told, known.now),
        None => state_alone(order),
    };
    let follows = [Source::Inventory, Source::Payments, Source::Notifications].into_iter();
    let follows = follows.filter_map(|source| {
        let told = known.said(source).filter(|told| told.waiting_since.is_some() || !told.dead_letters.is_empty())?;
        Some(format!("Still to come from {}: {}", source.name(), of_ledger(told, known.now)))
    });
    join(std::iter::once(why).chain(follows))
}

fn state_alone(order: &Order) -> String {
    let state = order.state().as_str_name().trim_start_matches("STATE_").to_lowercase();
    match order.reason() {
        Reason::Unspecified => format!("The order is {state}."),
        reason => {
            let reason = reason.as_str_name().trim_start_matches("REASON_").to_lowercase().replace('_', " ");
            format!("The order is {state}: {reason}.")
        }
    }
}
