//! What each node says of itself: signed, sequenced, spread to all.

use crate::id::{NetworkId, NodeId};
use crate::identity::{Identity, Signature};
use crate::limits::{ADDRESS_BYTES_MAX, NEIGHBORS_MAX, RECORD_ADDRESSES_MAX};
use crate::wire::codec::{Decoded, Reader, put_bytes, put_varint};
use bytes::{BufMut, Bytes, BytesMut};

/// What is signed begins with this, so that no other signature fits.
const TAG: &[u8] = b"folkmoot node record 1";

/// One node's word about itself. Of two records the one with the larger (boot, sequence) counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) node: NodeId,
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
    pub(crate) addresses: Vec<String>,
    /// Its neighbors, in id order.
    pub(crate) links: Vec<NodeId>,
    /// All of the above as encoded: what was signed is what is passed on.
    body: Bytes,
    signature: Signature,
}

impl Record {
    /// Makes and signs this node's record.
    pub(crate) fn new(
        identity: &dyn Identity,
        network: NetworkId,
        boot: u64,
        sequence: u64,
        addresses: &[String],
        links: Vec<NodeId>,
    ) -> Record {
        assert!(addresses.len() <= RECORD_ADDRESSES_MAX, "whoever starts a node counts them");
        let node = identity.node();
        let mut out = BytesMut::new();
        out.put_slice(&node.0);
        out.put_u64(boot);
        put_varint(&mut out, sequence);
        put_varint(&mut out, addresses.len() as u64);
        for address in addresses {
            put_bytes(&mut out, address.as_bytes());
        }
        put_varint(&mut out, links.len() as u64);
        for link in &links {
            out.put_slice(&link.0);
        }
        let body = out.freeze();
        let signature = identity.sign(&signed(network, &body));
        let addresses = addresses.to_vec();
        Record { node, boot, sequence, addresses, links, body, signature }
    }

    /// Which of two records of a node counts.
    pub(crate) fn order(&self) -> (u64, u64) {
        (self.boot, self.sequence)
    }

    pub(crate) fn is_signed(&self, identity: &dyn Identity, network: NetworkId) -> bool {
        identity.verify(self.node, &signed(network, &self.body), &self.signature)
    }

    pub(crate) fn encode(&self) -> Bytes {
        [&self.signature[..], &self.body].concat().into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Decoded<Record> {
        let mut reader = Reader::new(bytes);
        let signature = reader.array()?;
        let body = reader.clone().rest();
        let node = NodeId(reader.array()?);
        let boot = reader.u64()?;
        let sequence = reader.varint()?;
        let mut addresses = Vec::new();
        for _ in 0..reader.count(RECORD_ADDRESSES_MAX, 1)? {
            addresses.push(reader.text(ADDRESS_BYTES_MAX)?);
        }
        let mut links = Vec::new();
        for _ in 0..reader.count(NEIGHBORS_MAX, 32)? {
            links.push(NodeId(reader.array()?));
        }
        Ok(Record { node, boot, sequence, addresses, links, body, signature })
    }
}

fn signed(network: NetworkId, body: &[u8]) -> Vec<u8> {
    [TAG, &network.0, body].concat()
}
