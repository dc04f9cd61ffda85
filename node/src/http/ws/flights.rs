//! The messages of one session that are not settled yet: while there are too many, its client is
//! not listened to.
//!
//! Limits: `UNDER_WAY_MAX`, `UNDER_WAY_BYTES_MAX`; one read more may be under way.

use super::posts::Gathered;
use folkmoot_core::limits::{UNREAD_BYTES_MAX, UNREAD_MAX};
use std::collections::VecDeque;

/// Messages under way at which a client is not listened to: half of what may wait unread for
/// another, so that no single sender can run over a reader that keeps up.
const UNDER_WAY_MAX: usize = UNREAD_MAX / 2;
/// Bytes of such messages.
const UNDER_WAY_BYTES_MAX: usize = UNREAD_BYTES_MAX / 2;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    /// One for each read, in order.
    reads: VecDeque<Flight>,
    count: usize,
    bytes: usize,
    /// The largest number that is settled: what has it or a smaller one is a repeat.
    settled: u64,
}

#[derive(Debug)]
struct Flight {
    /// The largest number among its messages.
    last: u64,
    count: usize,
    bytes: usize,
}

impl Flights {
    /// The messages of one read are handed in.
    pub(super) fn depart(&mut self, all: &Gathered) {
        if all.count > 0 && all.last > self.settled {
            self.count += all.count;
            self.bytes += all.bytes;
            self.reads.push_back(Flight { last: all.last, count: all.count, bytes: all.bytes });
        }
    }

    /// All up to this number are settled.
    pub(super) fn settle(&mut self, upto: u64) {
        self.settled = self.settled.max(upto);
        while let Some(first) = self.reads.pop_front_if(|read| read.last <= upto) {
            self.count -= first.count;
            self.bytes -= first.bytes;
        }
        if self.reads.is_empty() {
            self.reads = VecDeque::new();
        }
    }

    /// Whether there is room for the messages of one more read.
    pub(super) fn has_room(&self) -> bool {
        self.count < UNDER_WAY_MAX && self.bytes < UNDER_WAY_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(count: usize, bytes: usize, last: u64) -> Gathered {
        Gathered { posts: Vec::new(), count, bytes, last }
    }

    #[test]
    fn room_is_given_back_as_reads_are_settled() {
        let mut flights = Flights::default();
        flights.depart(&read(UNDER_WAY_MAX - 1, 10, 100));
        assert!(flights.has_room());
        flights.depart(&read(1, 10, 101));
        flights.depart(&read(0, 0, 0));
        assert!(!flights.has_room());
        flights.settle(99);
        assert!(!flights.has_room());
        flights.settle(100);
        assert!(flights.has_room());
        flights.depart(&read(1, UNDER_WAY_BYTES_MAX, 102));
        assert!(!flights.has_room());
        flights.settle(102);
        assert!(flights.has_room() && flights.reads.capacity() == 0);
        flights.depart(&read(9, 9, 102));
        assert_eq!((flights.count, flights.bytes), (0, 0), "a repeat is settled already");
    }
}
