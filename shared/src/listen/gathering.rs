//! A stream that gathers what is written to it, and sends it together once everybody had a turn.
//!
//! Every answer of an HTTP/2 connection wakes the connection, which would send it alone: a system call for each, and as
//! much work again for the peer. A flush waits for the connection's next turn instead, which it asks for at once. At rest
//! that is the next thing to run; under load the answers of all calls that were ready in between go out with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered at most.
const LARGEST: usize = 64 * 1024;

/// A buffer that has grown beyond this is not kept for the next bytes.
const KEPT: usize = 8 * 1024;

/// Counts how often a connection was polled.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// The connection is about to be polled.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The stream itself.
#[derive(Debug)]
pub(super) struct GatheringStream<S> {
    inner: S,
    turns: Turns,
    gathered: BytesMut,
    /// The turn in which a flush was put off.
    put_off: Option<u64>,
}

impl<S> GatheringStream<S> {
    /// `turns` is to begin whenever what uses this stream is polled.
    pub(super) fn new(inner: S, turns: Turns) -> GatheringStream<S> {
        GatheringStream { inner, turns, gathered: BytesMut::new(), put_off: None }
    }
}

impl<S: AsyncWrite + Unpin> GatheringStream<S> {
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.gathered))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(sent);
        }
        if self.gathered.capacity() > KEPT {
            self.gathered = BytesMut::new();
        }
        self.put_off = None;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GatheringStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GatheringStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= LARGEST {
            ready!(self.send(cx))?;
        }
        let fits = buf.len().min(LARGEST - self.gathered.len());
        self.gathered.extend_from_slice(&buf[..fits]);
        Poll::Ready(Ok(fits))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            let now = self.turns.now();
            match self.put_off {
                None => {
                    self.put_off = Some(now);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(turn) if turn == now => return Poll::Pending,
                Some(_) => ready!(self.send(cx))?,
            }
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    fn pair(room: usize) -> (GatheringStream<DuplexStream>, Turns, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(room);
        let turns = Turns::default();
        (GatheringStream::new(ours, turns.clone()), turns, theirs)
    }

    async fn arrived(theirs: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 200 * 1024];
        let mut polled = Box::pin(theirs.read(&mut bytes));
        let Poll::Ready(read) = futures::poll!(&mut polled) else { return Vec::new() };
        let read = read.expect("open");
        drop(polled);
        bytes.truncate(read);
        bytes
    }

    #[tokio::test]
    async fn what_is_written_in_a_turn_goes_out_in_the_next_one_together() {
        let (mut ours, turns, mut theirs) = pair(1024);
        let mut cx = Context::from_waker(Waker::noop());
        turns.begin();
        for text in ["one ", "two "] {
            assert!(matches!(Pin::new(&mut ours).poll_write(&mut cx, text.as_bytes()), Poll::Ready(Ok(4))));
            assert!(Pin::new(&mut ours).poll_flush(&mut cx).is_pending());
        }
        assert_eq!(arrived(&mut theirs).await, b"");
        turns.begin();
        assert!(matches!(Pin::new(&mut ours).poll_flush(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!(arrived(&mut theirs).await, b"one two ");
        assert!(matches!(Pin::new(&mut ours).poll_flush(&mut cx), Poll::Ready(Ok(()))), "nothing is left to flush");
    }

    #[tokio::test]
    async fn a_flush_that_is_put_off_asks_for_the_next_turn() {
        let (mut ours, turns, mut theirs) = pair(16);
        let flushed = async {
            ours.write_all(b"hello").await.expect("room");
            std::future::poll_fn(|cx| {
                turns.begin();
                Pin::new(&mut ours).poll_flush(cx)
            })
            .await
            .expect("flushed");
        };
        flushed.await;
        assert_eq!(arrived(&mut theirs).await, b"hello");
    }

    #[tokio::test]
    async fn no_more_than_the_bound_is_gathered_whatever_the_peer_reads() {
        let (mut ours, turns, mut theirs) = pair(1000);
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = 0;
        while let Poll::Ready(written) = Pin::new(&mut ours).poll_write(&mut cx, &[b'x'; 30_000]) {
            taken += written.expect("open");
            turns.begin();
        }
        assert_eq!(taken, LARGEST);
        let mut read = 0;
        let sent = async {
            ours.shutdown().await.expect("all is sent first");
            drop(ours);
        };
        let received = async {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.expect("read");
            read = all.len();
        };
        tokio::join!(sent, received);
        assert_eq!(read, taken);
    }
}
