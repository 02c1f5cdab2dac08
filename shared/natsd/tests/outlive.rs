//! The server ends with the process that started it, however that one ends.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{deaf_program, is_alive, processes_in, until};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use spillway_natsd::NatsServer;
use spillway_natsd::testing::nats_server;

/// Says to the process of [`the_parent`] where to keep its server.
const FOLDER: &str = "SPILLWAY_NATSD_TEST_FOLDER";

/// Says what it is to start in place of a nats-server.
const PROGRAM: &str = "SPILLWAY_NATSD_TEST_PROGRAM";

/// Not a test: the process that the tests below start and kill. It starts a server from a thread
/// of a pool, says its pid, and waits for its own end.
#[test]
#[ignore = "run as a process of its own by the other tests here"]
fn the_parent() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let binary = match std::env::var_os(PROGRAM) {
            Some(program) => program.into(),
            None => nats_server().await.unwrap_or_else(|error| panic!("{error}")).to_owned(),
        };
        let started = tokio::spawn(NatsServer::new(binary, folder).start()).await;
        let server = started.expect("it does not panic").unwrap_or_else(|error| panic!("{error}"));
        println!("\npid={}", server.pid());
        std::future::pending::<()>().await;
    });
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "the_parent", "--ignored", "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::piped()).process_group(0);
    command
}

/// A process that has started a server, and the server's pid.
fn parent(folder: &Path) -> (Child, u32) {
    let mut parent = command(folder).spawn().expect("this test can be started");
    let stdout = BufReader::new(parent.stdout.take().expect("it is piped"));
    let pid = stdout
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("pid=")?.parse::<u32>().ok())
        .expect("the parent says the server's pid");
    (parent, pid)
}

/// The deaf program that a parent for this folder has started.
fn deaf_one(folder: &Path) -> Option<u32> {
    let of_folder = format!("{FOLDER}={}", folder.display());
    let entries = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let of_folder = of_folder.as_bytes();
        read("cmdline") == b"sleep\x0060\x00"
            && read("environ").split(|byte| *byte == 0).any(|variable| variable == of_folder)
            && is_alive(*pid)
    })
}

fn group_of(pid: u32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let group = after_name.split(' ').nth(2).expect("the process group");
    group.parse().expect("a number")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[tokio::test]
async fn a_killed_parent_takes_its_server_along() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut parent, server) = parent(folder.path());
    assert!(is_alive(server));
    kill_process(pid_of(&parent), Signal::KILL).expect("it is there");
    parent.wait().expect("it is ours");
    until("the server is gone", || !is_alive(server)).await;
    until("the supervisor is gone", || processes_in(folder.path()).is_empty()).await;
    // It was asked to end, not killed: its log has its last word.
    let log = std::fs::read_to_string(folder.path().join("nats-server.log")).expect("a log");
    assert!(log.contains("Server Exiting"), "{log}");
}

#[tokio::test]
async fn a_parent_killed_with_its_whole_group_takes_its_server_along() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut parent, server) = parent(folder.path());
    kill_process_group(pid_of(&parent), Signal::KILL).expect("it is there");
    parent.wait().expect("it is ours");
    until("the server is gone", || !is_alive(server)).await;
}

#[tokio::test]
async fn a_ctrl_c_in_the_terminal_is_for_the_parent_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut parent, server) = parent(folder.path());
    // A terminal signals the group in front, which is the parent's.
    assert_eq!(group_of(parent.id()), pid_of(&parent).as_raw_pid());
    assert_ne!(group_of(server), group_of(parent.id()));
    kill_process(pid_of(&parent), Signal::KILL).expect("it is there");
    parent.wait().expect("it is ours");
    until("the server is gone", || !is_alive(server)).await;
}

/// The kernel sends SIGHUP to a group whose parent dies while a process in it is stopped; here it
/// is sent by hand, before the parent's end, so that it always comes first.
#[tokio::test]
async fn a_hangup_of_the_servers_group_does_not_undo_the_supervision() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut parent, server) = parent(folder.path());
    kill_process(pid_of(&parent), Signal::STOP).expect("it is there");
    let servers_group = Pid::from_raw(group_of(server)).expect("a process group");
    kill_process_group(servers_group, Signal::HUP).expect("it is there");
    kill_process(pid_of(&parent), Signal::KILL).expect("it is there");
    parent.wait().expect("it is ours");
    until("the server is gone", || !is_alive(server)).await;
}

#[tokio::test]
async fn a_server_that_does_not_end_when_asked_is_killed_and_the_next_start_waits_for_that() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = deaf_program(folder.path());
    let mut parent = command(folder.path()).env(PROGRAM, &program).spawn().expect("it starts");
    until("the program runs", || deaf_one(folder.path()).is_some()).await;
    kill_process(pid_of(&parent), Signal::KILL).expect("it is there");
    parent.wait().expect("it is ours");

    let binary = nats_server().await.unwrap_or_else(|error| panic!("{error}"));
    let begun = Instant::now();
    let server = NatsServer::new(binary, folder.path()).start().await;
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(deaf_one(folder.path()), None);
    assert!(begun.elapsed() > Duration::from_secs(2), "it was given time to end by itself");
    server.stop().await;
}

#[tokio::test]
async fn a_killed_supervisor_does_not_leave_a_server_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binary = nats_server().await.unwrap_or_else(|error| panic!("{error}"));
    let server = NatsServer::new(binary, folder.path()).start().await;
    let mut server = server.unwrap_or_else(|error| panic!("{error}"));
    let pid = server.pid();
    let supervisors = processes_in(folder.path()).into_iter().filter(|found| *found != pid);
    for supervisor in supervisors {
        let supervisor = Pid::from_raw(supervisor.cast_signed()).expect("a process id");
        kill_process(supervisor, Signal::KILL).expect("it is there");
    }
    server.exited().await;
    assert!(!is_alive(pid));
    server.restart().await.unwrap_or_else(|error| panic!("{error}"));
    server.stop().await;
}
