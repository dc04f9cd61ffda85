//! Which network this node belongs to, and the secret that admits to it.
//!
//! Promise: the network id is derived from the network's first secret and never changes, so nodes
//! that are given the same secret form one network, in any order; the secret itself can be
//! replaced. A data directory belongs to one network for ever: another secret or an invitation
//! to another network is refused, with what to do. Kept in `network.toml`, readable by its owner
//! only; only the exact text that was written is accepted.
//!
//! Guessing a weak secret costs an attacker one Argon2id (RFC 9106) per guess: the id, which is
//! said in the clear, and the key that the links mix in are derived with it, each with its own
//! salt. Derivation is part of the protocol: see docs/protocol.md.
//! Limits: `SECRET_BYTES_MAX`.

mod invite;

pub use invite::{Invite, InviteError};

use crate::private_file::{self, FileError};
use folkmoot_core::id::NetworkId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The name of the file.
const NETWORK_FILE: &str = "network.toml";
/// What to do about a damaged one.
const REMEDY: &str = "put it back from a backup; or move it away and take a new invite line from \
                      a node of the network with `folkmoot join`";
/// Bytes of a secret.
pub const SECRET_BYTES_MAX: usize = 256;
/// Bytes under which a secret that a person chose is worth a warning.
const SECRET_BYTES_FEW: usize = 16;
/// Characters of a secret that the node makes: 130 bits.
const SECRET_MADE_CHARS: usize = 26;

/// The salt with which the network id is derived.
const ID_SALT: &[u8] = b"folkmoot network id 1";
/// The salt with which the key is derived that the links mix in.
const PSK_SALT: &[u8] = b"folkmoot network psk 1";
/// Memory of one derivation, in KiB.
const ARGON2_MEMORY_KIB: u32 = 32 * 1024;
/// Passes of one derivation.
const ARGON2_PASSES: u32 = 3;
/// Lanes of one derivation.
const ARGON2_LANES: u32 = 1;

/// The network of this node.
pub struct Network {
    /// Its name in every signature; never changes.
    pub id: NetworkId,
    /// What admits to it.
    pub secret: Zeroizing<String>,
    /// What the links mix into their keys: derived from the secret.
    pub psk: Zeroizing<[u8; 32]>,
}

/// Why there is no network to belong to. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A secret that cannot be one.
    #[error("the network secret cannot be used: {0}")]
    Secret(&'static str),
    /// Another secret than the one in the data directory.
    #[error(
        "{path} belongs to network {network}, with another secret than the one given: leave the \
         secret away to start it as it is; give another --data-dir for a node of another network; \
         if the secret of this network was replaced, use `folkmoot join` with a new invite line"
    )]
    OtherSecret {
        /// The data directory.
        path: PathBuf,
        /// The network that it belongs to.
        network: NetworkId,
    },
    /// The secret from which the network was made, which was replaced since.
    #[error(
        "{path} belongs to the network that was made with this secret, but the secret was \
         replaced since: leave it away to start with the new one, and take it out of the \
         configuration"
    )]
    OldSecret {
        /// The data directory.
        path: PathBuf,
    },
    /// An invitation to another network than that of the data directory.
    #[error(
        "{path} belongs to network {ours}, and the invite line is for network {theirs}: give \
         another --data-dir to join it as well"
    )]
    OtherNetwork {
        /// The data directory.
        path: PathBuf,
        /// The network that it belongs to.
        ours: NetworkId,
        /// The network of the invitation.
        theirs: NetworkId,
    },
}

impl Network {
    /// The network in `directory`. If there is none, it is made from `secret`, or from a new one.
    /// If there is one, a `secret` must be the one in use. It takes some tenths of a second.
    pub fn load_or_create(directory: &Path, secret: Option<&str>) -> Result<Network, NetworkError> {
        let given = secret.map(checked_secret).transpose()?;
        let stored = Network::load(directory)?;
        if let Some(given) = given.filter(|given| given.len() < SECRET_BYTES_FEW) {
            tracing::warn!(
                "the network secret is short ({} bytes): whoever guesses it can join; 16 or more \
                 are better, and a node makes a good one if it is given none",
                given.len()
            );
        }
        match (stored, given) {
            (Some(stored), None) => Ok(stored),
            (Some(stored), Some(given)) if is_same(&stored.secret, given) => Ok(stored),
            (Some(stored), Some(given)) if derive_id(given) == stored.id => {
                Err(NetworkError::OldSecret { path: directory.to_owned() })
            }
            (Some(stored), Some(_)) => {
                Err(NetworkError::OtherSecret { path: directory.to_owned(), network: stored.id })
            }
            (None, given) => {
                let secret = given.map_or_else(make_secret, |text| Zeroizing::new(text.to_owned()));
                Network::create(directory, derive_id(&secret), secret)
            }
        }
    }

