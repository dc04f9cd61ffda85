//! `data import`: JSON lines into shared data, in batches, several of them on their way at once.
//!
//! Promise: when it ends well every line is durable on the node; when it does not, it names the
//! line before which all are. Two lines of the same path keep their order.

use super::client::Client;
use super::failure::{Exit, Failure};
use super::out::Out;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use ureq::http::Method;

/// Items of one batch.
const BATCH_ITEMS: usize = 1_000;
/// Bytes of the paths and values of one batch, some under the node's limit of 1 MiB.
const BATCH_BYTES: usize = 1_000_000;
/// Bytes of one line.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long a node that is busy or away is asked again.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Arguments of `data import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot data import all.jsonl
  zcat all.jsonl.gz | folkmoot data import -
  folkmoot data import all.jsonl --from-line 120001      go on where an import stopped

Each line is {\"path\":...,\"value\":...}, as `folkmoot data export` writes it. Lines are written in
batches of at most 1,000; a batch is written whole or not at all. To import a line twice does no
harm: it is the same value again.")]
pub(crate) struct ImportArgs {
    /// The file, or - for standard input
    file: PathBuf,
    /// Skip the lines before this one
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,
    /// Batches on their way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    in_flight: u8,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    path: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Lines on their way together.
#[derive(Debug, Default)]
struct Batch {
    /// The number of each.
    lines: Vec<u64>,
    body: Vec<u8>,
    size: usize,
    paths: BTreeSet<String>,
}

impl Batch {
    fn add(&mut self, number: u64, line: Line<'_>) {
        if self.lines.is_empty() {
            self.body.extend_from_slice(b"{\"items\":[");
        } else {
            self.body.push(b',');
        }
        let item = format!("{{\"path\":{},\"value\":{}}}", json!(line.path), line.value.get());
        self.body.extend_from_slice(item.as_bytes());
        self.size += size_of_line(&line);
        self.lines.push(number);
        self.paths.insert(line.path);
    }
}

fn size_of_line(line: &Line<'_>) -> usize {
    line.path.len() + line.value.get().len()
}

/// What is on its way, oldest first.
struct Window {
    send: SyncSender<(usize, Vec<u8>)>,
    done: Receiver<(usize, Result<(), Failure>)>,
    /// Lines and paths of each batch; `None` for those that are done.
    waiting: VecDeque<Option<(Vec<u64>, BTreeSet<String>)>>,
    /// The number of the first of `waiting`.
    first: usize,
    in_flight: usize,
    in_flight_max: usize,
    written: u64,
}

impl Window {
    fn open(client: &Client, in_flight_max: usize) -> Window {
        let (send, batches) = sync_channel::<(usize, Vec<u8>)>(in_flight_max);
        let (told, done) = sync_channel(in_flight_max);
        let batches = Arc::new(Mutex::new(batches));
        for _ in 0..in_flight_max {
            let (client, batches, told) = (client.clone(), batches.clone(), told.clone());
            std::thread::spawn(move || {
                loop {
                    let next = batches.lock().expect("no holder of this lock panics").recv();
                    let Ok((number, body)) = next else { return };
                    if told.send((number, write(&client, &body))).is_err() {
                        return;
                    }
                }
            });
        }
        let waiting = VecDeque::new();
        Window { send, done, waiting, first: 0, in_flight: 0, in_flight_max, written: 0 }
    }

    /// The line before which all are written, if a batch is on its way.
    fn first_line(&self) -> Option<u64> {
        self.waiting.iter().flatten().find_map(|(lines, _)| lines.first().copied())
    }

    fn has(&self, path: &str) -> bool {
        self.waiting.iter().flatten().any(|(_, paths)| paths.contains(path))
    }

    fn push(&mut self, mut batch: Batch) -> Result<(), Failure> {
        while self.in_flight >= self.in_flight_max {
            self.wait_one()?;
        }
        batch.body.extend_from_slice(b"]}");
        self.waiting.push_back(Some((batch.lines, batch.paths)));
        let number = self.first + self.waiting.len() - 1;
        self.in_flight += 1;
        self.send.send((number, batch.body)).expect("the writers live as long as the window");
        Ok(())
    }

    fn wait_one(&mut self) -> Result<(), Failure> {
        let (number, result) = self.done.recv().expect("the writers live as long as the window");
        self.in_flight -= 1;
        let slot = &mut self.waiting[number - self.first];
        if let Err(failure) = result {
            let lines = slot.as_ref().map_or(&[][..], |(lines, _)| lines);
            let item = failure.item.or((lines.len() == 1).then_some(0));
            return Err(match item.and_then(|item| lines.get(item)) {
                Some(line) => failure.at(format!("line {line}")),
                None => failure,
            });
        }
        if let Some((lines, _)) = slot.take() {
            self.written += lines.len() as u64;
        }
        while self.waiting.front().is_some_and(Option::is_none) {
            self.waiting.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while self.in_flight > 0 {
            self.wait_one()?;
        }
        Ok(())
    }
}

/// Writes one batch, again and again while the node is busy or away.
fn write(client: &Client, body: &[u8]) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let answer = client.ask(Method::POST, "/v1/data", &[], body);
        let failure = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
            Ok(answer) if answer.status == 503 => answer.failure(),
            Ok(answer) => return Err(answer.failure()),
            Err(failure) => failure,
        };
        if started.elapsed() > RETRY_FOR {
            return Err(failure);
        }
        std::thread::sleep(RETRY_PAUSE);
    }
}

