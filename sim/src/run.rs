//! One seed from beginning to end: a part in which everything may go wrong, then one in which
//! nothing does and everything must come right.

use crate::invariants::{self, Verdict};
use crate::plant::Plant;
use crate::swarm::Swarm;
use crate::world::{Violation, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// World time that every run lasts at least, in milliseconds.
pub const RUN_MS_MIN: u64 = 300_000;
/// World time between two looks at an invariant, in milliseconds.
const LOOK_MS: u64 = 500;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first violation.
    pub violation: Option<Violation>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// World time that it took, in milliseconds.
    pub lasted_ms: u64,
    /// World time from the end of the faults until all nodes held the same, in milliseconds.
    pub converged_ms: u64,
    /// Inputs that engines handled.
    pub inputs: u64,
    /// Writes that clients asked for.
    pub writes: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// The kinds of faults that were planned.
    pub kinds: Vec<&'static str>,
}

/// Runs the world of a seed.
pub fn run_seed(seed: u64, plant: Option<Plant>, loud: bool) -> Outcome {
    run(World::new(Swarm::from_seed(seed), plant, loud))
}

/// Runs the world of a seed in which only one invariant is looked at, so that it must find a bug
/// by itself.
pub fn run_judged(seed: u64, plant: Option<Plant>, only: &'static str, loud: bool) -> Outcome {
    let mut world = World::new(Swarm::from_seed(seed), plant, loud);
    world.judged = Some(only);
    run(world)
}

/// Runs a world. A panic in it is a violation like any other.
fn run(mut world: World) -> Outcome {
    let (seed, kinds) = (world.options.seed, world.options.kinds());
    let mut converged_ms = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| converged_ms = run_world(&mut world)));
    if let Err(panic) = ran {
        world.breaks("nothing_panics", panic_text(&*panic));
    }
    let done = |op: &&crate::oracle::Op| matches!(op.outcome, crate::oracle::Outcome::Done(..));
    Outcome {
        seed,
        violation: world.violation.clone(),
        hash: world.hash(),
        lasted_ms: world.now,
        converged_ms,
        inputs: world.trace.inputs(),
        writes: world.oracle.ops.len() as u64,
        acknowledged: world.oracle.ops.values().filter(done).count() as u64,
        kinds,
    }
}

fn run_world(world: &mut World) -> u64 {
    world.begin();
    world.run_until(world.options.safety_ms);
    if world.violation.is_some() {
        return 0;
    }
    world.clients.active = false;
    let converged_ms = come_to_rest(world);
    if world.violation.is_none() {
        world.run_until(RUN_MS_MIN.max(world.now));
    }
    converged_ms
}

/// The second part of a run: all faults end, and every invariant must come to hold. Returns the
/// world time until all nodes held the same, in milliseconds.
pub fn come_to_rest(world: &mut World) -> u64 {
    world.heal();
    let healed = world.now;
    let mut converged_ms = 0;
    for (index, mut invariant) in invariants::all().into_iter().enumerate() {
        if index > 0 && world.judged.is_some_and(|judged| judged != invariant.name()) {
            continue; // the first is always waited for: the others judge a world at rest
        }
        come_to_hold(world, &mut *invariant);
        if world.violation.is_some() {
            return converged_ms;
        }
        if index == 0 {
            converged_ms = world.now - healed;
        }
    }
    converged_ms
}

/// Looks at an invariant until it holds, or until patience is at its end.
fn come_to_hold(world: &mut World, invariant: &mut dyn invariants::Invariant) {
    let end = world.now + invariant.patience_ms(world);
    loop {
        let text = match invariant.check(world) {
            Verdict::Holds => return,
            Verdict::Broken(text) => return world.breaks(invariant.name(), text),
            Verdict::NotYet(text) => text,
        };
        if world.now >= end {
            return world.breaks(invariant.name(), text);
        }
        world.run_until(world.now + LOOK_MS);
        if world.violation.is_some() {
            return;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}
