//! What a request line says: paths and query parameters, decoded once and by ourselves.
//!
//! Promise: `%2F` is `/` like any other, so a path has one meaning however it is escaped; a bad
//! escape and bytes that are not UTF-8 are refused; nothing is decoded twice.
//! Limits: `PARAMETERS_MAX`; the line itself is bounded with the headers.

use super::error::{Problem, Refusal};
use std::borrow::Cow;

/// Parameters that a query may have.
const PARAMETERS_MAX: usize = 16;

/// Undoes the percent escapes of `text`.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push((high << 4 | low) as u8),
            _ => return Err(Problem::Escape.into()),
        }
    }
    let text = String::from_utf8(out).map_err(|_| Problem::NotUtf8)?;
    Ok(Cow::Owned(text))
}

/// The decoded parameters of a query, each taken by the handler that knows it.
pub(crate) struct Query<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads `name=value&...`; a plus is a space, as browsers write it.
    pub(crate) fn parse(query: Option<&'a str>) -> Result<Query<'a>, Refusal> {
        let mut parameters = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(Problem::Query.because("it has too many parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (form(name)?, form(value)?);
            if parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Problem::Query.because(format!("{name:?} occurs twice")));
            }
            parameters.push((name, value));
        }
        Ok(Query { parameters })
    }

    /// The value of `name`, which is then used up.
    pub(crate) fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let at = self.parameters.iter().position(|(given, _)| given == name)?;
        Some(self.parameters.swap_remove(at).1)
    }

    /// The whole number at `name`.
    pub(crate) fn take_number(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(Problem::Query.because(format!("{name:?} must be a whole number"))),
        }
    }

    /// Refuses what nobody has taken: a misspelt parameter must not be ignored in silence.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        match self.parameters.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::Query.because(format!("{name:?} is not known here"))),
        }
    }
}

fn form(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('+') {
        return decode(text);
    }
    Ok(Cow::Owned(decode(&text.replace('+', " "))?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(decode("a/b").unwrap(), "a/b");
        assert_eq!(decode("a%2Fb%2fc").unwrap(), "a/b/c");
        assert_eq!(decode("%252F").unwrap(), "%2F");
        assert_eq!(decode("%D0%BA%C3%A9 +").unwrap(), "кé +");
        assert_eq!(decode("a%00").unwrap(), "a\0");
    }

    #[test]
    fn bad_escapes_and_bytes_are_refused() {
        for text in ["%", "%2", "a%zz", "%E0%A4%A", "%+1", "%-1", "% 1"] {
            assert_eq!(decode(text).unwrap_err().problem(), Some(Problem::Escape), "{text}");
        }
        for text in ["%ff", "%C0%AF", "%ED%A0%80"] {
            assert_eq!(decode(text).unwrap_err().problem(), Some(Problem::NotUtf8), "{text}");
        }
    }

    #[test]
    fn parameters_are_taken_by_name_and_none_is_ignored() {
        let mut query = Query::parse(Some("prefix=a%2Fb+c&limit=10&&x")).unwrap();
        assert_eq!(query.take("prefix").as_deref(), Some("a/b c"));
        assert_eq!(query.take("prefix"), None);
        assert_eq!(query.take_number("limit").unwrap(), Some(10));
        assert!(query.end().unwrap_err().to_string().contains("\"x\" is not known"));
        assert!(Query::parse(None).unwrap().end().is_ok());
    }

    #[test]
    fn numbers_are_whole_and_parameters_single() {
        for text in [
            "limit=",
            "limit=-1",
            "limit=+1",
            "limit=abc",
            "limit=1.5",
            "limit=99999999999999999999",
        ] {
            assert!(Query::parse(Some(text)).unwrap().take_number("limit").is_err(), "{text}");
        }
        assert!(Query::parse(Some("a=1&%61=2")).is_err());
        assert!(Query::parse(Some(&"a&".repeat(PARAMETERS_MAX + 1))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in any::<String>()) {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&escaped).unwrap(), text);
        }

        #[test]
        fn nothing_makes_it_fall_over(text in "[%0-9a-fA-F/+&=é]{0,24}") {
            let _ = (decode(&text), Query::parse(Some(&text)).map(Query::end));
        }
    }
}
