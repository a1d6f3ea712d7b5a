//! A corked socket: what a connection writes in one turn leaves in one piece.
//!
//! Believe this: HTTP/2 writes every frame by itself, and tokio asks a connection to write right behind the first stream that has
//! something to say. So bytes are kept here until the tasks that were ready with that stream have had their turn, and then leave together: ten
//! streams of one connection cost one write, not ten. At most one turn of the scheduler passes, and never more than
//! [`limits::CORK_BYTES_MAX`] bytes are kept.
//!
//! A flush is answered before it is done; [`Turns`] does it, which is why a corked connection must be polled through it. What fails by
//! then is told by the next call. A shutdown flushes before it is answered, as ever.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bellboard_core::limits;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose writes are gathered. Held by its connection.
#[derive(Debug)]
pub(super) struct Corked<IO>(Shared<IO>);

/// Takes turns at a corked connection. Held by whoever polls it.
#[derive(Debug)]
pub(super) struct Turns<IO>(Shared<IO>);

/// Both ends are polled by one task, so nobody ever waits for the other. Held for one call, never over an await.
type Shared<IO> = Arc<Mutex<Gathering<IO>>>;

#[derive(Debug)]
struct Gathering<IO> {
    inner: IO,
    /// Bytes that are to be written before any other.
    kept: BytesMut,
    /// Whether what is kept was kept through a turn already.
    due: bool,
    /// Whether `inner` was given bytes since it was last flushed: TLS keeps some, too.
    unflushed: bool,
    /// What failed while nobody was there to be told.
    failed: Option<io::Error>,
}

/// Corks a stream.
pub(super) fn corked<IO>(inner: IO) -> (Corked<IO>, Turns<IO>) {
    let shared = Arc::new(Mutex::new(Gathering {
        inner,
        kept: BytesMut::new(),
        due: false,
        unflushed: false,
        failed: None,
    }));
    (Corked(shared.clone()), Turns(shared))
}

fn lock<IO>(shared: &Shared<IO>) -> MutexGuard<'_, Gathering<IO>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<IO: AsyncWrite + Unpin> Turns<IO> {
    /// Polls the connection, and when it has nothing more to do, lets go of what it wrote in an earlier turn, and of all that joined it.
    /// Cancel safe.
    pub(super) async fn take<C: Future>(&self, mut connection: Pin<&mut C>) -> C::Output {
        std::future::poll_fn(|context| {
            let polled = connection.as_mut().poll(context);
            let mut gathering = lock(&self.0);
            match &polled {
                Poll::Pending => gathering.end_turn(context),
                // A connection that ended well was shut down, which left nothing here.
                Poll::Ready(_) => {}
            }
            polled
        })
        .await
    }
}

impl<IO: AsyncWrite + Unpin> Gathering<IO> {
    /// What was kept through a turn goes out; what is new stays for the next one.
    fn end_turn(&mut self, context: &mut Context<'_>) {
        if self.failed.is_some() || (self.kept.is_empty() && !self.unflushed) {
            return;
        }
        if !self.due {
            self.due = true;
            // From within its own turn a task comes behind all others that are ready.
            context.waker().wake_by_ref();
            return;
        }
        if let Poll::Ready(Err(error)) = self.poll_push(context) {
            self.failed = Some(error);
            context.waker().wake_by_ref();
        }
    }

    /// Writes and flushes all that is kept.
    fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(context))?;
            self.unflushed = false;
        }
        self.due = false;
        Poll::Ready(Ok(()))
    }

    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.kept.advance(written);
        }
        // An idle connection keeps no room for its next words.
        if self.kept.capacity() > 0 {
            self.kept = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes, or writes them at once where they are many: gathering those would only copy them.
    fn poll_take(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.kept.len() + bytes > limits::CORK_BYTES_MAX {
            ready!(self.poll_empty(context))?;
        }
        if self.kept.is_empty() && bytes >= limits::CORK_PASSES_BYTES {
            self.unflushed = true;
            return Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        }
        for slice in slices {
            self.kept.extend_from_slice(slice);
        }
        Poll::Ready(Ok(bytes))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Corked<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut gathering = lock(&self.0);
        match gathering.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut gathering.inner).poll_read(context, into),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Corked<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(context, slices)
    }

    /// Slices are welcome whatever is below: they are put together here.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The end of the turn flushes.
        Poll::Ready(lock(&self.0).failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = lock(&self.0);
        if let Some(error) = gathering.failed.take() {
            return Poll::Ready(Err(error));
        }
        ready!(gathering.poll_push(context))?;
        Pin::new(&mut gathering.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
