//! Who is there: each node owns the truth about its own sessions and tells it to all.
//!
//! A node's presence is a history of deltas, numbered within its run. Deltas are spread to all. Who
//! finds a number missing asks the node itself, which answers with the deltas that it still has, or
//! with all of its presence in pages. Neighbors compare now and then how far they are.

use super::directory::NodeIndex;
use super::nodes::Node;
use super::own::{LOG_BYTES_MAX, PAGES_AT_ONCE};
use super::wire::{Item, Place, Said};
use super::words::Presence;
use super::{Chat, Touched};
use crate::ctx::{Ctx, Dest};
use crate::id::{Name, NodeId};
use crate::limits::{CHAT_BATCH_BYTES, EARLY_DELTAS_MAX, LAST_SEEN_MAX};
use crate::wire::codec::{Decoded, Malformed};
use crate::wire::envelope::Tag;
use bytes::Bytes;
use std::ops::ControlFlow;

/// How long a delta that came too early waits for those before it, in milliseconds.
const EARLY_MS: u64 = 300;
/// How long an answer is waited for, in milliseconds.
const ASK_PAUSE_MS: u64 = 3_000;
/// Pages of one node's list, at the most: of more than a million users.
pub(super) const PAGES_MAX: usize = 2_048;
/// Bytes of one: it ends with the item that fills it.
pub(super) const PAGE_BYTES: usize = CHAT_BATCH_BYTES + 512;

impl Chat {
    /// A node can be reached, in this run; or cannot be reached any more.
    pub(super) fn on_node_reach(&mut self, ctx: &mut Ctx, id: NodeId, boot: Option<u64>) {
        self.version += 1;
        let index = self.nodes.index(id);
        let Some(boot) = boot else {
            let Some(index) = index else { return };
            self.touch_node(index);
            if let Some(node) = self.nodes.get_mut(index) {
                node.reachable = false;
                (node.ask_at, node.pages) = (None, None);
            }
            self.on_node_lost(ctx, index);
            return;
        };
        let (index, emptied) =
            match index.map(|index| (index, false)).or_else(|| self.nodes.add(id)) {
                Some(found) => found,
                None => return, // more nodes than there may be: the mesh does not know them either
            };
        let before = self.nodes.get(index).map(|node| (node.place.boot, node.reachable));
        let same_run = before.is_some_and(|(known, _)| known == boot) && !emptied;
        if !same_run {
            if before.is_some_and(|(_, reachable)| reachable) {
                self.on_node_lost(ctx, index);
            }
            self.clear_node(index);
        }
        // Before it counts: watchers are told what differs from what they know.
        self.touch_node(index);
        if let Some(node) = self.nodes.get_mut(index) {
            if !same_run {
                node.place = Place { boot, sequence: 0 };
                node.early.clear();
                node.pages = None;
            }
            node.reachable = true;
            node.ask_at = Some(ctx.now.time);
        }
    }

    /// A delta of a node's presence, spread or sent because it was asked for.
    pub(super) fn on_delta(
        &mut self,
        ctx: &mut Ctx,
        from: NodeId,
        place: Place,
        items: Bytes,
    ) -> Decoded<()> {
        if items.len() > PAGE_BYTES {
            return Err(Malformed);
        }
        let Some((index, node)) = self.node_in_run(from, place.boot) else { return Ok(()) };
        if place.sequence <= node.place.sequence {
            if place.sequence == node.place.sequence && node.early.is_empty() {
                node.ask_at = None; // the answer that nothing is missing
            }
            return Ok(());
        }
        if place.sequence > node.place.sequence.saturating_add(1) {
            let bytes: usize = node.early.values().map(Bytes::len).sum();
            if node.early.len() < EARLY_DELTAS_MAX && bytes + items.len() <= LOG_BYTES_MAX {
                node.early.insert(place.sequence, Bytes::copy_from_slice(&items));
            }
            let due = ctx.now.time + EARLY_MS;
            node.ask_at = Some(node.ask_at.map_or(due, |at| at.min(due)));
            return Ok(());
        }
        node.place = place;
        self.apply_items(index, items)?;
        self.apply_early(index)
    }

