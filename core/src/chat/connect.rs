//! Sessions come, break off, go on and end.

use super::Chat;
use super::session::{Session, Sid};
use super::words::{ChatEvent, Connect};
use crate::ctx::Ctx;
use crate::error::ErrorCode;
use crate::id::{ResumeToken, SessionId};
use crate::request::Event;

/// Why a session ends that does not take in its messages.
pub const NOT_READING: &str = "it does not read: too many messages waited for it";
/// Why a connection ends whose session goes on elsewhere.
pub const TAKEN_OVER: &str = "another connection goes on with this session";

impl Chat {
    /// A connection speaks for a user from now on.
    pub(super) fn connect(&mut self, ctx: &mut Ctx, connection: SessionId, connect: Connect) {
        if let Some(before) = self.by_connection.get(&connection).copied() {
            self.end(ctx, before);
        }
        let Connect { user, client, resume, visible } = connect;
        let session = Session { visible, resume, ..Session::new(user.clone(), client, connection) };
        let sid = self.sessions.insert(session);
        self.by_connection.insert(connection, sid);
        if let Some(token) = resume {
            self.by_token.insert(token, sid);
        }
        if visible {
            self.by_user.entry(user.clone()).push(sid);
            self.own_user_changed(&user);
        }
    }

    /// A new connection goes on where another broke off.
    pub(super) fn resume(
        &mut self,
        ctx: &mut Ctx,
        connection: SessionId,
        token: ResumeToken,
        received: u64,
    ) -> Result<(), ErrorCode> {
        let sid = self.by_token.get(&token).copied().ok_or(ErrorCode::NotResumed)?;
        if self.by_connection.get(&connection) == Some(&sid) {
            return Ok(());
        }
        if let Some(other) = self.by_connection.get(&connection).copied() {
            self.end(ctx, other);
        }
        let session = self.sessions.get_mut(sid).ok_or(ErrorCode::NotResumed)?;
        let old = session.connection.replace(connection);
        if let Some(until) = session.until.take() {
            self.ending.remove(&(until, sid));
        }
        if let Some(old) = old {
            self.by_connection.remove(&old);
            self.unwatch(old);
            ctx.event(old, Event::Chat(ChatEvent::Ended(TAKEN_OVER)));
        }
        self.by_connection.insert(connection, sid);
        let session = self.sessions.get_mut(sid).ok_or(ErrorCode::NotResumed)?;
        let received = received.min(session.given);
        // What was told may not have been heard.
        let told: Vec<_> = std::mem::take(&mut session.told).into_iter().collect();
        session.settled.splice(0..0, told);
        self.on_received(ctx, sid, received);
        self.tell_rooms(ctx);
        if let Some(session) = self.sessions.get_mut(sid) {
            session.fresh = session.unread.len();
            for room in session.rooms.clone() {
                self.tell_room(ctx, connection, room);
            }
        }
        self.mark(sid);
        Ok(())
    }

    /// A connection is gone: its session waits for it, if it can be gone on with, or ends.
    pub(super) fn on_connection_lost(&mut self, ctx: &mut Ctx, connection: SessionId) {
        self.unwatch(connection);
        let Some(sid) = self.by_connection.remove(&connection) else { return };
        let Some(session) = self.sessions.get_mut(sid) else { return };
        if session.resume.is_none() {
            return self.end(ctx, sid);
        }
        let until = ctx.now.time + ctx.limits.resume_ms;
        (session.connection, session.until) = (None, Some(until));
        session.signals.clear();
        self.ending.insert((until, sid));
    }

    /// Ends the sessions whose clients have not come back in time.
    pub(super) fn end_overdue(&mut self, ctx: &mut Ctx) {
        while let Some((until, sid)) = self.ending.first().copied()
            && until <= ctx.now.time
        {
            self.ending.remove(&(until, sid));
            self.end(ctx, sid);
        }
    }

    /// Ends the sessions for which too much waits.
    pub(super) fn end_overflowing(&mut self, ctx: &mut Ctx) {
        for sid in std::mem::take(&mut self.overflowing) {
            let connection = self.sessions.get(sid).and_then(|session| session.connection);
            self.end(ctx, sid);
            if let Some(connection) = connection {
                ctx.event(connection, Event::Chat(ChatEvent::Ended(NOT_READING)));
            }
        }
    }

    /// Ends a session: its user is not here any more because of it, and what it has not taken in
    /// is answered.
    pub(super) fn end(&mut self, ctx: &mut Ctx, sid: Sid) {
        let Some(session) = self.sessions.remove(sid) else { return };
        if let Some(connection) = session.connection {
            self.by_connection.remove(&connection);
        }
        if let Some(until) = session.until {
            self.ending.remove(&(until, sid));
        }
        if let Some(token) = session.resume {
            self.by_token.remove(&token);
        }
        for unread in &session.unread {
            self.on_unread(ctx.now.time, &unread.message, unread.arrival);
        }
        for room in &session.rooms {
            self.leave_as(sid, &session.user, room);
        }
        if session.visible {
            let local = self.by_user.entry(session.user.clone());
            local.retain(|other| *other != sid);
            if local.is_empty() {
                self.by_user.remove(&session.user);
            }
            self.own_user_changed(&session.user);
        }
    }
}
