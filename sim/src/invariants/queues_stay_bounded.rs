//! Nothing piles up without a bound: a sender that was told that its queue is full stops. What it
//! had made before it was told may still come, however much that is.

use super::{Invariant, Verdict};
use crate::world::World;
use folkmoot_core::limits::{PAGE_BYTES_MAX, UNICASTS_OVER_FULL_BYTES_MAX};

/// Bytes that a node may send into a queue that it knows to be full: one page and envelopes that
/// were asked for (a page each at most), a few unicasts, and what keeps a link alive.
pub const OVER_FULL_BYTES_MAX: usize =
    2 * PAGE_BYTES_MAX + UNICASTS_OVER_FULL_BYTES_MAX + 64 * 1024;

/// No sender went on for long after it was told to stop; none burst (watched during the run).
pub struct QueuesStayBounded;

impl Invariant for QueuesStayBounded {
    fn name(&self) -> &'static str {
        "queues_stay_bounded"
    }

    fn patience_ms(&self, _: &World) -> u64 {
        0
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        let over = world.network.over_full_max;
        if over > OVER_FULL_BYTES_MAX {
            return Verdict::Broken(format!(
                "{over} bytes were sent into a queue that was known to be full"
            ));
        }
        Verdict::Holds
    }
}
