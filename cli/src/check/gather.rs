//! Gathers the evidence, in the order that makes it sound although it is no snapshot.
//!
//! First how far everybody has heard (what a listener has heard by then has left its trace in rows read later); then
//! effects before their causes (whatever an effect rests on is committed, and so it is found later); the outboxes last
//! (what a row rests on was said). What the provider, the streams and the mail folder show is taken before and after:
//! what is seen before must be accounted for by the ledgers, what the ledgers claim must be seen after.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use spillway_audit::Verifier;
use spillway_proto::{Ledger, LedgerId};
use spillway_shared::evidence::{Cell, Evidence, MACHINE, Page};

use super::looking::{Looking, Part, Place};
use super::source::{Source, Unread};
use super::work::Work;
use super::{decode, history, mail, provider, streams};
use crate::exit::Failure;

/// Subjects of one question.
const SUBJECTS: usize = 200;

/// What the ledgers show, in the order in which it is read: the last events of an order first.
const STATES: &[(Ledger, &str)] = &[
    (Ledger::Audit, "entry"),
    (Ledger::Notifications, "delivery"),
    (Ledger::Orders, "orders"),
    (Ledger::Orders, "history"),
    (Ledger::Payments, "payment"),
    (Ledger::Payments, "answer"),
    (Ledger::Inventory, "hold"),
    (Ledger::Inventory, "stock"),
    (Ledger::Gateway, "intake"),
];

/// Whoever gathers, over one look or many.
pub struct Gatherer {
    pub work: Work,
    pub looking: Looking,
    source: Source,
    verifiers: HashMap<String, Verifier>,
    /// What could not be read of the ledgers.
    pub unread: Vec<Unread>,
    /// What could not be read besides them.
    pub unseen: BTreeMap<Part, String>,
    /// What was looked at besides the ledgers.
    pub seen: BTreeSet<Part>,
}

/// The evidence of a role under a name.
fn evidence_of(ledger: Ledger, table: &str) -> Option<&'static Evidence> {
    let own = match ledger {
        Ledger::Gateway => spillway_gateway::EVIDENCE,
        Ledger::Inventory => spillway_inventory::EVIDENCE,
        Ledger::Payments => spillway_payments::EVIDENCE,
        Ledger::Orders => spillway_orders::EVIDENCE,
        Ledger::Notifications => spillway_notifications::EVIDENCE,
        Ledger::Audit => spillway_audit::EVIDENCE,
    };
    spillway_shared::evidence::find(own, table)
}

impl Gatherer {
    /// Begins with an empty working file.
    ///
    /// # Errors
    /// Where there is no room for it, or no ledger in the folder.
    pub fn new(looking: Looking) -> Result<Self, Failure> {
        let source = match &looking.place {
            Place::Asked { bus } => Source::Live(bus.clone()),
            Place::Files { data } => Source::files(data)?,
        };
        Ok(Gatherer {
            work: Work::new()?,
            looking,
            source,
            verifiers: HashMap::new(),
            unread: Vec::new(),
            unseen: BTreeMap::new(),
            seen: BTreeSet::new(),
        })
    }

    /// Whether the system may move while it is looked at.
    pub fn is_live(&self) -> bool {
        self.source.is_live()
    }

    /// Everything, from the start.
    pub async fn first(&mut self) {
        self.count_partitions().await;
        if let Some(path) = self.looking.history.clone() {
            let read = history::read(&mut self.work, &path);
            self.note(Part::History, read);
        }
        self.outside(0).await;
        self.standing().await;
        for (ledger, table) in STATES {
            self.each(*ledger, table).await;
        }
        self.outboxes().await;
        self.outside(1).await;
    }

    /// Everything that moves of its own, and of the states only what belongs to these orders.
    pub async fn again(&mut self, orders: &[Bytes]) {
        let earlier = "update attempt set look = 0; update mail set look = 0;";
        if let Err(error) = self.work.connection.execute_batch(earlier) {
            self.cannot("the checker's file", &error);
        }
        self.outside(0).await;
        self.standing().await;
        for (ledger, table) in STATES {
            match evidence_of(*ledger, table) {
                Some(evidence) if evidence.about.is_some() => self.about(*ledger, evidence, orders).await,
                Some(_) | None => self.each(*ledger, table).await,
            }
        }
        self.outboxes().await;
        self.outside(1).await;
    }

