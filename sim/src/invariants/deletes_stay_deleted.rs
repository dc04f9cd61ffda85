//! What an acknowledged delete removed never comes back, not from a node that was away for
//! longer than the grace, not from an old disk.

use super::{Invariant, Verdict};
use crate::oracle::{Outcome, entries};
use crate::world::World;

/// No node holds a value that a delete removed.
pub struct DeletesStayDeleted;

impl Invariant for DeletesStayDeleted {
    fn name(&self) -> &'static str {
        "deletes_stay_deleted"
    }

    fn patience_ms(&self, _: &World) -> u64 {
        0
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        let held: Vec<_> = world.hosts.iter().map(|host| entries(host.disk.durable())).collect();
        for (id, op) in &world.oracle.ops {
            if !matches!(op.outcome, Outcome::Done(..)) {
                continue;
            }
            for (key, value) in &op.replaced {
                for (node, held) in held.iter().enumerate() {
                    let entry = held.get(key).filter(|entry| entry.value.as_ref() == Some(value));
                    if let Some(entry) = entry {
                        let text =
                            format!("node-{node} holds {entry:?} at {key:?}, deleted by {id}");
                        return Verdict::Broken(text);
                    }
                }
            }
        }
        Verdict::Holds
    }
}
