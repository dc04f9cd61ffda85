//! Time as core sees it: handed in, never read.
//!
//! Promise: stamps made here are strictly increasing, also after a restart and also when the
//! wall clock is set back; a stamp further ahead than `drift_ms_max` never moves the clock. On a
//! disk that was put back to an older state they are new but for a small chance.
//! The clock is a hybrid logical clock (Kulkarni, Demirbas et al., 2014): 48 bits of Unix
//! milliseconds, then a 16-bit counter. Everything saturates; no value from outside can wrap it.
//! Keys: the bound, see [`Clock::bound_to_persist`]. Limits: `drift_ms_max`.

use crate::error::ErrorCode;
use crate::rng::Rng;
use std::fmt;
use std::ops::{Add, Sub};

/// Milliseconds on this node's monotonic clock; starts anywhere, never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Add<u64> for Time {
    type Output = Time;
    fn add(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }
}

impl Sub<Time> for Time {
    type Output = u64;
    fn sub(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks of this node at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock: for deadlines.
    pub time: Time,
    /// The wall clock in Unix milliseconds: for stamps. It may jump.
    pub wall_ms: u64,
}

/// A moment of the hybrid logical clock: Unix milliseconds (48 bits), then a counter (16 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

const WALL_MAX: u64 = (1 << 48) - 1;

impl Stamp {
    /// The first stamp of a millisecond. Values over 48 bits are cut to the largest.
    pub fn from_ms(wall_ms: u64) -> Stamp {
        Stamp(wall_ms.min(WALL_MAX) << 16)
    }

    /// The last stamp of a millisecond.
    pub(crate) fn end_of_ms(wall_ms: u64) -> Stamp {
        Stamp(Stamp::from_ms(wall_ms).0 | 0xffff)
    }

    /// Its Unix milliseconds.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// Its counter within the millisecond.
    pub fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.counter())
    }
}

/// How far ahead of the wall clock the bound on disk is kept, in milliseconds.
const BOUND_AHEAD_MS: u64 = 10_000;
/// The bound is written again when less than this is left of it, in milliseconds.
const BOUND_RENEW_MS: u64 = 5_000;
/// The same for a clock that runs ahead of the wall clock, in stamps: it moves by its counter
/// only, and more would take it further ahead with every restart.
const BOUND_AHEAD_STAMPS: u64 = 1 << 20;
const BOUND_RENEW_STAMPS: u64 = 1 << 19;
/// A clock must be further ahead of the drift limit than this to be set back, in milliseconds:
/// more than many restarts take it there, and soon over.
const AHEAD_MS_MIN: u64 = 1_000;

/// The counters of a node's stamps are all in one band of so many. Its clock goes to the next of
/// the 16 bands when it is set back: what it stamped before may lie ahead, and whatever it learns
/// from others, it cannot stamp the same again.
const BAND_COUNTERS: u64 = 1 << 12;
const BANDS: u64 = (1 << 16) / BAND_COUNTERS;

/// How far a clock leaps at most, in milliseconds.
const LEAP_MS_MAX: u64 = 16;
/// How often a clock leaps in one run: together about half a second.
const LEAPS_MAX: u32 = 64;

/// The hybrid logical clock of one node.
#[derive(Debug)]
pub struct Clock {
    last: Stamp,
    bound: Stamp,
    drift_ms_max: u64,
    band: u64,
    /// Whether `last` was not made here, but is the bound or came from others.
    learned: bool,
    leaps_left: u32,
    rng: Rng,
}

impl Clock {
    /// A clock that continues above `bound`, the value that was last persisted (zero for none).
    /// It is in the band of the stamps that were made.
    pub fn new(bound: Stamp, drift_ms_max: u64) -> Clock {
        let band = u64::from(bound.counter()) / BAND_COUNTERS;
        let (learned, leaps_left, rng) = (true, 0, Rng::new(0));
        Clock { last: bound, bound, drift_ms_max, band, learned, leaps_left, rng }
    }

