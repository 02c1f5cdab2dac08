//! The standard variables, and what is wrong with them: all of it is told at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::without_credentials;

/// The environment, as the specification of OpenTelemetry reads it: what is empty is not set.
pub(super) struct Variables<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

/// A variable that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub variable: String,
    pub value: String,
}

impl Said {
    /// Names of things are the same in capitals.
    pub fn name(&self) -> String {
        self.value.to_ascii_lowercase()
    }

    /// A file that the variable names.
    pub fn file(self) -> NamedFile {
        NamedFile { variable: self.variable, path: self.value.into() }
    }
}

/// A file that a variable names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedFile {
    pub variable: String,
    pub path: PathBuf,
}

impl<'a> Variables<'a> {
    pub fn new(read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Variables { read, wrong: Vec::new() }
    }

    pub fn said(&self, variable: &str) -> Option<Said> {
        let value = (self.read)(variable)?.trim().to_owned();
        (!value.is_empty()).then(|| Said { variable: variable.to_owned(), value })
    }

    /// An option of the exporter, by what follows `OTEL_EXPORTER_OTLP_`. The form for traces alone wins.
    pub fn exporter(&self, option: &str) -> Option<Said> {
        let general = || self.said(&format!("OTEL_EXPORTER_OTLP_{option}"));
        self.said(&format!("OTEL_EXPORTER_OTLP_TRACES_{option}")).or_else(general)
    }

    pub fn wrong(&mut self, said: &Said, why: impl Display) {
        self.wrong.push(format!("{} {:?}: {why}", said.variable, said.value));
    }

    /// Something is wrong, and what was said is better not repeated.
    pub fn wrong_in(&mut self, variable: &str, why: impl Display) {
        self.wrong.push(format!("{variable}: {why}"));
    }

    /// A number that was said. None where nothing was, or no number in this range.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &mut self,
        said: Option<Said>,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let said = said?;
        let number = said.value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(&said, format_args!("no number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// `name=value,name=value`, percent-decoded. Values are never repeated in what is told: they may be secrets.
    pub fn pairs(&mut self, said: &Said) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for part in said.value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let pair =
                part.split_once('=').and_then(|(name, value)| Some((decode(name.trim())?, decode(value.trim())?)));
            match pair.filter(|(name, _)| !name.is_empty()) {
                Some(pair) => pairs.push(pair),
                None => self.wrong_in(&said.variable, "a part of it is no name=value, percent-encoded"),
            }
        }
        pairs
    }

    /// # Errors
    /// Everything that was wrong.
    pub fn finish(self) -> Result<(), String> {
        if self.wrong.is_empty() { Ok(()) } else { Err(without_credentials(&self.wrong.join("; "))) }
    }
}

/// Percent-decoding as of RFC 3986; `None` where what follows a `%` is no byte, or the whole no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_percent_decoded_and_what_is_none_is_told_without_its_value() {
        let read = |_: &str| None;
        let mut variables = Variables::new(&read);
        let said = |value: &str| Said { variable: "X".into(), value: value.into() };
        let pairs = variables.pairs(&said("a=b%2Cc%3d , k%C3%A9y = v==,,e="));
        let told: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, [("a", "b,c="), ("kéy", "v=="), ("e", "")]);
        for wrong in ["canary", "=canary", "a=canary%2", "a=%FFcanary"] {
            assert_eq!(variables.pairs(&said(wrong)), [], "{wrong}");
        }
        let told = variables.finish().expect_err("four are wrong");
        assert_eq!(told.split("; ").count(), 4);
        assert!(!told.contains("canary"), "{told}");
    }
}
