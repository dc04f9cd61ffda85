//! `invite`: the line with which another machine joins.

use super::InviteSettings;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::out::Out;
use crate::config::Config;
use clap::Args;
use folkmoot::network::Network;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use ureq::http::Method;

/// Arguments of `invite`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot invite
  folkmoot invite --address http://my.example.org:3655
  folkmoot invite --new-secret       for a network that somebody must not come back to

It reads the secret from the data directory, so it must be run as the node's user. Whoever has the
line can join: pass it on like a password.")]
pub(crate) struct InviteArgs {
    #[command(flatten)]
    pub(crate) settings: InviteSettings,
    /// Make a new secret first: who does not get the new line is not let in any more
    #[arg(long)]
    new_secret: bool,
}

/// Runs `invite`.
pub(crate) fn run(config: &Config, args: &InviteArgs, out: Out) -> Result<(), Failure> {
    let dir = config.data_dir()?;
    let network = Network::load(&dir).map_err(|error| Failure::new(Exit::Config, error))?;
    let mut network = network.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{} belongs to no network yet", dir.display()))
            .why("no node has been started there")
            .hint("start one with `folkmoot serve`, or name its directory with --data-dir")
    })?;
    let addresses = match config.list("addresses") {
        [] => running(config, &network).unwrap_or_else(|| {
            let listen = config.text("listen").expect("the address has a default");
            vec![format!("http://{}", listen.replacen("0.0.0.0", &own_ip().to_string(), 1))]
        }),
        given => given.to_vec(),
    };
    if args.new_secret {
        let rotated = network.rotate(&dir, None);
        network = rotated.map_err(|error| Failure::new(Exit::Config, error))?;
        eprintln!(
            "note: this is a new secret. Restart the node here, without --secret; on every other node \
             that is to stay,\nstop it and run `folkmoot join` with this line once. Until then the \
             old links stay, and no new ones are made."
        );
    }
    let reach = Reach::of(&addresses);
    let line = network.invite(addresses.clone()).to_string();
    if out.json {
        let open = matches!(reach, Reach::Others);
        return out.line(json!({ "invite": line, "addresses": addresses, "reachable": open }));
    }
    out.line(format_args!("folkmoot join {line}"))?;
    if let Reach::ThisMachine { port } = reach {
        eprintln!(
            "note: the node listens on this machine only, and so the line works on it only. To let \
             other\nmachines in: folkmoot serve --listen 0.0.0.0:{port}, and then folkmoot invite"
        );
    }
    Ok(())
}

/// Where the node says that it can be dialled, if it runs and answers at the configured URL.
fn running(config: &Config, network: &Network) -> Option<Vec<String>> {
    let client = Client::new(config);
    let status = client.json(Method::GET, "/v1/status", &[]).ok()?;
    if status["network"].as_str() != Some(&network.id.to_string()) {
        return None;
    }
    let mesh = client.json(Method::GET, "/v1/mesh", &[]).ok()?;
    let own = mesh["nodes"].as_array()?.iter().find(|node| node["self"] == true)?;
    let addresses = own["addresses"].as_array()?.iter();
    let addresses: Vec<String> =
        addresses.filter_map(|address| address.as_str().map(str::to_string)).collect();
    (!addresses.is_empty()).then_some(addresses)
}

/// Who can dial a node at its addresses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Other machines too, as far as the addresses tell.
    Others,
    /// Nodes on the same machine only.
    ThisMachine {
        /// The port on which it listens.
        port: u16,
    },
}

impl Reach {
    /// Judges by the addresses.
    pub(crate) fn of(addresses: &[String]) -> Reach {
        let here = |address: &String| {
            let (_, rest) = address.split_once("://")?;
            let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
            let host = host.trim_matches(['[', ']']);
            let loopback =
                host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
            loopback.then(|| port.parse().ok())?
        };
        let ports: Option<Vec<u16>> = addresses.iter().map(here).collect();
        match ports.as_deref() {
            Some([port, ..]) => Reach::ThisMachine { port: *port },
            _ => Reach::Others,
        }
    }
}

/// The address from which this machine would talk to others; nothing is sent to find out.
pub(crate) fn own_ip() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
        // An address for documentation (RFC 5737): it only selects the route.
        socket.connect(("192.0.2.1", 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ask().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_for_this_machine_only() {
        let of = |text: &str| Reach::of(&[text.to_string()]);
        for here in ["http://127.0.0.1:36", "http://[::1]:36", "http://localhost:36/"] {
            assert_eq!(of(here), Reach::ThisMachine { port: 36 }, "{here}");
        }
        for away in ["http://192.0.2.7:36", "http://my.example.org:36", "https://example.org"] {
            assert_eq!(of(away), Reach::Others, "{away}");
        }
        assert_eq!(Reach::of(&[]), Reach::Others);
    }
}
