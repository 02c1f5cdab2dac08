//! A role runs out of file handles or of memory, under load.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use support::roles::{ROLES, Roles};
use support::shop::Shops;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn open_files(pid: Pid) -> u64 {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).expect("it runs");
    entries.count() as u64
}

/// The process may open no file more; answers the limit that it had.
fn take_files_away(pid: Pid) -> Rlimit {
    let file = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_pid())).expect("it runs");
    let line = file.lines().find(|line| line.starts_with("Max open files")).expect("it is limited");
    let maximum = line.split_whitespace().nth(4).and_then(|figure| figure.parse().ok());
    let none = Rlimit { current: Some(0), maximum };
    prlimit(Some(pid), Resource::Nofile, none).expect("limits of a child may be set")
}

fn give_files_back(pid: Pid, limit: Rlimit) {
    prlimit(Some(pid), Resource::Nofile, limit).expect("limits of a child may be set");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_handles_what_is_open_goes_on_and_the_rest_when_there_are_some_again() {
    let all = Roles::start(&[]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    shops.until_more(40).await;
    let limits: Vec<(Pid, Rlimit)> =
        ROLES.iter().map(|role| all.pid(role)).map(|pid| (pid, take_files_away(pid))).collect();
    for (pid, _) in &limits {
        assert!(open_files(*pid) > 0);
    }
    // Whoever is connected is served. A newcomer waits until it can be accepted.
    let mut newcomer = HealthClient::new(all.channel());
    let late = tokio::spawn(async move { newcomer.check(HealthCheckRequest::default()).await });
    shops.until_more(40).await;
    all.until_logged("cannot accept connections").await;
    assert!(!late.is_finished(), "accepted without a file handle");
    for (pid, limit) in limits {
        give_files_back(pid, limit);
    }
    late.await.expect("no panic").expect("answered at last");
    for role in ROLES {
        all.until_ready(role).await;
    }
    shops.until_more(40).await;
    all.close(shops).await;
}

/// A memory cgroup (v1) of its own, gone when it is dropped and empty.
struct Cage {
    path: PathBuf,
}

impl Cage {
    /// `None` where this user may make none.
    fn new(name: &str) -> Option<Cage> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/memory/spillway-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Cage { path })
    }

    /// From now on what the process takes counts, a page of a file too, and no more than so much is there.
    fn hold(&self, pid: Pid, bytes: u64) -> std::io::Result<()> {
        std::fs::write(self.path.join("memory.limit_in_bytes"), bytes.to_string())?;
        std::fs::write(self.path.join("cgroup.procs"), pid.as_raw_pid().to_string())
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.path) {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_kernel_kills_for_want_of_memory_comes_back_with_everything() {
    let mut all = Roles::start(&["--set", "nats.consumer.ack_wait_s=2"]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    let mut killed = 0;
    for role in ROLES {
        shops.until_more(20).await;
        let cage = Cage::new(role);
        match &cage {
            Some(cage) => cage.hold(all.pid(role), 0).expect("it is caged"),
            None => {
                // The kernel's last resort cannot be brought about by this user: what it does is what this does.
                eprintln!("no memory cgroup may be made here: {role} is killed by the test in its place");
                all.signal(role, Signal::KILL);
            }
        }
        let ended = all.ended_role(role).await;
        assert_eq!((ended.code, ended.signal), (None, Some(Signal::KILL.as_raw())), "{role}: {}", all.log());
        killed += usize::from(cage.is_some());
        drop(cage);
        all.restart(role).await;
    }
    shops.until_more(40).await;
    all.close(shops).await;
    eprintln!("killed by the kernel {killed}");
}

impl Roles {
    async fn until_logged(&self, text: &str) {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let logged = async {
            while !self.log().contains(text) {
                every.tick().await;
            }
        };
        tokio::time::timeout(support::PATIENCE, logged).await.unwrap_or_else(|_| panic!("never logged: {text}"));
    }
}
