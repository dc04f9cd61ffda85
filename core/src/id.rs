//! The names of things: nodes, links, sessions, requests and paths.

use crate::error::ErrorCode;
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_SEGMENTS_MAX, SEGMENT_BYTES_MAX};
use bytes::Bytes;
use std::fmt;

/// A node: its Ed25519 public key, 32 bytes. Printed as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// The first 16 hex digits, enough for a person to tell nodes apart.
    pub fn short(&self) -> String {
        to_hex(&self.0[..8])
    }

    /// Reads 64 hex digits, either case.
    pub fn from_hex(text: &str) -> Option<NodeId> {
        from_hex(text).map(NodeId)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// A network: derived from its first secret, never changed afterwards, part of every signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 16]);

impl NetworkId {
    /// Reads 32 hex digits, either case.
    pub fn from_hex(text: &str) -> Option<NetworkId> {
        from_hex(text).map(NetworkId)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One database on one disk: 16 random bytes made with the store. Local change numbers
/// mean something only together with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// Reads 32 hex digits, either case.
    pub fn from_hex(text: &str) -> Option<StoreId> {
        from_hex(text).map(StoreId)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0[..4]))
    }
}

/// A link between this node and a neighbor; local, never reused within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A local client; local, never reused within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names a request within its session; chosen by the session, echoed in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// For a request whose reply nobody wants: it gets none.
    pub const UNANSWERED: RequestId = RequestId(u64::MAX >> 1);
}

/// Names a watch within its session; chosen by the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// The place of a value: segments of UTF-8 joined by `/`.
///
/// At most 512 bytes and 32 segments of 1 to 128 bytes; no `.` or `..` segment, no control
/// character. Ordered by bytes, which is how scans order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Bytes);

impl Path {
    /// Checks `text` against the rules above.
    pub fn new(text: impl Into<Bytes>) -> Result<Path, ErrorCode> {
        let text = text.into();
        check_text(&text)?;
        let mut segments = 0;
        for segment in text.split(|byte| *byte == b'/') {
            segments += 1;
            match segment {
                b"" => return Err(ErrorCode::PathSegmentEmpty),
                b"." | b".." => return Err(ErrorCode::PathSegmentDots),
                _ if segment.len() > SEGMENT_BYTES_MAX => return Err(ErrorCode::PathTooLong),
                _ => {}
            }
        }
        if segments > PATH_SEGMENTS_MAX {
            return Err(ErrorCode::PathTooLong);
        }
        Ok(Path(text))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    /// The path as shared bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether `path` is this one or below it.
    ///
    /// ```
    /// # use folkmoot_core::id::Path;
    /// let covers = |path: &'static str| Path::new("a/b").unwrap().covers(&Path::new(path).unwrap());
    /// assert!(covers("a/b") && covers("a/b/c"));
    /// assert!(!covers("a/bc") && !covers("a"));
    /// ```
    pub fn covers(&self, path: &Path) -> bool {
        let rest = path.0.strip_prefix(&self.0[..]);
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The name of a user or of a room: 1 to 128 bytes of UTF-8 without control characters, without
/// white space at either end. Ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

impl Name {
    /// Checks `text` against the rules above.
    pub fn new(text: impl Into<Bytes>) -> Result<Name, ErrorCode> {
        let text = text.into();
        let checked = std::str::from_utf8(&text).map_err(|_| ErrorCode::Name)?;
        let sound = (1..=NAME_BYTES_MAX).contains(&text.len())
            && checked.trim().len() == text.len()
            && !checked.chars().any(char::is_control);
        if sound { Ok(Name(text)) } else { Err(ErrorCode::Name) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    /// The name as shared bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One client program of a user: 64 bits that it chose at random, kept over its reconnections.
/// With a number that grows it names a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What a client must show to go on with a session whose connection broke: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResumeToken(pub [u8; 16]);

impl ResumeToken {
    /// Reads 32 hex digits, either case.
    pub fn from_hex(text: &str) -> Option<ResumeToken> {
        from_hex(text).map(ResumeToken)
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// It admits, so it is not for logs.
impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(..)")
    }
}

/// Length, UTF-8 and control characters: what paths and plain string prefixes share.
pub(crate) fn check_text(text: &[u8]) -> Result<(), ErrorCode> {
    if text.len() > PATH_BYTES_MAX {
        return Err(ErrorCode::PathTooLong);
    }
    let text = std::str::from_utf8(text).map_err(|_| ErrorCode::PathNotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(ErrorCode::PathControl);
    }
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked() {
        let refused = |text: &str| Path::new(text.to_owned()).err();
        assert_eq!(refused("users/1"), None);
        assert_eq!(refused("ключ é/ü"), None);
        assert_eq!(refused(""), Some(ErrorCode::PathSegmentEmpty));
        assert_eq!(refused("/a"), Some(ErrorCode::PathSegmentEmpty));
        assert_eq!(refused("a//b"), Some(ErrorCode::PathSegmentEmpty));
        assert_eq!(refused("a/../b"), Some(ErrorCode::PathSegmentDots));
        assert_eq!(refused("."), Some(ErrorCode::PathSegmentDots));
        assert_eq!(refused("a\0b"), Some(ErrorCode::PathControl));
        assert_eq!(refused("a\u{85}b"), Some(ErrorCode::PathControl));
        assert_eq!(Path::new(vec![0xff]).err(), Some(ErrorCode::PathNotUtf8));
    }

    #[test]
    fn path_limits_hold_to_the_byte() {
        let segment = "s".repeat(SEGMENT_BYTES_MAX);
        assert!(Path::new(segment.clone()).is_ok());
        assert_eq!(Path::new(format!("{segment}s")).err(), Some(ErrorCode::PathTooLong));
        let most = vec!["s"; PATH_SEGMENTS_MAX].join("/");
        assert!(Path::new(most.clone()).is_ok());
        assert_eq!(Path::new(format!("{most}/s")).err(), Some(ErrorCode::PathTooLong));
        let long = [&segment[..], &segment, &segment, &segment[..PATH_BYTES_MAX - 3 * 129]];
        assert!(Path::new(long.join("/")).is_ok());
        assert_eq!(Path::new(long.join("/") + "s").err(), Some(ErrorCode::PathTooLong));
    }

    #[test]
    fn names_are_checked_to_the_byte() {
        let refused = |text: &str| Name::new(text.to_owned()).is_err();
        let most = "n".repeat(NAME_BYTES_MAX);
        for sound in ["a", "Анна", "constructor", "__proto__", "a b", "<b>", &most] {
            assert!(!refused(sound), "{sound:?}");
        }
        for bad in ["", " a", "a ", "a\0", "a\nb", "\u{85}", &(most.clone() + "n")] {
            assert!(refused(bad), "{bad:?}");
        }
        assert!(Name::new(vec![0xff]).is_err());
    }

    #[test]
    fn hex_reads_what_it_prints() {
        let id = NodeId(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(NodeId::from_hex(&id.to_string()), Some(id));
        assert_eq!(NodeId::from_hex("zz"), None);
        assert_eq!(NodeId::from_hex(&"g".repeat(64)), None);
    }
}
