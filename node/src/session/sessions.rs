//! All sessions of a node, and how replies and events come to them.

use super::Session;
use super::state::{Full, Shared};
use crate::inbox::Inbox;
use folkmoot_core::access::Principal;
use folkmoot_core::engine::Input;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{RequestId, SessionId};
use folkmoot_core::request::{DataRequest, Event, Reply, Request};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Waker;

pub(crate) const CLOSING: &str = "the node is shutting down";
const NOT_READING: &str = "it does not read: too many changes waited for it";

/// All sessions of a node.
pub(crate) struct Sessions {
    open: RwLock<Option<HashMap<SessionId, Arc<Shared>>>>,
    next: AtomicU64,
    pub(super) inbox: Inbox,
    /// Whether the disk has room for writes.
    room: AtomicBool,
    doors_closed: AtomicBool,
}

impl Sessions {
    /// No sessions yet; what they ask goes to `inbox`.
    pub(crate) fn new(inbox: Inbox) -> Arc<Sessions> {
        Arc::new(Sessions {
            open: RwLock::new(Some(HashMap::new())),
            next: AtomicU64::new(1),
            inbox,
            room: AtomicBool::new(true),
            doors_closed: AtomicBool::new(false),
        })
    }

    /// Opens a session that acts as `principal`.
    pub(crate) fn open(self: &Arc<Sessions>, principal: Principal) -> Session {
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared::new(id));
        match &mut *self.open.write().unwrap_or_else(PoisonError::into_inner) {
            Some(open) => drop(open.insert(id, shared.clone())),
            None => shared.lock().close(CLOSING, &mut Vec::new()),
        }
        Session { shared, sessions: self.clone(), principal }
    }

    /// Opens a session that [`Sessions::close_doors`] closes.
    pub(crate) fn open_at_door(self: &Arc<Sessions>, principal: Principal) -> Session {
        let session = self.open(principal);
        session.shared.lock().at_door = true;
        if self.doors_closed.load(Ordering::SeqCst) {
            self.close(session.id(), CLOSING);
        }
        session
    }

    /// Tells the sessions of clients at the doors that the node shuts down, while the engine still
    /// takes what they have said last. Those that come later are told at once.
    pub(crate) fn close_doors(&self) {
        self.doors_closed.store(true, Ordering::SeqCst);
        let at_door: Vec<SessionId> = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let open = open.iter().flatten().filter(|(_, shared)| shared.lock().at_door);
            open.map(|(id, _)| *id).collect()
        };
        at_door.into_iter().for_each(|id| self.close(id, CLOSING));
    }

    /// Whether the disk has room; without, writes are refused.
    pub(crate) fn set_room(&self, room: bool) {
        self.room.store(room, Ordering::Relaxed);
    }

    /// Whether a request may be sent at all.
    pub(super) fn admit(&self, request: &Request) -> Result<(), ErrorCode> {
        let writes = matches!(request, Request::Data(DataRequest::Write(_)));
        if writes && !self.room.load(Ordering::Relaxed) {
            return Err(ErrorCode::DiskFull);
        }
        Ok(())
    }

    fn find(&self, id: SessionId) -> Option<Arc<Shared>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&id).cloned()
    }

    /// Closes a session.
    pub(super) fn close(&self, id: SessionId, why: &'static str) {
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

/// Brings replies and events to sessions; those for one session that follow each other are
/// brought under one lock, and nobody is woken more than once for what comes together.
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

    /// Delivers `first` and all that `next` yields to a session. One that is gone loses it. Who
    /// waits for it is woken by [`Delivery::wake`].
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
    }

    /// Wakes all who wait for what was delivered: to wake somebody costs a call of the system.
    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
