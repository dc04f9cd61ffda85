//! Why there is no link, in words for both ends.

use super::address::AddressError;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::NetworkId;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why a handshake came to nothing, or a link to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "it belongs to another network ({theirs}, this node to {ours}): join one of them to the \
         other's network with `folkmoot join` and an invite line"
    )]
    Network { ours: NetworkId, theirs: NetworkId },
    #[error("no protocol version in common: upgrade the older node")]
    Version,
    #[error("its network secret is another one: give it a new invite line with `folkmoot join`")]
    Secret,
    #[error("it could not prove its key")]
    Signature,
    #[error("no Folkmoot node answers there, but something that says HTTP {0}")]
    NoNode(u16),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("it sent something else than the link protocol")]
    Malformed,
    #[error("it sent a frame that is forged, repeated or out of order")]
    Forged,
    #[error(
        "it has the key of this node: the address is this node's own, or a data directory was \
         copied; every node needs its own"
    )]
    Itself,
    #[error("it did not complete the handshake in time")]
    Slow,
    #[error("too many handshakes are under way")]
    Busy,
    #[error("this node is shutting down")]
    Closing,
    #[error("the disk of this node is full: it links again when there is room")]
    Full,
    #[error("this node closed it")]
    Ended,
    /// The other side went away.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The other side closed and said why. The text is theirs.
    #[error("the node there answered: {0}")]
    Told(String),
}

impl Refused {
    /// The code and words for the other side; `None` if it cannot hear them any more.
    pub(super) fn farewell(&self) -> Option<(u16, &'static str)> {
        Some(match self {
            Refused::Malformed => (4301, "malformed bytes: is that a Folkmoot node?"),
            Refused::Forged => (4303, "a frame was forged, repeated or out of order"),
            Refused::Signature => (4304, "the proof of the node key does not fit"),
            Refused::Network { .. } => {
                (4305, "another network: use `folkmoot join` with an invite line of this network")
            }
            Refused::Version => (4306, "no protocol version in common: upgrade the older node"),
            Refused::Secret => {
                (4307, "wrong network secret: use `folkmoot join` with a new invite line")
            }
            Refused::Itself => (4308, "you have my node key: was a data directory copied?"),
            Refused::Slow => (4309, "the handshake took too long"),
            Refused::Busy => (4205, "too many handshakes are under way: try again later"),
            Refused::Full => (4207, "the disk here is full: try again later"),
            Refused::Closing => (4208, "the node is shutting down"),
            Refused::NoNode(_)
            | Refused::Address(_)
            | Refused::Ended
            | Refused::Lost(_)
            | Refused::Told(_) => return None,
        })
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        match code {
            ErrorCode::ProtocolVersion => Refused::Version,
            ErrorCode::Signature => Refused::Signature,
            _ => Refused::Malformed,
        }
    }
}

/// The code with which the engine's own reasons are said.
pub(super) const CLOSE_BY_ENGINE: u16 = 4000;
/// Bytes of the reason in a close message (RFC 6455, section 5.5.1).
const REASON_BYTES_MAX: usize = 123;

/// A close message; a reason that is too long is cut.
pub(super) fn close_frame(code: u16, reason: &'static str) -> CloseFrame {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = Utf8Bytes::from_static(&reason[..end]);
    CloseFrame { code: CloseCode::from(code), reason }
}

/// What a close message says, fit for a log: nobody writes lines of their own into it.
pub(super) fn told(frame: Option<CloseFrame>) -> Refused {
    let Some(frame) = frame else {
        return Refused::Lost("closed without a reason".into());
    };
    let is_plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let reason: String = frame.reason.chars().filter(is_plain).collect();
    match reason.as_str() {
        "" => Refused::Lost(format!("closed with code {}", u16::from(frame.code))),
        _ => Refused::Told(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_close_message() {
        let network = Refused::Network { ours: NetworkId([0; 16]), theirs: NetworkId([1; 16]) };
        let all = [
            network,
            Refused::Version,
            Refused::Secret,
            Refused::Signature,
            Refused::Malformed,
            Refused::Forged,
            Refused::Itself,
            Refused::Slow,
            Refused::Busy,
            Refused::Full,
            Refused::Closing,
        ];
        for refused in all {
            let (code, reason) = refused.farewell().unwrap();
            assert!(reason.len() <= REASON_BYTES_MAX, "{reason}");
            assert_eq!(told(Some(close_frame(code, reason))), Refused::Told(reason.into()));
        }
        assert_eq!(close_frame(4000, "ä".repeat(62).leak()).reason.len(), 122);
    }

    #[test]
    fn a_reason_cannot_forge_a_line_of_the_log() {
        let frame =
            CloseFrame { code: CloseCode::from(4000), reason: "a\nERROR\u{1b}[2J\u{202e}b".into() };
        assert_eq!(told(Some(frame)), Refused::Told("aERROR[2Jb".into()));
    }
}
