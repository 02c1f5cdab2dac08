//! Values that nobody may see.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::problem::Problem;

/// What stands in place of a secret wherever a configuration is shown.
pub const SECRET_SHOWN_AS: &str = "***";

/// A secret in a configuration: read like text, shown as `***`, wiped from memory when dropped.
///
/// Beside a key `x` of this type stands `x_file`, a path to read it from: see [`resolve_secret`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The secret itself, for the one who must use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(SecretString::from(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_SHOWN_AS)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SECRET_SHOWN_AS)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = SecretString::from(String::deserialize(deserializer)?);
        match text.expose_secret() {
            "" => Err(D::Error::custom("is empty: leave the key out to have none")),
            SECRET_SHOWN_AS => Err(D::Error::custom("is what a printed configuration shows, not the secret itself")),
            _ => Ok(Secret(text)),
        }
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

/// A text in which no URL tells with which name and password to sign in: `nats://***@host:4222`. Several may stand in it,
/// with commas or white space between them.
#[must_use]
pub fn without_credentials(text: &str) -> String {
    text.split_inclusive(|c: char| c == ',' || c == '"' || c.is_whitespace()).map(without_one).collect()
}

fn without_one(url: &str) -> String {
    let authority = url.find("://").map(|at| at + 3);
    match (authority, url.rfind('@')) {
        (Some(from), Some(sign)) if from < sign => format!("{}{SECRET_SHOWN_AS}{}", &url[..from], &url[sign..]),
        _ => url.to_owned(),
    }
}

/// The secret of a key that may be given as `key` or as `key_file`, where one line end at the end does not count.
///
/// # Errors
/// A [`Problem`] when both are given, and when the file cannot be read or is empty.
pub fn resolve_secret(
    value: &Option<Secret>,
    file: &Option<PathBuf>,
    key: &str,
) -> Result<Option<SecretString>, Problem> {
    let file_key = || format!("{key}_file");
    match (value, file) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::new(file_key(), format!("is given beside {key}: leave one of them out"))),
        (Some(secret), None) => Ok(Some(secret.0.clone())),
        (None, Some(path)) => {
            let text = fs::read_to_string(path)
                .map_err(|error| Problem::new(file_key(), format!("cannot read {}: {error}", path.display())))?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let secret = line.strip_suffix('\r').unwrap_or(line);
            if secret.is_empty() {
                return Err(Problem::new(file_key(), format!("{} is empty", path.display())));
            }
            Ok(Some(SecretString::from(secret)))
        }
    }
}
