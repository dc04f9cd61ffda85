//! The packets of Socket.IO, protocols 4 and 5, inside the messages of engine.io
//! (<https://github.com/socketio/socket.io-protocol>).
//!
//! Promise: any text gives a packet or [`Malformed`]. Events with binary attachments are known by
//! their kind and not put together. Written packets begin with the kind of the engine.io message
//! that carries them, so that they go out as they are.
//! Limits: those of the engine.io packet, and `DEPTH_MAX` of JSON.

use super::engine_io::{Malformed, Protocol};
use crate::json::{self, push_string};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    Error,
    BinaryEvent,
    BinaryAck,
}

/// One packet, as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) kind: Kind,
    /// `/` for the main one; without its query.
    pub(super) namespace: &'a str,
    /// By which the client wants the event acknowledged.
    pub(super) id: Option<u64>,
    /// JSON that was not looked at, or nothing.
    pub(super) data: &'a str,
}

impl<'a> Packet<'a> {
    /// Reads `<kind>[<attachments>-][/<namespace>,][<id>][<JSON>]`.
    pub(super) fn decode(text: &'a str) -> Result<Packet<'a>, Malformed> {
        let kind = match text.as_bytes().first() {
            Some(b'0') => Kind::Connect,
            Some(b'1') => Kind::Disconnect,
            Some(b'2') => Kind::Event,
            Some(b'3') => Kind::Ack,
            Some(b'4') => Kind::Error,
            Some(b'5') => Kind::BinaryEvent,
            Some(b'6') => Kind::BinaryAck,
            _ => return Err(Malformed("a message has no known kind")),
        };
        let mut rest = &text[1..];
        if matches!(kind, Kind::BinaryEvent | Kind::BinaryAck) {
            let (count, behind) = rest.split_once('-').ok_or(Malformed("attachments"))?;
            number(count)?;
            rest = behind;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            let (name, behind) = rest.split_once(',').unwrap_or((rest, ""));
            namespace = name.split_once('?').map_or(name, |(name, _)| name);
            rest = behind;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, data) = rest.split_at(digits);
        let id = if id.is_empty() { None } else { Some(number(id)?) };
        Ok(Packet { kind, namespace, id, data })
    }
}

fn number(digits: &str) -> Result<u64, Malformed> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or(Malformed("a number is out of range"))
}

/// The name of an event and its arguments.
pub(super) fn decode_event(data: &str) -> Result<(Cow<'_, str>, Vec<&RawValue>), Malformed> {
    // The array around the arguments is one level of its own.
    let data = json::check(data.as_bytes(), json::DEPTH_MAX + 1)
        .map_err(|_| Malformed("an event is not JSON that all read alike"))?;
    let items: Vec<&RawValue> =
        serde_json::from_str(data).map_err(|_| Malformed("an event is no list"))?;
    let mut items = items.into_iter();
    let name = items.next().and_then(|name| serde_json::from_str(name.get()).ok());
    Ok((name.map(|Text(name)| name).ok_or(Malformed("an event has no name"))?, items.collect()))
}

/// A text that is copied only if it has escapes.
#[derive(serde::Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The node's answer to whoever enters the main namespace; protocol 3 gets it unasked.
pub(super) fn connect(protocol: Protocol, id: &str) -> Bytes {
    match protocol {
        Protocol::Three => Bytes::from_static(b"40"),
        Protocol::Four => format!("40{{\"sid\":\"{id}\"}}").into(),
    }
}

/// The node's answer to whoever asks for another namespace.
pub(super) fn no_namespace(protocol: Protocol, namespace: &str) -> Bytes {
    let said = match protocol {
        Protocol::Three => "\"Invalid namespace\"",
        Protocol::Four => "{\"message\":\"Invalid namespace\"}",
    };
    format!("44{namespace},{said}").into()
}

/// An event with one argument, which is JSON.
pub(super) fn event(name: &str, argument: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(name.len() + argument.len() + 8);
    out.extend_from_slice(b"42[");
    push_string(&mut out, name);
    out.push(b',');
    out.extend_from_slice(argument);
    out.push(b']');
    out.into()
}

