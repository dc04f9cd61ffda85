//! The packets of engine.io, protocols 3 and 4, as they lie in WebSocket messages and in the
//! payloads of long polling (<https://github.com/socketio/engine.io-protocol>).
//!
//! Promise: any bytes give packets or [`Malformed`]; nothing is copied but what was encoded twice.
//! Protocol 3 counts lengths in UTF-16 code units, and its clients of version 1 encode text as
//! UTF-8 before the payload, which is UTF-8 itself: what has only characters below U+0100 that
//! are UTF-8 when taken as bytes was encoded twice. Towards protocol 3 payloads are written in
//! ASCII, with JSON escapes, which all versions read in the same way.
//! Binary packets are recognised and not decoded: nothing here takes them.
//! Limits: [`Bounds`], `PAYLOAD_PACKETS_MAX`.

use bytes::Bytes;
use std::fmt::Write as _;

/// Bytes of one packet: a message of chat with its escapes.
pub(super) const PACKET_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one payload; told to clients of protocol 4, which split theirs by it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1_000_000;
/// Bytes of one packet or payload of an original server, which has the list of its users.
pub(super) const SERVER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Packets of one payload.
pub(super) const PAYLOAD_PACKETS_MAX: usize = 16_384;
/// Digits that a length may have: as many as `PAYLOAD_BYTES_MAX` has.
const LENGTH_DIGITS_MAX: usize = 7;
/// Between the packets of a payload of protocol 4.
const SEPARATOR: u8 = 0x1e;
/// Ends the length in a binary payload of protocol 3.
const LENGTH_END: u8 = 0xff;

/// How large may be what comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) packet_bytes: usize,
    pub(super) payload_bytes: usize,
}

impl Bounds {
    /// For clients.
    pub(super) const CLIENT: Bounds =
        Bounds { packet_bytes: PACKET_BYTES_MAX, payload_bytes: PAYLOAD_BYTES_MAX };
    /// For the original servers that the node was told of.
    pub(super) const SERVER: Bounds =
        Bounds { packet_bytes: SERVER_BYTES_MAX, payload_bytes: SERVER_BYTES_MAX };
}

/// Which engine.io a client speaks: 3 with versions 1.1 to 2 of Socket.IO, 4 with 3 and 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Three,
    Four,
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Close,
    Ping,
    Pong,
    Message,
    Upgrade,
    Noop,
    /// A message of bytes, which nobody here reads.
    Binary,
}

/// One packet: its kind and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: Kind,
    /// UTF-8, checked when it was made; empty for binary ones.
    data: Bytes,
}

impl Packet {
    /// What it says.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.data).expect("checked when it was made")
    }

    /// Reads one packet of text, as a WebSocket message has it.
    pub(super) fn decode(text: Bytes, bounds: Bounds) -> Result<Packet, Malformed> {
        let (kind, checked) = (kind_of(&text)?, std::str::from_utf8(&text));
        if text.len() > bounds.packet_bytes {
            return Err(Malformed("a packet is too large"));
        }
        checked.map_err(|_| Malformed("a packet is not UTF-8"))?;
        let data = if kind == Kind::Binary { Bytes::new() } else { text.slice(1..) };
        Ok(Packet { kind, data })
    }

    /// A packet of bytes.
    pub(super) fn binary() -> Packet {
        Packet { kind: Kind::Binary, data: Bytes::new() }
    }
}

/// Why bytes are no packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

fn kind_of(text: &[u8]) -> Result<Kind, Malformed> {
    Ok(match text.first() {
        Some(b'0') => Kind::Open,
        Some(b'1') => Kind::Close,
        Some(b'2') => Kind::Ping,
        Some(b'3') => Kind::Pong,
        Some(b'4') => Kind::Message,
        Some(b'5') => Kind::Upgrade,
        Some(b'6') => Kind::Noop,
        Some(b'b') => Kind::Binary,
        _ => return Err(Malformed("a packet has no known kind")),
    })
}

/// Reads the body of a POST. `binary` says that it was declared a stream of bytes.
pub(super) fn decode_payload(
    protocol: Protocol,
    body: &Bytes,
    binary: bool,
    bounds: Bounds,
) -> Result<Vec<Packet>, Malformed> {
    if body.len() > bounds.payload_bytes {
        return Err(Malformed("the payload is too large"));
    }
    match (protocol, binary) {
        (Protocol::Four, _) => decode_separated(body, bounds),
        (Protocol::Three, false) => decode_counted(body, bounds),
        (Protocol::Three, true) => decode_framed(body, bounds),
    }
}

fn push(packets: &mut Vec<Packet>, packet: Packet) -> Result<(), Malformed> {
    if packets.len() == PAYLOAD_PACKETS_MAX {
        return Err(Malformed("the payload has too many packets"));
    }
    packets.push(packet);
    Ok(())
}

