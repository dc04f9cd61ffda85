//! Local clients: requests in, replies and events out.
//!
//! Promise: each request is answered once, also when the node closes; replies and events reach
//! their session in the order in which they left the engine. A session that does not read its
//! events is closed and told why. A request costs no allocation, and the replies of one commit
//! cost one lock.
//! Limits: `REQUESTS_MAX`, `EVENT_BYTES_MAX`, `EVENTS_MAX`, `INBOX_WAIT`.

use crate::inbox::{Closed, Inbox};
use folkmoot_core::access::Principal;
use folkmoot_core::engine::Input;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{RequestId, SessionId};
use folkmoot_core::request::{Caller, DataRequest, Event, Reply, Request};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Requests of one session that wait for their reply.
const REQUESTS_MAX: usize = 4_096;
/// Bytes of events that wait for a session.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Events that wait for a session.
const EVENTS_MAX: usize = 16_384;
/// How long a request waits for room in the inbox.
const INBOX_WAIT: Duration = Duration::from_secs(2);

/// A local client of a node. Dropping it ends its watches.
pub struct Session {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
    principal: Principal,
}

/// All sessions of a node.
pub(crate) struct Sessions {
    open: RwLock<Option<HashMap<SessionId, Arc<Shared>>>>,
    next: AtomicU64,
    inbox: Inbox,
    /// Whether the disk has room for writes.
    room: AtomicBool,
}

struct Shared {
    id: SessionId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Requests whose reply goes to `replies`.
    streamed: usize,
    next_streamed: u64,
    replies: VecDeque<(RequestId, Reply)>,
    events: VecDeque<Event>,
    event_bytes: usize,
    reply_reader: Option<Waker>,
    event_reader: Option<Waker>,
    closed: Option<&'static str>,
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

/// Marks the ids of requests whose replies are read with [`Session::next_reply`].
const STREAMED: u64 = 1 << 63;

impl Session {
    /// The session's name within the node.
    pub fn id(&self) -> SessionId {
        self.shared.id
    }

    /// Sends a request and waits for its reply.
    pub async fn ask(&self, request: Request) -> Reply {
        self.ask_as(self.principal, request).await
    }

    pub(crate) async fn ask_as(&self, principal: Principal, request: Request) -> Reply {
        if let Err(code) = self.sessions.admit(&request) {
            return Reply::Failed(code, 0);
        }
        let mut asked = match self.shared.lock().ask() {
            Ok(request) => Asked { shared: &self.shared, request, sent: false },
            Err(code) => return Reply::Failed(code, 0),
        };
        match self.hand_in(principal, asked.request, request).await {
            Ok(()) => asked.sent = true,
            Err(code) => return Reply::Failed(code, 0),
        }
        poll_fn(|context| asked.poll(context)).await
    }

    /// Sends a request without waiting; [`Session::next_reply`] tells the reply under the id.
    ///
    /// For clients that keep many requests under way: it is the cheapest way to ask.
    pub async fn send(&self, request: Request) -> Result<RequestId, ErrorCode> {
        self.sessions.admit(&request)?;
        let id = {
            let mut state = self.shared.lock();
            state.check_open(state.streamed)?;
            state.streamed += 1;
            state.next_streamed += 1;
            RequestId(STREAMED | state.next_streamed)
        };
        let sent = self.hand_in(self.principal, id, request).await;
        if sent.is_err() {
            self.shared.lock().streamed -= 1;
        }
        sent.map(|()| id)
    }

    /// The next reply to a request that was sent with [`Session::send`]; `None` once the session
    /// is closed.
    pub async fn next_reply(&self) -> Option<(RequestId, Reply)> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if let Some(reply) = state.replies.pop_front() {
                state.streamed -= 1;
                return Poll::Ready(Some(reply));
            }
            if state.closed.is_some() {
                return Poll::Ready(None);
            }
            state.reply_reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes all replies that are there, at least one: `into` stays empty only once the session
    /// is closed.
    pub async fn next_replies(&self, into: &mut Vec<(RequestId, Reply)>) {
        if let Some(first) = self.next_reply().await {
            into.push(first);
            let mut state = self.shared.lock();
            state.streamed -= state.replies.len();
            into.extend(state.replies.drain(..));
        }
    }