    /// The network in `directory`, if it belongs to one.
    pub fn load(directory: &Path) -> Result<Option<Network>, NetworkError> {
        let path = directory.join(NETWORK_FILE);
        let Some(bytes) = private_file::read(&path)? else { return Ok(None) };
        match Stored::from_file(&bytes) {
            Some((id, secret)) => Ok(Some(Network::new(id, secret))),
            None => Err(FileError::Damaged { path, remedy: REMEDY }.into()),
        }
    }

    /// Makes `directory` belong to the network of an invitation. If it does so already, the
    /// secret of the invitation takes the place of the stored one.
    pub fn join(directory: &Path, invite: &Invite) -> Result<Network, NetworkError> {
        let secret = checked_secret(&invite.secret)?;
        match Network::load(directory)? {
            Some(stored) if stored.id != invite.network => Err(NetworkError::OtherNetwork {
                path: directory.to_owned(),
                ours: stored.id,
                theirs: invite.network,
            }),
            Some(stored) if is_same(&stored.secret, secret) => Ok(stored),
            _ => Network::create(directory, invite.network, Zeroizing::new(secret.to_owned())),
        }
    }

    /// Replaces the secret by `secret`, or by a new one. The id stays. Links that exist stay too;
    /// nodes with the old secret are not let in any more until they are given the new one.
    pub fn rotate(&self, directory: &Path, secret: Option<&str>) -> Result<Network, NetworkError> {
        let secret = match secret {
            Some(text) => Zeroizing::new(checked_secret(text)?.to_owned()),
            None => make_secret(),
        };
        Network::create(directory, self.id, secret)
    }

    /// What lets another node join, by way of nodes at `addresses`.
    pub fn invite(&self, addresses: Vec<String>) -> Invite {
        Invite { addresses, network: self.id, secret: self.secret.clone() }
    }

    /// The network that a node makes when it is given `secret` at its first start, kept nowhere.
    pub(crate) fn new(id: NetworkId, secret: Zeroizing<String>) -> Network {
        let mut psk = Zeroizing::new([0; 32]);
        derive(&secret, PSK_SALT, &mut *psk);
        Network { id, secret, psk }
    }

    fn create(
        directory: &Path,
        id: NetworkId,
        secret: Zeroizing<String>,
    ) -> Result<Network, NetworkError> {
        private_file::write(
            &directory.join(NETWORK_FILE),
            Stored::to_file(id, &secret).as_bytes(),
        )?;
        Ok(Network::new(id, secret))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The network id that belongs to a first secret.
pub(crate) fn derive_id(secret: &str) -> NetworkId {
    let mut id = [0; 16];
    derive(secret, ID_SALT, &mut id);
    NetworkId(id)
}

fn derive(secret: &str, salt: &[u8], out: &mut [u8]) {
    let params =
        argon2::Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(out.len()));
    let params = params.expect("the constants are within the limits of Argon2");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2
        .hash_password_into(secret.as_bytes(), salt, out)
        .expect("secret and salt are within the limits of Argon2");
}

/// The secret without white space around it, if it can be one.
fn checked_secret(text: &str) -> Result<&str, NetworkError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(NetworkError::Secret("it is empty; give one, or none at all"));
    }
    if text.len() > SECRET_BYTES_MAX {
        return Err(NetworkError::Secret("it is over 256 bytes; take a shorter one"));
    }
    if text.chars().any(char::is_control) {
        return Err(NetworkError::Secret("it has a control character; take printable text"));
    }
    Ok(text)
}

fn make_secret() -> Zeroizing<String> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = Zeroizing::new([0_u8; SECRET_MADE_CHARS]);
    getrandom::fill(&mut *random).expect("the operating system has random numbers");
    Zeroizing::new(random.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect())
}

/// Compares in constant time.
fn is_same(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

/// What the file holds.
#[derive(Deserialize, Serialize)]
struct Stored {
    id: String,
    secret: Zeroizing<String>,
    check: String,
}

impl Stored {
    fn to_file(id: NetworkId, secret: &Zeroizing<String>) -> Zeroizing<String> {
        let mut hasher = blake3::Hasher::new_derive_key("folkmoot network.toml check 1");
        hasher.update(&id.0).update(secret.as_bytes());
        let check = hasher.finalize().to_hex()[..16].to_owned();
        let stored = Stored { id: id.to_string(), secret: secret.clone(), check };
        let text = toml::to_string(&stored).expect("three strings are TOML");
        Zeroizing::new(format!(
            "# The network of this node: who has the secret can join. Keep this file private, \
             and\n# do not edit it: `folkmoot join` replaces the secret.\n{text}"
        ))
    }

    fn from_file(bytes: &[u8]) -> Option<(NetworkId, Zeroizing<String>)> {
        let stored: Stored = toml::from_str(std::str::from_utf8(bytes).ok()?).ok()?;
        let id = NetworkId::from_hex(&stored.id)?;
        checked_secret(&stored.secret).ok()?;
        (Stored::to_file(id, &stored.secret).as_bytes() == bytes).then_some((id, stored.secret))
    }
}

#[cfg(test)]
mod tests;
