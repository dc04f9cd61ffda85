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
mod neighbors;
mod peers;
mod ping;
mod reach;
mod receive;
mod record;
mod routes;
mod say;
mod spread;
mod status;

use crate::ctx::{Ahead, Around, Ctx, Marked, Marks};
use crate::error::ErrorCode;
use crate::id::{LinkId, NetworkId, NodeId};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::service::NeighborChange;
use crate::time::Time;
use crate::wire::envelope::{Spread, Tag};
use bytes::Bytes;
use channel::Channels;
use link::Link;
use members::Members;
use peers::Peers;
use ping::Pings;
use routes::Routes;
use spread::SpreadState;
use std::collections::BTreeMap;

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
    /// What has become of all that came ahead until now.
    Ahead(Ahead),
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
    /// Since when known nodes that were within reach are not.
    lost_at: BTreeMap<NodeId, Time>,
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
            lost_at: BTreeMap::new(),
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
        self.deliveries.extend(self.spread.take_ahead().map(Delivery::Ahead));
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

    /// What services may want to know of this node's surroundings.
    pub(crate) fn around(&self, limits: &Limits) -> Around {
        Around {
            clock_off: self.is_clock_off(limits),
            clocks_agree: self.clocks_agree(),
            others_expected: !self.peers.is_empty(),
        }
    }

    /// An address could not be dialled.
    pub(crate) fn on_dial_failed(&mut self, ctx: &mut Ctx, address: String, why: String) {
        self.peers.on_failed(ctx, address, why);
    }

    /// All that was spread up to `marks` is here, however it came. Whether that was news.
    pub(crate) fn on_caught_up(&mut self, marks: Marks) -> bool {
        let mut news = false;
        for (node, boot, upto) in marks {
            let is_own = node == self.own && boot == self.boot;
            if self.members.boot(node) >= Some(boot) && !is_own {
                news |= self.spread.advance((node, boot, upto));
            }
        }
        news
    }

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) {
        self.on_wall_clock(ctx);
        self.judge_clock(ctx);
        if self.record_due.is_some_and(|due| due <= ctx.now.time) {
            self.make_record(ctx);
        }
        let neighbors = &self.neighbors;
        self.peers.on_tick(ctx, |node| neighbors.contains_key(&node));
        self.ping_links(ctx);
        self.announce(ctx.now.time);
        self.ask_for_missing(ctx);
        self.send_again(ctx);
        self.pings.on_tick(ctx);
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
