//! Chat: presence and messages between people on any node.
//!
//! Promise: who has a session on any node that can be reached is seen online by all, within
//! `dead_ms` of a node's end nobody of it is; a message reaches every session of its target once,
//! in the order in which its sender's session sent to that target, and its sender learns that it
//! was taken in, or was not. Nothing is stored: a message lives at its sender's node until all
//! nodes that it went to have answered. Messages: presence deltas (spread), lists, posts and answers
//! (over reliable channels), digests (between neighbors); see `wire.rs`. Keys: none. Repair: who
//! misses a delta asks the node that made it; messages at a node that is lost, or that has nobody
//! for them any more, are tried again where their user is, or answered. Limits: `NAME_BYTES_MAX`,
//! `CHAT_BODY_BYTES_MAX`, `UNSETTLED_*`, `UNREAD_*`, `ROOMS_MAX`, `CONVERSATIONS_MAX`, and others
//! named there.

pub mod connect;
#[cfg(test)]
mod decodes;
mod directory;
#[cfg(test)]
mod golden;
mod hold;
mod nodes;
mod own;
mod presence;
mod receive;
mod repeats;
mod rooms;
mod send;
mod session;
mod slab;
#[cfg(test)]
mod tests;
mod watch;
mod wire;
pub mod words;

use crate::ctx::Ctx;
use crate::error::ErrorCode;
use crate::id::{Name, NodeId, ResumeToken, SessionId};
use crate::limits::{NAMES_MAX, STATUS_BYTES_MAX};
use crate::request::{Caller, Event, MeshStatus, Reply};
use crate::service::{Handled, NeighborChange, Service};
use crate::table::Table;
use crate::time::Time;
use bytes::Bytes;
use directory::{Directory, NodeIndex};
use nodes::Nodes;
use own::{Asked, LIST_KEPT_MS, List};
use receive::Arrival;
use repeats::Repeats;
use rooms::Room;
use session::{Session, Sid};
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use watch::Watchers;
use wire::{Item, Place, Posts, Run, Runs, Said};
use words::{ChatEvent, ChatRequest, UsersWatch};

/// The shortest time between two tellings of who came and went, in milliseconds: what happens
/// meanwhile is told together.
const TELL_PAUSE_MS: u64 = 50;

/// How a user was before what is to be told.
#[derive(Debug)]
struct Touched {
    online: bool,
    status: Option<Bytes>,
}

/// The state of chat at this node.
pub(crate) struct Chat {
    own: NodeId,
    repeat_ms: u64,
    // Sessions of this node.
    sessions: Slab<Session>,
    by_connection: BTreeMap<SessionId, Sid>,
    by_token: Table<ResumeToken, Sid>,
    by_user: Table<Name, Vec<Sid>>,
    ending: BTreeSet<(Time, Sid)>,
    // Presence: of this node (index 0) and of others.
    nodes: Nodes,
    neighbors: BTreeSet<NodeId>,
    directory: Directory,
    own_status: BTreeMap<Name, Bytes>,
    statuses: BTreeMap<Name, BTreeMap<NodeIndex, Bytes>>,
    rooms: BTreeMap<Name, Room>,
    own_place: Place,
    own_changes: BTreeMap<(Name, Option<Name>), Item>,
    log: VecDeque<Bytes>,
    log_bytes: usize,
    /// When, and in which turn.
    last_seen: BTreeMap<Name, (u64, u64)>,
    last_seen_order: BTreeMap<u64, Name>,
    /// Nodes that asked for presence in this step.
    asked: BTreeMap<NodeId, Asked>,
    list: Option<List>,
    compare_at: Option<Time>,
    /// Grows with every change of presence: ways that were found before may be others now.
    version: u64,
    // Who is told.
    watchers: Watchers,
    /// Those who began to watch in this step, and what.
    new_watches: BTreeMap<SessionId, UsersWatch>,
    /// Sessions that entered a room in this step.
    entered: BTreeSet<(Sid, Name)>,
    touched: BTreeMap<Name, Touched>,
    touched_rooms: BTreeMap<Name, BTreeMap<Name, bool>>,
    told_at: Time,
    // Messages.
    repeats: Repeats,
    arrivals: Slab<Arrival>,
    /// Where the last message that was sent again was found unread: the session, and its number
    /// there.
    last_repeat: (Sid, u64),
    own_answers: Vec<Run>,
    holding: BTreeMap<Name, BTreeSet<Sid>>,
    hold_at: BTreeSet<(Time, Name)>,
    retry: BTreeSet<Name>,
    resend_at: Option<Time>,
    given: u64,
    repeated: u64,
    // What the end of the step has to look at.
    dirty: Vec<Sid>,
    settling: Vec<Sid>,
    overflowing: Vec<Sid>,
    posting: BTreeSet<NodeIndex>,
    answering: BTreeSet<NodeIndex>,
}

