//! Frames of a WebSocket (RFC 6455, section 5): how they begin, and how they are written.
//!
//! Promise: heads are read strictly (no reserved bits, no unknown opcodes, the shortest length,
//! control frames whole and small); what is written is whole frames, gathered in one buffer.

use std::num::NonZeroU32;

/// Bytes of the longest head.
pub(super) const HEAD_BYTES_MAX: usize = 14;
/// Bytes that a control frame may carry.
pub(crate) const CONTROL_BYTES_MAX: usize = 125;
/// The length byte that says that two bytes of length follow.
const LENGTH_16: u8 = 126;
/// The length byte that says that eight bytes of length follow.
const LENGTH_64: u8 = 127;
/// The bit of the last frame of a message.
const LAST: u8 = 0x80;
/// The bit that says that a mask follows.
const MASKED: u8 = 0x80;
/// Bytes of the head that most texts get: the bits, the length byte and two bytes of length.
const USUAL_HEAD_BYTES: usize = 4;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// A text, or its beginning.
    Text = 1,
    /// Bytes, or their beginning.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A question whether the other end is there.
    Ping = 9,
    /// The answer.
    Pong = 10,
}

/// Why what came cannot be understood. It ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// It breaks the rules of the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// Bytes, where only text is spoken.
    #[error("a binary frame: speak text")]
    Binary,
    /// A text that is none.
    #[error("not UTF-8")]
    NotUtf8,
    /// More than the reader takes.
    #[error("too large")]
    TooLarge,
}

impl Broken {
    /// The status code (RFC 6455, section 7.4) with which the connection is closed.
    pub(crate) fn code(self) -> u16 {
        match self {
            Broken::Protocol(_) => 1002,
            Broken::Binary => 1003,
            Broken::NotUtf8 => 1007,
            Broken::TooLarge => 1009,
        }
    }
}

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether the message ends with it.
    pub(super) last: bool,
    pub(super) opcode: Opcode,
    /// With what its bytes are masked.
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of the head.
    pub(super) bytes: usize,
    /// Bytes that follow.
    pub(super) length: u64,
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Began {
    /// The whole head.
    Whole(Head),
    /// So many bytes of the head are still to come, at least.
    Lacks(usize),
}

impl Head {
    /// Reads the head at the beginning of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Began, Broken> {
        let [first, second, rest @ ..] = bytes else { return Ok(Began::Lacks(2 - bytes.len())) };
        if first & 0x70 != 0 {
            return Err(Broken::Protocol("reserved bits are set: no extension was agreed on"));
        }
        let opcode = opcode_of(first & 0x0f)?;
        let last = first & LAST != 0;
        let short = second & !MASKED;
        let long = match short {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        if opcode as u8 & 8 != 0 && (!last || long > 0) {
            return Err(Broken::Protocol("control frames are whole and at most 125 bytes"));
        }
        let masked = second & MASKED != 0;
        let lacks = (long + 4 * usize::from(masked)).saturating_sub(rest.len());
        if lacks > 0 {
            return Ok(Began::Lacks(lacks));
        }
        let (length, rest) = rest.split_at(long);
        let length = match long {
            0 => u64::from(short),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let least = match long {
            2 => u64::from(LENGTH_16),
            8 => 1 << 16,
            _ => 0,
        };
        if length < least || length >> 63 != 0 {
            return Err(Broken::Protocol("the length is not written in its shortest form"));
        }
        let mask = if masked { rest.first_chunk().copied() } else { None };
        let bytes = 2 + long + 4 * usize::from(masked);
        Ok(Began::Whole(Head { last, opcode, mask, bytes, length }))
    }
}

fn opcode_of(bits: u8) -> Result<Opcode, Broken> {
    Ok(match bits {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(Broken::Protocol("an unknown opcode")),
    })
}

/// Masks bytes, or takes the mask off.
pub(super) fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends a text frame without a mask; `write` appends the text.
pub(crate) fn push_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; USUAL_HEAD_BYTES]);
    write(out);
    finish(out, start, USUAL_HEAD_BYTES, LAST | Opcode::Text as u8, 0);
}

/// Writes the head of the frame at `start`, for which `room` bytes were left; its last ones, but
/// for the usual head, are the mask.
fn finish(out: &mut Vec<u8>, start: usize, room: usize, first: u8, masked: u8) {
    let length = out.len() - start - room;
    out[start] = first;
    if length <= CONTROL_BYTES_MAX {
        out[start + 1] = masked | length as u8;
        out.copy_within(start + USUAL_HEAD_BYTES.., start + 2);
        out.truncate(out.len() - (USUAL_HEAD_BYTES - 2));
    } else if let Ok(two) = u16::try_from(length) {
        out[start + 1] = masked | LENGTH_16;
        out[start + 2..start + USUAL_HEAD_BYTES].copy_from_slice(&two.to_be_bytes());
    } else {
        out[start + 1] = masked | LENGTH_64;
        let eight = (length as u64).to_be_bytes();
        out.splice(start + 2..start + USUAL_HEAD_BYTES, eight);
    }
}

