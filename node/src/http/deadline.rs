//! A connection that does not wait for ever for its client.
//!
//! Promise: a client that sends nothing, sends its headers slowly, stays away after an answer or
//! does not take in its answer loses the connection within the limits. Bodies have a deadline of
//! their own where they are read. What the client did is seen here, on the bytes; what the node is
//! doing is told by the service through a [`Pulse`].
//!
//! One timer serves all deadlines: it is not moved when a deadline moves away, only looked at
//! again when it fires, so a busy connection never touches it.

use super::connections::Slot;
use super::limits::HttpLimits;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What the node is doing on a connection. The number grows with every change, so that none is
/// missed between two looks; its last two bits are the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

/// Nothing has been asked yet.
const FRESH: u64 = 0;
/// A request is being answered.
const BUSY: u64 = 1;
/// The answer is made; the next request may come.
const ANSWERED: u64 = 2;
/// The connection speaks another protocol now, with deadlines of its own.
const UPGRADED: u64 = 3;

impl Pulse {
    /// A request has come.
    pub(crate) fn busy(&self) {
        self.set(BUSY);
    }

    /// The last answer is made.
    pub(crate) fn answered(&self) {
        self.set(ANSWERED);
    }

    /// The connection speaks another protocol from now on.
    pub(crate) fn upgraded(&self) {
        self.set(UPGRADED);
    }

    fn set(&self, state: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store((before & !3).wrapping_add(4) | state, Ordering::Relaxed);
    }
}

/// A socket with deadlines.
#[derive(Debug)]
pub(crate) struct Timed {
    tcp: TcpStream,
    slot: Slot,
    pulse: Pulse,
    /// The pulse at the last look, and when it had changed or something was written.
    seen: u64,
    since: Instant,
    /// When the first byte of a request came.
    head_since: Option<Instant>,
    /// Since when nothing could be written.
    stalled_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    first_byte: Duration,
    head: Duration,
    idle: Duration,
    write: Duration,
}

impl Timed {
    /// Puts deadlines on a socket. `slot` is held as long as the socket.
    pub(crate) fn new(tcp: TcpStream, slot: Slot, pulse: Pulse, limits: &HttpLimits) -> Timed {
        let since = Instant::now();
        Timed {
            tcp,
            slot,
            pulse,
            seen: FRESH,
            since,
            head_since: None,
            stalled_since: None,
            timer: Box::pin(sleep_until(since + limits.first_byte)),
            first_byte: limits.first_byte,
            head: limits.head,
            idle: limits.idle,
            write: limits.write,
        }
    }

    /// The socket without deadlines, and its place among the connections.
    pub(crate) fn into_parts(self) -> (TcpStream, Slot) {
        (self.tcp, self.slot)
    }

    fn state(&mut self) -> u64 {
        let now = self.pulse.0.load(Ordering::Relaxed);
        if now != self.seen {
            self.seen = now;
            self.since = Instant::now();
            self.head_since = None;
        }
        now & 3
    }

    fn read_by(&mut self) -> Option<Instant> {
        let state = self.state();
        match (state, self.head_since) {
            (FRESH | ANSWERED, Some(since)) => Some(since + self.head),
            (FRESH, None) => Some(self.since + self.first_byte),
            (ANSWERED, None) => Some(self.since + self.idle),
            _ => None,
        }
    }

    /// Ready when a deadline has passed.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let write_by = self.stalled_since.map(|since| since + self.write);
        let Some(deadline) = self.read_by().into_iter().chain(write_by).min() else {
            return Poll::Pending;
        };
        while Instant::now() < deadline {
            if self.timer.deadline() > deadline || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    fn written(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending if self.pulse.0.load(Ordering::Relaxed) & 3 == UPGRADED => Poll::Pending,
            Poll::Pending => {
                self.stalled_since.get_or_insert_with(Instant::now);
                ready!(self.poll_overdue(cx));
                Poll::Ready(Err(timed_out("the client takes in nothing")))
            }
            Poll::Ready(result) => {
                self.stalled_since = None;
                self.since = Instant::now();
                Poll::Ready(result)
            }
        }
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.tcp).poll_read(cx, buffer) {
            Poll::Pending => {
                ready!(self.poll_overdue(cx));
                Poll::Ready(Err(timed_out("the client is too slow or gone")))
            }
            Poll::Ready(result) => {
                let state = self.state();
                let some = buffer.filled().len() > before;
                if some && (state == FRESH || state == ANSWERED) {
                    self.head_since.get_or_insert_with(Instant::now);
                }
                Poll::Ready(result)
            }
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.written(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes);
        self.written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    /// An answer ends with a flush, and a reader that was told to wait during the request need
    /// not try again by itself: here it is made sure that the timer wakes it.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.tcp).poll_flush(cx));
        if self.poll_overdue(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
