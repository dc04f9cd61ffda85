//! What an acknowledged delete removed never comes back, not from a node that was away for
//! longer than the grace, not from an old disk. A delete with a stamp from the future is no
//! promise: it is stamped anew, as what it deleted may be elsewhere. Nor is one of a value that
//! was stamped anew itself: another node may still hold it by its old stamp, above the delete.

use super::{Invariant, Verdict};
use crate::oracle::{Replaced, brief, entry};
use crate::world::World;
use bytes::Bytes;
use folkmoot_core::data::EntryKey;
use folkmoot_core::data::read::{self, Value};
use folkmoot_core::replica::Version;

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
        for (id, op) in &world.oracle.ops {
            for Replaced { index, key, value, version } in &op.replaced {
                let made = op.version(*index).filter(|version| world.is_honest(op, *version));
                if made.is_none() || is_anew(world, key, value, *version) {
                    continue;
                }
                if let Some(text) = who_shows(world, key, value) {
                    return Verdict::Broken(format!("{text}, which write {id} deleted"));
                }
            }
        }
        Verdict::Holds
    }
}

/// Whether a value that was found by this version had been written by another.
fn is_anew(world: &World, key: &EntryKey, value: &Bytes, version: Version) -> bool {
    let Some((id, op)) = world.oracle.find(value) else { return false };
    match op.made(id.index).into_iter().find(|(made, _)| made == key) {
        Some((_, made)) => made != version,
        None => version.node != op.writer || world.notices.restamped > 0, // it was never told
    }
}

/// A node at which a client is shown `value` at `key`.
fn who_shows(world: &World, key: &EntryKey, value: &Bytes) -> Option<String> {
    let path = key.to_path()?;
    for host in &world.hosts {
        let wall_ms = host.clock.wall_ms(world.now);
        let found = read::get(host.disk.durable(), &path, wall_ms).expect("memory can be read");
        let shown = match found.map(|found| found.value) {
            None => false,
            Some(Value::Plain(plain)) => key.to_field().is_none() && plain == value,
            Some(Value::Fields { base, fields }) => match key.to_field() {
                None => base.as_ref() == Some(value),
                Some(name) => fields.iter().any(|(field, held)| field == name && held == value),
            },
        };
        if shown {
            let held = entry(host.disk.durable(), key);
            return Some(format!("node-{} shows {} at {key:?}", host.index, brief(held.as_ref())));
        }
    }
    None
}
