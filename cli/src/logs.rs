//! Logs: to standard output, unless that is to hold nothing but the JSON that a verb prints; one JSON object a line unless a
//! person looks on.

mod lines;
mod queue;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_shared::config::{Problem, Validate, join};
use spillway_shared::role::{LogLevel, check_log_level};
use tracing_subscriber::{EnvFilter, reload};

use crate::cli::Format;
use crate::exit::Failure;
use lines::{JsonLines, PrettyLines};
pub use queue::LastLines;

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`; also by module, such as `info,spillway_shared::bus=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Where `up` and `run` write it. Other verbs do not log.
    pub stream: LogStream,
    /// Lines a second about events, at most, of each role; 1 or more. Above it the lines of whole orders are left out,
    /// which a warning tells once a minute. No warning and no error is ever left out by this.
    pub max_lines_per_second: u32,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `pretty` on a terminal, else `json`.
    Auto,
    /// One JSON object a line: level, time, service, msg and the fields of the event.
    Json,
    /// For people.
    Pretty,
}

/// Where the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output; with `--output json` standard error, since standard output then carries what the verb prints.
    Auto,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    fn is_stdout(self, printed: Format) -> bool {
        match self {
            LogStream::Auto => printed != Format::Json,
            LogStream::Stdout => true,
            LogStream::Stderr => false,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            level: "info,async_nats=warn".to_owned(),
            format: LogFormat::Auto,
            stream: LogStream::Auto,
            max_lines_per_second: 200,
        }
    }
}

impl LogConfig {
    /// Whether standard output is a log that programs read: lines of JSON, all of it.
    pub fn makes_stdout_json_lines(&self, printed: Format) -> bool {
        self.stream.is_stdout(printed) && !self.is_pretty(std::io::stdout().is_terminal())
    }

    fn is_pretty(&self, is_terminal: bool) -> bool {
        match self.format {
            LogFormat::Auto => is_terminal,
            LogFormat::Json => false,
            LogFormat::Pretty => true,
        }
    }
}

impl Validate for LogConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        if let Err(error) = check_log_level(&self.level) {
            out.push(Problem::new(join(at, "level"), format!("is no log level: {error}")));
        }
        if self.max_lines_per_second == 0 {
            out.push(Problem::new(join(at, "max_lines_per_second"), "must be at least 1"));
        }
    }
}

/// Turns logging on for the rest of the process. `process` is the service of what no role says, `printed` how the verb prints
/// what it has to say itself. Answers what changes the level while it runs.
///
/// # Errors
/// When the level is none, or logging is on already.
pub fn init(config: &LogConfig, process: &'static str, printed: Format) -> Result<(LogLevel, LastLines), Failure> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|error| Failure::usage(format!("log.level {:?} is no log level: {error}", config.level)))?;
    // Both are locked for each write, and a line is one: none stands in another, nor in what the verb prints.
    let (out, is_terminal): (Box<dyn Write + Send>, bool) = if config.stream.is_stdout(printed) {
        (Box::new(std::io::stdout()), std::io::stdout().is_terminal())
    } else {
        (Box::new(std::io::stderr()), std::io::stderr().is_terminal())
    };
    let (queue, last) =
        queue::start(process, out).map_err(|error| Failure::failed(format!("cannot start logging: {error}")))?;
    let lines = tracing_subscriber::fmt().with_writer(queue);
    let configured = config.level.clone();
    // What can be reloaded is made last: its type has the whole subscriber in it.
    let (level, started) = if config.is_pretty(is_terminal) {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let lines = lines.with_ansi(is_terminal && !is_plain).event_format(PrettyLines { process });
        let lines = lines.with_env_filter(filter).with_filter_reloading();
        (changing(lines.reload_handle(), configured), lines.try_init())
    } else {
        let lines = lines.event_format(JsonLines { process }).with_env_filter(filter).with_filter_reloading();
        (changing(lines.reload_handle(), configured), lines.try_init())
    };
    started.map_err(|error| Failure::failed(format!("cannot start logging: {error}")))?;
    Ok((level, last))
}

/// Puts another level in force, or the configured one where there is none.
fn changing<S: 'static>(handle: reload::Handle<EnvFilter, S>, configured: String) -> LogLevel {
    Arc::new(move |level| {
        let level = level.unwrap_or(&configured);
        let changed = EnvFilter::try_new(level).map_err(|error| error.to_string());
        let changed = changed.and_then(|filter| handle.reload(filter).map_err(|error| error.to_string()));
        match changed {
            Ok(()) => tracing::info!(log_level = level, "log level changed"),
            Err(error) => tracing::error!(log_level = level, error, "log level was not changed"),
        }
    })
}

#[cfg(test)]
mod tests;
