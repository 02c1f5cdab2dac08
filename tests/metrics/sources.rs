//! Which metrics the code names, and with which labels: also those that only an incident shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A `counter!`, `gauge!` or `histogram!` with a name of ours.
#[derive(Debug)]
pub struct Named {
    /// File and line.
    pub at: String,
    pub kind: &'static str,
    pub name: String,
    /// `None` where they are not written out there.
    pub labels: Option<BTreeSet<String>>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every one of them outside of tests.
pub fn named() -> Vec<Named> {
    let mut found = Vec::new();
    for (file, text) in sources() {
        for (kind, macro_name) in [("counter", "counter!("), ("gauge", "gauge!("), ("histogram", "histogram!(")] {
            for (at, _) in text.match_indices(macro_name) {
                let line = text[..at].lines().count();
                found.extend(read(&format!("{file}:{line}"), kind, call(&text[at + macro_name.len()..])));
            }
        }
    }
    found
}

/// All code that may name a metric, the catalogues apart.
pub fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for top in ["shared/src", "gateway/src", "services", "cli/src"] {
        collect(&root().join(top), &mut found);
    }
    assert!(found.len() > 100, "only {} files found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "tests", "sandbox"].contains(&name.as_str()) {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") && !["figures.rs", "figure.rs", "catalogue.rs"].contains(&name.as_str()) {
            let text = std::fs::read_to_string(&path).expect("text");
            found.push((path.strip_prefix(root()).expect("inside").display().to_string(), text));
        }
    }
}

/// Up to the bracket that closes the call.
fn call(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    &text[..end.expect("it closes")]
}

fn read(at: &str, kind: &'static str, call: &str) -> Option<Named> {
    let name = call.trim_start().strip_prefix('"')?.split('"').next()?.to_owned();
    let labels = call.split("=>").collect::<Vec<_>>();
    let labels = (!call.contains('&')).then(|| {
        let before = labels[..labels.len() - 1].iter();
        before.map(|text| text.rsplit('"').nth(1).expect("a label's name").to_owned()).collect()
    });
    Some(Named { at: at.to_owned(), kind, name, labels })
}

/// The names of ours in a file of dashboards or rules.
pub fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| word.starts_with("spillway_") || word.starts_with("payment_process_"));
    ours.map(str::to_owned).collect()
}

/// What is shown with Prometheus: dashboards and rules.
pub fn shown() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["helm/files/dashboards", "helm/files/rules"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).expect("text")));
            }
        }
    }
    found
}
