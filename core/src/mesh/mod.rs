//! The mesh: links, who is there, ways to them, and the three ways to say something.
//!
//! Promise: any connected graph works; a payload to one node takes the shortest way and arrives
//! once and in order; a payload to all reaches everybody for about one copy each; a node that
//! cannot be reached is known as such. Messages: `docs/protocol.md`. Keys: the peers that were
//! added, the rest is learned anew. Repair: records are compared when a link comes up; spread and
//! channels have their own. Limits: `NODES_MAX`, `NEIGHBORS_MAX`, `HOPS_MAX` and those of its parts.

mod channel;
mod clocks;
#[cfg(test)]
mod decodes;
#[cfg(test)]
mod golden;
pub mod handshake;
mod link;
mod members;
mod peers;
mod ping;
mod receive;
mod record;
mod routes;
mod spread;
mod status;

use crate::ctx::{Ctx, Dest, Marked, Marks, Outgoing, Speaks};
use crate::engine::{Notice, Output};
use crate::error::ErrorCode;
use crate::id::{LinkId, NetworkId, NodeId};
use crate::identity::Identity;
use crate::limits::{HOPS_MAX, Limits, NEIGHBORS_MAX};
use crate::service::NeighborChange;
use crate::time::Time;
use crate::wire::envelope::{Spread, Tag, Unicast};
use crate::wire::frame::Kind;
use bytes::{Bytes, BytesMut};
use channel::{Channels, ToSend};
use clocks::offset_ms;
use link::{Link, prefer_new};
use members::Members;
use peers::Peers;
use ping::Pings;
use record::Record;
use routes::Routes;
use spread::{SpreadState, encode_marks};
use std::collections::BTreeMap;

/// The shortest time between two records of this node, in milliseconds.
const RECORD_PAUSE_MS: u64 = 100;
/// What is said on the other one of two links.
const KEPT_ANOTHER: &str = "another link between the two nodes is kept";

/// What the mesh has for a service.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Something happened to a neighbor.
    Neighbor(NodeId, NeighborChange),
    /// A node can be reached now, in this run; or, without one, cannot be reached any more.
    Reach(NodeId, Option<u64>),
    /// A message of the neighbor.
    Message { link: LinkId, from: NodeId, tag: Tag, body: Bytes, marked: Option<Marked> },
    /// A message of a node, over the reliable channel.
    Unicast { from: NodeId, tag: Tag, body: Bytes },
    /// A message spread to all; to be passed on if the service accepts it. `ahead`: something
    /// that its origin spread before is missing.
    Spread { link: LinkId, from: NodeId, envelope: Spread, ahead: bool },
}

/// The state of the mesh at this node.
pub(crate) struct Mesh {
    own: NodeId,
    network: NetworkId,
    boot: u64,
    identity: Box<dyn Identity>,
    addresses: Vec<String>,
    links: BTreeMap<LinkId, Link>,
    neighbors: BTreeMap<NodeId, LinkId>,
    peers: Peers,
    members: Members,
    routes: Routes,
    spread: SpreadState,
    channels: Channels,
    pings: Pings,
    record_sequence: u64,
    record_at: Time,
    /// When this node's record is due to be made anew.
    record_due: Option<Time>,
    graph_changed: bool,
    /// The nodes that can be reached, and their runs.
    reached: BTreeMap<NodeId, u64>,
    wall_at: Option<(Time, u64)>,
    /// The latest run of another node with this node's key that the operator was told of.
    twin: u64,
    /// Whether the operator was told that this node's clock is off.
    was_clock_off: bool,
    deliveries: Vec<Delivery>,
}

impl Mesh {
    pub(crate) fn new(
        identity: Box<dyn Identity>,
        network: NetworkId,
        boot: u64,
        addresses: Vec<String>,
    ) -> Mesh {
        Mesh {
            own: identity.node(),
            network,
            boot,
            identity,
            addresses,
            links: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            peers: Peers::default(),
            members: Members::default(),
            routes: Routes::default(),
            spread: SpreadState::default(),
            channels: Channels::new(boot),
            pings: Pings::default(),
            record_sequence: 0,
            record_at: Time(0),
            record_due: Some(Time(0)),
            graph_changed: true,
            reached: BTreeMap::new(),
            wall_at: None,
            twin: 0,
            was_clock_off: false,
            deliveries: Vec::new(),
        }
    }

