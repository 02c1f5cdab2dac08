//! The file layer: TOML, with the line of every value.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::setting::Setting;

/// Reads a file into settings, one per value that is no table; an empty table is a setting too.
pub fn read(path: &Path, settings: &mut Vec<Setting>, problems: &mut Vec<Problem>) {
    let whole = |line| Origin::File { path: path.to_owned(), line };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::at("", format!("cannot read the configuration file: {error}"), whole(0)));
            return;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    if errors.is_empty() {
        let mut walk = Walk { path, text: &text, settings };
        walk.table(table.get_ref(), &mut Vec::new());
        return;
    }
    // What follows a broken line may be misread, so nothing of the file counts until it parses.
    let told = errors.iter().map(|error| (error.span().map_or(0, |span| line_at(&text, span.start)), error.message()));
    let mut first_of_line = BTreeMap::new();
    for (line, message) in told {
        first_of_line.entry(line).or_insert(message);
    }
    problems.extend(
        first_of_line.into_iter().map(|(line, message)| Problem::at("", format!("not TOML: {message}"), whole(line))),
    );
}

/// The line, from 1, of a byte of the text.
fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    settings: &'a mut Vec<Setting>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, key: &mut Vec<String>) {
        for (name, value) in table {
            key.push(name.get_ref().clone().into_owned());
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.table(inner, key),
                _ => self.leaf(name.span().start, value, key),
            }
            key.pop();
        }
    }

    fn leaf(&mut self, byte: usize, value: &Spanned<DeValue<'_>>, key: &[String]) {
        let origin = Origin::File { path: self.path.to_owned(), line: line_at(self.text, byte) };
        self.settings.push(Setting { key: key.to_vec(), value: plain(value.get_ref()), origin });
    }
}

/// Without spans. A date is text: no key takes a TOML date. A number that TOML's types cannot hold is text too, and
/// refused as such.
fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => toml::Value::Integer(number),
            Err(_) => toml::Value::String(number.to_string()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => toml::Value::Float(number),
            Err(_) => toml::Value::String(number.to_string()),
        },
        DeValue::Boolean(yes) => toml::Value::Boolean(*yes),
        DeValue::Datetime(at) => toml::Value::String(at.to_string()),
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(table) => toml::Value::Table(
            table.iter().map(|(name, value)| (name.get_ref().clone().into_owned(), plain(value.get_ref()))).collect(),
        ),
    }
}
