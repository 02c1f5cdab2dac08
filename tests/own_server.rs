//! The nats-server that `up` starts dies or stands still: `up` starts it again, and no order is lost.

mod support;

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use support::{PATIENCE, System};

/// The nats-server that works in this folder; not the shell that watches over it.
fn server_of(folder: &Path) -> Option<Pid> {
    let config = folder.join("nats/nats-server.conf");
    let config = config.to_str().expect("UTF-8");
    for process in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.first().is_some_and(|program| !program.ends_with(b"sh")) && words.contains(&config.as_bytes()) {
            return Pid::from_raw(pid);
        }
    }
    None
}

async fn until_another_runs(system: &System, before: Pid) {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    let started = async {
        loop {
            every.tick().await;
            let (now, log) = (server_of(&system.data()), system.log());
            if now.is_some_and(|now| now != before) && log.matches("nats-server runs again").count() > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, started).await.expect("it is started again");
}

/// A signal to the server while orders run; and what `up` says of it.
async fn orders_run_through(signal: Signal, said: &str) {
    let system = System::start().await;
    system.add_stock("tea", 1_000_000).await;
    let mut shoppers = system.shop(4);
    shoppers.more(40).await;
    let server = server_of(&system.data()).expect("it runs");
    kill_process(server, signal).expect("it is there");
    until_another_runs(&system, server).await;
    shoppers.more(40).await;
    let placed = shoppers.stop().await;
    system.all_is_well(&placed).await;
    assert!(system.log().contains(said), "{said:?} is not said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_started_again() {
    orders_run_through(Signal::KILL, "nats-server ended by itself, starting it again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_started_again() {
    orders_run_through(Signal::STOP, "nats-server does not work, starting it again").await;
}