    /// The clock with leaps. The disk may have been put back to an older state: then what the
    /// clock continues above, its bound or what it learns from others, may be what it continued
    /// above already, and the same steps would make the same stamps.
    pub(crate) fn with_leaps(self, rng: Rng) -> Clock {
        Clock { leaps_left: LEAPS_MAX, rng, ..self }
    }

    /// A new stamp, larger than every stamp made or believed before.
    pub fn tick(&mut self, wall_ms: u64) -> Stamp {
        if std::mem::take(&mut self.learned) && self.last.ms() >= wall_ms && self.leaps_left > 0 {
            self.leap(wall_ms);
        }
        let next = Stamp::from_ms(wall_ms).max(Stamp(self.last.0.saturating_add(1)));
        self.last = self.in_band(next);
        self.last
    }

    /// Goes on to a random counter, in the lower half of what is left of its band, of a random
    /// millisecond. It does not leap out of what others believe: they would refuse what is stamped
    /// then, and it would outrank what they write until then.
    fn leap(&mut self, wall_ms: u64) {
        self.leaps_left -= 1;
        let ms = self.last.ms() + 1 + self.rng.below(LEAP_MS_MAX);
        let ms = ms.min(wall_ms.saturating_add(self.drift_ms_max));
        let from = self.in_band(Stamp::from_ms(ms).max(Stamp(self.last.0.saturating_add(1))));
        let left = BAND_COUNTERS - u64::from(from.counter()) % BAND_COUNTERS;
        self.last = Stamp(from.0 + self.rng.below(left / 2 + 1));
    }

    /// The first stamp with a counter of the band that is not below `stamp`.
    fn in_band(&self, stamp: Stamp) -> Stamp {
        let from = Stamp::from_ms(stamp.ms()).0 + self.band * BAND_COUNTERS;
        match stamp.0.checked_sub(from) {
            None => Stamp(from),
            Some(counters) if counters < BAND_COUNTERS => stamp,
            Some(_) => Stamp(from.saturating_add(1 << 16)),
        }
    }

    /// Whether a stamp is too far ahead of the wall clock to be believed.
    pub fn is_future(&self, stamp: Stamp, wall_ms: u64) -> bool {
        stamp.ms() > wall_ms.saturating_add(self.drift_ms_max)
    }

    /// Learns a stamp from elsewhere; a future one is refused and changes nothing.
    pub fn observe(&mut self, stamp: Stamp, wall_ms: u64) -> Result<(), ErrorCode> {
        if self.is_future(stamp, wall_ms) {
            return Err(ErrorCode::StampFuture);
        }
        if stamp > self.last {
            (self.last, self.learned) = (stamp, true);
        }
        Ok(())
    }

    /// The bound to write with the next batch, if the one on disk is nearly used up. After a
    /// restart the clock continues above what was written, so no stamp is ever made twice.
    pub fn bound_to_persist(&mut self, wall_ms: u64) -> Option<Stamp> {
        let above = |ms: u64, stamps: u64| {
            let by_wall = Stamp::from_ms(wall_ms.saturating_add(ms));
            by_wall.max(Stamp(self.last.0.saturating_add(stamps)))
        };
        if above(BOUND_RENEW_MS, BOUND_RENEW_STAMPS) <= self.bound {
            return None;
        }
        self.bound = self.in_band(above(BOUND_AHEAD_MS, BOUND_AHEAD_STAMPS));
        Some(self.bound)
    }

    /// Whether the clock itself runs ahead of the wall clock by more than the drift limit: the
    /// wall clock was set back, or was ahead when stamps were made. A little more is no sign of
    /// that: at the limit a restart alone takes it there, as it continues above its bound.
    pub fn is_ahead(&self, wall_ms: u64) -> bool {
        self.is_future(self.last, wall_ms.saturating_add(AHEAD_MS_MIN))
    }

