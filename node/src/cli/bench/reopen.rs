//! A node with 1,000,000 entries starts again, in a process of its own: how long, how much
//! memory, and what it costs while nobody asks anything.

use super::load::fill;
use super::report::{Part, Round};
use super::{Bench, Failure, differs};
use crate::cli::client::Client;
use crate::cli::failure::Exit;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use ureq::http::Method;

/// How long the node is left alone to see what it costs.
const IDLE: Duration = Duration::from_secs(3);
/// Clock ticks a second in /proc, on every Linux of today.
const TICKS: f64 = 100.0;

pub(super) const REOPEN: Part = Part {
    name: "reopen",
    what: "start of `folkmoot serve` on 1,000,000 entries, until it is ready",
    client: "none",
    unit: "s",
    run: reopen,
};

/// A child that does not outlive the round.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn reopen(bench: &Bench) -> Result<Round, Failure> {
    let node = bench.start("a", None)?;
    let entries = bench.scaled(1_000_000);
    bench.client(fill(node.clone(), 0..entries))?;
    bench.close([node]);

    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Failed, "cannot start the node again").why(error)
    };
    let program = std::env::current_exe().map_err(cannot)?;
    let began = Instant::now();
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--data-dir"]);
    command.arg(bench.data_dir("a")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut served = Served(command.spawn().map_err(cannot)?);
    let stdout = served.0.stdout.take().expect("the output is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.strip_prefix("ready ").map(str::to_string));
    let url = url.ok_or_else(|| cannot(std::io::Error::other("it ended before it was ready")))?;
    let took = began.elapsed();

    let status = Client::at(&url).json(Method::GET, "/v1/status", &[])?;
    let held = status["data"]["entries"].as_u64().or(status["entries"].as_u64());
    if held.is_none_or(|held| held < entries) {
        return Err(differs("entries", entries, held));
    }
    let process = served.0.id();
    let before = ticks(process);
    std::thread::sleep(IDLE);
    let idle = ticks(process).zip(before).map(|(after, before)| after.saturating_sub(before));
    let idle = idle.map_or(0.0, |ticks| ticks as f64 / TICKS / IDLE.as_secs_f64() * 100.0);
    let more =
        vec![("resident MB", resident_mb(process).unwrap_or(0.0)), ("idle, % of a core", idle)];
    Ok(Round { value: took.as_secs_f64(), more, ..Round::default() })
}

fn resident_mb(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn ticks(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
