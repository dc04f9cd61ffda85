//! One to all: once over a tree, repaired lazily.
//!
//! Promise: what a node spreads reaches every node that can be reached, is handed to the service
//! once, and costs close to one copy per node; what cannot be repaired here is told to the
//! services as a gap. Plumtree (Leitão, Pereira, Rodrigues, 2007) over each origin's shortest-path
//! tree. Messages: Spread, Announce (ranges), Graft. Keys: none. Repair: announcements on the other
//! links, grafts from a cache, then the services' own catching up. Limits: `SPREAD_*`.

use crate::ctx::{Ahead, Marks};
use crate::id::NodeId;
use crate::limits::{
    GRAFTS_MAX, NODES_MAX, SPREAD_CACHE_BYTES_MAX, SPREAD_CACHE_MAX, SPREAD_CACHE_MS,
    SPREAD_RANGES_MAX,
};
use crate::time::Time;
use crate::wire::codec::{Decoded, Reader, put_varint};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What has been received of one origin.
#[derive(Debug, Default)]
struct Origin {
    boot: u64,
    /// Everything up to here.
    contiguous: u64,
    /// Ranges beyond, in order, apart from each other.
    ranges: Vec<(u64, u64)>,
    /// A neighbor said that everything up to here came another way. It settles what is missing,
    /// but not whether an envelope was here before: a lie must not silence the origin.
    claimed: u64,
    /// The latest that has come.
    newest: u64,
    /// The run before this one that was heard of last, and up to where it is here: who has heard
    /// of nothing newer still speaks of it.
    before: (u64, u64),
}

