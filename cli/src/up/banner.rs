//! What `up` prints: what runs where, and three lines to copy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::samples::SAMPLES;
use crate::cli::Format;
use crate::exit::Failure;
use crate::output::{self, Output};

/// What runs where.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// gRPC for clients.
    pub grpc: String,
    /// gRPC for operators.
    pub ops: String,
    /// `/health`, `/ready` and `/info` of every role.
    pub admin: BTreeMap<&'static str, String>,
    pub nats: String,
    pub nats_monitoring: Option<String>,
    pub provider: String,
    /// Metrics and alerts, with `--telemetry`.
    pub prometheus: Option<String>,
    /// Traces, with `--telemetry`.
    pub jaeger: Option<String>,
    pub data: PathBuf,
    /// From the start of the process until everything was ready.
    pub seconds: f64,
}

pub fn print(output: &Output, place: &Place) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(&place);
    }
    let mut rows = vec![vec!["gRPC".to_owned(), place.grpc.clone()], vec!["gRPC ops".to_owned(), place.ops.clone()]];
    rows.extend(place.admin.iter().map(|(role, at)| vec![format!("admin {role}"), format!("http://{at}")]));
    rows.push(vec!["NATS".to_owned(), place.nats.clone()]);
    rows.extend(place.nats_monitoring.iter().map(|at| vec!["NATS monitoring".to_owned(), at.clone()]));
    rows.push(vec!["provider".to_owned(), place.provider.clone()]);
    rows.extend(place.prometheus.iter().map(|at| vec!["Prometheus".to_owned(), at.clone()]));
    rows.extend(place.jaeger.iter().map(|at| vec!["Jaeger".to_owned(), at.clone()]));
    rows.push(vec!["data".to_owned(), place.data.display().to_string()]);
    let (seconds, table, examples) = (place.seconds, output::table(&[], rows), examples(place));
    // At once: no line of the log stands in the middle of it.
    output.text(&format!("ready after {seconds:.1} s\n\n{table}\nTry it:\n\n{examples}\nCtrl-C drains and stops.\n"))
}

/// Three lines to copy.
fn examples(place: &Place) -> String {
    let (sku, _) = SAMPLES[0];
    let port = |default: &str, flag: &str| {
        if place.grpc == default { String::new() } else { format!(" {flag} http://{}", place.grpc) }
    };
    let address = port("127.0.0.1:50051", "--address");
    let request = json!({
        "request_id": uuid::Uuid::new_v4().to_string(),
        "customer_id": "ada",
        "lines": [{ "sku": sku, "quantity": 2, "unit_price": { "currency_code": "EUR", "units": 12, "nanos": 500_000_000 } }],
        "payment_method": "pm_ok",
    });
    format!(
        "  grpcurl -plaintext -d '{request}' {grpc} spillway.orders.v1.OrderService/PlaceOrder\n  \
         spillway{address} order place --customer ada --line {sku}=2@12.50 --currency EUR --payment-method pm_ok\n  \
         spillway{address} order watch ORDER_ID\n",
        grpc = place.grpc
    )
}

/// After the drain.
pub fn print_end(output: &Output, open: Option<u64>) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(&json!({ "stopped": true, "open_orders": open }));
    }
    let text = match open {
        Some(0) => "stopped: no order is open\n".to_owned(),
        Some(1) => "stopped: 1 order is open, and goes on at the next start\n".to_owned(),
        Some(count) => format!("stopped: {count} orders are open, and go on at the next start\n"),
        None => "stopped: how many orders are open cannot be told\n".to_owned(),
    };
    output.text(&text)
}
