//! Node keys of the simulator: no secrecy, but a signature over other bytes does not verify.

use folkmoot_core::id::NodeId;
use folkmoot_core::identity::{Identity, Signature};

/// A key that everybody in the world can compute: a signature is a keyed hash.
pub struct ToyIdentity(NodeId);

impl ToyIdentity {
    /// The `generation`th key of node `index` in the world of `seed`.
    pub fn new(seed: u64, index: usize, generation: u32) -> ToyIdentity {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"toy node key");
        hasher.update(&seed.to_be_bytes());
        hasher.update(&(index as u64).to_be_bytes());
        hasher.update(&generation.to_be_bytes());
        ToyIdentity(NodeId(*hasher.finalize().as_bytes()))
    }
}

impl Identity for ToyIdentity {
    fn node(&self) -> NodeId {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        sign(self.0, message)
    }

    fn verify(&self, node: NodeId, message: &[u8], signature: &Signature) -> bool {
        sign(node, message) == *signature
    }
}

fn sign(node: NodeId, message: &[u8]) -> Signature {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(blake3::keyed_hash(&node.0, message).as_bytes());
    signature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_one_node_and_one_message() {
        let (one, other) = (ToyIdentity::new(1, 0, 0), ToyIdentity::new(1, 0, 1));
        let signature = one.sign(b"words");
        assert!(other.verify(one.node(), b"words", &signature));
        assert!(!other.verify(one.node(), b"other words", &signature));
        assert!(!other.verify(other.node(), b"words", &signature));
    }
}
