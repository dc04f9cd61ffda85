//! What becomes of messages in rarer cases, and what many requests in one step cost.

use super::super::own::PAGES_AT_ONCE;
use super::super::presence::PAGE_BYTES;
use super::super::wire::{Item, Place, Said};
use super::*;
use crate::access::Principal;
use crate::ctx::Dest;
use crate::id::RequestId;
use crate::limits::{CHAT_BATCH_BYTES, LAST_SEEN_MAX};
use crate::request::{Caller, MeshRequest};
use crate::wire::envelope::Tag;

const DELIVERED: Outcome = Outcome::Delivered(1);

impl World {
    /// Requests that one session makes in one step.
    fn burst(&mut self, who: Person, requests: Vec<ChatRequest>) {
        let caller = Caller {
            session: SessionId(who.1),
            request: RequestId::UNANSWERED,
            principal: Principal::Owner,
        };
        let input = |request| Input::Request(caller, Request::Chat(request));
        self.steps(vec![(who.0, requests.into_iter().map(input).collect())]);
    }

    /// What the engine of one node says to another's chat, true or not.
    fn whisper(&mut self, from: usize, to: usize, said: &Said) {
        let there = Dest::Node(self.nodes[to].engine.node());
        self.nodes[from].engine.whisper(Tag::CHAT, there, said.encode());
        self.input(from, Input::Tick);
    }

    fn users_at(&mut self, at: usize, of: usize) -> u64 {
        let of = self.nodes[of].engine.node();
        match self.ask(at, Request::Mesh(MeshRequest::Status)) {
            Reply::Mesh(status) => {
                status.nodes.iter().filter(|node| node.node == of).map(|node| node.users).sum()
            }
            other => panic!("{other:?}"),
        }
    }

    fn lists(&self, at: usize) -> u64 {
        self.nodes[at].engine.stats().presence_lists
    }
}

#[test]
fn more_than_a_message_between_nodes_holds_is_said_in_several() {
    let mut world = World::chain(2);
    let anna = Person(0, 11, "Anna");
    let readers = [Person(1, 21, "Bea"), Person(1, 22, "Ben"), Person(1, 23, "Bo")];
    world.people([anna, readers[0], readers[1], readers[2]]);
    let body = "x".repeat(CHAT_BODY_BYTES_MAX);
    let posts = (0..45).map(|n| post(n + 1, readers[n as usize % 3].2, &body)).collect();
    world.done(anna, ChatRequest::Send(posts));
    // Nobody takes them in, and all are sent again in one step.
    world.run(21_000);
    for who in readers {
        assert_eq!(world.heard(who).len(), 15);
    }
    assert_eq!(world.ends(anna), (1..=45).map(|n| (n, DELIVERED)).collect::<Vec<_>>());
}

#[test]
fn what_was_held_reaches_the_senders_other_sessions_too() {
    let mut world = World::chain(3);
    let other = Person(1, 13, "Anna");
    world.people([ANNA, BILLY, other]);
    world.send(ANNA, 1, "Billy", "1");
    // Billy comes to one more node: what follows is held until the first is settled.
    let second = Person(0, 14, "Billy");
    world.connect(second, None);
    world.send(ANNA, 2, "Billy", "2");
    assert_eq!(world.heard(other), ["Anna: 1"]);
    assert_eq!(world.heard(BILLY), ["Anna: 1"]);
    assert_eq!(world.heard(other), ["Anna: 2"]);
    assert_eq!((world.heard(second), world.heard(BILLY).len()), (vec!["Anna: 2".into()], 1));
    world.close(second);
    world.send(ANNA, 3, "Billy", "3");
    world.connect(second, None);
    world.send(ANNA, 4, "Billy", "4");
    assert_eq!(world.heard(other), ["Anna: 3"], "the next is held");
    world.close(second);
    world.restart(2);
    world.run(11_000);
    let ends: Vec<_> = world.ends(ANNA).into_iter().skip(2).collect();
    assert_eq!(ends, [(3, Outcome::Offline), (4, Outcome::Offline)]);
    assert_eq!(world.heard(other), ["Anna: 4"]);
}

#[test]
fn what_a_node_never_takes_in_that_says_its_user_is_there_is_given_up_in_time() {
    let mut world = World::chain(2);
    let anna = Person(0, 11, "Anna");
    world.people([anna]);
    let mut items = bytes::BytesMut::new();
    Item::User { user: name("Ghost"), sessions: 1, status: None }.encode(&mut items);
    world.whisper(1, 0, &Said::Delta(Place { boot: 1, sequence: 1 }, items.freeze()));
    world.send(anna, 1, "Ghost", "boo");
    world.run(9_000);
    assert_eq!(world.ends(anna), []);
    world.run(2_000);
    assert_eq!(world.ends(anna), [(1, Outcome::Offline)]);
}