/// Appends the head of a text frame without a mask, whose text is written by itself.
pub(crate) fn push_text_head(out: &mut Vec<u8>, length: usize) {
    out.push(LAST | Opcode::Text as u8);
    match (length, u16::try_from(length)) {
        (0..=CONTROL_BYTES_MAX, _) => out.push(length as u8),
        (_, Ok(two)) => {
            out.push(LENGTH_16);
            out.extend_from_slice(&two.to_be_bytes());
        }
        _ => {
            out.push(LENGTH_64);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a control frame without a mask.
pub(crate) fn push_control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    out.extend_from_slice(&[LAST | opcode as u8, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Appends a close frame without a mask.
pub(crate) fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    push_control(out, Opcode::Close, &close_payload(code, reason));
}

/// What a close frame carries.
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

/// Masks for the frames of a client (xorshift32). They only keep proxies from taking a frame for
/// a request; who could choose what is sent cannot see them before.
#[derive(Debug)]
pub(super) struct Masks(NonZeroU32);

impl Masks {
    /// Masks from a random number.
    pub(super) fn new(seed: u32) -> Masks {
        Masks(NonZeroU32::new(seed).unwrap_or(NonZeroU32::MIN))
    }

    fn next(&mut self) -> [u8; 4] {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.0 = NonZeroU32::new(x).unwrap_or(NonZeroU32::MIN);
        x.to_ne_bytes()
    }

    /// Appends a masked frame; `write` appends what it carries.
    pub(super) fn push(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (start, key) = (out.len(), self.next());
        let usual = USUAL_HEAD_BYTES + key.len();
        out.extend_from_slice(&[0; USUAL_HEAD_BYTES]);
        out.extend_from_slice(&key);
        write(out);
        mask(&mut out[start + usual..], key);
        finish(out, start, usual, LAST | opcode as u8, MASKED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(bytes: &[u8]) -> Result<Began, Broken> {
        Head::read(bytes)
    }

    /// The examples of RFC 6455, section 5.7, and their borders.
    #[test]
    fn heads_are_read_as_the_rfc_says() {
        let whole = |last, opcode, mask, bytes, length| {
            Ok(Began::Whole(Head { last, opcode, mask, bytes, length }))
        };
        let key = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(head(&[0x81, 0x05]), whole(true, Opcode::Text, None, 2, 5));
        assert_eq!(
            head(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]),
            whole(true, Opcode::Text, Some(key), 6, 5)
        );
        assert_eq!(head(&[0x01, 0x03]), whole(false, Opcode::Text, None, 2, 3));
        assert_eq!(head(&[0x80, 0x02]), whole(true, Opcode::Continuation, None, 2, 2));
        assert_eq!(head(&[0x82, 0x7e, 1, 0]), whole(true, Opcode::Binary, None, 4, 256));
        assert_eq!(
            head(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
            whole(true, Opcode::Binary, None, 10, 65_536)
        );
        for (bytes, lacks) in [
            (&[][..], 2),
            (&[0x81], 1),
            (&[0x81, 0x85], 4),
            (&[0x81, 0x7e, 1], 1),
            (&[0x81, 0xff, 0], 11),
        ] {
            assert_eq!(head(bytes), Ok(Began::Lacks(lacks)), "{bytes:?}");
        }
    }

    #[test]
    fn heads_that_break_the_rules_are_refused() {
        for bytes in [
            &[0xc1, 0x00][..],
            &[0x91, 0x00],
            &[0x83, 0x00],
            &[0x8b, 0x00],
            &[0x09, 0x00],
            &[0x89, 0x7e],
            &[0x88, 0x7f],
            &[0x81, 0x7e, 0, 125],
            &[0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x81, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(matches!(head(bytes), Err(Broken::Protocol(_))), "{bytes:?}");
        }
    }

    #[test]
    fn texts_get_the_shortest_head_at_every_border() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let mut out = b"before".to_vec();
            push_text(&mut out, |out| out.resize(out.len() + length, b'x'));
            let Ok(Began::Whole(head)) = Head::read(&out[6..]) else { panic!("{length}") };
            assert_eq!((head.opcode, head.last, head.mask), (Opcode::Text, true, None));
            let mut alone = Vec::new();
            push_text_head(&mut alone, length);
            assert_eq!(alone, out[6..6 + head.bytes], "{length}");
            assert_eq!((head.length, out.len()), (length as u64, 6 + head.bytes + length));
            assert!(out[6 + head.bytes..].iter().all(|byte| *byte == b'x'));
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        push_close(&mut out, 4008, &"é".repeat(100));
        assert_eq!(out[..4], [0x88, 124, 0x0f, 0xa8]);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn masked_frames_are_read_back_at_every_border() {
        let mut masks = Masks::new(0);
        for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let mut out = b"before".to_vec();
            masks.push(&mut out, Opcode::Text, |out| out.resize(out.len() + length, b'x'));
            let Ok(Began::Whole(head)) = Head::read(&out[6..]) else { panic!("{length}") };
            assert_eq!((head.length, out.len()), (length as u64, 6 + head.bytes + length));
            let payload = &mut out[6 + head.bytes..];
            mask(payload, head.mask.unwrap());
            assert!(payload.iter().all(|byte| *byte == b'x'));
        }
    }

    proptest! {
        #[test]
        fn a_mask_taken_twice_is_none(bytes: Vec<u8>, key: [u8; 4]) {
            let mut masked = bytes.clone();
            mask(&mut masked, key);
            let slowly = bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]);
            prop_assert!(masked.iter().copied().eq(slowly));
            mask(&mut masked, key);
            prop_assert_eq!(masked, bytes);
        }
    }
}
