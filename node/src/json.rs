//! What a JSON text must be to be stored: RFC 8259, and no two readers may read it differently.
//!
//! Promise: a text that passes is UTF-8, one value, at most as deep as asked, without an object
//! that names a key twice (compared after escapes), without half surrogates, and without numbers
//! that no reader can hold. It is kept as written; nothing here builds a tree.
//! Limits: [`DEPTH_MAX`]; sizes are the caller's. See RFC 7493 (I-JSON) for the reasons.

use std::borrow::Cow;

/// Arrays and objects inside each other.
pub(crate) const DEPTH_MAX: usize = 32;
/// Objects with up to this many keys are checked pair by pair, larger ones by sorting.
const PAIRWISE_KEYS_MAX: usize = 8;
/// Digits that a number may have before its size is looked at: no such number is too large.
const PLAIN_DIGITS_MAX: usize = 300;
/// Bytes of an offending key that an error repeats.
const SHOWN_KEY_BYTES_MAX: usize = 64;

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
    let mut checker = Checker { text, at: 0, depth: 0, depth_max, keys: Vec::new() };
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
    let mut checker = Checker { text, at: 0, depth: 0, depth_max: DEPTH_MAX, keys: Vec::new() };
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
    let mut checker = Checker { text, at: 0, depth: 0, depth_max: DEPTH_MAX, keys: Vec::new() };
    checker.value().ok()?;
    let (value, rest) = text.split_at(checker.at);
    (rest == end).then_some(value)
}

/// The text up to the first character that does not mean itself in a JSON string, and the rest.
pub(crate) fn split_plain(text: &str) -> (&str, &str) {
    text.split_at(plain_bytes(text.as_bytes()))
}

/// What a JSON string says; `raw` has been checked. `None` if it is no string.
pub(crate) fn string_of(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut checker = Checker { text: raw, at: 0, depth: 0, depth_max: 0, keys: Vec::new() };
    checker.string().ok()
}

/// Appends a number.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    loop {
        let at = plain + plain_bytes(&bytes[plain..]);
        out.extend_from_slice(&bytes[plain..at]);
        let Some(byte) = bytes.get(at) else { break };
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.push(b'"');
}

/// How many bytes at the beginning mean themselves in a JSON string. Looked at 32 at a time, in
/// a loop that compilers turn into a few vector instructions, then eight at a time.
fn plain_bytes(bytes: &[u8]) -> usize {
    let marks = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let any = |chunk: &[u8; 32]| chunk.iter().fold(false, |any, byte| any | marks(*byte));
    let (chunks, _) = bytes.as_chunks::<32>();
    let plain = 32 * chunks.iter().position(any).unwrap_or(chunks.len());
    plain + plain_eights(&bytes[plain..])
}

fn plain_eights(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    // The lowest byte that is marked is below `limit`; higher ones may be marked in error.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & TOPS;
    let is = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (eights, rest) = bytes.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let marked = below(word, 0x20) | is(word, b'"') | is(word, b'\\');
        if marked != 0 {
            return at * 8 + marked.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    let in_rest = rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + in_rest
}

struct Checker<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
    /// Keys of the objects that are open, the innermost last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Checker<'a> {
    fn value(&mut self) -> Result<(), JsonError> {
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

    fn comma(&mut self, expected: &'static str) -> Result<(), JsonError> {
        if !self.take(b',') {
            return Err(self.expected(expected));
        }
        self.space();
        Ok(())
    }

    /// Reads a string; what it says is copied only if it has escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
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

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { expected, at: self.at }
    }
}

/// A key that occurs twice, cut to what an error shows.
fn repeated(keys: &mut [Cow<'_, str>]) -> Option<String> {
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

#[cfg(test)]
mod tests;