impl Chat {
    /// Nobody is here yet. `boot` is this node's run.
    pub(crate) fn new(ctx: &mut Ctx, own: NodeId, boot: u64) -> Chat {
        let seed = ctx.rng.next_u64();
        Chat {
            own,
            repeat_ms: ctx.limits.repeat_ms,
            sessions: Slab::new(seed),
            by_connection: BTreeMap::new(),
            by_token: Table::new(seed),
            by_user: Table::new(seed),
            ending: BTreeSet::new(),
            nodes: Nodes::default(),
            neighbors: BTreeSet::new(),
            directory: Directory::default(),
            own_status: BTreeMap::new(),
            statuses: BTreeMap::new(),
            rooms: BTreeMap::new(),
            own_place: Place { boot, sequence: 0 },
            own_changes: BTreeMap::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            last_seen: BTreeMap::new(),
            last_seen_order: BTreeMap::new(),
            asked: BTreeMap::new(),
            list: None,
            compare_at: None,
            version: 1,
            watchers: Watchers::default(),
            new_watches: BTreeMap::new(),
            entered: BTreeSet::new(),
            touched: BTreeMap::new(),
            touched_rooms: BTreeMap::new(),
            told_at: Time(0),
            repeats: Repeats::new(seed),
            arrivals: Slab::new(seed),
            last_repeat: (0, 0),
            own_answers: Vec::new(),
            holding: BTreeMap::new(),
            hold_at: BTreeSet::new(),
            retry: BTreeSet::new(),
            resend_at: None,
            given: 0,
            repeated: 0,
            dirty: Vec::new(),
            settling: Vec::new(),
            overflowing: Vec::new(),
            posting: BTreeSet::new(),
            answering: BTreeSet::new(),
        }
    }

    /// Sessions and users, for the state of the mesh.
    pub(crate) fn fill_status(&self, status: &mut MeshStatus) {
        status.sessions = self.sessions.len() as u64;
        for node in &mut status.nodes {
            let index = if node.node == self.own { Some(0) } else { self.nodes.index(node.node) };
            node.users = index.map_or(0, |index| self.directory.users(index));
        }
    }

    /// Sees to it that a session is told something at the end of the step.
    fn mark(&mut self, sid: Sid) {
        if let Some(session) = self.sessions.get_mut(sid)
            && !std::mem::replace(&mut session.dirty, true)
        {
            self.dirty.push(sid);
        }
    }

    /// The session that a connection speaks for.
    fn sid(&self, connection: SessionId) -> Result<Sid, ErrorCode> {
        self.by_connection.get(&connection).copied().ok_or(ErrorCode::NotConnected)
    }

    fn set_status(&mut self, sid: Sid, status: Option<Bytes>) -> Result<(), ErrorCode> {
        let text = status.as_deref().map_or(Ok(""), std::str::from_utf8);
        let sound =
            |text: &str| text.len() <= STATUS_BYTES_MAX && !text.chars().any(char::is_control);
        if !text.is_ok_and(sound) {
            return Err(ErrorCode::StatusText);
        }
        let Some(session) = self.sessions.get(sid) else { return Err(ErrorCode::NotConnected) };
        let user = session.user.clone();
        match status.filter(|status| !status.is_empty()) {
            Some(status) => drop(self.own_status.insert(user.clone(), status)),
            None => drop(self.own_status.remove(&user)),
        }
        self.own_user_changed(&user);
        Ok(())
    }

    /// Tells sessions what this step has for them.
    fn tell_sessions(&mut self, ctx: &mut Ctx) {
        for sid in std::mem::take(&mut self.dirty) {
            let Some(session) = self.sessions.get_mut(sid) else { continue };
            session.dirty = false;
            // Without a connection all waits: messages as unread, ends as settled.
            let Some(connection) = session.connection else { continue };
            if session.fresh > 0 {
                let fresh = session.unread.len() - std::mem::take(&mut session.fresh);
                let first = session.first_unread() + fresh as u64;
                let messages = session.unread.range(fresh..).map(|unread| unread.message.clone());
                let event = ChatEvent::Messages { first, messages: messages.collect() };
                ctx.event(connection, Event::Chat(event));
            }
            if !session.signals.is_empty() {
                let signals = std::mem::take(&mut session.signals);
                ctx.event(connection, Event::Chat(ChatEvent::Signals(signals)));
            }
            if !session.settled.is_empty() {
                let settled = session.take_settled();
                ctx.event(connection, Event::Chat(ChatEvent::Settled(settled)));
            }
        }
    }

    fn may_tell(&self) -> bool {
        !(self.touched.is_empty() && self.touched_rooms.is_empty())
    }
}

impl Service for Chat {
    type Request = ChatRequest;