    /// What happened since the last look that found nothing, and what was still open then: an order is looked at whole as
    /// soon as anything was said of it, or the provider did anything for it.
    ///
    /// # Errors
    /// Where the working file cannot be read.
    pub async fn next(&mut self) -> rusqlite::Result<()> {
        self.unread.clear();
        self.unseen.clear();
        let earlier = "update attempt set look = 0; update mail set look = 0;";
        self.work.connection.execute_batch(earlier)?;
        self.outside(0).await;
        self.standing().await;
        // After the marks: whatever was heard by then is known before its order is read.
        self.outboxes().await;
        let touched = self.touched()?;
        for (ledger, table) in STATES {
            match evidence_of(*ledger, table) {
                Some(evidence) if evidence.about.is_some() => self.about(*ledger, evidence, &touched).await,
                Some(_) | None => self.each(*ledger, table).await,
            }
        }
        self.outboxes().await;
        self.outside(1).await;
        Ok(())
    }

    /// The orders of which anything is gathered. Those that were put away before are noted as such.
    fn touched(&self) -> rusqlite::Result<Vec<Bytes>> {
        self.work.connection.execute_batch(
            "insert or ignore into base_order (order_id)
             select distinct t.order_id from (
                 select order_id from event union select order_id from attempt union select order_id from dead_letter) t
             where t.order_id is not null and (select value from known where name = 'moved_to') is not null
               and not exists (select 1 from placed p where p.order_id = t.order_id)",
        )?;
        let mut statement = self.work.connection.prepare(include_str!("sql/touched.sql"))?;
        let rows = statement.query_map([], |row| Ok(Bytes::from(row.get::<_, Vec<u8>>(0)?)))?;
        rows.collect()
    }

    /// After a check that found nothing: puts away what is at its end everywhere.
    ///
    /// # Errors
    /// Where the working file cannot be written.
    pub fn put_away(&self) -> rusqlite::Result<()> {
        self.work.begin()?;
        self.work.connection.execute_batch(include_str!("sql/put_away.sql"))?;
        self.work.commit()
    }

    /// The ledgers know better than a flag how many partitions there are.
    async fn count_partitions(&mut self) {
        let gateway = LedgerId { ledger: Ledger::Gateway, partition: spillway_proto::Partition(0) };
        let Some(evidence) = evidence_of(Ledger::Gateway, "ledger") else { return };
        match self.source.page(gateway, evidence, Vec::new()).await {
            Ok(page) => {
                if let Some(Some(Cell::Int(partitions))) = page.rows.first().map(|row| row.get(3)) {
                    self.looking.partitions = u16::try_from(*partitions).unwrap_or(self.looking.partitions);
                }
            }
            Err(unread) => self.unread.push(unread),
        }
    }

    /// What the ledgers have heard, how far they have come, what they could not take, and what is due.
    pub async fn standing(&mut self) {
        let stale = "delete from inbox_mark; delete from head; delete from dead_letter; delete from due;";
        if let Err(error) = self.work.connection.execute_batch(stale) {
            self.cannot("the checker's file", &error);
        }
        for table in ["inbox_mark", "head", "ledger", "dead_letter", "due"] {
            debug_assert!(MACHINE.iter().any(|evidence| evidence.table == table), "no evidence is called {table}");
            for ledger in Ledger::ALL {
                self.each(ledger, table).await;
            }
        }
    }

    /// What was said since, to the end. The gateway's last: whatever anybody says of an order, that it was placed is known
    /// then. Otherwise an order that is placed meanwhile would be taken for one that was put away before.
    pub async fn outboxes(&mut self) {
        for ledger in Ledger::ALL.into_iter().rev() {
            self.each(ledger, "outbox").await;
        }
    }

    /// What is seen outside of the ledgers: `look` 0 before they are read, 1 after.
    pub async fn outside(&mut self, look: i64) {
        if let Some(at) = self.looking.provider.clone() {
            let read = provider::gather(&mut self.work, &at, look).await;
            self.note(Part::Provider, read);
        }
        if let Some(folder) = self.looking.mail.clone() {
            let read = mail::gather(&mut self.work, &folder, look);
            self.note(Part::Mail, read);
        }
        if look == 0
            && let Some(client) = self.looking.streams.clone()
        {
            let read = streams::gather(&mut self.work, &client, self.looking.partitions).await;
            self.note(Part::Streams, read);
        }
    }

    fn note(&mut self, part: Part, read: Result<(), String>) {
        match read {
            Ok(()) => drop(self.seen.insert(part)),
            Err(why) => drop(self.unseen.insert(part, why)),
        }
    }

