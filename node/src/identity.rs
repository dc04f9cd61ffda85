//! The node's key: who a node is, for ever.
//!
//! Promise: the key is made once, kept in `node.key` in the data directory, and never leaves it.
//! The node id is the Ed25519 public key (RFC 8032). A damaged key file is recognised: it holds
//! the id as well, and only the exact text that was written is accepted.

pub use crate::private_file::FileError;

use crate::private_file;
use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use folkmoot_core::id::NodeId;
use folkmoot_core::identity::{Identity, Signature};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The name of the key file.
const KEY_FILE: &str = "node.key";
/// What to do about a damaged key file.
const REMEDY: &str = "put it back from a backup; or move it away, and the node starts with a new \
                      key and is a new node to all others";

/// The key of this node; cheap to clone.
#[derive(Clone)]
pub struct Keys {
    signing: Arc<SigningKey>,
}

impl Keys {
    /// The key in `directory`, made now if there is none. Whoever calls holds the lock on the
    /// directory.
    pub fn load_or_create(directory: &Path) -> Result<Keys, FileError> {
        let path = directory.join(KEY_FILE);
        if let Some(bytes) = private_file::read(&path)? {
            return Keys::from_file(&bytes).ok_or(FileError::Damaged { path, remedy: REMEDY });
        }
        let keys = Keys::generate();
        private_file::write(&path, keys.to_file().as_bytes())?;
        Ok(keys)
    }

    /// A new key.
    pub(crate) fn generate() -> Keys {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system has random numbers");
        Keys::from_seed(&seed)
    }

    fn from_seed(seed: &[u8; 32]) -> Keys {
        Keys { signing: Arc::new(SigningKey::from_bytes(seed)) }
    }

    fn to_file(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(NodeId(*self.signing.as_bytes()).to_string());
        Zeroizing::new(format!(
            "folkmoot node key 1: who has this file is this node; keep it private\n\
             secret {}\nnode {}\n",
            *secret,
            self.node()
        ))
    }

    fn from_file(bytes: &[u8]) -> Option<Keys> {
        let text = std::str::from_utf8(bytes).ok()?;
        let secret = text.lines().find_map(|line| line.strip_prefix("secret "))?;
        let seed = Zeroizing::new(NodeId::from_hex(secret)?.0);
        let keys = Keys::from_seed(&seed);
        (keys.to_file().as_bytes() == bytes).then_some(keys)
    }
}

impl Identity for Keys {
    fn node(&self) -> NodeId {
        NodeId(self.signing.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Signature {
        self.signing.sign(message).to_bytes()
    }

    fn verify(&self, node: NodeId, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&node.0).is_ok_and(|key| {
            key.verify_strict(message, &DalekSignature::from_bytes(signature)).is_ok()
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("node", &self.node()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_key_survives_a_restart_and_two_directories_have_two_keys() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = Keys::load_or_create(first.path()).unwrap();
        assert_eq!(Keys::load_or_create(first.path()).unwrap().node(), keys.node());
        assert_ne!(Keys::load_or_create(second.path()).unwrap().node(), keys.node());
    }

    #[test]
    fn every_flipped_bit_of_the_key_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        Keys::load_or_create(dir.path()).unwrap();
        let good = fs::read(dir.path().join(KEY_FILE)).unwrap();
        assert!(Keys::from_file(&good).is_some());
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[place] ^= 1 << bit;
                assert!(Keys::from_file(&bad).is_none(), "byte {place}, bit {bit}");
            }
        }
        for length in 0..good.len() {
            assert!(Keys::from_file(&good[..length]).is_none());
        }
        fs::write(dir.path().join(KEY_FILE), &good[1..]).unwrap();
        let error = Keys::load_or_create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("node.key is damaged: put it back from a backup"), "{error}");
    }

    /// RFC 8032, section 7.1, test 2: other programs must agree on what a node's signature is.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let node = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let start = "92a009a9f0d4cab8720e820b5f642540";
        let keys = Keys::from_seed(&NodeId::from_hex(seed).unwrap().0);
        assert_eq!(keys.node().to_string(), node);
        let signature = keys.sign(&[0x72]);
        let printed: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(printed.starts_with(start), "{printed}");
        assert!(keys.verify(keys.node(), &[0x72], &signature));
    }

    #[test]
    fn a_signature_fits_one_message_and_one_node_only() {
        let (keys, other) = (Keys::generate(), Keys::generate());
        let mut signature = keys.sign(b"message");
        assert!(other.verify(keys.node(), b"message", &signature));
        assert!(!other.verify(keys.node(), b"massage", &signature));
        assert!(!other.verify(other.node(), b"message", &signature));
        signature[63] ^= 1;
        assert!(!other.verify(keys.node(), b"message", &signature));
    }

    #[test]
    fn weak_public_keys_sign_nothing() {
        let keys = Keys::generate();
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!keys.verify(NodeId(identity_point), b"any message", &signature));
        assert!(!keys.verify(NodeId([0xff; 32]), b"any message", &signature));
    }

    #[test]
    fn the_secret_is_not_printed() {
        let keys = Keys::generate();
        let printed = format!("{keys:?}");
        assert!(printed.len() < 80 && printed.contains(&keys.node().short()), "{printed}");
    }
}
