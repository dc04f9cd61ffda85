//! Messages out of pieces.

use super::super::frame::{Masks, push_text};
use super::*;
use proptest::prelude::*;

/// What a reader tells, in words.
fn told(received: Received<'_>) -> String {
    match received {
        Received::Text(text) => format!("text {text}"),
        Received::Ping(bytes) => format!("ping {bytes:?}"),
        Received::Pong => "pong".into(),
        Received::Close(code) => format!("close {code:?}"),
    }
}

/// Feeds pieces until one is refused.
fn read<'a>(from: Sender, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<Broken>) {
    let (mut reader, mut all) = (Reader::new(from), Vec::new());
    for piece in pieces {
        let fed = reader.feed(&mut piece.to_vec(), &mut |received| {
            all.push(told(received));
            ControlFlow::Continue(())
        });
        if let Err(broken) = fed {
            return (all, Some(broken));
        }
    }
    (all, None)
}

fn whole(from: Sender, bytes: &[u8]) -> (Vec<String>, Option<Broken>) {
    read(from, [bytes].into_iter())
}

/// A masked frame with these first bits.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Masks::new(7).push(&mut out, Opcode::Text, |out| out.extend_from_slice(payload));
    out[0] = first;
    out
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = "text Hello".to_owned();
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(whole(Sender::Server, &unmasked), (vec![hello.clone()], None));
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(whole(Sender::Client, &masked), (vec![hello.clone()], None));
    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(whole(Sender::Server, &fragments), (vec![hello], None));
}

#[test]
fn control_frames_may_come_between_fragments() {
    let mut bytes = masked(0x01, "ä".as_bytes().split_at(1).0);
    bytes.extend(masked(0x89, b"hi"));
    bytes.extend(masked(0x00, b""));
    bytes.extend(masked(0x80, "ä".as_bytes().split_at(1).1));
    bytes.extend(masked(0x8a, b""));
    bytes.extend(masked(0x88, &[0x03, 0xe8]));
    let expected = ["ping [104, 105]", "text ä", "pong", "close Some((1000, \"\"))"];
    assert_eq!(whole(Sender::Client, &bytes), (expected.map(String::from).to_vec(), None));
}

#[test]
fn what_breaks_the_rules_is_refused_with_its_code() {
    let large = |length: u64| {
        let mut head = vec![0x81, 0xff];
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        head
    };
    let two = |first: &[u8], second: &[u8]| [first, second].concat();
    let half = vec![b'x'; TEXT_BYTES_MAX];
    for (bytes, code) in [
        (vec![0x81, 0x00], 1002),
        (masked(0x82, b"x"), 1003),
        (masked(0x02, b"x"), 1003),
        (masked(0x81, b"\xff"), 1007),
        (two(&masked(0x01, b"\xc3"), &masked(0x80, b"x")), 1007),
        (masked(0x80, b"x"), 1002),
        (two(&masked(0x01, b"x"), &masked(0x81, b"x")), 1002),
        (large(10 << 20), 1009),
        (large(u64::MAX >> 1), 1009),
        (two(&masked(0x01, &half), &masked(0x00, b"x")), 1009),
        (masked(0x88, b"\x03"), 1002),
        (masked(0x88, &[0x03, 0xed]), 1002),
        (masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
        (masked(0xc1, b"x"), 1002),
    ] {
        let (told, broken) = whole(Sender::Client, &bytes);
        assert_eq!((told.len(), broken.map(Broken::code)), (0, Some(code)), "{:?}", &bytes[..2]);
    }
    let (told, broken) = whole(Sender::Server, &masked(0x81, b"x"));
    assert_eq!((told.len(), broken.map(Broken::code)), (0, Some(1002)));
}

#[test]
fn a_text_of_the_largest_size_is_read_and_one_more_byte_is_refused_at_its_head() {
    let most = "x".repeat(TEXT_BYTES_MAX);
    let mut out = Vec::new();
    push_text(&mut out, |out| out.extend_from_slice(most.as_bytes()));
    assert_eq!(whole(Sender::Server, &out), (vec![format!("text {most}")], None));
    let mut out = Vec::new();
    push_text(&mut out, |out| out.resize(out.len() + TEXT_BYTES_MAX + 1, b'x'));
    assert_eq!(whole(Sender::Server, &out[..10]), (vec![], Some(Broken::TooLarge)));
}

#[test]
fn a_reader_that_was_stopped_goes_on_where_it_was() {
    let bytes: Vec<u8> = (0..5).flat_map(|n| masked(0x81, format!("{n}").as_bytes())).collect();
    for cut in 0..bytes.len() {
        let (mut reader, mut all) = (Reader::new(Sender::Client), String::new());
        let mut on = |received: Received<'_>| {
            all.push_str(&told(received)[5..]);
            ControlFlow::Break(())
        };
        let (first, second) = bytes.split_at(cut);
        for piece in [first, second] {
            let mut flow = reader.feed(&mut piece.to_vec(), &mut on).unwrap();
            while flow.is_break() {
                flow = reader.feed(&mut [], &mut on).unwrap();
            }
        }
        assert_eq!(all, "01234", "{cut}");
        assert!(!reader.is_within());
    }
}

#[test]
fn an_idle_reader_holds_no_buffer() {
    let mut reader = Reader::new(Sender::Client);
    let bytes = [masked(0x01, b"half"), masked(0x80, b"half")].concat();
    for piece in bytes.chunks(3) {
        let fed = reader.feed(&mut piece.to_vec(), &mut |_| ControlFlow::Continue(()));
        assert_eq!(fed, Ok(ControlFlow::Continue(())));
    }
    assert_eq!((reader.kept.capacity(), reader.text.capacity()), (0, 0));
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![0x81u8, 0x81, 0x81, 0x01, 0x00, 0x80, 0x89, 0x8a]);
    let payload = prop_oneof![
        "[ -~é]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(b'a'..=b'z', 120..300),
    ];
    let frame = (first, payload).prop_map(|(first, payload)| masked(first, &payload));
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

/// `bytes` in pieces that end at `cuts`.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    let piece = |end: usize| &bytes[std::mem::replace(&mut start, end)..end];
    ends.into_iter().map(piece).collect()
}

proptest! {
    #[test]
    fn frames_give_the_same_messages_however_they_are_split(
        bytes in frames(),
        cuts: Vec<prop::sample::Index>,
    ) {
        let split = pieces(&bytes, &cuts);
        prop_assert_eq!(read(Sender::Client, split.into_iter()), whole(Sender::Client, &bytes));
        let singly = bytes.chunks(1);
        prop_assert_eq!(read(Sender::Client, singly), whole(Sender::Client, &bytes));
    }

    #[test]
    fn any_bytes_give_the_same_messages_however_they_are_split(
        bytes: Vec<u8>,
        cuts: Vec<prop::sample::Index>,
    ) {
        let split = pieces(&bytes, &cuts);
        prop_assert_eq!(read(Sender::Client, split.into_iter()), whole(Sender::Client, &bytes));
    }
}