    fn cannot(&mut self, what: &str, why: &dyn std::fmt::Display) {
        self.unread.push(Unread { what: what.to_owned(), why: why.to_string() });
    }

    /// All rows of a table, in every ledger of a role.
    pub async fn each(&mut self, ledger: Ledger, table: &str) {
        let Some(evidence) = evidence_of(ledger, table) else { return };
        for id in LedgerId::all(ledger, self.looking.partitions) {
            if self.unread.iter().any(|unread| unread.what == id.name()) {
                continue;
            }
            if let Err(unread) = self.all(id, evidence).await {
                self.unread.push(unread);
            }
        }
    }

    async fn all(&mut self, id: LedgerId, evidence: &'static Evidence) -> Result<(), Unread> {
        let mut after = self.begin_after(id, evidence).map_err(|e| unread(id, &e))?;
        loop {
            let page = self.source.page(id, evidence, after).await?;
            self.take(id, evidence, &page).map_err(|e| unread(id, &e))?;
            match page.rows.last() {
                Some(last) if !page.end => after = evidence.key_of(last),
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// What only ever grows is read from where it was read to.
    fn begin_after(&self, id: LedgerId, evidence: &Evidence) -> rusqlite::Result<Vec<Cell>> {
        let name = id.name();
        let last = match evidence.table {
            // What had no number yet is read again.
            "outbox" => {
                let sql = "select coalesce((select min(id) - 1 from batch where ledger = ?1 and number is null), max(
                    coalesce((select max(id) from batch where ledger = ?1), 0),
                    coalesce((select value from known where name = 'outbox ' || ?1), 0)))";
                self.work.connection.query_row(sql, [&name], |row| row.get::<_, i64>(0))?
            }
            "entry" => self.verifiers.get(&name).map_or(0, Verifier::position),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Cell::Int(last)])
    }

    fn take(&mut self, id: LedgerId, evidence: &Evidence, page: &Page) -> rusqlite::Result<()> {
        self.work.begin()?;
        let work = &self.work.connection;
        match evidence.table {
            "outbox" => decode::outbox(work, id, page)?,
            "history" => decode::history(work, id, page)?,
            "entry" => {
                let verifier = self.verifiers.entry(id.name()).or_default();
                decode::entries(work, id, page, verifier)?;
            }
            table => {
                self.work.put(id, evidence, page)?;
                match table {
                    "hold" => decode::hold_lines(work, page)?,
                    "dead_letter" => decode::dead_letters(work, id, page)?,
                    _ => {}
                }
            }
        }
        self.work.commit()
    }

    /// The rows about these orders, in place of those that were there.
    pub async fn about(&mut self, ledger: Ledger, evidence: &'static Evidence, orders: &[Bytes]) {
        for id in LedgerId::all(ledger, self.looking.partitions) {
            let served = id.serves(self.looking.partitions);
            let mine = orders.iter().filter(|order| is_served(order, &served)).cloned();
            let mine: Vec<Bytes> = mine.collect();
            if let Err(unread) = self.about_in(id, evidence, &mine).await {
                self.unread.push(unread);
            }
        }
    }

    async fn about_in(&mut self, id: LedgerId, evidence: &'static Evidence, orders: &[Bytes]) -> Result<(), Unread> {
        let mut left = orders;
        while !left.is_empty() {
            let page = self.source.about(id, evidence, &left[..left.len().min(SUBJECTS)]).await?;
            let done = page.subjects_done.clamp(1, left.len());
            for order in &left[..done] {
                self.forget(evidence.table, order).map_err(|e| unread(id, &e))?;
            }
            self.take(id, evidence, &page).map_err(|e| unread(id, &e))?;
            left = &left[done..];
        }
        Ok(())
    }

    fn forget(&self, table: &str, order: &[u8]) -> rusqlite::Result<()> {
        let sql = format!("delete from {table} where order_id = ?1");
        self.work.connection.prepare_cached(&sql)?.execute([order]).map(|_| ())
    }
}

fn unread(id: LedgerId, error: &rusqlite::Error) -> Unread {
    Unread { what: id.name(), why: format!("what it shows cannot be taken: {error}") }
}

fn is_served(order: &[u8], served: &[spillway_proto::Partition]) -> bool {
    let order = spillway_proto::OrderId::from_bytes(order);
    order.is_some_and(|order| served.contains(&order.partition()))
}
