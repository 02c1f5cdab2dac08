//! A child that never outlives this process, not even when this process is killed. It is a server, and its name is that of
//! its binary.
//!
//! The server is started by a small shell script, the supervisor, whose standard input is a pipe
//! that nobody writes to: the kernel closes it when this process ends, in whatever way, and the
//! supervisor then ends the server. Why so:
//!
//! - A parent-death signal (PR_SET_PDEATHSIG) fires when the *thread* that started the child ends,
//!   which in a pool of threads is long before the process does.
//! - `/bin/sh` is on every machine that can build or run this, in tests of any crate as well as in
//!   the binary; a hidden subcommand of the binary would be out of reach of those tests, and a
//!   `killall -9 spillway` would take the supervisor down together with what it watches.
//! - The supervisor and the server are a process group of their own: a Ctrl-C in the terminal goes
//!   to this process, which decides when the server ends.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// Longest time that a server may take to end after it was asked to; then it is killed. The
/// supervisor keeps the same limit ([`SUPERVISOR`], 50 times a tenth of a second).
pub const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Longest time that the shell may take to start the server.
const SPAWN_WITHIN: Duration = Duration::from_secs(10);

/// Longest wait for a server on the same folder to be gone: one whose parent was killed has
/// [`STOP_WITHIN`] to end, and is killed then.
const PREDECESSOR_WITHIN: Duration = Duration::from_secs(10);

/// `$@` is the server with its arguments. Two processes: a guard that ends the server when
/// standard input ends (its own copy is descriptor 3, because a shell gives background jobs
/// /dev/null), and the shell itself, which tells the server's process id, waits for it, and ends
/// with its exit code. If that shell is killed, the guard still stands. SIGHUP is ignored, for the
/// kernel sends it to the whole group when its parent dies while a process in it is stopped.
const SUPERVISOR: &str = r#"
trap '' HUP
exec 3<&0
"$@" </dev/null >&2 3<&- &
server=$!
(
    while read -r _ <&3; do :; done
    kill -TERM "$server"
    tenths=0
    while kill -0 "$server" && [ "$tenths" -lt 50 ]; do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    kill -KILL "$server"
) >/dev/null 2>&1 &
guard=$!
echo "$server"
exec >&-
wait "$server"
code=$?
kill -KILL "$guard" 2>/dev/null
exit "$code"
"#;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It was not seen: the runtime was shut down first, or the process cannot be ended (it hangs
    /// in the kernel, on a dead disk).
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "ended with exit code {code}"),
            Exit::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Exit::Unknown => f.write_str("has not been seen to end"),
        }
    }
}

impl From<ExitStatus> for Exit {
    /// A shell says 128 + n for a child that was ended by signal n.
    fn from(status: ExitStatus) -> Exit {
        match (status.code(), status.signal()) {
            (Some(code), _) if code > 128 => Exit::Signal(code - 128),
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        }
    }
}

