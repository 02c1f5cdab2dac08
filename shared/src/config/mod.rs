//! Configuration: built-in defaults < file (TOML) < environment < flags, and every mistake reported at once.
//!
//! A root type says what there is to set ([`Root`]): its doc comments are the manual, its `Default` the built-in
//! values, its JSON schema the list of keys. Every mistake in every layer is told with its key and where it was
//! made, also where a later layer would have hidden it. What merges and deserializes (figment) stays in here.

mod accept;
mod environment;
mod file;
mod flags;
mod load;
mod print;
mod problem;
mod secret;
mod setting;
mod shape;
mod suggest;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use flags::Flag;
pub use load::{Environment, Loaded, Sources, load};
pub use print::{Entry, redact_urls};
pub use problem::{Origin, Problem, Problems, Validate, join};
pub use secret::{SECRET_SHOWN_AS, Secret, resolve_secret, without_credentials};

/// What a root type of a configuration must be able to do.
///
/// Its `Default` must hold no [`Secret`]: a default goes through serialization, where a secret is lost.
pub trait Root: Default + Serialize + DeserializeOwned + JsonSchema + Validate {}

impl<T: Default + Serialize + DeserializeOwned + JsonSchema + Validate> Root for T {}

/// The JSON Schema (draft 2020-12) of a configuration file.
#[must_use]
pub fn schema<T: JsonSchema>() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
