//! What nodes say to each other about shared data.

use super::entry::{Entry, EntryKey, KEY_BYTES_MAX};
use crate::id::{NodeId, StoreId};
use crate::limits::{BURIED_AT_ONCE, MESSAGE_BYTES_MAX, NODES_MAX};
use crate::replica::index::{BUCKETS, GROUP_BUCKETS, GROUPS};
use crate::time::Stamp;
use crate::wire::codec::{Decoded, Malformed, Reader, put_bytes, put_varint};
use bytes::{BufMut, Bytes, BytesMut};

/// Entries with their keys.
pub(crate) type Entries = Vec<(EntryKey, Entry)>;

/// What a node holds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) store: StoreId,
    /// Its newest change.
    pub(crate) number: u64,
    /// Its log holds the changes after this one.
    pub(crate) floor: u64,
    /// Its newest change that did not come by spreading.
    pub(crate) pulled: u64,
    pub(crate) count: u64,
    pub(crate) sum: [u8; 32],
    /// Whether it wants a summary in return.
    pub(crate) answer: bool,
}

/// Where a pull goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The changes after this number.
    Number(u64),
    /// All entries behind this key, in key order; empty for the beginning.
    Key(Bytes),
}

/// A version as it is compared: less than the whole, enough to see a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) id: u64,
    pub(crate) stamp: Stamp,
    pub(crate) check: u32,
    pub(crate) node: u32,
    pub(crate) flags: u8,
}

/// One page of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Where it begins: what was asked, so that the answer to an earlier pull is not taken for it.
    pub(crate) of: From,
    /// For changes, what the page reaches; for all entries, the number when the page was made.
    pub(crate) number: u64,
    /// Where to go on.
    pub(crate) next: From,
    /// Whether that was all.
    pub(crate) done: bool,
    pub(crate) entries: Entries,
}

/// Messages between neighbors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Summary(Summary),
    /// Asks for the next page.
    Pull(From),
    /// The log no longer reaches back as far as was asked.
    Pruned,
    /// Answers a pull.
    Page(Page),
    /// Begins a comparison: the short sums of all groups.
    Groups {
        number: u64,
        sums: Vec<u64>,
    },
    /// The short sums of the buckets of groups that differ; `more`: not of all that differ.
    Buckets {
        number: u64,
        more: bool,
        groups: Vec<(u16, Vec<u64>)>,
    },
    /// The versions in buckets that differ; `more`: not of all that differ.
    Versions {
        more: bool,
        buckets: Vec<(u16, Vec<Outline>)>,
    },
    /// Entries that the other side wants to have: bucket and id.
    Want(Vec<(u16, u64)>),
    /// Entries that the other side misses, and whether these were the last.
    Found {
        done: bool,
        entries: Entries,
    },
    /// Asks a member whether these dead entries, without their values, may be forgotten.
    Bury {
        round: u64,
        dead: Entries,
    },
    /// Which of them, by their place, are needed still.
    Buried {
        round: u64,
        needed: Vec<u64>,
    },
    /// All members have agreed to forget these.
    Forget(Entries),
}

const SUMMARY: u8 = 1;
const PULL: u8 = 2;
const PRUNED: u8 = 3;
const PAGE: u8 = 4;
const GROUPS_KIND: u8 = 5;
const BUCKETS_KIND: u8 = 6;
const VERSIONS: u8 = 7;
const WANT: u8 = 8;
const FOUND: u8 = 9;
const BURY: u8 = 10;
const BURIED: u8 = 11;
const FORGET: u8 = 12;

