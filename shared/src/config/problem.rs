//! A mistake in a configuration: which key, what is wrong, and where it was written.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A line of a file, counted from 1; 0 means the file as a whole.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line, such as `--data`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line: 0 } => write!(f, "file {}", path.display()),
            Origin::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted; empty where the mistake belongs to none.
    pub key: String,
    /// What is wrong and what to do, without the value of a secret.
    pub message: String,
    /// Where it was written; `None` where it follows from built-in values alone.
    pub origin: Option<Origin>,
}

impl Problem {
    /// A mistake whose origin the loader adds.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { key: key.into(), message: message.into(), origin: None }
    }

    pub(super) fn at(key: impl Into<String>, message: impl Into<String>, origin: Origin) -> Problem {
        Problem { key: key.into(), message: message.into(), origin: Some(origin) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a configuration, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            count => write!(f, "the configuration has {count} mistakes:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// What a type alone cannot say about its values.
pub trait Validate {
    /// Adds every mistake to `out`; `at` is the key of this value, empty at the root.
    fn problems(&self, at: &str, out: &mut Vec<Problem>);
}

/// The key of a field below `at`.
#[must_use]
pub fn join(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}
