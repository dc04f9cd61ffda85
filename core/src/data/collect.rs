//! What time takes away: values that end, and the tail of the change log. What is dead for longer
//! than the grace is forgotten in `bury`.
//!
//! Expiry is no new write: the instant is in the entry and all nodes see it alike. But it is a change
//! of what can be read here, so it has a number and is in the change log, for watchers that were
//! away. Where the clock is set back, what had ended can be read again, and ends once more.

use super::{Data, ENDED, FLOOR};
use crate::ctx::Ctx;
use crate::limits::SLICE_ENTRIES_MAX;
use crate::store::space::{LOG, META};
use crate::time::Time;

/// How long after an expiry is noticed at the latest, in milliseconds: the wall clock may jump.
const EXPIRY_CHECK_MS: u64 = 1_000;
/// Chunks of the log that one step removes.
const PRUNE_CHUNKS_MAX: usize = 64;

impl Data {
    pub(super) fn tick_expiry(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        if self.expiry_due.is_some_and(|due| due > now) {
            return;
        }
        if !self.is_rereading(ctx) {
            self.expire(ctx);
        }
        let pause = |end: u64| end.saturating_sub(ctx.now.wall_ms).clamp(1, EXPIRY_CHECK_MS);
        let next = self.expiring.next_due_ms().map(pause);
        let check = (self.over_ms > 0).then_some(EXPIRY_CHECK_MS);
        self.expiry_due = next.or(check).map(|pause| now + pause);
    }

    /// Notes an end that is over by the clock: it is to be seen if that is set back.
    pub(super) fn note_over(&mut self, end: u64) {
        self.over_ms = self.over_ms.max(end);
        self.expiry_due.get_or_insert(Time(0));
    }

    /// If the clock was set back, looks for what is yet to end by it, though its end was told
    /// already, or it came when that was over.
    pub(super) fn take_back_ends(&mut self, ctx: &mut Ctx) {
        if self.over_ms <= ctx.now.wall_ms {
            return;
        }
        self.over_ms = 0;
        self.ended_ms = self.ended_ms.min(ctx.now.wall_ms);
        self.ended_saved_ms = self.ended_ms;
        ctx.batch.put(META.key(ENDED), self.ended_ms.to_be_bytes().to_vec());
        self.reread = Some(Vec::new());
    }

    /// Numbers and tells the ends of entries.
    fn expire(&mut self, ctx: &mut Ctx) {
        for _ in 0..SLICE_ENTRIES_MAX {
            let Some((end, key)) = self.expiring.pop_due(ctx.now.wall_ms) else { break };
            if let Some(entry) = Data::entry(ctx, &key) {
                self.number += 1;
                self.logged.push(key.clone());
                self.emit(&key, &entry, true);
                let since = entry.buried_since_ms();
                since.into_iter().for_each(|since| self.graveyard.insert(since, key.clone()));
            }
            // Others may end in the same millisecond, and be left for the next slice.
            let more = self.expiring.next_due_ms() == Some(end);
            self.ended_ms = if more { end.saturating_sub(1) } else { end };
            self.note_over(end);
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
}
