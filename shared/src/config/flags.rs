//! The flags layer: what the command line sets.

use super::problem::{Origin, Problem};
use super::setting::Setting;
use super::shape::Shape;

/// A key that a flag sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as the user knows it, such as `--data`.
    pub name: String,
    /// The key, dotted.
    pub key: String,
    /// The value as text, read like an environment variable's.
    pub value: String,
}

impl Flag {
    pub fn new(name: impl Into<String>, key: impl Into<String>, value: impl ToString) -> Flag {
        Flag { name: name.into(), key: key.into(), value: value.to_string() }
    }

    /// What `--set key=value` sets; `None` where there is no `=`.
    #[must_use]
    pub fn parse_set(text: &str) -> Option<Flag> {
        let (key, value) = text.split_once('=')?;
        Some(Flag::new(format!("--set {}", key.trim()), key.trim(), value))
    }
}

/// Reads flags into settings.
pub fn read(flags: &[Flag], shape: &Shape, settings: &mut Vec<Setting>, problems: &mut Vec<Problem>) {
    for flag in flags {
        let key: Vec<String> = flag.key.split('.').map(str::to_owned).collect();
        let origin = Origin::Flag(flag.name.clone());
        if key.iter().any(String::is_empty) {
            problems.push(Problem::at("", format!("{:?} is no key: names with dots between them", flag.key), origin));
            continue;
        }
        let value = shape.read_text(&key, &flag.value);
        settings.push(Setting { key, value, origin });
    }
}
