//! The task of one WebSocket: bytes in and out, and the time that both may take.
//!
//! Promise: what waits is written in one piece; a socket that cannot be written to holds back what
//! its session is told, and one whose talk does not listen is not read. Buffers belong to the
//! thread ([`Shared`]); a session has only what is unfinished, so an idle one has none, and what
//! it leaves in them when it ends is nobody's.
//! Limits: `READ_BYTES`, `READS_MAX`, `UNWRITTEN_BYTES_MAX`, and the times of `WsLimits`.

use super::talk::{Desk, Farewell, Talk};
use super::times::{Due, Rate, Times, arm};
use crate::http::Doors;
use crate::http::connections::Slot;
use crate::websocket::frame::{Opcode, push_close, push_control};
use crate::websocket::reader::{Reader, Received, Sender};
use folkmoot_core::access::Principal;
use std::cell::RefCell;
use std::future::poll_fn;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads after which it is another session's turn.
const READS_MAX: usize = 8;
/// Bytes that may wait for a socket; what its session is told waits elsewhere.
const UNWRITTEN_BYTES_MAX: usize = 1024 * 1024;
/// Room of the common output buffer that is kept.
const OUT_BYTES_KEPT_MAX: usize = 1024 * 1024;

/// What the sessions of one thread use in turn.
struct Shared {
    input: Vec<u8>,
    out: Vec<u8>,
    desk: Desk,
}

impl Shared {
    /// Drops what a session has left that ended while it was told something.
    fn clear(&mut self) {
        self.out.clear();
        self.desk.clear();
    }
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::new(Shared {
        input: vec![0; READ_BYTES],
        out: Vec::new(),
        desk: Desk::default(),
    });
}

/// Why the talk ends.
enum End {
    /// There is nobody to say anything to.
    Lost,
    /// With these words.
    Close(Farewell),
}

impl From<Farewell> for End {
    fn from(farewell: Farewell) -> End {
        End::Close(farewell)
    }
}

/// Something has happened and more may, or there is something to wait for, or it is over.
type Turn = Poll<Result<(), End>>;

/// One WebSocket.
pub(super) struct Socket {
    tcp: TcpStream,
    talk: Talk,
    reader: Reader,
    /// Frames that could not be written yet.
    unwritten: Vec<u8>,
    /// Whether the reader was stopped with messages in it.
    stopped: bool,
    /// Messages that may be taken in, for a client elsewhere.
    rate: Option<Box<Rate>>,
    times: Times,
    /// Until when the other end may take note of the end.
    closing: Option<Instant>,
    /// Whether it was said that nothing more comes.
    shut: bool,
    doors: Arc<Doors>,
    _slot: Slot,
}

impl Socket {
    /// The socket of a client that was just let in.
    pub(super) fn new(
        doors: Arc<Doors>,
        principal: Principal,
        tcp: TcpStream,
        slot: Slot,
        is_local: bool,
    ) -> Socket {
        let now = Instant::now();
        let talk = Talk::new(doors.node.clone(), principal);
        let rate = (!is_local).then(|| Box::new(Rate::new(&doors.limits().ws, now)));
        Socket {
            tcp,
            talk,
            reader: Reader::new(Sender::Client),
            unwritten: Vec::new(),
            stopped: false,
            rate,
            times: Times::new(now),
            closing: None,
            shut: false,
            doors,
            _slot: slot,
        }
    }

    /// Serves it until it ends.
    pub(super) fn start(mut self) {
        tokio::spawn(async move {
            // The first poll sets it.
            let timer = sleep(Duration::MAX);
            tokio::pin!(timer);
            poll_fn(|context| {
                SHARED.with_borrow_mut(|shared| {
                    shared.clear();
                    self.poll(context, timer.as_mut(), shared)
                })
            })
            .await;
        });
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        shared: &mut Shared,
    ) -> Poll<()> {
        let now = Instant::now();
        let mut reads = 0;
        loop {
            if self.flush(context, now, &mut shared.out).is_err() {
                return Poll::Ready(());
            }
            if self.closing.is_some() {
                return self.poll_close(context, timer, now, &mut shared.input);
            }
            let turns = [
                self.poll_told(context, shared),
                self.poll_heard(context, now, &mut reads, shared),
                self.poll_due(context, timer.as_mut(), now, &mut shared.out),
            ];
            let mut waits = true;
            for turn in turns {
                match turn {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => waits = false,
                    Poll::Ready(Err(End::Lost)) => return Poll::Ready(()),
                    Poll::Ready(Err(End::Close(farewell))) => {
                        waits = false;
                        self.close(farewell, now, &mut shared.out);
                    }
                }
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Writes what can be written; `out` is empty afterwards.
    fn flush(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), ()> {
        let first = self.unwritten.is_empty();
        if !first {
            self.unwritten.append(out);
        }
        let bytes = if first { &*out } else { &self.unwritten };
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.tcp).poll_write(context, &bytes[written..]) {
                Poll::Ready(Ok(count)) if count > 0 => written += count,
                Poll::Ready(_) => {
                    out.clear();
                    return Err(());
                }
                Poll::Pending => break,
            }
        }
        if written == bytes.len() {
            (self.unwritten, self.times.stalled) = (Vec::new(), None);
        } else if first {
            self.unwritten.extend_from_slice(&out[written..]);
            self.times.stalled = Some(now);
        } else if written > 0 {
            self.unwritten.drain(..written);
            self.times.stalled = Some(now);
        }
        out.clear();
        if out.capacity() > OUT_BYTES_KEPT_MAX {
            *out = Vec::new();
        }
        Ok(())
    }

    fn poll_told(&mut self, context: &mut Context<'_>, shared: &mut Shared) -> Turn {
        if self.unwritten.len() > UNWRITTEN_BYTES_MAX {
            return Poll::Ready(Err(Farewell::NOT_READING.into()));
        }
        // Also while nothing can be written: it holds room that others wait for.
        let sent = self.talk.poll_unsent(context).map(Ok);
        if !self.unwritten.is_empty() {
            return sent;
        }
        match self.talk.poll_told(context, &mut shared.desk, &mut shared.out) {
            Poll::Pending => sent,
            Poll::Ready(told) => Poll::Ready(told.map_err(End::Close)),
        }
    }

    fn poll_heard(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        reads: &mut usize,
        shared: &mut Shared,
    ) -> Turn {
        let crowded = self.talk.is_crowded();
        if crowded || !self.talk.listens() {
            self.times.deaf(now, crowded);
            return Poll::Pending;
        }
        self.times.listening();
        let Shared { input, out, desk } = shared;
        if mem::take(&mut self.stopped) {
            return self.hear(&mut [], now, desk, out);
        }
        if *reads == READS_MAX {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        *reads += 1;
        let mut buffer = ReadBuf::new(input);
        match Pin::new(&mut self.tcp).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.times.heard(now);
                self.hear(buffer.filled_mut(), now, desk, out)
            }
            Poll::Ready(_) => Poll::Ready(Err(End::Lost)),
        }
    }

