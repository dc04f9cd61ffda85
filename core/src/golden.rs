//! Golden bytes: what is said on the wire and kept on disk, written down once and for all.
//!
//! A test names bytes line by line, `hex ; what it is`. If one fails, a layout has changed: other
//! nodes, or data directories that exist, no longer understand this program.

use bytes::Bytes;

/// What a change of the wire asks for.
const WIRE_DUTY: &str = "bump VERSION_MAX in mesh/handshake.rs and change docs/protocol.md";
/// What a change on disk asks for.
pub(crate) const STORED_DUTY: &str =
    "bump FORMAT in node/src/store/directory.rs and change docs/storage.md";

/// Fails unless `bytes` are as `expected` writes them down.
pub(crate) fn assert_wire(what: &str, bytes: &[u8], expected: &str) {
    assert_golden(what, bytes, expected, WIRE_DUTY);
}

/// The same for what is kept on disk.
pub(crate) fn assert_stored(what: &str, bytes: &[u8], expected: &str) {
    assert_golden(what, bytes, expected, STORED_DUTY);
}

fn assert_golden(what: &str, bytes: &[u8], expected: &str, duty: &str) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = expected.lines().map(|line| line.split(';').next().unwrap_or_default());
    let expected: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let at = hex.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count() / 2;
    assert!(
        hex == expected,
        "the layout of {what} has changed, from byte {at} on. Is that meant? Then {duty}, and these \
         bytes, in the same commit. If they are from a version that was released, keep reading them.\n\
         expected {expected}\n   found {hex}"
    );
}

/// A byte string of 32 equal bytes, easy to see in golden bytes.
pub(crate) fn node(n: u8) -> crate::id::NodeId {
    crate::id::NodeId([n; 32])
}

/// What `bytes` are in golden bytes.
pub(crate) fn shared(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}