/// Runs `data import`.
pub(crate) fn run(client: &Client, args: &ImportArgs, out: Out) -> Result<(), Failure> {
    // Whether a node is there at all is better said now than after half a minute.
    client.json(Method::GET, "/v1/status", &[])?;
    let (input, bar) = open(args, out)?;
    let started = Instant::now();
    let mut window = Window::open(client, usize::from(args.in_flight));
    let mut number = 0;
    let result = read_all(input, args.from_line, &mut window, &bar, &mut number);
    bar.finish_and_clear();
    let written = window.written;
    result.map_err(|failure| {
        let next = window.first_line().unwrap_or(number.max(args.from_line));
        let file = args.file.display();
        failure.hint(format!(
            "all lines before line {next} are written; when the cause is gone, go on with\n\
             folkmoot data import {file} --from-line {next}"
        ))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let rate = written as f64 / seconds.max(0.001);
    out.say(
        format!("{written} values written in {seconds:.1} s ({rate:.0} a second)"),
        &json!({ "imported": written, "seconds": seconds }),
    )
}

fn open(args: &ImportArgs, out: Out) -> Result<(Box<dyn Read>, ProgressBar), Failure> {
    let (input, size): (Box<dyn Read>, u64) = if args.file.as_os_str() == "-" {
        (Box::new(std::io::stdin()), 0)
    } else {
        let cannot = |error| {
            Failure::new(Exit::Failed, format!("cannot read {}", args.file.display())).why(error)
        };
        let file = File::open(&args.file).map_err(cannot)?;
        let size = file.metadata().map_err(cannot)?.len();
        (Box::new(file), size)
    };
    let (bar, form) = match size {
        0 => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec} {msg}"),
        size => (ProgressBar::new(size), "{wide_bar} {percent}% {bytes_per_sec} {eta} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(form).expect("the template is right"));
    if out.json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    Ok((Box::new(bar.wrap_read(input)), bar))
}

fn read_all(
    input: Box<dyn Read>,
    from_line: u64,
    window: &mut Window,
    bar: &ProgressBar,
    number: &mut u64,
) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(256 * 1024, input);
    let mut batch = Batch::default();
    let mut bytes = Vec::new();
    let result = loop {
        bytes.clear();
        *number += 1;
        match input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(cannot_read(error)),
        }
        let is_long = bytes.len() as u64 > LINE_BYTES_MAX && !bytes.ends_with(b"\n");
        if *number < from_line {
            if is_long && let Err(error) = input.skip_until(b'\n') {
                break Err(cannot_read(error));
            }
            continue;
        }
        if is_long {
            break Err(long_line(*number));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line: Line<'_> = match serde_json::from_slice(&bytes) {
            Ok(line) => line,
            Err(error) => break Err(bad_line(*number, &bytes, &error)),
        };
        let full =
            batch.lines.len() == BATCH_ITEMS || batch.size + size_of_line(&line) > BATCH_BYTES;
        if !batch.lines.is_empty() && (full || batch.paths.contains(&line.path)) {
            window.push(std::mem::take(&mut batch))?;
            bar.set_message(format!("{} written", window.written));
        }
        if window.has(&line.path) {
            window.drain()?;
        }
        batch.add(*number, line);
    };
    // What stands before a bad line is good.
    if !batch.lines.is_empty() {
        window.push(batch)?;
    }
    window.drain()?;
    result
}

fn bad_line(number: u64, bytes: &[u8], error: &serde_json::Error) -> Failure {
    let text: String = String::from_utf8_lossy(bytes).trim().chars().take(60).collect();
    Failure::new(Exit::Failed, format!("line {number} is no {{\"path\":...,\"value\":...}}"))
        .why(format!("{error}\n{text}"))
}

fn cannot_read(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "cannot read on").why(error)
}