    /// Takes in what was read.
    fn hear(&mut self, bytes: &mut [u8], now: Instant, desk: &mut Desk, out: &mut Vec<u8>) -> Turn {
        let (talk, rate) = (&mut self.talk, &mut self.rate);
        let (mut heard, mut end) = (false, None);
        let fed = self.reader.feed(bytes, &mut |received| {
            match received {
                Received::Text(text) => {
                    heard = true;
                    let fast = rate.as_mut().is_some_and(|rate| !rate.take(now));
                    let said = match fast {
                        true => Err(Farewell::TOO_FAST),
                        false => talk.hear(desk, out, text),
                    };
                    end = said.err();
                }
                Received::Ping(payload) => push_control(out, Opcode::Pong, payload),
                Received::Pong => {}
                Received::Close(said) => {
                    let code = said.map_or(1000, |(code, _)| code);
                    end = Some(Farewell { code, reason: "" });
                }
            }
            let goes_on = end.is_none() && talk.listens();
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        // What was said before something wrong was said all the same.
        let handed_in = talk.hand_in(desk);
        match fed {
            Err(broken) => {
                let reason = "the frames break the rules of WebSocket text";
                return Poll::Ready(Err(Farewell { code: broken.code(), reason }.into()));
            }
            Ok(flow) => self.stopped = flow.is_break(),
        }
        if let Some(farewell) = end {
            return Poll::Ready(Err(farewell.into()));
        }
        if handed_in.is_err() {
            return Poll::Ready(Err(Farewell::CLOSING.into()));
        }
        self.times.within = match self.times.within {
            _ if !self.reader.is_within() || self.stopped => None,
            Some(since) if !heard => Some(since),
            _ => Some(now),
        };
        Poll::Ready(Ok(()))
    }

    fn poll_due(
        &mut self,
        context: &mut Context<'_>,
        timer: Pin<&mut Sleep>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Turn {
        let (limits, fresh) = (&self.doors.limits().ws, self.talk.is_fresh());
        match self.times.due(limits, fresh, now) {
            None => {
                arm(context, timer, self.times.next(limits, fresh));
                return Poll::Pending;
            }
            Some(Due::Ping) => push_control(out, Opcode::Ping, b""),
            Some(Due::Listen) => self.talk.uncrowd(),
            Some(Due::Close(farewell)) => return Poll::Ready(Err(farewell.into())),
        }
        Poll::Ready(Ok(()))
    }

    fn close(&mut self, farewell: Farewell, now: Instant, out: &mut Vec<u8>) {
        if self.closing.is_none() {
            tracing::debug!("closes a chat socket: {} {}", farewell.code, farewell.reason);
            push_close(out, farewell.code, farewell.reason);
            self.closing = Some(now + self.doors.limits().ws.farewell);
        }
    }

    /// Says that nothing more comes, and waits for the other end to take note: a socket that is
    /// closed with unread bytes in it takes back what was said last.
    fn poll_close(
        &mut self,
        context: &mut Context<'_>,
        timer: Pin<&mut Sleep>,
        now: Instant,
        input: &mut [u8],
    ) -> Poll<()> {
        let by = self.closing.unwrap_or(now);
        if now >= by {
            return Poll::Ready(());
        }
        if self.unwritten.is_empty() && !self.shut {
            self.shut = Pin::new(&mut self.tcp).poll_shutdown(context).is_ready();
        }
        for _ in 0..READS_MAX {
            let mut buffer = ReadBuf::new(input);
            match Pin::new(&mut self.tcp).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    arm(context, timer, by);
                    return Poll::Pending;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_takes_few_bytes() {
        let bytes = size_of::<Socket>() + size_of::<Sleep>();
        assert!(bytes <= 640, "{bytes}");
    }
}
