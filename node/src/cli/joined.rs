//! What a data directory remembers of the invite with which it joined: whom to dial.
//!
//! The network and its secret are kept by [`Network`]; this file holds addresses only.

use super::failure::{Exit, Failure};
use folkmoot::network::{Invite, Network};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const FILE: &str = "joined.toml";

#[derive(Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Joined {
    peers: Vec<String>,
}

/// Makes the directory belong to the network of an invite and remembers its addresses.
pub(crate) fn join(dir: &Path, invite: &Invite) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::InUse, format!("cannot use {}", dir.display()))
            .why(error)
            .hint("choose another directory with --data-dir")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(cannot)?;
    Network::join(dir, invite).map_err(|error| Failure::new(Exit::Config, error))?;
    let mut peers = peers(dir)?;
    // The newest invite knows best where the others are now.
    peers.retain(|peer| !invite.addresses.contains(peer));
    peers.splice(0..0, invite.addresses.iter().cloned());
    peers.truncate(folkmoot_core::limits::PEERS_MAX / 2);
    let text = toml::to_string(&Joined { peers }).expect("a list of texts is TOML");
    let text = format!("# Addresses from the invites with which this node joined.\n{text}");
    let part = dir.join("joined.toml.part");
    std::fs::write(&part, text).map_err(cannot)?;
    std::fs::rename(&part, dir.join(FILE)).map_err(cannot)
}

/// The addresses from earlier invites.
pub(crate) fn peers(dir: &Path) -> Result<Vec<String>, Failure> {
    let path = dir.join(FILE);
    let wrong = |why: String| {
        Failure::new(Exit::Config, format!("{} cannot be read", path.display()))
            .why(why)
            .hint("delete it and join again with a new invite line")
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let joined: Joined = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            Ok(joined.peers)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        // A directory that cannot be read is the node's to complain of.
        Err(_) if !dir.is_dir() => Ok(Vec::new()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_invite_comes_first_and_none_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut network = Network::load_or_create(dir.path(), None).unwrap().invite(Vec::new());
        for addresses in [["http://a:1", "http://b:1"], ["http://c:1", "http://a:1"]] {
            network.addresses = addresses.map(str::to_string).to_vec();
            join(dir.path(), &network).unwrap();
        }
        assert_eq!(peers(dir.path()).unwrap(), ["http://c:1", "http://a:1", "http://b:1"]);
    }
}
