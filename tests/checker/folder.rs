//! A copy of the data folder of a real run, to be spoilt.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;
use spillway_proto::batch::BatchWriter;
use spillway_proto::time::Timestamp;
use spillway_proto::{Event, Ledger, NewEvent, OrderId, Subject};
use tempfile::TempDir;

/// A copy of a data folder, with the history of its clients beside it; gone with this.
pub struct Folder {
    folder: TempDir,
}

pub fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("readable") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy_all(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("copied")),
        }
    }
}

impl Folder {
    pub fn copy(of: &Path) -> Folder {
        let folder = tempfile::Builder::new().prefix("spillway-spoilt-").tempdir().expect("a folder");
        copy_all(of, folder.path());
        Folder { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn history(&self) -> PathBuf {
        self.path().join("history.jsonl")
    }

    /// The lines of the history that tell how orders were placed.
    pub fn calls(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.history()).expect("a history");
        let calls = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        calls.filter(|call| call["op"] == "place").collect()
    }

    pub fn write_calls(&self, calls: &[Value]) {
        let text: String = calls.iter().map(|call| format!("{call}\n")).collect();
        std::fs::write(self.history(), text).expect("written");
    }

    fn open(&self, path: &str) -> Connection {
        Connection::open(self.path().join(path)).expect("a database")
    }

    pub fn ledger(&self, name: &str) -> Connection {
        self.open(&format!("ledgers/{name}.db"))
    }

    pub fn provider(&self) -> Connection {
        self.open("provider/provider.db")
    }

    /// Runs a statement that must change something.
    pub fn spoil(&self, ledger: &str, sql: &str) {
        let changed = self.ledger(ledger).execute(sql, []).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(changed > 0, "nothing changed: {sql}");
    }

    /// The same in the provider's ledger, of an order.
    pub fn spoil_provider(&self, sql: &str, order: OrderId) {
        let changed = self.provider().execute(sql, [order.to_string()]).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(changed > 0, "nothing changed: {sql}");
    }

    /// The first order that ended so.
    pub fn order(&self, state: &str, reason: &str) -> OrderId {
        let sql = "select order_id from orders where state = ?1 and reason = ?2 order by order_id limit 1";
        let id: Vec<u8> =
            self.ledger("orders-0").query_row(sql, [state, reason], |row| row.get(0)).expect("such an order");
        OrderId::from_bytes(&id).expect("an id")
    }

    pub fn confirmed(&self) -> OrderId {
        self.order("CONFIRMED", "UNSPECIFIED")
    }

    pub fn declined(&self) -> OrderId {
        self.order("REJECTED", "PAYMENT_DECLINED")
    }

    pub fn out_of_stock(&self) -> OrderId {
        self.order("REJECTED", "OUT_OF_STOCK")
    }

    /// Appends a batch with one event to an outbox, as the ledger would. Answers its number.
    pub fn say(&self, name: &str, source: Ledger, subject: Subject, event: impl Into<Event>) -> i64 {
        let said = NewEvent {
            shop: "default".to_owned(),
            subject,
            occurrence: "planted".to_owned(),
            traceparent: String::new(),
            event: event.into(),
        };
        let mut batch = BatchWriter::default();
        let at = Timestamp::now();
        batch.push(&said, source, at);
        let ledger = self.ledger(name);
        ledger.execute("update head set number = number + 1 where partition = 0", []).expect("written");
        ledger
            .execute(
                "insert into outbox (incarnation, partition, number, events, time_us, body)
                 select incarnation, 0, number, 1, ?1, ?2 from head where partition = 0",
                rusqlite::params![at.as_microsecond(), batch.into_bytes()],
            )
            .expect("written");
        ledger.query_row("select number from head where partition = 0", [], |row| row.get(0)).expect("a head")
    }
}

/// An id as SQL text has it.
pub fn hex(order: OrderId) -> String {
    let digits: String = order.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}
