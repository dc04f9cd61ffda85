//! No clock value poisons a path: once clocks are right, no entry stands by a stamp that lies
//! further in the future than the drift limit, and an honest write at any node wins everywhere,
//! whatever was stamped before.

use super::{Invariant, Verdict};
use crate::clock::true_ms;
use crate::oracle::{Outcome, WriteId, brief, entries, entry};
use crate::world::World;
use folkmoot_core::data::EntryKey;
use folkmoot_core::id::Path;
use std::collections::BTreeSet;

/// Paths that are written to.
const PATHS_MAX: usize = 8;

/// One honest write to each of some paths is what every node holds.
#[derive(Default)]
pub struct NoClockPoisons {
    writes: Vec<(Path, usize, u64)>,
}

impl Invariant for NoClockPoisons {
    fn name(&self) -> &'static str {
        "no_clock_poisons"
    }

    fn patience_ms(&self, world: &World) -> u64 {
        world.options.limits.drift_ms_max + 30_000
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        if self.writes.is_empty() {
            if let Some(text) = stands_in_the_future(world) {
                return Verdict::NotYet(text);
            }
            self.write_all(world);
            return Verdict::NotYet("nothing is acknowledged".to_owned());
        }
        for (path, node, id) in &mut self.writes {
            match world.oracle.ops[id].outcome {
                Outcome::Done(..) => {}
                Outcome::Refused(code) => {
                    *id = world.put(*node, path);
                    return Verdict::NotYet(format!("node-{node} refuses to write {path}: {code}"));
                }
                _ => return Verdict::NotYet(format!("node-{node} does not answer")),
            }
        }
        for (path, node, id) in &self.writes {
            let value = WriteId { op: *id, index: 0 }.to_value(0);
            for host in &world.hosts {
                let held = entry(host.disk.durable(), &EntryKey::path(path));
                if held.as_ref().and_then(|held| held.value.as_ref()) != Some(&value) {
                    let (here, version) = (host.index, world.oracle.ops[id].version(0));
                    return Verdict::NotYet(format!(
                        "node-{here} holds {} at {path}, not write {id}.0 of node-{node}, \
                         version {version:?}",
                        brief(held.as_ref())
                    ));
                }
            }
        }
        Verdict::Holds
    }
}

impl NoClockPoisons {
    fn write_all(&mut self, world: &mut World) {
        let paths = world.oracle.ops.values().flat_map(|op| op.writes.iter().map(|(path, _)| path));
        let plain = |path: &&Path| {
            ["last/h", "ends/h"].iter().any(|group| path.as_str().starts_with(group))
        };
        let mut paths: BTreeSet<Path> = paths.filter(plain).cloned().collect();
        paths.insert(Path::new("last/fresh").expect("a sound path"));
        for path in paths.into_iter().take(PATHS_MAX) {
            let node = world.rng.below(world.hosts.len() as u64) as usize;
            let id = world.put(node, &path);
            self.writes.push((path, node, id));
        }
    }
}

/// An entry that outranks all honest writes for longer than the drift limit.
fn stands_in_the_future(world: &World) -> Option<String> {
    let present = true_ms(world.now) + world.options.limits.drift_ms_max;
    for host in &world.hosts {
        let held = entries(host.disk.durable());
        if let Some((key, entry)) = held.iter().find(|(_, held)| held.version.stamp.ms() > present)
        {
            return Some(format!("node-{} holds {} at {key:?}", host.index, brief(Some(entry))));
        }
    }
    None
}
