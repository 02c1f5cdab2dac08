//! Calls to a running system: one deadline for a call with all its retries, and failures that say what to do.

mod retry;

use std::future::Future;
use std::time::Duration;

use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;
use spillway_proto::pb::ops::audit_service_client::AuditServiceClient;
use spillway_proto::pb::ops::dead_letter_service_client::DeadLetterServiceClient;
use spillway_proto::pb::ops::flow_service_client::FlowServiceClient;
use spillway_proto::pb::ops::payment_service_client::PaymentServiceClient;
use spillway_proto::pb::ops::trace_service_client::TraceServiceClient;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use tokio::time::{Instant, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use retry::is_without_reason;
pub use retry::{is_of_the_connection, wait_before_retry};

use crate::exit::Failure;

/// How long to wait for a connection.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How far apart two timers for the same moment may fire; tokio's have milliseconds.
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// Most that an answer may hold: a page of 500 orders with 200 lines each.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A server that verbs call.
#[derive(Clone)]
pub struct Remote {
    channel: Channel,
    /// In words.
    what: &'static str,
    /// The flag that says where it is.
    flag: &'static str,
    address: String,
    timeout: Duration,
}

impl Remote {
    /// Connects with the first call.
    ///
    /// # Errors
    /// A usage failure where the address is none.
    pub fn new(what: &'static str, flag: &'static str, address: &str, timeout: Duration) -> Result<Remote, Failure> {
        let is_url = address.contains("://");
        let url = if is_url { address.to_owned() } else { format!("http://{address}") };
        if url.starts_with("https://") {
            return Err(Failure::usage(format!("{flag} {address}: only http:// is spoken here, without TLS")));
        }
        let endpoint = Endpoint::from_shared(url.clone())
            .ok()
            .filter(|endpoint| endpoint.uri().scheme_str() == Some("http") && endpoint.uri().host().is_some())
            .ok_or_else(|| Failure::usage(format!("{flag} {address}: wants a URL such as http://127.0.0.1:50051")))?;
        // A dead peer is found by pings: streams may be silent for long.
        let endpoint = endpoint
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .user_agent(concat!("spillway/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Failure::failed(format!("cannot set up a connection: {error}")))?;
        Ok(Remote { channel: endpoint.connect_lazy(), what, flag, address: url, timeout })
    }

    pub fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn stock(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn traces(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn dead_letters(&self) -> DeadLetterServiceClient<Channel> {
        DeadLetterServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn flow(&self) -> FlowServiceClient<Channel> {
        FlowServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn payments(&self) -> PaymentServiceClient<Channel> {
        PaymentServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// One call, tried again where that may help and is allowed. Only for calls that are idempotent: reads, and
    /// writes with a request id.
    ///
    /// # Errors
    /// What the last try was refused with.
    pub async fn call<Q, A, F, Fut>(&self, request: Q, mut send: F) -> Result<A, Failure>
    where
        Q: Clone,
        F: FnMut(Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Instant::now() + self.timeout;
        let mut tried = 0;
        loop {
            tried += 1;
            let mut request = Request::new(request.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let status = match timeout_at(deadline, send(request)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return Err(self.too_slow()),
            };
            if is_cut_by_deadline(&status, deadline) {
                return Err(self.too_slow());
            }
            let wait = wait_before_retry(&status, tried, rand::random_range(0.5..1.0));
            let Some(wait) = wait.filter(|wait| Instant::now() + *wait < deadline) else {
                return Err(self.failure(&status));
            };
            tracing::info!(tried, code = ?status.code(), message = status.message(), ?wait, "call is tried again");
            tokio::time::sleep(wait).await;
        }
    }

    /// What a status means to the one who called.
    pub fn failure(&self, status: &Status) -> Failure {
        let mut failure = Failure::from(status);
        if is_of_the_connection(status)
            && let Some(error) = &mut failure.error
        {
            error.message = format!(
                "cannot reach {} at {}: {}; is `spillway up` running? If it is elsewhere, give {}",
                self.what,
                self.address,
                cause(status),
                self.flag
            );
            failure.exit = crate::exit::Exit::Missing;
        }
        failure
    }

    fn too_slow(&self) -> Failure {
        let seconds = self.timeout.as_secs();
        self.failure(&Status::deadline_exceeded(format!(
            "{} at {} did not answer within {seconds} s; whether the call took effect is not known: repeat it with \
             the same request id, or with a longer --timeout",
            self.what, self.address
        )))
    }
}

/// Whether the client library's own clock, set to the same deadline, was first: it says CANCELLED.
fn is_cut_by_deadline(status: &Status, deadline: Instant) -> bool {
    let is_over = Instant::now() + TIMER_SLACK >= deadline;
    is_over && matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) && is_without_reason(status)
}

/// The innermost cause of a status that a connection ended with, such as "Connection refused (os error 111)".
fn cause(status: &Status) -> String {
    let mut source = std::error::Error::source(status);
    let mut said = status.message().to_owned();
    while let Some(inner) = source {
        said = inner.to_string();
        source = inner.source();
    }
    said
}

#[cfg(test)]
mod tests;