/// Entries of one message, at most.
const ENTRIES_MAX: usize = MESSAGE_BYTES_MAX / 16;

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Message::Summary(summary) => {
                out.put_u8(SUMMARY);
                out.put_slice(&summary.store.0);
                let numbers = [summary.number, summary.floor, summary.pulled, summary.count];
                numbers.into_iter().for_each(|number| put_varint(&mut out, number));
                out.put_slice(&summary.sum);
                out.put_u8(u8::from(summary.answer));
            }
            Message::Pull(from) => {
                out.put_u8(PULL);
                put_from(&mut out, from);
            }
            Message::Pruned => out.put_u8(PRUNED),
            Message::Page(page) => {
                out.put_u8(PAGE);
                put_from(&mut out, &page.of);
                put_varint(&mut out, page.number);
                put_from(&mut out, &page.next);
                out.put_u8(u8::from(page.done));
                put_entries(&mut out, &page.entries);
            }
            Message::Groups { number, sums } => {
                out.put_u8(GROUPS_KIND);
                put_varint(&mut out, *number);
                sums.iter().for_each(|sum| out.put_u64(*sum));
            }
            Message::Buckets { number, more, groups } => {
                out.put_u8(BUCKETS_KIND);
                put_varint(&mut out, *number);
                out.put_u8(u8::from(*more));
                put_varint(&mut out, groups.len() as u64);
                for (group, sums) in groups {
                    out.put_u16(*group);
                    sums.iter().for_each(|sum| out.put_u64(*sum));
                }
            }
            Message::Versions { more, buckets } => {
                out.put_u8(VERSIONS);
                out.put_u8(u8::from(*more));
                put_varint(&mut out, buckets.len() as u64);
                for (bucket, outlines) in buckets {
                    out.put_u16(*bucket);
                    put_varint(&mut out, outlines.len() as u64);
                    outlines.iter().for_each(|outline| put_outline(&mut out, outline));
                }
            }
            Message::Want(wanted) => {
                out.put_u8(WANT);
                put_varint(&mut out, wanted.len() as u64);
                for (bucket, id) in wanted {
                    out.put_u16(*bucket);
                    out.put_u64(*id);
                }
            }
            Message::Found { done, entries } => {
                out.put_u8(FOUND);
                out.put_u8(u8::from(*done));
                put_entries(&mut out, entries);
            }
            Message::Bury { round, dead } => {
                out.put_u8(BURY);
                put_varint(&mut out, *round);
                put_entries(&mut out, dead);
            }
            Message::Buried { round, needed } => {
                out.put_u8(BURIED);
                put_varint(&mut out, *round);
                put_varint(&mut out, needed.len() as u64);
                needed.iter().for_each(|index| put_varint(&mut out, *index));
            }
            Message::Forget(dead) => {
                out.put_u8(FORGET);
                put_entries(&mut out, dead);
            }
        }
        out.freeze()
    }

    /// Reads a message; `None` for a kind that this version does not know.
    pub(crate) fn decode(bytes: Bytes) -> Decoded<Option<Message>> {
        let mut reader = Reader::new(bytes);
        let reader = &mut reader;
        let message = match reader.u8()? {
            SUMMARY => Message::Summary(Summary {
                store: StoreId(reader.array()?),
                number: reader.varint()?,
                floor: reader.varint()?,
                pulled: reader.varint()?,
                count: reader.varint()?,
                sum: reader.array()?,
                answer: reader.u8()? != 0,
            }),
            PULL => Message::Pull(read_from(reader)?),
            PRUNED => Message::Pruned,
            PAGE => Message::Page(Page {
                of: read_from(reader)?,
                number: reader.varint()?,
                next: read_from(reader)?,
                done: reader.u8()? != 0,
                entries: read_entries(reader)?,
            }),
            GROUPS_KIND => {
                Message::Groups { number: reader.varint()?, sums: read_sums(reader, GROUPS)? }
            }
            BUCKETS_KIND => {
                let (number, more) = (reader.varint()?, reader.u8()? != 0);
                let count = reader.count(GROUPS, 2 + 8 * GROUP_BUCKETS)?;
                let group = |reader: &mut Reader| {
                    let group = read_u16(reader)?;
                    if usize::from(group) >= GROUPS {
                        return Err(Malformed);
                    }
                    Ok((group, read_sums(reader, GROUP_BUCKETS)?))
                };
                let groups = (0..count).map(|_| group(reader)).collect::<Decoded<_>>()?;
                Message::Buckets { number, more, groups }
            }
            VERSIONS => {
                let more = reader.u8()? != 0;
                let count = reader.count(BUCKETS, 3)?;
                let mut buckets = Vec::new();
                for _ in 0..count {
                    let bucket = read_u16(reader)?;
                    let count = reader.count(ENTRIES_MAX, 25)?;
                    let outlines = (0..count).map(|_| read_outline(reader));
                    buckets.push((bucket, outlines.collect::<Decoded<_>>()?));
                }
                Message::Versions { more, buckets }
            }
            WANT => {
                let count = reader.count(ENTRIES_MAX, 10)?;
                let wanted = (0..count).map(|_| Ok((read_u16(reader)?, reader.u64()?)));
                Message::Want(wanted.collect::<Decoded<_>>()?)
            }
            FOUND => Message::Found { done: reader.u8()? != 0, entries: read_entries(reader)? },
            BURY => Message::Bury { round: reader.varint()?, dead: read_dead(reader)? },
            BURIED => {
                let round = reader.varint()?;
                let count = reader.count(BURIED_AT_ONCE, 1)?;
                let needed = (0..count).map(|_| reader.varint()).collect::<Decoded<_>>()?;
                Message::Buried { round, needed }
            }
            FORGET => Message::Forget(read_dead(reader)?),
            _ => return Ok(None),
        };
        Ok(Some(message))
    }
}

