//! Catching up with neighbors: each numbers its changes; what came after the number that was
//! reached last is pulled, page by page.
//!
//! A summary says what a node holds and up to which change. If the sums agree, or if all that the
//! neighbor has was spread and is here too, there is nothing to do. Otherwise its change log is
//! pulled, or, where the log does not help, everything (this node has next to nothing) or what a
//! comparison finds (`compare`). One pull at a time: the next neighbor has little left to tell.
//! What was refused, as it lay in the future, is compared again when it no longer does.

use super::Data;
use super::message::{From, Message, Summary};
use super::pull::Pull;
use crate::ctx::{Ctx, Dest, Fact};
use crate::id::{NodeId, StoreId};
use crate::limits::NODES_MAX;
use crate::service::NeighborChange;
use crate::store::space::META;
use crate::time::{Stamp, Time};
use crate::wire::codec::Reader;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Comparisons that must find a difference in a row before the sets are compared.
const UNEQUAL_COMPARES: u64 = 6;
/// How long what was spread may be under way before it is pulled, in milliseconds.
const UNDER_WAY_MS: u64 = 1_000;
/// Longest pause between two comparisons of sets that never agree, because both keep changing,
/// in milliseconds.
const LASTING_MS_MAX: u64 = 3_600_000;
/// How often it is looked whether what was refused still lies in the future, in milliseconds: the
/// clock may be set at any time.
pub(super) const REFUSED_MS: u64 = 1_000;
/// A node with so many times fewer entries than its neighbor takes all of them.
const FEWER: u64 = 16;
/// Key prefix in [`META`] of what is known of each neighbor.
const REACHED: u8 = b'a';

/// What is known of a neighbor, also while it is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// All zero for none yet.
    pub(super) store: StoreId,
    /// All its changes up to this number are here.
    pub(super) number: u64,
}

/// A live neighbor.
#[derive(Debug)]
pub(super) struct Neighbor {
    /// The store that its last summary named.
    told: Option<StoreId>,
    pub(super) reached: Option<Reached>,
    saved: Option<Reached>,
    pub(super) in_sync: bool,
    pub(super) unequal_since: Option<Time>,
    /// How long a difference must last before the sets are compared; doubles each time.
    lasting_ms: u64,
    compare_at: Time,
    /// Something is missing that is probably under way on another link: when the neighbor is asked
    /// again.
    ask_at: Option<Time>,
    /// Of what it sent since the last comparison began, the latest stamp that was refused; and when
    /// it is looked at next.
    pub(super) refused: Option<(Stamp, Time)>,
    /// Its link is full.
    full: bool,
    pub(super) compare: super::compare::State,
}

/// The state of catching up.
#[derive(Debug)]
pub(super) struct Sync {
    /// All that were ever linked; at most `NODES_MAX`.
    pub(super) known: BTreeMap<NodeId, Reached>,
    pub(super) neighbors: BTreeMap<NodeId, Neighbor>,
    pub(super) pull: Option<Pull>,
    /// The pull that was given up last: its page may still be on its way over a slow link.
    pub(super) given_up: Option<Pull>,
    /// What neighbors asked for in this step; each is answered with one page, at its end.
    pub(super) asked: BTreeMap<NodeId, From>,
    pub(super) jobs: Vec<super::compare::Job>,
}

impl Sync {
    pub(super) fn open(ctx: &mut Ctx) -> Sync {
        let mut known = BTreeMap::new();
        ctx.scan(META, &[REACHED], &mut |key, value| {
            let Some((REACHED, node)) = key.split_first().map(|(first, rest)| (*first, rest))
            else {
                return false;
            };
            let mut reader = Reader::new(Bytes::copy_from_slice(value));
            if let (Ok(node), Ok(store), Ok(number)) =
                (node.try_into(), reader.array(), reader.u64())
            {
                known.insert(NodeId(node), Reached { store: StoreId(store), number });
            }
            true
        });
        Sync {
            known,
            neighbors: BTreeMap::new(),
            pull: None,
            given_up: None,
            asked: BTreeMap::new(),
            jobs: Vec::new(),
        }
    }

