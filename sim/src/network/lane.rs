//! One direction: between two nodes (a way), and on one link between them (a lane).

use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes over the full mark at which a send queue bursts.
pub const BURST_BYTES: usize = 8 * 1024 * 1024;

/// Frames under way in one direction of a link at which it bursts: they breed.
pub const FRAMES_MAX: usize = 10_000;

/// What becomes of frames on a way that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// They vanish; the link never delivers in that direction again.
    Vanish,
    /// They wait until the cut is healed.
    Stall,
}

/// One direction between two nodes.
#[derive(Clone, Debug)]
pub struct Way {
    /// Time that every frame takes, in milliseconds.
    pub latency_ms: u64,
    /// Time that a frame may take longer, in milliseconds.
    pub jitter_ms: u64,
    /// Bytes that leave in a millisecond; 0 for any number.
    pub bytes_per_ms: u64,
    pub(super) vanish: u32,
    pub(super) stall: u32,
}

impl Way {
    /// A way that is open.
    pub fn new(latency_ms: u64, jitter_ms: u64) -> Way {
        Way { latency_ms, jitter_ms, bytes_per_ms: 0, vanish: 0, stall: 0 }
    }

    /// Whether nothing is cut.
    pub fn is_open(&self) -> bool {
        self.vanish == 0 && self.stall == 0
    }

    pub(super) fn cuts(&mut self, how: Cut) -> &mut u32 {
        match how {
            Cut::Vanish => &mut self.vanish,
            Cut::Stall => &mut self.stall,
        }
    }
}

/// What a send does to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing to be told.
    Quietly,
    /// Its queue has become full.
    Full,
    /// Its queue is over every limit: the link cannot go on.
    Burst,
}

/// One direction of a link.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) frames: VecDeque<Bytes>,
    pub(super) last_arrival: u64,
    pub(super) broken: bool,
    pub(super) owed: usize,
    pub(super) free_at_us: u64,
    pub(super) queued_bytes: usize,
    pub(super) full: bool,
    /// Bytes that were sent since it is full, by a node that knew it.
    pub(super) over_full: usize,
}

impl Lane {
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        self.owed = 0;
        self.frames.clear();
    }

    /// Notes bytes that wait in the sender's queue.
    pub(super) fn note_queued(&mut self, bytes: usize, full_bytes: usize, knowing: bool) -> Sent {
        self.queued_bytes += bytes;
        if self.full && knowing {
            self.over_full += bytes;
        }
        if self.queued_bytes > full_bytes + BURST_BYTES {
            return Sent::Burst;
        }
        if self.full || self.queued_bytes <= full_bytes {
            return Sent::Quietly;
        }
        self.full = true;
        Sent::Full
    }
}
