//! What a test says when something does not come to its end: what it waits for, asked of the system itself.

use std::fmt::Write as _;

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrdersRequest, Order};

use super::System;

/// Orders that are explained; the others wait for the same.
const EXPLAINED: usize = 4;

/// Lines of the log that are shown, from its end.
const LINES: usize = 120;

impl System {
    /// What each order that is not ended waits for, how the ledgers stand, and what was logged last. Whatever does not
    /// answer says so in its place.
    pub async fn what_is_stuck(&self) -> String {
        let mut text = String::new();
        match self.orders().list_orders(ListOrdersRequest { page_size: 500, ..Default::default() }).await {
            Ok(page) => text += &self.explained(&page.into_inner().orders).await,
            Err(status) => text += &format!("orders cannot be listed: {status}\n"),
        }
        for verb in [&["flow"][..], &["stock", "list"], &["payment", "list"], &["dlq", "list"]] {
            let (code, out, err) = self.verb(verb).await;
            let _ = writeln!(text, "\n$ spillway {} ({code})\n{out}{err}", verb.join(" "));
        }
        let log = self.log();
        let told: Vec<&str> = log.lines().filter(|line| !line.contains(" DEBUG ")).collect();
        let _ = writeln!(text, "\nlogged last:\n{}", told[told.len().saturating_sub(LINES)..].join("\n"));
        text
    }

    /// The orders that have not ended, the first of them in words.
    async fn explained(&self, orders: &[Order]) -> String {
        let open: Vec<&Order> = orders.iter().filter(|order| order.state() == State::Pending).collect();
        let mut text = format!("{} of {} orders listed have not ended\n", open.len(), orders.len());
        for order in open.iter().take(EXPLAINED) {
            let (code, out, err) = self.verb(&["order", "explain", &order.order_id]).await;
            let _ = writeln!(text, "\n({code}) {out}{err}");
        }
        text
    }
}
