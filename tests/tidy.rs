//! How the code reads is a test: sizes, arrows between crates, no wildcard where an event is matched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Every source file of ours, by its path in the workspace.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for top in ["proto", "shared", "gateway", "services", "cli", "tests"] {
        collect(&root().join(top), &mut found);
    }
    assert!(found.len() > 50, "only {} files found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            let name = path.strip_prefix(root()).expect("in the workspace").display().to_string();
            found.push((name, text));
        }
    }
}

fn fail_with(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn files_are_small() {
    let long = sources().into_iter().filter_map(|(name, text)| {
        let lines = text.lines().count();
        (lines > MAX_FILE).then(|| format!("{name} has {lines} lines, more than {MAX_FILE}"))
    });
    fail_with(long.collect());
}

#[test]
fn functions_fit_a_screen() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        problems.extend(long_functions(&text).into_iter().map(|(line, function, length)| {
            format!("{name}:{line} {function} has {length} lines, more than {MAX_FUNCTION}")
        }));
    }
    fail_with(problems);
}

/// (line, name, length) of every function that is too long. The code is formatted, so a function ends at the first
/// brace that stands as deep as its `fn`.
fn long_functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(name) = function_name(code) else { continue };
        let indent = line.len() - code.len();
        let closing = format!("{}}}", " ".repeat(indent));
        let one_line = code.ends_with('}') || code.ends_with(';');
        let Some(end) = lines[at..].iter().position(|l| **l == closing).filter(|_| !one_line) else { continue };
        if end + 1 > MAX_FUNCTION {
            found.push((at + 1, name.to_owned(), end + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace();
    loop {
        let word = words.next()?;
        if word == "fn" {
            return words.next()?.split(['(', '<']).next();
        }
        let qualifier = word.starts_with("pub") || ["async", "const", "unsafe", "extern", "in"].contains(&word);
        if !qualifier && !word.ends_with(')') {
            return None;
        }
    }
}

#[test]
fn the_measure_of_functions_measures() {
    let body = "    let x = 1;\n".repeat(MAX_FUNCTION);
    let text = format!("pub(crate) async fn long<T>(a: u8) {{\n{body}}}\nfn short() {{\n}}\n");
    assert_eq!(long_functions(&text), [(1, "long".to_owned(), MAX_FUNCTION + 2)]);
}

/// What a crate of ours may depend on (outside of tests).
fn allowed(krate: &str) -> &'static [&'static str] {
    match krate {
        "spillway-proto" | "spillway-natsd" | "spillway-sandbox" => &[],
        "spillway-shared" => &["spillway-proto"],
        "spillway-gateway"
        | "spillway-orders"
        | "spillway-inventory"
        | "spillway-payments"
        | "spillway-notifications"
        | "spillway-audit" => &["spillway-proto", "spillway-shared"],
        "spillway" => &[
            "spillway-proto",
            "spillway-shared",
            "spillway-natsd",
            "spillway-gateway",
            "spillway-orders",
            "spillway-inventory",
            "spillway-payments",
            "spillway-sandbox",
            "spillway-notifications",
            "spillway-audit",
        ],
        other => panic!("{other} has no place in the map of crates: give it one"),
    }
}

#[test]
fn arrows_between_crates_point_one_way() {
    let mut problems = Vec::new();
    let mut seen = 0;
    for (krate, dependencies) in manifests() {
        seen += 1;
        for dependency in dependencies.iter().filter(|d| d.starts_with("spillway")) {
            if !allowed(&krate).contains(&dependency.as_str()) {
                problems.push(format!("{krate} must not depend on {dependency}"));
            }
        }
    }
    assert!(seen >= 11, "only {seen} manifests found");
    fail_with(problems);
}

/// The plain dependencies of every crate of the workspace.
fn manifests() -> BTreeMap<String, Vec<String>> {
    let workspace: toml::Table = read_toml(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().expect("members");
    members
        .iter()
        .map(|member| {
            let manifest = read_toml(&root().join(member.as_str().expect("a path")).join("Cargo.toml"));
            let name = manifest["package"]["name"].as_str().expect("a name").to_owned();
            let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
            (name, dependencies.map(|table| table.keys().cloned().collect()).unwrap_or_default())
        })
        .collect()
}

fn read_toml(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn no_wildcard_arm_swallows_an_event() {
    let mut problems = Vec::new();
    let mut matches = 0;
    for (name, text) in sources().into_iter().filter(|(name, _)| name.contains("/src/")) {
        for (line, arms) in event_matches(&text) {
            matches += 1;
            if arms.iter().any(|arm| arm.starts_with("_ =>") || arm.starts_with("_ if")) {
                problems.push(format!("{name}:{line} a match over events has a wildcard arm"));
            }
        }
    }
    assert!(matches >= 6, "only {matches} matches over events found: every ledger has one");
    fail_with(problems);
}

/// (line, arms) of every `match` one of whose arms names a kind of event.
fn event_matches(text: &str) -> Vec<(usize, Vec<String>)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let opens = line.trim_end().ends_with('{') && line.split_whitespace().any(|w| w == "match" || w == "(match");
        if !opens || line.trim_start().starts_with("//") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let deeper = |l: &&&str| l.trim().is_empty() || l.len() - l.trim_start().len() > indent;
        let body: Vec<&str> = lines[at + 1..].iter().take_while(deeper).copied().collect();
        let arm_indent = indent + 4;
        let arms: Vec<String> = body
            .iter()
            .filter(|l| !l.trim().is_empty() && l.len() - l.trim_start().len() == arm_indent)
            .map(|l| l.trim().to_owned())
            .collect();
        let names_event = |arm: &String| {
            let pattern = arm.trim_start_matches("| ").split("=>").next().unwrap_or_default();
            pattern.contains("EventKind::") || pattern.contains("Event::") || pattern.contains("Kind::OrderPlaced")
        };
        if arms.iter().any(names_event) {
            found.push((at + 1, arms));
        }
    }
    found
}

#[test]
fn the_search_for_wildcards_finds_them() {
    let text = "fn f() {\n    match kind {\n        EventKind::OrderPlaced => 1,\n        _ => 2,\n    }\n}\n";
    let found = event_matches(text);
    assert_eq!(found.len(), 1);
    assert!(found[0].1.iter().any(|arm| arm.starts_with("_ =>")));
}

#[test]
fn the_domain_has_no_clock_no_chance_and_no_world() {
    let forbidden = [
        "Timestamp::now",
        "SystemTime",
        "Instant::now",
        "rand::",
        "tokio::",
        "async fn",
        "std::fs",
        "rusqlite",
        "Uuid::new_v",
    ];
    let mut seen = 0;
    let mut problems = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| name.contains("/domain")) {
        seen += 1;
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if let Some(word) = forbidden.iter().find(|word| line.contains(**word)) {
                problems.push(format!("{name}:{} the domain uses {word}", at + 1));
            }
        }
    }
    assert!(seen >= 4, "only {seen} files of domains found");
    fail_with(problems);
}

#[test]
fn the_machine_room_knows_no_order_no_stock_and_no_payment() {
    let words =
        ["OrderPlaced", "StockHeld", "PaymentCaptured", "OrderConfirmed", "PlaceOrder", "spillway_proto::pb::orders"];
    let mut problems = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| name.starts_with("shared/src/")) {
        if let Some(word) = words.iter().find(|word| text.contains(**word)) {
            problems.push(format!("{name} speaks of {word}"));
        }
    }
    fail_with(problems);
}
