//! What waits in one session: requests for replies, replies and events for their reader.
//!
//! Limits: `REQUESTS_MAX`, `EVENT_BYTES_MAX`, `EVENTS_MAX`, `IDLE_EVENTS_MAX`.

use folkmoot_core::chat::words::{ChatEvent, Presence};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{Name, RequestId, SessionId};
use folkmoot_core::limits::MESSAGE_COST_BYTES;
use folkmoot_core::request::{Event, Reply};
use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Requests of one session that wait for their reply.
pub(super) const REQUESTS_MAX: usize = 4_096;
/// Bytes of events that wait for a session.
pub(super) const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Events that wait for a session.
pub(super) const EVENTS_MAX: usize = 16_384;
/// Room for events that a session keeps while there are none.
const IDLE_EVENTS_MAX: usize = 4;
/// Marks the ids of requests whose replies are read one after another.
const STREAMED: u64 = 1 << 63;

/// A session, as its client and the node share it.
pub(super) struct Shared {
    pub(super) id: SessionId,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(id: SessionId) -> Shared {
        Shared { id, state: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct State {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Requests whose reply goes to `replies`, or is there.
    streamed: usize,
    next_streamed: u64,
    replies: VecDeque<(RequestId, Reply)>,
    events: VecDeque<Event>,
    event_bytes: usize,
    reply_reader: Option<Waker>,
    event_reader: Option<Waker>,
    closed: Option<&'static str>,
    /// Whether it ends when the doors are closed, before the engine.
    pub(super) at_door: bool,
}

/// Where one request waits for its reply.
struct Slot {
    /// How often the slot was used: a late reply to an earlier use is not taken for this one.
    turn: u32,
    waits: Waits,
}

enum Waits {
    Free,
    Asked(Option<Waker>),
    Answered(Reply),
    /// Nobody waits for the reply any more.
    Abandoned,
}

/// There is no room for an event.
pub(super) struct Full;

impl State {
    /// A name for a request that somebody waits for.
    pub(super) fn ask(&mut self) -> Result<RequestId, ErrorCode> {
        self.check_open(self.slots.len() - self.free.len())?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, waits: Waits::Free });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.waits = Waits::Asked(None);
        Ok(RequestId(u64::from(slot.turn) << 32 | u64::from(index)))
    }

    /// The reply to a request of [`State::ask`]. Whoever has taken it forgets the request.
    pub(super) fn poll_answer(
        &mut self,
        request: RequestId,
        context: &mut Context<'_>,
    ) -> Poll<Reply> {
        let (index, turn) = parts(request);
        let slot = &mut self.slots[index];
        assert_eq!(slot.turn, turn, "a slot is given away only by the request that has it");
        match mem::replace(&mut slot.waits, Waits::Free) {
            Waits::Answered(reply) => Poll::Ready(reply),
            _ => {
                slot.waits = Waits::Asked(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// Nobody waits for the request any more. If it was sent, its slot is kept for the reply.
    pub(super) fn forget(&mut self, request: RequestId, sent: bool) {
        let (index, _) = parts(request);
        if sent && matches!(self.slots[index].waits, Waits::Asked(_)) {
            self.slots[index].waits = Waits::Abandoned;
        } else {
            self.free(index);
        }
    }

    /// A name for a request whose reply is read with [`State::poll_reply`].
    pub(super) fn stream(&mut self) -> Result<RequestId, ErrorCode> {
        self.check_open(self.streamed)?;
        self.streamed += 1;
        self.next_streamed += 1;
        Ok(RequestId(STREAMED | self.next_streamed))
    }

    /// A request of [`State::stream`] was not sent.
    pub(super) fn unstream(&mut self) {
        self.streamed -= 1;
    }

    /// The next reply to a streamed request; `None` once the session is closed.
    pub(super) fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(RequestId, Reply)>> {
        match self.replies.pop_front() {
            Some(reply) => {
                self.streamed -= 1;
                Poll::Ready(Some(reply))
            }
            None if self.closed.is_some() => Poll::Ready(None),
            None => {
                self.reply_reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// All replies to streamed requests that are there.
    pub(super) fn take_replies(&mut self, into: &mut Vec<(RequestId, Reply)>) {
        self.streamed -= self.replies.len();
        into.extend(self.replies.drain(..));
    }

    /// The next event; `None` once the session is closed.
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.events.pop_front() {
            Some(event) => {
                self.event_bytes -= event_bytes_of(&event);
                Poll::Ready(Some(event))
            }
            None if self.closed.is_some() => Poll::Ready(None),
            None => {
                self.event_reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Replies to streamed requests and events, in one.
    pub(super) fn poll_told(
        &mut self,
        context: &mut Context<'_>,
        event_bytes: usize,
        replies: &mut Vec<(RequestId, Reply)>,
        events: &mut Vec<Event>,
    ) -> Poll<bool> {
        if self.replies.is_empty() && self.events.is_empty() {
            if self.closed.is_some() {
                return Poll::Ready(false);
            }
            for reader in [&mut self.reply_reader, &mut self.event_reader] {
                if !reader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    *reader = Some(context.waker().clone());
                }
            }
            return Poll::Pending;
        }
        self.take_replies(replies);
        let mut taken = 0;
        while taken < event_bytes
            && let Some(event) = self.events.pop_front()
        {
            let bytes = event_bytes_of(&event);
            (taken, self.event_bytes) = (taken + bytes, self.event_bytes - bytes);
            events.push(event);
        }
        if self.events.is_empty() && self.events.capacity() > IDLE_EVENTS_MAX {
            self.events = VecDeque::new();
        }
        Poll::Ready(true)
    }

    /// Why the session is closed.
    pub(super) fn closed(&self) -> Option<&'static str> {
        self.closed
    }

    /// Takes a reply; answers whom to wake.
    pub(super) fn answer(&mut self, request: RequestId, reply: Reply) -> Option<Waker> {
        if request.0 & STREAMED != 0 {
            self.replies.push_back((request, reply));
            return self.reply_reader.take();
        }
        let (index, turn) = parts(request);
        let slot = self.slots.get_mut(index).filter(|slot| slot.turn == turn)?;
        match &mut slot.waits {
            Waits::Asked(waker) => {
                let waker = waker.take();
                slot.waits = Waits::Answered(reply);
                waker
            }
            Waits::Abandoned => {
                self.free(index);
                None
            }
            Waits::Free | Waits::Answered(_) => None,
        }
    }

    /// Takes an event; answers whom to wake.
    pub(super) fn tell(&mut self, event: Event) -> Result<Option<Waker>, Full> {
        if self.closed.is_some() {
            return Ok(None);
        }
        let bytes = self.event_bytes + event_bytes_of(&event);
        // Whoever has read everything gets the next event, however large it is.
        let is_reading = self.events.is_empty();
        if !is_reading && (bytes > EVENT_BYTES_MAX || self.events.len() >= EVENTS_MAX) {
            return Err(Full);
        }
        self.event_bytes = bytes;
        self.events.push_back(event);
        Ok(self.event_reader.take())
    }

    /// Ends everything that waits. Replies that are there can still be read.
    pub(super) fn close(&mut self, why: &'static str, wakers: &mut Vec<Waker>) {
        if self.closed.is_some() {
            return;
        }
        self.closed = Some(why);
        self.events.clear();
        self.event_bytes = 0;
        for slot in &mut self.slots {
            if let Waits::Asked(waker) = &mut slot.waits {
                wakers.extend(waker.take());
                slot.waits = Waits::Answered(Reply::Failed(ErrorCode::Closing, 0));
            }
        }
        wakers.extend(self.reply_reader.take());
        wakers.extend(self.event_reader.take());
    }

    fn check_open(&self, requests: usize) -> Result<(), ErrorCode> {
        if self.closed.is_some() {
            return Err(ErrorCode::Closing);
        }
        if requests >= REQUESTS_MAX {
            return Err(ErrorCode::Busy);
        }
        Ok(())
    }

    fn free(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.waits = Waits::Free;
        // The top bit stays free for `STREAMED`.
        slot.turn = slot.turn.wrapping_add(1) & 0x7fff_ffff;
        self.free.push(index as u32);
    }
}

/// Slot and turn of a request.
fn parts(request: RequestId) -> (usize, u32) {
    ((request.0 & 0xffff_ffff) as usize, (request.0 >> 32) as u32)
}

fn event_bytes_of(event: &Event) -> usize {
    match event {
        Event::Changed(_, changes) => changes
            .iter()
            .map(|change| {
                let value = change.entry.value.as_ref().map_or(0, |value| value.len());
                128 + change.key.as_bytes().len() + value
            })
            .sum(),
        Event::Chat(told) => chat_bytes(told),
    }
}

fn chat_bytes(told: &ChatEvent) -> usize {
    let names = |names: &[Name]| -> usize {
        names.iter().map(|name| MESSAGE_COST_BYTES + name.as_bytes().len()).sum()
    };
    match told {
        ChatEvent::Messages { messages, .. } | ChatEvent::Signals(messages) => {
            messages.iter().map(|message| MESSAGE_COST_BYTES + message.body.len()).sum()
        }
        ChatEvent::Settled(settled) => MESSAGE_COST_BYTES * settled.len(),
        ChatEvent::Users { changes, .. } => {
            let user = |one: &Presence| {
                let status = one.status.as_ref().map_or(0, |text| text.len());
                MESSAGE_COST_BYTES + one.user.as_bytes().len() + status
            };
            changes.iter().map(user).sum()
        }
        ChatEvent::Room { room, joined, left, .. } => {
            room.as_bytes().len() + names(joined) + names(left)
        }
        ChatEvent::Ended(_) => 0,
    }
}
