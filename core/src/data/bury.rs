//! Forgetting what is dead: only when nobody is left who would need to be told.
//!
//! A tombstone (or a value that has ended) must stay until no member holds anything older at its
//! key that it would have to beat. So whoever wants to forget one asks all members, by the
//! reliable channel; each answers which of them it still needs, and is told in the end what all
//! may forget. A member that is away, has just taken in something old, or is catching up itself
//! has its word later: until then nothing is forgotten. Age alone decides nothing, and each member
//! judges it by its own clock too, so no clock can bring a deleted value back. A member that will
//! not return is to be removed from the network, or its word is waited for for ever; so is any
//! other node that was linked once.
//!
//! Limits: `BURIED_AT_ONCE`; `NODES_MAX` of those who asked.

use super::apply::{MEMBERS, REMOVED, rank, system_key};
use super::message::{Entries, Message};
use super::{Data, Entry, EntryKey};
use crate::ctx::{Ctx, Dest};
use crate::id::NodeId;
use crate::limits::{BURIED_AT_ONCE, NODES_MAX};
use crate::replica::Version;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// How often dead entries are looked at, in milliseconds.
const BURY_MS: u64 = 60_000;
/// The pause between two rounds while there is more, in milliseconds.
const NEXT_ROUND_MS: u64 = 1_000;
/// How long all answers are waited for, in milliseconds.
const ANSWERS_MS_MAX: u64 = 30_000;
/// How long after something came in late this node keeps everything, in milliseconds: longer
/// than a sync takes, or than anything else old is under way.
const UNSETTLED_MS: u64 = 60_000;
/// How long after its answer a member believes that all have agreed, in milliseconds: what is told
/// later was decided before something that it cannot know of.
const AGREED_MS_MAX: u64 = 2 * ANSWERS_MS_MAX;

/// What is to be forgotten next.
#[derive(Debug, Default)]
pub(super) struct Burial {
    due: Time,
    /// Behind this one the next round begins.
    after: Option<(u64, EntryKey)>,
    round: u64,
    asked: Option<Asked>,
    /// When something last came in late: old, or by catching up.
    pub(super) late_at: Option<Time>,
    /// When those who asked lately were answered last.
    answered: BTreeMap<NodeId, Time>,
}

#[derive(Debug)]
struct Asked {
    since: Time,
    members: BTreeSet<NodeId>,
    waiting: BTreeSet<NodeId>,
    dead: Entries,
    /// Places in `dead` of what some member needs.
    needed: BTreeSet<u64>,
}

/// Whether something is alive, or was until lately, by this node's clock: then what it must beat
/// may still be under way to somebody, whatever another node's clock shows.
fn is_young(ctx: &Ctx, entry: &Entry) -> bool {
    let half = ctx.limits.tombstone_grace_ms / 2;
    entry.buried_since_ms().is_none_or(|since| since.saturating_add(half) > ctx.now.wall_ms)
        || entry.is_live(ctx.now.wall_ms)
}

impl Data {
    pub(super) fn bury_due(&self) -> Option<Time> {
        let asked = self.burial.asked.as_ref().map(|asked| asked.since + ANSWERS_MS_MAX);
        asked.or(self.graveyard.next_due_ms().map(|_| self.burial.due))
    }

    pub(super) fn tick_bury(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        if self.burial.asked.as_ref().is_some_and(|asked| now - asked.since >= ANSWERS_MS_MAX) {
            self.burial.asked = None;
            self.burial.due = now + BURY_MS;
        }
        if self.burial.asked.is_some() || self.burial.due > now {
            return;
        }
        self.burial.due = now + BURY_MS;
        if !self.is_settled(ctx) {
            return;
        }
        if self.is_rereading(ctx) {
            self.burial.due = now + NEXT_ROUND_MS;
            return;
        }
        let dead = self.next_dead(ctx);
        if dead.is_empty() {
            return;
        }
        let members = self.other_members(ctx);
        if members.is_empty() && ctx.around.others_expected {
            return; // they may hold what must be beaten
        }
        if members.len() > NODES_MAX {
            return; // more than can be reached, so not all would answer
        }
        self.burial.round += 1;
        let question = Message::Bury { round: self.burial.round, dead: dead.clone() };
        for node in &members {
            self.tell(ctx, Dest::Node(*node), &question);
        }
        let waiting = members.clone();
        self.burial.asked =
            Some(Asked { since: now, members, waiting, dead, needed: BTreeSet::new() });
        self.end_round(ctx);
    }

    /// The next entries that are dead for longer than the grace, without their values.
    fn next_dead(&mut self, ctx: &mut Ctx) -> Entries {
        let Some(before) = ctx.now.wall_ms.checked_sub(ctx.limits.tombstone_grace_ms) else {
            return Entries::new();
        };
        let after = self.burial.after.take();
        let is_behind = |at: &&(u64, EntryKey)| after.as_ref().is_none_or(|after| *at > after);
        let rest = self.graveyard.due(before).filter(is_behind);
        let keys: Vec<(u64, EntryKey)> = rest.take(BURIED_AT_ONCE).cloned().collect();
        if keys.len() == BURIED_AT_ONCE {
            self.burial.after = keys.last().cloned();
            self.burial.due = ctx.now.time + NEXT_ROUND_MS;
        } else if after.is_some() {
            self.burial.due = ctx.now.time + NEXT_ROUND_MS; // from the beginning again
        }
        let mut dead = Entries::new();
        for (_, key) in keys {
            if let Some(entry) = Data::entry(ctx, &key) {
                dead.push((key, Entry { value: None, ..entry }));
            }
        }
        dead
    }

