//! Nothing piles up without a bound: a sender that was told that its queue is full stops.

use super::{Invariant, Verdict};
use crate::world::World;

/// Bytes that may follow the word that a queue is full: what is under way through the disk, and
/// what keeps a link alive.
pub const AFTER_FULL_BYTES_MAX: usize = 1024 * 1024;

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
        let most = world.network.sent_while_full_max;
        if most > AFTER_FULL_BYTES_MAX {
            return Verdict::Broken(format!("{most} bytes were queued on a link that was full"));
        }
        Verdict::Holds
    }
}
