//! How a line of the log looks: an object for programs, a sentence for people. Whoever said it, and in which trace, stands in
//! both.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use owo_colors::{OwoColorize, Style};
use serde_json::Value;
use spillway_shared::logs::{speaker, trace, with_causes};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::output::printable;

/// Wide enough for the longest name of a service, so that what is said stands in a column.
const SERVICE_WIDTH: usize = "notifications".len();

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

/// `{"level":"info","time":"...","service":"gateway","shop":...,"order_id":...,"trace_id":...,"span_id":...,"msg":"...",
/// "target":"...", fields...}`: what is not known is left out.
pub struct JsonLines {
    /// The service of what no role says.
    pub process: &'static str,
}

/// `TIME LEVEL SERVICE MODULE: MESSAGE name=value ...`, in colours where the writer has them.
pub struct PrettyLines {
    /// The service of what no role says.
    pub process: &'static str,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::of(event);
        let metadata = event.metadata();
        let mut line = String::with_capacity(256);
        push(&mut line, "level", &Value::from(metadata.level().as_str().to_lowercase()))?;
        push(&mut line, "time", &Value::from(jiff::Timestamp::now().to_string()))?;
        push(&mut line, "service", &fields.service(self.process, metadata))?;
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

impl<S, N> FormatEvent<S, N> for PrettyLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::of(event);
        let metadata = event.metadata();
        let painted = |text: String, style: Style, is_coloured| match is_coloured {
            true => text.style(style).to_string(),
            false => text,
        };
        let is_coloured = writer.has_ansi_escapes();
        let faint = |text: String| painted(text, Style::new().dimmed(), is_coloured);
        let time = faint(format!("{:.3}", jiff::Timestamp::now()));
        let level = painted(format!("{:>5}", metadata.level()), style_of(*metadata.level()), is_coloured);
        let service = plain(&fields.service(self.process, metadata));
        let target = faint(format!("{}:", metadata.target()));
        write!(writer, "{time} {level} {service:<SERVICE_WIDTH$} {target} {}", printable(&fields.message))?;
        for (name, value) in &fields.others {
            write!(writer, " {}{}", faint(format!("{name}=")), plain(value))?;
        }
        writeln!(writer)
    }
}

fn style_of(level: Level) -> Style {
    match level {
        Level::ERROR => Style::new().red().bold(),
        Level::WARN => Style::new().yellow(),
        Level::INFO => Style::new().green(),
        Level::DEBUG => Style::new().blue(),
        Level::TRACE => Style::new().purple(),
    }
}

/// A word as it is; what has spaces or steers a terminal between quotes, escaped.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            text.clone()
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// The fields of one event, with their types.
#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<&'static str, Value>,
}

impl Fields {
    /// With the trace of the call in which it is said, where it does not name one.
    fn of(event: &Event<'_>) -> Fields {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if !fields.others.contains_key("trace_id")
            && let Some(context) = trace()
        {
            fields.others.insert("trace_id", Value::from(format!("{:032x}", context.trace_id)));
            fields.others.insert("span_id", Value::from(format!("{:016x}", context.span_id)));
        }
        fields
    }

    /// Whose line it is. An event's own word for it wins.
    fn service(&mut self, process: &'static str, metadata: &Metadata<'_>) -> Value {
        let target = metadata.target();
        let by_module = || MODULES.iter().find(|(module, _)| target.starts_with(module)).map(|(_, service)| *service);
        let of_here = || match speaker() {
            Some(service) => Value::from(&*service),
            None => Value::from(by_module().unwrap_or(process)),
        };
        self.others.remove("service").unwrap_or_else(of_here)
    }

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
        self.put(field, Value::from(with_causes(value)));
    }
}
