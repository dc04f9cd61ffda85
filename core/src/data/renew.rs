//! Coming back after longer than the grace: what was deleted meanwhile must not return.
//!
//! Who collects a tombstone keeps its stamp and its own name (the horizon). A node that has not
//! been in sync with the collector since then is stale: it serves nobody, pulls everything from
//! the other, drops what it held when they parted and the other no longer has, and makes what its
//! side wrote since then anew. If both sides have collected, the one with fewer members is stale.

use super::apply::Source;
use super::message::{Entries, From, Summary};
use super::sync::ANSWER_MS_MAX;
use super::{Data, Entry, EntryKey, HORIZON};
use crate::ctx::Ctx;
use crate::id::NodeId;
use crate::store::space::{ENTRIES, META};
use crate::time::Time;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Key prefix in [`META`] of when each node was last in sync with this one.
const SEEN: u8 = b's';
/// How often it is noted who is in sync, in milliseconds.
const NOTE_MS: u64 = 10_000;
/// Nodes seen within this time of the last one count as one side, in milliseconds.
const SIDE_MS: u64 = 60_000;

/// The newest collected tombstone: its stamp in Unix milliseconds and who collected it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Horizon {
    pub(super) ms: u64,
    pub(super) node: NodeId,
}

/// Whether a node is stale towards its neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It has not heard of the neighbor's horizon yet.
    #[default]
    Unknown,
    Fresh,
    Stale,
}

/// Who was in sync with this node, and a renewal that is under way.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    seen: BTreeMap<NodeId, u64>,
    saved: BTreeMap<NodeId, u64>,
    note_at: Time,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    from: NodeId,
    horizon: Horizon,
    /// When the two sides parted, in Unix milliseconds.
    parted_ms: u64,
    received: BTreeSet<(u16, u64)>,
}

impl Renewal {
    pub(super) fn open(ctx: &mut Ctx) -> Renewal {
        let mut seen = BTreeMap::new();
        ctx.scan(META, &[SEEN], &mut |key, value| {
            let node = key.strip_prefix(&[SEEN]).and_then(|node| node.try_into().ok());
            let ms = value.try_into().ok().map(u64::from_be_bytes);
            seen.extend(node.map(NodeId).zip(ms));
            key[0] == SEEN
        });
        Renewal { saved: seen.clone(), seen, ..Renewal::default() }
    }

    /// When this node was last in sync with `node`, in Unix milliseconds; 0 for never.
    fn seen_ms(&self, node: NodeId) -> u64 {
        self.seen.get(&node).copied().unwrap_or(0)
    }

    /// Whether this node has never been in sync with another.
    pub(super) fn is_alone(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether what happened here at `ms` is known to another member, if there is any.
    pub(super) fn has_been_seen(&self, ms: u64) -> bool {
        self.seen.values().max().is_none_or(|last| ms <= *last)
    }

    /// How many nodes were on this node's side when it was last in sync with anybody.
    pub(super) fn members(&self) -> u64 {
        let last = self.seen.values().max().copied().unwrap_or(0);
        self.seen.values().filter(|ms| **ms + SIDE_MS >= last).count() as u64
    }

    /// Whether this node may not serve others now.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn is_from(&self, node: NodeId) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.from == node)
    }
}

impl Data {
    /// Notes who can be reached while all neighbors are in sync.
    pub(crate) fn note_reachable(
        &mut self,
        ctx: &mut Ctx,
        reachable: impl Iterator<Item = NodeId>,
    ) {
        let now = ctx.now.time;
        let neighbors = self.sync.neighbors.values();
        // The oldest word counts: whatever this node held then, all have seen.
        let verified_ms = neighbors.map(|n| n.verified_ms).min().flatten();
        let Some(verified_ms) = verified_ms.filter(|_| now >= self.renewal.note_at) else {
            return;
        };
        self.renewal.note_at = now + NOTE_MS;
        let coarse_ms = (ctx.limits.tombstone_grace_ms / 100).max(NOTE_MS);
        for node in reachable {
            let seen_ms = self.renewal.seen.entry(node).or_default();
            *seen_ms = verified_ms.max(*seen_ms);
            let present_ms = *seen_ms;
            let saved = self.renewal.saved.entry(node).or_default();
            if present_ms.abs_diff(*saved) >= coarse_ms {
                *saved = present_ms;
                let key = META.key(&[&[SEEN], &node.0[..]].concat());
                ctx.batch.put(key, present_ms.to_be_bytes().to_vec());
            }
        }
    }

