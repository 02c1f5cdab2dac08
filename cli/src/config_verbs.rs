//! `spillway config print|check|schema`.

use serde_json::json;
use spillway_shared::config;

use crate::cli::{ConfigVerb, Format};
use crate::config::Config;
use crate::context::Context;
use crate::exit::Failure;

pub fn run(verb: &ConfigVerb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        ConfigVerb::Print { origin } => print(*origin, ctx),
        ConfigVerb::Check => check(ctx),
        ConfigVerb::Schema => ctx.output.document(&config::schema::<Config>()),
    }
}

fn print(with_origin: bool, ctx: &Context) -> Result<(), Failure> {
    let loaded = ctx.load_config(Vec::new())?;
    match (ctx.output.format(), with_origin) {
        (Format::Table, _) => ctx.output.text(&loaded.to_toml(with_origin)),
        (Format::Json, false) => ctx.output.document(&loaded.to_json()),
        (Format::Json, true) => ctx.output.document(&json!({ "settings": loaded.entries() })),
    }
}

fn check(ctx: &Context) -> Result<(), Failure> {
    let loaded = ctx.load_config(Vec::new())?;
    let set = loaded.entries().iter().filter(|entry| entry.origin != config::Origin::Default).count();
    match ctx.output.format() {
        Format::Table => ctx.output.text(&format!("the configuration is good; {set} keys are set\n")),
        Format::Json => ctx.output.json(&json!({ "good": true, "keys_set": set })),
    }
}
