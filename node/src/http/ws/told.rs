//! What a client is told on `/v1/ws`, written as JSON frames: pure.
//!
//! Promise: whatever names, statuses and bodies hold, each frame is one JSON object. What goes to
//! many sessions is encoded once: see [`Tails`].
//! Limits: `TAILS_MAX`, `TAIL_BYTES_MAX`, `LIST_MAX`.

use crate::api::watch::Told;
use crate::http::error::{Refusal, name_of};
use crate::http::values::{push_found_members, push_path};
use crate::json::{self, push_number, push_string};
use crate::websocket::frame::push_text;
use folkmoot_core::chat::words::{ChatEvent, Kind, Message, Outcome, Presence, Settled, Target};
use folkmoot_core::id::{ClientId, Name};
use std::sync::{Arc, Weak};

/// Encoded messages that are kept for the next session.
const TAILS_MAX: usize = 1_024;
/// Bytes of such a message; a larger one is encoded every time.
const TAIL_BYTES_MAX: usize = 2 * 1024;
/// Sessions to which a message must still go for its encoding to be kept.
const SHARED_MIN: usize = 4;
/// Users in one frame.
const LIST_MAX: usize = 500;

/// What was encoded of messages that go to many sessions: everything behind the session's own
/// number. One for each thread. A message is known by its place in memory, which the weak
/// reference keeps from being used again; it does not keep the message itself.
pub(super) struct Tails {
    slots: Vec<Option<(Weak<Message>, Vec<u8>)>>,
}

impl Default for Tails {
    fn default() -> Tails {
        Tails { slots: vec![None; TAILS_MAX] }
    }
}

impl Tails {
    fn push(&mut self, out: &mut Vec<u8>, message: &Arc<Message>) {
        let single = matches!(message.to, Target::User(_));
        if single || Arc::strong_count(message) < SHARED_MIN {
            return push_tail(out, message);
        }
        let place = Arc::as_ptr(message);
        // Fibonacci hashing: places are multiples of a power of two.
        let hash = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 10);
        let slot = &mut self.slots[hash as usize];
        match slot {
            Some((known, tail)) if known.as_ptr() == place => out.extend_from_slice(tail),
            _ => {
                let start = out.len();
                push_tail(out, message);
                let tail = &out[start..];
                if tail.len() <= TAIL_BYTES_MAX {
                    let mut kept = slot.take().map(|(_, kept)| kept).unwrap_or_default();
                    kept.clear();
                    kept.extend_from_slice(tail);
                    *slot = Some((Arc::downgrade(message), kept));
                }
            }
        }
    }
}

/// Appends the frames of an event.
pub(super) fn push_event(out: &mut Vec<u8>, tails: &mut Tails, event: &ChatEvent) {
    match event {
        ChatEvent::Messages { first, messages } => {
            for (n, message) in (*first..).zip(messages) {
                push_text(out, |out| {
                    out.extend_from_slice(b"{\"op\":\"message\",\"n\":");
                    push_number(out, n);
                    tails.push(out, message);
                });
            }
        }
        ChatEvent::Signals(signals) => {
            for signal in signals {
                push_text(out, |out| {
                    out.extend_from_slice(b"{\"op\":\"signal\"");
                    tails.push(out, signal);
                });
            }
        }
        ChatEvent::Settled(settled) => {
            settled.iter().for_each(|one| push_text(out, |out| push_settled(out, one)));
        }
        ChatEvent::Users { all, changes } => push_users(out, *all, changes),
        ChatEvent::Room { room, all, joined, left } => push_text(out, |out| {
            out.extend_from_slice(b"{\"op\":\"room\",\"room\":");
            push_string(out, room.as_str());
            push_all(out, *all);
            push_names(out, b",\"joined\":", joined);
            push_names(out, b",\"left\":", left);
            out.push(b'}');
        }),
        ChatEvent::Ended(_) => {}
    }
}

