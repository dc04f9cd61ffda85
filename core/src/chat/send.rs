//! From the sender's side: where a message goes, and what became of it.
//!
//! A message stays in the window of its session until all nodes that it went to have answered.
//! If nobody there took it in, it is held (`hold.rs`). Order within a conversation: messages take
//! other ways than the earlier ones only when those are settled, and are held until then.

use super::Chat;
use super::directory::NodeIndex;
use super::session::{Fate, Flow, Sid, Waits, narrowed};
use super::wire::{Run, Said, TOO_LATE};
use super::words::{Kind, Message, Outcome, Post, Target};
use crate::ctx::{Ctx, Dest};
use crate::error::ErrorCode;
use crate::id::Name;
use crate::limits::{CHAT_BODY_BYTES_MAX, MESSAGE_COST_BYTES};
use crate::time::Time;
use crate::wire::envelope::Tag;
use std::sync::Arc;

/// How long after a node had nobody for a message it is tried again, in milliseconds.
const AGAIN_MS: u64 = 100;
/// How long an answer is waited for before a message is sent again, in milliseconds.
const RESEND_MS: u64 = 10_000;

impl Chat {
    /// A session hands in messages. The flow of a target is taken out once for a run of them.
    pub(super) fn take(&mut self, ctx: &mut Ctx, sid: Sid, posts: Vec<Post>) {
        ctx.stats.messages_taken += posts.len() as u64;
        let mut run: Option<(Target, Flow)> = None;
        for post in posts {
            match post.kind {
                Kind::Message => self.take_message(ctx, sid, &mut run, post),
                Kind::Signal => self.take_signal(ctx, sid, post),
            }
        }
        if let Some((to, flow)) = run {
            self.put_back(sid, &to, flow);
        }
    }

    fn take_message(
        &mut self,
        ctx: &mut Ctx,
        sid: Sid,
        run: &mut Option<(Target, Flow)>,
        post: Post,
    ) {
        let Some(session) = self.sessions.get_mut(sid) else { return };
        if post.number <= session.last_number {
            return; // a repeat: its end is told, or will be
        }
        session.last_number = post.number;
        let in_room = !matches!(&post.to, Target::Room(room) if !session.rooms.contains(room));
        let refused = match () {
            () if post.body.len() > CHAT_BODY_BYTES_MAX => Some(ErrorCode::MessageTooLarge),
            () if !session.has_room() => Some(ErrorCode::Unsettled),
            () if !in_room => Some(ErrorCode::NotInRoom),
            () => None,
        };
        if let Some(code) = refused {
            let refused = Fate::Done(Outcome::Refused(code));
            session.push(ctx.now.time, post.number, 0, refused, post.local);
            if session.is_deaf() {
                self.overflowing.push(sid);
            }
            self.settling.push(sid);
            return;
        }
        let message = Arc::new(Message {
            from: session.user.clone(),
            client: session.client,
            number: post.number,
            to: post.to,
            kind: Kind::Message,
            sent_ms: ctx.now.wall_ms,
            remote: false,
            body: post.body,
        });
        if run.as_ref().is_none_or(|(to, _)| *to != message.to) {
            let next = std::mem::take(session.flows.entry(message.to.clone()).or_default());
            if let Some((to, flow)) = run.replace((message.to.clone(), next)) {
                self.put_back(sid, &to, flow);
            }
        }
        let Some((_, flow)) = run else { return };
        let way_open = self.find_way(sid, &message.from, &message.to, flow);
        if way_open && flow.held.is_empty() {
            self.start(ctx.now.time, sid, flow, message, post.local);
        } else {
            self.hold(ctx, sid, flow, message, post.local);
        }
    }

    fn take_signal(&mut self, ctx: &mut Ctx, sid: Sid, post: Post) {
        let Some(session) = self.sessions.get(sid) else { return };
        let in_room = !matches!(&post.to, Target::Room(room) if !session.rooms.contains(room));
        if post.body.len() > CHAT_BODY_BYTES_MAX || !in_room {
            return;
        }
        let message = Arc::new(Message {
            from: session.user.clone(),
            client: session.client,
            number: post.number,
            to: post.to,
            kind: Kind::Signal,
            sent_ms: ctx.now.wall_ms,
            remote: false,
            body: post.body,
        });
        let mut flow = Flow::default();
        self.find_way(sid, &message.from, &message.to, &mut flow);
        for index in flow.to.into_iter().chain(flow.echo) {
            self.hand_over(ctx.now.time, index, sid, &message);
        }
    }

