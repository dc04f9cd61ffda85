//! What is to happen, in order of time; at the same time, in the order in which it was asked for.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

struct Due<T> {
    at: u64,
    sequence: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence)) // the earliest is the greatest
    }
}

/// Events in order of (time, sequence).
pub struct Queue<T> {
    heap: BinaryHeap<Due<T>>,
    sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<T> Queue<T> {
    /// Lets `what` happen at world time `at`.
    pub fn push(&mut self, at: u64, what: T) {
        self.sequence += 1;
        self.heap.push(Due { at, sequence: self.sequence, what });
    }

    /// The time of the next event.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|due| due.at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|due| (due.at, due.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_pushed() {
        let mut queue = Queue::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            queue.push(at, what);
        }
        assert_eq!(queue.next_at(), Some(1));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
