//! The machine: programs, ports, disk, limits.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use spillway_natsd::{Obtain, port_holder};
use spillway_shared::listen::{self, BindError};

use super::Finding;
use crate::cli::Role;
use crate::config::Config;

/// Open files that a busy system may need: connections, ledgers, streams.
const FILES: u64 = 4096;

/// Free space below which it is told.
const FREE_BYTES: u64 = 2 << 30;

/// A commit waits for this; above it is told.
const SLOW_FSYNC: Duration = Duration::from_millis(10);

/// How often fsync is timed.
const FSYNCS: u32 = 20;

/// Everything about the machine.
pub async fn look(config: &Config, is_running: bool) -> Vec<Finding> {
    let mut findings = vec![nats_server().await, files()];
    findings.extend(data_folder(&config.data));
    if !is_running {
        findings.extend(ports(config));
    }
    findings
}

async fn nats_server() -> Finding {
    let found = Obtain { explicit: None, fetch: false, say: &|_: &str| {} }.run().await;
    match found {
        Ok(obtained) => {
            let text = format!("{} at {} ({})", obtained.version, obtained.path.display(), obtained.origin);
            Finding::ok("nats-server", text)
        }
        Err(error) => {
            let fetches = ["python3", "go"].into_iter().find(|tool| on_path(tool));
            match fetches {
                Some(tool) => Finding::ok("nats-server", format!("not here yet; `spillway up` fetches it with {tool}")),
                None => Finding::problem("nats-server", "missing, and nothing to fetch it with", error.to_string()),
            }
        }
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit < FILES {
        let fix = format!("ulimit -Hn {FILES} (or LimitNOFILE= of the service) before the start");
        return Finding::warning("open files", format!("at most {limit}"), fix);
    }
    Finding::ok("open files", format!("up to {limit}"))
}

/// The folder can be written, has space, and its disk is quick enough.
fn data_folder(data: &Path) -> Vec<Finding> {
    let existing = data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let probe = tempfile::Builder::new().prefix(".spillway-doctor-").tempfile_in(existing);
    let mut file = match probe {
        Ok(file) => file,
        Err(error) => {
            let fix = "name another folder with --data, or give this user the right to write there";
            return vec![Finding::problem("data folder", format!("{}: {error}", existing.display()), fix)];
        }
    };
    let mut findings = vec![Finding::ok("data folder", format!("{} can be written", existing.display()))];
    if let Ok(disk) = rustix::fs::statvfs(existing) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let gib = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
        findings.push(match free < FREE_BYTES {
            true => Finding::warning("disk space", gib, "an order takes a few kilobytes in all ledgers: make room"),
            false => Finding::ok("disk space", gib),
        });
    }
    findings.push(fsync(file.as_file_mut()));
    findings
}

fn fsync(file: &mut std::fs::File) -> Finding {
    let began = Instant::now();
    for _ in 0..FSYNCS {
        if let Err(error) = file.write_all(&[0; 4096]).and_then(|()| file.sync_data()) {
            return Finding::problem("fsync", error.to_string(), "the disk does not keep what is written: use another");
        }
    }
    let each = began.elapsed() / FSYNCS;
    let text = format!("{:.2} ms", each.as_secs_f64() * 1000.0);
    if each > SLOW_FSYNC {
        let fix = "an order crosses about eight commits: a disk with a quicker fsync answers sooner";
        return Finding::warning("fsync", text, fix);
    }
    Finding::ok("fsync", text)
}

fn ports(config: &Config) -> Vec<Finding> {
    let mut wanted: Vec<(&str, SocketAddr, &str)> = vec![
        ("gRPC", config.gateway.grpc.listen, "--grpc-port"),
        ("gRPC ops", config.gateway.ops.listen, "--ops-port"),
        ("provider", config.provider.listen, "--provider-port"),
        ("provider admin", config.provider.admin, "--provider-admin-port"),
    ];
    let local = |port: u16| SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    wanted.push(("NATS", local(config.nats_server.port), "--nats-port"));
    wanted.push(("NATS monitoring", local(config.nats_server.monitoring_port), "--nats-monitoring-port"));
    for role in [Role::Gateway, Role::Orders, Role::Inventory, Role::Payments, Role::Notifications, Role::Audit] {
        wanted.push(("admin", config.admin_of(role), "--admin-port"));
    }
    let taken = wanted.into_iter().filter_map(|(name, addr, flag)| {
        let error = listen::bind(addr).err()?;
        let fix = match error {
            BindError::Taken { .. } => format!("stop it, or choose another port with {flag}"),
            BindError::Failed { .. } => format!("choose another address or port ({flag})"),
        };
        let holder = port_holder(addr.port()).map(|(pid, name)| format!("{name} (pid {pid})"));
        let found = holder.map_or_else(|| error.to_string(), |holder| format!("{addr} is taken by {holder}"));
        Some(Finding::problem(&format!("port: {name}"), found, fix))
    });
    let taken: Vec<Finding> = taken.collect();
    if taken.is_empty() { vec![Finding::ok("ports", "all free")] } else { taken }
}
