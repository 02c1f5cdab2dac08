//! From the layers to a checked value, or to all mistakes.

use std::path::PathBuf;

use super::accept::accept;
use super::flags::Flag;
use super::print::Entry;
use super::problem::{Origin, Problem, Problems};
use super::setting::Setting;
use super::shape::Shape;
use super::suggest::suggest;
use super::{Root, environment, file, flags, print};

/// The environment as a layer.
#[derive(Clone, Debug)]
pub struct Environment {
    /// All variables; those without the prefix are nobody's business here.
    pub variables: Vec<(String, String)>,
    /// Such as `SPILLWAY_`.
    pub prefix: &'static str,
    /// Variables with the prefix that are no keys.
    pub exceptions: &'static [&'static str],
}

impl Environment {
    /// The environment of this process. A variable that is no Unicode is read with replacement characters.
    #[must_use]
    pub fn of_process(prefix: &'static str, exceptions: &'static [&'static str]) -> Environment {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Environment { variables, prefix, exceptions }
    }
}

/// The layers over the built-in defaults, weakest first.
#[derive(Clone, Debug)]
pub struct Sources {
    pub file: Option<PathBuf>,
    pub environment: Environment,
    pub flags: Vec<Flag>,
}

/// A checked configuration that knows where each of its values comes from.
#[derive(Debug)]
pub struct Loaded<T> {
    pub config: T,
    settings: Vec<Setting>,
}

impl<T: Root> Loaded<T> {
    /// Where the value of a key comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        origin_of(&self.settings, key).unwrap_or(Origin::Default)
    }

    /// Every key with its value and origin; secrets as `***`.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        print::entries(self)
    }

    /// As a TOML file would have it, each line with its origin where that is asked for; secrets as `***`.
    #[must_use]
    pub fn to_toml(&self, with_origin: bool) -> String {
        print::to_toml(&self.entries(), with_origin)
    }

    /// As one JSON object; secrets as `***`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        print::to_json(self)
    }
}

/// Merges the layers, and checks every one of them and the whole.
///
/// # Errors
/// [`Problems`]: every unknown key, every value of a wrong type in any layer, and what [`super::Validate`] finds in
/// the values that remain.
pub fn load<T: Root>(sources: &Sources) -> Result<Loaded<T>, Problems> {
    let shape = Shape::of::<T>();
    let mut problems = Vec::new();
    let settings = read_layers(sources, &shape, &mut problems);
    let (config, settings) = accept::<T>(&shape, settings, &mut problems);
    let mut found = Vec::new();
    config.problems("", &mut found);
    problems.extend(found.into_iter().map(|problem| with_origin(problem, &settings)));
    if problems.is_empty() { Ok(Loaded { config, settings }) } else { Err(Problems(problems)) }
}

/// The known keys of all layers, weakest layer first.
fn read_layers(sources: &Sources, shape: &Shape, problems: &mut Vec<Problem>) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(path) = &sources.file {
        file::read(path, &mut settings, problems);
    }
    environment::read(&sources.environment, shape, &mut settings, problems);
    flags::read(&sources.flags, shape, &mut settings, problems);
    let mut settings: Vec<Setting> = settings.into_iter().flat_map(Setting::spread).collect();
    let keys = shape.keys();
    settings.retain(|setting| match unknown(shape, &keys, sources.environment.prefix, setting) {
        Some(problem) => {
            problems.push(problem);
            false
        }
        None => true,
    });
    settings
}

fn unknown(shape: &Shape, keys: &[String], prefix: &str, setting: &Setting) -> Option<Problem> {
    let found = shape.find(&setting.key);
    if found.known == setting.key.len() {
        return None;
    }
    let meant = suggest(&setting.key, found.known, &found.names_there, keys);
    let message = match (meant, &setting.origin) {
        (Some(key), Origin::Environment(_)) => {
            format!("is no key; did you mean {prefix}{}?", key.to_uppercase().replace('.', "__"))
        }
        (Some(key), Origin::Default | Origin::File { .. } | Origin::Flag(_)) => {
            format!("is no key; did you mean {key}?")
        }
        (None, _) => "is no key: `config schema` lists them all".to_owned(),
    };
    Some(Problem::at(setting.dotted(), message, setting.origin.clone()))
}

/// A mistake found in the whole, with the origin of the value it speaks of.
fn with_origin(problem: Problem, settings: &[Setting]) -> Problem {
    let origin = problem.origin.or_else(|| origin_of(settings, &problem.key));
    Problem { origin, ..problem }
}

/// The last setting of the key, of what is above it, or of what is below it.
fn origin_of(settings: &[Setting], key: &str) -> Option<Origin> {
    let is_within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let speaks_of = |setting: &&Setting| {
        let own = setting.dotted();
        is_within(key, &own) || is_within(&own, key)
    };
    settings.iter().rev().find(speaks_of).map(|setting| setting.origin.clone())
}
