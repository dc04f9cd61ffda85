//! How fast one node is in process: durable puts of 100 bytes with 64 and 512 under way, reads
//! over 500,000 entries, and how long it takes to open again. Medians of three rounds.
//!
//! `cargo run --release --example throughput -- [data directory] [entries]`

use folkmoot::{Node, Principal};
use folkmoot_core::id::Path;
use folkmoot_core::request::{DataRequest, Reply, Request, Write};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 3;
const PUTS: u64 = 200_000;
const READERS: u64 = 2;
const GETS: u64 = 400_000;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| "throughput-data".into());
    let entries: u64 = arguments.next().map_or(Ok(500_000), |text| text.parse())?;

    let node = Node::builder().listen("127.0.0.1:0").data_dir(&place).start().await?;
    println!("idle: {} MiB resident", resident_kib() / 1024);
    let began = Instant::now();
    put(&node, 512, entries, |number| number).await;
    println!("{entries} entries put in {:.2} s", began.elapsed().as_secs_f64());
    for under_way in [64, 512] {
        let mut figures = Figures::new(PUTS);
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let which = |number| scatter(number + round * PUTS) % entries;
            let began = Instant::now();
            times = put(&node, under_way, PUTS, which).await;
            figures.round(began);
        }
        times.sort();
        let at = |mille: usize| times[times.len() * mille / 1000].as_secs_f64() * 1e3;
        let (p50, p99, p999) = (at(500), at(990), at(999));
        print!("puts, {under_way} under way: {figures}");
        println!(", p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms");
    }
    let mut figures = Figures::new(READERS * GETS);
    for round in 0..ROUNDS {
        let began = Instant::now();
        let get = |reader| tokio::spawn(get(node.clone(), entries, READERS * round + reader));
        for reader in (0..READERS).map(get).collect::<Vec<_>>() {
            reader.await?;
        }
        figures.round(began);
    }
    println!("gets on {READERS} threads: {figures}");
    println!("busy: {} MiB resident", resident_kib() / 1024);
    node.close().await;
    let began = Instant::now();
    let node = Node::builder().listen("127.0.0.1:0").data_dir(&place).start().await?;
    println!("opened again in {:.2} s", began.elapsed().as_secs_f64());
    node.close().await;
    std::fs::remove_dir_all(place)?;
    Ok(())
}

/// Puts `count` values, `under_way` at a time; answers how long each took.
async fn put(
    node: &Node,
    under_way: usize,
    count: u64,
    which: impl Fn(u64) -> u64,
) -> Vec<Duration> {
    let session = node.session(Principal::Owner);
    let (mut began, mut times, mut replies) = (HashMap::new(), Vec::new(), Vec::new());
    let mut sent = 0;
    while (times.len() as u64) < count {
        while sent < count && began.len() < under_way {
            let path = Path::new(path(which(sent))).expect("it is a path");
            let write = DataRequest::Write(vec![Write::put(path, value(sent))]);
            let id = session.send(Request::Data(write)).await.expect("the node is open");
            began.insert(id, Instant::now());
            sent += 1;
        }
        session.next_replies(&mut replies).await;
        for (id, reply) in replies.drain(..) {
            assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
            times.push(began.remove(&id).expect("it was sent").elapsed());
        }
    }
    times
}

/// Reads entries here and there.
async fn get(node: Node, entries: u64, reader: u64) {
    for number in 0..GETS {
        let path = path(scatter(number + reader * GETS) % entries);
        assert!(node.get(&path).await.expect("it can be read").is_some());
    }
}

fn path(number: u64) -> String {
    format!("bench/{:02}/{number:012}", number % 100)
}

fn value(number: u64) -> String {
    format!("{{\"number\":{number:020},\"text\":\"{}\"}}", "x".repeat(60))
}

/// A number far from its neighbours'.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

/// What some rounds took.
struct Figures {
    count: u64,
    rates: Vec<f64>,
    processor_s: f64,
}

impl Figures {
    fn new(count: u64) -> Figures {
        Figures { count, rates: Vec::new(), processor_s: processor_s() }
    }

    fn round(&mut self, began: Instant) {
        self.rates.push(self.count as f64 / began.elapsed().as_secs_f64());
        self.rates.sort_by(f64::total_cmp);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let done = self.count as f64 * self.rates.len() as f64;
        let each = (processor_s() - self.processor_s) / done * 1e6;
        let (median, last) = (self.rates[self.rates.len() / 2], self.rates[self.rates.len() - 1]);
        write!(f, "{median:.0}/s (spread {:.0} to {last:.0}", self.rates[0])?;
        write!(f, "; {each:.1} us of processor each)")
    }
}

/// Seconds of processor time that this process has used, clients included.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time, in hundredths: the 14th and 15th field, the second is in brackets.
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}
