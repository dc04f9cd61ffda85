//! What a JSON text must be to be stored: RFC 8259, and no two readers may read it differently.
//!
//! Promise: a text that passes is UTF-8, one value, at most as deep as asked, without an object
//! that names a key twice (compared after escapes), without half surrogates, and without numbers
//! that no reader can hold. It is kept as written; nothing here builds a tree. Texts are read in
//! [`read`], written in [`write`].
//! Limits: [`DEPTH_MAX`]; sizes are the caller's. See RFC 7493 (I-JSON) for the reasons.

mod plain;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use plain::split_plain;
pub(crate) use write::{push_number, push_string};

use read::{Checker, repeated};
use std::borrow::Cow;

/// Arrays and objects inside each other.
pub(crate) const DEPTH_MAX: usize = 32;

/// Why a text is not acceptable JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Not JSON at all, at this byte.
    #[error("not JSON: {expected} at byte {at}")]
    Syntax {
        /// What should have been there.
        expected: &'static str,
        /// Where, in bytes from the start.
        at: usize,
    },
    /// Not UTF-8 from this byte on.
    #[error("not UTF-8 at byte {0}: JSON must be UTF-8")]
    NotUtf8(usize),
    /// Arrays and objects too deep inside each other.
    #[error("too deep: at most {0} arrays and objects inside each other")]
    TooDeep(usize),
    /// An object that names a key twice.
    #[error("the key {0:?} occurs twice in one object: readers would differ on its value")]
    Repeats(String),
    /// A number that is not finite in 64 bits.
    #[error("the number at byte {0} is too large for any reader")]
    NumberTooLarge(usize),
}

/// Checks `text` and returns it without the white space around the value.
pub(crate) fn check(text: &[u8], depth_max: usize) -> Result<&str, JsonError> {
    let text =
        std::str::from_utf8(text).map_err(|error| JsonError::NotUtf8(error.valid_up_to()))?;
    let mut checker = Checker::new(text, depth_max);
    checker.space();
    let start = checker.at;
    checker.value()?;
    let end = checker.at;
    checker.space();
    if checker.at < text.len() {
        return Err(checker.expected("nothing more"));
    }
    Ok(&text[start..end])
}

/// Tells `on` the members of `text`, which must be one object: each key, and its value as it is
/// written, at most [`DEPTH_MAX`] deep. Checks everything that [`check`] does, but for keys that
/// occur twice in the object itself: `on` refuses a key that it has had, and answers whether a
/// key is unknown to it; those are compared here.
pub(crate) fn members<'a>(
    text: &'a str,
    on: &mut impl FnMut(&str, &'a str) -> Result<Member, JsonError>,
) -> Result<(), JsonError> {
    let mut checker = Checker::new(text, DEPTH_MAX);
    let mut unknown = Vec::new();
    checker.space();
    if !checker.take(b'{') {
        return Err(checker.expected("an object"));
    }
    checker.space();
    let mut more = !checker.take(b'}');
    while more {
        if checker.peek() != Some(b'"') {
            return Err(checker.expected("a key in quotes"));
        }
        let key = checker.string()?;
        checker.space();
        if !checker.take(b':') {
            return Err(checker.expected("':'"));
        }
        checker.space();
        let start = checker.at;
        checker.value()?;
        if on(&key, &text[start..checker.at])? == Member::Unknown {
            unknown.push(key);
        }
        checker.space();
        more = !checker.take(b'}');
        if more {
            checker.comma("',' or '}'")?;
        }
    }
    checker.space();
    if checker.at < text.len() {
        return Err(checker.expected("nothing more"));
    }
    match repeated(&mut unknown) {
        Some(key) => Err(JsonError::Repeats(key)),
        None => Ok(()),
    }
}

/// Whether a reader of [`members`] knows a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    /// It does, and has not had it before.
    Known,
    /// It does not.
    Unknown,
}

/// The value with which `text` begins, where nothing but `end` follows it.
pub(crate) fn value_before<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let mut checker = Checker::new(text, DEPTH_MAX);
    checker.value().ok()?;
    let (value, rest) = text.split_at(checker.at);
    (rest == end).then_some(value)
}

/// What a JSON string says; `raw` has been checked. `None` if it is no string.
pub(crate) fn string_of(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut checker = Checker::new(raw, 0);
    checker.string().ok()
}
