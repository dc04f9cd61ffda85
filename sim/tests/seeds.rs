//! Seeds: a thousand that hold, each planted bug found, each run the same again.
//!
//! `FOLKMOOT_SIM_SEEDS=A..B` runs other seeds than the first thousand.

use folkmoot_sim::invariants;
use folkmoot_sim::plant::{PLANTS, Plant};
use folkmoot_sim::run::{RUN_MS_MIN, run_judged, run_seed};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const SEEDS: u64 = 1_000;

/// Takes seeds on all cores until `go_on` answers `false`.
fn run_each(seeds: Range<u64>, go_on: impl Fn(u64) -> bool + Sync) {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !go_on(seed) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

fn seeds() -> Range<u64> {
    let asked = std::env::var("FOLKMOOT_SIM_SEEDS").ok();
    let asked = asked.as_deref().and_then(|text| text.split_once(".."));
    let number = |text: &str| text.parse().expect("FOLKMOOT_SIM_SEEDS is A..B");
    asked.map_or(0..SEEDS, |(from, to)| number(from)..number(to))
}

#[test]
fn a_thousand_seeds_hold() {
    let red = Mutex::new(Vec::new());
    let ran = AtomicU64::new(0);
    let seeds = seeds();
    run_each(seeds.clone(), |seed| {
        let outcome = run_seed(seed, None, false);
        ran.fetch_add(1, Ordering::Relaxed);
        assert!(outcome.kinds.len() >= 3, "seed {}: {:?}", outcome.seed, outcome.kinds);
        match outcome.violation {
            Some(violation) => red.lock().unwrap().push((outcome.seed, format!("{violation:?}"))),
            None => assert!(outcome.lasted_ms >= RUN_MS_MIN),
        }
        true
    });
    let red = red.into_inner().unwrap();
    assert!(red.is_empty(), "replay with `folkmoot-sim --seed N --trace`: {red:#?}");
    assert_eq!(ran.into_inner(), seeds.end - seeds.start);
}

#[test]
fn every_planted_bug_is_found_by_the_invariant_that_is_meant_to_find_it() {
    for (plant, invariants) in PLANTS {
        for invariant in *invariants {
            let found = Mutex::new(None);
            run_each(0..SEEDS, |seed| {
                let red = run_judged(seed, Some(*plant), invariant, false).violation.is_some();
                if red {
                    let mut found = found.lock().unwrap();
                    *found = Some(found.map_or(seed, |first: u64| first.min(seed)));
                }
                !red
            });
            let found = found.into_inner().unwrap();
            println!("{plant}: {invariant} finds it in seed {found:?}");
            assert!(found.is_some(), "{invariant} does not find {plant}");
        }
    }
}

#[test]
fn every_invariant_has_a_planted_bug_that_it_finds() {
    for invariant in invariants::all() {
        let finds = |(_, by): &(Plant, &[&str])| by.contains(&invariant.name());
        assert!(PLANTS.iter().any(finds), "{} finds nothing", invariant.name());
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..5 {
        assert_eq!(run_seed(seed, None, false).hash, run_seed(seed, None, false).hash, "{seed}");
    }
}
