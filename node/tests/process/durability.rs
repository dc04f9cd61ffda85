//! kill -9 under load: what was acknowledged is there, what was written together is there
//! together. `FOLKMOOT_TEST_KILLS` sets the number of kills (default 20); a tenth of them, but at
//! least two, hit the recovery from the kill before.
//!
//! A killed process leaves what it gave to the operating system, so a kill alone would not show a
//! missing sync. Here what was not synced is lost with the process, as it is where the power fails
//! (`faults`): a node that leaves the syncing to the system fails this test, and that is tested.

use crate::faults::lose_power;
use crate::support::{Process, command, directory, spawn, try_start};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Writers at once, each with a connection of its own.
const WRITERS: usize = 4;
/// Batches that each writer writes again and again.
const GROUPS: usize = 50;
/// Items of a batch.
const ITEMS: usize = 100;
/// Acknowledged writes before a kill.
const WRITES_BEFORE_KILL: u64 = 10_000;

/// What one writer knows of one group: it writes it with rising numbers.
#[derive(Clone, Copy, Default)]
struct Known {
    sent: u64,
    acknowledged: u64,
}

#[test]
fn a_killed_node_has_every_acknowledged_write() {
    let kills = std::env::var("FOLKMOOT_TEST_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let report = kill_again_and_again(kills, false).unwrap();
    println!("{report}");
}

#[test]
fn the_kill_test_finds_out_a_node_that_does_not_sync() {
    let found = kill_again_and_again(5, true).unwrap_err();
    assert!(found.contains("is lost"), "{found}");
}

/// Kills a node so many times; says what it has seen, or what was lost.
fn kill_again_and_again(kills: u64, unsynced: bool) -> Result<String, String> {
    let (_keep, dir) = directory();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()));
    let mut known = vec![[Known::default(); GROUPS]; WRITERS];
    let mut acknowledged_all = 0;
    let (mut recoveries, mut in_recovery) = (0, 0);
    for kill in 0..kills {
        let began = Instant::now();
        let node = start(&dir, unsynced);
        let start_took = began.elapsed();
        check(&node, &known)?;
        // Every third kill comes when all is answered and nothing is under way.
        let quiet = kill % 3 == 2;
        acknowledged_all += write_until_killed(node, &mut known, &mut random, quiet);
        if kill % 10 == 1 || (kills < 20 && kill == 0) {
            recoveries += 1;
            in_recovery += kill_in_recovery(&dir, unsynced, start_took, &mut random);
        }
    }
    let node = start(&dir, unsynced);
    check(&node, &known)?;
    assert_eq!(in_recovery, recoveries, "kills in recovery");
    Ok(format!(
        "{kills} kills under load, {in_recovery} in recovery, {acknowledged_all} acknowledged writes, none lost"
    ))
}

fn start(dir: &Path, unsynced: bool) -> Process {
    try_start(node(dir, unsynced)).unwrap_or_else(|(code, log)| panic!("{code:?}\n{log}"))
}

fn node(dir: &Path, unsynced: bool) -> std::process::Command {
    let durability = if unsynced { "os" } else { "sync" };
    let mut node = command("127.0.0.1:0", dir, &["--durability", durability]);
    lose_power(&mut node);
    node
}

/// Starts a node and kills it at some moment before it is ready; again if it was too quick.
/// Answers how often it was not.
fn kill_in_recovery(dir: &Path, unsynced: bool, start_took: Duration, random: &mut Random) -> u64 {
    let mut attempts = (0..20).map(|_| kill_while_it_starts(dir, unsynced, start_took, random));
    u64::from(attempts.any(|before_ready| before_ready))
}

fn kill_while_it_starts(
    dir: &Path,
    unsynced: bool,
    start_took: Duration,
    random: &mut Random,
) -> bool {
    let started = Instant::now();
    let (mut child, _log, lines) = spawn(node(dir, unsynced));
    let wait = Duration::from_micros(random.below(start_took.as_micros() as u64));
    let mut ready = false;
    while let Some(left) = wait.checked_sub(started.elapsed()) {
        match lines.recv_timeout(left) {
            Ok(line) => ready |= line.starts_with("ready "),
            Err(_) => break,
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    !ready
}

/// Writers write until the node is gone; answers how many writes were acknowledged.
fn write_until_killed(
    node: Process,
    known: &mut [[Known; GROUPS]],
    random: &mut Random,
    quiet: bool,
) -> u64 {
    let acknowledged = AtomicU64::new(0);
    let gone = AtomicBool::new(false);
    let extra = Duration::from_micros(random.below(200_000));
    std::thread::scope(|scope| {
        for (writer, groups) in known.iter_mut().enumerate() {
            let (node, acknowledged, gone) = (&node, &acknowledged, &gone);
            scope.spawn(move || {
                for group in (0..GROUPS).cycle() {
                    if gone.load(Ordering::Relaxed) {
                        return;
                    }
                    // The last attempt fails if the node is killed under it.
                    let known = &mut groups[group];
                    known.sent += 1;
                    match node.try_ask("POST", "/v1/data", &batch(writer, group, known.sent)) {
                        Some((status, _)) if (200..300).contains(&status) => {
                            known.acknowledged = known.sent;
                            acknowledged.fetch_add(ITEMS as u64, Ordering::Relaxed);
                        }
                        Some((status, body)) => panic!("{status} {body}\n{}", node.log()),
                        None => assert!(gone.load(Ordering::Relaxed), "{}", node.log()),
                    }
                }
            });
        }
        let deadline = Instant::now() + crate::support::PATIENCE;
        while acknowledged.load(Ordering::Relaxed) < WRITES_BEFORE_KILL {
            assert!(Instant::now() < deadline, "too slow\n{}", node.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(extra);
        gone.store(true, Ordering::Relaxed);
        if !quiet {
            crate::support::send_signal(node.id(), "KILL");
        }
    });
    node.kill();
    acknowledged.into_inner()
}

fn batch(writer: usize, group: usize, number: u64) -> String {
    let items = (0..ITEMS).map(|item| {
        format!("{{\"path\":\"{}/{item:03}\",\"value\":{number}}}", group_path(writer, group))
    });
    format!("{{\"items\":[{}]}}", items.collect::<Vec<_>>().join(","))
}

fn group_path(writer: usize, group: usize) -> String {
    format!("kill/{writer}/{group:03}")
}

/// Every group is there whole, at or after its last acknowledged number.
fn check(node: &Process, known: &[[Known; GROUPS]]) -> Result<(), String> {
    let mut found = std::collections::BTreeMap::new();
    for line in node.export().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        found.insert(row["path"].as_str().unwrap().to_string(), row["value"].as_u64().unwrap());
    }
    for (writer, groups) in known.iter().enumerate() {
        for (group, known) in groups.iter().enumerate() {
            let path = group_path(writer, group);
            let numbers: Vec<u64> = (0..ITEMS)
                .map(|item| found.get(&format!("{path}/{item:03}")).copied().unwrap_or(0))
                .collect();
            if numbers.iter().any(|number| *number != numbers[0]) {
                return Err(format!("{path}: a part of a batch is lost: {numbers:?}"));
            }
            if numbers[0] < known.acknowledged {
                let (at, number) = (numbers[0], known.acknowledged);
                return Err(format!(
                    "{path}: write {number} was acknowledged and is lost; {at} is there"
                ));
            }
            assert!(numbers[0] <= known.sent, "{path}: {} was never sent", numbers[0]);
        }
    }
    Ok(())
}

/// xorshift64: moments to kill at.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
