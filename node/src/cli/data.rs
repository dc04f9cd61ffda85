//! `data`: read and write shared data through a running node.

use super::ClientSettings;
use super::client::{Client, Row, data_target};
use super::failure::{Exit, Failure};
use super::out::Out;
use super::{export, import, watch};
use crate::config::Config;
use clap::{Args, Subcommand};
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Read;
use ureq::http::Method;

/// Rows asked for in one page.
pub(crate) const PAGE_ROWS: usize = 1_000;

/// Arguments of `data`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot data put users/1 '{\"name\":\"Alice\"}'
  folkmoot data get users/1
  folkmoot data scan users
  folkmoot data watch users")]
pub(crate) struct DataArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

/// The verbs of `data`.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Write a value; it is on the node's disk when the command ends
    #[command(after_help = "Examples:
  folkmoot data put users/1 '{\"name\":\"Alice\"}'
  folkmoot data put notes/today - < note.json
  folkmoot data put users/1 '{\"n\":2}' --if-match '\"...\"'   only over the version read before")]
    Put {
        /// Where: names with slashes between them
        path: String,
        /// JSON, or - to read it from standard input
        value: String,
        /// Only if the value has this ETag; * for any value
        #[arg(long, value_name = "ETAG")]
        if_match: Option<String>,
        /// Only if there is no value yet
        #[arg(long, conflicts_with = "if_match")]
        if_absent: bool,
    },
    /// Print a value
    #[command(after_help = "Example:
  folkmoot data get users/1

With --json also the path and the ETag. Exit code 3: nothing there.")]
    Get {
        /// Where
        path: String,
    },
    /// Delete a value
    #[command(after_help = "Example:
  folkmoot data del users/1

Exit code 3: nothing was there.")]
    Del {
        /// Where
        path: String,
    },
    /// List the values at and below a path, in path order
    #[command(after_help = "Example:
  folkmoot data scan users --limit 10")]
    Scan {
        /// A path; all paths without it
        #[arg(default_value = "")]
        prefix: String,
        /// Values to list at the most
        #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
        limit: u64,
    },
    /// Print the values at and below a path, then every change, until interrupted
    Watch(watch::WatchArgs),
    /// Write the values of a file of JSON lines
    Import(import::ImportArgs),
    /// Print all values as JSON lines, in path order
    Export(export::ExportArgs),
}

/// Runs `data`.
pub(crate) fn run(config: &Config, command: DataCommand, out: Out) -> Result<(), Failure> {
    let client = Client::new(config);
    match command {
        DataCommand::Put { path, value, if_match, if_absent } => {
            let value = if value == "-" { read_stdin()? } else { value.into_bytes() };
            check_json(&value)?;
            let condition = match &if_match {
                Some(etag) => Some(("if-match", etag.as_str())),
                None => if_absent.then_some(("if-none-match", "*")),
            };
            let headers: Vec<_> = condition.into_iter().collect();
            let answer = client.ask(Method::PUT, &data_target(&path), &headers, &value)?;
            if !(200..300).contains(&answer.status) {
                return Err(answer.failure());
            }
            let etag = answer.etag;
            out.say(format!("written {path}"), &json!({ "path": path, "etag": etag }))
        }
        DataCommand::Get { path } => {
            let answer = client.ask(Method::GET, &data_target(&path), &[], &[])?;
            if answer.status != 200 {
                return Err(answer.failure());
            }
            let value = String::from_utf8_lossy(&answer.body);
            if !out.json {
                return out.line(value.trim_end_matches('\n'));
            }
            let etag = json!(answer.etag);
            out.line(format_args!("{{\"path\":{},\"value\":{value},\"etag\":{etag}}}", json!(path)))
        }
        DataCommand::Del { path } => {
            let answer = client.ask(Method::DELETE, &data_target(&path), &[], &[])?;
            if !(200..300).contains(&answer.status) {
                return Err(answer.failure());
            }
            out.say(format!("deleted {path}"), &json!({ "path": path, "deleted": true }))
        }
        DataCommand::Scan { prefix, limit } => scan(&client, &prefix, limit, out),
        DataCommand::Watch(args) => watch::run(&client, &args, out),
        DataCommand::Import(args) => import::run(&client, &args, out),
        DataCommand::Export(args) => export::run(&client, &args, out),
    }
}

fn scan(client: &Client, prefix: &str, limit: u64, out: Out) -> Result<(), Failure> {
    each_row(client, prefix, limit, |row| {
        if out.json { out.line(json_line(&row)) } else { out.line(words(&row.path, &row.value)) }
    })
}

/// Visits the rows below `prefix` in path order, page by page.
pub(crate) fn each_row(
    client: &Client,
    prefix: &str,
    limit: u64,
    mut visit: impl FnMut(Row) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = limit;
    let mut cursor: Option<String> = None;
    while left > 0 {
        let rows = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE_ROWS);
        let page = client.page(prefix, rows, cursor.as_deref())?;
        left = left.saturating_sub(page.items.len() as u64);
        for row in page.items {
            visit(row)?;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// A row as a line for people.
pub(crate) fn words(path: &str, value: &RawValue) -> String {
    format!("{path}\t{}", one_line(value))
}

/// A value as it was written, but on one line: line breaks in JSON stand between its parts only.
fn one_line(value: &RawValue) -> Cow<'_, str> {
    match value.get() {
        text if text.contains(['\n', '\r']) => text.replace(['\n', '\r'], " ").into(),
        text => text.into(),
    }
}

/// A row as the line that `export` writes and `import` reads.
pub(crate) fn json_line(row: &Row) -> String {
    format!("{{\"path\":{},\"value\":{}}}", json!(row.path), one_line(&row.value))
}

fn check_json(value: &[u8]) -> Result<(), Failure> {
    serde_json::from_slice::<&RawValue>(value).map(|_| ()).map_err(|error| {
        Failure::new(Exit::Usage, "the value is not JSON").why(error).hint(
            "quote text twice, as in '\"text\"', or pass a file: folkmoot data put PATH - < FILE",
        )
    })
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin()
        .read_to_end(&mut value)
        .map_err(|error| Failure::new(Exit::Failed, "cannot read standard input").why(error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_many_lines_is_exported_on_one() {
        let row: Row =
            serde_json::from_str("{\"path\":\"a\\n\",\"value\":{\n \"b\": 1.0\r\n}}").unwrap();
        assert_eq!(json_line(&row), r#"{"path":"a\n","value":{  "b": 1.0  }}"#);
    }
}
