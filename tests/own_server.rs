//! The nats-server that `up` starts dies or stands still: `up` starts it again, and no order is lost.

mod support;

use std::path::Path;

use futures::TryStreamExt;
use rustix::process::{Pid, Signal, kill_process};
use spillway_proto::pb::orders::order::State;
use support::calls::request;
use support::process::{self, Process};
use support::{PATIENCE, System, spillway};

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

/// In a mount namespace of its own `up` lives on a file system of this size.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o size=$1 none "$0" && shift && exec "$@""#;

#[tokio::test(flavor = "multi_thread")]
async fn on_a_small_disk_streams_keep_less_and_it_gets_ready_all_the_same() {
    if process::output("unshare".as_ref(), &["-rm", "true"], "/".as_ref()).await.0 != 0 {
        eprintln!("NOT RUN: a small disk (this user may not make a mount namespace)");
        return;
    }
    let mut system = System::without_process();
    let disk = system.folder().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mut line: Vec<String> = ["-rm", "sh", "-c", ON_A_SMALL_DISK].map(str::to_owned).to_vec();
    line.extend([disk.display().to_string(), "600m".to_owned(), spillway().display().to_string()]);
    line.extend(["up", "--output", "json", "--data"].map(str::to_owned));
    line.push(disk.join("data").display().to_string());
    for port in ["grpc", "ops", "admin", "provider", "provider-admin", "nats", "nats-monitoring"] {
        line.extend([format!("--{port}-port"), "0".to_owned()]);
    }
    let mut up = Process::start_in("unshare".as_ref(), &line, system.folder(), &[]).await;
    system.place = up.first_line_json().await;
    let order = system.place(request("tea-100g", 1, "pm_ok")).await;
    assert_eq!(system.ended(&order.order_id).await.state(), State::Confirmed);
    // Six streams have three quarters of what is free.
    let told = system.lines().into_iter().find(|line| line["streams"] == 6).expect("it is told");
    assert_eq!((told["max_bytes"].as_i64(), &told["level"]), (Some(64 << 20), &"info".into()), "{told}");
    let nats = async_nats::connect(system.address("nats")).await.expect("connects");
    let streams: Vec<_> = async_nats::jetstream::new(nats).streams().try_collect().await.expect("told");
    assert_eq!(streams.len(), 6);
    assert!(streams.iter().all(|stream| stream.config.max_bytes == 64 << 20), "{streams:?}");
    up.stop().await;
}