#[test]
fn a_message_for_this_node_only_stays_on_it_also_when_it_was_held() {
    let mut world = World::chain(3);
    world.people([ANNA, BILLY]);
    world.send(ANNA, 1, "Billy", "1");
    let here = Person(0, 14, "Billy");
    world.connect(here, None);
    let local = Post { local: true, ..post(2, "Billy", "2") };
    world.done(ANNA, ChatRequest::Send(vec![local]));
    assert_eq!(world.heard(BILLY), ["Anna: 1"]);
    assert_eq!((world.heard(here), world.heard(BILLY).len()), (vec!["Anna: 2".into()], 0));
    assert_eq!(world.ends(ANNA), [(1, DELIVERED), (2, DELIVERED)]);
    // Where he is here no more when its turn comes, it ends, and the next goes on.
    world.send(ANNA, 3, "Billy", "3");
    assert_eq!(world.heard(here), ["Anna: 3"]);
    world.close(here);
    world.send(ANNA, 4, "Billy", "4");
    let again = Person(0, 15, "Billy");
    world.connect(again, None);
    let local = Post { local: true, ..post(5, "Billy", "5") };
    world.done(ANNA, ChatRequest::Send(vec![local]));
    world.close(again);
    assert_eq!([world.heard(BILLY), world.heard(BILLY)], [["Anna: 3"], ["Anna: 4"]]);
    world.send(ANNA, 6, "Billy", "6");
    assert_eq!(world.heard(BILLY), ["Anna: 6"]);
    let ends: Vec<_> = world.ends(ANNA).into_iter().skip(1).collect();
    assert_eq!(ends, [(4, DELIVERED), (5, Outcome::Offline), (6, DELIVERED)]);
}

#[test]
fn what_is_given_up_is_not_given_to_its_target_by_the_way() {
    let mut world = World::chain(3);
    let other = Person(1, 13, "Anna");
    world.people([ANNA, BILLY, other]);
    world.send(ANNA, 1, "Billy", "1"); // Billy does not take it in
    let second = Person(1, 14, "Billy");
    world.connect(second, None);
    world.send(ANNA, 2, "Billy", "2");
    world.run(11_000);
    assert_eq!(world.heard(second), [""; 0]);
    assert_eq!(world.heard(BILLY), ["Anna: 1"]);
    assert_eq!(world.ends(ANNA), [(1, DELIVERED), (2, Outcome::Offline)]);
}

#[test]
fn what_waited_for_a_node_is_said_after_a_moment_and_not_after_long() {
    for (away_ms, heard) in [(5_000, vec!["Anna: hi"]), (60_000, vec![])] {
        let mut world = World::chain(2);
        let (anna, carl) = (Person(0, 11, "Anna"), Person(1, 13, "Carl"));
        world.people([anna, carl]);
        for who in [anna, carl] {
            world.done(who, ChatRequest::Join(name("tea")));
        }
        world.run(200);
        // The frames are lost, and only then the link.
        let links = std::mem::take(&mut world.links);
        world.send(anna, 1, "room:tea", "hi");
        world.links = links;
        world.cut(0, 1);
        world.run(away_ms);
        world.link(0, 1);
        world.run(6_000);
        assert_eq!(world.heard(carl), heard);
        assert_eq!(world.online(0), ["Anna", "Carl"]);
    }
}

#[test]
fn who_went_a_moment_ago_is_offline_and_not_unknown() {
    let mut world = World::chain(1);
    let (anna, billy) = (Person(0, 11, "Anna"), Person(0, 12, "Billy"));
    world.people([anna, billy]);
    let carl = Person(0, 13, "Carl");
    world.connect(carl, None);
    world.close(carl); // this is told at once, and the next a little later
    world.close(billy);
    world.send(anna, 1, "Billy", "there?");
    assert_eq!(world.ends(anna), [(1, Outcome::Offline)]);
}

