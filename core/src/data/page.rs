//! What a neighbor that catches up is sent: one page at a time of what changed, or of everything.

use super::message::{Entries, From, Message, Page};
use super::{Data, EntryKey, read};
use crate::ctx::{Ctx, Dest};
use crate::id::NodeId;
use crate::limits::{PAGE_BYTES_MAX, SLICE_ENTRIES_MAX};
use crate::store::space::ENTRIES;
use bytes::Bytes;
use std::collections::BTreeMap;

impl Data {
    /// Answers the pulls of this step, and those that waited for room on their link.
    pub(super) fn answer_pulls(&mut self, ctx: &mut Ctx) {
        for (node, position) in std::mem::take(&mut self.sync.asked) {
            if self.sync.takes_more(node) {
                self.answer_pull(ctx, node, position);
            } else {
                self.sync.asked.insert(node, position);
            }
        }
    }

    /// Answers a pull with one page.
    fn answer_pull(&mut self, ctx: &mut Ctx, from: NodeId, position: From) {
        let page = match position {
            From::Number(number) => self.page_of_changes(ctx, number),
            From::Key(key) => match self.page_of_all(ctx, &key) {
                Some(page) => Some(page),
                None => return,
            },
        };
        let Some((page, marked)) = page else {
            return self.tell(ctx, Dest::Neighbor(from), &Message::Pruned);
        };
        ctx.stats.caught_up += page.entries.len() as u64;
        let dest = if marked { Dest::NeighborMarked(from) } else { Dest::Neighbor(from) };
        self.tell(ctx, dest, &Message::Page(page));
    }

    /// The entries that changed after `number`; with marks if the page is the last. What changes
    /// again soon is left to the page of its last change, so that a key that is written all the
    /// time is not sent all the time.
    fn page_of_changes(&mut self, ctx: &mut Ctx, number: u64) -> Option<(Page, bool)> {
        if number > self.number {
            return None; // not a number of this store
        }
        let mut reached = self.number;
        let mut changes = Vec::new();
        let listed = read::changes_after(&ctx.view(), number, &mut |at, key| {
            if changes.len() >= SLICE_ENTRIES_MAX {
                reached = at - 1;
                return false;
            }
            changes.push((at, key));
            true
        });
        match listed {
            Ok(listed) => listed?,
            Err(error) => {
                ctx.halt(error);
                return None;
            }
        }
        let last: BTreeMap<EntryKey, u64> =
            changes.iter().map(|(at, key)| (key.clone(), *at)).collect();
        let mut bytes = 0;
        let mut entries = Entries::new();
        for (at, key) in changes {
            if bytes >= PAGE_BYTES_MAX {
                reached = at - 1;
                break;
            }
            if last.get(&key) != Some(&at) {
                continue;
            }
            let Some(value) = ctx.get(ENTRIES, key.as_bytes()) else { continue }; // collected since
            bytes += key.as_bytes().len() + value.len();
            match read::decode(key.as_bytes(), value) {
                Ok(entry) => entries.push((key, entry)),
                Err(damaged) => {
                    ctx.halt(damaged);
                    return None;
                }
            }
        }
        let done = reached == self.number;
        let (of, next) = (From::Number(number), From::Number(reached));
        Some((Page { of, number: reached, next, done, entries }, done))
    }

    /// The entries behind `key`; with marks if the page is the first. `None`: the store is damaged.
    fn page_of_all(&mut self, ctx: &mut Ctx, key: &Bytes) -> Option<(Page, bool)> {
        let mut bytes = 0;
        let mut entries = Entries::new();
        let mut last = None;
        let from = if key.is_empty() { Vec::new() } else { [&key[..], &[0]].concat() };
        let mut more = false;
        let whole = Data::scan_entries(ctx, &from, &mut |key, entry, size| {
            if bytes >= PAGE_BYTES_MAX {
                more = true;
                return false;
            }
            bytes += size;
            last = Some(key.clone());
            entries.push((key, entry));
            true
        });
        if !whole {
            return None;
        }
        let next = last.map_or_else(Bytes::new, |key| key.as_bytes().clone());
        let (of, next) = (From::Key(key.clone()), From::Key(next));
        let page = Page { of, number: self.number, next, done: !more, entries };
        Some((page, key.is_empty()))
    }
}
