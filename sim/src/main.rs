//! `folkmoot-sim`: runs seeds, and says everything that is needed to run a red one again.

use folkmoot_sim::invariants;
use folkmoot_sim::plant::{PLANTS, Plant};
use folkmoot_sim::run::{Outcome, run_judged, run_seed};
use folkmoot_sim::swarm::Swarm;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

const USAGE: &str = "\
folkmoot-sim: whole meshes in virtual time, with faults

  folkmoot-sim --seeds A..B [--plant BUG] [--keep-going]   run seeds A to B-1 on all cores
  folkmoot-sim --seed N [--plant BUG] [--trace]            run one seed, with every event if asked
  folkmoot-sim --options N                                 show what a seed stands for
  folkmoot-sim --plants                                    list the bugs that can be planted

  --only INVARIANT looks at one invariant alone: that is how a planted bug is judged
";

struct Asked {
    from: u64,
    to: u64,
    plant: Option<Plant>,
    only: Option<&'static str>,
    loud: bool,
    keep_going: bool,
}

fn main() -> ExitCode {
    let mut asked =
        Asked { from: 0, to: 1_000, plant: None, only: None, loud: false, keep_going: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let known = match word.as_str() {
            "--seed" => words.next().and_then(|text| text.parse().ok()).map(|seed| {
                (asked.from, asked.to) = (seed, seed + 1);
            }),
            "--seeds" => words.next().and_then(|text| range(&text)).map(|(from, to)| {
                (asked.from, asked.to) = (from, to);
            }),
            "--plant" => words.next().and_then(|name| Plant::from_name(&name)).map(|plant| {
                asked.plant = Some(plant);
            }),
            "--only" => words.next().and_then(|name| invariants::named(&name)).map(|name| {
                asked.only = Some(name);
            }),
            "--options" => words.next().and_then(|text| text.parse().ok()).map(|seed| {
                println!("{:#?}", Swarm::from_seed(seed));
                asked.to = asked.from;
            }),
            "--trace" => {
                asked.loud = true;
                Some(())
            }
            "--keep-going" => {
                asked.keep_going = true;
                Some(())
            }
            "--plants" => {
                PLANTS
                    .iter()
                    .for_each(|(plant, by)| println!("{plant}, found by {}", by.join(", ")));
                return ExitCode::SUCCESS;
            }
            _ => None,
        };
        if known.is_none() {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    run_all(&asked)
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (from, to) = text.split_once("..")?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

fn run_all(asked: &Asked) -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            eprintln!("panic at {place}");
        }
    }));
    let started = Instant::now();
    let (next, stop) = (AtomicU64::new(asked.from), AtomicBool::new(false));
    let outcomes: Mutex<Totals> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= asked.to {
                        break;
                    }
                    let outcome = match asked.only {
                        None => run_seed(seed, asked.plant, asked.loud),
                        Some(only) => run_judged(seed, asked.plant, only, asked.loud),
                    };
                    if outcome.violation.is_some() {
                        report(&outcome, asked.plant, asked.only);
                        stop.fetch_or(!asked.keep_going, Ordering::Relaxed);
                    }
                    outcomes.lock().expect("no thread panics with it").add(&outcome);
                }
            });
        }
    });
    let totals = outcomes.into_inner().expect("no thread panics with it");
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} red, in {seconds:.1} s ({:.0} seeds/min); {} virtual minutes, {} inputs, \
         {} of {} writes acknowledged; rest reached after {} ms at most; hash {:016x}",
        totals.seeds,
        totals.red,
        totals.seeds as f64 * 60.0 / seconds.max(0.001),
        totals.lasted_ms / 60_000,
        totals.inputs,
        totals.acknowledged,
        totals.writes,
        totals.converged_ms_max,
        totals.hash,
    );
    if totals.red == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    red: u64,
    lasted_ms: u64,
    inputs: u64,
    writes: u64,
    acknowledged: u64,
    converged_ms_max: u64,
    /// Of all seeds: the same as long as nothing that happens in any of them has changed.
    hash: u64,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.red += u64::from(outcome.violation.is_some());
        self.lasted_ms += outcome.lasted_ms;
        self.inputs += outcome.inputs;
        self.writes += outcome.writes;
        self.acknowledged += outcome.acknowledged;
        self.converged_ms_max = self.converged_ms_max.max(outcome.converged_ms);
        self.hash = self.hash.wrapping_add(outcome.hash);
    }
}

/// Says what is wrong and how to see it again.
fn report(outcome: &Outcome, plant: Option<Plant>, only: Option<&str>) {
    let Some(violation) = &outcome.violation else { return };
    let options = Swarm::from_seed(outcome.seed);
    let plant = plant.map_or(String::new(), |plant| format!(" --plant {plant}"));
    let only = only.map_or(String::new(), |only| format!(" --only {only}"));
    println!(
        "RED seed {} at {} ms: {} is violated: {}\n  {} nodes, {:?}, faults {:?}, hash {:016x}\n  \
         again: folkmoot-sim --seed {}{plant}{only} --trace",
        outcome.seed,
        violation.at_ms,
        violation.invariant,
        violation.text,
        options.nodes,
        options.topology,
        outcome.kinds,
        outcome.hash,
        outcome.seed,
    );
}
