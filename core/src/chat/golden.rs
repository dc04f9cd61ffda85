//! The bytes of chat between nodes: docs/protocol.md, line by line.

use super::wire::{Item, Place, Posts, Runs, Said, TOO_LATE};
use super::words::{Kind, Message, Target};
use crate::golden::{assert_wire, node, shared};
use crate::id::{ClientId, Name};
use bytes::BytesMut;

const PLACE: Place = Place { boot: 0x0102, sequence: 300 };

fn name(text: &'static str) -> Name {
    Name::new(text).unwrap()
}

fn message(number: u64, to: Target, kind: Kind) -> Message {
    let (from, client) = (name("Anna"), ClientId(0xc1));
    Message { from, client, number, to, kind, sent_ms: 5, remote: false, body: shared(b"\"hi\"") }
}

#[test]
fn what_is_said_of_presence() {
    let mut items = BytesMut::new();
    Item::User { user: name("Anna"), sessions: 2, status: None }.encode(&mut items);
    Item::User { user: name("Bo"), sessions: 1, status: Some(shared(b"away")) }.encode(&mut items);
    Item::Member { room: name("tea"), user: name("Bo"), sessions: 1 }.encode(&mut items);
    let items = items.freeze();
    assert_wire(
        "items of presence",
        &items,
        "00 04416e6e61 02 00           ; user: name, sessions, no status
         00 02426f 01 0461776179       ; user: name, sessions, status
         01 03746561 02426f 01         ; member: room, name, sessions",
    );
    let items = shared(b"\0\x02Bo\x01\0");
    let said = Said::Delta(PLACE, items.clone()).encode();
    assert_wire(
        "a delta",
        &said,
        "00 0000000000000102 ac02 00 02426f 01 00 ; boot, sequence, items",
    );
    let said = Said::Ask { place: PLACE, list: 300, pages: 16 }.encode();
    assert_wire(
        "a question for presence",
        &said,
        "01 0000000000000102 ac02 ac02 10 ; boot, sequence, list, pages",
    );
    let said = Said::List { place: PLACE, page: 64, last: true, items }.encode();
    assert_wire(
        "a page of a list",
        &said,
        "02 0000000000000102 ac02 8101 00 02426f 01 00 ; boot, sequence, page and end, items",
    );
    assert_wire("a digest", &Said::Digest(7).encode(), "05 0000000000000007 ; hash");
    let said = Said::Vector(vec![(node(0xaa), PLACE)]).encode();
    let expected =
        format!("06 01 {} 0000000000000102 ac02 ; count, node, boot, sequence", "aa".repeat(32));
    assert_wire("a vector", &said, &expected);
}

#[test]
fn what_is_said_of_messages() {
    let mut posts = Posts::default();
    posts.push(9, &message(1, Target::User(name("Bo")), Kind::Message));
    posts.push(9, &message(2, Target::User(name("Bo")), Kind::Message));
    posts.push(9, &message(0, Target::Room(name("tea")), Kind::Signal));
    posts.push(9, &message(3, Target::Everyone, Kind::Message));
    assert_wire(
        "messages",
        &Said::Posts(posts.take().remove(0)).encode(),
        "03
         00 09 04416e6e61 00000000000000c1 00 02426f   ; flags, session, sender, client, to a user
         01 05 04 22686922                             ; number, sent, body
         01 02 05 04 22686922                          ; flags: the same head
         02 09 04416e6e61 00000000000000c1 01 03746561 ; a signal to a room
         00 05 04 22686922
         00 09 04416e6e61 00000000000000c1 02          ; to everyone
         03 05 04 22686922",
    );
    let mut runs = Runs::default();
    for (number, sessions) in [(1, 1), (2, 1), (3, TOO_LATE), (9, 0)] {
        runs.push(9, number, sessions);
    }
    assert_wire(
        "what became of messages",
        &Said::Settled(runs.take().remove(0)).encode(),
        "04
         09 01 02 01         ; session, first number, count, sessions
         09 03 01 ffffffff0f ; too late
         09 09 01 00",
    );
}
