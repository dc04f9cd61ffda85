//! When something is due for which key, the soonest only: memory does not grow with the store.
//!
//! What finds no room is left out, and the instant from which on that is so is kept. When all that
//! is due before it has been dealt with, the entries are looked through again, in slices; until
//! then nothing more is told to have ended. Limits: `due_keys_max`, but for what is due at one and
//! the same instant.

use super::{Data, EntryKey};
use crate::ctx::Ctx;
use crate::limits::SLICE_ENTRIES_MAX;
use std::collections::BTreeSet;

/// Keys by when they are due, in Unix milliseconds.
#[derive(Debug)]
pub(super) struct Calendar {
    soonest: BTreeSet<(u64, EntryKey)>,
    /// All that is due before this is here; `None`: all that there is.
    left_out: Option<u64>,
    keys_max: usize,
}

impl Calendar {
    pub(super) fn new(keys_max: usize) -> Calendar {
        assert!(keys_max > 0, "a calendar without room never gets anywhere");
        Calendar { soonest: BTreeSet::new(), left_out: None, keys_max }
    }

    pub(super) fn insert(&mut self, due_ms: u64, key: EntryKey) {
        if self.left_out.is_some_and(|from| due_ms >= from) {
            return;
        }
        self.soonest.insert((due_ms, key));
        let ends = self.soonest.first().zip(self.soonest.last());
        // Those of the first instant stay, however many: they are dealt with together.
        if self.soonest.len() > self.keys_max && ends.is_some_and(|(first, last)| first.0 < last.0)
        {
            self.left_out = self.soonest.pop_last().map(|(due_ms, _)| due_ms);
        }
    }

    pub(super) fn remove(&mut self, due_ms: u64, key: &EntryKey) {
        self.soonest.remove(&(due_ms, key.clone()));
    }

    /// Takes the first that is due at `now_ms`.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(u64, EntryKey)> {
        let first = self.soonest.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        let known = self.left_out.is_none_or(|from| first.0 < from);
        if known { self.soonest.pop_first() } else { None }
    }

    /// Those that are due at `now_ms`, the first first.
    pub(super) fn due(&self, now_ms: u64) -> impl Iterator<Item = &(u64, EntryKey)> {
        self.soonest.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms)
    }

    /// When something is due next.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let first = self.soonest.first().map(|(due_ms, _)| *due_ms);
        first.into_iter().chain(self.left_out).min()
    }

    /// Whether more is due at `now_ms`, but not known.
    fn lacks(&self, now_ms: u64) -> bool {
        let before = |from: u64| self.soonest.first().is_none_or(|(due_ms, _)| *due_ms >= from);
        self.left_out.is_some_and(|from| from <= now_ms && before(from))
    }
}

impl Data {
    /// Looks through the entries again where a calendar has come to its end. `true` while it does.
    pub(super) fn is_rereading(&mut self, ctx: &Ctx) -> bool {
        let wall_ms = ctx.now.wall_ms;
        let buried_ms = wall_ms.saturating_sub(ctx.limits.tombstone_grace_ms);
        for (calendar, now_ms) in [(&mut self.expiring, wall_ms), (&mut self.graveyard, buried_ms)]
        {
            if self.reread.is_none() && calendar.lacks(now_ms) {
                calendar.left_out = None;
                self.reread = Some(Vec::new());
            }
        }
        self.reread.is_some()
    }

    /// One slice of that.
    pub(super) fn tick_reread(&mut self, ctx: &mut Ctx) {
        let Some(from) = self.reread.take() else { return };
        // What ended later was told to nobody.
        let told_ms = self.ended_ms.min(ctx.now.wall_ms);
        let mut seen = 0;
        let (mut found, mut next) = (Vec::new(), None);
        Data::scan_entries(ctx, &from, &mut |key, entry, _| {
            if seen >= SLICE_ENTRIES_MAX {
                next = Some(key.as_bytes().to_vec());
                return false;
            }
            seen += 1;
            found.extend(entry.dead_since_ms().map(|_| (key, entry)));
            true
        });
        for (key, entry) in found {
            self.schedule(&key, &entry, told_ms);
        }
        self.reread = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hostile::at;

    #[test]
    fn the_soonest_are_kept_and_it_is_known_from_when_on_some_are_left_out() {
        let mut calendar = Calendar::new(3);
        for due_ms in [50, 10, 40, 20, 30, 60] {
            calendar.insert(due_ms, at(&format!("at/{due_ms}")));
        }
        assert_eq!(calendar.soonest.len(), 3);
        let due: Vec<u64> = calendar.due(25).map(|(due_ms, _)| *due_ms).collect();
        assert_eq!(due, [10, 20]);
        assert!(!calendar.lacks(100), "there is something to do first");
        let popped: Vec<u64> =
            std::iter::from_fn(|| calendar.pop_due(100)).map(|(due_ms, _)| due_ms).collect();
        assert_eq!(popped, [10, 20, 30]);
        assert_eq!(calendar.next_due_ms(), Some(40));
        assert!(!calendar.lacks(39) && calendar.lacks(40));
    }

    #[test]
    fn of_one_instant_none_is_taken_before_all_are_known_and_then_all_are() {
        let mut calendar = Calendar::new(2);
        for (due_ms, name) in [(5, "x"), (10, "a"), (10, "b"), (10, "c"), (20, "d")] {
            calendar.insert(due_ms, at(name));
        }
        assert_eq!(calendar.pop_due(10), Some((5, at("x"))));
        assert_eq!(calendar.pop_due(10), None);
        assert!(calendar.lacks(10));
        calendar.left_out = None;
        for (due_ms, name) in [(10, "a"), (10, "b"), (10, "c"), (20, "d")] {
            calendar.insert(due_ms, at(name));
        }
        for name in ["a", "b", "c"] {
            assert_eq!(calendar.pop_due(10), Some((10, at(name))));
        }
        assert_eq!(calendar.next_due_ms(), Some(20));
    }
}
