//! Links between nodes: frames in order, late, and lost only with the whole link.
//!
//! A link is made by a dial: the caller's hello, the answer, the caller's proof; each takes the
//! latency of its way, and any can be lost. A way (one direction between two nodes) may be cut:
//! either what is sent vanishes, and the link with it, or it waits until the cut is healed. Ways
//! may be slow; then a queue grows at the sender. Modelled on TCP: an end that hears nothing
//! stays open until its owner gives it up.

mod lane;

pub use lane::{BURST_BYTES, Cut, FRAMES_MAX, Sent, Way};

use crate::queue::Queue;
use crate::world::Event;
use bytes::Bytes;
use folkmoot_core::id::LinkId;
use folkmoot_core::rng::Rng;
use lane::Lane;
use std::collections::BTreeMap;

/// How long a dial waits for an answer, in milliseconds.
pub const DIAL_MS_MAX: u64 = 10_000;

/// One link; the end that dialled is end 0. `LinkId` is twice the link's number plus the end.
#[derive(Debug)]
pub struct Link {
    /// The nodes at its ends.
    pub nodes: [usize; 2],
    /// Their runs, see [`crate::host::Host::run`].
    pub runs: [u64; 2],
    /// The boot counter and wall clock that each end has told.
    pub told: [(u64, u64); 2],
    /// Whether each end is open.
    pub open: [bool; 2],
    /// The address that was dialled.
    pub address: String,
    /// Whether the handshake is over, whatever came of it.
    pub settled: bool,
    lanes: [Lane; 2],
}

/// Steps of a dial, and what happens at an end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The dial has reached the other node.
    Called(u64),
    /// The answer is back: the dialling end is up.
    Answered(u64),
    /// The proof has arrived: the other end is up.
    Proven(u64),
    /// A frame arrives at this end.
    Arrived(LinkId),
    /// So many bytes have left this end's queue.
    Left(LinkId, usize),
    /// This end hears that the other is gone.
    Lost(LinkId),
}

/// All links and ways.
pub struct Network {
    /// The ways, from node to node.
    pub ways: Vec<Vec<Way>>,
    /// Bytes in a send queue at which it is called full.
    pub full_bytes: usize,
    /// Nodes without power: nothing there answers, not even with a refusal.
    pub dark: Vec<bool>,
    /// The most bytes that were sent into a full queue by a node that knew it to be full.
    pub over_full_max: usize,
    links: BTreeMap<u64, Link>,
    next: u64,
    rng: Rng,
}

impl Network {
    /// A network of `ways`.
    pub fn new(ways: Vec<Vec<Way>>, full_bytes: usize, seed: u64) -> Network {
        Network {
            dark: vec![false; ways.len()],
            ways,
            full_bytes,
            over_full_max: 0,
            links: BTreeMap::new(),
            next: 0,
            rng: Rng::new(seed),
        }
    }

