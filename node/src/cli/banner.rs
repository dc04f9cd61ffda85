//! What `serve` says when it has started: what it is, what to try, how others come in, and what
//! is not exposed.

use super::invite::Addresses;
use crate::config::Config;
use folkmoot::Node;
use folkmoot::network::Network;
use std::fmt;
use std::path::PathBuf;

/// The text before `ready`.
pub(crate) struct Banner {
    node: String,
    network: String,
    dir: PathBuf,
    url: String,
    addresses: Addresses,
    invite: Option<String>,
    open_clients: bool,
}

impl Banner {
    /// The banner of a node that has just started.
    pub(crate) fn new(config: &Config, node: &Node) -> Banner {
        let addresses = Addresses::of(config, &node.addr().to_string());
        let network = Network::load(node.data_dir()).ok().flatten();
        let invite = network.map(|network| network.invite(addresses.list.clone()).to_string());
        Banner {
            node: node.id().to_string(),
            network: node.network().to_string(),
            dir: node.data_dir().to_path_buf(),
            url: node.url(),
            addresses,
            invite,
            open_clients: config.switch("open_clients"),
        }
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        writeln!(f, "Folkmoot {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  node     {}", self.node)?;
        writeln!(f, "  network  {}", self.network)?;
        writeln!(f, "  data     {}", self.dir.display())?;
        writeln!(f, "  url      {url}")?;
        writeln!(f, "\nTry it:")?;
        writeln!(
            f,
            "  curl -X PUT {url}/v1/data/hello -H 'content-type: application/json' -d '\"world\"'"
        )?;
        writeln!(f, "  curl {url}/v1/data/hello")?;
        if let Some(invite) = &self.invite {
            writeln!(f, "\nLet a second machine join (pass the line on like a password):")?;
            writeln!(f, "  folkmoot join {invite}")?;
        }
        writeln!(f, "\nNot exposed:")?;
        if self.addresses.closed {
            let open = self.addresses.how_to_open();
            writeln!(f, "  {}", open.replace('\n', "\n  "))?;
        }
        if self.open_clients {
            writeln!(
                f,
                "  nothing: anyone who reaches this node may read and write (--open-clients)"
            )
        } else {
            writeln!(
                f,
                "  Data is read and written from this machine only; other machines can link, with \
                 the secret,\n  and nothing else. To answer everybody who reaches this node: \
                 --open-clients"
            )
        }
    }
}
