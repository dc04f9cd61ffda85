//! The seed's events on one side, the words of chat on the other; pure.
//!
//! | event | what it is here |
//! |---|---|
//! | `identify` name | connects the socket's session for that user |
//! | `im` {from, to, ...} | a message; its body is the object without `from`, `to`, `forwarded` |
//! | `update_peer` {peerId, list or user} | an original server tells of its users |
//!
//! Promise: whatever an event holds, it is understood or refused in words. The sender is who
//! identified, not who `from` names.
//! Limits: `CHAT_BODY_BYTES_MAX`; names as in the core.

use super::packet;
use crate::json::push_string;
use bytes::Bytes;
use folkmoot_core::chat::words::{Message, Target};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Name;
use folkmoot_core::limits::CHAT_BODY_BYTES_MAX;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What an event says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Identify(Name),
    Im(Im),
    UpdatePeer(Update),
}

/// An instant message, as it was read.
#[derive(Debug, PartialEq)]
pub(super) struct Im {
    /// Who it says that it is from: counts only where an original server says so.
    pub(super) from: Option<Name>,
    pub(super) to: Name,
    /// It is not to be sent on.
    pub(super) forwarded: bool,
    /// An object with the other members, in their order.
    pub(super) body: Bytes,
}

/// What an original server tells of its users.
#[derive(Debug, PartialEq)]
pub(super) struct Update {
    pub(super) peer: String,
    pub(super) users: Users,
}

/// All users of a server, or one of them.
#[derive(Debug, PartialEq)]
pub(super) enum Users {
    /// Those who are there; nobody else is.
    All(Vec<Name>),
    /// Whether this one is there.
    One(Name, bool),
}

/// Reads an event; `None` for one that means nothing here.
pub(super) fn read(name: &str, arguments: &[&RawValue]) -> Result<Option<Said>, &'static str> {
    let argument = arguments.first().map_or("null", |argument| argument.get());
    Ok(Some(match name {
        "identify" => Said::Identify(read_identify(argument)?),
        "im" => Said::Im(read_im(argument)?),
        "update_peer" => Said::UpdatePeer(read_update(argument)?),
        _ => return Ok(None),
    }))
}

fn read_identify(argument: &str) -> Result<Name, &'static str> {
    let text: String =
        serde_json::from_str(argument).map_err(|_| "identify wants a name, a text")?;
    Name::new(text).map_err(|_| "that name cannot be used: 1 to 128 bytes of plain text")
}

fn read_im(argument: &str) -> Result<Im, &'static str> {
    let Members(members) =
        serde_json::from_str(argument).map_err(|_| "im wants an object with to and text")?;
    let (mut from, mut to, mut forwarded) = (None, None, false);
    let mut body = b"{".to_vec();
    for (key, value) in members {
        match &*key {
            "from" => from = name_in(value),
            "to" => to = name_in(value),
            // As JavaScript takes it.
            "forwarded" => forwarded = !matches!(value.get(), "false" | "null" | "0" | "\"\""),
            _ => push_member(&mut body, &key, value.get()),
        }
    }
    body.push(b'}');
    if body.len() > CHAT_BODY_BYTES_MAX {
        return Err("the message is too large: at most 64 KiB");
    }
    let to = to.ok_or("im wants a name in to")?;
    Ok(Im { from, to, forwarded, body: body.into() })
}

fn read_update(argument: &str) -> Result<Update, &'static str> {
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(rename = "peerId")]
        peer: String,
        list: Option<Vec<One>>,
        user: Option<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        id: String,
        connections: u32,
    }
    let told: Told =
        serde_json::from_str(argument).map_err(|_| "update_peer is not as expected")?;
    let name = |one: One| Name::new(one.id).ok();
    let users = match (told.list, told.user) {
        (Some(list), _) => Users::All(
            list.into_iter().filter(|one| one.connections > 0).filter_map(name).collect(),
        ),
        (None, Some(one)) => {
            let there = one.connections > 0;
            Users::One(name(one).ok_or("update_peer names nobody")?, there)
        }
        (None, None) => return Err("update_peer names nobody"),
    };
    Ok(Update { peer: told.peer, users })
}

fn name_in(value: &RawValue) -> Option<Name> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    Name::new(text).ok()
}

/// The event that shows a message.
pub(super) fn im(from: &Name, to: &Name, forwarded: bool, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + 192);
    out.extend_from_slice(b"{\"from\":");
    push_string(&mut out, from.as_str());
    out.extend_from_slice(b",\"to\":");
    push_string(&mut out, to.as_str());
    push_body(&mut out, body);
    out.extend_from_slice(b",\"forwarded\":");
    out.extend_from_slice(if forwarded { b"true" } else { b"false" });
    out.push(b'}');
    packet::event("im", &out)
}

/// The event that shows `reader` a message of the mesh.
pub(super) fn delivered(message: &Message, reader: &Name, forwarded: bool) -> Bytes {
    let to = match &message.to {
        Target::User(name) => name,
        // The seed knows messages to one user only.
        Target::Room(_) | Target::Everyone => reader,
    };
    im(&message.from, to, forwarded, &message.body)
}

/// The event with which an original server is told of all users here, or of one.
pub(super) fn update_peer(id: &str, users: &[(Name, u32)], all: bool) -> Bytes {
    let mut out = b"{\"peerId\":".to_vec();
    push_string(&mut out, id);
    out.extend_from_slice(if all { b",\"list\":[" } else { b",\"user\":" });
    for (at, (name, connections)) in users.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"id\":" } else { b"{\"id\":" });
        push_string(&mut out, name.as_str());
        out.extend_from_slice(format!(",\"connections\":{connections}}}").as_bytes());
    }
    out.extend_from_slice(if all { b"]}" } else { b"}" });
    packet::event("update_peer", &out)
}

/// What a refusal of the engine is called here.
pub(super) fn refusal(code: ErrorCode) -> Bytes {
    packet::refusal(&code.to_string())
}

/// The members of a body: those of an object as they are, but for those that say who sends to
/// whom; anything else as `text`.
fn push_body(out: &mut Vec<u8>, body: &[u8]) {
    if let Ok(Members(members)) = serde_json::from_slice(body) {
        for (key, value) in members {
            if !matches!(&*key, "from" | "to" | "forwarded") {
                push_member(out, &key, value.get());
            }
        }
        return;
    }
    out.extend_from_slice(b",\"text\":");
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(value) => out.extend_from_slice(value.get().as_bytes()),
        Err(_) => push_string(out, &String::from_utf8_lossy(body)),
    }
}

/// Appends a member, after a comma unless it is the first.
fn push_member(out: &mut Vec<u8>, key: &str, value: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    push_string(out, key);
    out.push(b':');
    out.extend_from_slice(value.as_bytes());
}

/// The members of an object in their order, the values not looked at.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((packet::Text(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests;
