//! What an operator meets: layers, mistakes, origins, secrets.

mod layers;
mod mistakes;
mod secrets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Environment, Flag, Loaded, Problem, Problems, Secret, Sources, Validate, join, load};

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct House {
    partitions: u16,
    name: String,
    hosts: Vec<String>,
    door: Door,
    mail: Option<Mail>,
    way: Way,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Door {
    listen: SocketAddr,
    open: bool,
    colour: Colour,
    key: Option<Secret>,
    key_file: Option<PathBuf>,
    /// A secret by its schema alone, of a type that shows itself.
    #[schemars(extend("writeOnly" = true))]
    token: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mail {
    host: String,
    port: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Way {
    Folder { path: PathBuf },
    Smtp { host: String, port: u16 },
}

impl Default for House {
    fn default() -> Self {
        House {
            partitions: 1,
            name: "home".into(),
            hosts: vec!["a".into()],
            door: Door::default(),
            mail: None,
            way: Way::Folder { path: "out".into() },
            labels: BTreeMap::new(),
        }
    }
}

impl Default for Door {
    fn default() -> Self {
        Door {
            listen: ([127, 0, 0, 1], 50051).into(),
            open: false,
            colour: Colour::Red,
            key: None,
            key_file: None,
            token: None,
        }
    }
}

impl Validate for House {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        if !(1..=64).contains(&self.partitions) {
            out.push(Problem::new(join(at, "partitions"), "must be 1 to 64"));
        }
        if self.door.open && self.name == "home" {
            out.push(Problem::new(join(&join(at, "door"), "open"), "an open door needs a name"));
        }
    }
}

/// Layers from text.
fn sources(file: Option<&Path>, variables: &[(&str, &str)], sets: &[&str]) -> Sources {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Sources {
        file: file.map(Path::to_owned),
        environment: Environment { variables, prefix: "HOUSE_", exceptions: &["HOUSE_CONFIG"] },
        flags: sets.iter().map(|set| Flag::parse_set(set).expect("key=value")).collect(),
    }
}

fn house(file: Option<&str>, variables: &[(&str, &str)], sets: &[&str]) -> Result<Loaded<House>, Problems> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("house.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).expect("written");
    }
    load(&sources(file.map(|_| path.as_path()), variables, sets))
}

/// Every mistake as it is told, with the folder of the file cut out.
fn told(result: Result<Loaded<House>, Problems>) -> Vec<String> {
    let problems = result.expect_err("there are mistakes").0;
    let cut = |text: String| match (text.find("(file "), text.rfind('/')) {
        (Some(start), Some(end)) => format!("{}(file {}", &text[..start], &text[end + 1..]),
        _ => text,
    };
    problems.iter().map(|problem| cut(problem.to_string())).collect()
}
