//! The rules as they are shipped, and the same ones in less time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Name and text of each file.
pub fn files() -> Vec<(String, String)> {
    let folder = root().join("helm/files/rules");
    let files = std::fs::read_dir(&folder).expect("rules").map(|file| file.expect("a file").path());
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("text"))
    };
    files.map(read).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alert {
    pub name: String,
    pub severity: String,
    pub expression: String,
}

/// Every alert, from the text: the files are written with one key a line.
pub fn alerts() -> Vec<Alert> {
    let mut found = Vec::new();
    for (_, text) in files() {
        for rule in text.split("\n      - ").filter(|rule| rule.starts_with("alert: ")) {
            let name = rule["alert: ".len()..].lines().next().expect("a name").to_owned();
            let severity = rule.split("severity: ").nth(1).expect("a severity").split([' ', ',']).next();
            let expression = rule.split("expr: ").nth(1).expect("an expression").split("\n        for: ").next();
            let expression = expression.expect("an expression").split("\n        labels: ").next();
            let expression = expression.expect("an expression").trim_start_matches(">-").to_owned();
            found.push(Alert { name, severity: severity.expect("a word").to_owned(), expression });
        }
    }
    assert!(found.len() >= 20, "only {} alerts found", found.len());
    found
}

/// Every series that a rule records.
pub fn recorded() -> Vec<String> {
    let texts = files();
    let lines = texts.iter().flat_map(|(_, text)| text.lines());
    let names: Vec<String> = lines.filter_map(|line| Some(line.split_once("- record: ")?.1.to_owned())).collect();
    assert!(names.len() >= 16, "only {} found", names.len());
    names
}

/// The names of Spillway's series in an expression.
pub fn series(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words
        .filter(|word| word.starts_with("spillway") || word.starts_with("payment_process"))
        .map(str::to_owned)
        .collect()
}

/// The same rules in so many times less time: windows (`[5m]`), `for: 2m`, `offset 15m`, and the ages that they compare
/// with, which are written as products of their unit (`2 * 60`).
pub fn sped_up(text: &str, faster: u32) -> String {
    assert_eq!(60 % faster, 0, "a minute becomes whole seconds");
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let mut line = line.to_owned();
        for before in ["[", "for: ", "offset "] {
            line = shorter(&line, before, faster);
        }
        for unit in [60, 3600, 86400] {
            let product = format!(" * {unit}");
            let ends = |at: usize| !line[at + product.len()..].starts_with(|c: char| c.is_ascii_digit() || c == '.');
            if line.find(&product).is_some_and(ends) {
                line = line.replace(&product, &format!(" * {}", unit / faster));
            }
        }
        out.push_str(&line);
    }
    out
}

/// Durations right behind this, in milliseconds and shorter.
fn shorter(line: &str, before: &str, faster: u32) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((left, right)) = rest.split_once(before) {
        out.push_str(left);
        out.push_str(before);
        let digits = right.len() - right.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = right[digits..].chars().next().and_then(|unit| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3600),
            'd' => Some(86400),
            _ => None,
        });
        rest = right;
        if let (Ok(count), Some(unit)) = (right[..digits].parse::<u64>(), unit) {
            out.push_str(&format!("{}ms", count * unit * 1000 / u64::from(faster)));
            rest = &right[digits + 1..];
        }
    }
    out + rest
}

#[test]
fn a_rule_in_less_time_is_the_same_rule() {
    let rule = "expr: rate(x_rate5m[5m] offset 1h) > 2 * 60 or y > 14.4 * 0.001 and z < 14 * 86400\nfor: 2m\nlabels: { window: 1h }\n";
    let fast = "expr: rate(x_rate5m[10000ms] offset 120000ms) > 2 * 2 or y > 14.4 * 0.001 and z < 14 * 2880\nfor: 4000ms\n\
                labels: { window: 1h }\n";
    assert_eq!(sped_up(rule, 30), fast);
}

#[test]
fn every_alert_has_a_severity_a_test_and_a_page_that_names_it() {
    let tests = std::fs::read_to_string(root().join("tests/telemetry/rules/alerts.test.yaml")).expect("tests");
    let tests =
        tests + &std::fs::read_to_string(root().join("tests/telemetry/rules/objectives.test.yaml")).expect("tests");
    let pages = root().join("docs/runbooks");
    let index = std::fs::read_to_string(pages.join("README.md")).expect("an index");
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    for alert in alerts() {
        let name = &alert.name;
        assert!(["page", "ticket"].contains(&alert.severity.as_str()), "{name}: {}", alert.severity);
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test in which it fires");
        let page = std::fs::read_to_string(pages.join(format!("{name}.md"))).unwrap_or_default();
        for section in [&format!("# {name}\n"), "## What it means\n", "## How to see it\n", "## What to do\n"] {
            assert!(page.contains(section), "docs/runbooks/{name}.md has no {section:?}");
        }
        assert!(page.contains("spillway "), "docs/runbooks/{name}.md names no command");
        assert!(index.contains(&format!("({name}.md)")), "docs/runbooks/README.md does not name {name}");
        let url = format!("runbook_url: docs/runbooks/{name}.md");
        assert!(files().iter().any(|(_, text)| text.contains(&url)), "{name} does not tell its page");
    }
    for page in std::fs::read_dir(&pages).expect("pages") {
        let page = page.expect("a file").file_name().into_string().expect("text");
        let name = page.trim_end_matches(".md");
        assert!(name == "README" || names.contains(name), "docs/runbooks/{page} is about no alert");
    }
}
