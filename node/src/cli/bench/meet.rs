//! Two nodes with 1,000,000 entries of which one lacks 100: what it costs to find out which.
//!
//! They meet for the first time because both got their entries through a third node that is gone;
//! then they meet again, once with 100 new entries and once with none.

use super::goals::{Figure, Goal};
use super::load::{count, fill, path_text, value};
use super::mesh::{LOOK_AGAIN, PATIENCE, agree, status, wait};
use super::report::{Part, Round};
use super::{Bench, Failure, differs};
use folkmoot::Node;
use std::time::Instant;

const NONE_MISSING: &str = "KiB at a later meeting, none missing";

/// Entries that one side lacks.
const MISSING: u64 = 100;

pub(super) const MEET: Part = Part {
    name: "meet",
    what: "bytes beside the entries when nodes with 1,000,000 entries meet, 100 missing on one side",
    client: "none: the nodes compare and catch up",
    unit: "KiB at first meeting",
    goals: &[
        (Figure::Value, Goal::AtMost(128.0, None)),
        (Figure::More(NONE_MISSING), Goal::AtMost(1.0, None)),
    ],
    run: meet,
};

fn meet(bench: &Bench) -> Result<Round, Failure> {
    let entries = bench.scaled(1_000_000).max(2 * MISSING);
    let a = bench.start("a", None)?;
    let between = bench.start("between", Some(&a))?;
    let b = bench.start("b", Some(&between))?;
    wait(bench, "the chain", &a, 3)?;
    bench.client(fill(a.clone(), 0..entries - MISSING))?;
    let (one, other) = (a.clone(), b.clone());
    bench.client(async move { agree(&one, &other).await })?;
    bench.close([b, between]);

    bench.client(fill(a.clone(), entries - MISSING..entries))?;
    let (first, took, b) = reunite(bench, &a, MISSING)?;
    bench.close([b]);
    bench.client(fill(a.clone(), entries..entries + MISSING))?;
    let (again, _, b) = reunite(bench, &a, MISSING)?;
    bench.close([b]);
    let (equal, _, b) = reunite(bench, &a, 0)?;
    if count(&b) != entries + MISSING {
        return Err(differs("entries", entries + MISSING, count(&b)));
    }
    bench.close([a, b]);
    let more = vec![
        ("KiB at a later meeting, 100 missing", again),
        (NONE_MISSING, equal),
        ("s until both held the same, with the start of one", took),
    ];
    Ok(Round { value: first, more, ..Round::default() })
}

/// Starts the other node as a peer of `a`, waits until both know that they hold the same, and
/// says how many KiB of comparing and catching up that took beside `missing` entries, and after
/// how many seconds they held the same.
fn reunite(bench: &Bench, a: &Node, missing: u64) -> Result<(f64, f64, Node), Failure> {
    let one = a.clone();
    let before = bench.client(async move { Ok(status(&one).await?.stats.repair_bytes) })?;
    let began = Instant::now();
    let b = bench.start("b", Some(a))?;
    let (one, other) = (a.clone(), b.clone());
    let (sent, took) = bench.client(async move {
        agree(&one, &other).await?;
        let took = began.elapsed().as_secs_f64();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (one, other) = (status(&one).await?, status(&other).await?);
            let links: Vec<_> = one.links.iter().chain(&other.links).collect();
            if links.len() == 2 && links.iter().all(|link| link.in_sync) {
                let sent = one.stats.repair_bytes - before + other.stats.repair_bytes;
                return Ok((sent, took));
            }
            if Instant::now() > deadline {
                return Err(differs("the links", "in sync", links));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })?;
    let entry = path_text(0).len() + value(0).len();
    let beside = sent.saturating_sub(missing * entry as u64);
    Ok((beside as f64 / 1024.0, took, b))
}
