//! Figures: the median of the rounds, their spread, and the share of the load generator.

use super::Failure;
use super::Out;
use super::goals::Goals;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How the load generator's threads are named.
pub(super) const CLIENT_THREAD: &str = "bench-client";

/// One part of the benchmark.
pub(crate) struct Part {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What is measured.
    pub(crate) what: &'static str,
    /// How the client sends: what is in flight and what is put together.
    pub(crate) client: &'static str,
    /// The unit of the figure.
    pub(crate) unit: &'static str,
    /// What is to be reached.
    pub(super) goals: Goals,
    /// Measures once.
    pub(crate) run: fn(&super::Bench) -> Result<Round, Failure>,
}

/// What one round has shown.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The figure, in the part's unit.
    pub(crate) value: f64,
    /// How long single operations took, in microseconds.
    pub(crate) latency: Option<Histogram<u64>>,
    /// The share of the processor time that the load generator took, from 0 to 1.
    pub(crate) generator: Option<f64>,
    /// Further figures by name.
    pub(crate) more: Vec<(&'static str, f64)>,
}

impl Part {
    /// Says what it does.
    pub(crate) fn describe(&self, out: Out) -> Result<(), Failure> {
        let Part { name, what, client, unit, .. } = self;
        out.say(
            format!("{name:<12} {what} ({unit})\n             {client}"),
            &json!({ "part": name, "what": what, "client": client, "unit": unit }),
        )
    }
}

/// A histogram of microseconds: up to a minute, three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are right")
}

/// Notes how long something took.
pub(crate) fn record(histogram: &mut Histogram<u64>, since: Instant) {
    let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(micros.max(1));
}

/// Says what is measured, where and with what.
pub(crate) fn head(rounds: u8, scale: u64, dir: Option<&Path>, out: Out) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = processor().unwrap_or_else(|| "unknown processor".to_string());
    let dir = dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let words = format!(
        "folkmoot {version} ({build}), {cores} cores, {processor}\n{rounds} rounds at {scale} %, \
         data in {}, durability sync; client and nodes share the cores\n",
        dir.display()
    );
    let json = json!({ "version": version, "build": build, "cores": cores, "processor": processor,
        "rounds": rounds, "scale": scale, "dir": dir, "durability": "sync" });
    out.say(words, &json)
}

/// Prints a part's figures.
pub(crate) fn print(part: &Part, rounds: &[Round], out: Out) -> Result<(), Failure> {
    let values: Vec<f64> = rounds.iter().map(|round| round.value).collect();
    let (low, middle, high) = spread(&values);
    let mut words = format!(
        "{:<12} {} {}   (rounds {} to {})\n             {}; {}",
        part.name,
        number(middle),
        part.unit,
        number(low),
        number(high),
        part.what,
        part.client,
    );
    let mut json = json!({ "part": part.name, "what": part.what, "client": part.client,
        "unit": part.unit, "median": middle, "low": low, "high": high, "rounds": values });
    if let Some(merged) = latencies(rounds) {
        let at = |quantile| merged.value_at_quantile(quantile) as f64 / 1000.0;
        let (p50, p99, max) = (at(0.5), at(0.99), merged.max() as f64 / 1000.0);
        words += &format!("\n             p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms");
        json["p50_ms"] = json!(p50);
        json["p99_ms"] = json!(p99);
        json["max_ms"] = json!(max);
    }
    let shares: Vec<f64> = rounds.iter().filter_map(|round| round.generator).collect();
    if !shares.is_empty() {
        let (_, share, _) = spread(&shares);
        words +=
            &format!("\n             load generator: {:.0} % of the processor time", share * 100.0);
        json["generator_share"] = json!(share);
    }
    let names = rounds.first().map(|round| round.more.iter().map(|(name, _)| *name));
    for (index, name) in names.into_iter().flatten().enumerate() {
        let values: Vec<f64> = rounds.iter().map(|round| round.more[index].1).collect();
        let (low, middle, high) = spread(&values);
        words += &format!(
            "\n             {name}: {} ({} to {})",
            number(middle),
            number(low),
            number(high)
        );
        json[name] = Value::from(middle);
    }
    out.say(words, &json)
}

/// How long the single operations of all rounds took.
pub(super) fn latencies(rounds: &[Round]) -> Option<Histogram<u64>> {
    let mut all = rounds.iter().filter_map(|round| round.latency.as_ref());
    let mut merged = all.next()?.clone();
    for latency in all {
        merged.add(latency).expect("all histograms have the same bounds");
    }
    Some(merged)
}

/// The median of at least one value.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    spread(&values.into_iter().collect::<Vec<_>>()).1
}

/// Lowest, median, highest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let middle = (sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0;
    (sorted[0], middle, sorted[last])
}

/// With two digits behind the point, or from 100 on with commas.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Processor time of this process so far, and the load generator's part of it.
pub(crate) struct Share {
    all: u64,
    generator: u64,
}

impl Share {
    /// From now on.
    pub(crate) fn start() -> Option<Share> {
        let mut share = Share { all: 0, generator: 0 };
        for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
            let Ok(stat) = std::fs::read_to_string(thread.path().join("stat")) else { continue };
            let (head, tail) = stat.rsplit_once(')')?;
            let mut fields = tail.split_whitespace().skip(11);
            let ticks: u64 =
                fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
            share.all += ticks;
            if head.ends_with(CLIENT_THREAD) {
                share.generator += ticks;
            }
        }
        Some(share)
    }

    /// The generator's share since then.
    pub(crate) fn end(since: &Option<Share>) -> Option<f64> {
        let (now, since) = (Share::start()?, since.as_ref()?);
        let all = now.all.checked_sub(since.all)?;
        Some((now.generator.checked_sub(since.generator)? as f64 / all as f64).min(1.0))
            .filter(|_| all > 0)
    }
}

/// Operations a second.
pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(number(1_234_567.2), "1,234,567");
        assert_eq!(number(123.0), "123");
        assert_eq!(number(2.345), "2.35");
    }
}
