//! Orders and their events as people read them.

use owo_colors::Style;
use prost_types::{Any, Timestamp};
use serde_json::{Map, Value};
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{Order, OrderEvent, Reason, WatchOrderResponse};
use spillway_proto::{Money, pb, time};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Output, printable};

pub const ORDER_COLUMNS: [&str; 6] = ["ORDER", "STATE", "REASON", "CUSTOMER", "TOTAL", "CREATED"];

/// An order as a row of a list.
pub fn row(order: &Order) -> Vec<String> {
    vec![
        order.order_id.clone(),
        state(order),
        reason(order),
        order.customer_id.clone(),
        money(order.total.as_ref()),
        at(order.create_time.as_ref()),
    ]
}

/// An order with all that is known of it.
pub fn print_order(order: &Order, ctx: &Context) -> Result<(), Failure> {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push([name.to_owned(), value]);
        }
    };
    row("order", order.order_id.clone());
    row("request", order.request_id.clone());
    row("state", state(order));
    row("reason", reason(order));
    if let Some(waiting) = &order.waiting {
        row("waiting", waiting.detail.clone());
        row("since", at(waiting.since.as_ref()));
        row("expected", at(waiting.expected.as_ref()));
    }
    row("customer", order.customer_id.clone());
    row("total", money(order.total.as_ref()));
    row("refunded", money(order.refunded.as_ref()));
    row("version", order.version.to_string());
    row("created", at(order.create_time.as_ref()));
    row("updated", at(order.update_time.as_ref()));
    let labels: Vec<String> = order.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    row("labels", labels.join(", "));
    ctx.output.table(&[], rows.into_iter().map(Vec::from).collect())?;
    let line = |line: &pb::orders::OrderLine| {
        vec![line.sku.clone(), line.quantity.to_string(), money(line.unit_price.as_ref())]
    };
    ctx.output.text("\n")?;
    ctx.output.table(&["SKU", "QUANTITY", "UNIT PRICE"], order.lines.iter().map(line).collect())
}