    /// Sees to it that a flow knows the nodes of its target. `false` if messages must not take the
    /// way now, for earlier ones are at nodes that it leaves out.
    pub(super) fn find_way(&self, sid: Sid, from: &Name, to: &Target, flow: &mut Flow) -> bool {
        if flow.version == self.version {
            return true;
        }
        let found = self.way(to);
        if matches!(to, Target::User(_)) && flow.under_way > 0 && flow.to != found {
            return false;
        }
        flow.echo = self.echo_way(sid, from, to, &found);
        flow.to = found;
        flow.version = self.version;
        true
    }

    /// The nodes with other sessions of the sender, but those that get the message anyway.
    pub(super) fn echo_way(
        &self,
        sid: Sid,
        from: &Name,
        to: &Target,
        found: &[NodeIndex],
    ) -> Vec<NodeIndex> {
        match to {
            Target::User(user) if user != from => {
                let mut own = self.nodes_of(from);
                let alone = self.by_user.get(from).is_none_or(|local| local[..] == [sid]);
                own.retain(|index| !(found.contains(index) || *index == 0 && alone));
                own
            }
            _ => Vec::new(),
        }
    }

    /// The nodes with sessions of a target.
    pub(super) fn way(&self, to: &Target) -> Vec<NodeIndex> {
        let mut nodes: Vec<NodeIndex> = match to {
            Target::User(user) => return self.nodes_of(user),
            Target::Room(room) => self
                .rooms
                .get(room)
                .into_iter()
                .flat_map(|room| room.nodes.keys())
                .copied()
                .collect(),
            Target::Everyone => {
                [0].into_iter().chain(self.nodes.iter().map(|(index, _)| index)).collect()
            }
        };
        nodes.retain(|index| self.nodes.is_reachable(*index));
        nodes
    }