/// Protocol 4: packets between separators.
fn decode_separated(body: &Bytes, bounds: Bounds) -> Result<Vec<Packet>, Malformed> {
    let mut packets = Vec::new();
    for piece in body.split(|byte| *byte == SEPARATOR) {
        push(&mut packets, Packet::decode(body.slice_ref(piece), bounds)?)?;
    }
    Ok(packets)
}

/// Protocol 3: `<length>:<packet>`, the length in UTF-16 code units.
fn decode_counted(body: &Bytes, bounds: Bounds) -> Result<Vec<Packet>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed("the payload is not UTF-8"))?;
    let mut packets = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, behind) = rest.split_once(':').ok_or(Malformed("a length has no end"))?;
        let end = end_of(behind, length(digits.bytes())?)?;
        let (packet, more) = behind.split_at(end);
        rest = more;
        if packet.is_empty() {
            continue;
        }
        let packet = match encoded_twice(packet) {
            Some(bytes) => Bytes::from(bytes),
            None => body.slice_ref(packet.as_bytes()),
        };
        push(&mut packets, Packet::decode(packet, bounds)?)?;
    }
    Ok(packets)
}

fn length(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, Malformed> {
    if !(1..=LENGTH_DIGITS_MAX).contains(&digits.len()) {
        return Err(Malformed("a length is no number in range"));
    }
    digits.into_iter().try_fold(0, |length, digit| match digit {
        b'0'..=b'9' => Ok(length * 10 + usize::from(digit - b'0')),
        _ => Err(Malformed("a length is no number in range")),
    })
}

/// The byte at which the first `units` UTF-16 code units of `text` end.
fn end_of(text: &str, units: usize) -> Result<usize, Malformed> {
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Ok(at);
        }
        left = left.checked_sub(char.len_utf16()).ok_or(Malformed("a length splits a pair"))?;
    }
    if left == 0 { Ok(text.len()) } else { Err(Malformed("a packet is shorter than its length")) }
}

/// The packet with one encoding undone, if it has two.
fn encoded_twice(packet: &str) -> Option<Vec<u8>> {
    if packet.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = packet.chars().map(|char| u8::try_from(char).ok()).collect();
    bytes.filter(|bytes| std::str::from_utf8(bytes).is_ok())
}

/// Protocol 3 in bytes: 0 for text or 1 for binary, the digits of the length as numbers, 255,
/// the packet.
fn decode_framed(body: &Bytes, bounds: Bounds) -> Result<Vec<Packet>, Malformed> {
    let mut packets = Vec::new();
    let mut rest = body.clone();
    while let Some(&marker) = rest.first() {
        let end = rest.iter().take(LENGTH_DIGITS_MAX + 2).position(|byte| *byte == LENGTH_END);
        let end = end.filter(|end| *end > 0).ok_or(Malformed("a length has no end"))?;
        let digits = rest[1..end].iter().map(|digit| digit.saturating_add(b'0'));
        let length = length(digits)?;
        let mut packet = rest.split_off(end + 1);
        if packet.len() < length {
            return Err(Malformed("a packet is shorter than its length"));
        }
        rest = packet.split_off(length);
        let packet = match marker {
            0 => Packet::decode(packet, bounds)?,
            1 => Packet::binary(),
            _ => return Err(Malformed("a packet is neither text nor binary")),
        };
        push(&mut packets, packet)?;
    }
    Ok(packets)
}

/// Puts encoded packets into the body of an answer.
pub(super) fn encode_payload(protocol: Protocol, packets: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(packets.iter().map(|packet| packet.len() + 8).sum());
    for (at, packet) in packets.iter().enumerate() {
        match protocol {
            Protocol::Four => {
                if at > 0 {
                    out.push(SEPARATOR);
                }
                out.extend_from_slice(packet);
            }
            Protocol::Three => {
                let text = std::str::from_utf8(packet).expect("packets are made of text");
                let text = to_ascii(text);
                out.extend_from_slice(text.len().to_string().as_bytes());
                out.push(b':');
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
    out.into()
}

/// Puts encoded packets into the body of an answer that is declared a stream of bytes, for protocol
/// 3 only.
pub(super) fn encode_framed(packets: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(packets.iter().map(|packet| packet.len() + 9).sum());
    for packet in packets {
        let text = std::str::from_utf8(packet).expect("packets are made of text");
        let text = to_ascii(text);
        out.push(0);
        out.extend(text.len().to_string().bytes().map(|digit| digit - b'0'));
        out.push(LENGTH_END);
        out.extend_from_slice(text.as_bytes());
    }
    out.into()
}

/// The same JSON in ASCII. In what is written here, other characters occur in JSON strings only.
fn to_ascii(text: &str) -> std::borrow::Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() * 2);
    for char in text.chars() {
        if char.is_ascii() {
            out.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a string takes everything");
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;
