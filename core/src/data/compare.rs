//! Comparing two sets: what differs is found by sums over ever smaller parts.
//!
//! Range-based set reconciliation (Meyer, 2022) over the buckets of the index: the sums of 1,024
//! groups, then of the 64 buckets of each group that differs, then the versions in the buckets that
//! differ; then both sides send what the other misses. For 100 differences among a million
//! entries that is three round trips and about 100 KiB beside the entries.

use super::message::{Entries, Message, Outline};
use super::pull::ANSWER_MS_MAX;
use super::{Data, read};
use crate::ctx::{Ctx, Dest, Fact, Marks};
use crate::id::{NodeId, StoreId};
use crate::limits::{GROUPS_AT_ONCE, PAGE_BYTES_MAX, SLICE_ENTRIES_MAX, VERSIONS_AT_ONCE};
use crate::replica::index::Slot;
use crate::store::space::ENTRIES;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// Where a comparison with a neighbor stands.
#[derive(Debug, Default)]
pub(super) enum State {
    /// There is none.
    #[default]
    Idle,
    /// This node sent its groups.
    Asked { store: StoreId, since: Time },
    /// Both know what differs; when the neighbor's last entry has come, this number and these
    /// marks are reached, unless there was `more`. `own_number` was this node's.
    Narrowed { store: StoreId, number: u64, own_number: u64, marks: Marks, more: bool, since: Time },
}

impl State {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, State::Idle)
    }
}

/// Entries that a neighbor misses, looked for in slices.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) to: NodeId,
    wanted: BTreeSet<(u16, u64)>,
    cursor: Vec<u8>,
}

impl Data {
    pub(super) fn start_compare(&mut self, ctx: &mut Ctx, node: NodeId, store: StoreId) {
        let now = ctx.now.time;
        let Some(neighbor) = self.sync.neighbors.get_mut(&node) else { return };
        let since = match &neighbor.compare {
            State::Idle => None,
            State::Asked { since, .. } | State::Narrowed { since, .. } => Some(*since),
        };
        if since.is_some_and(|since| now - since < ANSWER_MS_MAX) {
            return;
        }
        neighbor.compare = State::Asked { store, since: now };
        neighbor.refused = None;
        let groups = Message::Groups { number: self.number, sums: self.index.group_sums() };
        self.tell(ctx, Dest::NeighborMarked(node), &groups);
    }

    pub(super) fn on_compare_message(&mut self, ctx: &mut Ctx, from: NodeId, message: Message) {
        match message {
            Message::Groups { number, sums } => self.on_groups(ctx, from, number, &sums),
            Message::Buckets { number, more, groups } => {
                self.on_buckets(ctx, from, number, more, groups);
            }
            Message::Versions { more, buckets } => self.on_versions(ctx, from, more, buckets),
            Message::Want(wanted) => self.begin_job(from, wanted.into_iter().collect()),
            Message::Found { done, entries } => self.on_found(ctx, from, done, entries),
            _ => {}
        }
    }

    fn on_groups(&mut self, ctx: &mut Ctx, from: NodeId, number: u64, theirs: &[u64]) {
        let marks = ctx.marked.take().map_or_else(Marks::new, |marked| marked.marks);
        let own_goes_on = self.own < from;
        let Some(neighbor) = self.sync.neighbors.get_mut(&from) else { return };
        if own_goes_on && matches!(neighbor.compare, State::Asked { .. }) {
            return; // both asked: the one with the smaller id goes on
        }
        let store = self.sync.known_store(from);
        let own = self.index.group_sums();
        let differs = |(group, (own, theirs)): (usize, (&u64, &u64))| {
            (own != theirs).then(|| u16::try_from(group).expect("there are 1,024 groups"))
        };
        let differing: Vec<u16> = own.iter().zip(theirs).enumerate().filter_map(differs).collect();
        let more = differing.len() > GROUPS_AT_ONCE;
        let (own_number, since) = (self.number, ctx.now.time);
        let state = State::Narrowed { store, number, own_number, marks, more, since };
        self.set_compare(from, state);
        let sums = |group: u16| (group, self.index.bucket_sums(group).collect());
        let groups = differing.into_iter().take(GROUPS_AT_ONCE).map(sums).collect();
        let buckets = Message::Buckets { number: self.number, more, groups };
        self.tell(ctx, Dest::NeighborMarked(from), &buckets);
    }

    fn on_buckets(
        &mut self,
        ctx: &mut Ctx,
        from: NodeId,
        number: u64,
        more: bool,
        groups: Vec<(u16, Vec<u64>)>,
    ) {
        let marks = ctx.marked.take().map_or_else(Marks::new, |marked| marked.marks);
        let Some(neighbor) = self.sync.neighbors.get_mut(&from) else { return };
        let State::Asked { store, .. } = neighbor.compare else { return };
        let mut differing = BTreeSet::new();
        for (group, theirs) in groups {
            for (at, (own, theirs)) in (0u16..).zip(self.index.bucket_sums(group).zip(theirs)) {
                differing.extend((own != theirs).then_some(group * 64 + at));
            }
        }
        let count = differing.len();
        let mut versions = 0;
        let fits = |bucket: &u16| {
            let fits = versions < VERSIONS_AT_ONCE;
            versions += self.index.bucket(*bucket).len();
            fits
        };
        let buckets: Vec<_> = differing
            .into_iter()
            .take_while(fits)
            .map(|bucket| (bucket, self.outlines(bucket)))
            .collect();
        let more = more || buckets.len() < count;
        let (own_number, since) = (self.number, ctx.now.time);
        let state = State::Narrowed { store, number, own_number, marks, more, since };
        self.set_compare(from, state);
        self.tell(ctx, Dest::Neighbor(from), &Message::Versions { more, buckets });
    }