fn long_line(number: u64) -> Failure {
    let most = LINE_BYTES_MAX / 1024 / 1024;
    Failure::new(Exit::Failed, format!("line {number} is over {most} MiB"))
        .why("no value is that large: is a line break missing?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_values_as_written() {
        let mut batch = Batch::default();
        for (number, text) in
            [(4, r#"{"path":"a","value": 1.50}"#), (5, r#"{"path":"b","value":{}}"#)]
        {
            batch.add(number, serde_json::from_str(text).unwrap());
        }
        assert_eq!(batch.lines, [4, 5]);
        let body = String::from_utf8(batch.body).unwrap();
        assert_eq!(body, r#"{"items":[{"path":"a","value":1.50},{"path":"b","value":{}}"#);
    }

    /// Imports a text to a node that takes everything: how many lines, or why it stopped.
    fn import(text: &str, from_line: u64) -> (u64, Option<String>) {
        let (send, batches) = sync_channel::<(usize, Vec<u8>)>(1);
        let (told, done) = sync_channel(1);
        std::thread::spawn(move || {
            while let Ok((number, _)) = batches.recv() {
                told.send((number, Ok(()))).expect("the window waits for it");
            }
        });
        let (waiting, bar) = (VecDeque::new(), ProgressBar::hidden());
        let mut window =
            Window { send, done, waiting, first: 0, in_flight: 0, in_flight_max: 1, written: 0 };
        let input = Box::new(std::io::Cursor::new(text.to_owned()));
        let result = read_all(input, from_line, &mut window, &bar, &mut 0);
        (window.written, result.err().map(|failure| failure.to_string()))
    }

    #[test]
    fn the_longest_line_is_written_and_a_longer_one_is_named_and_can_be_skipped() {
        let line = |path: &str, bytes: u64| {
            let text = format!(r#"{{"path":"{path}","value":1}}"#);
            let blanks = usize::try_from(bytes).unwrap().saturating_sub(text.len());
            format!("{text}{}\n", " ".repeat(blanks))
        };
        let most = line("most", LINE_BYTES_MAX) + &line("next", 0);
        assert_eq!(import(&most, 1), (2, None));
        assert_eq!(import(most.trim_end_matches('\n'), 1), (2, None));
        let over = line("first", 0) + &line("over", LINE_BYTES_MAX + 1) + &line("last", 0);
        let (written, error) = import(&over, 1);
        assert!(error.unwrap().contains("line 2 is over 4 MiB"));
        assert_eq!(written, 1, "what stands before it");
        assert_eq!(import(&over, 3), (1, None), "what stands behind it");
    }
}
