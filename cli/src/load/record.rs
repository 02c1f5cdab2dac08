//! The history of a load run: every call, with what the client knows of its outcome, for `check --history`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use spillway_gateway::fingerprint_of;
use spillway_proto::pb::orders::PlaceOrderRequest;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{DEFAULT_SHOP, OrderId};
use tokio::sync::mpsc;

use crate::check::history::{Call, Outcome};
use crate::exit::Failure;

/// Calls that may wait to be written. Beyond it the load waits: no call is left out.
const QUEUE: usize = 1 << 16;

/// A call that has ended.
#[derive(Debug)]
pub enum Ended {
    Placed {
        request: Box<PlaceOrderRequest>,
        invoke: Timestamp,
        complete: Timestamp,
        outcome: Result<OrderId, tonic::Code>,
    },
    /// An order was read, in this version.
    Got { order: OrderId, customer: String, invoke: Timestamp, complete: Timestamp, outcome: Result<i64, tonic::Code> },
}

/// Where ended calls go.
#[derive(Clone, Debug)]
pub struct Recorder {
    calls: mpsc::Sender<Ended>,
}

/// Writes them, on a thread of its own.
#[derive(Debug)]
pub struct Writing {
    path: PathBuf,
    thread: JoinHandle<std::io::Result<()>>,
}

/// Makes the file anew.
///
/// # Errors
/// Exit 2 where it cannot be made.
pub fn start(path: &Path) -> Result<(Recorder, Writing), Failure> {
    let cannot = |e: std::io::Error| Failure::usage(format!("--history {}: {e}", path.display()));
    let file = BufWriter::new(File::create(path).map_err(cannot)?);
    let (calls, waiting) = mpsc::channel(QUEUE);
    let thread = std::thread::Builder::new().name("history".to_owned()).spawn(|| write(file, waiting));
    Ok((Recorder { calls }, Writing { path: path.to_owned(), thread: thread.map_err(cannot)? }))
}

impl Recorder {
    /// Writes down a call that has ended.
    pub async fn ended(&self, call: Ended) {
        if self.calls.send(call).await.is_err() {
            tracing::error!("a call is missing in the history: its file cannot be written");
        }
    }
}

impl Writing {
    /// Waits until everything is in the file. Every [`Recorder`] must be gone.
    ///
    /// # Errors
    /// Where something could not be written.
    pub async fn finish(self) -> Result<(), Failure> {
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Failure::failed(format!("cannot write {}: {error}", self.path.display()))),
            Ok(Err(_)) | Err(_) => Err(Failure::failed(format!("the writer of {} broke", self.path.display()))),
        }
    }
}

fn write(mut file: BufWriter<File>, mut calls: mpsc::Receiver<Ended>) -> std::io::Result<()> {
    while let Some(ended) = calls.blocking_recv() {
        serde_json::to_writer(&mut file, &line(ended))?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    file.get_ref().sync_all()
}

fn line(ended: Ended) -> Call {
    match ended {
        Ended::Placed { request, invoke, complete, outcome } => placed(*request, (invoke, complete), outcome),
        Ended::Got { order, customer, invoke, complete, outcome } => got(order, customer, (invoke, complete), outcome),
    }
}

fn placed(
    request: PlaceOrderRequest,
    (invoke, complete): (Timestamp, Timestamp),
    outcome: Result<OrderId, tonic::Code>,
) -> Call {
    let (outcome, code, order_id) = match outcome {
        Ok(order) => (Outcome::Ok, tonic::Code::Ok, Some(order.to_string())),
        Err(code) => (Outcome::of(code), code, None),
    };
    let (request_id, process) = (request.request_id.clone(), request.customer_id.clone());
    let sha = fingerprint_of(request);
    Call {
        call: request_id.clone(),
        process,
        shop: DEFAULT_SHOP.to_owned(),
        op: "place".to_owned(),
        request_id: Some(request_id),
        req_sha: sha.map(|sha| sha.iter().map(|byte| format!("{byte:02x}")).collect()),
        invoke_us: time::to_micros(invoke),
        complete_us: time::to_micros(complete),
        outcome,
        code: crate::exit::code_name(code).to_owned(),
        order_id,
        version: None,
        attempts: 1,
    }
}

fn got(
    order: OrderId,
    process: String,
    (invoke, complete): (Timestamp, Timestamp),
    outcome: Result<i64, tonic::Code>,
) -> Call {
    let code = outcome.as_ref().err().copied().unwrap_or(tonic::Code::Ok);
    Call {
        call: format!("get-{order}-{}", time::to_micros(invoke)),
        process,
        shop: DEFAULT_SHOP.to_owned(),
        op: "get".to_owned(),
        request_id: None,
        req_sha: None,
        invoke_us: time::to_micros(invoke),
        complete_us: time::to_micros(complete),
        outcome: Outcome::of(code),
        code: crate::exit::code_name(code).to_owned(),
        order_id: Some(order.to_string()),
        version: outcome.ok(),
        attempts: 1,
    }
}
