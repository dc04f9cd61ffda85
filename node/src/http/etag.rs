//! Versions as clients see them: `"<stamp>-<node>"` in hex, an entity tag of RFC 9110.
//!
//! Also the conditions that clients put on writes with `If-Match` and `If-None-Match`.

use super::error::{Problem, Refusal};
use axum::http::{HeaderMap, HeaderValue, header};
use folkmoot_core::id::NodeId;
use folkmoot_core::replica::Version;
use folkmoot_core::request::Condition;
use folkmoot_core::time::Stamp;

/// Hex digits of a stamp.
const STAMP_DIGITS: usize = 16;

/// `<stamp>-<node>`, without quotes.
pub(crate) fn to_text(version: Version) -> String {
    format!("{:016x}-{}", version.stamp.0, version.node)
}

/// The version as the value of an `ETag` header.
pub(crate) fn to_header(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", to_text(version))).expect("hex digits in quotes")
}

/// Reads `<stamp>-<node>`, without quotes.
pub(crate) fn from_text(text: &str) -> Option<Version> {
    let (stamp, node) = text.split_once('-')?;
    if stamp.len() != STAMP_DIGITS || !stamp.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let stamp = Stamp(u64::from_str_radix(stamp, 16).ok()?);
    Some(Version { stamp, node: NodeId::from_hex(node)? })
}

/// The condition that the headers put on a write.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Refusal> {
    let text = |name| match headers.get(name) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| Refusal::from(Problem::Condition)),
    };
    to_condition(text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?)
}

/// The condition said by the values of `If-Match` and `If-None-Match`.
pub(crate) fn to_condition(
    if_match: Option<&str>,
    if_none_match: Option<&str>,
) -> Result<Condition, Refusal> {
    match (if_match.map(str::trim), if_none_match.map(str::trim)) {
        (None, None) => Ok(Condition::Always),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(tag), None) => unquoted(tag)
            .and_then(from_text)
            .map(Condition::Is)
            .ok_or_else(|| Problem::Condition.into()),
        _ => Err(Problem::Condition.into()),
    }
}

/// Whether a reader that sent `If-None-Match` has this version already.
pub(crate) fn is_known(headers: &HeaderMap, version: Version) -> bool {
    let Some(value) = headers.get(header::IF_NONE_MATCH) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let same = |tag: &str| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || unquoted(tag).and_then(from_text) == Some(version)
    };
    value.split(',').any(same)
}

fn unquoted(tag: &str) -> Option<&str> {
    tag.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        Version { stamp: Stamp(0x0123_4567_89ab_cdef), node: NodeId([0xe1; 32]) }
    }

    #[test]
    fn a_version_reads_back() {
        let text = to_text(version());
        assert_eq!(text, format!("0123456789abcdef-{}", "e1".repeat(32)));
        assert_eq!(from_text(&text), Some(version()));
        for bad in ["", "-", "1-2", &text[1..], &format!("+{}", &text[1..]), &format!("{text}0")] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn conditions_are_read_from_both_headers() {
        let tag = format!("\"{}\"", to_text(version()));
        assert_eq!(to_condition(None, None).unwrap(), Condition::Always);
        assert_eq!(to_condition(Some("*"), None).unwrap(), Condition::Present);
        assert_eq!(to_condition(None, Some("*")).unwrap(), Condition::Absent);
        assert_eq!(to_condition(Some(&tag), None).unwrap(), Condition::Is(version()));
        for (a, b) in [(Some("x"), None), (None, Some(&tag[..])), (Some("*"), Some("*"))] {
            assert!(to_condition(a, b).is_err());
        }
        assert!(to_condition(Some(&to_text(version())), None).is_err(), "quotes are needed");
    }

    #[test]
    fn a_reader_that_has_the_version_is_recognised() {
        let tag = to_text(version());
        for (value, known) in [
            (format!("\"{tag}\""), true),
            (format!("W/\"{tag}\""), true),
            (format!("\"x\", \"{tag}\""), true),
            ("*".to_owned(), true),
            ("\"x\"".to_owned(), false),
        ] {
            let headers = HeaderMap::from_iter([(
                header::IF_NONE_MATCH,
                HeaderValue::from_str(&value).unwrap(),
            )]);
            assert_eq!(is_known(&headers, version()), known, "{value}");
        }
    }
}