/// The acknowledgement of an event.
pub(super) fn ack(id: u64, refused: Option<&str>) -> Bytes {
    let mut out = format!("43{id}[").into_bytes();
    if let Some(why) = refused {
        out.extend_from_slice(b"{\"error\":");
        push_string(&mut out, why);
        out.push(b'}');
    }
    out.push(b']');
    out.into()
}

/// An event that tells why something was refused. It is no error packet of the protocol, on which
/// newer clients leave.
pub(super) fn refusal(why: &str) -> Bytes {
    let mut said = Vec::new();
    push_string(&mut said, why);
    event("error", &said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(
        kind: Kind,
        namespace: &'static str,
        id: Option<u64>,
        data: &'static str,
    ) -> Packet<'static> {
        Packet { kind, namespace, id, data }
    }

    #[test]
    fn what_clients_sent_is_read() {
        let read = |text| Packet::decode(text).unwrap();
        assert_eq!(read("0"), packet(Kind::Connect, "/", None, ""));
        assert_eq!(read("0{\"token\":1}"), packet(Kind::Connect, "/", None, "{\"token\":1}"));
        assert_eq!(read("0/chat"), packet(Kind::Connect, "/chat", None, ""));
        assert_eq!(read("0/chat?a=1,"), packet(Kind::Connect, "/chat", None, ""));
        assert_eq!(read("1"), packet(Kind::Disconnect, "/", None, ""));
        assert_eq!(read("2[\"q\",1]"), packet(Kind::Event, "/", None, "[\"q\",1]"));
        assert_eq!(read("20[\"q\",1]"), packet(Kind::Event, "/", Some(0), "[\"q\",1]"));
        assert_eq!(read("2/a,12[\"q\"]"), packet(Kind::Event, "/a", Some(12), "[\"q\"]"));
        let binary = "51-[\"im\",{\"b\":{\"_placeholder\":true,\"num\":0}}]";
        assert_eq!(read(binary), packet(Kind::BinaryEvent, "/", None, &binary[3..]));
    }

    #[test]
    fn bad_packets_are_refused() {
        for text in ["", "7", "x", "5[]", "5x-[]", "2".repeat(30).as_str(), "é"] {
            assert!(Packet::decode(text).is_err(), "{text}");
        }
        let deep = format!("[\"im\",{}{}]", "[".repeat(33), "]".repeat(33));
        for data in ["", "{}", "[]", "[1]", "[null]", "[\"a\"", "[\"a\",{\"b\":1,\"b\":2}]", &deep]
        {
            assert!(decode_event(data).is_err(), "{data}");
        }
    }

    #[test]
    fn events_have_a_name_and_arguments() {
        let (name, arguments) = decode_event(" [ \"i\\u006d\" , {\"a\": 1}, null ] ").unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.get()).collect();
        assert_eq!((&*name, &arguments[..]), ("im", &["{\"a\": 1}", "null"][..]));
    }

    #[test]
    fn packets_are_written_as_clients_read_them() {
        assert_eq!(connect(Protocol::Three, "s"), "40");
        assert_eq!(connect(Protocol::Four, "s"), "40{\"sid\":\"s\"}");
        assert_eq!(no_namespace(Protocol::Three, "/a"), "44/a,\"Invalid namespace\"");
        assert_eq!(no_namespace(Protocol::Four, "/a"), "44/a,{\"message\":\"Invalid namespace\"}");
        assert_eq!(event("im", b"{}"), "42[\"im\",{}]");
        assert_eq!(ack(7, None), "437[]");
        assert_eq!(ack(7, Some("\"")), "437[{\"error\":\"\\\"\"}]");
        assert_eq!(refusal("no"), "42[\"error\",\"no\"]");
    }

    proptest! {
        #[test]
        fn any_text_does_no_harm(text in "\\PC{0,40}") {
            let _ = Packet::decode(&text);
            let _ = decode_event(&text);
        }

        #[test]
        fn almost_packets_do_no_harm(text in "[0-7][0-9]{0,20}-?(/[a-z?]{0,3},?)?[0-9]{0,21}(\\[\"[a-z]{0,2}\"?,?\\PC{0,5}\\]?)?") {
            if let Ok(packet) = Packet::decode(&text) {
                let _ = decode_event(packet.data);
            }
        }
    }
}
