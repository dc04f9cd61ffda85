//! The bytes of shared data: docs/protocol.md and docs/storage.md, line by line.

use super::apply::check;
use super::hostile::Victim;
use super::message::{Entries, From, Message, Outline, Page, Summary, encode_entries};
use super::write::history_key;
use super::{Entry, EntryKey, Strategy};
use crate::golden::{STORED_DUTY, assert_stored, assert_wire, node, shared};
use crate::id::{Path, StoreId};
use crate::replica::Version;
use crate::request::{Change, Write};
use crate::store::Store;
use crate::time::Stamp;

fn key(text: &'static [u8]) -> EntryKey {
    EntryKey::parse(shared(text)).unwrap()
}

/// Stamped 2026-01-01 00:00:00 UTC, the third in its millisecond.
fn put(value: &'static [u8]) -> Entry {
    Entry {
        version: Version { stamp: Stamp((1_767_225_600_000 << 16) + 2), node: node(0xaa) },
        strategy: Strategy::Last,
        expires_ms: None,
        value: Some(shared(value)),
    }
}

fn all_kinds() -> Entries {
    let delete = Entry { value: None, ..put(b"") };
    let ends = Entry { expires_ms: Some(1_767_225_660_000), ..put(b"1") };
    let strategy = Strategy::First { after: Stamp(5) };
    let first = Entry { strategy, ..put(b"2") };
    let version = Version { node: node(0xbb), ..put(b"").version };
    let field = Entry { strategy: Strategy::Field, version, ..put(b"3") };
    vec![(key(b"a/b"), delete), (key(b"c"), ends), (key(b"d"), first), (key(b"e\0f"), field)]
}

fn assert_message(what: &str, message: &Message, expected: &str) {
    assert_wire(what, &message.encode(), expected);
    assert_eq!(Message::decode(message.encode()), Ok(Some(message.clone())), "{what}");
}

#[test]
fn entries_as_they_are_spread() {
    assert_wire(
        "entries",
        &encode_entries(&all_kinds()),
        "02                                                               ; writing nodes
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
         04                                                               ; entries
         03 612f62              ; length, key: a/b
         01                     ; flags: a tombstone
         019b76daa8000002       ; stamp
         00                     ; number of the writing node
         00                     ; length of the proof
         01 63                  ; key: c
         08                     ; flags: it ends
         019b76daa8000002 00
         0000019b76db9260       ; when it ends
         00                     ; length of the proof
         01 31                  ; length, value
         01 64                  ; key: d
         02                     ; flags: the first write wins
         019b76daa8000002 00
         0000000000000005       ; the stamp that it followed
         00                     ; length of the proof
         01 32                  ; length, value
         03 650066              ; key: the field f of e
         04                     ; flags: a field
         019b76daa8000002 01
         00                     ; length of the proof
         01 33                  ; length, value",
    );
}

#[test]
fn an_entry_on_disk() {
    let strategy = Strategy::First { after: Stamp(5) };
    let entry = Entry { strategy, expires_ms: Some(6), ..put(b"hello") };
    assert_stored(
        "an entry",
        &entry.to_bytes(),
        "0a                                                               ; flags: first, ends
         019b76daa8000002                                                 ; stamp
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; the writing node
         0000000000000005                                                 ; what it followed
         0000000000000006                                                 ; when it ends
         00                                                               ; length of the proof
         05 68656c6c6f                                                    ; length, value",
    );
    assert_eq!(Entry::from_bytes(entry.to_bytes()), Ok(entry));
}

#[test]
fn a_key_of_the_history() {
    assert_stored(
        "a key of the history",
        &history_key(&key(b"a/b"), put(b"").version.stamp),
        "612f62           ; the entry's key
         ff               ; in no key
         019b76daa8000002 ; stamp",
    );
}

#[test]
fn keys_of_entries() {
    let path = Path::new("a/b").unwrap();
    assert_stored("a key", EntryKey::path(&path).as_bytes(), "612f62");
    let field = EntryKey::field(&path, "f/g").unwrap();
    assert_stored("the key of a field", field.as_bytes(), "612f62 00 662f67");
    assert_stored("a key of the system", EntryKey::system(&path).as_bytes(), "00 612f62");
}

#[test]
fn the_check_of_an_entry() {
    assert_wire("a check", &check(&put(b"hello")).to_be_bytes(), "ea8f163d");
    let ends = Entry { expires_ms: Some(6), ..put(b"hello") };
    assert_wire("a check with an end", &check(&ends).to_be_bytes(), "334d309b");
}