    /// A page of a node's list.
    pub(super) fn on_list(
        &mut self,
        ctx: &mut Ctx,
        from: NodeId,
        place: Place,
        (page, last): (u64, bool),
        items: Bytes,
    ) -> Decoded<()> {
        let Some((index, node)) = self.node_in_run(from, place.boot) else { return Ok(()) };
        if page == 0 && node.pages.as_ref().is_none_or(|(at, _)| *at != place) {
            node.pages = Some((place, Vec::new()));
        }
        let follows =
            |(at, pages): &&mut (Place, Vec<Bytes>)| *at == place && pages.len() as u64 == page;
        let Some((at, pages)) = node.pages.as_mut().filter(follows) else {
            return Ok(()); // it is here, or one before it is not and will be asked for
        };
        if pages.len() >= PAGES_MAX || items.len() > PAGE_BYTES {
            node.pages = None;
            return Err(Malformed);
        }
        pages.push(items);
        if !last {
            let goes_on = pages.len().is_multiple_of(PAGES_AT_ONCE);
            let pause_ms = if goes_on { 0 } else { ASK_PAUSE_MS };
            node.ask_at = Some(ctx.now.time + pause_ms);
            return Ok(());
        }
        let (place, pages) = (*at, std::mem::take(pages));
        node.pages = None;
        if place.sequence < node.place.sequence {
            return Ok(()); // what came meanwhile is newer
        }
        node.place = place;
        node.early.retain(|sequence, _| *sequence > place.sequence);
        self.clear_node(index);
        for items in pages {
            self.apply_items(index, items)?;
        }
        self.apply_early(index)?;
        // The list may be of a while ago.
        if let Some(node) = self.nodes.get_mut(index) {
            node.ask_at = Some(ctx.now.time);
        }
        Ok(())
    }

    fn apply_early(&mut self, index: NodeIndex) -> Decoded<()> {
        while let Some(node) = self.nodes.get_mut(index) {
            let next = node.place.sequence.saturating_add(1);
            let Some(items) = node.early.remove(&next) else { break };
            node.place.sequence = next;
            self.apply_items(index, items)?;
        }
        if let Some(node) = self.nodes.get_mut(index)
            && node.early.is_empty()
        {
            node.ask_at = None;
        }
        Ok(())
    }

    fn node_in_run(&mut self, id: NodeId, boot: u64) -> Option<(NodeIndex, &mut Node)> {
        let index = self.nodes.index(id)?;
        let node = self.nodes.get_mut(index).filter(|node| node.place.boot == boot)?;
        Some((index, node))
    }

    /// Forgets the presence of a node.
    fn clear_node(&mut self, index: NodeIndex) {
        for item in self.items_of(index) {
            self.apply_item(index, item);
        }
    }

    /// All that is known to be at a node, with no sessions.
    fn items_of(&self, index: NodeIndex) -> Vec<Item> {
        let mut items = Vec::new();
        self.directory.at_node(index, |name, _| {
            let user = Name::new(Bytes::copy_from_slice(name)).expect("checked when it came");
            items.push(Item::User { user, sessions: 0, status: None });
        });
        for (room, state) in &self.rooms {
            for (user, _) in state.members.iter().filter(|(_, at)| at.contains_key(&index)) {
                items.push(Item::Member { room: room.clone(), user: user.clone(), sessions: 0 });
            }
        }
        items
    }

    /// What is at a node is about to count, or not to count any more.
    fn touch_node(&mut self, index: NodeIndex) {
        for item in self.items_of(index) {
            match item {
                Item::User { user, .. } => self.touch_user(&user),
                Item::Member { room, user, .. } => self.touch_member(&room, &user),
            }
        }
    }

    fn apply_items(&mut self, index: NodeIndex, items: Bytes) -> Decoded<()> {
        Item::decode_all(items, |item| self.apply_item(index, item))
    }

    pub(super) fn apply_item(&mut self, index: NodeIndex, item: Item) {
        self.version += 1;
        match item {
            Item::User { user, sessions, status } => {
                self.touch_user(&user);
                self.directory.set(index, user.as_bytes(), sessions);
                match status.filter(|_| sessions > 0) {
                    Some(status) => {
                        self.statuses.entry(user).or_default().insert(index, status);
                    }
                    None => {
                        if let Some(at) = self.statuses.get_mut(&user) {
                            at.remove(&index);
                            if at.is_empty() {
                                self.statuses.remove(&user);
                            }
                        }
                    }
                }
            }
            Item::Member { room, user, sessions } => {
                self.touch_member(&room, &user);
                self.set_member(index, &room, &user, sessions);
            }
        }
    }

    /// Remembers how a user was before the first change since the last telling.
    fn touch_user(&mut self, user: &Name) {
        if self.holding.contains_key(user) {
            self.retry.insert(user.clone());
        }
        if self.touched.contains_key(user) {
            return;
        }
        let (sessions, status) = self.sessions_of(user.as_bytes());
        if sessions == 0 && self.watchers.is_empty() {
            return; // nobody is to be told, and who only comes was not last seen
        }
        self.touched.insert(user.clone(), Touched { online: sessions > 0, status });
    }

    // What is known

    /// The sessions of a user on all nodes that can be reached, and the user's status.
    pub(super) fn sessions_of(&self, user: &[u8]) -> (u32, Option<Bytes>) {
        let found = self.directory.find(user).filter(|(at, _)| self.nodes.is_reachable(*at));
        let sessions = found.fold(0u32, |sum, (_, sessions)| sum.saturating_add(sessions));
        if self.statuses.is_empty() {
            return (sessions, None);
        }
        let name = Name::new(Bytes::copy_from_slice(user)).ok();
        let at = name.and_then(|name| self.statuses.get(&name));
        let status = at.and_then(|at| at.iter().find(|(at, _)| self.nodes.is_reachable(**at)));
        (sessions, status.map(|(_, status)| status.clone()))
    }

