//! What every verb is given: where to print, whom to call, and how to load the configuration.

use std::time::Duration;

use spillway_shared::config::{Environment, Flag, Loaded, Sources, load};

use crate::cli::Global;
use crate::client::Remote;
use crate::config::{Config, ENVIRONMENT_EXCEPTIONS, ENVIRONMENT_PREFIX};
use crate::exit::Failure;
use crate::output::Output;

/// What the flags before and after the verb say.
pub struct Context {
    pub output: Output,
    pub global: Global,
}

impl Context {
    pub fn new(global: Global) -> Context {
        Context { output: Output::new(global.output, global.no_color), global }
    }

    /// The configuration, with a verb's own flags on top of `--set`.
    ///
    /// # Errors
    /// A usage failure that names every mistake.
    pub fn load_config(&self, verb_flags: Vec<Flag>) -> Result<Loaded<Config>, Failure> {
        let mut flags = Vec::with_capacity(self.global.set.len() + verb_flags.len());
        for text in &self.global.set {
            let flag = Flag::parse_set(text).ok_or_else(|| {
                Failure::usage(format!("--set {text}: wants KEY=VALUE, such as --set log.level=debug"))
            })?;
            flags.push(flag);
        }
        flags.extend(verb_flags);
        let environment = Environment::of_process(ENVIRONMENT_PREFIX, ENVIRONMENT_EXCEPTIONS);
        let sources = Sources { file: self.global.config.clone(), environment, flags };
        load(&sources).map_err(Failure::from)
    }

    /// The gateway, which clients call.
    pub fn gateway(&self) -> Result<Remote, Failure> {
        Remote::new("the gateway", "--address", &self.global.address, self.timeout())
    }

    /// The port for operators.
    pub fn ops(&self) -> Result<Remote, Failure> {
        Remote::new("the ops port", "--ops-address", &self.global.ops_address, self.timeout())
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.global.timeout)
    }
}
