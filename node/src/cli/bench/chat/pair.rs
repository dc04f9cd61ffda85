//! One sender and one receiver, on one node or on two.

use super::raw::{Raw, TEXT, find, frames, lost, number_after, push, push_head};
use super::{BODY_BYTES, WINDOW};
use crate::cli::bench::goals::{Figure, Goal};
use crate::cli::bench::reopen::{Served, serve_with};
use crate::cli::bench::report::{Part, Round, histogram, per_second};
use crate::cli::bench::{Bench, Failure, differs};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const MICROS: &str = "server microseconds a message";

/// How the sender writes.
#[derive(Clone, Copy)]
pub(super) struct Writes {
    /// Frames in one write.
    frames: u64,
    /// Whether the system sends each write at once.
    at_once: bool,
}

pub(super) const MANY: Writes = Writes { frames: 64, at_once: true };
pub(super) const ONE: Writes = Writes { frames: 1, at_once: false };
pub(super) const ONE_AT_ONCE: Writes = Writes { frames: 1, at_once: true };

pub(super) const BATCHED: Part = Part {
    name: "batched",
    what: "messages of 128 bytes from one sender to one receiver on one node, in order and acknowledged",
    client: "two WebSockets; 64 frames a write, at most 4,096 messages not yet received",
    unit: "messages/s",
    goals: &[(Figure::Value, Goal::AtLeast(1_000_000.0, Some(2_500_000.0)))],
    run: |bench| stream(bench, 1, MANY, 3_000_000),
};

pub(super) const SINGLE: Part = Part {
    name: "single",
    what: "the same, one frame a write",
    client: "two WebSockets; 1 frame a write, sent as the system sends by default (TCP_NODELAY is not set), at most 4,096 messages not yet received",
    unit: "messages/s",
    goals: &[(Figure::Value, Goal::AtLeast(500_000.0, Some(1_200_000.0)))],
    run: |bench| stream(bench, 1, ONE, 1_500_000),
};

pub(super) const SINGLE_AT_ONCE: Part = Part {
    name: "single-at-once",
    what: "the same, where the system sends each frame at once, in a segment of its own",
    client: "two WebSockets; 1 frame a write, TCP_NODELAY is set, at most 4,096 messages not yet received",
    unit: "messages/s",
    goals: &[],
    run: |bench| stream(bench, 1, ONE_AT_ONCE, 1_000_000),
};

pub(super) const LINKED: Part = Part {
    name: "linked",
    what: "the same across two nodes, encrypted between them",
    client: "two WebSockets, on one node each; 64 frames a write, at most 4,096 not yet received",
    unit: "messages/s",
    goals: &[(Figure::Value, Goal::AtLeast(800_000.0, Some(2_000_000.0)))],
    run: |bench| stream(bench, 2, MANY, 2_000_000),
};

pub(super) const ROUND_TRIP: Part = Part {
    name: "round-trip",
    what: "a message to a client of another node and one back, nothing else going on",
    client: "two WebSockets, on one node each; one message in flight",
    unit: "microseconds, median",
    goals: &[
        (Figure::Value, Goal::AtMost(250.0, Some(150.0))),
        (Figure::More("99th percentile, microseconds"), Goal::AtMost(600.0, Some(300.0))),
    ],
    run: round_trip,
};

/// Nodes in a chain.
pub(super) fn nodes(bench: &Bench, count: usize) -> Result<Vec<Served>, Failure> {
    let mut nodes: Vec<Served> = Vec::new();
    for at in 0..count {
        let peer = nodes.last().map(|node| node.url.clone());
        nodes.push(serve_with(&bench.data_dir(&format!("chat-{at}")), peer.as_deref())?);
    }
    Ok(nodes)
}

/// Opens a socket for a user at a node.
pub(super) fn hello(node: &Served, user: &str, client: u64) -> Result<Raw, Failure> {
    let mut raw = Raw::open(node.host(), "/v1/ws")?;
    raw.say(&format!("{{\"op\":\"hello\",\"user\":\"{user}\",\"client\":\"{client:016x}\"}}"))?;
    raw.until("\"welcome\"")?;
    Ok(raw)
}

