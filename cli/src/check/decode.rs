//! What is read out of the bytes of evidence: events, histories, holds, entries of audit.

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, params};
use sha2::{Digest, Sha256};
use spillway_audit::chain::Entry;
use spillway_audit::{Broken, Problem, Verifier};
use spillway_proto::pb::Money as WireMoney;
use spillway_proto::pb::events::OrderPlaced;
use spillway_proto::{Envelope, Event, LedgerId, Money, Subject, batch, envelope, time};
use spillway_shared::evidence::{Cell, Page};

/// A column that does not hold what it should.
fn odd(table: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidParameterName(format!("{table}: a row that this build cannot read"))
}

fn int(cell: &Cell) -> Option<i64> {
    if let Cell::Int(value) = cell { Some(*value) } else { None }
}

fn blob(cell: &Cell) -> Option<&[u8]> {
    if let Cell::Blob(value) = cell { Some(value) } else { None }
}

fn text(cell: &Cell) -> Option<&str> {
    if let Cell::Text(value) = cell { Some(value) } else { None }
}

/// SHA-256.
pub fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The batches of an outbox, with the events in them.
pub fn outbox(work: &Connection, id: LedgerId, page: &Page) -> rusqlite::Result<()> {
    let (role, ledger) = (id.ledger.name(), id.name());
    for row in &page.rows {
        let [Cell::Int(outbox_id), incarnation, partition, number, events, time_us, Cell::Blob(body)] = &row[..] else {
            return Err(odd("outbox"));
        };
        let events = int(events).unwrap_or(0);
        let raw = batch::split(Bytes::copy_from_slice(body)).unwrap_or_default();
        let shas: Vec<[u8; 32]> = raw.iter().map(|event| sha(event)).collect();
        work.prepare_cached(
            "insert or replace into batch (role, ledger, id, incarnation, partition, number, events, time_us, body_sha,
                 events_sha) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            role,
            ledger,
            outbox_id,
            blob(incarnation),
            int(partition),
            int(number),
            events,
            int(time_us),
            sha(body),
            sha(&shas.concat())
        ])?;
        let said = Said {
            role,
            ledger: &ledger,
            outbox_id: *outbox_id,
            incarnation: blob(incarnation).unwrap_or_default(),
            partition: int(partition).unwrap_or(0),
            number: int(number),
        };
        for (seq, (raw, sha)) in (0i64..).zip(raw.into_iter().zip(shas)) {
            if let Ok(event) = envelope::read(raw) {
                said.event(work, seq, &event, sha)?;
            }
        }
    }
    Ok(())
}

/// Where an event was said.
struct Said<'a> {
    role: &'a str,
    ledger: &'a str,
    outbox_id: i64,
    incarnation: &'a [u8],
    partition: i64,
    number: Option<i64>,
}

/// What queries need of a payload.
#[derive(Default)]
struct Told {
    minor: Option<i64>,
    currency: Option<String>,
    reference: Option<String>,
    has_contact: bool,
}

impl Said<'_> {
    fn event(&self, work: &Connection, seq: i64, event: &Envelope, sha: [u8; 32]) -> rusqlite::Result<()> {
        let (order, sku) = match &event.subject {
            Subject::Order(order) => (Some(*order.as_bytes()), None),
            Subject::Sku(sku) => (None, Some(sku.as_str())),
            Subject::DeadLetter(_) | Subject::Flow(_) => (None, None),
        };
        let payload = event.kind().and_then(|kind| Event::decode(kind, event.payload.clone()).ok());
        let told = payload.as_ref().map(told).unwrap_or_default();
        let inserted = work
            .prepare_cached(
                "insert or ignore into event (role, ledger, outbox_id, incarnation, partition, number, seq, event_id,
                     kind, order_id, sku, shop, time_us, sha, minor, currency, reference, has_contact)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
            )?
            .execute(params![
                self.role,
                self.ledger,
                self.outbox_id,
                self.incarnation,
                self.partition,
                self.number,
                seq,
                event.id.0.as_bytes(),
                kind_name(event),
                order,
                sku,
                event.shop,
                time::to_micros(event.time),
                sha,
                told.minor,
                told.currency,
                told.reference,
                told.has_contact
            ])?;
        if inserted == 0 {
            // Read before, perhaps before it had its number.
            work.prepare_cached("update event set number = ?1 where ledger = ?2 and outbox_id = ?3 and seq = ?4")?
                .execute(params![self.number, self.ledger, self.outbox_id, seq])?;
            return Ok(());
        }
        match (payload, order) {
            (Some(Event::OrderPlaced(placed)), Some(order)) => keep_placed(work, &order, event, &placed),
            (Some(Event::StockRefused(refused)), Some(order)) => {
                let mut statement = work.prepare_cached(
                    "insert into short_line (order_id, sku, wanted, available) values (?1, ?2, ?3, ?4)",
                )?;
                refused.short_lines.iter().try_for_each(|line| {
                    statement.execute(params![order, line.sku, line.wanted, line.available]).map(|_| ())
                })
            }
            (_, _) => Ok(()),
        }
    }
}

