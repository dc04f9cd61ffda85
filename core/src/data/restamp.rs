//! Stamping anew what was written while this node's clock ran ahead.
//!
//! It goes in slices. A pass over all entries keeps the earliest of those in the future; then they
//! are stamped anew in the order in which they were written, so that a later write stays the later
//! one, and the next pass looks for what is behind them. Local writes are refused as busy
//! meanwhile: they would come before what was written before them.
//! Limits: `SLICE_ENTRIES_MAX`, `PAGE_BYTES_MAX`.

use super::apply::Source;
use super::{Data, EntryKey, Strategy};
use crate::ctx::Ctx;
use crate::engine::Notice;
use crate::limits::{PAGE_BYTES_MAX, SLICE_ENTRIES_MAX};
use crate::replica::Version;
use crate::time::Stamp;
use std::collections::BTreeSet;

/// Where it stands.
#[derive(Debug)]
pub(super) struct Restamp {
    /// Later stamps lie in the future.
    above: Stamp,
    /// Where the pass goes on; `None` once it has seen everything.
    cursor: Option<Vec<u8>>,
    /// The earliest that it has found.
    earliest: BTreeSet<(Version, EntryKey)>,
    /// Whether it has found more than it could keep.
    more: bool,
    /// How many were stamped anew.
    count: u64,
}

impl Restamp {
    fn new(above: Stamp, count: u64) -> Restamp {
        let (cursor, earliest) = (Some(Vec::new()), BTreeSet::new());
        Restamp { above, cursor, earliest, more: false, count }
    }
}

impl Data {
    /// Begins, if this node's clock has run ahead. While the neighbors' clocks agree with this
    /// node's wall clock, that convicts the stamps.
    pub(super) fn judge_stamps(&mut self, ctx: &mut Ctx) {
        let wall_ms = ctx.now.wall_ms;
        let convicted = ctx.around.clocks_agree && ctx.clock.is_ahead(wall_ms);
        if self.restamp.is_some() || !convicted {
            return;
        }
        ctx.clock.reset(wall_ms);
        let believed_ms = wall_ms.saturating_add(ctx.limits.drift_ms_max);
        if self.index.any(|stamp| stamp.ms() > believed_ms) {
            self.restamp = Some(Restamp::new(Stamp::end_of_ms(believed_ms), 0));
        }
    }

    /// One slice.
    pub(super) fn tick_restamp(&mut self, ctx: &mut Ctx) {
        let Some(mut work) = self.restamp.take() else { return };
        match work.cursor.take() {
            Some(from) => {
                // Damage has stopped the node.
                if !look_for_future(ctx, &mut work, &from) {
                    return;
                }
            }
            None => self.stamp_earliest(ctx, &mut work),
        }
        if work.cursor.is_some() || !work.earliest.is_empty() {
            self.restamp = Some(work);
        } else if work.more {
            self.restamp = Some(Restamp::new(work.above, work.count));
        } else if work.count > 0 {
            ctx.notice(Notice::Restamped(work.count));
        }
    }

    fn stamp_earliest(&mut self, ctx: &mut Ctx, work: &mut Restamp) {
        let mut bytes = 0;
        while bytes < PAGE_BYTES_MAX
            && let Some((version, key)) = work.earliest.pop_first()
        {
            // Something else may have come to stand there.
            let Some(mut entry) = Data::entry(ctx, &key).filter(|e| e.version == version) else {
                continue;
            };
            if let Strategy::First { after } = entry.strategy
                && after > work.above
            {
                entry.strategy = Strategy::Last;
            }
            entry.version = self.next_version(ctx);
            if work.earliest.is_empty() {
                work.above = entry.version.stamp; // what was made here is not looked at again
            }
            bytes += key.as_bytes().len() + entry.value.as_ref().map_or(0, bytes::Bytes::len);
            work.count += 1;
            self.apply(ctx, key, entry, Source::Local);
        }
    }
}

/// One slice of a pass. `false` if the store is damaged.
fn look_for_future(ctx: &mut Ctx, work: &mut Restamp, from: &[u8]) -> bool {
    let mut seen = 0;
    Data::scan_entries(ctx, from, &mut |key, entry, _| {
        if seen >= SLICE_ENTRIES_MAX {
            work.cursor = Some(key.as_bytes().to_vec());
            return false;
        }
        seen += 1;
        if entry.version.stamp > work.above {
            work.earliest.insert((entry.version, key.detached()));
            if work.earliest.len() > SLICE_ENTRIES_MAX {
                work.earliest.pop_last();
                work.more = true;
            }
        }
        true
    })
}
