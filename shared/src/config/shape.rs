//! Which keys there are and what they take, as the JSON schema of the root type says.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of a root type, with every reference resolved in place.
pub struct Shape(Value);

/// What a key leads to.
pub struct Found<'a> {
    /// How many of the key's names are known: all of them, unless the next one is unknown.
    pub known: usize,
    /// The names there are in place of the unknown one.
    pub names_there: Vec<&'a str>,
    /// How many of the key's names lead to what must be deserialized as one: a value, an optional table, a map, a
    /// table that takes one of several forms.
    pub unit: usize,
    /// The schema where the key ends, if it is known.
    node: Option<&'a Value>,
}

impl Shape {
    pub fn of<T: JsonSchema>() -> Shape {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        Shape(settings.into_generator().into_root_schema_for::<T>().to_value())
    }

    pub fn find(&self, key: &[String]) -> Found<'_> {
        let mut node = &self.0;
        let mut unit = None;
        for (depth, name) in key.iter().enumerate() {
            let Some(table) = Table::of(node) else {
                // A map, a choice of several forms, or a plain value: serde knows what may stand below.
                return Found {
                    known: key.len(),
                    names_there: Vec::new(),
                    unit: unit.unwrap_or(depth),
                    node: entry_of(node),
                };
            };
            if table.is_optional {
                unit.get_or_insert(depth);
            }
            match table.properties.get(name) {
                Some(next) => node = next,
                None if table.takes_any_name => {
                    let unit = unit.unwrap_or(depth);
                    return Found { known: key.len(), names_there: Vec::new(), unit, node: None };
                }
                None => {
                    let names_there = table.properties.keys().map(String::as_str).collect();
                    return Found { known: depth, names_there, unit: unit.unwrap_or(depth), node: None };
                }
            }
        }
        Found { known: key.len(), names_there: Vec::new(), unit: unit.unwrap_or(key.len()), node: Some(node) }
    }

    /// All keys of plain values, dotted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        collect_keys(&self.0, "", &mut keys);
        keys
    }

    /// Whether the value of the key, or anything below it, is a secret.
    pub fn is_secret(&self, key: &[String]) -> bool {
        self.find(key).node.is_some_and(holds_secret)
    }

    /// A value written as plain text, as in an environment variable: text where the key takes text, items between
    /// commas where it takes a list, else as TOML has it; what is not TOML is text.
    pub fn read_text(&self, key: &[String], text: &str) -> toml::Value {
        read(text, self.find(key).node)
    }
}

fn read(text: &str, node: Option<&Value>) -> toml::Value {
    let as_text = || toml::Value::String(text.to_owned());
    let types = node.map(types_of).unwrap_or_default();
    if types.contains(&"array") && !text.trim_start().starts_with('[') {
        let items = node.and_then(|node| node.get("items"));
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        return toml::Value::Array(parts.map(|part| read(part, items)).collect());
    }
    if types.iter().all(|name| *name == "string" || *name == "null") && types.contains(&"string") {
        return as_text();
    }
    let Ok(mut table) = toml::from_str::<toml::Table>(&format!("value = {}", text.trim())) else {
        return as_text();
    };
    match table.remove("value") {
        Some(toml::Value::Datetime(_)) | None => as_text(),
        // More than one value: what came was several lines of TOML.
        Some(_) if !table.is_empty() => as_text(),
        Some(value) => value,
    }
}

/// A schema that names its properties.
struct Table<'a> {
    properties: &'a Map<String, Value>,
    takes_any_name: bool,
    is_optional: bool,
}

impl<'a> Table<'a> {
    fn of(node: &'a Value) -> Option<Table<'a>> {
        if let Some(only) = only_alternative(node) {
            return Table::of(only).map(|table| Table { is_optional: true, ..table });
        }
        let is_choice = node.get("oneOf").is_some() || node.get("anyOf").is_some();
        let properties = node.get("properties")?.as_object().filter(|_| !is_choice)?;
        let additional = node.get("additionalProperties");
        let takes_any_name = additional.is_some_and(|schema| schema.is_object() || schema.as_bool() == Some(true));
        Some(Table { properties, takes_any_name, is_optional: types_of(node).contains(&"null") })
    }
}

/// The one alternative of an optional value that is not null.
fn only_alternative(node: &Value) -> Option<&Value> {
    let choices = node.get("anyOf")?.as_array()?;
    let mut present = choices.iter().filter(|choice| choice.get("type").and_then(Value::as_str) != Some("null"));
    let only = present.next()?;
    (present.next().is_none() && choices.len() > 1).then_some(only)
}

/// What the entries of a map look like.
fn entry_of(node: &Value) -> Option<&Value> {
    node.get("additionalProperties").filter(|schema| schema.is_object())
}

/// The JSON types that a schema takes.
fn types_of(node: &Value) -> Vec<&str> {
    let mut types: Vec<&str> = match node.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    for choice in ["anyOf", "oneOf"] {
        let choices = node.get(choice).and_then(Value::as_array).into_iter().flatten();
        types.extend(choices.flat_map(types_of));
    }
    types
}

fn holds_secret(node: &Value) -> bool {
    match node {
        Value::Object(fields) => {
            fields.get("writeOnly").and_then(Value::as_bool) == Some(true) || fields.values().any(holds_secret)
        }
        Value::Array(items) => items.iter().any(holds_secret),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn collect_keys(node: &Value, at: &str, keys: &mut Vec<String>) {
    let Some(table) = Table::of(node) else {
        keys.push(at.to_owned());
        return;
    };
    for (name, next) in table.properties {
        collect_keys(next, &super::join(at, name), keys);
    }
}
