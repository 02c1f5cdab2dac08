use std::io;
use std::sync::{Arc, Mutex};

use spillway_shared::logs::on_thread;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Paper;

    fn make_writer(&'a self) -> Paper {
        self.clone()
    }
}

fn logged(log: impl FnOnce()) -> Vec<Value> {
    let text = logged_text(log);
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn logged_text(log: impl FnOnce()) -> String {
    let paper = Paper::default();
    let lines = tracing_subscriber::fmt().with_writer(paper.clone()).event_format(JsonLines { process: "up" }).finish();
    tracing::subscriber::with_default(lines, log);
    let bytes = paper.0.lock().expect("unpoisoned").clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_line_is_one_object_with_typed_fields() {
    let error = io::Error::other("\"quoted\"\nbroken");
    let lines = logged(|| {
        let cause: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(count = 3, millis = 14u128, is_good = true, order_id = %"o-1", error = cause, "two\nlines");
    });
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(line["level"], "warn");
    assert_eq!(line["service"], "up");
    assert_eq!(line["msg"], "two\nlines");
    assert_eq!(line["count"], 3);
    assert_eq!(line["millis"], 14);
    assert_eq!(line["is_good"], true);
    assert_eq!(line["order_id"], "o-1");
    assert_eq!(line["error"], "\"quoted\"\nbroken");
    line["time"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok()).expect("RFC 3339");
}

#[test]
fn a_line_has_the_service_that_says_it() {
    let services = logged(|| {
        tracing::info!("said by nobody in particular");
        tracing::info!(target: "spillway_sandbox::http", "said by a module of one role");
        on_thread("payments".into(), || tracing::info!(target: "spillway_sandbox::http", "said in a role's thread"));
        on_thread("payments".into(), || tracing::info!(service = "orders", "said about another"));
    });
    let services: Vec<_> = services.iter().map(|line| line["service"].as_str().expect("text")).collect();
    assert_eq!(services, ["up", "provider", "payments", "orders"]);
}

#[test]
fn what_an_order_is_found_by_stands_before_the_message_and_what_is_not_known_is_left_out() {
    let none: Option<&str> = None;
    let text = logged_text(|| {
        tracing::info!(
            amount_minor = 250,
            order_id = "o-1",
            flow = none,
            shop = "default",
            trace_id = "t",
            span_id = "s",
            "x"
        );
    });
    let wanted = r#""service":"up","shop":"default","order_id":"o-1","trace_id":"t","span_id":"s","msg":"x","#;
    assert!(text.contains(wanted) && text.contains(r#""amount_minor":250"#) && !text.contains("flow"), "{text}");
}

#[test]
fn a_level_that_is_none_is_a_mistake_of_the_configuration() {
    let mut problems = Vec::new();
    LogConfig { level: "info,x=loud".into(), ..LogConfig::default() }.problems("log", &mut problems);
    // The filter would take it for a module, and turn everything else off.
    LogConfig { level: "debg".into(), ..LogConfig::default() }.problems("log", &mut problems);
    LogConfig { level: "Info".into(), ..LogConfig::default() }.problems("log", &mut problems);
    assert_eq!(problems.len(), 3);
    for level in ["debug", "info,async_nats=warn", "off", "info,spillway::facts=off"] {
        LogConfig { level: level.into(), ..LogConfig::default() }.problems("log", &mut problems);
    }
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(problems[0].key, "log.level");
}