    /// The next event of this session's watches; `None` once the node has closed the session,
    /// see [`Session::closed_reason`].
    pub async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if let Some(event) = state.events.pop_front() {
                state.event_bytes -= event_bytes(&event);
                return Poll::Ready(Some(event));
            }
            if state.closed.is_some() {
                return Poll::Ready(None);
            }
            state.event_reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Why the node closed this session.
    pub fn closed_reason(&self) -> Option<&'static str> {
        self.shared.lock().closed
    }

    async fn hand_in(
        &self,
        principal: Principal,
        id: RequestId,
        request: Request,
    ) -> Result<(), ErrorCode> {
        let caller = Caller { session: self.shared.id, request: id, principal };
        let sent = self.sessions.inbox.send(Input::Request(caller, request));
        match tokio::time::timeout(INBOX_WAIT, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Closed)) => Err(ErrorCode::Closing),
            Err(_) => Err(ErrorCode::Busy),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.close(self.shared.id, "it was dropped");
        self.sessions.inbox.send_now(Input::SessionClosed(self.shared.id));
    }
}

/// A request that waits for its reply; forgotten when dropped.
struct Asked<'a> {
    shared: &'a Shared,
    request: RequestId,
    sent: bool,
}

impl Asked<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reply> {
        let mut state = self.shared.lock();
        let (index, turn) = parts(self.request);
        let slot = &mut state.slots[index];
        assert_eq!(slot.turn, turn, "a slot is given away only by the request that has it");
        match std::mem::replace(&mut slot.waits, Waits::Free) {
            Waits::Answered(reply) => {
                // `drop` gives the slot back.
                Poll::Ready(reply)
            }
            _ => {
                slot.waits = Waits::Asked(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let (index, _) = parts(self.request);
        if self.sent && matches!(state.slots[index].waits, Waits::Asked(_)) {
            state.slots[index].waits = Waits::Abandoned;
        } else {
            state.free(index);
        }
    }
}

fn parts(request: RequestId) -> (usize, u32) {
    ((request.0 & 0xffff_ffff) as usize, (request.0 >> 32) as u32)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_open(&self, requests: usize) -> Result<(), ErrorCode> {
        if self.closed.is_some() {
            return Err(ErrorCode::Closing);
        }
        if requests >= REQUESTS_MAX {
            return Err(ErrorCode::Busy);
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<RequestId, ErrorCode> {
        self.check_open(self.slots.len() - self.free.len())?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, waits: Waits::Free });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.waits = Waits::Asked(None);
        Ok(RequestId(u64::from(slot.turn) << 32 | u64::from(index)))
    }

    fn free(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.waits = Waits::Free;
        // The top bit stays free for `STREAMED`.
        slot.turn = slot.turn.wrapping_add(1) & 0x7fff_ffff;
        self.free.push(index as u32);
    }

    /// Takes a reply; answers whom to wake.
    fn answer(&mut self, request: RequestId, reply: Reply) -> Option<Waker> {
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

    /// Takes an event; answers whom to wake, or that there is no room for it.
    fn tell(&mut self, event: Event) -> Result<Option<Waker>, Full> {
        if self.closed.is_some() {
            return Ok(None);
        }
        self.event_bytes += event_bytes(&event);
        self.events.push_back(event);
        if self.event_bytes > EVENT_BYTES_MAX || self.events.len() > EVENTS_MAX {
            return Err(Full);
        }
        Ok(self.event_reader.take())
    }

    /// Ends everything that waits.
    fn close(&mut self, why: &'static str, wakers: &mut Vec<Waker>) {
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
}

/// There is no room for an event.
struct Full;

fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Changed(_, changes) => changes
            .iter()
            .map(|change| {
                let value = change.entry.value.as_ref().map_or(0, |value| value.len());
                128 + change.key.as_bytes().len() + value
            })
            .sum(),
    }
}

impl Sessions {
    /// No sessions yet; what they ask goes to `inbox`.
    pub(crate) fn new(inbox: Inbox) -> Arc<Sessions> {
        Arc::new(Sessions {
            open: RwLock::new(Some(HashMap::new())),
            next: AtomicU64::new(1),
            inbox,
            room: AtomicBool::new(true),
        })
    }

    /// Opens a session that acts as `principal`.
    pub(crate) fn open(self: &Arc<Sessions>, principal: Principal) -> Session {
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared { id, state: Mutex::default() });
        match &mut *self.open.write().unwrap_or_else(PoisonError::into_inner) {
            Some(open) => drop(open.insert(id, shared.clone())),
            None => shared.lock().closed = Some(CLOSING),
        }
        Session { shared, sessions: self.clone(), principal }
    }

    /// Whether the disk has room; without, writes are refused.
    pub(crate) fn set_room(&self, room: bool) {
        self.room.store(room, Ordering::Relaxed);
    }

    fn admit(&self, request: &Request) -> Result<(), ErrorCode> {
        let writes = matches!(request, Request::Data(DataRequest::Write(_)));
        if writes && !self.room.load(Ordering::Relaxed) {
            return Err(ErrorCode::DiskFull);
        }
        Ok(())
    }

    fn find(&self, id: SessionId) -> Option<Arc<Shared>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&id).cloned()
    }

    fn close(&self, id: SessionId, why: &'static str) {
        let removed = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            open.as_mut().and_then(|open| open.remove(&id))
        };
        let mut wakers = Vec::new();
        if let Some(shared) = removed {
            shared.lock().close(why, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Answers everything that waits with [`ErrorCode::Closing`], and whatever comes.
    pub(crate) fn close_all(&self) {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut wakers = Vec::new();
        for shared in open.into_iter().flatten().map(|(_, shared)| shared) {
            shared.lock().close(CLOSING, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

const CLOSING: &str = "the node is shutting down";
const NOT_READING: &str = "it does not read: too many changes waited for it";

/// Brings replies and events to sessions; those for one session that follow each other are
/// brought under one lock.
pub(crate) struct Delivery {
    sessions: Arc<Sessions>,
    wakers: Vec<Waker>,
}

/// What goes to a session.
pub(crate) enum Parcel {
    /// The reply to a request.
    Reply(RequestId, Reply),
    /// Something that it watches for.
    Event(Event),
}

impl Delivery {
    /// Delivers to `sessions`.
    pub(crate) fn new(sessions: Arc<Sessions>) -> Delivery {
        Delivery { sessions, wakers: Vec::new() }
    }

    /// Delivers `first` and all that `next` yields to a session. One that is gone loses it.
    pub(crate) fn deliver(
        &mut self,
        id: SessionId,
        first: Parcel,
        next: &mut dyn FnMut() -> Option<Parcel>,
    ) {
        let shared = self.sessions.find(id);
        let mut state = shared.as_ref().map(|shared| shared.lock());
        let mut full = false;
        let mut parcel = Some(first);
        while let Some(one) = parcel {
            match (&mut state, one) {
                (None, _) => {}
                (Some(state), Parcel::Reply(request, reply)) => {
                    self.wakers.extend(state.answer(request, reply));
                }
                (Some(state), Parcel::Event(event)) => match state.tell(event) {
                    Ok(waker) => self.wakers.extend(waker),
                    Err(Full) => {
                        full = true;
                        state.close(NOT_READING, &mut self.wakers);
                    }
                },
            }
            parcel = next();
        }
        drop(state);
        if full {
            self.sessions.close(id, NOT_READING);
            self.sessions.inbox.send_now(Input::SessionClosed(id));
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
