//! `/metrics`: counters and gauges in the text format of Prometheus (version 0.0.4).

use super::Shared;
use super::error::Refusal;
use super::who::Who;
use super::{Doors, mesh};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use folkmoot_core::request::MeshStatus;
use folkmoot_core::stats::Stats;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

/// Name, sentence and value of everything that core counts.
pub(super) fn counters(stats: &Stats) -> [(&'static str, &'static str, u64); 25] {
    [
        ("writes", "Writes of local clients that made a version.", stats.writes),
        ("merged", "Entries from other nodes that changed something here.", stats.merged),
        ("repeated", "Entries from other nodes that were here already.", stats.repeated),
        ("future_refused", "Entries refused for a stamp in the future.", stats.future_refused),
        ("collected", "Tombstones and expired entries collected.", stats.collected),
        ("pushed", "Copies of entries sent in live pushes.", stats.pushed),
        ("caught_up", "Entries sent to neighbors that were catching up.", stats.caught_up),
        ("repair_bytes", "Bytes sent to compare and catch up.", stats.repair_bytes),
        ("bytes_sent", "Bytes of frames sent.", stats.bytes_sent),
        ("bytes_received", "Bytes of frames received.", stats.bytes_received),
        ("frames_sent", "Frames sent.", stats.frames_sent),
        ("frames_received", "Frames received.", stats.frames_received),
        ("unknown_messages", "Messages of unknown kinds, skipped.", stats.unknown_messages),
        ("malformed", "Links closed because of malformed bytes.", stats.malformed),
        ("spread_repeats", "Envelopes received more than once.", stats.spread_repeats),
        ("grafts", "Envelopes asked for again.", stats.grafts),
        ("forwarded", "Unicasts passed on for others.", stats.forwarded),
        ("undeliverable", "Unicasts dropped.", stats.undeliverable),
        ("differences", "Comparisons that found a difference.", stats.differences),
        ("events", "Changes told to watches.", stats.events),
        ("messages_taken", "Chat messages that sessions handed in.", stats.messages_taken),
        ("messages_given", "Chat messages given to sessions.", stats.messages_given),
        ("messages_delivered", "Chat messages that sessions took in.", stats.messages_delivered),
        ("messages_repeated", "Chat messages that had been here.", stats.messages_repeated),
        ("presence_lists", "Times that a node asked who is here.", stats.presence_lists),
    ]
}

pub(super) async fn get(State(doors): Shared, who: Who) -> Result<Response, Refusal> {
    let status = mesh::ask_status(&doors, who).await?;
    let mut out = String::with_capacity(8 * 1024);
    for (name, help, value) in counters(&status.stats) {
        one(&mut out, "counter", &format!("{name}_total"), help, value);
    }
    gauges(&mut out, &status);
    let users = mesh::own_users(&status, doors.node.id());
    one(&mut out, "gauge", "chat_sessions", "Chat sessions on this node.", status.sessions);
    one(&mut out, "gauge", "chat_users", "Users with a session on this node.", users);
    answers(&mut out, &doors);
    process(&mut out, &doors);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], out).into_response())
}

fn gauges(out: &mut String, status: &MeshStatus) {
    let reachable = status.nodes.iter().filter(|node| node.hops.is_some()).count();
    let behind = status.links.iter().filter(|link| link.behind).count();
    let in_sync = status.links.iter().filter(|link| link.in_sync).count();
    one(out, "gauge", "nodes", "Known nodes, this one included.", status.nodes.len());
    one(out, "gauge", "nodes_reachable", "Nodes that can be reached.", reachable);
    one(out, "gauge", "links", "Links to neighbors.", status.links.len());
    one(out, "gauge", "links_behind", "Links that cannot keep up.", behind);
    one(out, "gauge", "links_in_sync", "Links whose neighbor has told everything.", in_sync);
    one(out, "gauge", "entries", "Entries, tombstones included.", status.entries);
    one(out, "gauge", "tombstones", "Tombstones.", status.tombstones);
    one(out, "gauge", "change_number", "Number of the last change.", status.number);
    let help = "Median offset of the neighbors' clocks, in milliseconds.";
    one(out, "gauge", "clock_offset_ms", help, status.clock_offset_ms);
}

fn answers(out: &mut String, doors: &Doors) {
    let connections = &doors.port.connections;
    one(out, "gauge", "http_connections", "Open connections.", connections.open());
    let help = "Connections turned away.";
    one(out, "counter", "http_connections_refused_total", help, connections.refused());
    head(out, "counter", "http_answers_total", "Answers by class of their status.");
    for (class, counter) in doors.port.answers.iter().enumerate().skip(1) {
        let count = counter.load(Ordering::Relaxed);
        let _ = writeln!(out, "folkmoot_http_answers_total{{class=\"{class}xx\"}} {count}");
    }
}

/// Facts of the process; on systems without `/proc` only the uptime.
fn process(out: &mut String, doors: &Doors) {
    one(out, "gauge", "uptime_seconds", "Since the start.", doors.uptime_seconds());
    let kib = |name: &str| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    if let Some(resident) = kib("VmRSS") {
        one(out, "gauge", "resident_bytes", "Resident memory.", resident * 1024);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        one(out, "gauge", "open_files", "Open files and sockets.", files.count());
    }
}

fn head(out: &mut String, kind: &str, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP folkmoot_{name} {help}\n# TYPE folkmoot_{name} {kind}");
}

fn one(out: &mut String, kind: &str, name: &str, help: &str, value: impl Display) {
    head(out, kind, name, help);
    let _ = writeln!(out, "folkmoot_{name} {value}");
}