    /// The way from node to node.
    pub fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from][to]
    }

    /// Whether frames pass both ways between two nodes.
    pub fn is_open(&self, a: usize, b: usize) -> bool {
        self.ways[a][b].is_open() && self.ways[b][a].is_open()
    }

    /// The link and which end of it `id` names, if that end is open.
    pub fn open_end(&self, id: LinkId) -> Option<(&Link, usize)> {
        let link = self.links.get(&(id.0 >> 1))?;
        let end = (id.0 & 1) as usize;
        link.open[end].then_some((link, end))
    }

    /// A link by number.
    pub fn link(&mut self, number: u64) -> Option<&mut Link> {
        self.links.get_mut(&number)
    }

    /// Every link with its number.
    pub fn links(&self) -> impl Iterator<Item = (u64, &Link)> {
        self.links.iter().map(|(number, link)| (*number, link))
    }

    /// A dial from the first node, in its run `run`, to the second.
    pub fn dial(
        &mut self,
        now: u64,
        queue: &mut Queue<Event>,
        nodes: [usize; 2],
        run: u64,
        address: String,
    ) {
        let number = self.next;
        self.next += 1;
        let lanes = [Lane::default(), Lane::default()];
        let link = Link {
            nodes,
            runs: [run, 0],
            told: [(0, 0); 2],
            open: [false; 2],
            address,
            settled: false,
            lanes,
        };
        self.links.insert(number, link);
        let at = now + self.travel(nodes[0], nodes[1]);
        queue.push(at, Event::Link(LinkEvent::Called(number)));
    }

    /// How long something takes from node to node now.
    pub fn travel(&mut self, from: usize, to: usize) -> u64 {
        let way = &self.ways[from][to];
        way.latency_ms + self.rng.below(way.jitter_ms + 1)
    }

    /// Forgets a link that never came to be or that both ends have left.
    pub fn forget(&mut self, number: u64) {
        self.links.remove(&number);
    }

    /// Opens one end.
    pub fn open(&mut self, number: u64, end: usize) {
        if let Some(link) = self.links.get_mut(&number) {
            link.open[end] = true;
        }
    }

    /// Lets nothing that the end sends arrive before `at`.
    pub fn not_before(&mut self, number: u64, end: usize, at: u64) {
        if let Some(link) = self.links.get_mut(&number) {
            link.lanes[end].last_arrival = at;
        }
    }

    /// Sends a frame from the end that `id` names. `knowing`: the node knew when it made the frame
    /// that the queue was full.
    pub fn send(
        &mut self,
        now: u64,
        queue: &mut Queue<Event>,
        id: LinkId,
        frame: Bytes,
        knowing: bool,
    ) -> Sent {
        let (number, end) = (id.0 >> 1, (id.0 & 1) as usize);
        let Some(link) = self.links.get_mut(&number).filter(|link| link.open[end]) else {
            return Sent::Quietly;
        };
        let [from, to] = [link.nodes[end], link.nodes[1 - end]];
        let (way, back) = (&self.ways[from][to], &self.ways[to][from]);
        if link.settled && !link.open[1 - end] && !self.dark[to] && way.is_open() && back.is_open()
        {
            // Nobody is there any more: the machine at the other end says so.
            let at = now + way.latency_ms + back.latency_ms;
            queue.push(at, Event::Link(LinkEvent::Lost(id)));
            return Sent::Quietly;
        }
        let lane = &mut link.lanes[end];
        if way.vanish > 0 {
            lane.break_off();
        }
        if lane.broken {
            let sent = lane.note_queued(frame.len(), self.full_bytes, knowing);
            self.over_full_max = self.over_full_max.max(lane.over_full);
            return sent;
        }
        let mut leaves_at = now;
        let mut sent = Sent::Quietly;
        if let Some(us) = (frame.len() as u64 * 1000).checked_div(way.bytes_per_ms) {
            let start_us = lane.free_at_us.max(now * 1000);
            lane.free_at_us = start_us + us;
            leaves_at = lane.free_at_us.div_ceil(1000);
            queue.push(leaves_at, Event::Link(LinkEvent::Left(id, frame.len())));
            sent = lane.note_queued(frame.len(), self.full_bytes, knowing);
            self.over_full_max = self.over_full_max.max(lane.over_full);
        }
        let at = leaves_at + way.latency_ms + self.rng.below(way.jitter_ms + 1);
        lane.last_arrival = lane.last_arrival.max(at);
        lane.frames.push_back(frame);
        if lane.frames.len() > FRAMES_MAX {
            sent = Sent::Burst;
        }
        let other = LinkId(id.0 ^ 1);
        queue.push(lane.last_arrival, Event::Link(LinkEvent::Arrived(other)));
        sent
    }

    /// Takes the frame that arrives at the end that `id` names, if it gets through.
    pub fn arrive(&mut self, id: LinkId) -> Option<Bytes> {
        let (number, end) = (id.0 >> 1, (id.0 & 1) as usize);
        let link = self.links.get_mut(&number)?;
        let way = &self.ways[link.nodes[1 - end]][link.nodes[end]];
        let lane = &mut link.lanes[1 - end];
        if way.vanish > 0 {
            lane.break_off();
        }
        if way.stall > 0 && !lane.frames.is_empty() {
            lane.owed += 1;
            return None;
        }
        let frame = lane.frames.pop_front()?;
        link.open[end].then_some(frame)
    }

    /// Bytes have left the queue of the end that `id` names; whether it is drained now.
    pub fn leave(&mut self, id: LinkId, bytes: usize) -> bool {
        let (number, end) = (id.0 >> 1, (id.0 & 1) as usize);
        let Some(link) = self.links.get_mut(&number) else { return false };
        let lane = &mut link.lanes[end];
        if lane.broken {
            return false;
        }
        lane.queued_bytes = lane.queued_bytes.saturating_sub(bytes);
        let drained = lane.full && lane.queued_bytes == 0;
        if drained {
            (lane.full, lane.over_full) = (false, 0);
        }
        drained && link.open[end]
    }

    /// Closes the end that `id` names; the other end hears of it if the way there is open.
    /// `abrupt` drops what is under way.
    pub fn close(&mut self, now: u64, queue: &mut Queue<Event>, id: LinkId, abrupt: bool) {
        let (number, end) = (id.0 >> 1, (id.0 & 1) as usize);
        let Some(link) = self.links.get_mut(&number) else { return };
        link.open[end] = false;
        let way = &self.ways[link.nodes[end]][link.nodes[1 - end]];
        let lane = &mut link.lanes[end];
        if abrupt {
            lane.frames.clear();
            lane.last_arrival = now;
        }
        if !way.is_open() || lane.broken {
            lane.break_off();
        } else {
            lane.last_arrival = lane.last_arrival.max(now + way.latency_ms);
            let other = LinkId(id.0 ^ 1);
            queue.push(lane.last_arrival, Event::Link(LinkEvent::Lost(other)));
        }
        if link.open == [false; 2] {
            self.links.remove(&number);
        }
    }

    /// An end is gone and knows it; the other end is not told.
    pub fn drop_end(&mut self, id: LinkId) {
        let (number, end) = (id.0 >> 1, (id.0 & 1) as usize);
        if let Some(link) = self.links.get_mut(&number) {
            link.open[end] = false;
            if link.open == [false; 2] {
                self.links.remove(&number);
            }
        }
    }

    /// Resets a link: what is under way is lost, and both ends hear of it if the ways are open.
    pub fn reset(&mut self, now: u64, queue: &mut Queue<Event>, number: u64) {
        let Some(link) = self.links.get_mut(&number) else { return };
        link.lanes.iter_mut().for_each(Lane::break_off);
        for end in 0..2u64 {
            queue.push(now + 1, Event::Link(LinkEvent::Lost(LinkId(number * 2 + end))));
        }
    }

    /// Takes the power from a node: its ends are gone, and nobody is told.
    pub fn darken(&mut self, node: usize) {
        self.dark[node] = true;
        for id in self.ends_at(node) {
            let (number, end) = (id.0 >> 1, (id.0 & 1) as usize);
            if let Some(link) = self.links.get_mut(&number) {
                link.open[end] = false;
                link.lanes[end].break_off();
                if link.open == [false; 2] {
                    self.links.remove(&number);
                }
            }
        }
    }

    /// Cuts or heals the way from node to node. What waited comes after the healing.
    pub fn set_cut(
        &mut self,
        now: u64,
        queue: &mut Queue<Event>,
        (from, to): (usize, usize),
        how: Cut,
        cut: bool,
    ) {
        let cuts = self.ways[from][to].cuts(how);
        *cuts = if cut { *cuts + 1 } else { cuts.saturating_sub(1) };
        if self.ways[from][to].stall > 0 {
            return;
        }
        for (number, link) in &mut self.links {
            let Some(end) =
                (0..2).find(|end| link.nodes[*end] == from && link.nodes[1 - end] == to)
            else {
                continue;
            };
            let lane = &mut link.lanes[end];
            let at = now + self.ways[from][to].latency_ms;
            for _ in 0..std::mem::take(&mut lane.owed) {
                let other = LinkId(number * 2 + 1 - end as u64);
                queue.push(at, Event::Link(LinkEvent::Arrived(other)));
            }
            lane.last_arrival = lane.last_arrival.max(at);
        }
    }

    /// The open ends at node `node`, in order.
    pub fn ends_at(&self, node: usize) -> Vec<LinkId> {
        let ids = self.links.iter().flat_map(|(number, link)| {
            (0..2)
                .filter(|end| link.nodes[*end] == node && link.open[*end])
                .map(move |end| LinkId(number * 2 + end as u64))
        });
        ids.collect()
    }

    /// The ends of live links between two nodes, both open.
    pub fn between(&self, a: usize, b: usize) -> Vec<u64> {
        let live = self.links.iter().filter(|(_, link)| link.open == [true; 2]);
        live.filter(|(_, link)| link.nodes == [a, b] || link.nodes == [b, a])
            .map(|(number, _)| *number)
            .collect()
    }
}

#[cfg(test)]
mod tests;