#[test]
fn a_summary() {
    let summary = Summary {
        store: StoreId([0xcc; 16]),
        number: 300,
        floor: 1,
        pulled: 2,
        count: 3,
        sum: [0xdd; 32],
        answer: true,
    };
    assert_message(
        "a summary",
        &Message::Summary(summary),
        "01                                                               ; kind: summary
         cccccccccccccccccccccccccccccccc                                 ; store id
         ac02                                                             ; newest change
         01                                                               ; log floor
         02                                                               ; newest pulled change
         03                                                               ; entries
         dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd ; sum
         01                                                               ; wants a summary",
    );
}

#[test]
fn pulls_and_pages() {
    assert_message("a pull", &Message::Pull(From::Number(300)), "02 00 ac02");
    assert_message("a pull by key", &Message::Pull(From::Key(shared(b"a/b"))), "02 01 03 612f62");
    assert_message("the word that the log is pruned", &Message::Pruned, "03");
    let page = Page {
        of: From::Number(300),
        number: 301,
        next: From::Key(shared(b"c")),
        done: true,
        entries: vec![(key(b"a"), put(b"1"))],
    };
    assert_message(
        "a page",
        &Message::Page(page),
        "04                                                               ; kind: page
         00 ac02                                                          ; the pull it answers
         ad02                                                             ; number
         01 01 63                                                         ; where to go on: key c
         01                                                               ; that was all
         01                                                               ; writing nodes
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         01                                                               ; entries
         01 61 00 019b76daa8000002 00 00 01 31",
    );
}

#[test]
fn messages_of_a_comparison() {
    let groups = format!("05 ac02 {} ; number, 1,024 short sums", "0000000000000102".repeat(1_024));
    assert_message("groups", &Message::Groups { number: 300, sums: vec![258; 1_024] }, &groups);
    let message = Message::Buckets { number: 300, more: true, groups: vec![(258, vec![3; 64])] };
    let buckets = format!(
        "06 ac02   ; kind, number
         01        ; more differ
         01        ; groups
         0102 {}   ; group, 64 short sums",
        "0000000000000003".repeat(64)
    );
    assert_message("buckets", &message, &buckets);
    let outline = Outline { id: 1, stamp: Stamp(2), check: 3, node: 4, flags: 5 };
    assert_message(
        "versions",
        &Message::Versions { more: false, buckets: vec![(258, vec![outline])] },
        "07               ; kind
         00               ; all that differ
         01               ; buckets
         0102             ; bucket
         01               ; versions
         0000000000000001 ; id
         0000000000000002 ; stamp
         00000003         ; check
         00000004         ; writing node, its first four bytes
         05               ; flags",
    );
    assert_message("wants", &Message::Want(vec![(258, 7)]), "08 01 0102 0000000000000007");
    let found = Message::Found { done: true, entries: vec![(key(b"a"), put(b"1"))] };
    assert_message(
        "what was found",
        &found,
        "09 01 ; kind, these were the last
         01 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         01 01 61 00 019b76daa8000002 00 00 01 31",
    );
}

#[test]
fn messages_of_a_burial() {
    let dead = vec![(key(b"a/b"), Entry { value: None, ..put(b"") })];
    assert_message(
        "a question to bury",
        &Message::Bury { round: 300, dead: dead.clone() },
        "0a ac02 ; kind, round
         01 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         01 03 612f62 01 019b76daa8000002 00 00",
    );
    let answer = Message::Buried { round: 300, needed: vec![0, 200] };
    assert_message("the answer to a burial", &answer, "0b ac02 02 00 c801");
    assert_message(
        "the word to forget",
        &Message::Forget(dead),
        "0c
         01 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         01 03 612f62 01 019b76daa8000002 00 00",
    );
}

/// All that is on the disk of a node that was alone and then met another.
#[test]
fn a_whole_disk() {
    let mut node = Victim::new();
    let sum = "9c37df467e21182b25f5d33b33ac700371b248b345baa80768cacae6b58b6400";
    assert_wire("a sum", &node.status().digest, sum);
    node.put("old/a", "1");
    node.put("old/a", "2");
    let merge = Change::Merge(vec![("f".to_owned(), shared(b"3"))]);
    node.write(Write { change: merge, ..Write::put(Path::new("b").unwrap(), "") });
    node.known(1);
    let mut lines = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        let value = match key {
            b"mclock" => format!("{} bytes", value.len()), // it depends on what the test does
            _ => value.escape_ascii().to_string(),
        };
        lines.push(format!("{} = {value}", key.escape_ascii()));
        true
    };
    node.store.scan(&[], &[0xff], visit).unwrap();
    assert_eq!(lines.join("\n"), include_str!("golden.txt").trim_end(), "{STORED_DUTY}");
}
