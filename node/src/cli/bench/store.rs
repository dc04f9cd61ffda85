//! One node, in process: durable puts and gets.

use super::goals::{Figure, Goal};
use super::load::{Random, fill, path, puts, value, verify};
use super::report::{Part, Round, Share, histogram, per_second};
use super::{Bench, Failure, differs};
use bytes::Bytes;
use folkmoot::Node;
use folkmoot_core::data::read::Value;
use std::time::Instant;

/// Entries among which the puts choose.
const ENTRIES: u64 = 500_000;

pub(super) const PUT_64: Part = Part {
    name: "put-64",
    what: "durable puts of 100 B over 500,000 paths, in process",
    client: "one session, 64 single puts in flight, none put together by the client",
    unit: "puts/s",
    goals: &[
        (Figure::Value, Goal::AtLeast(40_000.0, Some(60_000.0))),
        (Figure::P99, Goal::AtMost(5.0, Some(2.0))),
    ],
    run: |bench| put(bench, 64, 300_000),
};

pub(super) const PUT_512: Part = Part {
    name: "put-512",
    what: "durable puts of 100 B over 500,000 paths, in process",
    client: "one session, 512 single puts in flight, none put together by the client",
    unit: "puts/s",
    goals: &[(Figure::Value, Goal::AtLeast(90_000.0, Some(200_000.0)))],
    run: |bench| put(bench, 512, 600_000),
};

pub(super) const GET: Part = Part {
    name: "get",
    what: "gets over 500,000 entries, in process, random paths",
    client: "one thread, one get after the other from the newest durable view",
    unit: "gets/s",
    goals: &[(Figure::Value, Goal::AtLeast(200_000.0, Some(1_000_000.0)))],
    run: get,
};

fn put(bench: &Bench, in_flight: usize, count: u64) -> Result<Round, Failure> {
    let node = bench.start("a", None)?;
    let count = bench.scaled(count);
    let mut last = vec![0; bench.scaled(ENTRIES) as usize];
    let writer = node.clone();
    let share = Share::start();
    let (took, latency, last) = bench.client(async move {
        let mut latency = histogram();
        let began = Instant::now();
        puts(writer, count, in_flight, &mut last, &mut latency).await?;
        Ok((began.elapsed(), latency, last))
    })?;
    let generator = Share::end(&share);
    verify(&node, &last)?;
    bench.close([node]);
    Ok(Round { value: per_second(count, took), latency: Some(latency), generator, more: vec![] })
}

fn get(bench: &Bench) -> Result<Round, Failure> {
    let node = bench.start("a", None)?;
    let entries = bench.scaled(ENTRIES);
    bench.client(fill(node.clone(), 0..entries))?;
    let count = bench.scaled(1_000_000);
    let reader = node.clone();
    let took = bench.client(async move {
        let mut random = Random(0x9e7);
        let wanted: Vec<(u64, _)> =
            (0..count).map(|_| random.below(entries)).map(|index| (index, path(index))).collect();
        let mut found = Vec::with_capacity(wanted.len());
        let began = Instant::now();
        for (_, path) in &wanted {
            found.push(reader.snapshot().find(path, Node::wall_ms()).ok().flatten());
        }
        let took = began.elapsed();
        for ((index, path), found) in wanted.iter().zip(found) {
            let found = found.map(|found| found.value);
            let sent = Value::Plain(Bytes::from(value(*index)));
            if found.as_ref() != Some(&sent) {
                return Err(differs(&path.to_string(), sent, found));
            }
        }
        Ok(took)
    })?;
    bench.close([node]);
    Ok(Round { value: per_second(count, took), ..Round::default() })
}