    /// All that this node and a neighbor should hold both hold: the neighbor's horizon is this
    /// node's too, so that the others judge themselves by it.
    pub(super) fn on_verified(&mut self, ctx: &mut Ctx, node: NodeId) {
        let present_ms = ctx.clock.present_ms(ctx.now.wall_ms);
        let Some(neighbor) = self.sync.neighbors.get_mut(&node) else { return };
        neighbor.verified_ms = Some(present_ms);
        if let Some(horizon) = neighbor.horizon
            && self.is_believed(ctx, horizon)
        {
            self.set_horizon(ctx, self.horizon.max(horizon));
        }
    }

    /// Whether nothing old may still be on its way from a neighbor: only then may a tombstone go.
    pub(super) fn is_verified(&self, ctx: &Ctx) -> bool {
        let since_ms = ctx.now.wall_ms.saturating_sub(ctx.limits.tombstone_grace_ms / 2);
        let neighbors = self.sync.neighbors.values();
        neighbors.map(|n| n.verified_ms).all(|at| at.is_some_and(|at| at >= since_ms))
    }

    /// Whether a horizon can be true: nothing younger than the grace is collected.
    fn is_believed(&self, ctx: &Ctx, horizon: Horizon) -> bool {
        let grace = ctx.limits.tombstone_grace_ms;
        let collectable_ms = ctx.now.wall_ms.saturating_sub(grace) + ctx.limits.drift_ms_max;
        horizon.ms <= collectable_ms
    }

    /// Judges this node by a neighbor's horizon. `true` if the summary is dealt with.
    pub(super) fn judge(
        &mut self,
        ctx: &mut Ctx,
        from: NodeId,
        summary: &Summary,
        equal: bool,
    ) -> bool {
        let horizon = summary.horizon;
        let parted_ms = self.renewal.seen_ms(horizon.node);
        // Nothing younger than the grace is collected: such a horizon comes from a wrong clock, or
        // from a node that wants others to drop what they hold.
        let believed = self.is_believed(ctx, horizon);
        let neighbor = self.sync.neighbors.get(&from);
        let heard = neighbor.is_some_and(|neighbor| neighbor.unheard_until <= ctx.now.time);
        let stale =
            !equal && believed && heard && horizon.node != self.own && horizon.ms > parted_ms;
        let judgement = if stale { Judgement::Stale } else { Judgement::Fresh };
        let members = self.renewal.members();
        if let Some(neighbor) = self.sync.neighbors.get_mut(&from) {
            if judgement == Judgement::Stale && neighbor.judgement != Judgement::Stale {
                neighbor.stale_since = ctx.now.time;
            }
            neighbor.judgement = judgement;
        }
        match (judgement, summary.judgement) {
            (Judgement::Stale, Judgement::Unknown) => {
                self.send_summary(ctx, from, true);
                true
            }
            (Judgement::Stale, Judgement::Stale)
                if (members, from) > (summary.members, self.own) =>
            {
                // The other side renews; this one serves it.
                if let Some(neighbor) = self.sync.neighbors.get_mut(&from) {
                    neighbor.judgement = Judgement::Fresh;
                }
                true
            }
            (Judgement::Stale, _) => {
                // Where clocks differ nothing can be said about before and after: later.
                if self.clocks_agree && !self.renewal.is_from(from) {
                    let received = BTreeSet::new();
                    let under_way = UnderWay { from, horizon, parted_ms, received };
                    self.renewal.under_way = Some(under_way);
                    self.start_pull(ctx, from, From::Key(Bytes::new()), summary.store);
                }
                true
            }
            // It has nothing to say until it has renewed itself.
            (_, judged) => judged == Judgement::Stale && !equal,
        }
    }

    /// Notes what came with a page, if it is part of a renewal. Returns how it is to be merged.
    pub(super) fn note_received(&mut self, from: NodeId, entries: &Entries) -> Source {
        let is_from = |under_way: &&mut UnderWay| under_way.from == from;
        let Some(under_way) = self.renewal.under_way.as_mut().filter(is_from) else {
            return Source::Pulled;
        };
        for (key, _) in entries {
            let hash = self.index.hash(key.as_bytes());
            under_way.received.insert((hash.bucket, hash.id));
        }
        Source::Renewed
    }