/// The event's name, or its type where this build does not know it.
fn kind_name(event: &Envelope) -> String {
    event.kind().map_or_else(|| event.type_name.clone(), |kind| format!("{kind:?}"))
}

fn told(event: &Event) -> Told {
    let named = |reference: &str| Told { reference: Some(reference.to_owned()), ..Told::default() };
    let paid = |amount: &Option<WireMoney>, reference: &str| {
        let money = amount.as_ref().and_then(|amount| Money::from_wire(amount).ok());
        Told {
            minor: money.map(|money| money.minor),
            currency: money.map(|money| money.currency.code().to_owned()),
            ..named(reference)
        }
    };
    let contact = |contact: &Option<spillway_proto::pb::orders::Contact>| Told {
        has_contact: contact.as_ref().is_some_and(|contact| !contact.email.is_empty()),
        ..Told::default()
    };
    match event {
        Event::OrderPlaced(said) => Told { has_contact: contact(&said.contact).has_contact, ..paid(&said.total, "") },
        Event::StockHeld(said) => paid(&said.total, ""),
        Event::PaymentCaptured(said) => paid(&said.amount, &said.charge_id),
        Event::PaymentDeclined(said) => named(&said.charge_id),
        Event::PaymentDeferred(said) => named(&said.outage_id),
        Event::PaymentRefunded(said) => paid(&said.amount, &said.refund_id),
        Event::RefundFailed(said) => paid(&said.amount, &said.refund_id),
        Event::RefundRequested(said) => paid(&said.amount, &said.refund_id),
        Event::OrderConfirmed(said) => contact(&said.contact),
        Event::OrderRejected(said) => contact(&said.contact),
        Event::OrderCancelled(said) => contact(&said.contact),
        Event::NotificationSent(said) => named(&said.event_id),
        Event::NotificationFailed(said) => named(&said.event_id),
        Event::StockAdjusted(said) => Told { minor: Some(said.delta), ..named(&said.request_id) },
        Event::PaymentSettled(said) => named(&said.charge_id),
        Event::FlowPaused(said) => named(&said.flow),
        Event::FlowResumed(said) => named(&said.flow),
        Event::FlowSettingChanged(said) => named(&said.setting),
        Event::StockReturned(said) => named(&said.refund_id),
        Event::DeadLetterRedriven(said) => named(&said.fingerprint),
        Event::DeadLetterDiscarded(said) => named(&said.fingerprint),
        Event::StockRefused(_) | Event::StockCommitted(_) | Event::StockReleased(_) => Told::default(),
    }
}

fn keep_placed(work: &Connection, order: &[u8; 16], event: &Envelope, placed: &OrderPlaced) -> rusqlite::Result<()> {
    let total = placed.total.as_ref().and_then(|total| Money::from_wire(total).ok());
    let request = uuid::Uuid::try_parse(&placed.request_id).ok();
    work.prepare_cached(
        "insert or ignore into placed (order_id, shop, request_id, customer_id, total_minor, currency)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        order,
        event.shop,
        request.as_ref().map(uuid::Uuid::as_bytes),
        placed.customer_id,
        total.map(|total| total.minor),
        total.map(|total| total.currency.code().to_owned())
    ])?;
    let mut lines = work.prepare_cached("insert into placed_line (order_id, sku, quantity) values (?1, ?2, ?3)")?;
    placed.lines.iter().try_for_each(|line| lines.execute(params![order, line.sku, line.quantity]).map(|_| ()))
}

/// The histories of orders.
pub fn history(work: &Connection, id: LedgerId, page: &Page) -> rusqlite::Result<()> {
    let mut statement = work.prepare_cached(
        "insert or replace into history (ledger, order_id, version, event_id, kind, sha)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in &page.rows {
        let [Cell::Blob(order), Cell::Int(version), Cell::Blob(raw)] = &row[..] else { return Err(odd("history")) };
        let event = envelope::read(Bytes::copy_from_slice(raw)).ok();
        let (event_id, kind) = (event.as_ref().map(|event| *event.id.0.as_bytes()), event.as_ref().map(kind_name));
        statement.execute(params![id.name(), order, version, event_id, kind, sha(raw)])?;
    }
    Ok(())
}

