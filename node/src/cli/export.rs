//! `data export`: all values as JSON lines in path order. Nodes that hold the same print the
//! same bytes.

use super::client::Client;
use super::data::{each_row, json_line};
use super::failure::{Exit, Failure};
use super::out::{Out, written};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use ureq::http::Method;

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// Arguments of `data export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot data export > all.jsonl
  folkmoot data export users --output users.jsonl

Each line is {\"path\":...,\"value\":...}; `folkmoot data import` reads it. A file is complete or
not there: it is written beside its place and moved when it is whole.")]
pub(crate) struct ExportArgs {
    /// Only values at and below this path
    #[arg(default_value = "")]
    prefix: String,
    /// Write to a file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs `data export`.
pub(crate) fn run(client: &Client, args: &ExportArgs, out: Out) -> Result<(), Failure> {
    let bar = progress(client, args, out);
    let Some(path) = &args.output else {
        let mut lines = BufWriter::with_capacity(WRITE_BYTES, std::io::stdout().lock());
        each_row(client, &args.prefix, u64::MAX, |row| {
            bar.inc(1);
            written(writeln!(lines, "{}", json_line(&row)))
        })?;
        bar.finish_and_clear();
        return written(lines.flush());
    };
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}", path.display())).why(error)
    };
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut lines = BufWriter::with_capacity(WRITE_BYTES, File::create(&part).map_err(cannot)?);
    each_row(client, &args.prefix, u64::MAX, |row| {
        bar.inc(1);
        writeln!(lines, "{}", json_line(&row)).map_err(cannot)
    })?;
    let file = lines.into_inner().map_err(|error| cannot(error.into_error()))?;
    file.sync_all().map_err(cannot)?;
    std::fs::rename(&part, path).map_err(cannot)?;
    bar.finish_and_clear();
    let (file, count) = (path.display().to_string(), bar.position());
    out.say(format!("{count} values in {file}"), &json!({ "exported": count, "file": file }))
}

/// Shows on standard error how far it is, where that is a terminal. How many values there are is
/// known only where all are exported.
fn progress(client: &Client, args: &ExportArgs, out: Out) -> ProgressBar {
    let hidden = out.json || (args.output.is_none() && std::io::stdout().is_terminal());
    if hidden {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let status = client.json(Method::GET, "/v1/status", &[]).unwrap_or_default();
    let count = |name: &str| status["data"][name].as_u64().filter(|_| args.prefix.is_empty());
    let total = count("entries").zip(count("tombstones")).map(|(all, dead)| all - dead);
    let (bar, form) = match total {
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} values {per_sec}"),
        Some(total) => (ProgressBar::new(total), "{wide_bar} {human_pos} of {human_len} {eta}"),
    };
    bar.with_style(ProgressStyle::with_template(form).expect("the template is right"))
}
