//! Poison, as it may come in a stream: said by nobody, on the gateway's own subject.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use spillway_proto::batch::{BatchNumber, BatchWriter, header};
use spillway_proto::pb::events::OrderPlaced;
use spillway_proto::pb::orders::OrderLine;
use spillway_proto::time::Timestamp;
use spillway_proto::{Incarnation, Ledger, NewEvent, OrderId, Partition, Subject, ledgers};
use uuid::Uuid;

use crate::support::System;
use crate::support::money::eur;

/// Between two of them, so that they come all along a load.
const PACE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The message is no batch.
    Garbage,
    /// The payload of one event makes no sense.
    Payload,
    Newer,
    Panic,
    Constraint,
    Unnumbered,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Garbage, Kind::Payload, Kind::Newer, Kind::Panic, Kind::Constraint, Kind::Unnumbered];

    pub fn cause(self) -> &'static str {
        match self {
            Kind::Garbage | Kind::Payload => "UNDECODABLE",
            Kind::Newer => "NEWER",
            Kind::Panic => "PANIC",
            Kind::Constraint => "CONSTRAINT",
            Kind::Unnumbered => "UNNUMBERED",
        }
    }

    /// The ledgers that hear it and cannot take it. Audit keeps every event as bytes.
    pub fn refused_by(self) -> &'static [Ledger] {
        match self {
            Kind::Garbage | Kind::Panic | Kind::Unnumbered => &[Ledger::Inventory, Ledger::Orders, Ledger::Audit],
            Kind::Payload | Kind::Newer => &[Ledger::Inventory, Ledger::Orders],
            Kind::Constraint => &[Ledger::Orders],
        }
    }
}

pub struct Poison {
    pub kind: Kind,
    number: Option<BatchNumber>,
    /// A healthy order in the same batch.
    pub mate: Option<OrderId>,
    body: Bytes,
}

fn order() -> OrderId {
    let random: [u8; 10] = Uuid::new_v4().as_bytes()[..10].try_into().expect("ten of 16");
    OrderId::new(Timestamp::now(), Partition(0), random)
}

/// An order of what was never in stock.
fn placed(order: OrderId, sku: &str, customer: &str) -> NewEvent {
    let line = OrderLine { sku: sku.to_owned(), quantity: 1, unit_price: Some(eur(100)) };
    NewEvent {
        shop: "default".to_owned(),
        subject: Subject::Order(order),
        occurrence: String::new(),
        traceparent: String::new(),
        event: OrderPlaced {
            request_id: Uuid::new_v4().to_string(),
            customer_id: customer.to_owned(),
            lines: vec![line],
            payment_method: "pm_ok".to_owned(),
            total: Some(eur(100)),
            ..OrderPlaced::default()
        }
        .into(),
    }
}

impl Poison {
    pub fn new(kind: Kind) -> Poison {
        let number = BatchNumber { incarnation: Incarnation(Uuid::new_v4()), partition: Partition(0), number: 1 };
        let mut event = match kind {
            Kind::Panic => placed(order(), "poison-panic", "ada"),
            Kind::Constraint => placed(order(), "poison", "poison-constraint"),
            Kind::Garbage | Kind::Payload | Kind::Newer | Kind::Unnumbered => placed(order(), "poison", "ada"),
        };
        if kind == Kind::Payload {
            event.event = OrderPlaced::default().into();
        }
        let mut batch = BatchWriter::default();
        batch.push(&event, Ledger::Gateway, Timestamp::now());
        let mut body = batch.into_bytes();
        if kind == Kind::Newer {
            let at = body.windows(12).position(|bytes| bytes == b"order.placed").expect("its type");
            body[at..at + 12].copy_from_slice(b"order.plated");
        }
        let mate = matches!(kind, Kind::Payload | Kind::Newer | Kind::Constraint).then(order);
        if let Some(mate) = mate {
            let mut with = BatchWriter::default();
            with.push(&placed(mate, "poison", "bob"), Ledger::Gateway, Timestamp::now());
            body.extend_from_slice(with.as_bytes());
        }
        if kind == Kind::Garbage {
            body = b"\x0a\x7fshort".to_vec();
        }
        Poison { kind, number: (kind != Kind::Unnumbered).then_some(number), mate, body: body.into() }
    }

    /// As a dead letter has it: each has a life of its own, but those without a number.
    pub fn incarnation(&self) -> String {
        self.number.map(|number| number.incarnation.to_string()).unwrap_or_default()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(number) = &self.number {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, number.message_id());
            headers.insert(header::INCARNATION, number.incarnation.to_string());
            headers.insert(header::PARTITION, number.partition.to_string());
            headers.insert(header::NUMBER, number.number.to_string());
        }
        headers
    }
}

/// Publishes them into the gateway's stream, one after the other.
pub async fn inject(system: &System, poisons: &[Poison]) {
    let client = async_nats::connect(system.address("nats")).await.expect("connects");
    let jetstream = jetstream::new(client);
    let mut pace = tokio::time::interval(PACE);
    for poison in poisons {
        pace.tick().await;
        let subject = ledgers::subject(Ledger::Gateway, Partition(0));
        let sent = jetstream.publish_with_headers(subject, poison.headers(), poison.body.clone()).await;
        sent.expect("sent").await.expect("stored");
    }
}
