//! Frames: what travels on a link as one piece, holding many messages or a part of one.
//!
//! A message is its kind (1 byte), its length (varint) and its body. A message that does not fit
//! a frame travels as fragments; at-once and after-write traffic each have a fragment stream of
//! their own, because their frames may overtake each other.

use super::codec::{Decoded, Malformed, Reader, put_varint};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use bytes::{BufMut, Bytes, BytesMut};

/// Kinds of messages on a link. Unknown kinds are counted and skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A piece of a larger message, at-once lane.
    FragmentAtOnce = 1,
    /// A piece of a larger message, after-write lane.
    FragmentAfterWrite = 2,
    Ping = 3,
    Pong = 4,
    /// Which records the sender has.
    Digest = 5,
    Record = 6,
    Spread = 7,
    Announce = 8,
    Graft = 9,
    Unicast = 10,
    /// For a service of the neighbor itself.
    Neighbor = 11,
    /// The same, with the sender's marks before the body.
    NeighborMarked = 12,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        [
            FragmentAtOnce,
            FragmentAfterWrite,
            Ping,
            Pong,
            Digest,
            Record,
            Spread,
            Announce,
            Graft,
            Unicast,
            Neighbor,
            NeighborMarked,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Bytes of kind and length before a body, at most.
const HEAD_BYTES_MAX: usize = 1 + 10;

/// Packs messages into frames.
#[derive(Debug)]
pub(crate) struct Packer {
    fragment: Kind,
    open: BytesMut,
    full: Vec<Bytes>,
}

impl Packer {
    /// A packer whose large messages travel as `fragment`.
    pub(crate) fn new(fragment: Kind) -> Packer {
        Packer { fragment, open: BytesMut::new(), full: Vec::new() }
    }

    /// Adds a message, given in parts that are joined.
    pub(crate) fn push(&mut self, kind: Kind, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length < MESSAGE_BYTES_MAX, "a message over the limit cannot be received");
        if HEAD_BYTES_MAX + length > FRAME_BYTES_MAX {
            return self.push_fragments(kind, parts, length);
        }
        self.make_room(HEAD_BYTES_MAX + length);
        self.open.put_u8(kind as u8);
        put_varint(&mut self.open, length as u64);
        for part in parts {
            self.open.put_slice(part);
        }
    }

    /// The message as a whole is its kind and its body; each piece says whether it is the last.
    fn push_fragments(&mut self, kind: Kind, parts: &[&[u8]], length: usize) {
        let kind = [kind as u8];
        let mut parts = std::iter::once(&kind[..]).chain(parts.iter().copied());
        let (mut part, mut left) = (&[][..], 1 + length);
        while left > 0 {
            let mut piece = left.min(FRAME_BYTES_MAX - HEAD_BYTES_MAX - 1);
            left -= piece;
            self.make_room(HEAD_BYTES_MAX + 1 + piece);
            self.open.put_u8(self.fragment as u8);
            put_varint(&mut self.open, 1 + piece as u64);
            self.open.put_u8(u8::from(left == 0));
            while piece > 0 {
                while part.is_empty() {
                    part = parts.next().expect("the parts have the length that was counted");
                }
                let (fits, rest) = part.split_at(piece.min(part.len()));
                self.open.put_slice(fits);
                (piece, part) = (piece - fits.len(), rest);
            }
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if self.open.len() + bytes > FRAME_BYTES_MAX {
            self.full.push(self.open.split().freeze());
        }
        self.open.reserve(bytes);
    }

    /// Takes the frames packed so far.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.full.push(self.open.split().freeze());
        }
        std::mem::take(&mut self.full)
    }
}

/// Takes frames apart; keeps begun fragments between frames.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    begun: [BytesMut; 2],
}

impl Unpacker {
    /// The messages that `frame` completes, each as kind byte and body.
    pub(crate) fn unpack(&mut self, frame: Bytes) -> Decoded<Vec<(u8, Bytes)>> {
        let mut reader = Reader::new(frame);
        let mut messages = Vec::new();
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let body = reader.bytes(FRAME_BYTES_MAX)?;
            let lane = match Kind::from_byte(kind) {
                Some(Kind::FragmentAtOnce) => 0,
                Some(Kind::FragmentAfterWrite) => 1,
                _ => {
                    messages.push((kind, body));
                    continue;
                }
            };
            messages.extend(self.add_fragment(lane, body)?);
        }
        Ok(messages)
    }

    fn add_fragment(&mut self, lane: usize, body: Bytes) -> Decoded<Option<(u8, Bytes)>> {
        let (&is_last, piece) = body.split_first().ok_or(Malformed)?;
        let begun = &mut self.begun[lane];
        if begun.len() + piece.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        begun.put_slice(piece);
        if is_last == 0 {
            return Ok(None);
        }
        let mut whole = Reader::new(begun.split().freeze());
        *begun = BytesMut::new();
        let kind = whole.u8()?;
        if matches!(Kind::from_byte(kind), Some(Kind::FragmentAtOnce | Kind::FragmentAfterWrite)) {
            return Err(Malformed);
        }
        Ok(Some((kind, whole.rest())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(bodies: &[Vec<u8>]) -> Vec<(u8, Bytes)> {
        let mut packer = Packer::new(Kind::FragmentAfterWrite);
        for body in bodies {
            let (head, rest) = body.split_at(body.len() / 3);
            packer.push(Kind::Spread, &[head, &[], rest]);
        }
        let mut unpacker = Unpacker::default();
        let frames = packer.take();
        assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
        frames.into_iter().flat_map(|frame| unpacker.unpack(frame).unwrap()).collect()
    }

    #[test]
    fn messages_of_all_sizes_arrive_in_order() {
        let sizes = [0, 1, 127, 128, FRAME_BYTES_MAX - 12, FRAME_BYTES_MAX, 3 * FRAME_BYTES_MAX, 5];
        let bodies: Vec<Vec<u8>> =
            sizes.iter().map(|size| (0..*size).map(|at| (at % 251) as u8).collect()).collect();
        let got = round_trip(&bodies);
        assert_eq!(got.len(), bodies.len());
        for ((kind, body), sent) in got.iter().zip(&bodies) {
            assert_eq!((*kind, &body[..]), (Kind::Spread as u8, &sent[..]));
        }
    }

    #[test]
    fn fragments_without_end_are_refused_at_the_limit() {
        let mut unpacker = Unpacker::default();
        let mut frame = BytesMut::new();
        frame.put_u8(Kind::FragmentAtOnce as u8);
        put_varint(&mut frame, 60_001);
        frame.put_u8(0);
        frame.put_slice(&vec![0; 60_000]);
        let frame = frame.freeze();
        for _ in 0..MESSAGE_BYTES_MAX / 60_000 {
            assert_eq!(unpacker.unpack(frame.clone()), Ok(vec![]));
        }
        assert_eq!(unpacker.unpack(frame), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_without_panic(bytes: Vec<u8>) {
            let _ = Unpacker::default().unpack(bytes.into());
        }
    }
}