    fn nodes_of(&self, user: &Name) -> Vec<NodeIndex> {
        let found = self.directory.find(user.as_bytes()).map(|(index, _)| index);
        let mut nodes: Vec<_> = found.filter(|index| self.nodes.is_reachable(*index)).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Sends a message on its way, and its echo.
    fn start(&mut self, now: Time, sid: Sid, flow: &mut Flow, message: Arc<Message>, local: bool) {
        let to = narrowed(&flow.to, local);
        let nobody = match &message.to {
            Target::User(user) if to.is_empty() && self.was_seen(user) => Outcome::Offline,
            Target::User(_) => Outcome::Unknown,
            _ => Outcome::Delivered(0),
        };
        let Some(session) = self.sessions.get_mut(sid) else { return };
        let bytes = message.body.len() + MESSAGE_COST_BYTES;
        if to.is_empty() {
            session.push(now, message.number, bytes, Fate::Done(nobody), local);
            self.settling.push(sid);
        } else {
            flow.under_way += 1;
            let nodes = Waits::new(&to);
            let fate = Fate::UnderWay { message: message.clone(), nodes, sessions: 0 };
            session.push(now, message.number, bytes, fate, local);
        }
        to.iter().for_each(|index| self.hand_over(now, *index, sid, &message));
        self.hand_over_echo(now, sid, &flow.echo, &message, local);
    }

    /// Puts a flow in its place, while something of it is under way or held.
    pub(super) fn put_back(&mut self, sid: Sid, to: &Target, flow: Flow) {
        let Some(session) = self.sessions.get_mut(sid) else { return };
        if flow.under_way == 0 && flow.held.is_empty() {
            session.flows.remove(to);
        } else if let Some(place) = session.flows.get_mut(to) {
            *place = flow;
        }
    }

    /// Hands a message to the nodes of the sender's other sessions.
    pub(super) fn hand_over_echo(
        &mut self,
        now: Time,
        sid: Sid,
        echo: &[NodeIndex],
        message: &Arc<Message>,
        local: bool,
    ) {
        for index in echo.iter().filter(|index| !local || **index == 0) {
            self.hand_over(now, *index, sid, message);
        }
    }

    /// Hands a message to a node, this one or another.
    pub(super) fn hand_over(
        &mut self,
        now: Time,
        index: NodeIndex,
        sid: Sid,
        message: &Arc<Message>,
    ) {
        if index == 0 {
            return self.arrive(now, 0, sid, message);
        }
        let Some(node) = self.nodes.get_mut(index) else { return };
        if node.posts.is_empty() {
            self.posting.insert(index);
        }
        node.posts.push(sid, message);
        self.resend_at.get_or_insert(now + RESEND_MS);
    }

    /// Sends again what other nodes should have answered: it, or the answer, was lost where one
    /// end could not reach the other for a while. Repeats are known there.
    pub(super) fn send_again(&mut self, now: Time) {
        if self.resend_at.is_none_or(|at| at > now) {
            return;
        }
        self.resend_at = None;
        for sid in self.sessions.keys().collect::<Vec<Sid>>() {
            let mut again = Vec::new();
            let Some(session) = self.sessions.get_mut(sid) else { continue };
            for sent in &mut session.window {
                let Fate::UnderWay { message, nodes, .. } = &sent.fate else { continue };
                let nodes = nodes.nodes();
                if nodes == [0] {
                    continue; // nothing is lost within a node
                }
                self.resend_at.get_or_insert(now + RESEND_MS);
                if now - sent.at >= RESEND_MS && message.kind == Kind::Message {
                    sent.at = now;
                    again.push((nodes, message.clone()));
                }
            }
            for (nodes, message) in again {
                for index in nodes.into_iter().filter(|index| *index != 0) {
                    self.hand_over(now, index, sid, &message);
                }
            }
        }
    }

    /// Sends what is gathered for other nodes.
    pub(super) fn send_posts(&mut self, ctx: &mut Ctx) {
        for index in std::mem::take(&mut self.posting) {
            let Some(node) = self.nodes.get_mut(index) else { continue };
            for posts in node.posts.take() {
                ctx.send(Tag::CHAT, Dest::Node(node.id), Said::Posts(posts).encode());
            }
        }
    }

    /// A node says what became of messages of a session of this node.
    pub(super) fn on_settled(&mut self, ctx: &Ctx, index: NodeIndex, run: Run) {
        let Run { sender: sid, from, count, sessions } = run;
        let Some(session) = self.sessions.get_mut(sid) else { return };
        let first = session.window.partition_point(|sent| sent.number < from);
        let mut failed = Vec::new();
        for sent in session.window.range_mut(first..) {
            if sent.number - from >= count {
                break;
            }
            let Fate::UnderWay { message, nodes, sessions: so_far } = &mut sent.fate else {
                continue;
            };
            let Some(last) = nodes.strike(index) else { continue };
            match sessions {
                TOO_LATE => sent.late = true,
                _ => *so_far = so_far.saturating_add(sessions),
            }
            if !last {
                continue;
            }
            let Some(flow) = session.flows.get_mut(&message.to) else { continue };
            flow.under_way -= 1;
            if *so_far == 0 && !sent.late && matches!(message.to, Target::User(_)) {
                let until = sent.until.unwrap_or(ctx.now.time + ctx.limits.hold_ms);
                let message = message.clone();
                // In order: what failed first is tried first, before what was held since.
                let at = flow.held.partition_point(|held| *held < sent.number);
                flow.held.insert(at, sent.number);
                failed.push((message.to.clone(), until));
                sent.fate = Fate::Held { message, until };
                continue;
            }
            let to = message.to.clone();
            let outcome = match (&to, *so_far) {
                (Target::User(_), 0) => Outcome::Offline,
                (_, sessions) => Outcome::Delivered(sessions),
            };
            if *so_far > 0 {
                flow.delivered = flow.delivered.max(sent.number);
            }
            sent.fate = Fate::Done(outcome);
            if flow.under_way == 0 {
                match to {
                    _ if flow.held.is_empty() => drop(session.flows.remove(&to)),
                    Target::User(user) => drop(self.retry.insert(user)),
                    _ => {}
                }
            }
        }
        self.settling.push(sid);
        for (to, until) in failed {
            let Target::User(user) = to else { continue };
            self.holding.entry(user.clone()).or_default().insert(sid);
            // If the user is somewhere all the same, what was heard of it is old: soon again.
            self.hold_at.insert((until.min(ctx.now.time + AGAIN_MS), user.clone()));
            self.hold_at.insert((until, user));
        }
    }

    /// A node cannot be reached any more, or has begun a new run: it will not say what became of
    /// what it has, and nobody there waits for what is gathered for it.
    pub(super) fn on_node_lost(&mut self, ctx: &mut Ctx, index: NodeIndex) {
        if let Some(node) = self.nodes.get_mut(index) {
            (node.posts, node.runs) = Default::default();
        }
        self.posting.remove(&index);
        self.answering.remove(&index);
        let senders: Vec<Sid> = self.sessions.keys().collect();
        for sender in senders {
            self.on_settled(ctx, index, Run { sender, from: 0, count: u64::MAX, sessions: 0 });
        }
    }

    /// Ends the step for senders: what is settled is told in order.
    pub(super) fn settle(&mut self, ctx: &Ctx) {
        for run in std::mem::take(&mut self.own_answers) {
            self.on_settled(ctx, 0, run);
        }
        for sid in std::mem::take(&mut self.settling) {
            if let Some(session) = self.sessions.get_mut(sid) {
                session.settle();
                if !session.settled.is_empty() {
                    self.mark(sid);
                }
            }
        }
    }
}
