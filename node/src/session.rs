//! Local clients: requests in, replies and events out.
//!
//! Promise: each request is answered once, also when the node closes; replies and events reach
//! their session in the order in which they left the engine. A session that does not read its
//! events is closed and told why. A request costs no allocation here, and the replies of one
//! commit cost one lock. What waits is kept in [`state`], the sessions of a node in [`sessions`].
//! Limits: `INBOX_WAIT`, and those of [`state`].

mod sessions;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use sessions::{CLOSING, Delivery, Parcel, Sessions};

use crate::inbox::{self, Closed};
use folkmoot_core::access::Principal;
use folkmoot_core::engine::Input;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{RequestId, SessionId};
use folkmoot_core::request::{Caller, Event, Reply, Request};
use state::Shared;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a request waits for room in the inbox.
const INBOX_WAIT: Duration = Duration::from_secs(2);

/// Requests that wait for room in the inbox. To be waited for before anything else is sent.
pub(crate) type Unsent = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A local client of a node. Dropping it ends its watches.
pub struct Session {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
    principal: Principal,
}

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
        poll_fn(|context| asked.shared.lock().poll_answer(asked.request, context)).await
    }

    /// Sends a request without waiting; [`Session::next_reply`] tells the reply under the id.
    ///
    /// For clients that keep many requests under way: it is the cheapest way to ask.
    pub async fn send(&self, request: Request) -> Result<RequestId, ErrorCode> {
        self.sessions.admit(&request)?;
        let id = self.shared.lock().stream()?;
        let mut sending = Sending { shared: &self.shared, sent: false };
        self.hand_in(self.principal, id, request).await?;
        sending.sent = true;
        Ok(id)
    }

    /// The next reply to a request that was sent with [`Session::send`]; `None` once the session
    /// is closed.
    pub async fn next_reply(&self) -> Option<(RequestId, Reply)> {
        poll_fn(|context| self.shared.lock().poll_reply(context)).await
    }

    /// Takes all replies that are there, at least one: `into` stays empty only once the session
    /// is closed.
    pub async fn next_replies(&self, into: &mut Vec<(RequestId, Reply)>) {
        if let Some(first) = self.next_reply().await {
            into.push(first);
            self.shared.lock().take_replies(into);
        }
    }

    /// The next event of this session's watches; `None` once the node has closed the session,
    /// see [`Session::closed_reason`].
    pub async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|context| self.shared.lock().poll_event(context)).await
    }

    /// Why the node closed this session.
    pub fn closed_reason(&self) -> Option<&'static str> {
        self.shared.lock().closed()
    }

    /// Sends a request whose reply nobody wants, as soon as there is room for it.
    pub async fn tell(&self, request: Request) -> Result<(), ErrorCode> {
        self.sessions.admit(&request)?;
        self.hand_in(self.principal, RequestId::UNANSWERED, request).await
    }

    /// Sends a request at once, or adds it to what waits in `unsent`, in order. The reply comes
    /// under the id, to [`Session::poll_told`]; without `answer` there is none.
    pub(crate) fn send_soon(
        &self,
        request: Request,
        answer: bool,
        unsent: &mut Option<Unsent>,
    ) -> Result<RequestId, ErrorCode> {
        self.sessions.admit(&request)?;
        let id = if answer { self.shared.lock().stream()? } else { RequestId::UNANSWERED };
        let caller = Caller { session: self.shared.id, request: id, principal: self.principal };
        let (input, inbox) = (Input::Request(caller, request), self.sessions.inbox.clone());
        let before = unsent.take();
        let input = match before {
            Some(_) => input,
            None => match inbox.try_send(input) {
                Ok(()) => return Ok(id),
                Err(inbox::Unsent::NoRoom(input)) => input,
                Err(inbox::Unsent::Closed) => return Err(ErrorCode::Closing),
            },
        };
        *unsent = Some(Box::pin(async move {
            if let Some(before) = before {
                before.await;
            }
            // If the node shuts down, so does the session, which is told by itself.
            let _ = inbox.send(input).await;
        }));
        Ok(id)
    }

    /// Takes the replies to what was sent with [`Session::send_soon`], and events until they have
    /// `event_bytes`; waits for any of them. Replies come before the events of the same time.
    /// `false` once the session is closed.
    pub(crate) fn poll_told(
        &self,
        context: &mut Context<'_>,
        event_bytes: usize,
        replies: &mut Vec<(RequestId, Reply)>,
        events: &mut Vec<Event>,
    ) -> Poll<bool> {
        self.shared.lock().poll_told(context, event_bytes, replies, events)
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

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.lock().forget(self.request, self.sent);
    }
}

/// A request that is on its way into the inbox; not counted any more if it does not get there.
struct Sending<'a> {
    shared: &'a Shared,
    sent: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.sent {
            self.shared.lock().unstream();
        }
    }
}
