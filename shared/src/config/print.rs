//! A configuration shown: every key with its value and origin, and no secret.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::load::Loaded;
use super::problem::Origin;
use super::secret::{SECRET_SHOWN_AS, without_credentials};
use super::shape::Shape;
use super::{Root, join};

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Vec<String>,
    /// Null where nothing is set.
    pub value: Value,
    pub origin: Origin,
}

impl Entry {
    #[must_use]
    pub fn dotted(&self) -> String {
        self.key.join(".")
    }
}

impl Serialize for Entry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = [
            ("key", Value::String(self.dotted())),
            ("value", self.value.clone()),
            ("origin", Value::String(self.origin.to_string())),
        ];
        serializer.collect_map(fields)
    }
}

pub fn entries<T: Root>(loaded: &Loaded<T>) -> Vec<Entry> {
    let mut entries = Vec::new();
    walk(&to_json(loaded), &mut Vec::new(), &mut |key, value| {
        let origin = loaded.origin(&key.join("."));
        entries.push(Entry { key: key.to_vec(), value: value.clone(), origin });
    });
    entries
}

pub fn to_json<T: Root>(loaded: &Loaded<T>) -> Value {
    // A root type is plain values, lists and tables with text for keys, all of which JSON has.
    let mut shown = serde_json::to_value(&loaded.config).expect("a configuration is JSON");
    redact(&mut shown, &Shape::of::<T>(), &mut Vec::new());
    shown
}

/// Puts `***` in place of whatever the schema calls a secret, whatever its type shows of itself.
fn redact(value: &mut Value, shape: &Shape, key: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, below) in fields {
                key.push(name.clone());
                redact(below, shape, key);
                key.pop();
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            if shape.is_secret(key) {
                *value = Value::String(SECRET_SHOWN_AS.to_owned());
            } else {
                redact_urls(value);
            }
        }
    }
}

/// Takes names and passwords out of URLs, wherever they stand in a value.
pub fn redact_urls(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_credentials(text),
        Value::Array(items) => items.iter_mut().for_each(redact_urls),
        Value::Object(fields) => fields.values_mut().for_each(redact_urls),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn walk(value: &Value, key: &mut Vec<String>, leaf: &mut impl FnMut(&[String], &Value)) {
    let Value::Object(fields) = value else {
        leaf(key, value);
        return;
    };
    for (name, below) in plain_before_tables(fields) {
        key.push(name.clone());
        walk(below, key, leaf);
        key.pop();
    }
}

/// TOML wants the plain values of a table before the tables in it.
fn plain_before_tables(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let plain = fields.iter().filter(|(_, value)| !value.is_object());
    plain.chain(fields.iter().filter(|(_, value)| value.is_object()))
}

pub fn to_toml(entries: &[Entry], with_origin: bool) -> String {
    let mut text = String::new();
    let mut section = String::new();
    for entry in entries {
        let (name, table) = entry.key.split_last().expect("a root type is a table, so every value has a key");
        let owner = table.iter().fold(String::new(), |at, name| join(&at, &bare_or_quoted(name)));
        if owner != section {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            push_line(&mut text, format_args!("[{owner}]"));
            section = owner;
        }
        let name = bare_or_quoted(name);
        let origin = if with_origin { format!("  # {}", entry.origin) } else { String::new() };
        match toml_of(&entry.value) {
            Some(value) => push_line(&mut text, format_args!("{name} = {value}{origin}")),
            None => push_line(&mut text, format_args!("# {name} is not set{origin}")),
        }
    }
    text
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("text takes whatever is written to it");
}

fn bare_or_quoted(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { toml::Value::from(name).to_string() }
}

/// `None` for null, which TOML does not have.
fn toml_of(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => toml::Value::Boolean(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => toml::Value::Integer(whole),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(toml_of).collect()),
        Value::Object(fields) => toml::Value::Table(
            fields.iter().filter_map(|(name, value)| Some((name.clone(), toml_of(value)?))).collect(),
        ),
    })
}