/// Sends until a message is delivered: from then on the sender's node knows where the receiver is.
pub(super) fn warm(sender: &mut Raw, to: &str) -> Result<u64, Failure> {
    let until = Instant::now() + Duration::from_secs(20);
    for n in 1.. {
        sender.say(&format!("{{\"op\":\"send\",\"n\":{n},\"to\":\"{to}\",\"body\":\"warm\"}}"))?;
        let (mut settled, mut delivered) = (false, false);
        while !settled {
            sender.read(|text| {
                settled |= number_after(text, b"\"upto\":") == Some(n);
                delivered |= find(text, b"\"delivered\"").is_some();
            })?;
        }
        if delivered {
            return Ok(n);
        }
        if Instant::now() > until {
            return Err(differs("messages to warm up", n, 0));
        }
        thread::sleep(Duration::from_millis(20));
    }
    unreachable!("the loop ends by itself")
}

/// Appends one message.
pub(super) fn push_send(out: &mut Vec<u8>, n: u64, to: &str) {
    let mut number = itoa::Buffer::new();
    let number = number.format(n).as_bytes();
    let parts: [&[u8]; 6] =
        [b"{\"op\":\"send\",\"n\":", number, b",", to.as_bytes(), b",\"body\":\"", &BODY];
    push_head(out, TEXT, parts.iter().map(|part| part.len()).sum::<usize>() + 2);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\"}");
}

/// A body without its quotes.
const BODY: [u8; BODY_BYTES - 2] = [b'x'; BODY_BYTES - 2];

/// Counts what comes until it is all; acknowledges each read.
pub(super) fn receive(
    mut raw: Raw,
    first: u64,
    count: u64,
    seen: &AtomicU64,
) -> Result<(), Failure> {
    let (mut n, mut m, mut wrong) = (0, first - 1, None);
    while m < first + count - 1 {
        raw.read(|text| {
            if !text.starts_with(b"{\"op\":\"message\"") {
                return;
            }
            n = number_after(text, b"\"n\":").unwrap_or(n);
            let number = number_after(text, b"\"m\":").unwrap_or(0);
            if number >= first {
                if number != m + 1 {
                    wrong.get_or_insert((m + 1, number));
                }
                m = number;
            }
        })?;
        seen.store((m + 1).saturating_sub(first), Ordering::Release);
        raw.say(&format!("{{\"op\":\"received\",\"n\":{n}}}"))?;
    }
    match wrong {
        Some((expected, found)) => Err(differs("the order of messages", expected, found)),
        None => Ok(()),
    }
}

/// Reads what the sender is told, so that nothing waits for it.
pub(super) fn drain(mut raw: Raw, failed: &AtomicBool) {
    let bad: [&[u8]; 3] = [b"\"offline\"", b"\"unknown\"", b"\"refused\""];
    while raw
        .read(|text| {
            if bad.iter().any(|bad| find(text, bad).is_some()) {
                failed.store(true, Ordering::Release);
            }
        })
        .is_ok()
    {}
}

/// Sends messages as the window allows.
pub(super) fn send(
    tcp: &mut TcpStream,
    count: u64,
    writes: Writes,
    seen: &AtomicU64,
    mut push_one: impl FnMut(&mut Vec<u8>, u64),
) -> Result<(), Failure> {
    let (mut sent, mut out) = (0, Vec::with_capacity(64 * 1024));
    let mut looked = Instant::now();
    tcp.set_nodelay(writes.at_once).map_err(lost)?;
    while sent < count {
        let now = seen.load(Ordering::Acquire);
        if sent - now >= WINDOW {
            if looked.elapsed() > Duration::from_secs(30) {
                return Err(differs("messages", sent, now));
            }
            thread::sleep(Duration::from_micros(20));
            continue;
        }
        looked = Instant::now();
        out.clear();
        for _ in 0..writes.frames.min(count - sent) {
            push_one(&mut out, sent);
            sent += 1;
        }
        tcp.write_all(&out).map_err(lost)?;
    }
    Ok(())
}

