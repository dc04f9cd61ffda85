//! Wall clocks of nodes: right, off, frozen, fast, or jumping.
//!
//! The world has one true time. Each node reads it through one of these; the monotonic clock of
//! a node is always sound, as the operating system promises.

/// Unix milliseconds at which every world begins.
pub const TRUE_START_MS: u64 = 1_800_000_000_000;
/// Ten years, in milliseconds.
pub const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// One node's wall clock.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    offset_ms: i64,
    frozen_at: Option<u64>,
}

/// What the wall clock of a sound node shows at world time `now`.
pub fn true_ms(now: u64) -> u64 {
    TRUE_START_MS + now
}

impl WallClock {
    /// What this clock shows at world time `now`.
    pub fn wall_ms(&self, now: u64) -> u64 {
        self.frozen_at.unwrap_or_else(|| true_ms(now).saturating_add_signed(self.offset_ms))
    }

    /// Jumps by `by_ms` from what it shows.
    pub fn jump(&mut self, by_ms: i64) {
        self.offset_ms = self.offset_ms.saturating_add(by_ms);
        self.frozen_at = self.frozen_at.map(|at| at.saturating_add_signed(by_ms));
    }

    /// Stands still at `at`, until [`WallClock::set_right`].
    pub fn freeze(&mut self, at: u64) {
        self.frozen_at = Some(at);
    }

    /// Shows the true time from now on.
    pub fn set_right(&mut self) {
        *self = WallClock::default();
    }

    /// Whether it shows the true time.
    pub fn is_right(&self) -> bool {
        self.offset_ms == 0 && self.frozen_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_jumps_freezes_and_is_set_right() {
        let mut clock = WallClock::default();
        assert_eq!(clock.wall_ms(5), TRUE_START_MS + 5);
        clock.jump(-TEN_YEARS_MS);
        assert_eq!(clock.wall_ms(5), TRUE_START_MS + 5 - TEN_YEARS_MS.unsigned_abs());
        clock.freeze(clock.wall_ms(5));
        assert_eq!(clock.wall_ms(5), clock.wall_ms(50_000));
        clock.set_right();
        assert!(clock.is_right() && clock.wall_ms(7) == true_ms(7));
    }
}
