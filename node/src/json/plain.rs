//! Which bytes mean themselves in a JSON string: found many at a time, for most do.

/// The text up to the first character that does not mean itself in a JSON string, and the rest.
pub(crate) fn split_plain(text: &str) -> (&str, &str) {
    text.split_at(plain_bytes(text.as_bytes()))
}

/// How many bytes at the beginning mean themselves in a JSON string. Looked at 32 at a time, in
/// a loop that compilers turn into a few vector instructions, then eight at a time.
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
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