#[test]
fn who_went_again_is_remembered_from_then_on() {
    let mut world = World::chain(1);
    let (anna, billy) = (Person(0, 11, "Anna"), Person(0, 12, "Billy"));
    world.people([anna]);
    let go = |world: &mut World, who| {
        world.connect(who, None);
        world.close(who);
        world.run(50);
    };
    go(&mut world, billy);
    let names: Vec<String> = (0..LAST_SEEN_MAX).map(|n| format!("user-{n}")).collect();
    for (n, user) in (100..).zip(&names[1..]) {
        let connect =
            Connect { user: name(user), client: ClientId(n), resume: None, visible: true };
        world.burst(Person(0, n, ""), vec![ChatRequest::Connect(connect)]);
        world.close(Person(0, n, ""));
    }
    world.run(50);
    go(&mut world, billy);
    go(&mut world, Person(0, 13, "Carl"));
    for (number, user) in (1..).zip(["Billy", "user-1", "user-2"]) {
        world.send(anna, number, user, "there?");
    }
    let ends = [Outcome::Offline, Outcome::Unknown, Outcome::Offline];
    assert_eq!(world.ends(anna).into_iter().map(|(_, end)| end).collect::<Vec<_>>(), ends);
}

#[test]
fn watching_and_entering_a_room_many_times_in_a_step_is_answered_once() {
    let mut world = World::chain(1);
    let anna = Person(0, 11, "Anna");
    world.people([anna]);
    world.told(anna);
    let watch = || ChatRequest::WatchUsers(UsersWatch::Prefix(Bytes::new()));
    world.burst(anna, (0..1_000).map(|_| watch()).collect());
    assert!(matches!(&world.told(anna)[..], [ChatEvent::Users { all: true, changes }]
        if changes.len() == 1));
    let again = |_| [ChatRequest::Join(name("tea")), ChatRequest::Leave(name("tea"))];
    let mut requests: Vec<_> = (0..500).flat_map(again).collect();
    world.burst(anna, requests.clone());
    assert!(world.told(anna).is_empty(), "she is not in it");
    requests.pop();
    world.burst(anna, requests);
    assert!(matches!(&world.told(anna)[..], [ChatEvent::Room { all: true, joined, .. }]
        if joined.len() == 1));
}

#[test]
fn asking_many_times_in_a_step_is_answered_once() {
    let mut world = World::chain(2);
    world.people([Person(1, 11, "Anna")]);
    let before = world.lists(1);
    let there = Dest::Node(world.nodes[1].engine.node());
    for sequence in 0..50 {
        let place = Place { boot: 7, sequence };
        let said = Said::Ask { place, list: 0, pages: 0 };
        world.nodes[0].engine.whisper(Tag::CHAT, there, said.encode());
    }
    world.input(0, Input::Tick);
    assert_eq!(world.lists(1), before + 1);
}

#[test]
fn a_gap_is_asked_for_also_where_an_older_answer_comes_first() {
    let mut world = World::chain(2);
    world.people([Person(1, 11, "Anna")]);
    let asked = world.lists(1);
    let place = |sequence| Place { boot: 1, sequence };
    world.whisper(1, 0, &Said::Delta(place(3), Bytes::new()));
    world.whisper(1, 0, &Said::Delta(place(1), Bytes::new()));
    world.run(1_000);
    assert_eq!(world.lists(1), asked + 1);
}

#[test]
fn a_delta_as_large_as_a_page_is_taken_and_a_larger_one_is_not() {
    let mut item = bytes::BytesMut::new();
    Item::User { user: name("Carl"), sessions: 1, status: None }.encode(&mut item);
    for (more, online) in [(0, vec!["Carl".to_owned()]), (1, vec![])] {
        let mut world = World::chain(2);
        let items = Bytes::from(item.repeat(PAGE_BYTES / item.len() + more));
        world.whisper(1, 0, &Said::Delta(Place { boot: 1, sequence: 1 }, items));
        assert_eq!(world.online(0), online);
    }
}

#[test]
fn a_list_of_more_than_a_channel_holds_is_learned_while_it_changes() {
    let mut world = World::new(3);
    let status = "s".repeat(STATUS_BYTES_MAX);
    let users = 36_000; // 9 MiB
    for n in 0..users {
        let user = Name::new(format!("{n:0>128}")).unwrap();
        let connect = Connect { user, client: ClientId(n), resume: None, visible: true };
        let status = ChatRequest::Status(Some(Bytes::from(status.clone())));
        world.burst(Person(1, n, ""), vec![ChatRequest::Connect(connect), status]);
    }
    assert!(users as usize * 2 * STATUS_BYTES_MAX > 16 * PAGES_AT_ONCE * CHAT_BATCH_BYTES);
    world.link(0, 1);
    world.run(50); // it has been asked for, and some pages are there
    world.close(Person(1, 0, ""));
    world.run(2_000);
    assert_eq!((world.users_at(0, 1), world.users_at(1, 1)), (users - 1, users - 1));
    // Who comes a little later gets the same list, and what followed it.
    world.link(1, 2);
    world.close(Person(1, 1, ""));
    world.run(2_000);
    assert_eq!((world.users_at(2, 1), world.users_at(1, 1)), (users - 2, users - 2));
}
