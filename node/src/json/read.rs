//! Reading JSON: byte by byte to its end, or to where it goes wrong.
//!
//! Limits: `PAIRWISE_KEYS_MAX`, `PLAIN_DIGITS_MAX`, `SHOWN_KEY_BYTES_MAX`, and the depth asked for.

use super::JsonError;
use super::plain::plain_bytes;
use std::borrow::Cow;

/// Objects with up to this many keys are checked pair by pair, larger ones by sorting.
const PAIRWISE_KEYS_MAX: usize = 8;
/// Digits that a number may have before its size is looked at: no such number is too large.
const PLAIN_DIGITS_MAX: usize = 300;
/// Bytes of an offending key that an error repeats.
const SHOWN_KEY_BYTES_MAX: usize = 64;

/// Reads a text from its beginning to its end, and keeps nothing of it but where it is.
pub(super) struct Checker<'a> {
    text: &'a str,
    pub(super) at: usize,
    depth: usize,
    depth_max: usize,
    /// Keys of the objects that are open, the innermost last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(text: &'a str, depth_max: usize) -> Checker<'a> {
        Checker { text, at: 0, depth: 0, depth_max, keys: Vec::new() }
    }

    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.nested(Checker::object),
            Some(b'[') => self.nested(Checker::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.expected("a value")),
        }
    }

    /// The depth limit is what bounds the recursion.
    fn nested(&mut self, read: fn(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if self.depth == self.depth_max {
            return Err(JsonError::TooDeep(self.depth_max));
        }
        self.depth += 1;
        self.at += 1;
        self.space();
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), JsonError> {
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value()?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            self.comma("',' or ']'")?;
        }
    }

    fn object(&mut self) -> Result<(), JsonError> {
        if self.take(b'}') {
            return Ok(());
        }
        let first = self.keys.len();
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let key = self.string()?;
            self.keys.push(key);
            self.space();
            if !self.take(b':') {
                return Err(self.expected("':'"));
            }
            self.space();
            self.value()?;
            self.space();
            if self.take(b'}') {
                break;
            }
            self.comma("',' or '}'")?;
        }
        if let Some(key) = repeated(&mut self.keys[first..]) {
            return Err(JsonError::Repeats(key));
        }
        self.keys.truncate(first);
        Ok(())
    }

    pub(super) fn comma(&mut self, expected: &'static str) -> Result<(), JsonError> {
        if !self.take(b',') {
            return Err(self.expected(expected));
        }
        self.space();
        Ok(())
    }

    /// Reads a string; what it says is copied only if it has escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let mut plain = self.at;
        let mut said: Option<String> = None;
        let bytes = self.text.as_bytes();
        loop {
            self.at += plain_bytes(&bytes[self.at..]);
            let piece = &self.text[plain..self.at];
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match said {
                        None => Cow::Borrowed(piece),
                        Some(said) => Cow::Owned(said + piece),
                    });
                }
                Some(b'\\') => {
                    let said = said.get_or_insert_default();
                    said.push_str(piece);
                    said.push(self.escape()?);
                    plain = self.at;
                }
                Some(_) => return Err(self.expected("an escape for the control character")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let byte = self.peek();
        self.at += 1;
        Ok(match byte {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => {
                self.at -= 1;
                return Err(self.expected("a known escape"));
            }
        })
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let half = JsonError::Syntax { expected: "both halves of a surrogate pair", at: start };
        let high = self.four_digits()?;
        if let Some(char) = char::from_u32(high) {
            return Ok(char);
        }
        if high >= 0xdc00 || !(self.take(b'\\') && self.take(b'u')) {
            return Err(half);
        }
        let low = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(half);
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(half)
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            number = number << 4 | digit.ok_or_else(|| self.expected("four hex digits"))?;
            self.at += 1;
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return Err(self.expected("a digit"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.expected("a digit"));
        }
        let mut exponent = false;
        if self.take(b'e') || self.take(b'E') {
            exponent = true;
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        let text = &self.text[start..self.at];
        let plain = !exponent && text.len() <= PLAIN_DIGITS_MAX;
        if !plain && !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(JsonError::NumberTooLarge(start));
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    pub(super) fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { expected, at: self.at }
    }
}

/// A key that occurs twice, cut to what an error shows.
pub(super) fn repeated(keys: &mut [Cow<'_, str>]) -> Option<String> {
    let found = if keys.len() <= PAIRWISE_KEYS_MAX {
        let twice = |(at, key): &(usize, &Cow<'_, str>)| keys[..*at].contains(key);
        keys.iter().enumerate().find(twice).map(|(_, key)| key)
    } else {
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &pair[0])
    }?;
    let mut end = found.len().min(SHOWN_KEY_BYTES_MAX);
    while !found.is_char_boundary(end) {
        end -= 1;
    }
    Some(found[..end].to_owned())
}
