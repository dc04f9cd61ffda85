//! The list of servers, in the original's own file: `{"servers":[{"id","ip","port"}]}`.

use std::net::{IpAddr, ToSocketAddrs};

/// All servers, seen from one of them.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    /// Which of them this node is.
    pub(super) id: String,
    /// The port at which the others dial it.
    pub(crate) port: u16,
    /// The others.
    pub(super) others: Vec<Server>,
}

/// One of them.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Server {
    pub(super) id: String,
    /// An address or a host name.
    ip: String,
    port: u16,
    /// The addresses that it is found at.
    #[serde(skip)]
    addresses: Vec<IpAddr>,
}

impl Server {
    /// Whether a connection from `address` may be this server's.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }

    /// Where it is dialled.
    pub(super) fn place(&self) -> (&str, u16) {
        (&self.ip, self.port)
    }
}

impl Servers {
    /// Reads the file's text, and looks host names up.
    pub(crate) fn read(text: &str, id: &str) -> Result<Servers, String> {
        #[derive(serde::Deserialize)]
        struct File {
            servers: Vec<Server>,
        }
        let file: File = serde_json::from_str(text)
            .map_err(|error| format!("the list of servers cannot be read: {error}"))?;
        let (own, mut others): (Vec<_>, Vec<_>) =
            file.servers.into_iter().partition(|server| server.id == id);
        let [own] = &own[..] else {
            let many = if own.is_empty() { "no server" } else { "more than one server" };
            return Err(format!("the list of servers has {many} of the id {id:?}"));
        };
        for server in &mut others {
            let found = (server.ip.as_str(), server.port).to_socket_addrs();
            let found = found.map_err(|error| {
                format!("the server {:?} cannot be found at {:?}: {error}", server.id, server.ip)
            })?;
            server.addresses = found.map(|address| address.ip().to_canonical()).collect();
        }
        Ok(Servers { id: own.id.clone(), port: own.port, others })
    }

    /// Whether one of the other servers is at this address.
    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        self.others.iter().any(|server| server.is_at(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"servers":[{"id":"server-1","ip":"127.0.0.1","port":3001},
        {"id":"server-2","ip":"10.0.0.2","port":3002}]}"#;

    #[test]
    fn the_originals_file_is_read_as_it_is() {
        let servers = Servers::read(FILE, "server-1").unwrap();
        assert_eq!(
            (servers.id.as_str(), servers.port, servers.others.len()),
            ("server-1", 3001, 1)
        );
        assert_eq!(servers.others[0].place(), ("10.0.0.2", 3002));
        assert!(servers.others[0].is_at("::ffff:10.0.0.2".parse().unwrap()));
        assert!(!servers.others[0].is_at("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let twice = FILE.replace("server-2", "server-1");
        for (text, id, said) in [
            ("", "server-1", "cannot be read"),
            ("{}", "server-1", "servers"),
            (FILE, "server-3", "no server"),
            (&twice, "server-1", "more than one"),
            (&FILE.replace("10.0.0.2", "no such host"), "server-1", "cannot be found"),
        ] {
            let error = Servers::read(text, id).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
