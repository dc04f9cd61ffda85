//! The three ways to say something: to a neighbor, to one node, to all.
//!
//! Promise: what is said to one node takes the next hop of the shortest way; what is said to all is
//! passed on along the tree of its origin, and kept for who misses it. What finds its link full is
//! left out, and made up for later. Limits: `HOPS_MAX`, `UNICASTS_OVER_FULL_BYTES_MAX`.

use super::Mesh;
use super::channel::ToSend;
use super::spread::encode_marks;
use crate::ctx::{Ctx, Dest, Marks, Outgoing, Speaks};
use crate::error::ErrorCode;
use crate::id::{LinkId, NodeId};
use crate::limits::HOPS_MAX;
use crate::service::NeighborChange;
use crate::time::Time;
use crate::wire::envelope::{Spread, Tag, Unicast};
use crate::wire::frame::Kind;
use bytes::{Bytes, BytesMut};

impl Mesh {
    /// Sends what a service wants sent.
    pub(crate) fn send(&mut self, ctx: &mut Ctx, outgoing: Outgoing) {
        let Outgoing { tag, dest, speaks, weight, body } = outgoing;
        match dest {
            Dest::Neighbor(node) => {
                self.push_to_neighbor(node, speaks, Kind::Neighbor, &[&[tag.0], &body]);
            }
            Dest::NeighborMarked(node) => {
                let mut marks = BytesMut::new();
                encode_marks(&self.spread.marks(), &mut marks);
                let parts: [&[u8]; 3] = [&[tag.0], &marks, &body];
                self.push_to_neighbor(node, speaks, Kind::NeighborMarked, &parts);
            }
            Dest::Node(node) => {
                if self.send_reliably(ctx, node, tag, body).is_err() {
                    ctx.stats.undeliverable += 1;
                }
            }
            Dest::All => {
                let sequence = self.spread.next_sequence(self.own, self.boot);
                let envelope = Spread { origin: self.own, boot: self.boot, sequence, tag, body };
                self.relay(ctx, envelope, None, speaks, weight);
            }
        }
    }

    /// Packs a message for a link.
    pub(super) fn push(&mut self, id: LinkId, speaks: Speaks, kind: Kind, parts: &[&[u8]]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match speaks {
            Speaks::AtOnce => link.at_once.push(kind, parts),
            Speaks::AfterWrite => link.after_write.push(kind, parts),
        }
    }

    pub(super) fn push_to_neighbor(
        &mut self,
        node: NodeId,
        speaks: Speaks,
        kind: Kind,
        parts: &[&[u8]],
    ) {
        if let Some(id) = self.neighbors.get(&node).copied() {
            self.push(id, speaks, kind, parts);
        }
    }

    /// Passes an envelope on along the tree of its origin, and keeps it for who misses it.
    pub(crate) fn relay(
        &mut self,
        ctx: &mut Ctx,
        envelope: Spread,
        from: Option<NodeId>,
        speaks: Speaks,
        weight: u64,
    ) {
        let body = envelope.encode();
        for node in self.eager(envelope.origin) {
            if Some(node) != from {
                ctx.stats.pushed += weight;
                self.push_to_neighbor(node, speaks, Kind::Spread, &[&body]);
            }
        }
        let key = (envelope.origin, envelope.boot, envelope.sequence);
        self.spread.keep(ctx.now.time, key, (body, weight), ctx.limits.announce_ms);
    }

    /// The neighbors to pass the messages of `origin` on to: its tree's children, and those who
    /// have not said yet where they stand.
    fn eager(&mut self, origin: NodeId) -> Vec<NodeId> {
        let children = self.routes.children(origin);
        let unknown = |node: &NodeId| {
            let record = self.members.record(*node);
            record.is_none_or(|record| record.links.binary_search(&self.own).is_err())
        };
        let takes = |(node, id): (&NodeId, &LinkId)| {
            let is_eager = children.contains(node) || unknown(node);
            (is_eager && *node != origin && !self.links[id].behind).then_some(*node)
        };
        self.neighbors.iter().filter_map(takes).collect()
    }

