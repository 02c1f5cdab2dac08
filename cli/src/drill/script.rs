//! What a drill does, and when: fixed by its seed.

use std::fmt;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use spillway_proto::{Ledger, LedgerId, ledgers};

use crate::cli::Role;

/// Share of charges whose answer the provider loses while it is up, so that some outcomes are not known.
pub const LOST_ANSWER_RATE: f64 = 0.1;

/// Something that a drill does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The provider charges, and loses some of its answers.
    LoseAnswers,
    ProviderDown,
    /// kill -9.
    Kill(Role),
    /// A stream is deleted with all that is in it.
    Wipe(String),
    /// What was killed is started again.
    Revive(Role),
    ProviderUp,
    /// The provider answers as it did before the drill.
    AnswerAgain,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::LoseAnswers => write!(f, "the provider loses {:.0} % of its answers", LOST_ANSWER_RATE * 100.0),
            Act::ProviderDown => f.write_str("the provider goes down"),
            Act::Kill(role) => write!(f, "kill -9 of {}", role.name()),
            Act::Wipe(stream) => write!(f, "stream {stream} is deleted"),
            Act::Revive(role) => write!(f, "{} is started again", role.name()),
            Act::ProviderUp => f.write_str("the provider is back"),
            Act::AnswerAgain => f.write_str("the provider answers as it did before"),
        }
    }
}

/// An act, and how long after the begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub after: Duration,
    pub act: Act,
}

/// Roles that one is chosen from where none is named: without the gateway nothing comes in, and nobody waits for audit
/// or notifications.
const KILLABLE: [Role; 3] = [Role::Inventory, Role::Payments, Role::Orders];

/// Orders come from the begin to the end of `duration`; all that is broken is mended within four fifths of it.
pub fn script(duration: Duration, seed: u64, kill: &[Role], partitions: u16) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    let chosen = KILLABLE.choose(&mut dice).copied().unwrap_or(Role::Payments);
    let killed = if kill.is_empty() { vec![chosen] } else { kill.to_vec() };
    let streams = streams(partitions);
    let wiped = streams.choose(&mut dice).cloned().unwrap_or_default();
    let at = |share: f64, act: Act| Step { after: duration.mul_f64(share), act };
    let mut steps = vec![at(0.05, Act::LoseAnswers), at(0.15, Act::ProviderDown)];
    steps.extend(killed.iter().map(|role| at(0.25, Act::Kill(*role))));
    steps.push(at(0.35, Act::Wipe(wiped)));
    steps.extend(killed.iter().map(|role| at(0.45, Act::Revive(*role))));
    steps.extend([at(0.60, Act::ProviderUp), at(0.80, Act::AnswerAgain)]);
    steps
}

/// Every stream of what an order passes.
fn streams(partitions: u16) -> Vec<String> {
    let ledgers = Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, partitions));
    let mut streams: Vec<String> =
        ledgers.flat_map(|id| ledgers::streams_of(id, partitions)).map(|stream| stream.name).collect();
    streams.dedup();
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_fixes_what_is_done_and_when() {
        assert_eq!(script(MINUTE, 7, &[], 1), script(MINUTE, 7, &[], 1));
        let all: std::collections::HashSet<String> =
            (0..40).map(|seed| format!("{:?}", script(MINUTE, seed, &[], 1))).collect();
        assert!(all.len() > 5, "{}", all.len());
    }

    #[test]
    fn whatever_is_broken_is_mended_before_the_orders_stop() {
        for (seed, kill) in [(1, vec![]), (2, vec![Role::Gateway, Role::Audit])] {
            let steps = script(MINUTE, seed, &kill, 2);
            assert!(steps.is_sorted_by_key(|step| step.after), "{steps:?}");
            assert!(steps.iter().all(|step| step.after < MINUTE));
            let mut broken = std::collections::HashSet::new();
            for step in &steps {
                match &step.act {
                    Act::Kill(role) => assert!(broken.insert(role.name())),
                    Act::Revive(role) => assert!(broken.remove(role.name())),
                    Act::ProviderDown => assert!(broken.insert("the provider")),
                    Act::ProviderUp => assert!(broken.remove("the provider")),
                    Act::LoseAnswers => assert!(broken.insert("its answers")),
                    Act::AnswerAgain => assert!(broken.remove("its answers")),
                    Act::Wipe(_) => {}
                }
            }
            assert_eq!(broken.len(), 0, "{steps:?}");
        }
    }
}
