//! What nodes say to each other about chat. The bytes are described in `docs/protocol.md`.

use super::words::{Kind, Message, Target};
use crate::id::{ClientId, Name, NodeId};
use crate::limits::{
    CHAT_BATCH_BYTES, CHAT_BODY_BYTES_MAX, NAME_BYTES_MAX, NODES_MAX, STATUS_BYTES_MAX,
};
use crate::wire::codec::{Decoded, Malformed, Reader, put_bytes, put_varint};
use bytes::{BufMut, Bytes, BytesMut};

const DELTA: u8 = 0;
const ASK: u8 = 1;
const LIST: u8 = 2;
const POSTS: u8 = 3;
const SETTLED: u8 = 4;
const DIGEST: u8 = 5;
const VECTOR: u8 = 6;

/// A place in the history of one node's presence: the run, and how many deltas it has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) boot: u64,
    pub(super) sequence: u64,
}

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The sender's presence changed: the state at the place, of these items.
    Delta(Place, Bytes),
    /// The asker has the receiver's presence up to the place; and, of the list at that sequence,
    /// so many pages.
    Ask { place: Place, list: u64, pages: u64 },
    /// A page of all of the sender's presence at the place, counted from 0.
    List { place: Place, page: u64, last: bool, items: Bytes },
    /// Messages; see [`Posts`].
    Posts(Bytes),
    /// What became of messages; see [`Runs`].
    Settled(Bytes),
    /// A hash of all places that the sender has reached.
    Digest(u64),
    /// The places themselves.
    Vector(Vec<(NodeId, Place)>),
}

impl Said {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Said::Delta(place, items) => {
                out.put_u8(DELTA);
                put_place(&mut out, *place);
                out.put_slice(items);
            }
            Said::Ask { place, list, pages } => {
                out.put_u8(ASK);
                put_place(&mut out, *place);
                put_varint(&mut out, *list);
                put_varint(&mut out, *pages);
            }
            Said::List { place, page, last, items } => {
                out.put_u8(LIST);
                put_place(&mut out, *place);
                put_varint(&mut out, page << 1 | u64::from(*last));
                out.put_slice(items);
            }
            Said::Posts(posts) => {
                out.put_u8(POSTS);
                out.put_slice(posts);
            }
            Said::Settled(runs) => {
                out.put_u8(SETTLED);
                out.put_slice(runs);
            }
            Said::Digest(hash) => {
                out.put_u8(DIGEST);
                out.put_u64(*hash);
            }
            Said::Vector(places) => {
                out.put_u8(VECTOR);
                put_varint(&mut out, places.len() as u64);
                for (node, place) in places {
                    out.put_slice(&node.0);
                    put_place(&mut out, *place);
                }
            }
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Decoded<Said> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.u8()? {
            DELTA => Said::Delta(place(&mut reader)?, reader.rest()),
            ASK => {
                let place = place(&mut reader)?;
                Said::Ask { place, list: reader.varint()?, pages: reader.varint()? }
            }
            LIST => {
                let (place, number) = (place(&mut reader)?, reader.varint()?);
                let (page, last) = (number >> 1, number & 1 != 0);
                Said::List { place, page, last, items: reader.rest() }
            }
            POSTS => Said::Posts(reader.rest()),
            SETTLED => Said::Settled(reader.rest()),
            DIGEST => Said::Digest(reader.u64()?),
            VECTOR => {
                let count = reader.count(NODES_MAX, 41)?;
                let one = |_| Ok((NodeId(reader.array()?), place(&mut reader)?));
                Said::Vector((0..count).map(one).collect::<Decoded<_>>()?)
            }
            _ => return Err(Malformed),
        })
    }
}

fn put_place(out: &mut BytesMut, place: Place) {
    out.put_u64(place.boot);
    put_varint(out, place.sequence);
}

fn place(reader: &mut Reader) -> Decoded<Place> {
    Ok(Place { boot: reader.u64()?, sequence: reader.varint()? })
}

/// One piece of a node's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A user has so many sessions there, and this status.
    User { user: Name, sessions: u32, status: Option<Bytes> },
    /// A user has so many sessions in a room there.
    Member { room: Name, user: Name, sessions: u32 },
}

impl Item {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        match self {
            Item::User { user, sessions, status } => {
                out.put_u8(0);
                put_bytes(out, user.as_bytes());
                put_varint(out, u64::from(*sessions));
                put_bytes(out, status.as_deref().unwrap_or_default());
            }
            Item::Member { room, user, sessions } => {
                out.put_u8(1);
                put_bytes(out, room.as_bytes());
                put_bytes(out, user.as_bytes());
                put_varint(out, u64::from(*sessions));
            }
        }
    }

    /// Reads items to the end.
    pub(super) fn decode_all(bytes: Bytes, mut each: impl FnMut(Item)) -> Decoded<()> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let first = name(&mut reader)?;
            each(match kind {
                0 => {
                    let sessions = sessions(&mut reader)?;
                    let status = reader.bytes(STATUS_BYTES_MAX)?;
                    check_status(&status)?;
                    let status = (!status.is_empty()).then(|| Bytes::copy_from_slice(&status));
                    Item::User { user: first, sessions, status }
                }
                1 => {
                    let user = name(&mut reader)?;
                    Item::Member { room: first, user, sessions: sessions(&mut reader)? }
                }
                _ => return Err(Malformed),
            });
        }
        Ok(())
    }
}

fn check_status(status: &[u8]) -> Decoded<()> {
    let text = std::str::from_utf8(status).map_err(|_| Malformed)?;
    if text.chars().any(char::is_control) { Err(Malformed) } else { Ok(()) }
}

fn sessions(reader: &mut Reader) -> Decoded<u32> {
    u32::try_from(reader.varint()?).map_err(|_| Malformed)
}

