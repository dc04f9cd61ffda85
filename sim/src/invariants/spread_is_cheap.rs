//! A mesh comes to rest, so that all its links are there, nobody catches up any more and all
//! neighbors have told each other since how far they are; then a write costs close to one copy per
//! node: at most 1.2 are sent for each node that needs one.

use super::{Invariant, Survey, Verdict};
use crate::oracle::{Outcome, WriteId, entry};
use crate::world::World;
use folkmoot_core::data::EntryKey;
use folkmoot_core::id::Path;
use folkmoot_core::request::MeshStatus;

/// Writes whose copies are counted.
const WRITES: u64 = 20;
/// How long nobody has caught up before that, in comparisons of neighbors: until then something may
/// be missing of what was spread that is here all the same.
const REST_COMPARES: u64 = 2;
/// The same at least, in milliseconds.
const REST_MS_MIN: u64 = 15_000;

/// Copies are counted over some writes at rest.
#[derive(Default)]
pub struct SpreadIsCheap {
    survey: Survey,
    /// What was sent to catch up until now, and since when it is no more.
    resting: (u64, u64),
    before: Option<u64>,
    writes: Vec<(usize, u64)>,
}

impl Invariant for SpreadIsCheap {
    fn name(&self) -> &'static str {
        "spread_is_cheap"
    }

    fn patience_ms(&self, world: &World) -> u64 {
        world.options.patience_ms
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        if self.before.is_none() {
            if let Some(statuses) = self.survey.poll(world) {
                let rest_ms = REST_MS_MIN.max(REST_COMPARES * world.options.limits.compare_ms);
                self.rest(world.now, rest_ms, &statuses);
            }
            return Verdict::NotYet("some nodes still catch up".to_owned());
        }
        if (self.writes.len() as u64) < WRITES {
            let node = world.rng.below(world.hosts.len() as u64) as usize;
            self.writes.push((node, world.put(node, &path(self.writes.len()))));
            return Verdict::NotYet("not all is written".to_owned());
        }
        for (number, (node, op)) in self.writes.iter_mut().enumerate() {
            if matches!(world.oracle.ops[op].outcome, Outcome::Refused(_)) {
                *op = world.put(*node, &path(number)); // its clock was off until now
            }
        }
        if let Some(missing) = self.missing(world) {
            return Verdict::NotYet(missing);
        }
        let Some(statuses) = self.survey.poll(world) else {
            return Verdict::NotYet("some nodes do not tell their state".to_owned());
        };
        let sent = copies(&statuses) - self.before.unwrap_or(0);
        let needed = WRITES * (world.hosts.len() as u64 - 1);
        if sent * 5 > needed * 6 {
            let caught_up = caught_up(&statuses) - self.resting.0;
            return Verdict::Broken(format!(
                "{sent} copies were sent, {caught_up} of them to catch up, where {needed} were needed"
            ));
        }
        Verdict::Holds
    }
}

impl SpreadIsCheap {
    /// Waits until every peer is linked and nobody has caught up for a while.
    fn rest(&mut self, now: u64, rest_ms: u64, statuses: &[MeshStatus]) {
        let links = || statuses.iter().flat_map(|status| &status.links);
        let linked = statuses.iter().flat_map(|status| &status.peers).all(|peer| peer.linked);
        let calm = linked && links().all(|link| link.in_sync && !link.behind);
        let caught_up = caught_up(statuses);
        if !calm || self.resting.1 == 0 || caught_up != self.resting.0 {
            self.resting = (caught_up, now);
        } else if now >= self.resting.1 + rest_ms {
            (self.before, self.survey) = (Some(copies(statuses)), Survey::default());
        }
    }

    fn missing(&self, world: &World) -> Option<String> {
        for (number, (_, op)) in self.writes.iter().enumerate() {
            if !matches!(world.oracle.ops[op].outcome, Outcome::Done(..)) {
                return Some(format!("write {op} got {:?}", world.oracle.ops[op].outcome));
            }
            let path = path(number);
            let value = WriteId { op: *op, index: 0 }.to_value(0);
            for host in &world.hosts {
                let held = entry(host.disk.durable(), &EntryKey::path(&path));
                if held.is_none_or(|held| held.value.as_ref() != Some(&value)) {
                    return Some(format!("node-{} does not hold {path}", host.index));
                }
            }
        }
        None
    }
}

fn path(number: usize) -> Path {
    Path::new(format!("last/rest{number}")).expect("a sound path")
}

fn copies(statuses: &[MeshStatus]) -> u64 {
    statuses.iter().map(|status| status.stats.pushed).sum::<u64>() + caught_up(statuses)
}

fn caught_up(statuses: &[MeshStatus]) -> u64 {
    statuses.iter().map(|status| status.stats.caught_up).sum()
}
