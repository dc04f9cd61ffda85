//! What is found, written as JSON: values pass as they were written, byte for byte.

use super::etag;
use crate::api::Value;
use crate::json::push_string;
use bytes::Bytes;
use folkmoot_core::data::read::{self, Found};
use folkmoot_core::replica::Version;

/// The value as one JSON text. Another node may have sent what is no JSON: it is told as a
/// string, so that one bad value does not spoil the answer it is part of.
pub(crate) fn to_json(value: &read::Value) -> Bytes {
    Value::from_anything(Value::from_found(value).as_bytes()).as_bytes().clone()
}

/// Appends a value.
pub(crate) fn push_value(out: &mut Vec<u8>, value: &read::Value) {
    out.extend_from_slice(&to_json(value));
}

/// Appends `"path":...` without a brace.
pub(crate) fn push_path(out: &mut Vec<u8>, path: &str) {
    out.extend_from_slice(b"\"path\":");
    push_string(out, path);
}

/// Appends `,"version":...,"timestamp":...`.
pub(crate) fn push_version(out: &mut Vec<u8>, version: Version) {
    let (text, ms) = (etag::to_text(version), version.stamp.ms());
    let text = format!(",\"version\":\"{text}\",\"timestamp\":{ms}");
    out.extend_from_slice(text.as_bytes());
}

/// Appends `,"expires":...` if the value ends.
pub(crate) fn push_expires(out: &mut Vec<u8>, expires_ms: Option<u64>) {
    if let Some(end) = expires_ms {
        out.extend_from_slice(format!(",\"expires\":{end}").as_bytes());
    }
}

/// Appends one row of a scan, or what a watch tells of one path.
pub(crate) fn push_found(out: &mut Vec<u8>, found: &Found) {
    out.push(b'{');
    push_found_members(out, found);
    out.push(b'}');
}

/// Appends the members of such a row, without braces.
pub(crate) fn push_found_members(out: &mut Vec<u8>, found: &Found) {
    push_path(out, found.path.as_str());
    out.extend_from_slice(b",\"value\":");
    push_value(out, &found.value);
    push_version(out, found.version);
    push_expires(out, found.expires_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::id::{NodeId, Path};
    use folkmoot_core::time::Stamp;

    #[test]
    fn what_is_no_json_does_not_spoil_the_answer() {
        for (text, told) in
            [("[1.0]", "[1.0]"), ("{", "\"{\""), ("1}, {", "\"1}, {\""), ("", "\"\"")]
        {
            assert_eq!(to_json(&read::Value::Plain(text.into())), told);
        }
        let bytes = Bytes::from_static(b"\xff\"");
        assert_eq!(to_json(&read::Value::Plain(bytes)), "\"\u{fffd}\\\"\"");
    }

    #[test]
    fn a_row_has_the_value_as_it_was_written() {
        let version = Version { stamp: Stamp::from_ms(1_700_000_000_000), node: NodeId([7; 32]) };
        let value = read::Value::Plain("{ \"n\" : 1.00 }".into());
        let path = Path::new("a/é").unwrap();
        let mut out = Vec::new();
        push_found(&mut out, &Found { path, value, version, expires_ms: Some(5) });
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(r#"{"path":"a/é","value":{ "n" : 1.00 },"version":"#), "{text}");
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(row["timestamp"], 1_700_000_000_000u64);
        assert_eq!(row["expires"], 5);
        assert_eq!(row["version"], etag::to_text(version));
    }
}