    /// All members but this node, and but those who were removed.
    fn other_members(&self, ctx: &mut Ctx) -> BTreeSet<NodeId> {
        let mut members = self.system_nodes(ctx, MEMBERS);
        let removed = self.system_nodes(ctx, REMOVED);
        members.retain(|node| *node != self.own && !removed.contains(node));
        members
    }

    /// Whether nothing old may be on its way to this node, or not be on its disk yet.
    fn is_settled(&self, ctx: &Ctx) -> bool {
        let now = ctx.now.time;
        let came = self.burial.late_at.is_some_and(|at| now - at < UNSETTLED_MS);
        !came && self.sync.is_at_rest() && self.sync.known.keys().all(|node| self.has_word(*node))
    }

    /// Whether a node that was linked is asked before anything is forgotten, or is removed. One
    /// whose link was lost before it told that it is a member may hold what must be beaten.
    fn has_word(&self, node: NodeId) -> bool {
        let is_there = |kind| {
            let key = system_key(kind, node);
            self.index.get(self.index.hash(key.as_bytes())).is_some()
        };
        is_there(MEMBERS) || is_there(REMOVED)
    }

    /// A member asks whether it may forget these.
    pub(super) fn on_bury(&mut self, ctx: &mut Ctx, from: NodeId, round: u64, dead: &Entries) {
        let settled = self.is_settled(ctx);
        let mut needed = Vec::new();
        for (index, (key, entry)) in (0u64..).zip(dead) {
            if !settled || self.needs(ctx, key, entry) {
                needed.push(index);
            }
        }
        self.tell(ctx, Dest::Node(from), &Message::Buried { round, needed });
        let now = ctx.now.time;
        self.burial.answered.retain(|_, at| now - *at < AGREED_MS_MAX);
        if self.burial.answered.len() < NODES_MAX {
            self.burial.answered.insert(from, now);
        }
    }

    /// Whether something here would be seen again if a dead entry were forgotten.
    fn needs(&self, ctx: &mut Ctx, key: &EntryKey, dead: &Entry) -> bool {
        if self.index.get(self.index.hash(key.as_bytes())).is_none() {
            return !self.covered(ctx, key, dead.version).is_empty();
        }
        let Some(own) = Data::entry(ctx, key) else { return true };
        if own.version == dead.version {
            return is_young(ctx, &own); // its clock or this one is wrong
        }
        rank(&own) < rank(dead)
    }

    /// A member answers.
    pub(super) fn on_buried(&mut self, ctx: &mut Ctx, from: NodeId, round: u64, needed: &[u64]) {
        let current = round == self.burial.round;
        let Some(asked) = self.burial.asked.as_mut().filter(|_| current) else { return };
        if !asked.waiting.remove(&from) {
            return;
        }
        let asked_for = 0..asked.dead.len() as u64;
        asked.needed.extend(needed.iter().filter(|at| asked_for.contains(at)));
        self.end_round(ctx);
    }

    /// Once all have answered: everybody forgets what nobody needs.
    fn end_round(&mut self, ctx: &mut Ctx) {
        let Some(asked) = self.burial.asked.take_if(|asked| asked.waiting.is_empty()) else {
            return;
        };
        let Asked { members, dead, needed, .. } = asked;
        let unneeded = (0u64..).zip(dead).filter(|(at, _)| !needed.contains(at));
        let dead: Entries = unneeded.map(|(_, dead)| dead).collect();
        // Who has become a member meanwhile was not asked.
        if dead.is_empty() || !self.is_settled(ctx) || !self.other_members(ctx).is_subset(&members)
        {
            return;
        }
        let forget = Message::Forget(dead.clone());
        for node in &members {
            self.tell(ctx, Dest::Node(*node), &forget);
        }
        self.forget_dead(ctx, dead);
    }

    /// All members have agreed to forget these. Word that comes long after the answer, or after
    /// something came in late, may be of a time before it: it is asked for anew some day.
    pub(super) fn on_forget(&mut self, ctx: &mut Ctx, from: NodeId, dead: Entries) {
        let Some(answered) = self.burial.answered.get(&from) else { return };
        let is_fresh = ctx.now.time - *answered < AGREED_MS_MAX;
        if is_fresh && self.burial.late_at.is_none_or(|late| late < *answered) {
            self.forget_dead(ctx, dead);
        }
    }

    fn forget_dead(&mut self, ctx: &mut Ctx, dead: Entries) {
        for (key, dead) in dead {
            let Some(own) = Data::entry(ctx, &key) else { continue };
            if own.version != dead.version || is_young(ctx, &own) {
                continue; // something newer came meanwhile, or a clock is wrong
            }
            for field in self.covered(ctx, &key, own.version) {
                self.forget(ctx, &field);
            }
            self.forget(ctx, &key);
            ctx.stats.collected += 1;
        }
    }

    /// The fields that an entry of the whole path covers: without it they would be seen again.
    fn covered(&self, ctx: &mut Ctx, key: &EntryKey, version: Version) -> Vec<EntryKey> {
        let mut covered = Vec::new();
        if !self.has_fields || key.to_field().is_some() {
            return covered;
        }
        let fields = [&key.as_bytes()[..], &[0]].concat();
        Data::scan_entries(ctx, &fields, &mut |found, entry, _| {
            let is_field = found.as_bytes().starts_with(&fields);
            if is_field && entry.version < version {
                covered.push(found);
            }
            is_field
        });
        covered
    }
}
