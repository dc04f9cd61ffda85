//! A version names one write: no node makes the same version twice, whatever its clock does and
//! however often it restarts.

use super::{Invariant, Verdict};
use crate::oracle::WriteId;
use crate::world::World;

/// Watched during the whole run; nothing is left to check at the end.
pub struct VersionsAreUnique;

impl Invariant for VersionsAreUnique {
    fn name(&self) -> &'static str {
        "versions_are_unique"
    }

    fn patience_ms(&self, _: &World) -> u64 {
        0
    }

    fn check(&mut self, _: &mut World) -> Verdict {
        Verdict::Holds
    }
}

/// A write was acknowledged.
pub fn on_written(world: &mut World, id: u64) {
    let Some(op) = world.oracle.ops.get(&id) else { return };
    let mut twice = None;
    for index in 0..op.writes.len() {
        let Some(version) = op.version(index) else { continue };
        let this = WriteId { op: id, index };
        if let Some(other) = world.oracle.versions.insert(version, this) {
            twice = Some(format!("version {version:?} was given to {other:?} and to {this:?}"));
        }
    }
    if let Some(text) = twice {
        world.breaks("versions_are_unique", text);
    }
}
