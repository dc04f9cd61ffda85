//! Rooms: named groups of sessions, on any nodes. A room is there while somebody is in it.

use super::Chat;
use super::directory::NodeIndex;
use super::session::Sid;
use super::words::{ChatEvent, Presence};
use crate::ctx::Ctx;
use crate::error::ErrorCode;
use crate::id::Name;
use crate::limits::ROOMS_MAX;
use crate::request::Event;
use std::collections::BTreeMap;

/// One room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The sessions of this node that are in it.
    pub(super) local: Vec<Sid>,
    /// Per user and node the number of sessions in it.
    pub(super) members: BTreeMap<Name, BTreeMap<NodeIndex, u32>>,
    /// Per node the number of users in it.
    pub(super) nodes: BTreeMap<NodeIndex, u32>,
}

impl Chat {
    /// A session enters a room, and is told at the end of the step who is there.
    pub(super) fn join(&mut self, sid: Sid, name: Name) -> Result<(), ErrorCode> {
        let session = self.sessions.get_mut(sid).ok_or(ErrorCode::NotConnected)?;
        if session.rooms.contains(&name) {
            return Ok(());
        }
        if session.rooms.len() >= ROOMS_MAX {
            return Err(ErrorCode::RoomsMax);
        }
        session.rooms.insert(name.clone());
        let user = session.user.clone();
        self.rooms.entry(name.clone()).or_default().local.push(sid);
        self.recount_member(&name, &user);
        self.entered.insert((sid, name));
        Ok(())
    }

    /// Tells those who is there who entered rooms in this step: once, however often they did.
    pub(super) fn tell_entered(&mut self, ctx: &mut Ctx) {
        if self.entered.is_empty() {
            return;
        }
        // What has changed is told from what was told before, which these did not hear.
        self.tell_rooms(ctx);
        for (sid, name) in std::mem::take(&mut self.entered) {
            let session = self.sessions.get(sid).filter(|session| session.rooms.contains(&name));
            if let Some(connection) = session.and_then(|session| session.connection) {
                self.tell_room(ctx, connection, name);
            }
        }
    }

    /// Tells a session who is in a room.
    pub(super) fn tell_room(&self, ctx: &mut Ctx, to: crate::id::SessionId, room: Name) {
        let joined = self.members(&room).into_iter().map(|member| member.user).collect();
        let event = ChatEvent::Room { room, all: true, joined, left: Vec::new() };
        ctx.event(to, Event::Chat(event));
    }

    /// A session leaves a room.
    pub(super) fn leave(&mut self, sid: Sid, name: &Name) {
        let Some(session) = self.sessions.get_mut(sid) else { return };
        if session.rooms.remove(name) {
            let user = session.user.clone();
            self.leave_as(sid, &user, name);
        }
    }

    /// A session that is in a room, and perhaps is gone already, leaves it.
    pub(super) fn leave_as(&mut self, sid: Sid, user: &Name, name: &Name) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.local.retain(|local| *local != sid);
        }
        self.recount_member(name, user);
    }

    fn recount_member(&mut self, name: &Name, user: &Name) {
        let local = self.rooms.get(name).map_or(&[][..], |room| &room.local);
        let of_user = |sid: &&Sid| self.sessions.get(**sid).is_some_and(|s| s.user == *user);
        let sessions = u32::try_from(local.iter().filter(of_user).count()).unwrap_or(u32::MAX);
        self.own_member_changed(name, user, sessions);
    }

    /// Sets how many sessions of a user are in a room at a node.
    pub(super) fn set_member(&mut self, index: NodeIndex, room: &Name, user: &Name, sessions: u32) {
        let state = self.rooms.entry(room.clone()).or_default();
        let before = match sessions {
            0 => {
                let at = state.members.get_mut(user);
                let before = at.and_then(|at| at.remove(&index));
                if state.members.get(user).is_some_and(BTreeMap::is_empty) {
                    state.members.remove(user);
                }
                before
            }
            _ => state.members.entry(user.clone()).or_default().insert(index, sessions),
        };
        match (before, sessions) {
            (None, 1..) => *state.nodes.entry(index).or_default() += 1,
            (Some(_), 0) => {
                let users = state.nodes.entry(index).or_default();
                *users -= 1;
                if *users == 0 {
                    state.nodes.remove(&index);
                }
            }
            _ => {}
        }
        if state.local.is_empty() && state.members.is_empty() {
            self.rooms.remove(room);
        }
    }

    fn is_member(&self, room: &Name, user: &Name) -> bool {
        let at = self.rooms.get(room).and_then(|room| room.members.get(user));
        at.is_some_and(|at| at.keys().any(|index| self.nodes.is_reachable(*index)))
    }

    /// Who is in a room, on all nodes that can be reached.
    pub(super) fn members(&self, room: &Name) -> Vec<Presence> {
        let Some(state) = self.rooms.get(room) else { return Vec::new() };
        let there = |user: &&Name| self.is_member(room, user);
        state.members.keys().filter(there).map(|user| self.presence(user.clone())).collect()
    }

    /// Remembers whether a user was in a room before the first change since the last telling.
    pub(super) fn touch_member(&mut self, room: &Name, user: &Name) {
        let was = self.is_member(room, user);
        self.touched_rooms.entry(room.clone()).or_default().entry(user.clone()).or_insert(was);
    }

    /// Tells the sessions in rooms who came and went.
    pub(super) fn tell_rooms(&mut self, ctx: &mut Ctx) {
        for (name, touched) in std::mem::take(&mut self.touched_rooms) {
            let Some(room) = self.rooms.get(&name) else { continue };
            let (mut joined, mut left) = (Vec::new(), Vec::new());
            for (user, was) in touched {
                match (was, self.is_member(&name, &user)) {
                    (false, true) => joined.push(user),
                    (true, false) => left.push(user),
                    _ => {}
                }
            }
            if joined.is_empty() && left.is_empty() {
                continue;
            }
            let told_all = |sid: &&Sid| {
                !self.entered.is_empty() && self.entered.contains(&(**sid, name.clone()))
            };
            for sid in room.local.iter().filter(|sid| !told_all(sid)) {
                let Some(connection) = self.sessions.get(*sid).and_then(|s| s.connection) else {
                    continue;
                };
                let (joined, left) = (joined.clone(), left.clone());
                let event = ChatEvent::Room { room: name.clone(), all: false, joined, left };
                ctx.event(connection, Event::Chat(event));
            }
        }
    }
}
