//! The bytes of frames and envelopes: docs/protocol.md, line by line.

use super::codec::put_varint;
use super::envelope::{Spread, Tag, Unicast};
use super::frame::{Kind, Packer};
use crate::golden::{assert_wire, node, shared};
use crate::limits::FRAME_BYTES_MAX;
use bytes::BytesMut;

#[test]
fn numbers_of_variable_length() {
    let mut out = BytesMut::new();
    for value in [0, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
        put_varint(&mut out, value);
    }
    assert_wire(
        "varints",
        &out,
        "00                   ; 0
         7f                   ; 127
         8001                 ; 128
         ac02                 ; 300
         ffffffff0f           ; 2^32 - 1
         ffffffffffffffffff01 ; 2^64 - 1",
    );
}

#[test]
fn kinds_of_messages() {
    let kinds = [
        (1, Kind::FragmentAtOnce),
        (2, Kind::FragmentAfterWrite),
        (3, Kind::Ping),
        (4, Kind::Pong),
        (5, Kind::Digest),
        (6, Kind::Record),
        (7, Kind::Spread),
        (8, Kind::Announce),
        (9, Kind::Graft),
        (10, Kind::Unicast),
        (11, Kind::Neighbor),
        (12, Kind::NeighborMarked),
    ];
    for (number, kind) in kinds {
        assert_wire("a kind of message", &[kind as u8], &format!("{number:02x}"));
        assert_eq!(Kind::from_byte(number), Some(kind));
    }
    assert_eq!((Kind::from_byte(0), Kind::from_byte(13)), (None, None));
}

#[test]
fn a_frame_of_two_messages() {
    let mut packer = Packer::new(Kind::FragmentAtOnce);
    packer.push(Kind::Ping, &[b"12345678"]);
    packer.push(Kind::Neighbor, &[b"\x01", &[b'x'; 200]]);
    let frames = packer.take();
    assert_eq!(frames.len(), 1);
    let expected = format!(
        "03               ; kind: ping
         08               ; length of the body
         3132333435363738 ; body
         0b               ; kind: to the neighbor
         c901             ; length of the body: 201
         01 {}            ; body",
        "78".repeat(200)
    );
    assert_wire("a frame", &frames[0], &expected);
}

#[test]
fn a_message_in_fragments() {
    let mut packer = Packer::new(Kind::FragmentAfterWrite);
    packer.push(Kind::Spread, &[&vec![b'x'; FRAME_BYTES_MAX]]);
    let frames = packer.take();
    assert_eq!(frames.len(), 2);
    let first = format!(
        "02       ; kind: a fragment of the after-write lane
         ddfb03   ; length of the body: 64,989
         00       ; more follows
         07       ; of the whole: its kind, spread
         {}       ; of the whole: its body",
        "78".repeat(64_987)
    );
    assert_wire("a first fragment", &frames[0], &first);
    let last = format!("02 0e 01 {} ; the last fragment", "78".repeat(13));
    assert_wire("a last fragment", &frames[1], &last);
}

#[test]
fn a_spread_envelope() {
    let body = shared(b"hello");
    let spread = Spread { origin: node(0xaa), boot: 258, sequence: 300, tag: Tag::DATA, body };
    assert_wire(
        "a spread envelope",
        &spread.encode(),
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; origin
         0000000000000102                                                 ; its boot counter
         ac02                                                             ; sequence
         01                                                               ; tag: data
         68656c6c6f                                                       ; the service's body",
    );
    assert_eq!(Spread::decode(spread.encode()), Ok(spread));
}

#[test]
fn a_unicast_envelope() {
    let body = shared(b"hello");
    let unicast = Unicast { hops_left: 64, to: node(0xaa), from: node(0xbb), body };
    assert_wire(
        "a unicast envelope",
        &unicast.encode(),
        "40                                                               ; hops left
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; to
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ; from
         68656c6c6f                                                       ; the channel's body",
    );
    assert_eq!(Unicast::decode(unicast.encode()), Ok(unicast));
}