    /// The store that `node` was last known to have; all zero for none.
    pub(super) fn known_store(&self, node: NodeId) -> StoreId {
        let reached = self.neighbors.get(&node).and_then(|neighbor| neighbor.told);
        reached.unwrap_or_default()
    }

    pub(super) fn is_in_sync(&self, node: NodeId) -> bool {
        self.neighbors.get(&node).is_some_and(|neighbor| neighbor.in_sync)
    }

    /// Whether a neighbor's link takes more.
    pub(super) fn takes_more(&self, node: NodeId) -> bool {
        self.neighbors.get(&node).is_some_and(|neighbor| !neighbor.full)
    }

    /// Whether all that the neighbors have is here, and nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        let rests = |neighbor: &Neighbor| neighbor.in_sync && neighbor.compare.is_idle();
        self.pull.is_none() && self.neighbors.values().all(rests)
    }

    pub(super) fn next_tick(&self) -> Option<Time> {
        let due = |neighbor: &Neighbor| {
            let refused = neighbor.refused.map(|(_, look_at)| look_at);
            [Some(neighbor.compare_at), neighbor.ask_at, refused].into_iter().flatten().min()
        };
        let neighbors = self.neighbors.values().filter_map(due);
        let pull = self.pull.as_ref().map(Pull::given_up_at);
        let job = self.jobs.iter().any(|job| self.takes_more(job.to)).then_some(Time(0));
        neighbors.chain(pull).chain(job).min()
    }
}

impl Data {
    pub(super) fn on_neighbor_changed(
        &mut self,
        ctx: &mut Ctx,
        node: NodeId,
        change: NeighborChange,
    ) {
        match change {
            NeighborChange::Up => {
                let reached = self.sync.known.get(&node).copied();
                let neighbor = Neighbor {
                    told: None,
                    reached,
                    saved: reached,
                    in_sync: false,
                    unequal_since: None,
                    lasting_ms: UNEQUAL_COMPARES * ctx.limits.compare_ms,
                    refused: None,
                    full: false,
                    ask_at: None,
                    compare_at: ctx.now.time + ctx.rng.jitter(ctx.limits.compare_ms),
                    compare: super::compare::State::Idle,
                };
                self.sync.neighbors.insert(node, neighbor);
                if reached.is_none() {
                    self.save_known(ctx, node, Reached::default());
                }
                self.send_summary(ctx, node, false);
            }
            NeighborChange::Down => {
                self.save_reached(ctx, node);
                self.sync.neighbors.remove(&node);
                self.sync.asked.remove(&node);
                self.sync.jobs.retain(|job| job.to != node);
                self.sync.given_up.take_if(|pull| pull.node == node);
                if self.sync.pull.as_ref().is_some_and(|pull| pull.node == node) {
                    self.end_pull(ctx);
                }
            }
            NeighborChange::Full | NeighborChange::Drained => {
                let full = change == NeighborChange::Full;
                self.sync.neighbors.entry(node).and_modify(|neighbor| neighbor.full = full);
                if !full {
                    self.ask_again(ctx, node);
                }
            }
            NeighborChange::Gap => self.ask_again(ctx, node),
        }
    }

    pub(super) fn send_summary(&self, ctx: &mut Ctx, node: NodeId, answer: bool) {
        let summary = Summary {
            store: self.store,
            number: self.number,
            floor: self.floor,
            pulled: self.pulled.max(self.ahead),
            count: self.index.count(),
            sum: self.index.total().to_bytes(),
            answer,
        };
        self.tell(ctx, Dest::NeighborMarked(node), &Message::Summary(summary));
    }

