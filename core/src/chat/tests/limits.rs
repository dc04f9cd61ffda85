//! What a node remembers and keeps waiting for sessions and nodes: full, and one more.

use super::super::presence::{PAGE_BYTES, PAGES_MAX};
use super::super::wire::{Item, Place, Said};
use super::*;
use crate::ctx::Dest;
use crate::limits::{EARLY_DELTAS_MAX, LAST_SEEN_MAX, UNREAD_MAX};
use crate::wire::envelope::Tag;

#[test]
fn as_many_messages_as_may_wait_for_a_session_are_heard_and_one_more_ends_it() {
    let (billy, carl) = (Person(0, 12, "Billy"), Person(0, 13, "Carl"));
    for over in [false, true] {
        let mut world = World::chain(1);
        world.people([ANNA, billy, carl]);
        let batch = (1..=UNREAD_MAX as u64).map(|n| post(n, "Billy", "")).collect();
        world.done(ANNA, ChatRequest::Send(batch));
        if over {
            world.send(carl, 1, "Billy", "");
            assert!(matches!(world.told(billy).last(), Some(ChatEvent::Ended(NOT_READING))));
            world.run(11_000);
            assert_eq!(world.ends(carl), [(1, Outcome::Offline)], "its sender hears of it");
        } else {
            assert_eq!(world.heard(billy).len(), UNREAD_MAX);
            world.send(carl, 1, "Billy", "");
            assert_eq!(world.heard(billy), ["Carl: "], "there is room again");
        }
    }
}

#[test]
fn so_many_who_went_are_remembered_and_for_one_more_the_first_is_forgotten() {
    let mut world = World::chain(1);
    world.connect(ANNA, None);
    let guests = || (0..=LAST_SEEN_MAX as u64).map(|n| (Person(0, 1_000 + n, ""), n));
    for (guest, n) in guests() {
        let (user, client) = (name(&format!("{n:05}")), ClientId(n));
        let connect = Connect { user, client, resume: None, visible: true };
        world.done(guest, ChatRequest::Connect(connect));
    }
    world.run(100);
    guests().for_each(|(guest, _)| world.done(guest, ChatRequest::Disconnect));
    world.run(100);
    world.send(ANNA, 1, "00000", "");
    world.send(ANNA, 2, "00001", "");
    assert_eq!(world.ends(ANNA), [(1, Outcome::Unknown), (2, Outcome::Offline)]);
}

#[test]
fn more_deltas_than_wait_for_a_lost_one_are_made_up_for() {
    let mut world = World::chain(2);
    let billy = Person(0, 12, "Billy");
    let links = std::mem::take(&mut world.links);
    world.connect(ANNA, None);
    world.links = links;
    world.connect(billy, None);
    for n in 0..=EARLY_DELTAS_MAX {
        world.done(billy, ChatRequest::Status(Some(n.to_string().into())));
    }
    assert!(world.online(1).is_empty(), "the first is missing");
    world.run(4_000);
    let everybody = ChatRequest::Users { prefix: Bytes::new(), after: Bytes::new(), limit: 100 };
    let Reply::Users(users, false) = world.chat(Person(1, 9_999, ""), everybody) else {
        panic!("all fit into a page");
    };
    let last = Bytes::from(EARLY_DELTAS_MAX.to_string());
    assert_eq!(users.iter().map(|one| one.status.clone()).collect::<Vec<_>>(), [None, Some(last)]);
}

#[test]
fn a_list_of_so_many_pages_is_taken_and_one_of_more_is_nobodys() {
    for (pages, is_taken) in [(PAGES_MAX, true), (PAGES_MAX + 1, false)] {
        let mut world = World::chain(2);
        let place = Place { boot: 1, sequence: 1 };
        let mut page = bytes::BytesMut::new();
        Item::User { user: name("Carl"), sessions: 1, status: None }.encode(&mut page);
        let mut say = |at: usize| {
            let items = if at == 0 { page.clone().freeze() } else { Bytes::new() };
            let list = Said::List { place, page: at as u64, last: at + 1 == pages, items };
            let there = Dest::Node(world.nodes[0].engine.node());
            world.nodes[1].engine.whisper(Tag::CHAT, there, list.encode());
            world.input(1, Input::Tick);
        };
        // The last of all belongs to no list that is still gathered.
        (0..=pages).for_each(&mut say);
        assert_eq!(world.online(0), if is_taken { &["Carl"][..] } else { &[] });
        assert_eq!(world.nodes[0].engine.stats().unknown_messages, u64::from(!is_taken));
    }
}

#[test]
fn a_list_of_which_a_page_is_lost_or_too_large_is_nobodys_and_is_asked_for_again() {
    let mut page = bytes::BytesMut::new();
    Item::User { user: name("Carl"), sessions: 1, status: None }.encode(&mut page);
    let full = bytes::Bytes::from(page.repeat(PAGE_BYTES / page.len()));
    let over = bytes::Bytes::from([&full[..], &page[..]].concat());
    let page = page.freeze();
    let cases = [
        (vec![(0, &page), (1, &full)], true),
        (vec![(0, &page), (2, &page)], false),
        (vec![(0, &page), (0, &page), (1, &page)], true),
        (vec![(0, &page), (1, &over)], false),
    ];
    for (pages, is_taken) in cases {
        let mut world = World::chain(2);
        let last = pages.len() - 1;
        for (at, (page, items)) in pages.into_iter().enumerate() {
            let place = Place { boot: 1, sequence: 1 };
            let list = Said::List { place, page, last: at == last, items: items.clone() };
            let there = Dest::Node(world.nodes[0].engine.node());
            world.nodes[1].engine.whisper(Tag::CHAT, there, list.encode());
            world.input(1, Input::Tick);
        }
        assert_eq!(world.online(0), if is_taken { &["Carl"][..] } else { &[] });
        let lists = world.nodes[1].engine.stats().presence_lists;
        world.run(4_000);
        assert!(world.nodes[1].engine.stats().presence_lists > lists, "what follows, or all");
        assert_eq!(world.online(0), if is_taken { &["Carl"][..] } else { &[] });
    }
}