/// What happened, on one line.
pub fn event_line(event: &OrderEvent, output: &Output) -> String {
    let payload = event.data.as_ref().map(|data| payload(data, output)).unwrap_or_default();
    let (time, name, source) = (at(event.time.as_ref()), printable(&event.r#type), printable(&event.source));
    let line = format!("{:>3}  {time}  {source:<13}  {name:<34}  {}", event.version, printable(&payload));
    line.trim_end().to_owned()
}

/// A step of a watched order, on one line: the event, or the order alone where only the gateway knows it.
pub fn step_line(step: &WatchOrderResponse, output: &Output) -> String {
    match (&step.event, &step.order) {
        (Some(event), _) => event_line(event, output),
        (None, Some(order)) => format!("{:>3}  {}  accepted", order.version, at(order.create_time.as_ref())),
        (None, None) => String::new(),
    }
}

/// How an order ended, on one line, in colour.
pub fn end_line(order: &Order, output: &Output) -> String {
    let style = match order.state() {
        State::Confirmed => Style::new().green(),
        State::Rejected | State::Cancelled => Style::new().red(),
        State::Unspecified | State::Pending | State::Refunded => Style::new().yellow(),
    };
    let reason = reason(order);
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("order {} is {}{why}\n", printable(&order.order_id), output.paint(&state(order), style))
}

/// The payload as compact JSON, without its type, which the event tells, and with money as people write it.
fn payload(data: &Any, output: &Output) -> String {
    let Ok(mut json) = output.to_proto_json("google.protobuf.Any", data) else {
        return "(a payload that this build does not know)".to_owned();
    };
    if let Some(fields) = json.as_object_mut() {
        fields.remove("@type");
    }
    match readable(json) {
        Value::Object(fields) if fields.is_empty() => String::new(),
        json => json.to_string(),
    }
}

/// Money in one piece, and nothing that is empty.
fn readable(json: Value) -> Value {
    match json {
        Value::Object(fields) => amount(&fields).unwrap_or_else(|| {
            let fields = fields.into_iter().map(|(name, value)| (name, readable(value)));
            Value::Object(fields.filter(|(_, value)| !is_empty(value)).collect())
        }),
        Value::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json,
    }
}

/// The text of what has exactly the fields of google.type.Money.
fn amount(fields: &Map<String, Value>) -> Option<Value> {
    let wire = pb::Money {
        currency_code: fields.get("currencyCode")?.as_str()?.to_owned(),
        units: fields.get("units")?.as_str()?.parse().ok()?,
        nanos: i32::try_from(fields.get("nanos")?.as_i64()?).ok()?,
    };
    (fields.len() == 3).then(|| Value::String(money(Some(&wire))))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Leaves the payload out where this build does not know it: it cannot be shown as ProtoJSON.
pub fn without_unknown_payload(event: &mut OrderEvent, output: &Output) {
    if event.data.as_ref().is_some_and(|data| !output.knows(&data.type_url)) {
        tracing::warn!(event = %event.id, r#type = %event.r#type, "payload is newer than this build and is left out");
        event.data = None;
    }
}

/// Without its prefix; a state that this build does not know by its number.
pub fn state(order: &Order) -> String {
    match State::try_from(order.state) {
        Ok(state) => state.as_str_name().trim_start_matches("STATE_").to_owned(),
        Err(_) => format!("STATE {}", order.state),
    }
}

fn reason(order: &Order) -> String {
    match Reason::try_from(order.reason) {
        Ok(Reason::Unspecified) => String::new(),
        Ok(reason) => reason.as_str_name().trim_start_matches("REASON_").to_owned(),
        Err(_) => format!("REASON {}", order.reason),
    }
}

/// "12.50 EUR"; an amount that is none as the wire has it.
pub fn money(amount: Option<&pb::Money>) -> String {
    amount.map_or_else(String::new, |wire| match Money::from_wire(wire) {
        Ok(money) => money.to_string(),
        Err(_) => format!("{} and {} nanos {}", wire.units, wire.nanos, wire.currency_code),
    })
}

/// "2026-11-21 10:29:32.123Z": in UTC, to the millisecond.
pub fn at(time: Option<&Timestamp>) -> String {
    let time = time.and_then(time::from_wire);
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;
    use prost::Message;

    #[test]
    fn an_event_is_one_line_with_what_it_says() {
        let payload = pb::events::PaymentDeclined { code: "card_declined".into(), ..Default::default() };
        let event = OrderEvent {
            version: 3,
            r#type: "spillway.payment.declined.v1".into(),
            source: "payments".into(),
            time: Some(Timestamp { seconds: 1_795_258_172, nanos: 123_456_789 }),
            data: Some(Any {
                type_url: "type.googleapis.com/spillway.events.v1.PaymentDeclined".into(),
                value: payload.encode_to_vec(),
            }),
            ..OrderEvent::default()
        };
        let line = event_line(&event, &Output::new(Format::Table, true));
        assert!(
            line.starts_with("  3  2026-11-21 10:49:32.123Z  payments       spillway.payment.declined.v1  "),
            "{line}"
        );
        assert!(line.contains(r#""code":"card_declined""#) && !line.contains("@type"), "{line}");
    }

    #[test]
    fn money_in_an_event_reads_as_people_write_it() {
        let total = pb::Money { currency_code: "EUR".into(), units: 4, nanos: 500_000_000 };
        let payload = pb::events::StockHeld { total: Some(total), ..Default::default() };
        let data =
            Any { type_url: "type.googleapis.com/spillway.events.v1.StockHeld".into(), value: payload.encode_to_vec() };
        assert_eq!(super::payload(&data, &Output::new(Format::Table, true)), r#"{"total":"4.50 EUR"}"#);
    }

    #[test]
    fn an_event_newer_than_this_build_is_shown_without_its_payload() {
        let data = Any { type_url: "type.googleapis.com/spillway.events.v1.OrderTeleported".into(), value: vec![1] };
        let event = OrderEvent { data: Some(data), ..OrderEvent::default() };
        let line = event_line(&event, &Output::new(Format::Table, true));
        assert!(line.ends_with("(a payload that this build does not know)"), "{line}");
    }

    #[test]
    fn a_state_newer_than_this_build_is_shown_by_its_number() {
        let order = Order { state: 99, reason: 98, ..Order::default() };
        assert_eq!((state(&order), reason(&order)), ("STATE 99".to_owned(), "REASON 98".to_owned()));
    }
}
