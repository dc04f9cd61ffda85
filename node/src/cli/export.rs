//! `data export`: all values as JSON lines in path order. Nodes that hold the same print the
//! same bytes.

use super::client::Client;
use super::data::{each_row, json_line};
use super::failure::{Exit, Failure};
use super::out::{Out, written};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

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
    let Some(path) = &args.output else {
        let mut lines = BufWriter::with_capacity(WRITE_BYTES, std::io::stdout().lock());
        each_row(client, &args.prefix, u64::MAX, |row| {
            written(writeln!(lines, "{}", json_line(&row)))
        })?;
        return written(lines.flush());
    };
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}", path.display())).why(error)
    };
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut lines = BufWriter::with_capacity(WRITE_BYTES, File::create(&part).map_err(cannot)?);
    let mut count = 0_u64;
    each_row(client, &args.prefix, u64::MAX, |row| {
        count += 1;
        writeln!(lines, "{}", json_line(&row)).map_err(cannot)
    })?;
    let file = lines.into_inner().map_err(|error| cannot(error.into_error()))?;
    file.sync_all().map_err(cannot)?;
    std::fs::rename(&part, path).map_err(cannot)?;
    let file = path.display().to_string();
    out.say(format!("{count} values in {file}"), &json!({ "exported": count, "file": file }))
}
