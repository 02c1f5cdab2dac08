//! Lines of the log go through a bounded queue to a thread that writes them: who reads the log, and stops reading, holds
//! up nobody. Lines that find no room are dropped and counted, by level, and the log says so once it flows again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; a line has some 300 bytes.
const LINES: usize = 8192;

/// Of them, those that are no warning and no error: a flood of `info` leaves room for what matters.
const LINES_BELOW_WARN: usize = LINES / 4 * 3;

/// At the end of a process, its last lines have so much time to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines are put.
#[derive(Clone, Debug)]
pub struct Queue {
    process: &'static str,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    lines: SyncSender<Item>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Answers when everything before it is written.
    Flush(SyncSender<()>),
}

/// Waits at its end for the last lines, for a second at most.
#[derive(Debug)]
pub struct LastLines(SyncSender<Item>);

/// Starts the thread that writes. It ends with the process.
///
/// # Errors
/// Where no thread can be started.
pub fn start(process: &'static str, out: impl Write + Send + 'static) -> io::Result<(Queue, LastLines)> {
    let (lines, waits) = sync_channel(LINES);
    let queue = Queue { process, waiting: Arc::default(), dropped: Arc::default(), lines: lines.clone() };
    let writing = Writing { process, waiting: queue.waiting.clone(), dropped: queue.dropped.clone(), out };
    std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.run(&waits))?;
    Ok((queue, LastLines(lines)))
}

struct Writing<W> {
    process: &'static str,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    out: W,
}

impl<W: Write> Writing<W> {
    fn run(mut self, waits: &Receiver<Item>) {
        while let Ok(item) = waits.recv() {
            match item {
                Item::Line(line) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.write(&line);
                    let dropped = self.dropped.swap(0, Ordering::Relaxed);
                    if dropped > 0 {
                        let time = jiff::Timestamp::now();
                        let told = serde_json::json!({
                            "level": "warn", "time": time.to_string(), "service": self.process,
                            "msg": "the log was not read, lines are missing", "dropped": dropped,
                        });
                        self.write(format!("{told}\n").as_bytes());
                    }
                }
                // Whoever waited for it may have given up.
                Item::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    /// A log that nobody takes any more is no reason to stop.
    fn write(&mut self, line: &[u8]) {
        if self.out.write_all(line).is_err() {
            count(self.process, "unwritable");
        }
    }
}

fn count(process: &'static str, reason: &'static str) {
    metrics::counter!("spillway_log_lines_dropped_total", "role" => process, "reason" => reason).increment(1);
}

impl Queue {
    fn put(&self, line: &[u8], level: Level) {
        let is_warning = level <= Level::WARN;
        let room = if is_warning { LINES } else { LINES_BELOW_WARN };
        let has_room = self.waiting.fetch_add(1, Ordering::Relaxed) < room;
        if has_room {
            match self.lines.try_send(Item::Line(line.to_vec())) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        count(self.process, if is_warning { "unread_warn" } else { "unread" });
    }
}

/// One line.
pub struct Line<'a> {
    queue: &'a Queue,
    level: Level,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.put(line, self.level);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, level: Level::ERROR }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line { queue: self, level: *metadata.level() }
    }
}

impl Drop for LastLines {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        // A full queue is one that nobody reads: there is nothing to wait for.
        if self.0.try_send(Item::Flush(done)).is_ok() {
            // Whether or not they were taken: the process ends now.
            let _written = written.recv_timeout(LAST_LINES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes lines only while it is open; tells each.
    struct Pipe {
        open: Receiver<()>,
        told: Sender<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            self.told.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_pipe_holds_up_nobody_keeps_room_for_warnings_and_what_is_missing_is_told() {
        let ((open, is_open), (told, lines)) = (channel(), channel());
        let (queue, last) = start("gateway", Pipe { open: is_open, told }).expect("a thread");
        for n in 0..3 * LINES {
            queue.put(format!("info {n}\n").as_bytes(), Level::INFO);
        }
        for n in 0..100 {
            queue.put(format!("warn {n}\n").as_bytes(), Level::WARN);
        }
        let missing = queue.dropped.load(Ordering::Relaxed);
        assert!(missing >= (3 * LINES - LINES_BELOW_WARN - 1) as u64, "{missing}");
        for _ in 0..LINES {
            open.send(()).expect("it waits");
        }
        drop(last);
        let lines: Vec<String> = lines.try_iter().collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("warn")).count(), 100);
        let told = lines.iter().find(|line| line.contains("lines are missing")).expect("it is told");
        assert!(told.contains(&format!("\"dropped\":{missing}")), "{told}");
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let ((open, is_open), (told, lines)) = (channel(), channel());
        let (queue, last) = start("gateway", Pipe { open: is_open, told }).expect("a thread");
        (0..50).for_each(|n| queue.put(format!("{n}\n").as_bytes(), Level::INFO));
        (0..50).for_each(|_| open.send(()).expect("it waits"));
        drop(last);
        assert_eq!(lines.try_iter().count(), 50);
    }
}
