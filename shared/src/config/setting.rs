//! One value that a layer sets.

use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};

use super::problem::Origin;

/// A key, its value, and where it was written.
#[derive(Clone, Debug)]
pub struct Setting {
    pub key: Vec<String>,
    pub value: toml::Value,
    pub origin: Origin,
}

impl Setting {
    pub fn dotted(&self) -> String {
        self.key.join(".")
    }

    /// One setting for each value of a table; itself where the value is no table or an empty one.
    pub fn spread(self) -> Vec<Setting> {
        match self.value {
            toml::Value::Table(table) if !table.is_empty() => {
                let below = |(name, value)| {
                    let key = self.key.iter().cloned().chain([name]).collect();
                    Setting { key, value, origin: self.origin.clone() }
                };
                table.into_iter().map(below).flat_map(Setting::spread).collect()
            }
            _ => vec![self],
        }
    }
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut value = figment::value::Value::serialize(&self.value)?;
        for segment in self.key.iter().rev() {
            value = Dict::from([(segment.clone(), value)]).into();
        }
        // A setting has a key, so the outermost value is a table.
        let table = value.into_dict().ok_or_else(|| figment::Error::from("a setting without a key".to_owned()))?;
        Ok(Profile::Default.collect(table))
    }
}
