//! Links that come and go: who is a neighbor of this node.
//!
//! Promise: there is one link to a neighbor, and both ends agree on which; a link on which nothing
//! is heard is closed; services hear of every neighbor that comes, goes or falls behind.
//! Limits: `NEIGHBORS_MAX`, `ping_ms`, `dead_ms`.

use super::clocks::offset_ms;
use super::link::{Link, prefer_new};
use super::{Delivery, Mesh};
use crate::ctx::{Ctx, Speaks};
use crate::engine::{Notice, Output};
use crate::id::{LinkId, NodeId};
use crate::limits::NEIGHBORS_MAX;
use crate::service::NeighborChange;
use crate::wire::frame::Kind;

/// The shortest time between two records of this node, in milliseconds.
const RECORD_PAUSE_MS: u64 = 100;
/// What is said on the other one of two links.
const KEPT_ANOTHER: &str = "another link between the two nodes is kept";

impl Mesh {
    /// A link was made, and the key at its other end is proven.
    pub(crate) fn on_link_up(
        &mut self,
        ctx: &mut Ctx,
        id: LinkId,
        (node, boot): (NodeId, u64),
        wall_ms: u64,
        dialled: Option<String>,
    ) {
        if let Some(address) = &dialled {
            self.peers.on_linked(address, node, ctx.now.time);
        }
        let offset_ms = offset_ms(wall_ms, ctx.now.wall_ms);
        let link = Link::new(id, (node, boot), dialled, offset_ms, ctx.now.time);
        if let Some(why) = self.why_refused(node) {
            ctx.notice(Notice::Refused { node, why });
            ctx.at_once.push(Output::Close(id, why));
            self.peers.on_unlinked(ctx, node);
            return;
        }
        if let Some(old) = self.neighbors.get(&node).and_then(|old| self.links.get(old)) {
            if !prefer_new(self.own, old, &link) {
                return self.turn_away(ctx, link);
            }
            let old = old.id;
            ctx.at_once.push(Output::Close(old, KEPT_ANOTHER));
            self.forget_link(ctx, old);
        }
        self.neighbors.insert(node, id);
        self.links.insert(id, link);
        self.on_neighbors_changed(ctx);
        ctx.notice(Notice::Linked(node));
        let digest = self.members.digest();
        self.push(id, Speaks::AtOnce, Kind::Digest, &[&digest]);
        self.tell_neighbor(node, NeighborChange::Up);
    }

    /// Why a node may not be a neighbor.
    fn why_refused(&self, node: NodeId) -> Option<&'static str> {
        let full = self.neighbors.len() >= NEIGHBORS_MAX && !self.neighbors.contains_key(&node);
        match () {
            () if self.members.is_removed(node) => Some("removed from this network"),
            () if node == self.own => Some("this is the same node"),
            () if full => Some("too many neighbors: link to another node"),
            () => None,
        }
    }

    /// Closes a link to a node to which a better one is kept. A node that runs on beside a later
    /// run of itself is shown that run's record first: it has a twin, and would never know.
    fn turn_away(&mut self, ctx: &mut Ctx, mut link: Link) {
        let record = self.members.record(link.node).filter(|record| record.boot > link.boot);
        if let Some(record) = record {
            link.at_once.push(Kind::Record, &[&record.encode()]);
            link.flush(ctx);
            let kept = self.neighbors.get(&link.node).and_then(|id| self.links.get_mut(id));
            if kept.is_some_and(|kept| !std::mem::replace(&mut kept.twin_told, true)) {
                let why = "a later run of it is linked: was its data directory copied?";
                ctx.notice(Notice::Refused { node: link.node, why });
            }
        }
        ctx.at_once.push(Output::Close(link.id, KEPT_ANOTHER));
    }

    /// A link is gone.
    pub(crate) fn on_link_down(&mut self, ctx: &mut Ctx, id: LinkId) {
        let Some(node) = self.forget_link(ctx, id) else { return };
        ctx.notice(Notice::Unlinked(node));
        self.peers.on_unlinked(ctx, node);
    }

    /// A link cannot keep up: what can be made up for later is not sent on it.
    pub(crate) fn on_link_full(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !std::mem::replace(&mut link.behind, true) {
            let node = link.node;
            self.tell_neighbor(node, NeighborChange::Full);
        }
    }

    /// All that waited on a link is written.
    pub(crate) fn on_link_drained(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.over_full = 0;
        if std::mem::take(&mut link.behind) {
            let node = link.node;
            self.tell_neighbor(node, NeighborChange::Drained);
        }
    }

    /// Removes a node from the network: its links are closed, its record forgotten.
    pub(crate) fn on_removed(&mut self, ctx: &mut Ctx, node: NodeId) {
        if node == self.own {
            return;
        }
        self.members.remove(node);
        if let Some(id) = self.neighbors.get(&node).copied() {
            self.close(ctx, id, "removed from this network");
        }
        self.graph_changed = true;
        self.update_routes(ctx.now.time);
    }

    /// Closes a link whose other end cannot be trusted to speak the protocol.
    pub(crate) fn close_malformed(&mut self, ctx: &mut Ctx, id: LinkId) {
        ctx.stats.malformed += 1;
        self.close(ctx, id, "malformed bytes");
    }

    fn close(&mut self, ctx: &mut Ctx, id: LinkId, why: &'static str) {
        ctx.at_once.push(Output::Close(id, why));
        self.on_link_down(ctx, id);
    }

    fn forget_link(&mut self, ctx: &mut Ctx, id: LinkId) -> Option<NodeId> {
        let node = self.links.remove(&id)?.node;
        self.neighbors.remove(&node);
        if self.spread.forget_gaps_at(node) {
            let other = self.neighbors.keys().next().copied();
            other.into_iter().for_each(|other| self.tell_neighbor(other, NeighborChange::Gap));
        }
        self.on_neighbors_changed(ctx);
        self.tell_neighbor(node, NeighborChange::Down);
        Some(node)
    }

    fn on_neighbors_changed(&mut self, ctx: &mut Ctx) {
        self.graph_changed = true;
        self.record_due.get_or_insert(ctx.now.time.max(self.record_at + RECORD_PAUSE_MS));
        self.update_routes(ctx.now.time);
    }

    pub(super) fn tell_neighbor(&mut self, node: NodeId, change: NeighborChange) {
        self.deliveries.push(Delivery::Neighbor(node, change));
    }

    /// Pings silent links and closes dead ones.
    pub(super) fn ping_links(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        let mut dead = Vec::new();
        for link in self.links.values_mut() {
            let silent_ms = now - link.last_heard;
            if silent_ms >= ctx.limits.dead_ms {
                dead.push(link.id);
            } else if link.ping_due(ctx.limits.ping_ms) <= now {
                link.pinged = Some(now);
                link.at_once.push(Kind::Ping, &[&now.0.to_be_bytes()]);
            }
        }
        for id in dead {
            self.close(ctx, id, "nothing heard for too long");
        }
    }
}
