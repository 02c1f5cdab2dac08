//! What an operator sees and does, by the verbs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::support::{PATIENCE, System};

/// A dead letter, as `dlq list` shows it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub id: String,
    pub ledger: String,
    pub cause: String,
    pub fingerprint: String,
    pub incarnation: String,
    pub subject: String,
}

async fn pages(system: &System, more: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["--output", "json", "dlq", "list", "--all", "--page-size", "7"];
    arguments.extend(more);
    let (code, out, err) = system.verb(&arguments).await;
    // A role that is on its way up again does not answer: what is there is there all the same.
    assert!(code == 0 || code == 3, "{out}{err}");
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Everything that is dead: the groups, and the letters of each.
pub async fn letters(system: &System) -> Vec<Letter> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}")).to_owned();
    let mut fingerprints = BTreeSet::new();
    for page in pages(system, &[]).await {
        let groups = page["groups"].as_array().expect("groups").clone();
        fingerprints.extend(groups.iter().map(|group| text(group, "fingerprint")));
    }
    let mut letters = Vec::new();
    for fingerprint in fingerprints {
        for page in pages(system, &["--fingerprint", &fingerprint]).await {
            let found = page["deadLetters"].as_array().expect("dead letters").clone();
            letters.extend(found.iter().map(|letter| Letter {
                id: text(letter, "deadLetterId"),
                ledger: text(letter, "ledger"),
                cause: text(letter, "cause").trim_start_matches("CAUSE_").to_owned(),
                fingerprint: text(letter, "fingerprint"),
                incarnation: text(letter, "incarnation"),
                subject: text(letter, "subject"),
            }));
        }
    }
    letters
}

/// All of them, once there are so many.
pub async fn until_letters(system: &System, count: usize) -> Vec<Letter> {
    let mut every = tokio::time::interval(Duration::from_millis(250));
    let mut last = 0;
    let asked = async {
        loop {
            every.tick().await;
            let letters = letters(system).await;
            if letters.len() >= count {
                return letters;
            }
            last = letters.len();
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{last} of {count} dead letters are found"))
}

/// How many acts on dead letters are in the audit trail, once there are so many: by what was done, and by whom.
pub async fn acts_in_the_audit_trail(system: &System, count: usize) -> BTreeMap<String, usize> {
    let mut every = tokio::time::interval(Duration::from_millis(250));
    let mut last = BTreeMap::new();
    let asked = async {
        loop {
            every.tick().await;
            last = acts(system).await;
            let done = last.get("redriven").unwrap_or(&0) + last.get("discarded").unwrap_or(&0);
            if done >= count {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, asked).await;
    assert!(in_time.is_ok(), "{last:?} where {count} acts were done");
    last
}

async fn acts(system: &System) -> BTreeMap<String, usize> {
    let (code, out, err) = system.verb(&["audit", "export"]).await;
    assert_eq!(code, 0, "{err}");
    let mut acts = BTreeMap::new();
    for line in out.lines() {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let events = entry["events"].as_array().cloned().unwrap_or_default();
        for event in events {
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            let Some(act) = kind.strip_prefix("spillway.dead_letter.") else { continue };
            *acts.entry(act.trim_end_matches(".v1").to_owned()).or_default() += 1;
            *acts.entry(format!("said by {}", entry["source"].as_str().unwrap_or_default())).or_default() += 1;
        }
    }
    acts
}
