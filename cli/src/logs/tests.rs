use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use spillway_proto::TraceContext;
use spillway_shared::logs::{now_in_trace, on_thread};
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
    text_of(&paper)
}

fn shown(is_coloured: bool, log: impl FnOnce()) -> String {
    let paper = Paper::default();
    let lines = tracing_subscriber::fmt().with_writer(paper.clone()).with_ansi(is_coloured);
    tracing::subscriber::with_default(lines.event_format(PrettyLines { process: "up" }).finish(), log);
    text_of(&paper)
}

fn text_of(paper: &Paper) -> String {
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
fn people_see_the_service_that_says_it_as_well() {
    let say = || {
        tracing::info!(target: "t", "said by nobody in particular");
        on_thread("payments".into(), || tracing::warn!(target: "t", count = 3, why = "two words", "tried"));
        tracing::error!(target: "t", service = "orders", who = "ada\u{1b}[2J", "said about\u{7} another");
    };
    let text = shown(false, say);
    let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').expect("a time").1).collect();
    let wanted = [
        " INFO up            t: said by nobody in particular",
        " WARN payments      t: tried count=3 why=\"two words\"",
        "ERROR orders        t: said about\u{fffd} another who=\"ada\\u{1b}[2J\"",
    ];
    assert_eq!(lines, wanted);
    assert!(text.lines().all(|line| line[..24].parse::<jiff::Timestamp>().is_ok()), "{text}");
    assert!(shown(true, say).contains("\u{1b}["), "there are colours where there may be");
}

#[test]
fn what_is_said_in_a_call_has_its_trace() {
    let here = TraceContext::new(7, 9, false);
    let lines = logged(|| {
        now_in_trace(Some(here), || tracing::error!("a call failed"));
        now_in_trace(Some(here), || tracing::info!(trace_id = "t", span_id = "s", "said of another"));
        tracing::error!("said outside");
    });
    let of = |name: &str| lines.iter().map(|line| line[name].as_str()).collect::<Vec<_>>();
    assert_eq!(of("trace_id"), [Some("00000000000000000000000000000007"), Some("t"), None]);
    assert_eq!(of("span_id"), [Some("0000000000000009"), Some("s"), None]);
}

#[test]
fn lines_go_to_standard_output_unless_a_verb_prints_json_there() {
    let to_stdout = |stream: LogStream| [Format::Table, Format::Json].map(|printed| stream.is_stdout(printed));
    assert_eq!(to_stdout(LogStream::Auto), [true, false]);
    assert_eq!((to_stdout(LogStream::Stdout), to_stdout(LogStream::Stderr)), ([true; 2], [false; 2]));
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