/// Appends everything behind the number, with its brace.
pub(in crate::http) fn push_tail(out: &mut Vec<u8>, message: &Message) {
    out.extend_from_slice(b",\"from\":");
    push_string(out, message.from.as_str());
    out.extend_from_slice(b",\"client\":\"");
    push_client(out, message.client);
    out.push(b'"');
    if message.kind == Kind::Message {
        out.extend_from_slice(b",\"m\":");
        push_number(out, message.number);
    }
    match &message.to {
        Target::User(user) => {
            out.extend_from_slice(b",\"to\":");
            push_string(out, user.as_str());
        }
        Target::Room(room) => {
            out.extend_from_slice(b",\"room\":");
            push_string(out, room.as_str());
        }
        Target::Everyone => out.extend_from_slice(b",\"all\":true"),
    }
    out.extend_from_slice(b",\"at\":");
    push_number(out, message.sent_ms);
    out.extend_from_slice(b",\"body\":");
    push_body(out, message);
    out.push(b'}');
}

/// The doors of this node take only JSON; another node may have sent something else, which is
/// told as a string.
fn push_body(out: &mut Vec<u8>, message: &Message) {
    if message.remote && json::check(&message.body, json::DEPTH_MAX).is_err() {
        push_string(out, &String::from_utf8_lossy(&message.body));
    } else {
        out.extend_from_slice(&message.body);
    }
}

fn push_client(out: &mut Vec<u8>, client: ClientId) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |at: u32| DIGITS[(client.0 >> (60 - 4 * at)) as usize & 15];
    let digits: [u8; 16] = std::array::from_fn(|at| digit(at as u32));
    out.extend_from_slice(&digits);
}

fn push_settled(out: &mut Vec<u8>, one: &Settled) {
    out.extend_from_slice(b"{\"op\":\"settled\",\"from\":");
    push_number(out, one.from);
    out.extend_from_slice(b",\"upto\":");
    push_number(out, one.upto);
    out.extend_from_slice(b",\"outcome\":");
    match one.outcome {
        Outcome::Delivered(sessions) => {
            out.extend_from_slice(b"\"delivered\",\"sessions\":");
            push_number(out, sessions.into());
        }
        Outcome::Offline => out.extend_from_slice(b"\"offline\""),
        Outcome::Unknown => out.extend_from_slice(b"\"unknown\""),
        Outcome::Refused(code) => {
            out.extend_from_slice(b"\"refused\",\"code\":");
            push_number(out, code.number().into());
            out.extend_from_slice(b",\"error\":");
            push_string(out, name_of(code));
        }
    }
    out.push(b'}');
}

/// A long list comes in several frames; only the first says that it begins anew.
fn push_users(out: &mut Vec<u8>, all: bool, changes: &[Presence]) {
    let frames = changes.len().div_ceil(LIST_MAX).max(1);
    for frame in 0..frames {
        let start = frame * LIST_MAX;
        let users = &changes[start..changes.len().min(start + LIST_MAX)];
        push_text(out, |out| {
            out.extend_from_slice(b"{\"op\":\"users\"");
            push_all(out, all && frame == 0);
            out.extend_from_slice(b",\"users\":[");
            for (at, user) in users.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_user(out, user);
            }
            out.extend_from_slice(b"]}");
        });
    }
}

/// Appends a user.
pub(in crate::http) fn push_user(out: &mut Vec<u8>, presence: &Presence) {
    out.extend_from_slice(b"{\"user\":");
    push_string(out, presence.user.as_str());
    out.extend_from_slice(b",\"sessions\":");
    push_number(out, presence.sessions.into());
    if let Some(status) = &presence.status {
        out.extend_from_slice(b",\"status\":");
        push_string(out, &String::from_utf8_lossy(status));
    }
    if let Some(seen) = presence.seen_ms {
        out.extend_from_slice(b",\"seen\":");
        push_number(out, seen);
    }
    out.push(b'}');
}

fn push_all(out: &mut Vec<u8>, all: bool) {
    out.extend_from_slice(if all { b",\"all\":true" } else { b",\"all\":false" });
}