fn read_dead(reader: &mut Reader) -> Decoded<Entries> {
    let dead = read_entries(reader)?;
    if dead.len() > BURIED_AT_ONCE { Err(Malformed) } else { Ok(dead) }
}

/// Entries as they are spread.
pub(crate) fn encode_entries(entries: &[(EntryKey, Entry)]) -> Bytes {
    let mut out = BytesMut::new();
    put_entries(&mut out, entries);
    out.freeze()
}

/// Reads entries as they are spread.
pub(crate) fn decode_entries(bytes: Bytes) -> Decoded<Entries> {
    read_entries(&mut Reader::new(bytes))
}

/// Entries name their writing nodes by a number in a table that comes first.
fn put_entries(out: &mut BytesMut, entries: &[(EntryKey, Entry)]) {
    let mut nodes: Vec<NodeId> = Vec::new();
    let mut body = BytesMut::with_capacity(entries.len() * 64);
    for (key, entry) in entries {
        // Nearly always the last one again.
        let at = nodes.iter().rposition(|node| *node == entry.version.node).unwrap_or_else(|| {
            nodes.push(entry.version.node);
            nodes.len() - 1
        });
        put_bytes(&mut body, key.as_bytes());
        let mut number = BytesMut::with_capacity(3);
        put_varint(&mut number, at as u64);
        entry.encode(&number, &mut body);
    }
    put_varint(out, nodes.len() as u64);
    nodes.iter().for_each(|node| out.put_slice(&node.0));
    put_varint(out, entries.len() as u64);
    out.put_slice(&body);
}

fn read_entries(reader: &mut Reader) -> Decoded<Entries> {
    let count = reader.count(ENTRIES_MAX.max(NODES_MAX), 32)?;
    let nodes: Vec<NodeId> =
        (0..count).map(|_| Ok(NodeId(reader.array()?))).collect::<Decoded<_>>()?;
    let count = reader.count(ENTRIES_MAX, 12)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let key = EntryKey::parse(reader.bytes(KEY_BYTES_MAX)?).ok_or(Malformed)?;
        let node = |reader: &mut Reader| {
            let at = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
            nodes.get(at).copied().ok_or(Malformed)
        };
        entries.push((key, Entry::decode(reader, node)?));
    }
    Ok(entries)
}

fn put_from(out: &mut BytesMut, from: &From) {
    match from {
        From::Number(number) => {
            out.put_u8(0);
            put_varint(out, *number);
        }
        From::Key(key) => {
            out.put_u8(1);
            put_bytes(out, key);
        }
    }
}

fn read_from(reader: &mut Reader) -> Decoded<From> {
    match reader.u8()? {
        0 => Ok(From::Number(reader.varint()?)),
        1 => Ok(From::Key(reader.bytes(KEY_BYTES_MAX)?)),
        _ => Err(Malformed),
    }
}

fn put_outline(out: &mut BytesMut, outline: &Outline) {
    out.put_u64(outline.id);
    out.put_u64(outline.stamp.0);
    out.put_u32(outline.check);
    out.put_u32(outline.node);
    out.put_u8(outline.flags);
}

fn read_outline(reader: &mut Reader) -> Decoded<Outline> {
    Ok(Outline {
        id: reader.u64()?,
        stamp: Stamp(reader.u64()?),
        check: reader.u32()?,
        node: reader.u32()?,
        flags: reader.u8()?,
    })
}

fn read_sums(reader: &mut Reader, count: usize) -> Decoded<Vec<u64>> {
    (0..count).map(|_| reader.u64()).collect()
}

fn read_u16(reader: &mut Reader) -> Decoded<u16> {
    Ok(u16::from_be_bytes(reader.array()?))
}
