//! The bytes of one connection, watched from below hyper.
//!
//! Believe this: it changes no byte and keeps none. It knows how much the peer has said, and since when it has taken nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bellboard_core::clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is known of a connection's bytes. Shared by the connection's socket, which writes it, and its watch, which reads it.
#[derive(Debug)]
pub(super) struct Seen {
    clock: Arc<dyn Clock>,
    bytes_read: AtomicUsize,
    /// Milliseconds of the clock, plus one, since when the peer has not taken what waits for it; 0 while nothing waits.
    stuck_since: AtomicU64,
}

impl Seen {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Seen> {
        Arc::new(Seen {
            clock,
            bytes_read: AtomicUsize::new(0),
            stuck_since: AtomicU64::new(0),
        })
    }

    /// How much the peer has said.
    pub(super) fn bytes_read(&self) -> usize {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// For how long the peer has taken nothing of what waits for it.
    pub(super) fn stuck_for(&self) -> Duration {
        match self.stuck_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.now().saturating_sub(since)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).map_or(u64::MAX, |now| now.saturating_add(1))
    }

    fn wrote<T>(&self, wrote: &Poll<io::Result<T>>) {
        match (wrote, self.stuck_since.load(Ordering::Relaxed)) {
            (Poll::Pending, 0) => self.stuck_since.store(self.now(), Ordering::Relaxed),
            (Poll::Pending, _) | (Poll::Ready(_), 0) => {}
            (Poll::Ready(_), _) => self.stuck_since.store(0, Ordering::Relaxed),
        }
    }
}

/// A connection whose bytes are watched.
#[derive(Debug)]
pub(super) struct Socket<IO> {
    inner: IO,
    seen: Arc<Seen>,
}

impl<IO> Socket<IO> {
    pub(super) const fn new(inner: IO, seen: Arc<Seen>) -> Socket<IO> {
        Socket { inner, seen }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Socket<IO> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, into);
        let more = into.filled().len() - before;
        self.seen.bytes_read.fetch_add(more, Ordering::Relaxed);
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Socket<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.seen.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.seen.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS keeps what the socket does not take, and says so here.
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.seen.wrote(&flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use bellboard_core::clock::Manual;
    use bellboard_core::offset::Time;
    use futures_util::poll;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn it_knows_since_when_nothing_was_taken() {
        let clock = Manual::starting_at(Time(0));
        let seen = Seen::new(clock.clone());
        let (near, mut far) = tokio::io::duplex(4);
        let mut socket = Socket::new(near, seen.clone());
        socket.write_all(b"full").await.unwrap();
        clock.advance(Duration::from_secs(9));
        assert_eq!(seen.stuck_for(), Duration::ZERO, "nothing waits");
        {
            let mut more = std::pin::pin!(socket.write_all(b"more"));
            assert!(poll!(&mut more).is_pending());
            clock.advance(Duration::from_secs(2));
            assert!(poll!(&mut more).is_pending());
            assert_eq!(seen.stuck_for(), Duration::from_secs(2));
            far.read_exact(&mut [0; 4]).await.unwrap();
            more.await.unwrap();
        }
        assert_eq!(seen.stuck_for(), Duration::ZERO);
        far.write_all(b"abc").await.unwrap();
        socket.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(seen.bytes_read(), 3);
    }
}