    /// Tells each neighbor what was spread that it may not have got.
    pub(super) fn announce(&mut self, now: Time) {
        let Some(marks) = self.spread.take_announcements(now) else { return };
        let neighbors: Vec<NodeId> = self.neighbors.keys().copied().collect();
        for node in neighbors {
            // Those that got the envelopes from here, or sent them, need no announcement.
            let mut news = Marks::new();
            for mark in &marks {
                if mark.0 != node && !self.routes.children(mark.0).contains(&node) {
                    news.push(*mark);
                }
            }
            let behind = self.links[&self.neighbors[&node]].behind;
            if !news.is_empty() && !behind {
                let mut out = BytesMut::new();
                encode_marks(&news, &mut out);
                self.push_to_neighbor(node, Speaks::AtOnce, Kind::Announce, &[&out]);
            }
        }
    }

    /// Asks for what was announced and has not come, or lets the services catch up.
    pub(super) fn ask_for_missing(&mut self, ctx: &mut Ctx) {
        for (node, range) in self.spread.take_grafts(ctx.now.time, ctx.limits.graft_ms) {
            match range {
                Some(range) => {
                    ctx.stats.grafts += 1;
                    self.push_to_neighbor(node, Speaks::AtOnce, Kind::Graft, &[&range.encode()]);
                }
                None => self.tell_neighbor(node, NeighborChange::Gap),
            }
        }
    }

    /// Sends a message over the reliable channel to a node that can be reached.
    pub(super) fn send_reliably(
        &mut self,
        ctx: &mut Ctx,
        to: NodeId,
        tag: Tag,
        body: Bytes,
    ) -> Result<(), ErrorCode> {
        let reachable = self.routes.way(to).is_some();
        let boot = self.members.boot(to).filter(|_| reachable).ok_or(ErrorCode::Unreachable)?;
        let mut to_send = ToSend::new();
        self.channels.send(ctx.now.time, (to, boot), tag, body, &mut to_send)?;
        self.send_unicasts(ctx, to_send);
        Ok(())
    }

    /// Sends again what the other ends of channels have not acknowledged.
    pub(super) fn send_again(&mut self, ctx: &mut Ctx) {
        let mut to_send = ToSend::new();
        let (routes, neighbors, links) = (&self.routes, &self.neighbors, &self.links);
        let is_full = |node| {
            let hop = routes.way(node).and_then(|(_, hop)| neighbors.get(&hop));
            hop.and_then(|id| links.get(id)).is_some_and(|link| link.behind)
        };
        self.channels.on_tick(ctx.now.time, is_full, &mut to_send);
        self.send_unicasts(ctx, to_send);
    }

    /// Sends unicast bodies that the channels made.
    pub(super) fn send_unicasts(&mut self, ctx: &mut Ctx, to_send: ToSend) {
        for (to, body, rest) in to_send {
            let unicast = Unicast { hops_left: HOPS_MAX, to, from: self.own, body };
            self.forward(ctx, &unicast, &rest);
        }
    }

    /// Passes a unicast on, whose body ends with `rest`.
    pub(super) fn forward(&mut self, ctx: &mut Ctx, unicast: &Unicast, rest: &[u8]) {
        let hop = self.routes.way(unicast.to).filter(|_| unicast.hops_left > 0);
        let link = hop.and_then(|(_, hop)| self.neighbors.get(&hop));
        let link = link.and_then(|id| self.links.get_mut(id));
        let parts: [&[u8]; 3] = [&unicast.head(), &unicast.body, rest];
        let bytes = parts.iter().map(|part| part.len()).sum();
        if let Some(link) = link
            && link.takes_unicast(bytes)
        {
            link.at_once.push(Kind::Unicast, &parts);
        } else {
            ctx.stats.undeliverable += 1; // its channel sends it again
        }
    }
}
