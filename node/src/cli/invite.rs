//! `invite`: the line with which another machine joins.

use super::InviteSettings;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::out::Out;
use crate::config::Config;
use clap::Args;
use folkmoot::network::Network;
use serde_json::json;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Arguments of `invite`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot invite
  folkmoot invite --address http://my.example.org:3655

It reads the secret from the data directory, so it must be run as the node's user. Whoever has the
line can join: pass it on like a password.")]
pub(crate) struct InviteArgs {
    #[command(flatten)]
    pub(crate) settings: InviteSettings,
}

/// Runs `invite`.
pub(crate) fn run(config: &Config, out: Out) -> Result<(), Failure> {
    let dir = config.data_dir()?;
    let network = Network::load(&dir).map_err(|error| Failure::new(Exit::Config, error))?;
    let network = network.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{} belongs to no network yet", dir.display()))
            .why("no node has been started there")
            .hint("start one with `folkmoot serve`, or name its directory with --data-dir")
    })?;
    let listen = config.text("listen").expect("the address has a default");
    let listen = running_address(config, &network).unwrap_or_else(|| listen.to_string());
    let addresses = Addresses::of(config, &listen);
    let line = network.invite(addresses.list.clone()).to_string();
    if out.json {
        return out.line(json!({ "invite": line, "addresses": addresses.list,
            "reachable": !addresses.closed }));
    }
    out.line(format_args!("folkmoot join {line}"))?;
    if addresses.closed {
        eprintln!("{}", addresses.how_to_open());
    }
    Ok(())
}

/// The address of the node that runs on this directory, if one answers at the configured URL.
fn running_address(config: &Config, network: &Network) -> Option<String> {
    let status = Client::new(config).json(ureq::http::Method::GET, "/v1/status", &[]).ok()?;
    let same = status["network"].as_str() == Some(&network.id.to_string());
    same.then(|| status["listen"].as_str().map(str::to_string))?
}

/// Where others can dial a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// What to write into an invite.
    pub(crate) list: Vec<String>,
    /// Whether the node listens on loopback only, so that no other machine can dial it.
    pub(crate) closed: bool,
    port: u16,
}

impl Addresses {
    /// The configured addresses; without any, this machine's own as far as it can be known.
    pub(crate) fn of(config: &Config, listen: &str) -> Addresses {
        let port = listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(3655);
        let configured = config.list("addresses");
        if !configured.is_empty() {
            return Addresses { list: configured.to_vec(), closed: false, port };
        }
        let ip = listen.parse::<SocketAddr>().map(|address| address.ip()).ok();
        let closed = ip.map_or(listen.starts_with("localhost:"), |ip| ip.is_loopback());
        let list = match ip {
            Some(ip) if !ip.is_unspecified() && !closed => vec![url(ip, port)],
            None if !closed => vec![format!("http://{listen}")],
            _ => {
                vec![own_ip().map_or_else(|| url([127, 0, 0, 1].into(), port), |ip| url(ip, port))]
            }
        };
        Addresses { list, closed, port }
    }

    /// What to do so that others can dial.
    pub(crate) fn how_to_open(&self) -> String {
        format!(
            "This node listens on this machine only, so the line works elsewhere once it is \
             started with\n  folkmoot serve --listen 0.0.0.0:{}",
            self.port
        )
    }
}

fn url(ip: IpAddr, port: u16) -> String {
    format!("http://{}", SocketAddr::new(ip, port))
}

/// The address from which this machine would talk to others. Nothing is sent to find out.
fn own_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}
