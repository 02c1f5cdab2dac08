//! Logs: to standard error always, so that standard output stays what a verb prints; one JSON object a line unless a
//! person looks on.

mod queue;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spillway_shared::config::{Problem, Validate, join};
use spillway_shared::logs::speaker;
use spillway_shared::role::{LogLevel, check_log_level};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, reload};

use crate::exit::Failure;
pub use queue::LastLines;

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`; also by module, such as `info,spillway_shared::bus=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
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

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: "info,async_nats=warn".to_owned(), format: LogFormat::Auto, max_lines_per_second: 200 }
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

/// Turns logging on for the rest of the process. `process` is the service of what no role says. Answers what changes the level while it runs.
///
/// # Errors
/// When the level is none, or logging is on already.
pub fn init(config: &LogConfig, process: &'static str) -> Result<(LogLevel, LastLines), Failure> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|error| Failure::usage(format!("log.level {:?} is no log level: {error}", config.level)))?;
    let is_terminal = std::io::stderr().is_terminal();
    let (queue, last) = queue::start(process, std::io::stderr())
        .map_err(|error| Failure::failed(format!("cannot start logging: {error}")))?;
    let lines = tracing_subscriber::fmt().with_writer(queue);
    let configured = config.level.clone();
    // What can be reloaded is made last: its type has the whole subscriber in it.
    let (level, started) = match (config.format, is_terminal) {
        (LogFormat::Pretty, _) | (LogFormat::Auto, true) => {
            let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let lines = lines.with_timer(SystemTime).with_ansi(is_terminal && !is_plain);
            let lines = lines.with_env_filter(filter).with_filter_reloading();
            (changing(lines.reload_handle(), configured), lines.try_init())
        }
        (LogFormat::Json, _) | (LogFormat::Auto, false) => {
            let lines = lines.event_format(JsonLines { process }).with_env_filter(filter).with_filter_reloading();
            (changing(lines.reload_handle(), configured), lines.try_init())
        }
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

/// `{"level":"info","time":"...","service":"gateway","shop":...,"order_id":...,"trace_id":...,"span_id":...,"msg":"...",
/// "target":"...", fields...}`: what is not known is left out.
struct JsonLines {
    process: &'static str,
}

/// Whose a line is that is said in a task of no role: the modules that one role alone runs.
const MODULES: [(&str, &str); 8] = [
    ("spillway_gateway", "gateway"),
    ("spillway_shared::grpc", "gateway"),
    ("spillway_inventory", "inventory"),
    ("spillway_payments", "payments"),
    ("spillway_orders", "orders"),
    ("spillway_notifications", "notifications"),
    ("spillway_audit", "audit"),
    ("spillway_sandbox", "provider"),
];

impl JsonLines {
    /// Whose line it is, where it does not say so itself.
    fn service(&self, target: &str) -> String {
        let by_module = || MODULES.iter().find(|(module, _)| target.starts_with(module)).map(|(_, service)| *service);
        speaker().map_or_else(|| by_module().unwrap_or(self.process).to_owned(), |service| service.to_string())
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = String::with_capacity(256);
        push(&mut line, "level", &Value::from(metadata.level().as_str().to_lowercase()))?;
        push(&mut line, "time", &Value::from(jiff::Timestamp::now().to_string()))?;
        // An event's own word for it wins.
        let service = fields.others.remove("service").unwrap_or_else(|| Value::from(self.service(metadata.target())));
        push(&mut line, "service", &service)?;
        for name in ["shop", "order_id", "trace_id", "span_id"] {
            if let Some(value) = fields.others.remove(name) {
                push(&mut line, name, &value)?;
            }
        }
        push(&mut line, "msg", &Value::from(fields.message))?;
        push(&mut line, "target", &Value::from(metadata.target()))?;
        for (name, value) in &fields.others {
            push(&mut line, name, value)?;
        }
        writeln!(writer, "{line}}}")
    }
}

fn push(line: &mut String, name: &str, value: &Value) -> fmt::Result {
    let separator = if line.is_empty() { '{' } else { ',' };
    write!(line, "{separator}{}:{value}", Value::from(name))
}

/// The fields of one event, with their types.
#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<&'static str, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::from(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.put(field, Value::from(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, i64::try_from(value).map_or_else(|_| Value::from(value.to_string()), Value::from));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, u64::try_from(value).map_or_else(|_| Value::from(value.to_string()), Value::from));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        self.put(field, Value::from(text));
    }
}

#[cfg(test)]
mod tests;