    fn set_compare(&mut self, node: NodeId, state: State) {
        if let Some(neighbor) = self.sync.neighbors.get_mut(&node) {
            neighbor.compare = state;
        }
    }

    /// The versions in a bucket, as they are compared.
    fn outlines(&self, bucket: u16) -> Vec<Outline> {
        let outline = |slot: &Slot| {
            let node = self.index.version(slot).node.0;
            Outline {
                id: slot.id,
                stamp: slot.stamp,
                check: slot.check,
                node: u32::from_be_bytes([node[0], node[1], node[2], node[3]]),
                flags: slot.flags,
            }
        };
        self.index.bucket(bucket).iter().map(outline).collect()
    }

    fn on_versions(
        &mut self,
        ctx: &mut Ctx,
        from: NodeId,
        cut: bool,
        buckets: Vec<(u16, Vec<Outline>)>,
    ) {
        let neighbor = self.sync.neighbors.get_mut(&from).map(|neighbor| &mut neighbor.compare);
        if let Some(State::Narrowed { more, .. }) = neighbor {
            *more |= cut;
        }
        let (mut want, mut give) = (Vec::new(), BTreeSet::new());
        for (bucket, theirs) in buckets {
            let own: BTreeMap<u64, Outline> =
                self.outlines(bucket).into_iter().map(|outline| (outline.id, outline)).collect();
            let theirs: BTreeMap<u64, Outline> =
                theirs.into_iter().map(|outline| (outline.id, outline)).collect();
            for (id, outline) in &theirs {
                if own.get(id).is_none_or(|own| may_beat(outline, own)) {
                    want.push((bucket, *id));
                }
            }
            for (id, outline) in &own {
                if theirs.get(id).is_none_or(|theirs| may_beat(outline, theirs)) {
                    give.insert((bucket, *id));
                }
            }
        }
        self.tell(ctx, Dest::Neighbor(from), &Message::Want(want));
        self.begin_job(from, give);
    }

    fn begin_job(&mut self, to: NodeId, wanted: BTreeSet<(u16, u64)>) {
        self.sync.jobs.retain(|job| job.to != to);
        self.sync.jobs.push(Job { to, wanted, cursor: Vec::new() });
    }

    /// One slice of looking for what neighbors miss.
    pub(super) fn tick_compare(&mut self, ctx: &mut Ctx) {
        let next = self.sync.jobs.iter().rposition(|job| self.sync.takes_more(job.to));
        let Some(mut job) = next.map(|at| self.sync.jobs.remove(at)) else { return };
        let (mut seen, mut bytes) = (0, 0);
        let mut entries = Entries::new();
        let (mut ended, mut damaged) = (true, None);
        let (index, wanted, cursor) = (&self.index, &mut job.wanted, &mut job.cursor);
        let from = cursor.clone();
        ctx.scan(ENTRIES, &from, &mut |key, value| {
            seen += 1;
            if wanted.is_empty() {
                return false;
            }
            if seen > SLICE_ENTRIES_MAX || bytes > PAGE_BYTES_MAX {
                *cursor = key.to_vec();
                ended = false;
                return false;
            }
            let hash = index.hash(key);
            if wanted.remove(&(hash.bucket, hash.id)) {
                bytes += key.len() + value.len();
                match read::decode_pair(key, value) {
                    Ok(pair) => entries.push(pair),
                    Err(error) => damaged = Some(error),
                }
            }
            damaged.is_none()
        });
        if let Some(error) = damaged {
            return ctx.halt(error);
        }
        ctx.stats.caught_up += entries.len() as u64;
        if ended || !entries.is_empty() {
            let found = Message::Found { done: ended, entries };
            self.tell(ctx, Dest::Neighbor(job.to), &found);
        }
        if !ended {
            self.sync.jobs.insert(0, job);
        }
    }

    fn on_found(&mut self, ctx: &mut Ctx, from: NodeId, done: bool, entries: Entries) {
        self.apply_pulled(ctx, from, entries);
        let now = ctx.now.time;
        let Some(neighbor) = self.sync.neighbors.get_mut(&from) else { return };
        let State::Narrowed { store, number, own_number, marks, more, since } =
            &mut neighbor.compare
        else {
            return;
        };
        *since = now;
        if !done {
            return;
        }
        let (store, number, more) = (*store, *number, *more);
        let has_gained = self.number > *own_number;
        let marks = std::mem::take(marks);
        neighbor.compare = State::Idle;
        if !more && store != StoreId::default() {
            self.reach_number(from, store, number);
            ctx.facts.push(Fact::CaughtUp(marks));
        }
        if more && has_gained {
            // The next round. Who gained nothing may have refused what it was sent, and would again.
            self.start_compare(ctx, from, store);
        }
        // The full check at the end.
        let nodes: Vec<NodeId> = self.sync.neighbors.keys().copied().collect();
        for node in nodes {
            self.send_summary(ctx, node, node != from);
        }
    }
}

/// Whether an entry with the first outline may beat one with the second: then it is sent, and the
/// merge decides.
fn may_beat(one: &Outline, other: &Outline) -> bool {
    let same = one == other;
    let either_first = (one.flags | other.flags) & Slot::FIRST != 0;
    !same && (either_first || one.stamp >= other.stamp)
}