impl Origin {
    /// Notes `sequence`; `false` if it was noted before.
    fn note(&mut self, sequence: u64) -> bool {
        let known = sequence <= self.contiguous
            || self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&sequence));
        if known {
            return false;
        }
        self.newest = self.newest.max(sequence);
        let at = self.ranges.partition_point(|(from, _)| *from < sequence);
        self.ranges.insert(at, (sequence, sequence));
        self.join();
        true
    }

    /// Begins from nothing with a newer run.
    fn renew(&mut self, boot: u64) {
        let before = (self.boot, self.upto());
        *self = Origin { boot, before, ..Origin::default() };
    }

    fn claim(&mut self, upto: u64) -> bool {
        let before = self.upto();
        self.claimed = self.claimed.max(upto);
        self.join();
        self.upto() > before
    }

    /// Up to where nothing is missing.
    fn upto(&self) -> u64 {
        self.contiguous.max(self.claimed)
    }

    /// Whether something has come that marks do not cover, as something before it is missing.
    fn is_open(&self) -> bool {
        self.newest > self.upto()
    }

    /// Joins ranges that touch or that follow what is claimed; forgets the furthest if there are
    /// too many: they will be announced again.
    fn join(&mut self) {
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for (from, to) in self.ranges.drain(..) {
            match joined.last_mut() {
                _ if from <= self.contiguous.max(self.claimed).saturating_add(1) => {
                    self.contiguous = self.contiguous.max(to);
                }
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        joined.truncate(SPREAD_RANGES_MAX);
        self.ranges = joined;
    }
}

/// Envelopes asked for: of one origin, from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) origin: NodeId,
    pub(crate) boot: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Something that was announced and is not here yet.
#[derive(Debug)]
struct Gap {
    boot: u64,
    to: u64,
    at: NodeId,
    due: Time,
    asked: u32,
    /// More was announced meanwhile: up to where, and when that is due.
    more: Option<(u64, Time)>,
}

/// An envelope, and how many things it holds for the statistics.
pub(crate) type Kept = (Bytes, u64);

/// The state of spreading.
#[derive(Debug, Default)]
pub(crate) struct SpreadState {
    own_sequence: u64,
    origins: BTreeMap<NodeId, Origin>,
    /// What is kept, and since when.
    cache: BTreeMap<(NodeId, u64, u64), (Kept, Time)>,
    cache_order: VecDeque<(NodeId, u64, u64)>,
    cache_bytes: usize,
    /// Origins to announce at the next occasion.
    fresh: BTreeSet<NodeId>,
    announce_at: Option<Time>,
    gaps: BTreeMap<NodeId, Gap>,
    /// Runs of which something came ahead; and whether one was forgotten since all was covered.
    ahead: BTreeSet<(NodeId, u64)>,
    lost_ahead: bool,
}

impl SpreadState {
    /// Numbers an envelope of this node.
    pub(crate) fn next_sequence(&mut self, own: NodeId, boot: u64) -> u64 {
        self.own_sequence += 1;
        let origin = self.origins.entry(own).or_default();
        if boot != origin.boot {
            origin.renew(boot);
        }
        origin.contiguous = self.own_sequence;
        self.own_sequence
    }

    /// Notes an envelope of a run that the origin's record confirms; `false` if it is not new.
    pub(crate) fn note(&mut self, origin: NodeId, boot: u64, sequence: u64) -> bool {
        let Some(state) = self.origin(origin, boot) else { return false };
        let is_new = state.note(sequence);
        if state.is_open() {
            self.ahead.insert((origin, boot));
        }
        is_new
    }

    /// What has become of all that came ahead; tells once that it is covered or lost.
    pub(crate) fn take_ahead(&mut self) -> Option<Ahead> {
        if self.ahead.is_empty() {
            return None;
        }
        let (origins, lost) = (&self.origins, &mut self.lost_ahead);
        self.ahead.retain(|(origin, boot)| {
            let state = origins.get(origin).filter(|state| state.boot == *boot);
            *lost |= state.is_none();
            state.is_some_and(Origin::is_open)
        });
        if !self.ahead.is_empty() {
            return None;
        }
        let lost = std::mem::take(&mut self.lost_ahead);
        Some(if lost { Ahead::Lost } else { Ahead::Covered })
    }

    /// The state of an origin's run; a newer run begins from nothing.
    fn origin(&mut self, origin: NodeId, boot: u64) -> Option<&mut Origin> {
        if self.origins.len() >= NODES_MAX && !self.origins.contains_key(&origin) {
            return None;
        }
        let state = self.origins.entry(origin).or_default();
        if boot > state.boot {
            state.renew(boot);
        }
        (boot == state.boot).then_some(state)
    }

    /// Keeps an envelope for those who ask for it, and announces it after a while.
    pub(crate) fn keep(
        &mut self,
        now: Time,
        key: (NodeId, u64, u64),
        kept: Kept,
        announce_ms: u64,
    ) {
        self.cache_bytes += kept.0.len();
        match self.cache.insert(key, (kept, now)) {
            Some((old, _)) => self.cache_bytes -= old.0.len(),
            None => self.cache_order.push_back(key),
        }
        while self.cache.len() > SPREAD_CACHE_MAX || self.cache_bytes > SPREAD_CACHE_BYTES_MAX {
            let Some(oldest) = self.cache_order.pop_front() else { break };
            self.cache_bytes -= self.cache.remove(&oldest).map_or(0, |(kept, _)| kept.0.len());
        }
        self.fresh.insert(key.0);
        self.announce_at.get_or_insert(now + announce_ms);
    }

    /// What is to be announced now, if it is time.
    pub(crate) fn take_announcements(&mut self, now: Time) -> Option<Marks> {
        if self.announce_at.is_none_or(|at| at > now) {
            return None;
        }
        self.announce_at = None;
        let fresh = std::mem::take(&mut self.fresh);
        let mark = |origin: NodeId| {
            let state = self.origins.get(&origin)?;
            Some((origin, state.boot, state.upto()))
        };
        Some(fresh.into_iter().filter_map(mark).collect())
    }

    /// A neighbor announced that it has everything of `origin` up to `upto`.
    pub(crate) fn on_announced(&mut self, at: NodeId, mark: (NodeId, u64, u64), due: Time) {
        let (origin, boot, upto) = mark;
        match self.origin(origin, boot) {
            Some(state) if state.upto() < upto => {}
            _ => return,
        }
        let new = Gap { boot, to: upto, at, due, asked: 0, more: None };
        match self.gaps.get_mut(&origin).filter(|gap| gap.boot == boot) {
            None => drop(self.gaps.insert(origin, new)),
            Some(gap) if upto <= gap.to => {}
            Some(gap) => gap.more = Some((upto.max(gap.more.map_or(0, |more| more.0)), due)),
        }
    }

    /// Gaps whose time has come: whom to ask for what. `None` in place of a range: this node
    /// must be caught up by the services.
    pub(crate) fn take_grafts(&mut self, now: Time, pause_ms: u64) -> Vec<(NodeId, Option<Range>)> {
        let mut grafts = Vec::new();
        let origins = &self.origins;
        self.gaps.retain(|origin, gap| {
            let state = origins.get(origin);
            let Some(state) = state.filter(|state| state.boot == gap.boot) else { return false };
            if state.upto() >= gap.to {
                // What came later is given its own time.
                let Some((to, due)) = gap.more.take() else { return false };
                (gap.to, gap.due, gap.asked) = (to, due, 0);
                if state.upto() >= to {
                    return false;
                }
            }
            if gap.due > now {
                return true;
            }
            if gap.asked >= GRAFTS_MAX {
                grafts.push((gap.at, None));
                return false;
            }
            gap.asked += 1;
            gap.due = now + pause_ms * (1 << gap.asked);
            let from = state.upto() + 1;
            let range = Range { origin: *origin, boot: gap.boot, from, to: gap.to };
            grafts.push((gap.at, Some(range)));
            true
        });
        grafts
    }

    /// A neighbor does not have what was asked for, or is gone.
    pub(crate) fn forget_gaps_at(&mut self, node: NodeId) -> bool {
        let before = self.gaps.len();
        self.gaps.retain(|_, gap| gap.at != node);
        before != self.gaps.len()
    }

    /// The kept envelopes of a range: the first, and what fits in `bytes_max` with it; `None` if
    /// the first is not kept, or for too long.
    pub(crate) fn kept(&self, now: Time, range: Range, bytes_max: usize) -> Option<Vec<Kept>> {
        let is_fresh = |since: Time| now - since <= SPREAD_CACHE_MS;
        let first = (range.origin, range.boot, range.from);
        let (oldest, _) = self.cache.get(&first).filter(|(_, since)| is_fresh(*since))?;
        let bytes_max = bytes_max.max(oldest.0.len());
        let mut bytes = 0;
        let fits = |(_, (kept, since)): &(_, &(Kept, Time))| {
            bytes += kept.0.len();
            bytes <= bytes_max && is_fresh(*since)
        };
        let last = (range.origin, range.boot, range.to.max(range.from));
        let kept = self.cache.range(first..=last).take_while(fits);
        Some(kept.map(|(_, (kept, _))| kept.clone()).collect())
    }

    /// Up to where everything of each origin is here.
    pub(crate) fn marks(&self) -> Marks {
        let mark = |(node, state): (&NodeId, &Origin)| (*node, state.boot, state.upto());
        self.origins.iter().map(mark).filter(|mark| mark.2 > 0).collect()
    }

    /// Whether everything that `marks` cover is here.
    pub(crate) fn covers(&self, marks: &Marks) -> bool {
        marks.iter().all(|(node, boot, upto)| {
            self.origins.get(node).is_some_and(|state| {
                let here = if state.boot == *boot { state.upto() } else { 0 };
                here >= *upto || (state.before.0 == *boot && state.before.1 >= *upto)
            })
        })
    }

    /// Everything that a mark covers is here, however it came: whether something was missing. Marks
    /// of runs newer than the record of their node are left out by the caller.
    pub(crate) fn advance(&mut self, mark: (NodeId, u64, u64)) -> bool {
        let (node, boot, upto) = mark;
        if let Some(state) = self.origin(node, boot) {
            return state.claim(upto);
        }
        let Some(state) = self.origins.get_mut(&node) else { return false };
        let is_news = (boot, upto) > state.before;
        state.before = state.before.max((boot, upto));
        is_news
    }

    /// Whether something before an envelope of a known run is missing.
    pub(crate) fn is_ahead(&self, origin: NodeId, sequence: u64) -> bool {
        self.origins.get(&origin).is_some_and(|state| sequence > state.upto())
    }

    /// Forgets the origins of which `is_known` does not hold.
    pub(crate) fn retain(&mut self, is_known: impl Fn(NodeId) -> bool) {
        self.origins.retain(|origin, _| is_known(*origin));
    }

    pub(crate) fn next_tick(&self) -> Option<Time> {
        self.gaps.values().map(|gap| gap.due).chain(self.announce_at).min()
    }
}

/// Appends marks as they are sent.
pub(crate) fn encode_marks(marks: &Marks, out: &mut BytesMut) {
    put_varint(out, marks.len() as u64);
    for (node, boot, upto) in marks {
        out.put_slice(&node.0);
        out.put_u64(*boot);
        put_varint(out, *upto);
    }
}

/// Reads marks as they are sent.
pub(crate) fn decode_marks(reader: &mut Reader) -> Decoded<Marks> {
    let count = reader.count(NODES_MAX, 41)?;
    (0..count).map(|_| Ok((NodeId(reader.array()?), reader.u64()?, reader.varint()?))).collect()
}

impl Range {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.origin.0);
        out.put_u64(self.boot);
        put_varint(&mut out, self.from);
        put_varint(&mut out, self.to);
        out.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Decoded<Range> {
        let mut reader = Reader::new(bytes);
        Ok(Range {
            origin: NodeId(reader.array()?),
            boot: reader.u64()?,
            from: reader.varint()?,
            to: reader.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    #[test]
    fn what_arrives_out_of_order_is_noted_once_and_closes_gaps() {
        let mut state = SpreadState::default();
        let noted: Vec<bool> =
            [1, 3, 3, 5, 4, 1, 2, 2].iter().map(|s| state.note(NODE, 7, *s)).collect();
        assert_eq!(noted, [true, true, false, true, true, false, true, false]);
        assert_eq!(state.marks(), vec![(NODE, 7, 5)]);
    }

    #[test]
    fn a_new_run_begins_from_nothing_and_an_old_one_is_ignored() {
        let mut state = SpreadState::default();
        assert!(state.note(NODE, 7, 1) && state.note(NODE, 8, 1) && !state.note(NODE, 7, 2));
        assert!(state.covers(&vec![(NODE, 7, 1)]) && !state.covers(&vec![(NODE, 7, 2)]));
    }

    #[test]
    fn what_came_of_an_older_run_is_not_missing_for_ever() {
        let mut state = SpreadState::default();
        assert!(state.note(NODE, 8, 1) && !state.covers(&vec![(NODE, 7, 5)]));
        state.advance((NODE, 7, 5));
        assert!(state.covers(&vec![(NODE, 7, 5)]) && !state.covers(&vec![(NODE, 7, 6)]));
        assert!(!state.covers(&vec![(NODE, 8, 2)]) && !state.note(NODE, 7, 9));
        assert_eq!(state.marks(), vec![(NODE, 8, 1)]);
    }

    #[test]
    fn what_is_announced_while_something_is_missing_has_its_own_time() {
        let mut state = SpreadState::default();
        state.note(NODE, 1, 1);
        state.on_announced(NODE, (NODE, 1, 2), Time(100));
        state.on_announced(NODE, (NODE, 1, 3), Time(150));
        state.note(NODE, 1, 2);
        assert_eq!(state.take_grafts(Time(120), 10).len(), 0);
        let grafts = state.take_grafts(Time(150), 10);
        assert_eq!(grafts, [(NODE, Some(Range { origin: NODE, boot: 1, from: 3, to: 3 }))]);
    }

    #[test]
    fn what_is_missing_is_asked_for_so_often_and_then_left_to_the_services() {
        let mut state = SpreadState::default();
        state.note(NODE, 1, 1);
        state.on_announced(NODE, (NODE, 1, 2), Time(0));
        let mut now = Time(0);
        for _ in 0..GRAFTS_MAX {
            let range = Range { origin: NODE, boot: 1, from: 2, to: 2 };
            assert_eq!(state.take_grafts(now, 10), [(NODE, Some(range))]);
            assert_eq!(state.take_grafts(now, 10), [], "not before its pause is over");
            now = now + 1_000;
        }
        assert_eq!(state.take_grafts(now, 10), [(NODE, None)]);
        assert_eq!(state.take_grafts(now + 1_000_000, 10), [], "they are told once");
    }

    #[test]
    fn what_came_ahead_is_covered_when_nothing_before_it_is_missing() {
        let mut state = SpreadState::default();
        assert!(state.note(NODE, 1, 1));
        assert_eq!(state.take_ahead(), None, "nothing came ahead");
        assert!(state.note(NODE, 1, 3) && state.note(NODE, 1, 5) && state.note(NODE, 1, 2));
        assert_eq!(state.take_ahead(), None, "the fourth is missing");
        assert!(state.note(NODE, 1, 4));
        assert_eq!(state.take_ahead(), Some(Ahead::Covered));
        assert_eq!(state.take_ahead(), None, "told once");
    }

    #[test]
    fn what_came_ahead_of_a_run_that_is_forgotten_is_lost() {
        let mut state = SpreadState::default();
        assert!(state.note(NODE, 1, 2) && state.note(NODE, 2, 1));
        assert_eq!(state.take_ahead(), Some(Ahead::Lost));
        assert!(state.note(NODE, 2, 3));
        state.retain(|_| false);
        assert_eq!(state.take_ahead(), Some(Ahead::Lost));
    }

    #[test]
    fn what_came_ahead_and_is_forgotten_beyond_the_limit_is_not_covered_before_it_comes_again() {
        let mut state = SpreadState::default();
        let last = 3 + 2 * SPREAD_RANGES_MAX as u64;
        for sequence in (3..=last).step_by(2).chain(1..last) {
            state.note(NODE, 1, sequence);
        }
        assert_eq!(state.take_ahead(), None);
        assert!(state.note(NODE, 1, last));
        assert_eq!(state.take_ahead(), Some(Ahead::Covered));
    }

    #[test]
    fn ranges_beyond_the_limit_are_forgotten_not_kept() {
        let mut state = SpreadState::default();
        for sequence in (0..=SPREAD_RANGES_MAX as u64).map(|n| 3 + 2 * n) {
            state.note(NODE, 1, sequence);
        }
        assert_eq!(state.origins[&NODE].ranges.len(), SPREAD_RANGES_MAX);
        assert!(state.note(NODE, 1, 3 + 2 * SPREAD_RANGES_MAX as u64), "forgotten, so new again");
    }

    #[test]
    fn the_cache_is_bounded_by_number_and_bytes() {
        let mut state = SpreadState::default();
        for sequence in 0..=SPREAD_CACHE_MAX as u64 {
            state.keep(Time(0), (NODE, 1, sequence), (Bytes::from_static(b"x"), 1), 0);
        }
        assert_eq!(state.cache.len(), SPREAD_CACHE_MAX);
        for sequence in 10_000..10_020 {
            let kept = (vec![0; SPREAD_CACHE_BYTES_MAX / 8].into(), 1);
            state.keep(Time(0), (NODE, 1, sequence), kept, 0);
        }
        assert!(state.cache_bytes <= SPREAD_CACHE_BYTES_MAX);
    }

    #[test]
    fn what_is_kept_for_too_long_comes_to_nobody_any_more() {
        let mut state = SpreadState::default();
        state.keep(Time(0), (NODE, 1, 1), (Bytes::from_static(b"old"), 1), 0);
        state.keep(Time(1), (NODE, 1, 2), (Bytes::from_static(b"new"), 1), 0);
        let kept = |at, from| {
            let range = Range { origin: NODE, boot: 1, from, to: 2 };
            state.kept(Time(at), range, 1_000).map(|kept| kept.len())
        };
        assert_eq!(kept(SPREAD_CACHE_MS, 1), Some(2));
        assert_eq!(kept(SPREAD_CACHE_MS + 1, 1), None, "it may be replaced and forgotten");
        assert_eq!(kept(SPREAD_CACHE_MS + 1, 2), Some(1));
    }

    #[test]
    fn an_envelope_that_is_kept_again_is_counted_once() {
        let mut state = SpreadState::default();
        for _ in 0..100 {
            let kept = (vec![0; SPREAD_CACHE_BYTES_MAX / 8].into(), 1);
            state.keep(Time(0), (NODE, 1, 1), kept, 0);
        }
        assert_eq!(state.cache_bytes, SPREAD_CACHE_BYTES_MAX / 8);
        assert_eq!((state.cache.len(), state.cache_order.len()), (1, 1));
    }

    #[test]
    fn what_is_claimed_is_not_missing_and_still_new_when_it_comes() {
        let mut state = SpreadState::default();
        state.note(NODE, 1, 1);
        state.advance((NODE, 1, 5));
        assert!(state.covers(&vec![(NODE, 1, 5)]) && !state.covers(&vec![(NODE, 1, 6)]));
        assert!(state.note(NODE, 1, 4) && !state.note(NODE, 1, 4) && !state.note(NODE, 1, 1));
        assert!(state.note(NODE, 1, 6) && !state.is_ahead(NODE, 6));
        assert!(state.note(NODE, 1, 8) && state.is_ahead(NODE, 8));
        assert_eq!(state.marks(), vec![(NODE, 1, 6)]);
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_no_harm() {
        let mut state = SpreadState::default();
        assert!(state.note(NODE, u64::MAX, u64::MAX));
        state.advance((NODE, u64::MAX, u64::MAX));
        assert!(!state.note(NODE, u64::MAX, u64::MAX));
        assert!(!state.is_ahead(NODE, u64::MAX));
    }
}
