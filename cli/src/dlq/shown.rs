//! Dead letters as people read them.

use spillway_proto::pb::ops::{DeadLetter, DeadLetterGroup, GetDeadLetterResponse, RedrivenDeadLetter};
use spillway_proto::time;

pub const GROUP_COLUMNS: [&str; 8] = ["LEDGER", "CAUSE", "FINGERPRINT", "LETTERS", "SEEN", "FIRST", "LAST", "EXAMPLE"];
pub const LETTER_COLUMNS: [&str; 7] = ["ID", "LEDGER", "CAUSE", "ABOUT", "SEEN", "LAST", "ERROR"];
pub const REDRIVEN_COLUMNS: [&str; 5] = ["ID", "LEDGER", "CAUSE", "ABOUT", "ERROR"];

/// Characters of an error in a table.
const SHORT: usize = 60;

pub fn group(group: &DeadLetterGroup) -> Vec<String> {
    let example = group.example.as_ref().map(|example| format!("{} {}", example.dead_letter_id, short(&example.error)));
    vec![
        ledger(&group.ledger, group.partition),
        group.cause().as_str_name().trim_start_matches("CAUSE_").to_owned(),
        group.fingerprint.clone(),
        group.dead_letters.to_string(),
        group.count.to_string(),
        at(group.first_seen_time.as_ref()),
        at(group.last_seen_time.as_ref()),
        example.unwrap_or_default(),
    ]
}

pub fn letter(letter: &DeadLetter) -> Vec<String> {
    vec![
        letter.dead_letter_id.clone(),
        ledger(&letter.ledger, letter.partition),
        cause(letter),
        about(letter),
        letter.count.to_string(),
        at(letter.last_seen_time.as_ref()),
        short(&letter.error),
    ]
}

pub fn redriven(result: &RedrivenDeadLetter) -> Vec<String> {
    let Some(letter) = &result.dead_letter else { return Vec::new() };
    vec![
        letter.dead_letter_id.clone(),
        ledger(&letter.ledger, letter.partition),
        cause(letter),
        about(letter),
        short(&letter.error),
    ]
}

/// Everything about one, line by line.
pub fn whole(answer: &GetDeadLetterResponse) -> Vec<Vec<String>> {
    let Some(letter) = &answer.dead_letter else { return Vec::new() };
    let state = letter.state().as_str_name().trim_start_matches("STATE_").to_owned();
    let is_due = !letter.due_kind.is_empty();
    let came = match (letter.number, letter.stream.as_str()) {
        _ if is_due => String::new(),
        (0, stream) => format!("{} without a number, by {stream}", letter.source),
        (number, stream) => format!("{} number {number} of {}, by {stream}", letter.source, letter.incarnation),
    };
    let what = match (is_due, letter.whole_message) {
        (true, _) => format!("due work {} {}", letter.due_kind, letter.due_key),
        (false, true) => "the whole message".to_owned(),
        (false, false) => "one event".to_owned(),
    };
    let mut lines: Vec<(&str, String)> = vec![
        ("id", letter.dead_letter_id.clone()),
        ("ledger", ledger(&letter.ledger, letter.partition)),
        ("state", state),
        ("cause", cause(letter)),
        ("error", letter.error.clone()),
        ("fingerprint", letter.fingerprint.clone()),
        ("came from", came),
        ("what", format!("{what}, {} bytes", letter.body_bytes)),
        ("event", format!("{} {}", letter.event_type, letter.event_id)),
        ("about", letter.subject.clone()),
        ("trace", letter.traceparent.clone()),
        ("seen", format!("{} times", letter.count)),
        ("first seen", at(letter.first_seen_time.as_ref())),
        ("last seen", at(letter.last_seen_time.as_ref())),
        ("last act", at(letter.act_time.as_ref())),
        ("outcome", letter.outcome.clone()),
        ("reason", letter.reason.clone()),
    ];
    let header = if is_due { "to be done" } else { "header" };
    lines.extend(answer.headers.iter().map(|each| (header, format!("{}: {}", each.name, each.value))));
    lines.retain(|(_, value)| !value.trim().is_empty());
    lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

/// The message itself: decoded, or in hexadecimal digits. Nothing of due work: what there is to say of it is said.
pub fn content(answer: &GetDeadLetterResponse) -> String {
    if answer.dead_letter.as_ref().is_some_and(|letter| !letter.due_kind.is_empty()) {
        return String::new();
    }
    if answer.json.is_empty() {
        let shown: String = answer.body.iter().take(256).map(|byte| format!("{byte:02x}")).collect();
        let rest = if answer.body.len() > 256 { " ..." } else { "" };
        return format!("\n{shown}{rest}\n");
    }
    match serde_json::from_str::<serde_json::Value>(&answer.json) {
        Ok(value) => format!("\n{value:#}\n"),
        Err(_) => format!("\n{}\n", answer.json),
    }
}

fn cause(letter: &DeadLetter) -> String {
    letter.cause().as_str_name().trim_start_matches("CAUSE_").to_owned()
}

/// What it is about, or where it stands where that cannot be read.
fn about(letter: &DeadLetter) -> String {
    match (letter.subject.is_empty(), letter.number) {
        (false, _) => letter.subject.clone(),
        (true, 0) => letter.source.clone(),
        (true, number) => format!("{} number {number}", letter.source),
    }
}

fn ledger(name: &str, partition: u32) -> String {
    format!("{name}/{partition}")
}

fn at(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(time::from_wire).map(|time| format!("{time:.0}")).unwrap_or_default()
}

fn short(error: &str) -> String {
    match error.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}
