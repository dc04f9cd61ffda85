//! The invite line: all that another machine needs to join, in one word for a shell.
//!
//! `folkmoot-invite:1,<network id>,<secret>,<address>,...,<check>`. Other characters than
//! letters, digits, `.`, `-`, `_`, and in addresses `:` and `/`, are written as `%XX`. The check
//! is there because people lose the end of long lines. Limits: `INVITE_BYTES_MAX`,
//! `INVITE_ADDRESSES_MAX`.

use folkmoot_core::id::NetworkId;
use folkmoot_core::limits::ADDRESS_BYTES_MAX;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Bytes of an invite line.
const INVITE_BYTES_MAX: usize = 8 * 1024;
/// Addresses in an invite line.
pub(crate) const INVITE_ADDRESSES_MAX: usize = 8;
const SCHEME: &str = "folkmoot-invite:";
const VERSION: &str = "1";

/// What lets a node join a network. `Display` writes the line, `FromStr` reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Where nodes of the network can be dialled; the first eight are in the line.
    pub addresses: Vec<String>,
    /// The network.
    pub network: NetworkId,
    /// What admits to it.
    pub secret: Zeroizing<String>,
}

/// Why a text is no invite line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// It is something else.
    #[error("this is no invite line: it begins with `folkmoot-invite:`, see `folkmoot invite`")]
    Other,
    /// It was made by a newer program.
    #[error("this invite line was made by a newer version of Folkmoot: upgrade this one")]
    Newer,
    /// It is not as it was made.
    #[error("a part of the invite line is missing or changed: copy it again, whole, in one line")]
    Damaged,
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = Zeroizing::new(format!("{VERSION},{},", self.network));
        escape(&self.secret, "", &mut body);
        for address in self.addresses.iter().take(INVITE_ADDRESSES_MAX) {
            body.push(',');
            escape(address, ":/", &mut body);
        }
        write!(f, "{SCHEME}{},{}", *body, check(&body))
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Invite, InviteError> {
        let text = text.trim();
        let body = text.strip_prefix(SCHEME).ok_or(InviteError::Other)?;
        if body.split(',').next() != Some(VERSION) {
            let version = body.split(',').next().and_then(|version| version.parse::<u32>().ok());
            return Err(version.map_or(InviteError::Damaged, |_| InviteError::Newer));
        }
        Invite::read(body).ok_or(InviteError::Damaged)
    }
}

impl Invite {
    fn read(text: &str) -> Option<Invite> {
        if text.len() > INVITE_BYTES_MAX {
            return None;
        }
        let (body, sum) = text.rsplit_once(',')?;
        if check(body) != sum {
            return None;
        }
        let mut parts = body.split(',').skip(1);
        let network = NetworkId::from_hex(parts.next()?)?;
        let secret = unescape(parts.next()?)?;
        super::checked_secret(&secret).ok()?;
        let mut addresses = Vec::new();
        for part in parts {
            let address = unescape(part)?;
            if addresses.len() == INVITE_ADDRESSES_MAX || address.len() > ADDRESS_BYTES_MAX {
                return None;
            }
            addresses.push(address.to_string());
        }
        Some(Invite { addresses, network, secret })
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Invite");
        debug.field("addresses", &self.addresses).field("network", &self.network);
        debug.finish_non_exhaustive()
    }
}

fn check(body: &str) -> String {
    let key = blake3::derive_key("folkmoot invite check 1", body.as_bytes());
    blake3::Hash::from_bytes(key).to_hex()[..8].to_owned()
}

fn escape(text: &str, also: &str, out: &mut String) {
    for byte in text.bytes() {
        let plain = char::from(byte);
        if byte.is_ascii_alphanumeric() || ".-_".contains(plain) || also.contains(plain) {
            out.push(plain);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn unescape(text: &str) -> Option<Zeroizing<String>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Invite {
        Invite {
            addresses: vec!["http://10.0.0.1:3655".into(), "ws://[::1]:3655".into()],
            network: NetworkId([0xab; 16]),
            secret: Zeroizing::new("it's, 100% secret €".into()),
        }
    }

    #[test]
    fn an_invite_line_is_one_word_for_a_shell_and_reads_back() {
        let line = example().to_string();
        assert_eq!(
            line,
            "folkmoot-invite:1,abababababababababababababababab,\
             it%27s%2C%20100%25%20secret%20%E2%82%AC,http://10.0.0.1:3655,ws://%5B::1%5D:3655,\
             a80b6a2e"
        );
        assert_eq!(format!(" {line}\n").parse(), Ok(example()));
    }

    #[test]
    fn a_line_that_lost_a_part_is_refused() {
        let line = example().to_string();
        for end in SCHEME.len()..line.len() {
            assert_eq!(line[..end].parse::<Invite>(), Err(InviteError::Damaged), "{end}");
        }
        assert_eq!(line.replace("3655", "3656").parse::<Invite>(), Err(InviteError::Damaged));
        assert_eq!("http://10.0.0.1:3655".parse::<Invite>(), Err(InviteError::Other));
        assert_eq!("folkmoot-invite:2,x".parse::<Invite>(), Err(InviteError::Newer));
    }

    #[test]
    fn an_invite_at_its_limits_reads_back_and_one_over_them_is_refused() {
        let invite = |addresses: usize, bytes: usize| Invite {
            // Of characters that take three bytes each in the line.
            addresses: vec!["%".repeat(bytes); addresses],
            secret: Zeroizing::new("%".repeat(crate::network::SECRET_BYTES_MAX)),
            ..example()
        };
        let most = invite(INVITE_ADDRESSES_MAX, ADDRESS_BYTES_MAX);
        assert_eq!(most.to_string().parse(), Ok(most.clone()));
        let more = invite(INVITE_ADDRESSES_MAX + 1, ADDRESS_BYTES_MAX);
        assert_eq!(more.to_string(), most.to_string(), "the first ones are in the line");
        let long = invite(1, ADDRESS_BYTES_MAX + 1).to_string();
        let one_more = |line: &str| {
            let body = &line[SCHEME.len()..line.rfind(',').unwrap()];
            let body = format!("{body},more");
            format!("{SCHEME}{body},{}", check(&body))
        };
        for line in [long, one_more(&most.to_string())] {
            assert_eq!(line.parse::<Invite>(), Err(InviteError::Damaged));
        }
        let line = example().to_string();
        assert!(one_more(&line).parse::<Invite>().is_ok(), "but for the limit it reads back");
        let padding = "0".repeat(INVITE_BYTES_MAX);
        let body = format!("{VERSION},{padding}");
        let over = format!("{SCHEME}{body},{}", check(&body));
        assert_eq!(over.parse::<Invite>(), Err(InviteError::Damaged));
    }

    #[test]
    fn the_secret_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", example()).contains("secret €"));
    }

    proptest! {
        #[test]
        fn any_secret_and_address_reads_back(
            secret in "[^\\pC\\s]{1,60}", addresses in prop::collection::vec("\\PC{1,60}", 0..8)
        ) {
            let invite =
                Invite { addresses, network: NetworkId([7; 16]), secret: Zeroizing::new(secret) };
            prop_assert_eq!(invite.to_string().parse(), Ok(invite));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let body = format!("1,{text}");
            let line = format!("{SCHEME}{body},{}", check(&body));
            let _ = (text.parse::<Invite>(), line.parse::<Invite>());
        }
    }
}
