//! Several nodes in this process: a linked pair, a chain of five, a late joiner.

use super::goals::{Figure, Goal};
use super::load::{count, fill, path_text, puts, value, verify};
use super::report::{Part, Round, Share, histogram, per_second, record};
use super::{Bench, Failure, differs};
use crate::cli::failure::Exit;
use folkmoot::Node;
use folkmoot_core::access::Principal;
use folkmoot_core::id::{Path, WatchId};
use folkmoot_core::request::{DataRequest, Event, MeshStatus, Reply, Request, Write};
use std::time::{Duration, Instant};

/// How long nodes may take to agree.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

pub(super) const PUT_LINKED: Part = Part {
    name: "put-linked",
    what: "durable puts of 100 B over 500,000 paths with a second node linked, until both have all",
    client: "one session, 64 single puts in flight on the first node",
    unit: "puts/s each",
    goals: &[(Figure::Value, Goal::AtLeast(45_000.0, Some(90_000.0)))],
    run: put_linked,
};

pub(super) const CHAIN: Part = Part {
    name: "chain",
    what: "from a put on the first node of a chain of five to the event on the last",
    client: "one put after the other, a watch on the last node; every put is durable on all five",
    unit: "ms median",
    goals: &[(Figure::Value, Goal::AtMost(5.0, Some(2.0)))],
    run: chain,
};

pub(super) const JOIN: Part = Part {
    name: "join",
    what: "100,000 entries into an empty node, from its start until it holds them durably",
    client: "none: the node joins and catches up",
    unit: "s",
    goals: &[(Figure::Value, Goal::AtMost(2.0, Some(1.0)))],
    run: join,
};

fn put_linked(bench: &Bench) -> Result<Round, Failure> {
    let a = bench.start("a", None)?;
    let b = bench.start("b", Some(&a))?;
    wait(bench, "the link", &a, 2)?;
    let puts_count = bench.scaled(300_000);
    let mut last = vec![0; bench.scaled(500_000) as usize];
    let (writer, other) = (a.clone(), b.clone());
    let share = Share::start();
    let (acknowledged, took, latency, last) = bench.client(async move {
        let mut latency = histogram();
        let began = Instant::now();
        puts(writer.clone(), puts_count, 64, &mut last, &mut latency).await?;
        let acknowledged = began.elapsed();
        agree(&writer, &other).await?;
        Ok((acknowledged, began.elapsed(), latency, last))
    })?;
    let generator = Share::end(&share);
    verify(&a, &last)?;
    verify(&b, &last)?;
    bench.close([a, b]);
    let lag = took - acknowledged;
    Ok(Round {
        value: per_second(puts_count, took),
        latency: Some(latency),
        generator,
        more: vec![(
            "ms from the last acknowledgement until both had all",
            lag.as_secs_f64() * 1e3,
        )],
    })
}

fn chain(bench: &Bench) -> Result<Round, Failure> {
    const LENGTH: usize = 5;
    let mut nodes: Vec<Node> = Vec::new();
    for number in 0..LENGTH {
        nodes.push(bench.start(&number.to_string(), nodes.last())?);
    }
    wait(bench, "the chain", &nodes[0], LENGTH)?;
    let (first, last) = (nodes[0].clone(), nodes[LENGTH - 1].clone());
    let count = bench.scaled(2_000);
    let latency = bench.client(async move {
        let mut watcher = last.session(Principal::Owner);
        let prefix = Path::new("bench".to_string()).ok();
        let watch = DataRequest::Watch { watch: WatchId(1), prefix };
        let Reply::Watching { .. } = watcher.ask(Request::Data(watch)).await else {
            return Err(differs("the watch", "a watch", "something else"));
        };
        let writer = first.session(Principal::Owner);
        let mut latency = histogram();
        for number in 0..count {
            let began = Instant::now();
            let write = Write::put(super::load::path(number), value(number));
            let reply = writer.ask(Request::Data(DataRequest::Write(vec![write]))).await;
            let Reply::Written(_) = reply else { return Err(differs("a put", number, reply)) };
            let event = tokio::time::timeout(PATIENCE, watcher.next_event()).await;
            let Ok(Some(Event::Changed(_, changes))) = event else {
                return Err(differs("the event", number, "none"));
            };
            record(&mut latency, began);
            let got = changes.first().and_then(|change| change.entry.value.clone());
            if changes.len() != 1 || got.as_deref() != Some(value(number).as_bytes()) {
                return Err(differs(&path_text(number), number, changes));
            }
        }
        Ok(latency)
    })?;
    bench.close(nodes);
    let value = latency.value_at_quantile(0.5) as f64 / 1000.0;
    Ok(Round { value, latency: Some(latency), ..Round::default() })
}

fn join(bench: &Bench) -> Result<Round, Failure> {
    let a = bench.start("a", None)?;
    let entries = bench.scaled(100_000);
    bench.client(fill(a.clone(), 0..entries))?;
    let began = Instant::now();
    let b = bench.start("b", Some(&a))?;
    let started = began.elapsed();
    let (one, other) = (a.clone(), b.clone());
    bench.client(async move { agree(&one, &other).await })?;
    let took = began.elapsed();
    if count(&b) != entries {
        return Err(differs("entries", entries, count(&b)));
    }
    let more = vec![("of which the node's own start, s", started.as_secs_f64())];
    bench.close([a, b]);
    Ok(Round { value: took.as_secs_f64(), more, ..Round::default() })
}

/// Waits until two nodes hold the same, on disk.
pub(super) async fn agree(a: &Node, b: &Node) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Both anew: a node that joins brings an entry of its own, its membership.
        let (one, other) = (status(a).await?, status(b).await?);
        let on_disk = b.snapshot().number().is_ok_and(|number| number == other.number);
        if one.digest == other.digest && on_disk {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(differs("the sum over all entries", one.digest, other.digest));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub(super) async fn status(node: &Node) -> Result<MeshStatus, Failure> {
    node.status().await.map_err(|error| Failure::new(Exit::Failed, error))
}

/// Waits until `node` reaches so many nodes, itself among them.
pub(super) fn wait(bench: &Bench, what: &str, node: &Node, nodes: usize) -> Result<(), Failure> {
    let (node, what) = (node.clone(), what.to_string());
    bench.client(async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = status(&node).await?;
            if status.nodes.iter().filter(|node| node.hops.is_some()).count() == nodes {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(Exit::Failed, format!("{what} did not come about"))
                    .why(format!("{:?}", status.peers)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
}
