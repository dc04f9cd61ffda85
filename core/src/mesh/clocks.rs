//! Whether this node's clock is right, judged by those of its neighbors.

use super::Mesh;
use crate::ctx::Ctx;
use crate::engine::Notice;
use crate::limits::Limits;
use crate::wire::frame::Kind;

/// Clocks that differ by less agree, in milliseconds.
const CLOCKS_AGREE_MS: u64 = 30_000;
/// Neighbors whose clocks must be known before this node's own is judged by them.
const CLOCKS_MIN: usize = 3;

impl Mesh {
    /// A jump of the wall clock against the monotonic one moves all offsets.
    pub(super) fn on_wall_clock(&mut self, ctx: &Ctx) {
        let now = (ctx.now.time, ctx.now.wall_ms);
        let Some((time, wall_ms)) = self.wall_at.replace(now) else { return };
        let expected = wall_ms.saturating_add(now.0 - time);
        let jump = offset_ms(expected, now.1);
        if jump.unsigned_abs() > 1_000 {
            for link in self.links.values_mut() {
                link.offset_ms = link.offset_ms.saturating_add(jump);
                link.pinged = None;
                link.at_once.push(Kind::Ping, &[&now.0.0.to_be_bytes()]);
            }
        }
    }

    /// Tells the operator when the neighbors begin to agree that this node's clock is off.
    pub(super) fn judge_clock(&mut self, ctx: &mut Ctx) {
        let is_off = self.is_clock_off(ctx.limits);
        let was_off = std::mem::replace(&mut self.was_clock_off, is_off);
        if let Some(ms) = self.judged_offset_ms().filter(|_| is_off && !was_off) {
            ctx.notice(Notice::ClockOff(ms));
        }
    }

    /// Median offset of the neighbors' clocks to this node's, in milliseconds.
    pub(super) fn clock_offset_ms(&self) -> Option<i64> {
        let mut offsets: Vec<i64> = self.links.values().map(|link| link.offset_ms).collect();
        offsets.sort_unstable();
        offsets.get(offsets.len() / 2).copied()
    }

    /// The median offset, once enough neighbors are there to judge by.
    pub(super) fn judged_offset_ms(&self) -> Option<i64> {
        self.clock_offset_ms().filter(|_| self.links.len() >= CLOCKS_MIN)
    }

    /// Whether the neighbors' clocks, by their median, agree with this node's.
    pub(super) fn clocks_agree(&self) -> bool {
        self.clock_offset_ms().is_some_and(agrees)
    }

    /// Whether enough neighbors agree that this node's clock is off.
    pub(super) fn is_clock_off(&self, limits: &Limits) -> bool {
        let off = |ms: i64| ms.unsigned_abs() > limits.clock_off_ms_max;
        self.judged_offset_ms().is_some_and(off)
    }
}

/// How far `theirs` is ahead of `own`, in milliseconds.
pub(super) fn offset_ms(theirs: u64, own: u64) -> i64 {
    let ahead = i64::try_from(theirs.abs_diff(own)).unwrap_or(i64::MAX);
    if theirs >= own { ahead } else { -ahead }
}

fn agrees(offset_ms: i64) -> bool {
    offset_ms.unsigned_abs() <= CLOCKS_AGREE_MS
}
