//! A reader that tells how far the peer has come with its opening.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of HTTP/2's connection preface (RFC 9113, section 3.4). No HTTP/1.1 request is shorter.
const OPENING_BYTES: usize = 24;

/// Tells whether the peer has sent its opening yet.
#[derive(Clone, Default)]
pub(super) struct Opening(Arc<AtomicUsize>);

impl Opening {
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= OPENING_BYTES
    }
}

/// The reader itself: counts what is read until the opening is complete.
pub(super) struct OpeningReader<R> {
    inner: R,
    opening: Opening,
}

impl<R> OpeningReader<R> {
    pub(super) fn new(inner: R) -> (OpeningReader<R>, Opening) {
        let opening = Opening::default();
        let reader = OpeningReader { inner, opening: opening.clone() };
        (reader, opening)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for OpeningReader<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if !self.opening.is_complete() {
            self.opening.0.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        }
        polled
    }
}