/// Appends `key`, written with its comma and colon, and an array of names.
pub(in crate::http) fn push_names(out: &mut Vec<u8>, key: &[u8], names: &[Name]) {
    out.extend_from_slice(key);
    out.push(b'[');
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, name.as_str());
    }
    out.push(b']');
}

/// Appends what a data watch tells.
pub(super) fn push_told(out: &mut Vec<u8>, watch: u64, told: &Told) {
    let op = match told {
        Told::Reset => "reset",
        Told::Value(_) => "put",
        Told::Gone(_) => "delete",
        Told::Ready(_) => "ready",
        Told::Changed { found, .. } => {
            if found.is_some() {
                "put"
            } else {
                "delete"
            }
        }
    };
    push_text(out, |out| {
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(b"\",\"watch\":");
        push_number(out, watch);
        match told {
            Told::Reset => {}
            Told::Value(found) => {
                out.push(b',');
                push_found_members(out, found);
            }
            Told::Gone(path) => {
                out.push(b',');
                push_path(out, path.as_str());
            }
            Told::Ready(token) => push_member(out, "token", &token.to_string()),
            Told::Changed { path, found, token } => {
                out.push(b',');
                match found {
                    Some(found) => push_found_members(out, found),
                    None => push_path(out, path.as_str()),
                }
                push_member(out, "token", &token.to_string());
            }
        }
        out.push(b'}');
    });
}

/// Appends `,"key":"text"`.
pub(in crate::http) fn push_member(out: &mut Vec<u8>, key: &str, text: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    push_string(out, text);
}

/// What opens a session.
pub(super) struct Welcome<'a> {
    pub(super) user: Option<(&'a Name, ClientId)>,
    pub(super) node: &'a str,
    pub(super) session: &'a str,
}

impl Welcome<'_> {
    /// The welcome as a frame; without a user it goes on with a session that has one.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        push_text(&mut frame, |out| {
            out.extend_from_slice(b"{\"op\":\"welcome\"");
            if let Some((user, client)) = self.user {
                push_member(out, "user", user.as_str());
                out.extend_from_slice(b",\"client\":\"");
                push_client(out, client);
                out.push(b'"');
            }
            push_member(out, "node", self.node);
            push_member(out, "session", self.session);
            out.extend_from_slice(b",\"resumed\":");
            out.extend_from_slice(if self.user.is_none() { b"true}" } else { b"false}" });
        });
        frame
    }
}

/// Appends `done` or `pong`.
pub(super) fn push_answer(out: &mut Vec<u8>, op: &str, id: Option<&str>) {
    push_text(out, |out| {
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(op.as_bytes());
        out.push(b'"');
        push_id(out, id);
        out.push(b'}');
    });
}

/// Appends `done`, if there is an id to say it under.
pub(super) fn push_done(out: &mut Vec<u8>, id: Option<&str>) {
    if id.is_some() {
        push_answer(out, "done", id);
    }
}

/// Appends an `error` that ends a data watch.
pub(super) fn push_ended(out: &mut Vec<u8>, watch: u64, why: &Refusal) {
    push_text(out, |out| {
        push_refusal(out, why);
        out.extend_from_slice(b",\"watch\":");
        push_number(out, watch);
        out.push(b'}');
    });
}

/// Appends an `error`; `n` names the message that was refused.
pub(super) fn push_error(out: &mut Vec<u8>, why: &Refusal, id: Option<&str>, n: Option<u64>) {
    push_text(out, |out| {
        push_refusal(out, why);
        push_id(out, id);
        if let Some(n) = n {
            out.extend_from_slice(b",\"n\":");
            push_number(out, n);
        }
        out.push(b'}');
    });
}

/// An error without its end.
fn push_refusal(out: &mut Vec<u8>, why: &Refusal) {
    out.extend_from_slice(b"{\"op\":\"error\",");
    let body = why.body();
    out.extend_from_slice(body.strip_prefix(b"{").unwrap_or(&body));
    out.pop();
}

fn push_id(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id.as_bytes());
    }
}

#[cfg(test)]
mod tests;
