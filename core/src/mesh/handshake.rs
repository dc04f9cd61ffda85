//! The first words on a link: what is said in the clear, and what proves the node keys.
//!
//! Promise: nodes of other networks and versions are recognised before any key is used; a proof
//! is bound to one handshake (its hash is signed), so it cannot be replayed. The Noise messages
//! themselves are made by the link layer. Limits: `HELLO_BYTES_MAX`.

use crate::error::ErrorCode;
use crate::id::{NetworkId, NodeId};
use crate::identity::{Identity, Signature};
use crate::limits::HELLO_BYTES_MAX;
use crate::wire::codec::{Decoded, Reader};
use bytes::{BufMut, Bytes, BytesMut};

/// The first bytes of every link.
const MAGIC: &[u8; 8] = b"folkmoot";
/// The oldest protocol version that this program speaks.
pub const VERSION_MIN: u8 = 2;
/// The newest protocol version that this program speaks.
pub const VERSION_MAX: u8 = 2;
/// What a node signs to prove its key: this tag, the network id, the handshake hash.
const PROOF_TAG: &[u8] = b"folkmoot link proof 1";

/// The clear message that each side sends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that the sender speaks.
    pub version_min: u8,
    /// The newest version that the sender speaks.
    pub version_max: u8,
    /// The sender's network.
    pub network: NetworkId,
}

impl Hello {
    /// What this program says.
    pub fn new(network: NetworkId) -> Hello {
        Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, network }
    }

    /// The bytes on the wire; also the prologue of the Noise handshake, the dialler's first.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        out.put_u8(self.version_min);
        out.put_u8(self.version_max);
        out.put_slice(&self.network.0);
        out.freeze()
    }

    /// Reads the other side's hello; bytes behind it belong to newer versions.
    pub fn decode(bytes: Bytes) -> Result<Hello, ErrorCode> {
        if bytes.len() > HELLO_BYTES_MAX {
            return Err(ErrorCode::Malformed);
        }
        let mut reader = Reader::new(bytes);
        let mut read = || -> Decoded<([u8; 8], Hello)> {
            let magic = reader.array()?;
            let (version_min, version_max) = (reader.u8()?, reader.u8()?);
            let network = NetworkId(reader.array()?);
            Ok((magic, Hello { version_min, version_max, network }))
        };
        match read() {
            Ok((magic, hello)) if magic == *MAGIC => Ok(hello),
            _ => Err(ErrorCode::Malformed),
        }
    }

    /// The newest version that both speak, or why there can be no link.
    pub fn agree(&self, other: &Hello) -> Result<u8, ErrorCode> {
        if self.network != other.network {
            return Err(ErrorCode::Network);
        }
        let version = self.version_max.min(other.version_max);
        if version < self.version_min.max(other.version_min) {
            return Err(ErrorCode::ProtocolVersion);
        }
        Ok(version)
    }
}

/// The encrypted message with which each side proves its node key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Who claims to be there.
    pub node: NodeId,
    /// The claimant's boot counter.
    pub boot: u64,
    /// The claimant's wall clock, in Unix milliseconds.
    pub wall_ms: u64,
    signature: Signature,
}

impl Proof {
    /// Proves this node's key for the handshake with hash `hash`.
    pub fn new(
        identity: &dyn Identity,
        network: NetworkId,
        hash: &[u8],
        boot: u64,
        wall_ms: u64,
    ) -> Proof {
        let signature = identity.sign(&signed(network, hash, boot));
        Proof { node: identity.node(), boot, wall_ms, signature }
    }

    /// Whether the claim holds for the handshake with hash `hash`.
    pub fn check(
        &self,
        identity: &dyn Identity,
        network: NetworkId,
        hash: &[u8],
    ) -> Result<(), ErrorCode> {
        let message = signed(network, hash, self.boot);
        if self.node == identity.node() || !identity.verify(self.node, &message, &self.signature) {
            return Err(ErrorCode::Signature);
        }
        Ok(())
    }

    /// The bytes inside the encrypted message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.node.0);
        out.put_u64(self.boot);
        out.put_u64(self.wall_ms);
        out.put_slice(&self.signature);
        out.freeze()
    }

    /// Reads the bytes inside the encrypted message; bytes behind it belong to newer versions.
    pub fn decode(bytes: Bytes) -> Decoded<Proof> {
        let mut reader = Reader::new(bytes);
        Ok(Proof {
            node: NodeId(reader.array()?),
            boot: reader.u64()?,
            wall_ms: reader.u64()?,
            signature: reader.array()?,
        })
    }
}

fn signed(network: NetworkId, hash: &[u8], boot: u64) -> Vec<u8> {
    [PROOF_TAG, &network.0, &boot.to_be_bytes(), hash].concat()
}