/// The lines of holds, whose rows are taken as they are.
pub fn hold_lines(work: &Connection, page: &Page) -> rusqlite::Result<()> {
    let mut gone = work.prepare_cached("delete from hold_line where order_id = ?1")?;
    let mut line = work.prepare_cached("insert into hold_line (order_id, sku, quantity) values (?1, ?2, ?3)")?;
    for row in &page.rows {
        let (Some(order), Some(lines)) = (row.first().and_then(blob), row.get(3).and_then(blob)) else {
            return Err(odd("hold"));
        };
        gone.execute([order])?;
        for held in spillway_inventory::decode_lines(lines).map_err(|_| odd("hold"))? {
            line.execute(params![order, held.sku, held.quantity])?;
        }
    }
    Ok(())
}

/// What dead letters are about, as far as that can be read.
pub fn dead_letters(work: &Connection, id: LedgerId, page: &Page) -> rusqlite::Result<()> {
    let mut statement =
        work.prepare_cached("update dead_letter set event_id = ?1, order_id = ?2 where ledger = ?3 and id = ?4")?;
    for row in &page.rows {
        let (Some(letter), Some(body)) = (row.first().and_then(blob), row.get(7).and_then(blob)) else {
            return Err(odd("dead_letter"));
        };
        if let Ok(event) = envelope::read(Bytes::copy_from_slice(body)) {
            let order = event.subject.order().map(|order| *order.as_bytes());
            statement.execute(params![event.id.0.as_bytes(), order, id.name(), letter])?;
        }
    }
    Ok(())
}

/// The entries of audit, recomputed one after the other.
pub fn entries(work: &Connection, id: LedgerId, page: &Page, verifier: &mut Verifier) -> rusqlite::Result<()> {
    for row in &page.rows {
        let entry = read_entry(row).ok_or_else(|| odd("entry"))?;
        if let Err(broken) = entry.clone().map_err(unreadable(verifier)).and_then(|entry| verifier.check(&entry)) {
            let sql = "insert into chain_problem (ledger, position, problem) values (?1, ?2, ?3)";
            let (ledger, problem) = (id.name(), broken.problem.to_string());
            work.execute(sql, params![ledger, broken.position, problem])?;
            // It goes on from what is written there: each break is told once.
            let hash = row.get(6).and_then(blob).and_then(|hash| hash.try_into().ok()).unwrap_or_default();
            *verifier = Verifier::after(int(&row[0]).unwrap_or(0), hash);
        }
        if let Ok(entry) = entry {
            keep_entry(work, &id.name(), &entry)?;
        }
    }
    Ok(())
}

fn unreadable(verifier: &Verifier) -> impl FnOnce(Problem) -> Broken {
    let position = verifier.position() + 1;
    move |problem| Broken { position, problem }
}

/// `None` where not even the position can be read.
fn read_entry(row: &[Cell]) -> Option<Result<Entry, Problem>> {
    let [position, source, incarnation, partition, number, record_us, hash, hashes, body] = row else { return None };
    let position = int(position)?;
    let read = || {
        Some(Entry {
            partition: int(partition)?.try_into().ok()?,
            position,
            source: text(source)?.to_owned(),
            incarnation: uuid::Uuid::from_slice(blob(incarnation)?).ok()?,
            number: int(number)?,
            record_us: int(record_us)?,
            event_hashes: blob(hashes)?.to_vec(),
            hash: blob(hash)?.try_into().ok()?,
            body: Bytes::copy_from_slice(blob(body)?),
        })
    };
    Some(read().ok_or_else(|| Problem::Unreadable("a column holds what it cannot".to_owned())))
}

fn keep_entry(work: &Connection, ledger: &str, entry: &Entry) -> rusqlite::Result<()> {
    work.prepare_cached(
        "insert or replace into entry (ledger, position, source, incarnation, partition, number, events_sha)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        ledger,
        entry.position,
        entry.source,
        entry.incarnation.as_bytes(),
        entry.partition,
        entry.number,
        sha(&entry.event_hashes)
    ])?;
    let mut statement: CachedStatement<'_> = work.prepare_cached(
        "insert or replace into entry_event (ledger, position, seq, event_id) values (?1, ?2, ?3, ?4)",
    )?;
    let events = batch::read(entry.body.clone()).unwrap_or_default();
    for (seq, event) in (0i64..).zip(events) {
        if let Ok(event) = event {
            statement.execute(params![ledger, entry.position, seq, event.id.0.as_bytes()])?;
        }
    }
    Ok(())
}