    fn on_request(&mut self, ctx: &mut Ctx, caller: Caller, request: ChatRequest) {
        let session = caller.session;
        let result = match request {
            ChatRequest::Connect(connect) => {
                self.connect(ctx, session, connect);
                Ok(())
            }
            ChatRequest::Resume { token, received } => self.resume(ctx, session, token, received),
            ChatRequest::Disconnect => self.sid(session).map(|sid| self.end(ctx, sid)),
            ChatRequest::Send(posts) => self.sid(session).map(|sid| self.take(ctx, sid, posts)),
            ChatRequest::Received(upto) => {
                self.sid(session).map(|sid| self.on_received(ctx, sid, upto))
            }
            ChatRequest::Join(room) => self.sid(session).and_then(|sid| self.join(sid, room)),
            ChatRequest::Leave(room) => self.sid(session).map(|sid| self.leave(sid, &room)),
            ChatRequest::Status(status) => {
                self.sid(session).and_then(|sid| self.set_status(sid, status))
            }
            ChatRequest::WatchUsers(watch) => self.watch_users(session, watch),
            ChatRequest::Users { limit, .. } if limit > NAMES_MAX => Err(ErrorCode::NamesMax),
            ChatRequest::Users { prefix, after, limit } => {
                let (users, more) = self.users(&prefix, &after, limit);
                return ctx.reply(session, caller.request, Reply::Users(users, more));
            }
            ChatRequest::Members(room) => {
                let members = self.members(&room);
                return ctx.reply(session, caller.request, Reply::Users(members, false));
            }
        };
        let reply = result.map_or_else(|code| Reply::Failed(code, 0), |()| Reply::Done);
        ctx.reply(session, caller.request, reply);
    }

    fn on_session_closed(&mut self, ctx: &mut Ctx, session: SessionId) {
        self.on_connection_lost(ctx, session);
    }

    fn on_spread(&mut self, ctx: &mut Ctx, origin: NodeId, body: Bytes) -> Handled {
        ctx.weight = 0;
        match Said::decode(body)? {
            Said::Delta(place, items) => self.on_delta(ctx, origin, place, items),
            _ => Err(crate::wire::codec::Malformed),
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx, from: NodeId, body: Bytes) -> Handled {
        match Said::decode(body)? {
            Said::Delta(place, items) => self.on_delta(ctx, from, place, items)?,
            Said::Ask { place, list, pages } => {
                self.asked.insert(from, Asked { place, list, pages });
            }
            Said::List { place, page, last, items } => {
                self.on_list(ctx, from, place, (page, last), items)?;
            }
            Said::Posts(posts) => {
                let Some(index) = self.nodes.index(from) else { return Ok(()) };
                let now = ctx.now.time;
                Posts::decode_all(posts, |sender, message| {
                    self.arrive(now, index, sender, &std::sync::Arc::new(message));
                })?;
            }
            Said::Settled(runs) => {
                let Some(index) = self.nodes.index(from) else { return Ok(()) };
                Runs::decode_all(runs, |run| self.on_settled(ctx, index, run))?;
            }
            Said::Digest(digest) => self.on_digest(ctx, from, digest),
            Said::Vector(places) => self.on_vector(ctx, places),
        }
        Ok(())
    }

    fn on_neighbor(&mut self, ctx: &mut Ctx, node: NodeId, change: NeighborChange) {
        match change {
            NeighborChange::Up => {
                self.neighbors.insert(node);
                let soon = ctx.now.time + ctx.rng.jitter(ctx.limits.presence_ms);
                self.compare_at.get_or_insert(soon);
            }
            NeighborChange::Down => {
                self.neighbors.remove(&node);
            }
            // Something was lost on the way: whoever has it says so.
            NeighborChange::Gap => {
                self.compare_at.get_or_insert(ctx.now.time);
            }
            NeighborChange::Full | NeighborChange::Drained => {}
        }
        if self.neighbors.is_empty() {
            self.compare_at = None;
        }
    }

    fn on_reach(&mut self, ctx: &mut Ctx, node: NodeId, boot: Option<u64>) {
        self.on_node_reach(ctx, node, boot);
    }

    fn on_tick(&mut self, ctx: &mut Ctx) {
        self.end_overdue(ctx);
        self.send_again(ctx.now.time);
        self.ask_and_compare(ctx);
    }

    fn on_step_end(&mut self, ctx: &mut Ctx) {
        self.end_overflowing(ctx);
        self.try_held(ctx);
        loop {
            self.settle(ctx);
            if self.retry.is_empty() && self.own_answers.is_empty() {
                break;
            }
            self.try_held(ctx);
        }
        self.spread_changes(ctx);
        self.answer_asks(ctx);
        self.send_posts(ctx);
        self.send_answers(ctx);
        self.tell_entered(ctx);
        self.tell_sessions(ctx);
        self.begin_watches(ctx);
        if self.may_tell() && ctx.now.time >= self.told_at + TELL_PAUSE_MS {
            self.told_at = ctx.now.time;
            self.tell_users(ctx);
            self.tell_rooms(ctx);
        }
        ctx.stats.messages_given += std::mem::take(&mut self.given);
        ctx.stats.messages_repeated += std::mem::take(&mut self.repeated);
    }

    fn next_tick(&self) -> Option<Time> {
        let asks = self.nodes.iter().filter(|(_, node)| node.reachable);
        [
            asks.filter_map(|(_, node)| node.ask_at).min(),
            self.ending.first().map(|(at, _)| *at),
            self.hold_at.first().map(|(at, _)| *at),
            self.compare_at,
            self.resend_at,
            self.may_tell().then(|| self.told_at + TELL_PAUSE_MS),
            self.list.as_ref().map(|list| list.used + LIST_KEPT_MS),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
