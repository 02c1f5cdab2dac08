//! AuditService, for operators: the chains of all partitions, a stretch at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use prost::Message;
use spillway_proto::pb::internal::{
    ExportStretchRequest, ExportStretchResponse, VerifyStretchRequest, VerifyStretchResponse,
};
use spillway_proto::pb::ops::audit_service_server::AuditService;
use spillway_proto::pb::ops::{
    AuditEntry, ExportAuditRequest, ExportAuditResponse, VerifyAuditRequest, VerifyAuditResponse,
};
use spillway_proto::{Ledger as Source, Partition};
use spillway_shared::bus::{Bus, Caller};
use spillway_shared::grpc::{CallError, Cause, Reason};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::caller;
use crate::refusal::{self, Asked};

const SERVER_STOPPING: Reason = Reason::new("SERVER_STOPPING");

/// Hashing a stretch takes audit about 100 ms on an idle machine.
const STRETCH_WITHIN: Duration = Duration::from_secs(30);

/// Entries of a stretch at most; audit may answer with fewer.
const STRETCH_ENTRIES: i32 = 4096;

/// The service behind its door.
pub struct Audit {
    pub bus: Bus,
    pub partitions: u16,
    /// Cancelled when its streams are to end.
    pub draining: CancellationToken,
}

type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AuditService for Audit {
    type VerifyAuditStream = Told<VerifyAuditResponse>;

    async fn verify_audit(
        &self,
        request: Request<VerifyAuditRequest>,
    ) -> Result<Response<Self::VerifyAuditStream>, Status> {
        let chain = Chain { left: self.all(request.extensions(), 0..self.partitions), position: 0 };
        let verification = Verification { chain, hash: Bytes::new(), events: 0 };
        let told = futures::stream::try_unfold(verification, |mut verification| async move {
            Ok(verification.next().await?.map(|told| (told, verification)))
        });
        Ok(Response::new(Box::pin(told)))
    }

    type ExportAuditStream = Told<ExportAuditResponse>;

    async fn export_audit(
        &self,
        request: Request<ExportAuditRequest>,
    ) -> Result<Response<Self::ExportAuditStream>, Status> {
        let asked = request.get_ref();
        let partitions = self.chosen(asked)?;
        let chain = Chain { left: self.all(request.extensions(), partitions), position: asked.after };
        let export = Export { chain, after: asked.after, ready: VecDeque::new() };
        let told = futures::stream::try_unfold(export, |mut export| async move {
            Ok(export.next().await?.map(|entry| (ExportAuditResponse { entry: Some(entry) }, export)))
        });
        Ok(Response::new(Box::pin(told)))
    }
}

impl Audit {
    fn all(&self, extensions: &http::Extensions, partitions: std::ops::Range<u16>) -> Left {
        let caller = Caller { time_left: STRETCH_WITHIN, ..caller::of_call(extensions, STRETCH_WITHIN) };
        Left { bus: self.bus.clone(), caller, draining: self.draining.clone(), partitions }
    }

    fn chosen(&self, asked: &ExportAuditRequest) -> Result<std::ops::Range<u16>, CallError> {
        if asked.after < 0 {
            return Err(CallError::invalid("after", "must not be negative"));
        }
        match asked.partition.map(u16::try_from) {
            None => Ok(0..self.partitions),
            Some(Ok(partition)) if partition < self.partitions => Ok(partition..partition + 1),
            Some(Ok(_) | Err(_)) => {
                let rule = format!("must be below {}, the number of partitions", self.partitions);
                Err(CallError::invalid("partition", rule))
            }
        }
    }
}

/// The partitions that are still to be gone through; the first of them is the current one.
struct Left {
    bus: Bus,
    caller: Caller,
    draining: CancellationToken,
    partitions: std::ops::Range<u16>,
}

/// Where a walk along the chains stands.
struct Chain {
    left: Left,
    /// In the chain of the current partition.
    position: i64,
}

impl Chain {
    /// The partition whose chain is walked along; `None` after the last.
    fn partition(&self) -> Option<Partition> {
        self.left.partitions.clone().next().map(Partition)
    }

    fn next_partition(&mut self, position: i64) {
        self.left.partitions.next();
        self.position = position;
    }

    /// Moves on. A stretch that ends where it began, without being the last, would be asked for again for ever.
    fn advance(&mut self, position: i64) -> Result<(), Status> {
        if position <= self.position {
            return Err(CallError::internal("audit answers a stretch that leads nowhere").into());
        }
        self.position = position;
        Ok(())
    }

    async fn ask<A: Message + Default>(
        &self,
        partition: Partition,
        endpoint: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let asked = self.left.bus.call(Source::Audit, partition, endpoint, &self.left.caller, request);
        tokio::select! {
            answer = asked => answer.map_err(|failed| refusal::of_call(failed, Asked::Question)),
            () = self.left.draining.cancelled() => {
                let cause = Cause::new(SERVER_STOPPING, "this server is stopping: call again, and reach another one");
                Err(CallError::Unavailable { cause, retry_after: refusal::jitter(100..=500) }.into())
            }
        }
    }
}

struct Verification {
    chain: Chain,
    /// The current chain's hash at its position.
    hash: Bytes,
    /// Events of the current chain so far.
    events: i64,
}

impl Verification {
    async fn next(&mut self) -> Result<Option<VerifyAuditResponse>, Status> {
        let Some(partition) = self.chain.partition() else { return Ok(None) };
        let request =
            VerifyStretchRequest { after: self.chain.position, hash: self.hash.clone(), limit: STRETCH_ENTRIES };
        let stretch: VerifyStretchResponse = self.chain.ask(partition, "verify", &request).await?;
        self.events += stretch.events;
        let told = VerifyAuditResponse {
            partition: u32::from(partition.0),
            // Positions count the entries from 1; the one that is broken is not verified.
            entries: stretch.broken.as_ref().map_or(stretch.position, |broken| broken.position - 1),
            events: self.events,
            hash: stretch.hash.clone(),
            done: stretch.end || stretch.broken.is_some(),
            broken: stretch.broken,
        };
        if told.done {
            self.chain.next_partition(0);
            (self.hash, self.events) = (Bytes::new(), 0);
        } else {
            self.chain.advance(stretch.position)?;
            self.hash = stretch.hash;
        }
        Ok(Some(told))
    }
}

struct Export {
    chain: Chain,
    /// Where the walk begins in every partition.
    after: i64,
    ready: VecDeque<AuditEntry>,
}

impl Export {
    async fn next(&mut self) -> Result<Option<AuditEntry>, Status> {
        while self.ready.is_empty() {
            let Some(partition) = self.chain.partition() else { return Ok(None) };
            let request = ExportStretchRequest { after: self.chain.position, limit: STRETCH_ENTRIES };
            let stretch: ExportStretchResponse = self.chain.ask(partition, "export", &request).await?;
            let last = stretch.entries.last().map_or(self.chain.position, |entry| entry.position);
            if stretch.end {
                self.chain.next_partition(self.after);
            } else {
                self.chain.advance(last)?;
            }
            self.ready = stretch.entries.into();
        }
        Ok(self.ready.pop_front())
    }
}
