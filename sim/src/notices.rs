//! What nodes noted for their operators, counted.

use folkmoot_core::engine::Notice;

/// Counts of notices that an invariant or a report wants to know of.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    /// Nodes that stamped entries anew.
    pub restamped: u64,
    /// Whether a node did so by a wrong clock, because its neighbors' clocks were wrong as well.
    /// Then an earlier write may come to stand above a later one.
    pub restamped_wrongly: bool,
    /// Refusals of stamps from the future.
    pub future: u64,
    /// Clocks that were said to be off.
    pub clock_off: u64,
    /// Twins that were seen.
    pub twins: u64,
}

impl Notices {
    /// Counts a notice.
    pub fn note(&mut self, notice: &Notice, clock_is_right: bool) {
        match notice {
            Notice::Restamped(_) => {
                self.restamped += 1;
                self.restamped_wrongly |= !clock_is_right;
            }
            Notice::Future(_) => self.future += 1,
            Notice::ClockOff(_) => self.clock_off += 1,
            Notice::Twin => self.twins += 1,
            _ => {}
        }
    }
}