    /// Serves others again where a neighbor called this node stale and then sent nothing: nobody
    /// is waited for without end.
    pub(super) fn excuse(&mut self, ctx: &Ctx) {
        let now = ctx.now.time;
        for (node, neighbor) in &mut self.sync.neighbors {
            let waits = neighbor.judgement == Judgement::Stale && !self.renewal.is_from(*node);
            if waits && now - neighbor.stale_since >= ANSWER_MS_MAX {
                neighbor.judgement = Judgement::Unknown;
                neighbor.unheard_until = now + ANSWER_MS_MAX;
            }
        }
    }

    /// A renewal cannot go on: its neighbor is gone. It begins again with the next.
    pub(super) fn abandon_renewal(&mut self, node: NodeId) {
        if self.renewal.is_from(node) {
            self.renewal.under_way = None;
        }
    }

    /// Everything of the other side is here: drops its ghosts, makes this side's news anew.
    pub(super) fn finish_renewal(&mut self, ctx: &mut Ctx, from: NodeId) {
        if !self.renewal.is_from(from) {
            return;
        }
        let Some(done) = self.renewal.under_way.take() else { return };
        let (index, mut unknown) = (&self.index, Vec::new());
        ctx.scan(ENTRIES, &[], &mut |key, value| {
            let hash = index.hash(key);
            if !done.received.contains(&(hash.bucket, hash.id)) {
                let entry = Entry::from_bytes(Bytes::copy_from_slice(value)).ok();
                unknown.extend(EntryKey::parse(Bytes::copy_from_slice(key)).zip(entry));
            }
            true
        });
        // In the order in which they were written, so that a later write stays the later one.
        unknown.sort_unstable_by_key(|(_, entry)| entry.version);
        for (key, mut entry) in unknown {
            let ms = entry.version.stamp.ms();
            if ms <= done.parted_ms || self.is_covered(&key, &entry) {
                self.retract(ctx, &key, entry);
            } else if ms <= done.horizon.ms {
                entry.version = self.next_version(ctx);
                self.forget(ctx, &key); // or a first write would stand in its own way
                self.apply(ctx, key, entry, Source::Local);
            }
        }
        let present_ms = ctx.clock.present_ms(ctx.now.wall_ms).max(done.horizon.ms);
        self.renewal.seen.insert(from, present_ms);
        self.renewal.seen.insert(done.horizon.node, present_ms);
        self.set_horizon(ctx, self.horizon.max(done.horizon));
    }

    /// Removes a ghost, and tells those who watch or will resume that it is gone.
    fn retract(&mut self, ctx: &mut Ctx, key: &EntryKey, entry: Entry) {
        self.forget(ctx, key);
        self.number += 1;
        self.logged.push(key.clone());
        self.emit(key, &Entry { value: None, ..entry }, false);
    }

    /// Whether an entry is a field that a newer entry of its whole path covers.
    fn is_covered(&self, key: &EntryKey, entry: &Entry) -> bool {
        let path = key.to_field().and_then(|_| key.to_path());
        let slot = path.and_then(|path| self.index.get(self.index.hash(path.as_bytes())));
        slot.is_some_and(|slot| self.index.version(&slot) > entry.version)
    }

    pub(super) fn set_horizon(&mut self, ctx: &mut Ctx, horizon: Horizon) {
        if horizon != self.horizon {
            self.horizon = horizon;
            let value = [&horizon.ms.to_be_bytes()[..], &horizon.node.0].concat();
            ctx.batch.put(META.key(HORIZON), value);
        }
    }

    pub(super) fn open_horizon(ctx: &mut Ctx, own: NodeId) -> Horizon {
        let stored = ctx.get(META, HORIZON).unwrap_or_default();
        let horizon = stored.split_first_chunk::<8>().and_then(|(ms, node)| {
            Some(Horizon { ms: u64::from_be_bytes(*ms), node: NodeId(node.try_into().ok()?) })
        });
        horizon.unwrap_or(Horizon { ms: 0, node: own })
    }
}
