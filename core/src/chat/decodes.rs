//! Any bytes from a node: an error at worst, never a panic; and numbers as large as there are.

use super::wire::{Item, Place, Posts, Runs, Said};
use super::words::Connect;
use super::words::{ChatRequest, Kind, Post, Target};
use crate::ctx::Dest;
use crate::id::{ClientId, Name, SessionId};
use crate::request::{Reply, Request};
use crate::toy::World;
use crate::wire::envelope::Tag;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that get further than random ones: small numbers, and lengths that nearly fit.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0), Just(1), Just(0xff), 0u8..8, Just(b'a'), any::<u8>()];
    vec(byte, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_decodes_comes_back(kind in 0u8..8, bytes in bytes()) {
        let said = Said::decode([&[kind][..], &bytes].concat().into());
        if let Ok(said) = said {
            prop_assert_eq!(Said::decode(said.encode()), Ok(said));
        }
        let bytes = Bytes::from(bytes);
        let _ = Item::decode_all(bytes.clone(), |_| ());
        let _ = Posts::decode_all(bytes.clone(), |_, _| ());
        let _ = Runs::decode_all(bytes, |_| ());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_node_that_is_told_anything_goes_on(said in vec((0u8..8, bytes()), 1..20)) {
        let mut world = chatting();
        for (kind, bytes) in said {
            world.say(1, [&[kind][..], &bytes].concat().into());
        }
        still_chats(&mut world);
    }
}

fn chatting() -> World {
    let mut world = World::new(2);
    world.link(0, 1);
    world.run(500);
    for (at, user) in [(0, "Anna"), (1, "Billy")] {
        let user = Name::new(user).unwrap();
        let connect = Connect { user, client: ClientId(1), resume: None, visible: true };
        world.ask(at, Request::Chat(ChatRequest::Connect(connect)));
    }
    world
}

impl World {
    /// The engine at `from` says something of chat to the other, as a node that means no good.
    /// What does not decode is counted, and closes no link: it may come from far.
    fn say(&mut self, from: usize, body: Bytes) {
        let other = self.nodes[1 - from].engine.node();
        self.nodes[from].engine.whisper(Tag::CHAT, Dest::Node(other), body);
        self.run(50);
    }
}

fn still_chats(world: &mut World) {
    let to = Target::User(Name::new("Anna").unwrap());
    let post = Post { number: 5, to, kind: Kind::Message, local: false, body: Bytes::new() };
    let reply = world.ask(0, Request::Chat(ChatRequest::Send(vec![post])));
    assert!(matches!(reply, Reply::Done), "{reply:?}");
    let told = &world.nodes[0].told;
    assert!(told.iter().any(|(session, _)| *session == SessionId(1)));
}

#[test]
fn numbers_as_large_as_there_are_do_no_harm() {
    let mut world = chatting();
    let place = |boot, sequence| Place { boot, sequence };
    let mut runs = Runs::default();
    runs.push(u64::MAX, u64::MAX, u32::MAX);
    runs.push(u64::MAX, u64::MAX, u32::MAX);
    let items = Bytes::from_static(b"\0\x01b\xff\xff\xff\xff\x0f\0");
    for boot in [0, 1, u64::MAX] {
        let place = place(boot, u64::MAX);
        world.say(1, Said::Delta(place, items.clone()).encode());
        world.say(1, Said::List { place, page: 0, last: true, items: items.clone() }.encode());
        world.say(1, Said::Delta(place, items.clone()).encode());
        let (list, pages) = (u64::MAX, u64::MAX);
        world.say(1, Said::Ask { place, list, pages }.encode());
        world.say(1, Said::Vector(vec![(world.nodes[0].engine.node(), place)]).encode());
    }
    world.say(1, Said::Settled(runs.take().remove(0)).encode());
    still_chats(&mut world);
}
