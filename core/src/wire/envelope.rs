//! Envelopes: what the mesh carries for services, without looking inside.

use super::codec::{Decoded, Malformed, Reader, put_varint};
use crate::id::NodeId;
use crate::limits::MESSAGE_BYTES_MAX;
use bytes::{BufMut, Bytes, BytesMut};

/// Which service a payload is for. Numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub u8);

impl Tag {
    /// The mesh itself: pings.
    pub const MESH: Tag = Tag(0);
    /// Shared data.
    pub const DATA: Tag = Tag(1);
    /// Chat.
    pub const CHAT: Tag = Tag(2);
}

/// One payload on its way to all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    /// Who sent it first.
    pub(crate) origin: NodeId,
    /// The run of the origin that numbered it.
    pub(crate) boot: u64,
    /// Its number within that run, from 1.
    pub(crate) sequence: u64,
    /// The service it is for.
    pub(crate) tag: Tag,
    /// What the service said.
    pub(crate) body: Bytes,
}

impl Spread {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.body.len());
        out.put_slice(&self.origin.0);
        out.put_u64(self.boot);
        put_varint(&mut out, self.sequence);
        out.put_u8(self.tag.0);
        out.put_slice(&self.body);
        out.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Decoded<Spread> {
        let mut reader = Reader::new(bytes);
        Ok(Spread {
            origin: NodeId(reader.array()?),
            boot: reader.u64()?,
            sequence: reader.varint()?,
            tag: Tag(reader.u8()?),
            body: reader.rest(),
        })
    }
}

/// One payload on its way to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unicast {
    /// Hops it may still take. First, so that it can be counted down in place.
    pub(crate) hops_left: u8,
    pub(crate) to: NodeId,
    pub(crate) from: NodeId,
    pub(crate) body: Bytes,
}

impl Unicast {
    /// What stands before the body.
    pub(crate) fn head(&self) -> [u8; 65] {
        let mut head = [self.hops_left; 65];
        head[1..33].copy_from_slice(&self.to.0);
        head[33..].copy_from_slice(&self.from.0);
        head
    }

    #[cfg(test)]
    pub(crate) fn encode(&self) -> Bytes {
        [&self.head()[..], &self.body].concat().into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Decoded<Unicast> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        Ok(Unicast {
            hops_left: reader.u8()?,
            to: NodeId(reader.array()?),
            from: NodeId(reader.array()?),
            body: reader.rest(),
        })
    }
}