    /// A user as others see them.
    pub(super) fn presence(&self, user: Name) -> Presence {
        let (sessions, status) = self.sessions_of(user.as_bytes());
        let seen_ms = if sessions > 0 { None } else { self.last_seen_ms(&user) };
        Presence { user, sessions, status, seen_ms }
    }

    /// Users online whose names begin with `prefix`, after `after`, at most `limit`; and whether
    /// there are more.
    pub(super) fn users(&self, prefix: &[u8], after: &[u8], limit: usize) -> (Vec<Presence>, bool) {
        let (mut found, mut more): (Vec<Bytes>, bool) = (Vec::new(), false);
        self.directory.visit_from(prefix.max(after), |at, name, _| {
            if !name.starts_with(prefix) {
                return ControlFlow::Break(());
            }
            let is_known = name == after || found.last().is_some_and(|last| last == name);
            if is_known || !self.nodes.is_reachable(at) {
                return ControlFlow::Continue(());
            }
            if found.len() == limit {
                more = true;
                return ControlFlow::Break(());
            }
            found.push(Bytes::copy_from_slice(name));
            ControlFlow::Continue(())
        });
        let name = |name| Name::new(name).expect("checked when it came");
        (found.into_iter().map(|user| self.presence(name(user))).collect(), more)
    }

    /// A user went: when, and nobody is remembered for ever.
    pub(super) fn note_last_seen(&mut self, user: &Name, wall_ms: u64) {
        let turn = self.last_seen_order.last_key_value().map_or(0, |(last, _)| last + 1);
        if let Some((_, before)) = self.last_seen.insert(user.clone(), (wall_ms, turn)) {
            self.last_seen_order.remove(&before);
        }
        self.last_seen_order.insert(turn, user.clone());
        if self.last_seen_order.len() > LAST_SEEN_MAX
            && let Some((_, oldest)) = self.last_seen_order.pop_first()
        {
            self.last_seen.remove(&oldest);
        }
    }

    /// When a user who is not here was last seen, in Unix milliseconds.
    pub(super) fn last_seen_ms(&self, user: &Name) -> Option<u64> {
        self.last_seen.get(user).map(|(seen_ms, _)| *seen_ms)
    }

    /// Whether a user who is not here was, as far back as is remembered.
    pub(super) fn was_seen(&self, user: &Name) -> bool {
        // Who went just now is noted when it is told.
        let just_went = self.touched.get(user).is_some_and(|before| before.online);
        just_went || self.last_seen.contains_key(user)
    }

    // Comparing

    /// Asks nodes for what is missing, and neighbors whether something is.
    pub(super) fn ask_and_compare(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        for (_, node) in self.nodes.iter_mut() {
            if node.reachable && node.ask_at.is_some_and(|at| at <= now) {
                node.ask_at = Some(now + ASK_PAUSE_MS);
                let so_far = node.pages.as_ref().map(|(at, pages)| (at.sequence, pages.len()));
                let (list, pages) = so_far.unwrap_or_default();
                let said = Said::Ask { place: node.place, list, pages: pages as u64 };
                ctx.send(Tag::CHAT, Dest::Node(node.id), said.encode());
            }
        }
        if self.compare_at.is_some_and(|at| at <= now) {
            self.compare_at = Some(now + ctx.rng.jitter(ctx.limits.presence_ms));
            let digest = Said::Digest(self.digest()).encode();
            for neighbor in &self.neighbors {
                ctx.send(Tag::CHAT, Dest::Neighbor(*neighbor), digest.clone());
            }
        }
    }

    fn places(&self) -> Vec<(NodeId, Place)> {
        let reachable = self.nodes.iter().filter(|(_, node)| node.reachable);
        let mut places: Vec<_> = reachable.map(|(_, node)| (node.id, node.place)).collect();
        places.push((self.own, self.own_place));
        places.sort_unstable();
        places
    }

    fn digest(&self) -> u64 {
        let hash = blake3::hash(&Said::Vector(self.places()).encode());
        u64::from_be_bytes(hash.as_bytes()[..8].try_into().expect("32 bytes"))
    }

    pub(super) fn on_digest(&mut self, ctx: &mut Ctx, from: NodeId, digest: u64) {
        if digest != self.digest() {
            ctx.send(Tag::CHAT, Dest::Neighbor(from), Said::Vector(self.places()).encode());
        }
    }

    pub(super) fn on_vector(&mut self, ctx: &mut Ctx, places: Vec<(NodeId, Place)>) {
        for (id, place) in places {
            let Some((_, node)) = self.node_in_run(id, place.boot) else { continue };
            if node.reachable && place.sequence > node.place.sequence {
                node.ask_at.get_or_insert(ctx.now.time);
            }
        }
    }
}