    /// Starts again from the largest stamp that others believe: so nothing that they may hold
    /// already beats what is stamped from now on. Only for a clock that a neighbor has convicted
    /// of having run ahead; what it stamped then must be stamped anew.
    pub fn reset(&mut self, wall_ms: u64) {
        self.last = Stamp::from_ms(wall_ms.saturating_add(self.drift_ms_max));
        self.bound = Stamp(0);
        self.band = (self.band + 1) % BANDS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    const DRIFT: u64 = 60_000;

    #[test]
    fn stamps_increase_when_the_wall_clock_goes_back() {
        let mut clock = Clock::new(Stamp(0), DRIFT);
        let first = clock.tick(1_000_000);
        let second = clock.tick(10);
        assert!(second > first && second.ms() == 1_000_000);
    }

    #[test]
    fn a_full_band_moves_to_the_next_millisecond() {
        let mut clock = Clock::new(Stamp::from_ms(7), DRIFT);
        let last = (0..BAND_COUNTERS).map(|_| clock.tick(7)).last().unwrap();
        assert_eq!((last.ms(), last.counter()), (8, 0));
    }

    #[test]
    fn the_future_is_refused_to_the_millisecond_and_changes_nothing() {
        let mut clock = Clock::new(Stamp(0), DRIFT);
        assert_eq!(clock.observe(Stamp(u64::MAX), 1_000), Err(ErrorCode::StampFuture));
        let over = Stamp::from_ms(1_000 + DRIFT + 1);
        assert_eq!(clock.observe(over, 1_000), Err(ErrorCode::StampFuture));
        assert_eq!(clock.tick(1_000), Stamp::from_ms(1_000));
        assert_eq!(clock.observe(Stamp::from_ms(1_000 + DRIFT), 1_000), Ok(()));
        assert_eq!(clock.tick(1_000).ms(), 1_000 + DRIFT);
    }

    #[test]
    fn runs_from_one_bound_stamp_nothing_twice() {
        for bound in [Stamp(0), Stamp::from_ms(20_000), Stamp(Stamp::from_ms(50_000).0 | 0x3fff)] {
            let mut made = BTreeSet::new();
            for seed in 0..10 {
                let mut clock = Clock::new(bound, DRIFT).with_leaps(Rng::new(seed));
                let mut tick = |clock: &mut Clock| {
                    let stamp = clock.tick(12_000 + seed);
                    assert!(stamp > bound && made.insert(stamp), "{stamp:?}");
                    assert_eq!(stamp.counter() >> 12, bound.counter() >> 12);
                };
                (0..20).for_each(|_| tick(&mut clock));
                // What another node has, it tells each time; this node's own may be among it.
                for theirs in 0..10 {
                    let stamp = Stamp(Stamp::from_ms(60_000 + 20 * (theirs / 2)).0 | (7 * theirs));
                    clock.observe(stamp, 12_000).unwrap();
                    (0..20).for_each(|_| tick(&mut clock));
                }
            }
        }
    }

    #[test]
    fn a_clock_leaps_a_second_in_one_run_at_most() {
        let mut clock = Clock::new(Stamp(0), DRIFT).with_leaps(Rng::new(1));
        for _ in 0..1_000 {
            let theirs = Stamp(clock.tick(1_000).0 + 1);
            clock.observe(theirs, 1_000).unwrap();
        }
        let ahead_ms = clock.tick(1_000).ms() - 1_000;
        assert!((100..=1_100).contains(&ahead_ms), "{ahead_ms} ms ahead");
        let mut clock = Clock::new(Stamp(u64::MAX), DRIFT).with_leaps(Rng::new(1));
        assert_eq!(clock.tick(0), Stamp(u64::MAX));
    }

    #[test]
    fn a_clock_does_not_leap_out_of_what_others_believe() {
        let mut made = BTreeSet::new();
        for seed in 0..50 {
            let mut clock = Clock::new(Stamp(0), DRIFT).with_leaps(Rng::new(seed));
            for ms in [DRIFT - 5, DRIFT, DRIFT] {
                clock.observe(Stamp::from_ms(ms), 0).unwrap();
                let stamp = clock.tick(0);
                assert!(!clock.is_future(stamp, 0), "{stamp:?}");
                made.insert(stamp);
            }
        }
        assert!(made.len() > 100, "{} of 150 are new", made.len());
    }

    #[test]
    fn restarts_in_quick_succession_do_not_drive_the_clock_into_the_future() {
        let (mut bound, mut last, mut rng) = (Stamp(0), Stamp(0), Rng::new(1));
        for wall in (1_000_000..1_100_000).step_by(1_000) {
            let mut clock = Clock::new(bound, DRIFT).with_leaps(Rng::new(rng.next_u64()));
            for _ in 0..3 {
                let made = clock.tick(wall);
                assert!(made > last);
                last = made;
                bound = clock.bound_to_persist(wall).unwrap_or(bound);
                assert!(bound >= made);
            }
            assert!(last.ms() < wall + 15_000, "{} ms ahead", last.ms() - wall);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_stamps_nothing_twice() {
        let mut clock = Clock::new(Stamp(0), DRIFT);
        let given_up: Vec<Stamp> = (0..5).map(|_| clock.tick(100_000)).collect();
        clock.reset(30_000);
        clock.tick(40_000);
        clock.observe(given_up[1], 40_000).unwrap();
        assert!(!given_up.contains(&clock.tick(40_000)));
    }

    #[test]
    fn a_clock_that_was_set_back_stamps_nothing_twice_by_the_stamps_of_others() {
        for restarts in [false, true] {
            let mut clock = Clock::new(Stamp(0), DRIFT);
            // Another node's clock was set back more often.
            clock.observe(Stamp(Stamp::from_ms(100_000).0 | 0x101f), 40_000).unwrap();
            let given_up: Vec<Stamp> = (0..100).map(|_| clock.tick(40_000)).collect();
            clock.reset(20_000);
            clock.tick(20_000);
            if restarts {
                clock = Clock::new(clock.bound_to_persist(20_000).unwrap(), DRIFT);
            }
            for observed in 0x1000..0x1100 {
                let theirs = Stamp(Stamp::from_ms(100_000).0 | observed);
                clock.observe(theirs, 40_000).unwrap();
                assert!(!given_up.contains(&clock.tick(40_000)));
            }
        }
    }

    #[test]
    fn restarts_at_the_drift_limit_do_not_convict_a_clock() {
        let (mut clock, mut rng) = (Clock::new(Stamp(0), DRIFT), Rng::new(1));
        clock.observe(Stamp::from_ms(DRIFT), 0).unwrap();
        for _ in 0..30 {
            clock.tick(0);
            clock = Clock::new(clock.bound_to_persist(0).unwrap(), DRIFT)
                .with_leaps(Rng::new(rng.next_u64()));
            assert!(!clock.is_ahead(0));
        }
        assert!(Clock::new(Stamp::from_ms(DRIFT + 5_000), DRIFT).is_ahead(0));
    }

    #[test]
    fn the_bound_is_not_written_with_every_stamp() {
        for ahead_ms in [0, 30_000] {
            let mut clock = Clock::new(Stamp(0), DRIFT);
            clock.observe(Stamp::from_ms(ahead_ms), 0).unwrap();
            let made = |wall| {
                clock.tick(wall);
                clock.bound_to_persist(wall).is_some()
            };
            let written = (0..20_000).map(|n| n / 10).map(made).filter(|written| *written).count();
            assert!(written <= 2, "{written} times in two seconds");
        }
    }

    #[test]
    fn a_restart_continues_above_every_stamp_made_before() {
        let mut clock = Clock::new(Stamp(0), DRIFT);
        let mut bound = Stamp(0);
        for wall in (0..60_000).step_by(100) {
            let made = clock.tick(wall);
            bound = clock.bound_to_persist(wall).unwrap_or(bound);
            assert!(Clock::new(bound, DRIFT).tick(0) > made);
        }
    }
}
