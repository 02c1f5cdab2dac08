//! A TCP stream that tells how far the peer has come with its opening.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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

/// The stream itself: counts what is read until the opening is complete.
pub(super) struct OpeningStream {
    inner: TcpStream,
    opening: Opening,
}

impl OpeningStream {
    pub(super) fn new(inner: TcpStream) -> (OpeningStream, Opening) {
        let opening = Opening::default();
        let stream = OpeningStream { inner, opening: opening.clone() };
        (stream, opening)
    }
}

impl AsyncRead for OpeningStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if !self.opening.is_complete() {
            self.opening.0.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for OpeningStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
