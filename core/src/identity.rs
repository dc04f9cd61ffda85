//! The node's key, as core needs it: somebody else makes and checks the signatures.
//!
//! Core says what is signed and when a signature is asked for; which algorithm it is (Ed25519 in
//! the node, something quick in the simulator) is handed in.

use crate::id::NodeId;

/// A signature over a message: 64 bytes.
pub type Signature = [u8; 64];

/// Signs as this node and checks the signatures of others.
pub trait Identity: Send {
    /// The public key of this node.
    fn node(&self) -> NodeId;
    /// Signs `message` as this node.
    fn sign(&self, message: &[u8]) -> Signature;
    /// Whether `signature` is that of `node` over `message`.
    fn verify(&self, node: NodeId, message: &[u8], signature: &Signature) -> bool;
}
