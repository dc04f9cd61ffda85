//! Addresses at which a node can be dialled: `http://host:port` or `ws://host:port`.

use folkmoot_core::limits::ADDRESS_BYTES_MAX;
use tokio_tungstenite::tungstenite::http::uri::Authority;

/// Where the links of a node are, below its address.
const LINK_PATH: &str = "/link";

/// An address that can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Name or IP address, without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// What a WebSocket request names.
    pub(crate) url: String,
}

/// Why a text is no address that can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("it is not an address: write http://host:port")]
    Malformed,
    #[error("it is too long: at most 256 bytes")]
    Long,
    #[error("it has no port: write http://host:port, 3655 unless the node was told otherwise")]
    Port,
    #[error(
        "https:// and wss:// cannot be dialled yet: write http://host:port; what is sent on a \
         link is encrypted in any case"
    )]
    Tls,
}

impl Address {
    /// Reads an address as people write it; a path before `/link` is kept, for reverse proxies.
    pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
        let text = text.trim();
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::Long);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Malformed)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => {}
            "https" | "wss" => return Err(AddressError::Tls),
            _ => return Err(AddressError::Malformed),
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if authority.contains('@') || !path.chars().all(is_plain) {
            return Err(AddressError::Malformed);
        }
        let authority: Authority = authority.parse().map_err(|_| AddressError::Malformed)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(AddressError::Malformed);
        }
        if authority.as_str() == authority.host() {
            return Err(AddressError::Port);
        }
        let port = authority.port_u16().filter(|port| *port != 0).ok_or(AddressError::Malformed)?;
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Address { host, port, url: format!("ws://{authority}{slash}{path}{LINK_PATH}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text: &str| {
            let address = Address::parse(text).unwrap();
            (address.host, address.port, address.url)
        };
        let plain = ("example.org".into(), 3655, "ws://example.org:3655/link".into());
        assert_eq!(read("http://example.org:3655"), plain);
        assert_eq!(read(" ws://example.org:3655/\n"), plain);
        assert_eq!(read("HTTP://example.org:3655//"), plain);
        assert_eq!(read("http://[::1]:80"), ("::1".into(), 80, "ws://[::1]:80/link".into()));
        let below = ("10.0.0.1".into(), 80, "ws://10.0.0.1:80/our/mesh/link".into());
        assert_eq!(read("http://10.0.0.1:80/our/mesh/"), below);
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_what_to_write() {
        let refused = |text: &str| Address::parse(text).unwrap_err();
        for text in [
            "",
            "example.org:3655",
            "ftp://a:1",
            "http://:1",
            "http://u@a:1",
            "http://a:x",
            "http://a:0",
        ] {
            assert_eq!(refused(text), AddressError::Malformed, "{text}");
        }
        let long = |bytes: usize| format!("http://{}:1", "a".repeat(bytes - "http://:1".len()));
        assert!(Address::parse(&long(ADDRESS_BYTES_MAX)).is_ok());
        assert_eq!(refused(&long(ADDRESS_BYTES_MAX + 1)), AddressError::Long);
        assert_eq!(refused("http://a:1/b?c=d"), AddressError::Malformed);
        assert_eq!(refused("http://a:1/b\r\nHost: x"), AddressError::Malformed);
        assert_eq!(refused("http://example.org"), AddressError::Port);
        assert_eq!(refused("https://example.org:443"), AddressError::Tls);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
            let _ = (Address::parse(&text), Address::parse(&format!("http://{text}")));
        }
    }
}
