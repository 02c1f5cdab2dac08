//! A reader that has its turns while more comes than can be served.
//!
//! Each time that a connection is read costs a core as much as refusing two or three calls does. A busy connection that is
//! read whenever a packet comes has one or two calls to tell; what comes in some milliseconds is read in the same time. All
//! connections have their turns at the same moments: what refuses is not fetched into the core's caches for each anew, and
//! what carries out orders is left alone between.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// From one turn to the next.
const TURN: Duration = Duration::from_millis(20);

/// The reader itself.
pub(super) struct PacedReader<R, F> {
    inner: R,
    /// Turns are counted from here.
    epoch: Instant,
    /// Whether more comes than can be served.
    is_crowded: F,
    /// Made at the first turn.
    next: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

/// It is asked, never pinned.
impl<R: Unpin, F> Unpin for PacedReader<R, F> {}

impl<R, F> PacedReader<R, F> {
    /// All that have the same `epoch` have their turns together.
    pub(super) fn new(inner: R, epoch: Instant, is_crowded: F) -> PacedReader<R, F> {
        PacedReader { inner, epoch, is_crowded, next: None, is_waiting: false }
    }

    /// Nothing is read before the next turn.
    fn wait(&mut self) {
        let now = Instant::now();
        let at = now + TURN - since_turn(now.duration_since(self.epoch));
        match &mut self.next {
            Some(next) => next.as_mut().reset(at),
            None => self.next = Some(Box::pin(tokio::time::sleep_until(at))),
        }
        self.is_waiting = true;
    }
}

/// How long ago the last turn was.
fn since_turn(passed: Duration) -> Duration {
    Duration::from_nanos((passed.as_nanos() % TURN.as_nanos()) as u64)
}

impl<R: AsyncRead + Unpin, F: Fn() -> bool> AsyncRead for PacedReader<R, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_waiting
            && let Some(next) = &mut self.next
        {
            ready!(next.as_mut().poll(cx));
            self.is_waiting = false;
        }
        let before = buf.remaining();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        // Where there was more room than there were bytes, all that has come is read.
        let is_all = (1..before).contains(&(before - buf.remaining()));
        if is_all && (self.is_crowded)() {
            self.wait();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What is read, and when, of two messages, the second sent when the first is read; that is so long after the epoch.
    async fn read(is_crowded: bool, room: usize, after: Duration) -> [(usize, Duration); 2] {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let epoch = Instant::now();
        let mut ours = PacedReader::new(ours, epoch, move || is_crowded);
        let mut buffer = vec![0; room];
        theirs.write_all(b"one two ").await.expect("room");
        tokio::time::sleep(after).await;
        let first = (ours.read(&mut buffer).await.expect("open"), epoch.elapsed());
        theirs.write_all(b"three ").await.expect("room");
        [first, (ours.read(&mut buffer).await.expect("open"), epoch.elapsed())]
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_is_read_at_once_and_what_comes_then_in_the_next_turn_of_all() {
        for after in [0, 3, 9].map(Duration::from_millis) {
            assert_eq!(read(true, 100, after).await, [(8, after), (6, TURN)], "{after:?}");
        }
        let late = TURN * 3 + Duration::from_millis(4);
        assert_eq!(read(true, 100, late).await, [(8, late), (6, TURN * 4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_where_there_is_time_or_more_has_come_than_there_was_room_for() {
        assert_eq!(read(false, 100, Duration::ZERO).await[1], (6, Duration::ZERO));
        assert_eq!(read(true, 8, Duration::ZERO).await[1], (6, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_stream_is_seen() {
        let (ours, theirs) = tokio::io::duplex(1024);
        drop(theirs);
        let mut ours = PacedReader::new(ours, Instant::now(), || true);
        for _ in 0..2 {
            assert_eq!(ours.read(&mut [0; 8]).await.expect("closed"), 0);
        }
    }
}