    pub(super) fn on_sync_message(&mut self, ctx: &mut Ctx, from: NodeId, message: Message) {
        match message {
            Message::Bury { round, dead } => return self.on_bury(ctx, from, round, &dead),
            Message::Buried { round, needed } => return self.on_buried(ctx, from, round, &needed),
            Message::Forget(dead) => return self.on_forget(ctx, from, dead),
            _ if !self.sync.neighbors.contains_key(&from) => return,
            _ => {}
        }
        match message {
            Message::Summary(summary) => self.on_summary(ctx, from, &summary),
            Message::Pull(position) => drop(self.sync.asked.insert(from, position)),
            Message::Pruned => self.on_pruned(ctx, from),
            Message::Page(page) => self.on_page(ctx, from, page),
            message => self.on_compare_message(ctx, from, message),
        }
    }

    fn on_summary(&mut self, ctx: &mut Ctx, from: NodeId, summary: &Summary) {
        if summary.answer {
            self.send_summary(ctx, from, false);
        }
        let marked = ctx.marked.take();
        let covered = marked.as_ref().is_some_and(|marked| marked.covered);
        let lacking_ms = marked.as_ref().map_or(0, |marked| marked.lacking_ms);
        let equal = summary.sum == self.index.total().to_bytes();
        let Some(neighbor) = self.sync.neighbors.get_mut(&from) else { return };
        neighbor.told = Some(summary.store);
        if neighbor.reached.is_some_and(|reached| reached.store != summary.store) {
            neighbor.reached = None;
        }
        let reached = neighbor.reached.map(|reached| reached.number);
        if equal {
            neighbor.unequal_since = None;
            neighbor.refused = None;
            neighbor.compare = super::compare::State::Idle;
            neighbor.lasting_ms = UNEQUAL_COMPARES * ctx.limits.compare_ms;
            ctx.facts.extend(marked.map(|marked| Fact::Agreed(from, marked.marks)));
        } else {
            neighbor.unequal_since.get_or_insert(ctx.now.time);
        }
        // What was spread is here too, what was not was pulled before: then all is here.
        let all_here = equal || (covered && reached.is_some_and(|at| at >= summary.pulled));
        let was_in_sync = neighbor.in_sync;
        neighbor.in_sync = all_here || reached == Some(summary.number);
        if all_here {
            neighbor.reached = Some(Reached { store: summary.store, number: summary.number });
        }
        if neighbor.in_sync {
            // Of a node whose record is yet to come no mark is taken.
            let is_first = equal && !covered && !was_in_sync;
            neighbor.ask_at = is_first.then(|| ctx.now.time + UNDER_WAY_MS);
            return self.check_lasting_difference(ctx, from);
        }
        let was_spread = reached.is_some_and(|at| at >= summary.pulled);
        if was_in_sync && was_spread && lacking_ms < UNDER_WAY_MS {
            neighbor.in_sync = true;
            neighbor.ask_at.get_or_insert(ctx.now.time + UNDER_WAY_MS);
            return;
        }
        neighbor.ask_at = None;
        if self.sync.pull.is_some() {
            return; // it is asked again when the pull ends
        }
        let (own, few) = (self.index.count(), 64.max(self.index.count() / FEWER));
        match reached {
            Some(number) if number >= summary.floor => {
                self.start_pull(ctx, from, From::Number(number), summary.store);
            }
            None if summary.floor == 0 && summary.number <= few => {
                self.start_pull(ctx, from, From::Number(0), summary.store);
            }
            _ if own * FEWER <= summary.count => {
                self.start_pull(ctx, from, From::Key(Bytes::new()), summary.store);
            }
            _ => self.start_compare(ctx, from, summary.store),
        }
    }

    /// Something that was missing of what was spread is here all the same, as the sums are those of
    /// a neighbor. The others are told soon: they may miss it as well.
    pub(crate) fn on_agreed(&mut self, ctx: &Ctx, from: NodeId) {
        let soon = ctx.now.time + UNDER_WAY_MS;
        for (_, other) in self.sync.neighbors.iter_mut().filter(|(node, _)| **node != from) {
            other.compare_at = other.compare_at.min(soon);
        }
    }

