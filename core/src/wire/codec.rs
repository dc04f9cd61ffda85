//! Reading and writing of the few shapes that all messages are made of.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes that do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed bytes")]
pub struct Malformed;

/// A decoded shape or the word that there is none.
pub type Decoded<T> = Result<T, Malformed>;

/// Reads from the front of shared bytes; slices share the buffer.
#[derive(Clone, Debug)]
pub struct Reader(Bytes);

impl Reader {
    /// Reads `bytes` from the front.
    pub fn new(bytes: Bytes) -> Reader {
        Reader(bytes)
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self) -> Decoded<u8> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    /// Four bytes, big endian.
    pub fn u32(&mut self) -> Decoded<u32> {
        self.0.try_get_u32().map_err(|_| Malformed)
    }

    /// Eight bytes, big endian.
    pub fn u64(&mut self) -> Decoded<u64> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    /// A number in 1 to 10 bytes, seven bits each, the least significant first (LEB128).
    pub fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A count of things that take at least `each` bytes and are at most `max`.
    pub fn count(&mut self, max: usize, each: usize) -> Decoded<usize> {
        let count = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        if count > max || count.saturating_mul(each) > self.remaining() {
            return Err(Malformed);
        }
        Ok(count)
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let mut out = [0; N];
        self.0.try_copy_to_slice(&mut out).map_err(|_| Malformed)?;
        Ok(out)
    }

    /// Exactly `length` bytes, shared.
    pub fn take(&mut self, length: usize) -> Decoded<Bytes> {
        if length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    /// A length, then that many bytes, at most `max`.
    pub fn bytes(&mut self, max: usize) -> Decoded<Bytes> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        if length > max {
            return Err(Malformed);
        }
        self.take(length)
    }

    /// A length, then that many bytes of UTF-8, at most `max`.
    pub fn text(&mut self, max: usize) -> Decoded<String> {
        let bytes = self.bytes(max)?;
        String::from_utf8(bytes.into()).map_err(|_| Malformed)
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.0
    }
}

/// Appends a number as [`Reader::varint`] reads it.
pub fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// How many bytes [`put_varint`] takes for a length.
pub(crate) fn varint_bytes(value: usize) -> usize {
    (value.max(1).ilog2() / 7 + 1) as usize
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back(value: u64) {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_bytes(value as usize));
            let mut reader = Reader::new(out.freeze());
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(bytes.into());
            while reader.text(8).is_ok() && reader.count(5, 3).is_ok() && reader.u64().is_ok() {}
        }
    }

    #[test]
    fn overlong_numbers_and_counts_beyond_the_bytes_are_malformed() {
        assert_eq!(Reader::new(vec![0xff; 10].into()).varint(), Err(Malformed));
        assert_eq!(Reader::new(vec![0x80; 20].into()).varint(), Err(Malformed));
        assert_eq!(Reader::new(vec![9, 0, 0].into()).count(100, 1), Err(Malformed));
        assert_eq!(Reader::new(vec![3, 0, 0, 0].into()).count(2, 1), Err(Malformed));
        assert_eq!(Reader::new(vec![3, 0, 0, 0].into()).count(3, 1), Ok(3));
    }
}
