//! Messages that were seen a moment ago. Pure.

use folkmoot_core::id::ClientId;
use std::collections::{HashSet, VecDeque};

/// The names of the last messages, so many and no more.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<(ClientId, u64)>,
    known: HashSet<(ClientId, u64)>,
    max: usize,
}

impl Recent {
    /// Remembers `max` messages.
    pub(super) fn new(max: usize) -> Recent {
        Recent { max, ..Recent::default() }
    }

    /// Remembers a message; answers whether it is new.
    pub(super) fn note(&mut self, client: ClientId, number: u64) -> bool {
        if !self.known.insert((client, number)) {
            return false;
        }
        self.order.push_back((client, number));
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Whether a message is remembered.
    pub(super) fn has(&self, client: ClientId, number: u64) -> bool {
        self.known.contains(&(client, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::new(2);
        let client = ClientId(1);
        assert!(recent.note(client, 1) && recent.note(client, 2) && !recent.note(client, 1));
        assert!(recent.note(client, 3));
        assert!(!recent.has(client, 1) && recent.has(client, 2) && recent.has(client, 3));
    }
}
