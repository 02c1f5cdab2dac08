//! What a benchmark tells: as a table for people, as JSON for scripts.

use serde::Serialize;

use super::bare::Bare;
use super::volume::Volume;
use crate::load::{Latency, LoadReport};

/// One load at one number in flight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub in_flight: u32,
    pub orders: u64,
    pub orders_per_second: f64,
    pub accept_latency_ms: Latency,
    pub confirm_latency_ms: Latency,
    pub cpu_micros_per_order: Cpu,
    pub still_open: u64,
    pub refused: u64,
}

/// Microseconds of processor time for each order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cpu {
    pub spillway: f64,
    pub nats_server: f64,
    pub provider: f64,
    pub load: f64,
}

impl Cpu {
    pub fn total(&self) -> f64 {
        self.spillway + self.nats_server + self.provider + self.load
    }
}

impl Measured {
    pub fn new(in_flight: u32, load: &LoadReport, cpu: Cpu) -> Self {
        Measured {
            in_flight,
            orders: load.confirmed,
            orders_per_second: load.confirmed_per_second,
            accept_latency_ms: load.accept_latency_ms,
            confirm_latency_ms: load.confirm_latency_ms,
            cpu_micros_per_order: cpu,
            still_open: load.still_open,
            refused: load.refused.values().sum(),
        }
    }
}

/// A whole benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    pub machine: Machine,
    /// (a) at the best number in flight.
    pub best: Measured,
    /// Every number in flight that was tried.
    pub tried: Vec<Measured>,
    /// (b) at 1 in flight.
    pub at_rest: Measured,
    /// (d) the bare limit of the pattern.
    pub bare: Bare,
    /// (e) the best as a part of the bare limit.
    pub ratio: f64,
    /// What the best run said and grew, by ledger.
    pub volume: Vec<Volume>,
    pub memory: Memory,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub nats_sync: String,
}

/// Resident memory of Spillway in MiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// After the run at rest.
    pub first_mib: f64,
    /// After the last run.
    pub last_mib: f64,
}

impl BenchReport {
    /// The lines of the table.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row("machine", format!("{} x {}", self.machine.cores, self.machine.processor))];
        rows.push(row("jetstream sync", self.machine.nats_sync.clone()));
        for (name, measured) in [("(a) best", &self.best), ("(b) at rest", &self.at_rest)] {
            rows.push(row(
                name,
                format!(
                    "{:.0} orders/s placed to confirmed, {} in flight",
                    measured.orders_per_second, measured.in_flight
                ),
            ));
            rows.push(row("    accept ms", latency(&measured.accept_latency_ms)));
            rows.push(row("    confirm ms", latency(&measured.confirm_latency_ms)));
            rows.push(row("(c) µs CPU/order", cpu(&measured.cpu_micros_per_order)));
        }
        let tried = self.tried.iter().map(|m| format!("{}: {:.0}/s", m.in_flight, m.orders_per_second));
        rows.push(row("    in flight", tried.collect::<Vec<_>>().join("  ")));
        rows.push(row(
            "(d) bare limit",
            format!(
                "{:.0} orders/s (messages alone {:.0}, fsynced commits alone {:.0})",
                self.bare.orders_per_second, self.bare.jetstream_orders_per_second, self.bare.sqlite_orders_per_second
            ),
        ));
        rows.push(row("(e) ratio", format!("{:.2}", self.ratio)));
        for line in &self.volume {
            rows.push(row(&format!("    {}", line.ledger), volume(line, self.best.orders)));
        }
        rows.push(row(
            "memory MiB",
            format!("{:.0} at first, {:.0} at last", self.memory.first_mib, self.memory.last_mib),
        ));
        rows
    }
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

fn latency(latency: &Latency) -> String {
    format!("p50 {:.1}  p99 {:.1}  p99.9 {:.1}", latency.p50, latency.p99, latency.p999)
}

fn cpu(cpu: &Cpu) -> String {
    format!(
        "spillway {:.0} + nats-server {:.0} + provider {:.0} + load {:.0} = {:.0}",
        cpu.spillway,
        cpu.nats_server,
        cpu.provider,
        cpu.load,
        cpu.total()
    )
}

fn volume(line: &Volume, orders: u64) -> String {
    let each = |count: i64| count as f64 / orders.max(1) as f64;
    let events_each = line.events as f64 / line.batches.max(1) as f64;
    format!(
        "{} batches of {events_each:.0} events, {:.0} bytes/order said, grows {:.0} bytes/order",
        line.batches,
        each(line.bytes),
        each(line.file_bytes)
    )
}
