//! `folkmoot serve` in a process of its own, on 1,000,000 entries and on none: how long until it is
//! ready, how much memory it takes, and what it costs while nobody asks anything.

use super::goals::{Figure, Goal};
use super::load::fill;
use super::report::{Part, Round};
use super::{Bench, Failure, differs};
use crate::cli::client::Client;
use crate::cli::failure::Exit;
use crate::config::{CONFIG_ENV, KEYS};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use ureq::http::Method;

/// How long the node is left alone to see what it costs.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Clock ticks a second in /proc, on every Linux of today.
pub(super) const TICKS: f64 = 100.0;
/// The secret of the nodes that are measured.
pub(super) const SECRET: &str = "a secret for measuring";

const RESIDENT: &str = "resident MB";
const OF_A_CORE: &str = "% of a core";

pub(super) const REOPEN: Part = Part {
    name: "reopen",
    what: "start of `folkmoot serve` on 1,000,000 entries, until it is ready",
    client: "none",
    unit: "s",
    goals: &[
        (Figure::Value, Goal::AtMost(2.0, Some(1.0))),
        (Figure::More(RESIDENT), Goal::AtMost(300.0, None)),
    ],
    run: reopen,
};

pub(super) const IDLE: Part = Part {
    name: "idle",
    what: "memory of a node without entries and clients",
    client: "none",
    unit: "MB resident",
    goals: &[
        (Figure::Value, Goal::AtMost(30.0, None)),
        (Figure::More(OF_A_CORE), Goal::AtMost(1.0, None)),
    ],
    run: idle,
};

/// A child that does not outlive the round.
pub(super) struct Served {
    child: Child,
    pub(super) url: String,
    ready_after: Duration,
}

impl Drop for Served {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn reopen(bench: &Bench) -> Result<Round, Failure> {
    let node = bench.start("a", None)?;
    let entries = bench.scaled(1_000_000);
    bench.client(fill(node.clone(), 0..entries))?;
    bench.close([node]);

    let served = serve(&bench.data_dir("a"))?;
    let status = Client::at(&served.url).json(Method::GET, "/v1/status", &[])?;
    let held = status["data"]["entries"].as_u64();
    if held.is_none_or(|held| held < entries) {
        return Err(differs("entries", entries, held));
    }
    let (resident, idle) = served.left_alone();
    let more = vec![(RESIDENT, resident), ("idle, % of a core", idle)];
    Ok(Round { value: served.ready_after.as_secs_f64(), more, ..Round::default() })
}

fn idle(bench: &Bench) -> Result<Round, Failure> {
    let served = serve(&bench.data_dir("a"))?;
    let (resident, idle) = served.left_alone();
    let more = vec![
        (OF_A_CORE, idle),
        ("s until ready, a new data directory", served.ready_after.as_secs_f64()),
    ];
    Ok(Round { value: resident, more, ..Round::default() })
}

fn serve(dir: &Path) -> Result<Served, Failure> {
    serve_with(dir, None)
}

/// A node in a process of its own, linked to `peer` if there is one.
pub(super) fn serve_with(dir: &Path, peer: Option<&str>) -> Result<Served, Failure> {
    let cannot =
        |error: std::io::Error| Failure::new(Exit::Failed, "cannot start a node").why(error);
    let program = std::env::current_exe().map_err(cannot)?;
    let began = Instant::now();
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--data-dir"]);
    // The user's own settings have no part in it.
    for key in KEYS {
        command.env_remove(key.env);
    }
    command.env(CONFIG_ENV, "/dev/null");
    command.arg(dir).args(["--secret", SECRET]);
    command.args(peer.into_iter().flat_map(|peer| ["--peer", peer]));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let stdout = child.stdout.take().expect("the output is piped");
    let mut served = Served { child, url: String::new(), ready_after: Duration::ZERO };
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.strip_prefix("ready ").map(str::to_string));
    served.ready_after = began.elapsed();
    served.url =
        url.ok_or_else(|| cannot(std::io::Error::other("it ended before it was ready")))?;
    Ok(served)
}

impl Served {
    /// `host:port`.
    pub(super) fn host(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or(&self.url)
    }

    /// Processor time that it has taken, in seconds.
    pub(super) fn cpu_seconds(&self) -> f64 {
        ticks(self.child.id()).unwrap_or(0) as f64 / TICKS
    }

    /// Memory that it holds now, in MB.
    pub(super) fn resident_mb(&self) -> f64 {
        resident_mb(self.child.id()).unwrap_or(0.0)
    }

    /// What it takes while nobody asks: resident MB, and percent of a core.
    fn left_alone(&self) -> (f64, f64) {
        let process = self.child.id();
        let before = ticks(process);
        std::thread::sleep(LEFT_ALONE);
        let ticks = ticks(process).zip(before).map(|(after, before)| after.saturating_sub(before));
        let seconds = ticks.map_or(0.0, |ticks| ticks as f64 / TICKS);
        (resident_mb(process).unwrap_or(0.0), seconds / LEFT_ALONE.as_secs_f64() * 100.0)
    }
}

fn resident_mb(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Processor time of a process, in clock ticks.
pub(super) fn ticks(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
