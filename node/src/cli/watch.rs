//! `data watch`: a snapshot, then every change, without a gap, also over a lost connection.

use super::client::{Client, encode};
use super::data::words;
use super::failure::{Exit, Failure};
use super::out::Out;
use clap::Args;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

/// First pause before the node is asked again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes of one event: a value of 256 KiB with what escaping adds, and some.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one line of an event: all of its data, and the name before it.
const LINE_BYTES_MAX: u64 = EVENT_BYTES_MAX as u64 + 16;

/// Arguments of `data watch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot data watch users
  folkmoot data watch --json | jq .path

After a lost connection the watch goes on where it stopped. If the node no longer knows what was
missed it says `reset` and begins with a new snapshot.")]
pub(crate) struct WatchArgs {
    /// A path; all paths without it
    #[arg(default_value = "")]
    prefix: String,
    /// End after this many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    data: String,
    id: Option<String>,
}

/// Runs `data watch`.
pub(crate) fn run(client: &Client, args: &WatchArgs, out: Out) -> Result<(), Failure> {
    let target = format!("/v1/watch?prefix={}", encode(&args.prefix, false));
    let mut token: Option<String> = None;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut pause = PAUSE_MIN;
    let mut linked_once = false;
    loop {
        let headers: Vec<_> = token.iter().map(|id| ("last-event-id", id.as_str())).collect();
        match client.open(&target, &headers) {
            Ok(body) => {
                linked_once = true;
                let mut lines = BufReader::new(body);
                while let Some(event) = next_event(&mut lines).or_else(lost_or_wrong)? {
                    pause = PAUSE_MIN;
                    token = event.id.clone().or(token);
                    if let Some(line) = to_line(&event, out.json) {
                        out.line(line)?;
                        left -= 1;
                        if left == 0 {
                            return Ok(());
                        }
                    }
                }
            }
            Err(failure) if linked_once && failure.exit == Exit::Unreachable => {}
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// After a lost connection the watch goes on; from what is no event there is no way on.
fn lost_or_wrong(error: std::io::Error) -> Result<Option<Event>, Failure> {
    if error.kind() != std::io::ErrorKind::InvalidData {
        return Ok(None);
    }
    Err(Failure::new(Exit::Failed, "the watch cannot go on")
        .why(error)
        .hint("is it a node, and of this version? `folkmoot status` shows it"))
}

fn too_large() -> std::io::Error {
    let why = format!("the node sends an event of over {} MiB", EVENT_BYTES_MAX / 1024 / 1024);
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

/// Reads up to the end of one event; `None` at the end of the stream.
fn next_event(lines: &mut impl BufRead) -> std::io::Result<Option<Event>> {
    let mut event = Event::default();
    let mut line = String::new();
    loop {
        line.clear();
        let length = lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
        if length == 0 {
            return Ok(None);
        }
        if length as u64 == LINE_BYTES_MAX && !line.ends_with('\n') {
            return Err(too_large());
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            if event == Event::default() {
                continue;
            }
            return Ok(Some(event));
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.kind = value.to_string(),
            "id" => event.id = Some(value.to_string()),
            "data" => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data += value;
            }
            _ => {}
        }
        if event.data.len() > EVENT_BYTES_MAX {
            return Err(too_large());
        }
    }
}

/// What an event says of a path; no value means that there is none any more.
#[derive(Deserialize)]
struct Told<'a> {
    path: String,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
}

/// `null` is a value; only what is not there is absent.
fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

/// What is printed of an event; nothing of those that only carry a token.
fn to_line(event: &Event, json: bool) -> Option<String> {
    if event.kind == "reset" {
        return Some(
            if json { "{\"reset\":true}" } else { "reset: what is there follows" }.to_string(),
        );
    }
    let told: Told<'_> = serde_json::from_str(&event.data).ok()?;
    Some(match told.value {
        Some(_) if json => event.data.clone(),
        Some(value) => words(&told.path, value),
        None if json => format!("{{\"path\":{},\"deleted\":true}}", json!(told.path)),
        None => format!("{}\t(deleted)", told.path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_standard_says() {
        let text = ": hello\n\nevent: put\nid: 7\ndata: {\"path\":\"a\",\ndata: \"value\":1}\n\n";
        let mut lines = text.as_bytes();
        let event = next_event(&mut lines).unwrap().unwrap();
        assert_eq!((event.kind.as_str(), event.id.as_deref()), ("put", Some("7")));
        assert_eq!(to_line(&event, false).unwrap(), "a\t1");
        assert_eq!(next_event(&mut lines).unwrap(), None);
        let null =
            Event { kind: "put".into(), data: r#"{"path":"a","value":null}"#.into(), id: None };
        assert_eq!(to_line(&null, false).unwrap(), "a\tnull");
        let gone = Event { kind: "delete".into(), data: r#"{"path":"a"}"#.into(), id: None };
        assert_eq!(to_line(&gone, false).unwrap(), "a\t(deleted)");
    }

    #[test]
    fn the_largest_event_is_read_whole_and_a_larger_one_ends_the_watch_with_a_reason() {
        let read = |text: &str| next_event(&mut text.as_bytes()).or_else(lost_or_wrong);
        let event = |bytes: usize| format!("data: {}\n\n", "x".repeat(bytes));
        let most = read(&event(EVENT_BYTES_MAX)).unwrap().unwrap();
        assert_eq!(most.data.len(), EVENT_BYTES_MAX);
        let in_two = format!("data: {}\n{}", "x".repeat(EVENT_BYTES_MAX), event(0));
        let endless = "x".repeat(EVENT_BYTES_MAX + 100);
        for text in [event(EVENT_BYTES_MAX + 1), in_two, endless] {
            let failure = read(&text).unwrap_err().to_string();
            assert!(failure.contains("an event of over 4 MiB"), "{failure}");
        }
        assert_eq!(read("data: x").unwrap(), None, "a lost connection is no failure");
    }
}
