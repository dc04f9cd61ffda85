//! This node's own presence, told to others: in deltas as it changes, and to who asks as what is
//! missing: deltas that are kept still, or a list of all, some pages at a time.

use super::Chat;
use super::wire::{Item, Place, Said};
use crate::ctx::{Ctx, Dest};
use crate::id::Name;
use crate::limits::CHAT_BATCH_BYTES;
use crate::time::Time;
use crate::wire::envelope::Tag;
use bytes::{Bytes, BytesMut};

/// Own deltas that are kept for those who ask.
const LOG_MAX: usize = 1_024;
/// Bytes of such deltas.
pub(super) const LOG_BYTES_MAX: usize = 1024 * 1024;
/// Pages that are sent before the next are asked for: what a channel takes at once.
pub(super) const PAGES_AT_ONCE: usize = 15;
/// How long a list is kept after it was asked for last, in milliseconds.
pub(super) const LIST_KEPT_MS: u64 = 10_000;

/// What another node has of this node's presence: all up to a place, and so many pages of the
/// list at that sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) place: Place,
    pub(super) list: u64,
    pub(super) pages: u64,
}

/// All of this node's presence at a place.
#[derive(Debug)]
pub(super) struct List {
    place: Place,
    pages: Vec<Bytes>,
    pub(super) used: Time,
}

impl Chat {
    /// A user's sessions at this node, or their status, changed.
    pub(super) fn own_user_changed(&mut self, user: &Name) {
        let sessions = self.by_user.get(user).map_or(0, Vec::len);
        if sessions == 0 {
            self.own_status.remove(user);
        }
        let item = Item::User {
            user: user.clone(),
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
            status: self.own_status.get(user).cloned(),
        };
        self.own_changes.insert((user.clone(), None), item.clone());
        self.apply_item(0, item);
    }

    /// A user's sessions in a room at this node changed.
    pub(super) fn own_member_changed(&mut self, room: &Name, user: &Name, sessions: u32) {
        let item = Item::Member { room: room.clone(), user: user.clone(), sessions };
        self.own_changes.insert((user.clone(), Some(room.clone())), item.clone());
        self.apply_item(0, item);
    }

    /// Spreads what changed at this node in this step.
    pub(super) fn spread_changes(&mut self, ctx: &mut Ctx) {
        if self.own_changes.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.own_changes);
        // The statistics of what is pushed count entries of data.
        let weight = std::mem::replace(&mut ctx.weight, 0);
        let mut pages = Pages::default();
        changes.values().for_each(|item| pages.push(item));
        for items in pages.end() {
            self.own_place.sequence += 1;
            let said = Said::Delta(self.own_place, items.clone());
            ctx.send(Tag::CHAT, Dest::All, said.encode());
            self.log_bytes += items.len();
            self.log.push_back(items);
        }
        ctx.weight = weight;
        while self.log.len() > LOG_MAX || self.log_bytes > LOG_BYTES_MAX {
            self.log_bytes -= self.log.pop_front().map_or(0, |items| items.len());
        }
    }

    /// Answers the nodes that asked in this step for what they do not have of this node's presence.
    pub(super) fn answer_asks(&mut self, ctx: &mut Ctx) {
        for (node, asked) in std::mem::take(&mut self.asked) {
            let said = match self.log_after(asked.place) {
                Some(deltas) => deltas,
                None => self.next_pages(ctx.now.time, asked),
            };
            ctx.stats.presence_lists += 1;
            for said in said {
                ctx.send(Tag::CHAT, Dest::Node(node), said.encode());
            }
        }
        let used = self.list.as_ref().map(|list| list.used);
        if used.is_some_and(|used| ctx.now.time - used >= LIST_KEPT_MS) {
            self.list = None;
        }
    }

    /// Where in the log the deltas begin that follow a place, if all of them are kept still.
    fn log_from(&self, place: Place) -> Option<usize> {
        let own = self.own_place;
        let behind = own.sequence.checked_sub(place.sequence).filter(|_| place.boot == own.boot)?;
        self.log.len().checked_sub(usize::try_from(behind).ok()?)
    }

    /// The deltas that follow a place, or an empty one if none does.
    fn log_after(&self, place: Place) -> Option<Vec<Said>> {
        let (own, first) = (self.own_place, self.log_from(place)?);
        if first == self.log.len() {
            return Some(vec![Said::Delta(own, Bytes::new())]);
        }
        let deltas = self.log.iter().skip(first).zip(place.sequence + 1..);
        let delta = |(items, sequence): (&Bytes, u64)| {
            Said::Delta(Place { sequence, ..own }, items.clone())
        };
        Some(deltas.map(delta).collect())
    }

    /// Some pages of a list of all that is here. The list is kept while it is asked for; whoever
    /// has it asks for what has changed meanwhile.
    fn next_pages(&mut self, now: Time, asked: Asked) -> Vec<Said> {
        let goes_on = |list: &&List| asked.pages > 0 && asked.list == list.place.sequence;
        let first = match self.list.as_ref().filter(goes_on) {
            Some(_) => usize::try_from(asked.pages).unwrap_or(usize::MAX),
            None => 0,
        };
        let is_fresh = |list: &List| self.log_from(list.place).is_some();
        if first == 0 && !self.list.as_ref().is_some_and(is_fresh) {
            self.list = Some(List { place: self.own_place, pages: self.own_pages(), used: now });
        }
        let Some(list) = &mut self.list else { return Vec::new() };
        list.used = now;
        let (place, count) = (list.place, list.pages.len());
        let pages = list.pages.iter().enumerate().skip(first).take(PAGES_AT_ONCE);
        let said = |(at, items): (usize, &Bytes)| Said::List {
            place,
            page: at as u64,
            last: at + 1 == count,
            items: items.clone(),
        };
        pages.map(said).collect()
    }

    fn own_pages(&self) -> Vec<Bytes> {
        let mut pages = Pages::default();
        self.directory.at_node(0, |name, sessions| {
            let user = Name::new(Bytes::copy_from_slice(name)).expect("checked when it came");
            let status = self.own_status.get(&user).cloned();
            pages.push(&Item::User { user, sessions, status });
        });
        for (room, state) in &self.rooms {
            for (user, at) in &state.members {
                if let Some(sessions) = at.get(&0) {
                    let (room, user) = (room.clone(), user.clone());
                    pages.push(&Item::Member { room, user, sessions: *sessions });
                }
            }
        }
        let mut pages = pages.end();
        if pages.is_empty() {
            pages.push(Bytes::new());
        }
        pages
    }
}

/// Items packed into pages of bounded size.
#[derive(Default)]
struct Pages {
    done: Vec<Bytes>,
    page: BytesMut,
}

impl Pages {
    fn push(&mut self, item: &Item) {
        item.encode(&mut self.page);
        if self.page.len() >= CHAT_BATCH_BYTES {
            self.done.push(self.page.split().freeze());
        }
    }

    fn end(mut self) -> Vec<Bytes> {
        if !self.page.is_empty() {
            self.done.push(self.page.freeze());
        }
        self.done
    }
}
