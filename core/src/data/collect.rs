//! What time takes away: values that end, tombstones past their grace, the tail of the change log.
//!
//! Expiry is no new write: the instant is in the entry and all nodes see it alike. Who collects a
//! tombstone remembers its stamp (the horizon), so that nothing older and unknown comes back.

use super::renew::Horizon;
use super::{Data, Entry, EntryKey, FLOOR};
use crate::ctx::Ctx;
use crate::limits::SLICE_ENTRIES_MAX;
use crate::replica::Version;
use crate::store::space::{ENTRIES, LOG, META};
use crate::time::Time;
use bytes::Bytes;

/// How often dead entries are collected, at most, in milliseconds.
const COLLECT_MS: u64 = 60_000;
/// How long after an expiry is noticed at the latest, in milliseconds: the wall clock may jump.
const EXPIRY_CHECK_MS: u64 = 1_000;
/// A delete that no other member has seen yet is kept for so many times the grace on top.
const UNSEEN_GRACES: u64 = 9;
/// Chunks of the log that one step removes.
const PRUNE_CHUNKS_MAX: usize = 64;

impl Data {
    pub(super) fn tick_collect(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        if self.wall_due.is_some_and(|due| due > now) {
            return;
        }
        self.expire(ctx);
        let before = ctx.stats.collected;
        self.collect(ctx);
        let wait = match ctx.stats.collected - before {
            all if all == SLICE_ENTRIES_MAX as u64 => 1, // there is more
            _ if self.expiring.is_empty() => COLLECT_MS,
            _ => EXPIRY_CHECK_MS,
        };
        let next_end = self
            .expiring
            .first()
            .map_or(wait, |(end, _)| end.saturating_sub(ctx.now.wall_ms).clamp(1, wait));
        self.wall_due = Some(now + next_end);
    }

    /// Tells watches of the entries that have ended.
    fn expire(&mut self, ctx: &mut Ctx) {
        for _ in 0..SLICE_ENTRIES_MAX {
            let ended = |(end, _): &&(u64, EntryKey)| *end <= ctx.now.wall_ms;
            let Some((_, key)) = self.expiring.first().filter(ended).cloned() else { break };
            self.expiring.pop_first();
            if let Some(Ok(entry)) = ctx.get(ENTRIES, key.as_bytes()).map(Entry::from_bytes) {
                self.emit(&key, &entry, true);
                self.graveyard.extend(entry.buried_since_ms().map(|since| (since, key)));
            }
        }
    }

    /// Removes entries that have been dead for longer than the grace.
    fn collect(&mut self, ctx: &mut Ctx) {
        let alone = self.renewal.is_alone() && self.sync.neighbors.is_empty();
        if !self.clocks_agree && !alone {
            return; // a wrong clock collects what is young
        }
        if !self.is_verified(ctx) {
            return;
        }
        let grace = ctx.limits.tombstone_grace_ms;
        let Some(before) = ctx.now.wall_ms.checked_sub(grace) else { return };
        let unseen_before = before.saturating_sub(UNSEEN_GRACES * grace);
        let mut horizon = self.horizon;
        for _ in 0..SLICE_ENTRIES_MAX {
            let is_due = |(since, _): &&(u64, EntryKey)| *since <= before;
            let Some((since, key)) = self.graveyard.first().filter(is_due).cloned() else { break };
            if !self.renewal.has_been_seen(since) && since > unseen_before {
                break;
            }
            self.graveyard.pop_first();
            let hash = self.index.hash(key.as_bytes());
            let Some(slot) = self.index.get(hash) else { continue };
            if slot.stamp.ms() > horizon.ms {
                horizon = Horizon { ms: slot.stamp.ms(), node: self.own };
            }
            if self.has_fields && key.to_field().is_none() {
                let version = self.index.version(&slot);
                self.forget_covered(ctx, &key, version);
            }
            self.index.set(hash, None);
            ctx.batch.delete(ENTRIES.key(key.as_bytes()));
            ctx.stats.collected += 1;
        }
        self.set_horizon(ctx, horizon);
    }

    /// Removes the fields that an entry of the whole path has covered: without it they would be
    /// seen again.
    fn forget_covered(&mut self, ctx: &mut Ctx, key: &EntryKey, version: Version) {
        let fields = [&key.as_bytes()[..], &[0]].concat();
        let mut covered = Vec::new();
        ctx.scan(ENTRIES, &fields, &mut |found, value| {
            let is_field = found.starts_with(&fields);
            let entry = Entry::from_bytes(Bytes::copy_from_slice(value));
            if is_field && entry.is_ok_and(|entry| entry.version < version) {
                covered.extend(EntryKey::parse(Bytes::copy_from_slice(found)));
            }
            is_field
        });
        for key in covered {
            self.forget(ctx, &key);
        }
    }

    /// Cuts the tail of the change log where it is longer than its limit.
    pub(super) fn prune_log(&mut self, ctx: &mut Ctx) {
        let keep = ctx.limits.log_changes_max;
        let Some(upto) = self.number.checked_sub(keep) else { return };
        // An eighth of slack, so that the tail is looked at now and then only.
        if upto < self.floor + keep / 8 {
            return;
        }
        let mut old = Vec::new();
        ctx.scan(LOG, &(self.floor + 1).to_be_bytes(), &mut |key, _| {
            let last = key.try_into().map_or(u64::MAX, u64::from_be_bytes);
            let whole = last <= upto && old.len() < PRUNE_CHUNKS_MAX;
            old.extend(whole.then_some(last));
            whole
        });
        for last in old {
            ctx.batch.delete(LOG.key(&last.to_be_bytes()));
            self.floor = last;
        }
        ctx.batch.put(META.key(FLOOR), self.floor.to_be_bytes().to_vec());
    }

    /// When time next takes something away.
    pub(super) fn wall_due(&self) -> Option<Time> {
        let something = !(self.expiring.is_empty() && self.graveyard.is_empty());
        self.wall_due.filter(|_| something).or(something.then_some(Time(0)))
    }
}