    pub(crate) fn own(&self) -> NodeId {
        self.own
    }

    /// What there is for the services since the last call.
    pub(crate) fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Begins to dial the addresses of the settings, and those that were added before.
    pub(crate) fn open_peers(&mut self, ctx: &mut Ctx, settings: Vec<String>) {
        self.peers.open(ctx, settings);
    }

    /// Dials one more address from now on.
    pub(crate) fn add_peer(&mut self, ctx: &mut Ctx, address: String) -> Result<(), ErrorCode> {
        self.peers.add(ctx, address)
    }

    /// Dials an address no more.
    pub(crate) fn remove_peer(&mut self, ctx: &mut Ctx, address: &str) -> Result<(), ErrorCode> {
        self.peers.remove(ctx, address)
    }

    /// Whether this node dials anybody.
    pub(crate) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    // Links

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
        let full = self.neighbors.len() >= NEIGHBORS_MAX && !self.neighbors.contains_key(&node);
        let refused = match () {
            () if self.members.is_removed(node) => Some("removed from this network"),
            () if node == self.own => Some("this is the same node"),
            () if full => Some("too many neighbors: link to another node"),
            () => None,
        };
        if let Some(why) = refused {
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

    pub(crate) fn on_link_down(&mut self, ctx: &mut Ctx, id: LinkId) {
        let Some(node) = self.forget_link(ctx, id) else { return };
        ctx.notice(Notice::Unlinked(node));
        self.peers.on_unlinked(ctx, node);
    }

    pub(crate) fn on_dial_failed(&mut self, ctx: &mut Ctx, address: String, why: String) {
        self.peers.on_failed(ctx, address, why);
    }

    pub(crate) fn on_link_full(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !std::mem::replace(&mut link.behind, true) {
            let node = link.node;
            self.tell_neighbor(node, NeighborChange::Full);
        }
    }

    pub(crate) fn on_link_drained(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.over_full = 0;
        if std::mem::take(&mut link.behind) {
            let node = link.node;
            self.tell_neighbor(node, NeighborChange::Drained);
        }
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

    fn tell_neighbor(&mut self, node: NodeId, change: NeighborChange) {
        self.deliveries.push(Delivery::Neighbor(node, change));
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

    // Saying something

    /// Packs a message for a link.
    fn push(&mut self, id: LinkId, speaks: Speaks, kind: Kind, parts: &[&[u8]]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match speaks {
            Speaks::AtOnce => link.at_once.push(kind, parts),
            Speaks::AfterWrite => link.after_write.push(kind, parts),
        }
    }

    fn push_to_neighbor(&mut self, node: NodeId, speaks: Speaks, kind: Kind, parts: &[&[u8]]) {
        if let Some(id) = self.neighbors.get(&node).copied() {
            self.push(id, speaks, kind, parts);
        }
    }

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
        self.spread.keep(key, (body, weight), ctx.now.time + ctx.limits.announce_ms);
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

    /// Sends unicast bodies that the channels made.
    fn send_unicasts(&mut self, ctx: &mut Ctx, to_send: ToSend) {
        for (to, body) in to_send {
            let unicast = Unicast { hops_left: HOPS_MAX, to, from: self.own, body };
            self.forward(ctx, unicast);
        }
    }

    fn forward(&mut self, ctx: &mut Ctx, unicast: Unicast) {
        match self.routes.way(unicast.to) {
            Some((_, hop)) if unicast.hops_left > 0 => {
                let body = unicast.encode();
                let link = self.neighbors.get(&hop).and_then(|id| self.links.get_mut(id));
                if link.is_some_and(|link| link.takes_unicast(body.len())) {
                    self.push_to_neighbor(hop, Speaks::AtOnce, Kind::Unicast, &[&body]);
                } else {
                    ctx.stats.undeliverable += 1; // its channel sends it again
                }
            }
            _ => ctx.stats.undeliverable += 1,
        }
    }

    /// All that was spread up to `marks` is here, however it came.
    pub(crate) fn on_caught_up(&mut self, marks: Marks) {
        for (node, boot, upto) in marks {
            let is_own = node == self.own && boot == self.boot;
            if self.members.boot(node) >= Some(boot) && !is_own {
                self.spread.advance((node, boot, upto));
            }
        }
    }

    // Time

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        self.on_wall_clock(ctx);
        self.judge_clock(ctx);
        if self.record_due.is_some_and(|due| due <= now) {
            self.make_record(ctx);
        }
        let neighbors = &self.neighbors;
        self.peers.on_tick(ctx, |node| neighbors.contains_key(&node));
        self.ping_links(ctx);
        if let Some(marks) = self.spread.take_announcements(now) {
            self.announce(&marks);
        }
        for (node, range) in self.spread.take_grafts(now, ctx.limits.graft_ms) {
            match range {
                Some(range) => {
                    ctx.stats.grafts += 1;
                    self.push_to_neighbor(node, Speaks::AtOnce, Kind::Graft, &[&range.encode()]);
                }
                None => self.tell_neighbor(node, NeighborChange::Gap),
            }
        }
        let mut to_send = ToSend::new();
        let (routes, neighbors, links) = (&self.routes, &self.neighbors, &self.links);
        let is_full = |node| {
            let hop = routes.way(node).and_then(|(_, hop)| neighbors.get(&hop));
            hop.and_then(|id| links.get(id)).is_some_and(|link| link.behind)
        };
        self.channels.on_tick(now, is_full, &mut to_send);
        self.send_unicasts(ctx, to_send);
        self.pings.on_tick(ctx);
    }

    fn announce(&mut self, marks: &Marks) {
        let neighbors: Vec<NodeId> = self.neighbors.keys().copied().collect();
        for node in neighbors {
            // Those that got the envelopes from here, or sent them, need no announcement.
            let mut news = Marks::new();
            for mark in marks {
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

    /// Pings silent links and closes dead ones.
    fn ping_links(&mut self, ctx: &mut Ctx) {
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

    fn make_record(&mut self, ctx: &mut Ctx) {
        self.record_due = None;
        self.record_at = ctx.now.time;
        self.record_sequence += 1;
        let record = Record::new(
            &*self.identity,
            self.network,
            self.boot,
            self.record_sequence,
            &self.addresses,
            self.neighbors.keys().copied().collect(),
        );
        let bytes = record.encode();
        self.members.accept(record, self.own, &self.routes);
        self.pass_record_on(&bytes, None);
    }

    fn pass_record_on(&mut self, bytes: &Bytes, from: Option<LinkId>) {
        for link in self.links.values_mut().filter(|link| Some(link.id) != from) {
            link.at_once.push(Kind::Record, &[bytes]);
        }
    }

    fn update_routes(&mut self, now: Time) {
        if !std::mem::take(&mut self.graph_changed) {
            return;
        }
        let is_known = |node| node == self.own || self.members.boot(node).is_some();
        self.spread.retain(is_known);
        self.channels.retain(is_known);
        let claims = self.members.records().map(|record| (record.node, &record.links[..]));
        let claims = claims.filter(|(node, _)| *node != self.own);
        self.routes.rebuild(self.own, self.neighbors.keys().copied(), claims);
        self.channels.on_reroute(now);
        self.tell_reach();
    }

    /// Tells services which nodes have come within reach, or have gone, or have begun a new run.
    fn tell_reach(&mut self) {
        let can_reach = |record: &Record| self.routes.way(record.node).is_some();
        let reached: BTreeMap<NodeId, u64> = self
            .members
            .records()
            .filter(|record| can_reach(record))
            .map(|record| (record.node, record.boot))
            .collect();
        let before = std::mem::replace(&mut self.reached, reached);
        for node in before.keys().filter(|node| !self.reached.contains_key(node)) {
            self.deliveries.push(Delivery::Reach(*node, None));
        }
        for (node, boot) in
            self.reached.iter().filter(|(node, boot)| before.get(node) != Some(boot))
        {
            self.deliveries.push(Delivery::Reach(*node, Some(*boot)));
        }
    }

    /// The step ends: frames are packed.
    pub(crate) fn on_step_end(&mut self, ctx: &mut Ctx) {
        for link in self.links.values_mut() {
            link.flush(ctx);
        }
    }

    pub(crate) fn next_tick(&self, limits: &Limits) -> Option<Time> {
        let ping_ms = limits.ping_ms;
        let links = self.links.values().map(|link| link.ping_due(ping_ms)).min();
        [
            links,
            self.record_due,
            self.peers.next_tick(),
            self.spread.next_tick(),
            self.channels.next_tick(),
            self.pings.next_tick(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
