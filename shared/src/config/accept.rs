//! Which settings deserialize, checked key by key, since serde stops at the first mistake.

use figment::Figment;
use figment::error::{Error, Kind};
use figment::providers::Serialized;

use super::Root;
use super::problem::Problem;
use super::setting::Setting;
use super::shape::Shape;

/// The value that the good settings make, and those settings; a mistake for every bad one.
pub fn accept<T: Root>(shape: &Shape, settings: Vec<Setting>, problems: &mut Vec<Problem>) -> (T, Vec<Setting>) {
    let defaults = Figment::from(Serialized::defaults(T::default()));
    let mut accepted = Vec::new();
    for unit in units(shape, settings) {
        if unit.is_composite {
            match merged::<T>(&defaults, &unit.settings) {
                Ok(_) => accepted.extend(unit.settings),
                Err(error) => problems.push(composite_problem(shape, &unit, &error)),
            }
            continue;
        }
        for setting in unit.settings {
            match merged::<T>(&defaults, std::slice::from_ref(&setting)) {
                Ok(_) => accepted.push(setting),
                Err(error) => {
                    let found = (!shape.is_secret(&setting.key)).then_some(&setting.value);
                    let message = describe(&error, found);
                    problems.push(Problem::at(setting.dotted(), message, setting.origin));
                }
            }
        }
    }
    match merged::<T>(&defaults, &accepted) {
        Ok(value) => (value, accepted),
        Err(error) => {
            // Each is good alone, but not together.
            problems.push(Problem::new(error.path.join("."), describe(&error, None)));
            (T::default(), accepted)
        }
    }
}

/// Settings that are deserialized as one, weakest layer first.
struct Unit {
    key: Vec<String>,
    settings: Vec<Setting>,
    /// Some set only a part of it, so that only all together can be judged.
    is_composite: bool,
}

/// In the order of their first settings.
fn units(shape: &Shape, settings: Vec<Setting>) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for setting in settings {
        let key = setting.key[..shape.find(&setting.key).unit].to_vec();
        let is_composite = key.len() < setting.key.len();
        match units.iter_mut().find(|unit| unit.key == key) {
            Some(unit) => {
                unit.is_composite |= is_composite;
                unit.settings.push(setting);
            }
            None => units.push(Unit { key, settings: vec![setting], is_composite }),
        }
    }
    units
}

fn merged<T: Root>(defaults: &Figment, settings: &[Setting]) -> Result<T, Box<Error>> {
    settings.iter().fold(defaults.clone(), |figment, setting| figment.merge(setting)).extract().map_err(Box::new)
}

/// A mistake in a unit of several settings: the error's path says which one, else it is the unit's as a whole.
fn composite_problem(shape: &Shape, unit: &Unit, error: &Error) -> Problem {
    // What is missing was set by nobody: the path is then that of the last one there is.
    let path = if error.missing() { &unit.key } else { &error.path };
    let culprit = unit.settings.iter().rev().find(|setting| path.starts_with(&setting.key));
    let key = if path.starts_with(&unit.key) { path } else { &unit.key };
    let origin = culprit.or(unit.settings.last()).map(|setting| setting.origin.clone());
    let found = culprit.filter(|_| !shape.is_secret(&unit.key)).map(|setting| &setting.value);
    Problem { key: key.join("."), message: describe(error, found), origin }
}

/// What is wrong, with what was found where that may be shown.
fn describe(error: &Error, found: Option<&toml::Value>) -> String {
    let wrong = match &error.kind {
        Kind::Message(message) => message.clone(),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) | Kind::InvalidLength(_, expected) => {
            format!("must be {}", in_words(expected))
        }
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        Kind::UnknownField(name, known) => format!("{name} is no key here; there are {}", known.join(", ")),
        Kind::MissingField(name) => format!("{name} is missing"),
        Kind::DuplicateField(name) => format!("{name} is given twice"),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "is out of range".to_owned(),
        Kind::Unsupported(_) | Kind::UnsupportedKey(_, _) => "is of a type that is not supported".to_owned(),
    };
    match found {
        Some(value) => format!("{wrong}, not {value}"),
        None => wrong,
    }
}

/// What a type of Rust means to whoever sets it.
fn in_words(expected: &str) -> String {
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" | "a borrowed string" => "text",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    words.to_owned()
}