/// A name in memory of its own: it must not keep the frame that it came in.
fn name(reader: &mut Reader) -> Decoded<Name> {
    let bytes = reader.bytes(NAME_BYTES_MAX)?;
    Name::new(Bytes::copy_from_slice(&bytes)).map_err(|_| Malformed)
}

/// The sending session of a message, as its node names it.
pub(super) type Sender = u64;

const SAME_HEAD: u8 = 1;
const SIGNAL: u8 = 2;

/// Messages on their way to one node, in batches. What equals the message before (session, sender,
/// target) is not said again within a batch.
#[derive(Debug, Default)]
pub(super) struct Posts {
    full: Vec<Bytes>,
    bytes: BytesMut,
    head: Option<(Sender, Name, ClientId, Target)>,
}

impl Posts {
    pub(super) fn push(&mut self, sender: Sender, message: &Message) {
        if self.bytes.len() >= CHAT_BATCH_BYTES {
            self.close();
        }
        let Message { from, client, to, .. } = message;
        let same = self.head.as_ref().is_some_and(|head| {
            head.0 == sender && head.1 == *from && head.2 == *client && head.3 == *to
        });
        let flags = [(same, SAME_HEAD), (message.kind == Kind::Signal, SIGNAL)];
        let out = &mut self.bytes;
        out.reserve(message.body.len() + 32);
        out.put_u8(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        if !same {
            put_varint(out, sender);
            put_bytes(out, from.as_bytes());
            out.put_u64(client.0);
            match to {
                Target::User(user) => {
                    out.put_u8(0);
                    put_bytes(out, user.as_bytes());
                }
                Target::Room(room) => {
                    out.put_u8(1);
                    put_bytes(out, room.as_bytes());
                }
                Target::Everyone => out.put_u8(2),
            }
            self.head = Some((sender, from.clone(), *client, to.clone()));
        }
        put_varint(out, message.number);
        put_varint(out, message.sent_ms);
        put_bytes(out, &message.body);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn close(&mut self) {
        self.head = None;
        self.full.push(self.bytes.split().freeze());
    }

    /// The batches that were gathered; nothing is left.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        if !self.bytes.is_empty() {
            self.close();
        }
        std::mem::take(&mut self.full)
    }

    /// Reads messages to the end.
    pub(super) fn decode_all(bytes: Bytes, mut each: impl FnMut(Sender, Message)) -> Decoded<()> {
        let mut reader = Reader::new(bytes);
        let mut head: Option<(Sender, Name, ClientId, Target)> = None;
        while !reader.is_empty() {
            let flags = reader.u8()?;
            if flags & SAME_HEAD == 0 {
                let (sender, from) = (reader.varint()?, name(&mut reader)?);
                let client = ClientId(reader.u64()?);
                let to = match reader.u8()? {
                    0 => Target::User(name(&mut reader)?),
                    1 => Target::Room(name(&mut reader)?),
                    2 => Target::Everyone,
                    _ => return Err(Malformed),
                };
                head = Some((sender, from, client, to));
            }
            let (sender, from, client, to) = head.clone().ok_or(Malformed)?;
            let kind = if flags & SIGNAL == 0 { Kind::Message } else { Kind::Signal };
            let (number, sent_ms) = (reader.varint()?, reader.varint()?);
            // A copy: one message that waits long must not keep all that came with it.
            let body = Bytes::copy_from_slice(&reader.bytes(CHAT_BODY_BYTES_MAX)?);
            each(sender, Message { from, client, number, to, kind, sent_ms, remote: true, body });
        }
        Ok(())
    }
}

/// In the place of a number of sessions: later messages of the conversation have been there, so
/// nobody is given this one any more.
pub(super) const TOO_LATE: u32 = u32::MAX;

/// What became of messages whose numbers follow each other: all were taken in by so many sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) sender: Sender,
    pub(super) from: u64,
    pub(super) count: u64,
    pub(super) sessions: u32,
}

impl Run {
    /// Whether one more message has the same end and the next number.
    pub(super) fn is_followed_by(&self, next: &Run) -> bool {
        let goes_on = self.from.checked_add(self.count) == Some(next.from);
        goes_on && (self.sender, self.sessions) == (next.sender, next.sessions)
    }
}

/// Runs on their way to one node, in batches.
#[derive(Debug, Default)]
pub(super) struct Runs {
    full: Vec<Bytes>,
    bytes: BytesMut,
    last: Option<Run>,
}

impl Runs {
    pub(super) fn push(&mut self, sender: Sender, number: u64, sessions: u32) {
        let run = Run { sender, from: number, count: 1, sessions };
        match &mut self.last {
            Some(last) if last.is_followed_by(&run) => last.count += 1,
            _ => {
                self.flush();
                self.last = Some(run);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn flush(&mut self) {
        if let Some(run) = self.last.take() {
            for number in [run.sender, run.from, run.count, u64::from(run.sessions)] {
                put_varint(&mut self.bytes, number);
            }
        }
        if self.bytes.len() >= CHAT_BATCH_BYTES {
            self.full.push(self.bytes.split().freeze());
        }
    }

    /// The batches that were gathered; nothing is left.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.flush();
        let rest = self.bytes.split().freeze();
        self.full.extend(Some(rest).filter(|rest| !rest.is_empty()));
        std::mem::take(&mut self.full)
    }

    /// Reads runs to the end.
    pub(super) fn decode_all(bytes: Bytes, mut each: impl FnMut(Run)) -> Decoded<()> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let (sender, from, count) = (reader.varint()?, reader.varint()?, reader.varint()?);
            from.checked_add(count).ok_or(Malformed)?;
            each(Run { sender, from, count, sessions: sessions(&mut reader)? });
        }
        Ok(())
    }
}