fn stream(bench: &Bench, nodes_count: usize, writes: Writes, count: u64) -> Result<Round, Failure> {
    let nodes = nodes(bench, nodes_count)?;
    let count = bench.scaled(count);
    let receiver = hello(&nodes[nodes_count - 1], "billy", 2)?;
    let mut sender = hello(&nodes[0], "anna", 1)?;
    let seen = Arc::new(AtomicU64::new(0));
    let warmed = {
        // The warming messages must be taken in for the node to call them delivered.
        let (mut reader, mut writer) = receiver.split()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, warming) = (
            stop.clone(),
            thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let mut n = 0;
                    reader.read(|text| n = number_after(text, b"\"n\":").unwrap_or(n))?;
                    let mut out = Vec::new();
                    push(&mut out, TEXT, format!("{{\"op\":\"received\",\"n\":{n}}}").as_bytes());
                    writer.write_all(&out).map_err(lost)?;
                }
                Ok::<Raw, Failure>(reader)
            }),
        );
        let first = warm(&mut sender, "billy")?;
        stopped.store(true, Ordering::Release);
        sender
            .say(&format!("{{\"op\":\"send\",\"n\":{},\"to\":\"billy\",\"body\":0}}", first + 1))?;
        let reader = warming.join().expect("the load generator does not panic")?;
        (reader, first + 2)
    };
    let (receiver, first) = warmed;
    let before: f64 = nodes.iter().map(Served::cpu_seconds).sum();
    let began = Instant::now();
    let counter = seen.clone();
    let receiving = thread::spawn(move || receive(receiver, first, count, &counter));
    let (reader, mut writer) = sender.split()?;
    let failed = Arc::new(AtomicBool::new(false));
    let noted = failed.clone();
    let draining = thread::spawn(move || drain(reader, &noted));
    send(&mut writer, count, writes, &seen, |out, n| {
        push_send(out, first + n, "\"to\":\"billy\"");
    })?;
    receiving.join().expect("the load generator does not panic")?;
    let took = began.elapsed();
    let spent = nodes.iter().map(Served::cpu_seconds).sum::<f64>() - before;
    let _ = writer.shutdown(std::net::Shutdown::Both);
    draining.join().expect("the load generator does not panic");
    if failed.load(Ordering::Acquire) {
        return Err(differs("what became of the messages", "delivered", "something else"));
    }
    let more = vec![(MICROS, spent * 1e6 / count as f64)];
    Ok(Round { value: per_second(count, took), more, ..Round::default() })
}

fn round_trip(bench: &Bench) -> Result<Round, Failure> {
    let nodes = nodes(bench, 2)?;
    let count = bench.scaled(5_000);
    let mut anna = hello(&nodes[0], "anna", 1)?;
    let (mut billy, mut answers) = hello(&nodes[1], "billy", 2)?.split()?;
    let echo = thread::spawn(move || {
        let (mut number, mut out) = (0, Vec::new());
        loop {
            let mut last = None;
            let read = billy.read(|text| {
                if text.starts_with(b"{\"op\":\"message\"") {
                    last = number_after(text, b"\"n\":");
                }
            });
            let Some(n) = last else {
                if read.is_err() {
                    return;
                }
                continue;
            };
            number += 1;
            out.clear();
            push_send(&mut out, number, "\"to\":\"anna\"");
            push(&mut out, TEXT, format!("{{\"op\":\"received\",\"n\":{n}}}").as_bytes());
            if answers.write_all(&out).is_err() {
                return;
            }
        }
    });
    let warmed = warm(&mut anna, "billy")?;
    let (mut latency, mut out) = (histogram(), Vec::new());
    thread::sleep(Duration::from_millis(500));
    for n in 0..count {
        let began = Instant::now();
        out.clear();
        push_send(&mut out, warmed + 1 + n, "\"to\":\"billy\"");
        anna.write(&out)?;
        let mut got = None;
        while got.is_none() {
            anna.read(|text| {
                if text.starts_with(b"{\"op\":\"message\"") {
                    got = number_after(text, b"\"n\":");
                }
            })?;
        }
        crate::cli::bench::report::record(&mut latency, began);
        anna.say(&format!("{{\"op\":\"received\",\"n\":{}}}", got.unwrap_or(0)))?;
    }
    anna.close();
    drop(nodes);
    echo.join().expect("the load generator does not panic");
    let at = |quantile| latency.value_at_quantile(quantile) as f64;
    let more = vec![("99th percentile, microseconds", at(0.99))];
    Ok(Round { value: at(0.5), more, ..Round::default() })
}

/// Reads frames off a socket that does not block, as far as there are any.
pub(super) fn try_read(
    tcp: &mut impl Read,
    scratch: &mut [u8],
    kept: &mut Vec<u8>,
    on: &mut impl FnMut(&[u8]),
) -> std::io::Result<usize> {
    let read = tcp.read(scratch)?;
    let rest = if kept.is_empty() {
        let rest = frames(&scratch[..read], on);
        kept.extend_from_slice(&scratch[rest..read]);
        return Ok(read);
    } else {
        kept.extend_from_slice(&scratch[..read]);
        frames(kept, on)
    };
    kept.drain(..rest);
    Ok(read)
}
