//! Sentences, times and durations as people read them.

use spillway_proto::pb::orders::LedgerExplanation;
use spillway_proto::time::{self, Timestamp};

/// With a capital at its begin and a full stop at its end; empty where there is nothing to say.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    let Some(first) = text.chars().next() else { return String::new() };
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), &text[first.len_utf8()..])
}

/// All that are not empty, with a space between them.
pub fn join(sentences: impl IntoIterator<Item = String>) -> String {
    let sentences: Vec<String> = sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect();
    sentences.join(" ")
}

/// "2026-11-21T10:29:32Z (3 min ago)", or "(in 20 s)".
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    match seconds {
        1.. => format!("{at:.0} (in {})", span(seconds)),
        0 => format!("{at:.0} (now)"),
        _ => format!("{at:.0} ({} ago)", span(-seconds)),
    }
}

/// In the largest unit of which there are at least two.
fn span(seconds: i64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86_400),
        7_200.. => format!("{} h", seconds / 3_600),
        120.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// What a ledger says of work that is not done: where it stands, what holds it up, and what comes next.
pub fn of_ledger(told: &LedgerExplanation, now: Timestamp) -> String {
    let attempt = (told.attempt > 1).then(|| format!("It is at attempt {}.", told.attempt));
    // Some ledgers tell it twice.
    let is_new = !told.last_problem.is_empty() && !told.summary.contains(&told.last_problem);
    let problem = is_new.then(|| sentence(&format!("last problem: {}", told.last_problem)));
    let paused = paused(told);
    let next = (paused.is_none() && !told.next_step.is_empty()).then(|| next(told, now));
    join([
        sentence(&told.summary),
        paused.unwrap_or_default(),
        sentence(&told.breaker),
        attempt.unwrap_or_default(),
        problem.unwrap_or_default(),
        next.unwrap_or_default(),
    ])
}

fn paused(told: &LedgerExplanation) -> Option<String> {
    let is_held_up = !told.paused.is_empty();
    is_held_up.then(|| sentence(&format!("an operator holds this work up: {}", told.paused)))
}

fn next(told: &LedgerExplanation, now: Timestamp) -> String {
    match told.next_time.as_ref().and_then(time::from_wire) {
        Some(at) if at > now => sentence(&format!("next: {}, at {}", told.next_step, moment(at, now))),
        Some(_) | None => sentence(&format!("next: {}", told.next_step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        time::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_moment_says_how_far_away_it_is() {
        let now = at(1_000_000);
        for (second, wanted) in [(0, "now"), (20, "in 20 s"), (-119, "119 s ago"), (-120, "2 min ago")] {
            assert!(moment(at(1_000_000 + second), now).ends_with(&format!("({wanted})")), "{second}");
        }
        assert!(moment(at(1_000_000 + 7_300), now).ends_with("(in 2 h)"));
        assert!(moment(at(1_000_000 - 200_000), now).ends_with("(2 days ago)"));
    }

    #[test]
    fn a_sentence_begins_large_and_ends_with_a_stop() {
        assert_eq!(sentence(" the lines are held "), "The lines are held.");
        assert_eq!(sentence("is it running?"), "Is it running?");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn what_an_operator_holds_up_has_no_next_step_of_its_own() {
        let told = LedgerExplanation {
            summary: "the charge is not made yet".into(),
            paused: "provider maintenance".into(),
            next_step: "the charge is sent".into(),
            attempt: 2,
            ..Default::default()
        };
        assert_eq!(
            of_ledger(&told, at(0)),
            "The charge is not made yet. An operator holds this work up: provider maintenance. It is at attempt 2."
        );
    }
}
