//! What `serve` says when it has started: what it is, what to try, how others come in, and what
//! is not exposed.

use super::invite::{Reach, own_ip};
use crate::config::Config;
use folkmoot::Node;
use folkmoot::network::Invite;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The text before `ready`.
pub(crate) struct Banner {
    node: String,
    network: String,
    dir: PathBuf,
    url: String,
    reach: Reach,
    /// The invite line, and the one that holds once the node listens for other machines.
    invites: Option<(String, String)>,
    open_clients: bool,
}

impl Banner {
    /// The banner of a node that has just started.
    pub(crate) fn new(config: &Config, node: &Node) -> Banner {
        let reach = Reach::of(node.addresses());
        let here = node.invite();
        let invites = here.parse().ok().map(|invite: Invite| {
            let addresses = match reach {
                Reach::ThisMachine { port } => {
                    vec![format!("http://{}", SocketAddr::new(own_ip(), port))]
                }
                Reach::Others => Vec::new(),
            };
            let elsewhere = Invite { addresses, ..invite }.to_string();
            (here, elsewhere)
        });
        Banner {
            node: node.id().to_string(),
            network: node.network().to_string(),
            dir: node.data_dir().to_path_buf(),
            url: node.url(),
            reach,
            invites,
            open_clients: config.switch("open_clients"),
        }
    }

    fn say_how_to_join(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((here, elsewhere)) = &self.invites else { return Ok(()) };
        let Reach::ThisMachine { port } = self.reach else {
            writeln!(f, "\nLet a second machine join (pass the line on like a password):")?;
            return writeln!(f, "  folkmoot join {here}");
        };
        let other = port.checked_add(1).unwrap_or(0);
        writeln!(f, "\nLet a second node on this machine join:")?;
        writeln!(f, "  folkmoot join {here} --listen 127.0.0.1:{other} --data-dir /tmp/second")?;
        writeln!(f, "\nLet a second machine join (pass the line on like a password):")?;
        writeln!(f, "  folkmoot serve --listen 0.0.0.0:{port}     here, first: see below")?;
        writeln!(f, "  folkmoot join {elsewhere}")
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
        self.say_how_to_join(f)?;
        writeln!(f, "\nNot exposed:")?;
        if let Reach::ThisMachine { port } = self.reach {
            writeln!(
                f,
                "  This node listens on this machine only. To let nodes of other machines in:"
            )?;
            writeln!(f, "  folkmoot serve --listen 0.0.0.0:{port}")?;
        }
        if self.open_clients {
            return writeln!(
                f,
                "  Nothing: whoever reaches this node may read and write (--open-clients)."
            );
        }
        writeln!(
            f,
            "  Data is read and written from this machine only, also then. To answer clients"
        )?;
        writeln!(f, "  on every address, without asking who they are: --open-clients")
    }
}
