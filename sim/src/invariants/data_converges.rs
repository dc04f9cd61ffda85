//! When faults have ended, all nodes come to hold the same, and say so.

use super::{Invariant, Survey, Verdict};
use crate::oracle::brief;
use crate::world::World;
use folkmoot_core::data::Entry;
use folkmoot_core::store::{MemoryStore, Store, space};

/// All digests are equal, and so is what lies on the disks.
#[derive(Default)]
pub struct DataConverges {
    survey: Survey,
}

impl Invariant for DataConverges {
    fn name(&self) -> &'static str {
        "data_converges"
    }

    fn patience_ms(&self, world: &World) -> u64 {
        world.options.patience_ms
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        let Some(statuses) = self.survey.poll(world) else {
            return Verdict::NotYet("some nodes do not tell their state".to_owned());
        };
        let other = statuses.iter().position(|status| status.digest != statuses[0].digest);
        if let Some(other) = other {
            let [one, two] = [&statuses[0], &statuses[other]];
            return Verdict::NotYet(format!(
                "node-0 and node-{other} have other digests; entries {} and {}, tombstones {} and {}; {}",
                one.entries,
                two.entries,
                one.tombstones,
                two.tombstones,
                first_difference(world, 0, other).unwrap_or("the disks are equal".to_owned()),
            ));
        }
        for other in 1..world.hosts.len() {
            if let Some(difference) = first_difference(world, 0, other) {
                // Not broken yet: the digests were told a moment ago, and a node may have
                // forgotten what has ended since.
                return Verdict::NotYet(format!("equal digests, but {difference}"));
            }
        }
        Verdict::Holds
    }
}

fn first_difference(world: &World, one: usize, two: usize) -> Option<String> {
    let pairs = |node: usize| pairs(world.hosts[node].disk.durable());
    let (left, right) = (pairs(one), pairs(two));
    if left == right {
        return None;
    }
    let only = |of: &[(Vec<u8>, Vec<u8>)], not: &[(Vec<u8>, Vec<u8>)]| {
        let found = of.iter().find(|pair| not.binary_search(pair).is_err());
        found.map_or("nothing".to_owned(), |(key, value)| {
            let entry = Entry::from_bytes(value.clone().into()).ok();
            let key = String::from_utf8_lossy(key).replace('\0', "#");
            format!("{} at {key}", brief(entry.as_ref()))
        })
    };
    Some(format!(
        "node-{one} alone holds {}, node-{two} alone holds {}",
        only(&left, &right),
        only(&right, &left)
    ))
}

fn pairs(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        pairs.push((key[1..].to_vec(), value.to_vec()));
        true
    };
    store.scan(&[space::ENTRIES.0], &space::ENTRIES.end(), &mut visit).expect("memory can be read");
    pairs
}