    /// All that the neighbor said it has is here, and still the sums differ: after a while the
    /// sets are compared. One side begins.
    fn check_lasting_difference(&mut self, ctx: &mut Ctx, from: NodeId) {
        let Some(neighbor) = self.sync.neighbors.get_mut(&from) else { return };
        let lasting_ms = neighbor.lasting_ms;
        let lasts = neighbor.unequal_since.is_some_and(|since| ctx.now.time - since >= lasting_ms);
        if lasts && self.own < from {
            neighbor.unequal_since = Some(ctx.now.time);
            neighbor.lasting_ms = (2 * lasting_ms).min(LASTING_MS_MAX.max(lasting_ms));
            if let Some(reached) = neighbor.reached {
                ctx.stats.differences += 1;
                self.start_compare(ctx, from, reached.store);
            }
        }
    }

    pub(super) fn save_reached(&mut self, ctx: &mut Ctx, node: NodeId) {
        let Some(neighbor) = self.sync.neighbors.get_mut(&node) else { return };
        let Some(reached) = neighbor.reached.filter(|_| neighbor.reached != neighbor.saved) else {
            return;
        };
        neighbor.saved = neighbor.reached;
        self.save_known(ctx, node, reached);
    }

    fn save_known(&mut self, ctx: &mut Ctx, node: NodeId, reached: Reached) {
        self.sync.known.insert(node, reached);
        self.forget_reached(ctx);
        let key = [&[REACHED], &node.0[..]].concat();
        let value = [&reached.store.0[..], &reached.number.to_be_bytes()].concat();
        ctx.batch.put(META.key(&key), value);
    }

    /// Of too many nodes, one that is no neighbor now is met as for the first time when it returns.
    fn forget_reached(&mut self, ctx: &mut Ctx) {
        let Sync { known, neighbors, .. } = &mut self.sync;
        if known.len() > NODES_MAX
            && let Some(node) = known.keys().find(|node| !neighbors.contains_key(node)).copied()
        {
            known.remove(&node);
            ctx.batch.delete(META.key(&[&[REACHED], &node.0[..]].concat()));
        }
    }

    /// Something is missing for certain: what the neighbor has is pulled as soon as it answers.
    fn ask_again(&mut self, ctx: &mut Ctx, node: NodeId) {
        self.sync.neighbors.entry(node).and_modify(|neighbor| neighbor.in_sync = false);
        self.send_summary(ctx, node, true);
    }

    /// Asks those again who had something that was probably under way.
    fn tick_asks(&mut self, ctx: &mut Ctx) {
        let mut due = Vec::new();
        for (node, neighbor) in &mut self.sync.neighbors {
            if neighbor.ask_at.take_if(|at| *at <= ctx.now.time).is_some() {
                due.push(*node);
            }
        }
        for node in due {
            self.send_summary(ctx, node, true);
        }
    }

    /// Compares again with those of whom something was refused that is in the future no longer. It
    /// is waited for all of it: what still is would be sent for nothing. A neighbor can bring about
    /// comparisons with itself only.
    fn tick_refused(&mut self, ctx: &mut Ctx) {
        let mut due = Vec::new();
        for (node, neighbor) in &mut self.sync.neighbors {
            if let Some((latest, look_at)) = &mut neighbor.refused
                && *look_at <= ctx.now.time
            {
                *look_at = ctx.now.time + REFUSED_MS;
                let believed = !ctx.clock.is_future(*latest, ctx.now.wall_ms);
                due.extend(neighbor.reached.filter(|_| believed).map(|at| (*node, at.store)));
            }
        }
        for (node, store) in due {
            self.start_compare(ctx, node, store);
        }
    }

    pub(super) fn tick_sync(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        self.tick_pull(ctx);
        self.tick_asks(ctx);
        self.tick_refused(ctx);
        let due: Vec<NodeId> = {
            let neighbors = self.sync.neighbors.iter();
            neighbors.filter(|(_, n)| n.compare_at <= now).map(|(node, _)| *node).collect()
        };
        for node in due {
            let next = now + ctx.rng.jitter(ctx.limits.compare_ms);
            if let Some(neighbor) = self.sync.neighbors.get_mut(&node) {
                neighbor.compare_at = next;
            }
            self.send_summary(ctx, node, false);
            self.save_reached(ctx, node);
        }
    }
}
