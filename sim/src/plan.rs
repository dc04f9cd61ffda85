//! What goes wrong in a world, drawn from its seed.
//!
//! A world has either clocks that err or disks that come back with an older state, not both: such
//! a disk has forgotten which stamps it made, and only a sound clock makes up for that.

use crate::clock::TEN_YEARS_MS;
use crate::faults::{Fault, Planned};
use crate::network::Cut;
use crate::swarm::Swarm;
use folkmoot_core::rng::Rng;

/// World time at which the first fault may begin, in milliseconds.
const FAULTS_FROM_MS: u64 = 12_000;
/// World time by which faults have ended, in milliseconds.
const SAFETY_MS: u64 = 200_000;
/// Kinds of faults that each world has at least.
const KINDS_MIN: u64 = 3;
/// Kinds of faults that a world has at most.
const KINDS_MAX: u64 = 6;
/// Faults of one kind that a world has at most.
const REPEATS_MAX: u64 = 4;

/// Draws the faults of a world.
pub(crate) fn plan(swarm: &mut Swarm, rng: &mut Rng) {
    swarm.safety_ms = SAFETY_MS;
    let clocks_err = rng.below(3) != 0;
    let wanted = KINDS_MIN + rng.below(KINDS_MAX - KINDS_MIN + 1);
    let mut draw = Draw { rng, swarm, clocks_err };
    while (draw.swarm.kinds().len() as u64) < wanted {
        let kind = draw.rng.below(KINDS.len() as u64) as usize;
        for _ in 0..1 + draw.rng.below(REPEATS_MAX) {
            let lasts_ms = draw.duration();
            let at_ms = FAULTS_FROM_MS + draw.rng.below(SAFETY_MS - FAULTS_FROM_MS - lasts_ms);
            if let Some(fault) = KINDS[kind](&mut draw) {
                draw.swarm.faults.push(Planned { at_ms, lasts_ms, fault });
            }
        }
    }
    swarm.faults.sort_by_key(|planned| planned.at_ms);
}

/// Draws a fault of one kind, if the world is fit for it.
type Kind = fn(&mut Draw) -> Option<Fault>;

/// The kinds of faults, with how each is drawn.
const KINDS: &[Kind] = &[
    |draw| Some(Fault::Crash { node: draw.node(), power: false, jump_ms: draw.jump(4) }),
    |draw| Some(Fault::Crash { node: draw.node(), power: true, jump_ms: draw.jump(4) }),
    |_| Some(Fault::PowerAll),
    |draw| {
        let (a, b) = draw.pair();
        Some(Fault::Cut { a, b, how: draw.cut() })
    },
    |draw| {
        let (from, to) = draw.pair();
        Some(Fault::OneWay { from, to, how: draw.cut() })
    },
    |draw| {
        let group = draw.rng.below((1 << draw.swarm.nodes) - 2) as u32 + 1;
        Some(Fault::Partition { group, how: draw.cut() })
    },
    |draw| {
        let (a, b) = draw.pair();
        Some(Fault::Flap { a, b, ms: 50 + draw.rng.below(5_000) })
    },
    |draw| {
        let (a, b) = draw.pair();
        Some(Fault::Reset { a, b })
    },
    |draw| {
        let (a, b) = draw.pair();
        Some(Fault::Slow { a, b, bytes_per_ms: 1 + draw.rng.below(50) })
    },
    |draw| Some(Fault::Pause { node: draw.node() }),
    |draw| {
        let (node, by_ms) = (draw.node(), draw.jump(1));
        (by_ms != 0).then_some(Fault::ClockJump { node, by_ms })
    },
    |draw| {
        let nodes = draw.rng.below((1 << draw.swarm.nodes) - 1) as u32 + 1;
        draw.clocks_err.then_some(Fault::ClockFreeze { nodes })
    },
    |draw| {
        let same_key = !draw.clocks_err && draw.rng.below(2) == 0;
        Some(Fault::Wipe { node: draw.node(), same_key })
    },
    |draw| {
        let node = draw.node();
        (!draw.clocks_err).then_some(Fault::Restore { node })
    },
    |draw| Some(Fault::SlowDisk { node: draw.node(), ms: 50 + draw.rng.below(3_000) }),
    |draw| {
        let node = draw.node();
        if draw.swarm.late.contains(&node) || draw.swarm.late.len() + 2 > draw.swarm.nodes {
            return None;
        }
        draw.swarm.late.push(node);
        Some(Fault::Late { node })
    },
];

/// The dice, and the world that they are thrown for.
struct Draw<'a> {
    rng: &'a mut Rng,
    swarm: &'a mut Swarm,
    clocks_err: bool,
}

impl Draw<'_> {
    fn node(&mut self) -> usize {
        self.rng.below(self.swarm.nodes as u64) as usize
    }

    fn pair(&mut self) -> (usize, usize) {
        let (a, nodes) = (self.node(), self.swarm.nodes);
        (a, (a + 1 + self.rng.below(nodes as u64 - 1) as usize) % nodes)
    }

    /// How far a clock jumps: in one case of `one_in`, seconds to ten years, either way.
    fn jump(&mut self, one_in: u64) -> i64 {
        if !self.clocks_err || self.rng.below(one_in) != 0 {
            return 0;
        }
        let far = match self.rng.below(5) {
            0 => TEN_YEARS_MS,
            1 => 3_600_000,
            2 => 61_000 + self.rng.below(60_000) as i64,
            3 => self.rng.below(60_000) as i64,
            _ => self.rng.below(5_000) as i64,
        };
        if self.rng.below(2) == 0 { far } else { -far }
    }

    fn duration(&mut self) -> u64 {
        match self.rng.below(4) {
            0 => 20 + self.rng.below(1_000),
            1 | 2 => 1_000 + self.rng.below(30_000),
            _ => 20_000 + self.rng.below(100_000),
        }
    }

    fn cut(&mut self) -> Cut {
        if self.rng.below(3) == 0 { Cut::Stall } else { Cut::Vanish }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_seed_has_three_kinds_of_faults_that_end_in_time() {
        let mut seen = BTreeSet::new();
        for seed in 0..1_000 {
            let swarm = Swarm::from_seed(seed);
            assert!(swarm.kinds().len() as u64 >= KINDS_MIN, "seed {seed}: {:?}", swarm.kinds());
            seen.extend(swarm.kinds());
            let ends = swarm.faults.iter().map(|planned| planned.at_ms + planned.lasts_ms);
            assert!(ends.max().unwrap_or(0) <= swarm.safety_ms);
            assert!((2..=10).contains(&swarm.nodes));
        }
        assert_eq!(seen.len(), KINDS.len(), "{seen:?}");
    }
}
