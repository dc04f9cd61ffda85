//! One node over HTTP: single puts on 64 connections, and batches.
//!
//! The client is a few lines over a socket, so that the node and not a client library is
//! measured.

use super::goals::{Figure, Goal};
use super::load::{Random, path_text, value, verify};
use super::report::{Part, Round, Share, histogram, per_second, record};
use super::{Bench, Failure, differs};
use crate::cli::failure::Exit;
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const HTTP_PUT: Part = Part {
    name: "http-put",
    what: "durable single puts of 100 B, PUT /v1/data/<path>",
    client: "64 connections kept open, one put in flight on each",
    unit: "puts/s",
    goals: &[(Figure::Value, Goal::AtLeast(20_000.0, None))],
    run: |bench| rest(bench, 64, 1, 2_000),
};

pub(super) const HTTP_BATCH: Part = Part {
    name: "http-batch",
    what: "durable puts of 100 B in batches of 1,000, POST /v1/data",
    client: "4 connections kept open, one batch of 1,000 in flight on each",
    unit: "puts/s",
    goals: &[(Figure::Value, Goal::AtLeast(90_000.0, None))],
    run: |bench| rest(bench, 4, 1_000, 100),
};

fn rest(bench: &Bench, connections: u64, items: u64, requests: u64) -> Result<Round, Failure> {
    let node = bench.start("a", None)?;
    let requests = bench.scaled(requests);
    let address = node.addr();
    let share = Share::start();
    let (took, latency) = bench.client(async move {
        let mut tasks = Vec::new();
        let began = Instant::now();
        for connection in 0..connections {
            tasks.push(tokio::spawn(client(address, connection, items, requests)));
        }
        let mut all = histogram();
        for task in tasks {
            let latency = task.await.expect("the client does not panic")?;
            all.add(latency).expect("all histograms have the same bounds");
        }
        Ok((began.elapsed(), all))
    })?;
    let generator = Share::end(&share);
    let count = connections * requests * items;
    let last: Vec<u64> = (0..count).map(number_of).collect();
    verify(&node, &last)?;
    bench.close([node]);
    Ok(Round { value: per_second(count, took), latency: Some(latency), generator, more: vec![] })
}

/// The number in entry `index`; entries of which each is written once.
fn number_of(index: u64) -> u64 {
    Random(index + 1).below(1_000_000_000) + 1
}

async fn client(
    address: SocketAddr,
    connection: u64,
    items: u64,
    requests: u64,
) -> Result<Histogram<u64>, Failure> {
    let lost = |error: std::io::Error| {
        Failure::new(Exit::Failed, "a connection to the node was lost").why(error)
    };
    let mut socket = TcpStream::connect(address).await.map_err(lost)?;
    socket.set_nodelay(true).map_err(lost)?;
    let mut latency = histogram();
    let mut answer = Vec::with_capacity(256 * 1024);
    let mut next = connection * requests * items;
    for _ in 0..requests {
        let request = if items == 1 { put(address, next) } else { batch(address, next, items) };
        next += items;
        let began = Instant::now();
        socket.write_all(&request).await.map_err(lost)?;
        let status = read_answer(&mut socket, &mut answer).await.map_err(lost)?;
        record(&mut latency, began);
        if !(200..300).contains(&status) {
            let said = String::from_utf8_lossy(&answer).into_owned();
            return Err(Failure::new(Exit::Failed, "the node refused a put").why(said));
        }
        if items > 1 && count_bytes(&answer, b"\"path\"") != items as usize {
            return Err(differs("items in the answer", items, count_bytes(&answer, b"\"path\"")));
        }
    }
    Ok(latency)
}

fn put(address: SocketAddr, index: u64) -> Vec<u8> {
    let value = value(number_of(index));
    request(address, &format!("PUT /v1/data/{}", path_text(index)), &value)
}

fn batch(address: SocketAddr, first: u64, items: u64) -> Vec<u8> {
    let mut body = String::with_capacity(items as usize * 150);
    for index in first..first + items {
        body += if index == first { "{\"items\":[" } else { "," };
        body += "{\"path\":\"";
        body += &path_text(index);
        body += "\",\"value\":";
        body += &value(number_of(index));
        body.push('}');
    }
    body += "]}";
    request(address, "POST /v1/data", &body)
}

fn request(address: SocketAddr, line: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads one answer; its head and body are left in `answer`.
async fn read_answer(socket: &mut TcpStream, answer: &mut Vec<u8>) -> std::io::Result<u16> {
    answer.clear();
    let strange = |what| std::io::Error::other(format!("the answer has no {what}"));
    let head = loop {
        if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|digits| digits.parse().ok());
    let status = status.ok_or_else(|| strange("status"))?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize =
        length.and_then(|digits| digits.trim().parse().ok()).ok_or_else(|| strange("length"))?;
    while answer.len() < head + length {
        if socket.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(status)
}

fn count_bytes(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len()).filter(|window| *window == word).count()
}