/// Opens a file that takes what a server prints, empty and locked. The lock belongs to the open file,
/// which the server inherits: it is free exactly when the last process of the server before is gone,
/// so that two never write into one folder, however the parent of the first one ended. `None` where
/// that one stays.
///
/// # Errors
/// Where the file cannot be written.
pub async fn take_output(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    let taken = timeout(PREDECESSOR_WITHIN, async {
        loop {
            look_again.tick().await;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    });
    match taken.await {
        Err(_elapsed) => return Ok(None),
        Ok(locked) => locked?,
    }
    file.set_len(0)?;
    Ok(Some(file))
}

/// The server under its supervisor.
#[derive(Debug)]
pub struct Supervised {
    pid: u32,
    process: Process,
    exit: watch::Receiver<Option<Exit>>,
    /// The end of this pipe is the end of the server.
    _lifeline: PipeWriter,
}

impl Supervised {
    /// Starts `binary` with these arguments; `output` takes what it prints.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub async fn spawn(binary: &Path, arguments: &[OsString], output: File) -> io::Result<Supervised> {
        let (stdin, lifeline) = io::pipe()?;
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // In a block, because the command holds the pipe's other end and the locked output.
        let mut supervisor = {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", SUPERVISOR, &format!("{name}-supervisor")]);
            command.arg(binary).args(arguments);
            command.stdin(stdin).stdout(Stdio::piped()).stderr(output).process_group(0);
            command.spawn()?
        };
        let stdout = supervisor.stdout.take().ok_or_else(no_pid)?;
        let pid = timeout(SPAWN_WITHIN, read_pid(stdout)).await.map_err(|_| no_pid())??;
        let process = Process::open(pid, name)?;
        let (tell, exit) = watch::channel(None);
        tokio::spawn(watch_over(supervisor, process.clone(), tell));
        let pid = pid.as_raw_pid().unsigned_abs();
        Ok(Supervised { pid, process, exit, _lifeline: lifeline })
    }

    /// The server's process id (not the supervisor's).
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Resolves when the server has ended, for whatever reason; at once when it already has.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.unwrap_or(Exit::Unknown),
                Err(_) => Exit::Unknown,
            }
        }
    }

    /// Sends the signal and waits until the server is gone; after [`STOP_WITHIN`] it is killed.
    pub async fn end(&self, signal: Signal) -> Exit {
        self.process.signal(signal);
        if let Ok(exit) = timeout(STOP_WITHIN, self.exited()).await {
            return exit;
        }
        tracing::warn!(server = self.process.name, pid = self.pid, "server does not stop, killing it");
        self.process.signal(Signal::KILL);
        timeout(GONE_WITHIN, self.exited()).await.unwrap_or(Exit::Unknown)
    }
}

impl Drop for Supervised {
    /// Killed, not asked: whoever drops it may remove its folder next. A killed nats-server loses
    /// nothing that it has acknowledged. Blocks for the milliseconds that a kill takes.
    fn drop(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait_until_gone(GONE_WITHIN);
    }
}

fn no_pid() -> io::Error {
    io::Error::other("the supervising /bin/sh did not say the server's process id")
}

async fn read_pid(stdout: ChildStdout) -> io::Result<Pid> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    line.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(no_pid)
}

/// Tells how the server ended, once it and its supervisor have.
async fn watch_over(mut supervisor: Child, process: Process, tell: watch::Sender<Option<Exit>>) {
    let exit = supervisor.wait().await.map_or(Exit::Unknown, Exit::from);
    // Only if somebody killed the supervisor is the server still there.
    process.signal(Signal::KILL);
    let gone = tokio::task::spawn_blocking(move || process.wait_until_gone(GONE_WITHIN));
    if let Err(error) = gone.await {
        tracing::debug!(%error, "the wait for a server's end was cut off");
    }
    tell.send_replace(Some(exit));
}

/// A process by file descriptor: never another one that was given the same id later.
#[derive(Clone, Debug)]
struct Process {
    /// `None` when it was gone before it could be opened.
    descriptor: Option<Arc<OwnedFd>>,
    /// Of its binary.
    name: String,
}

impl Process {
    fn open(pid: Pid, name: String) -> io::Result<Process> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Process { descriptor: Some(Arc::new(descriptor)), name }),
            Err(rustix::io::Errno::SRCH) => Ok(Process { descriptor: None, name }),
            Err(error) => Err(error.into()),
        }
    }

    /// Does nothing to a process that is gone.
    fn signal(&self, signal: Signal) {
        let Some(descriptor) = &self.descriptor else { return };
        match pidfd_send_signal(descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(server = self.name, %error, "server takes no signal"),
        }
    }

    /// Blocks until the process has ended; gives up after `limit`.
    fn wait_until_gone(&self, limit: Duration) {
        let Some(descriptor) = &self.descriptor else { return };
        // A process descriptor is readable once its process has ended.
        let mut ended = [PollFd::new(descriptor, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
        if let Err(error) = poll(&mut ended, Some(&limit)) {
            tracing::debug!(server = self.name, %error, "cannot wait for it to be gone");
        }
    }
}
