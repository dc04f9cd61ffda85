//! Chat between a few engines. The simulator does the rest.

mod ends;
mod limits;

use super::connect::{NOT_READING, TAKEN_OVER};
use super::words::*;
use crate::engine::Input;
use crate::error::ErrorCode;
use crate::id::{ClientId, Name, ResumeToken, SessionId};
use crate::limits::{CHAT_BODY_BYTES_MAX, NAMES_MAX, ROOMS_MAX, STATUS_BYTES_MAX};
use crate::limits::{UNREAD_BYTES_MAX, UNSETTLED_MAX};
use crate::request::{Reply, Request};
use crate::toy::World;
use bytes::Bytes;
use std::sync::Arc;

/// A person at a node: node, session, and the name.
#[derive(Clone, Copy)]
struct Person(usize, u64, &'static str);

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

fn token(n: u64) -> ResumeToken {
    ResumeToken([n as u8; 16])
}

fn post(number: u64, to: &str, body: &str) -> Post {
    let to = match to.split_once(':') {
        Some(("room", room)) => Target::Room(name(room)),
        Some(_) => Target::Everyone,
        None => Target::User(name(to)),
    };
    Post { number, to, kind: Kind::Message, local: false, body: Bytes::from(body.to_owned()) }
}

impl World {
    /// Nodes in a chain.
    fn chain(count: usize) -> World {
        let mut world = World::new(count);
        (1..count).for_each(|at| world.link(at - 1, at));
        world.run(1_000);
        world
    }

    fn chat(&mut self, who: Person, request: ChatRequest) -> Reply {
        self.ask_as(who.0, SessionId(who.1), Request::Chat(request))
    }

    fn done(&mut self, who: Person, request: ChatRequest) {
        let reply = self.chat(who, request);
        assert!(matches!(reply, Reply::Done), "{reply:?}");
    }

    fn connect(&mut self, who: Person, resume: Option<ResumeToken>) {
        let (user, client) = (name(who.2), ClientId(who.1));
        let connect = Connect { user, client, resume, visible: true };
        self.done(who, ChatRequest::Connect(connect));
    }

    /// The people at nodes 0, 1, ..., all connected.
    fn people<const N: usize>(&mut self, people: [Person; N]) -> [Person; N] {
        people.iter().for_each(|who| self.connect(*who, None));
        self.run(500);
        people
    }

    fn send(&mut self, who: Person, number: u64, to: &str, body: &str) {
        self.done(who, ChatRequest::Send(vec![post(number, to, body)]));
    }

    fn told(&mut self, who: Person) -> Vec<ChatEvent> {
        let told = &mut self.nodes[who.0].told;
        told.extract_if(.., |(session, _)| session.0 == who.1).map(|(_, event)| event).collect()
    }

    /// The messages that somebody was told, by sender and body, each acknowledged.
    fn heard(&mut self, who: Person) -> Vec<String> {
        let (mut heard, mut upto) = (Vec::new(), 0);
        for event in self.told(who) {
            if let ChatEvent::Messages { first, messages } = event {
                upto = first + messages.len() as u64 - 1;
                heard.extend(messages.iter().map(text));
            }
        }
        if upto > 0 {
            self.done(who, ChatRequest::Received(upto));
        }
        heard
    }

    /// What somebody was told of the own messages, one after another.
    fn ends(&mut self, who: Person) -> Vec<(u64, Outcome)> {
        let told = self.told(who).into_iter();
        let settled = told.filter_map(|event| match event {
            ChatEvent::Settled(runs) => Some(runs),
            _ => None,
        });
        settled
            .flatten()
            .flat_map(|run| (run.from..=run.upto).map(move |n| (n, run.outcome)))
            .collect()
    }

    fn online(&mut self, at: usize) -> Vec<String> {
        let everybody =
            ChatRequest::Users { prefix: Bytes::new(), after: Bytes::new(), limit: 100 };
        match self.chat(Person(at, 9_999, ""), everybody) {
            Reply::Users(users, false) => users.iter().map(|one| one.user.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn close(&mut self, who: Person) {
        self.input(who.0, Input::SessionClosed(SessionId(who.1)));
    }
}

fn text(message: &Arc<Message>) -> String {
    format!("{}: {}", message.from, std::str::from_utf8(&message.body).unwrap())
}

const ANNA: Person = Person(0, 11, "Anna");
const BILLY: Person = Person(2, 12, "Billy");

#[test]
fn everybody_is_seen_online_from_every_node_and_gone_with_the_last_session() {
    let mut world = World::chain(3);
    let second = Person(2, 13, "Anna");
    world.people([ANNA, BILLY, second]);
    for at in 0..3 {
        assert_eq!(world.online(at), ["Anna", "Billy"]);
    }
    world.close(ANNA);
    assert_eq!(world.online(1), ["Anna", "Billy"]);
    world.close(second);
    for at in 0..3 {
        assert_eq!(world.online(at), ["Billy"]);
    }
}

#[test]
fn a_node_that_joins_learns_of_everybody() {
    let mut world = World::new(3);
    world.link(0, 1);
    world.people([ANNA, BILLY]);
    assert_eq!(world.online(0), ["Anna"]);
    world.link(1, 2);
    world.run(1_000);
    for at in 0..3 {
        assert_eq!(world.online(at), ["Anna", "Billy"]);
    }
}

#[test]
fn a_lost_node_takes_its_users_with_it_and_brings_them_back() {
    let mut world = World::chain(3);
    world.people([ANNA, BILLY]);
    world.cut(1, 2);
    world.run(200);
    assert_eq!((world.online(0), world.online(2)), (vec!["Anna".into()], vec!["Billy".into()]));
    world.link(1, 2);
    world.run(1_000);
    assert_eq!(world.online(0), ["Anna", "Billy"]);
    world.restart(2);
    world.run(200);
    assert_eq!(world.online(0), ["Anna"]);
    world.link(1, 2);
    world.run(1_000);
    assert_eq!((world.online(0), world.online(2)), (vec!["Anna".into()], vec!["Anna".into()]));
}

#[test]
fn a_message_reaches_every_session_of_both_and_the_sender_learns_of_it() {
    let mut world = World::chain(3);
    let (other, here) = (Person(1, 13, "Anna"), Person(0, 14, "Billy"));
    world.people([ANNA, BILLY, other, here]);
    world.send(ANNA, 1, "Billy", "hi");
    assert_eq!(world.ends(ANNA), [], "nobody has taken it in");
    for who in [BILLY, other, here] {
        assert_eq!(world.heard(who), ["Anna: hi"]);
    }
    assert_eq!(world.ends(ANNA), [(1, Outcome::Delivered(2))]);
    assert_eq!(world.heard(ANNA), [""; 0]);
}

#[test]
fn a_message_to_oneself_reaches_all_own_sessions_once() {
    let mut world = World::chain(2);
    let other = Person(1, 13, "Anna");
    world.people([ANNA, other]);
    world.send(ANNA, 1, "Anna", "note");
    assert_eq!(
        (world.heard(ANNA), world.heard(other)),
        (vec!["Anna: note".into()], vec!["Anna: note".into()])
    );
    assert_eq!(world.ends(ANNA), [(1, Outcome::Delivered(2))]);
}

#[test]
fn the_sender_learns_who_is_offline_and_who_is_unknown() {
    let mut world = World::chain(3);
    world.people([ANNA, BILLY]);
    world.send(ANNA, 1, "nobody", "?");
    world.close(BILLY);
    world.send(ANNA, 2, "Billy", "there?");
    assert_eq!(world.ends(ANNA), [(1, Outcome::Unknown), (2, Outcome::Offline)]);
}

#[test]
fn what_was_on_its_way_to_a_user_who_moves_follows_in_order() {
    let mut world = World::chain(3);
    world.people([ANNA, BILLY]);
    for number in 1..=3 {
        world.send(ANNA, number, "Billy", &number.to_string());
    }
    // Billy's node dies before anything was taken in; Billy comes back at another.
    world.restart(2);
    world.send(ANNA, 4, "Billy", "4");
    let moved = Person(1, 15, "Billy");
    world.connect(moved, None);
    world.send(ANNA, 5, "Billy", "5");
    world.run(1_000);
    let expected: Vec<_> = (1..=5).map(|n| format!("Anna: {n}")).collect();
    assert_eq!(world.heard(moved), expected);
    let ends: Vec<_> = (1..=5).map(|n| (n, Outcome::Delivered(1))).collect();
    assert_eq!(world.ends(ANNA), ends);
}

#[test]
fn what_is_held_for_too_long_is_answered_offline() {
    let mut world = World::chain(3);
    world.people([ANNA, BILLY]);
    world.send(ANNA, 1, "Billy", "hi");
    world.restart(2);
    world.run(5_000);
    assert_eq!(world.ends(ANNA), []);
    world.run(6_000);
    assert_eq!(world.ends(ANNA), [(1, Outcome::Offline)]);
}

#[test]
fn a_message_sent_again_after_its_node_died_arrives_once() {
    let mut world = World::chain(3);
    world.people([ANNA, BILLY]);
    world.send(ANNA, 1, "Billy", "1");
    assert_eq!(world.heard(BILLY), ["Anna: 1"]);
    world.send(ANNA, 2, "Billy", "2");
    // Anna's node dies; her client comes to another, under its name, and sends again.
    world.restart(0);
    let again = Person(1, 11, "Anna");
    world.connect(again, None);
    world.done(again, ChatRequest::Send(vec![post(1, "Billy", "1"), post(2, "Billy", "2")]));
    world.send(again, 3, "Billy", "3");
    assert_eq!(world.heard(BILLY), ["Anna: 2", "Anna: 3"]);
    let delivered = |n| (n, Outcome::Delivered(1));
    assert_eq!(world.ends(again), [delivered(1), delivered(2), delivered(3)]);
}

#[test]
fn a_broken_connection_is_gone_on_with_without_gap_or_repeat() {
    let mut world = World::chain(3);
    world.people([ANNA]);
    world.connect(BILLY, Some(token(1)));
    world.send(ANNA, 1, "Billy", "1");
    assert_eq!(world.heard(BILLY), ["Anna: 1"]);
    world.send(ANNA, 2, "Billy", "2");
    world.close(BILLY);
    world.send(ANNA, 3, "Billy", "3");
    world.run(5_000);
    assert_eq!(world.online(0), ["Anna", "Billy"]);
    let back = Person(2, 22, "Billy");
    world.done(back, ChatRequest::Resume { token: token(1), received: 1 });
    assert_eq!(world.heard(back), ["Anna: 2", "Anna: 3"]);
    world.run(100);
    assert_eq!(world.ends(ANNA).len(), 3);
    let late = Person(2, 23, "Billy");
    world.done(late, ChatRequest::Resume { token: token(1), received: 3 });
    assert!(matches!(world.told(back)[..], [ChatEvent::Ended(TAKEN_OVER)]));
    world.close(late);
    world.run(11_000);
    assert_eq!(world.online(0), ["Anna"]);
    let reply = world.chat(late, ChatRequest::Resume { token: token(1), received: 3 });
    assert!(matches!(reply, Reply::Failed(ErrorCode::NotResumed, 0)));
}

#[test]
fn what_was_settled_while_the_sender_was_away_is_told_when_it_is_back() {
    let mut world = World::chain(3);
    world.people([BILLY]);
    world.connect(ANNA, Some(token(2)));
    world.send(ANNA, 1, "Billy", "1");
    world.close(ANNA);
    assert_eq!(world.heard(BILLY), ["Anna: 1"]);
    let back = Person(0, 21, "Anna");
    world.done(back, ChatRequest::Resume { token: token(2), received: 0 });
    // Not having heard, she sends again.
    world.send(back, 1, "Billy", "1");
    assert_eq!(world.ends(back), [(1, Outcome::Delivered(1))]);
    assert_eq!(world.heard(BILLY), [""; 0]);
}

#[test]
fn rooms_reach_their_members_and_nobody_else() {
    let mut world = World::chain(3);
    let (carl, dora) = (Person(1, 13, "Carl"), Person(2, 14, "Dora"));
    world.people([ANNA, BILLY, carl, dora]);
    for who in [ANNA, BILLY, carl] {
        world.done(who, ChatRequest::Join(name("tea")));
    }
    world.run(200);
    let members = |world: &mut World, at| match world
        .chat(Person(at, 99, ""), ChatRequest::Members(name("tea")))
    {
        Reply::Users(users, _) => users.iter().map(|one| one.user.to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(members(&mut world, 0), ["Anna", "Billy", "Carl"]);
    assert!(world.told(carl).iter().any(|event| matches!(event,
        ChatEvent::Room { all: true, joined, .. } if joined.len() == 3)));
    world.send(ANNA, 1, "room:tea", "hi");
    assert_eq!(
        (world.heard(BILLY), world.heard(carl)),
        (vec!["Anna: hi".into()], vec!["Anna: hi".into()])
    );
    assert_eq!((world.heard(dora), world.heard(ANNA)), (vec![], vec![]));
    world.told(ANNA);
    world.done(carl, ChatRequest::Leave(name("tea")));
    world.run(200);
    assert!(world.told(ANNA).iter().any(|event| matches!(event,
        ChatEvent::Room { all: false, left, .. } if left[..] == [name("Carl")])));
    world.send(dora, 1, "room:tea", "let me in");
    assert_eq!(world.ends(dora), [(1, Outcome::Refused(ErrorCode::NotInRoom))]);
    world.cut(1, 2);
    world.run(200);
    assert_eq!(members(&mut world, 0), ["Anna"]);
}

#[test]
fn a_broadcast_reaches_everybody() {
    let mut world = World::chain(3);
    let carl = Person(1, 13, "Carl");
    world.people([ANNA, BILLY, carl]);
    world.send(ANNA, 1, "all:", "tea is ready");
    assert_eq!(
        (world.heard(BILLY), world.heard(carl)),
        (vec!["Anna: tea is ready".into()], vec!["Anna: tea is ready".into()])
    );
    assert_eq!(world.ends(ANNA), [(1, Outcome::Delivered(2))]);
}

#[test]
fn signals_come_at_once_and_are_not_kept() {
    let mut world = World::chain(3);
    world.people([ANNA]);
    world.connect(BILLY, Some(token(3)));
    let typing = || {
        let signal = Post { kind: Kind::Signal, ..post(0, "Billy", "typing") };
        ChatRequest::Send(vec![signal])
    };
    world.done(ANNA, typing());
    assert!(
        matches!(&world.told(BILLY)[..], [ChatEvent::Signals(one)] if text(&one[0]) == "Anna: typing")
    );
    world.close(BILLY);
    world.done(ANNA, typing());
    world.done(Person(2, 30, ""), ChatRequest::Resume { token: token(3), received: 0 });
    assert!(world.told(Person(2, 30, "")).is_empty() && world.ends(ANNA).is_empty());
}

#[test]
fn a_watch_costs_what_changes() {
    let mut world = World::chain(3);
    let watcher = Person(0, 50, "");
    world.people([ANNA]);
    world.done(watcher, ChatRequest::WatchUsers(UsersWatch::Prefix("B".into())));
    let users = |event: &ChatEvent| match event {
        ChatEvent::Users { all, changes } => (
            *all,
            changes.iter().map(|one| (one.user.to_string(), one.sessions)).collect::<Vec<_>>(),
        ),
        other => panic!("{other:?}"),
    };
    assert_eq!(world.told(watcher).iter().map(users).collect::<Vec<_>>(), [(true, vec![])]);
    world.people([BILLY, Person(1, 13, "Carl")]);
    assert_eq!(
        world.told(watcher).iter().map(users).collect::<Vec<_>>(),
        [(false, vec![("Billy".into(), 1)])]
    );
    world.done(BILLY, ChatRequest::Status(Some("away".into())));
    world.run(200);
    assert!(matches!(&world.told(watcher)[..], [ChatEvent::Users { all: false, changes }]
        if changes[0].status.as_deref() == Some(b"away")));
    world.close(BILLY);
    world.run(200);
    assert!(matches!(&world.told(watcher)[..], [ChatEvent::Users { all: false, changes }]
        if changes[0].sessions == 0 && changes[0].seen_ms.is_some() && changes[0].status.is_none()));
    world.done(watcher, ChatRequest::WatchUsers(UsersWatch::Names(vec![name("Anna")])));
    world.told(watcher);
    world.close(ANNA);
    world.run(200);
    assert_eq!(
        world.told(watcher).iter().map(users).collect::<Vec<_>>(),
        [(false, vec![("Anna".into(), 0)])]
    );
}

#[test]
fn whoever_begins_to_watch_between_a_leaving_and_a_return_hears_of_the_return() {
    let mut world = World::chain(1);
    let [anna, billy] = world.people([Person(0, 1, "Anna"), Person(0, 2, "Billy")]);
    // Somebody was told of something just now: what follows waits for a moment.
    world.connect(Person(0, 3, "Carl"), None);
    world.done(billy, ChatRequest::Disconnect);
    world.done(anna, ChatRequest::WatchUsers(UsersWatch::Prefix(Bytes::new())));
    world.connect(billy, None);
    world.run(500);
    let mut online = std::collections::BTreeSet::new();
    for event in world.told(anna) {
        let ChatEvent::Users { all, changes } = event else { continue };
        if all {
            online.clear();
        }
        for change in changes.iter() {
            match change.sessions {
                0 => online.remove(change.user.as_str()),
                _ => online.insert(change.user.to_string()),
            };
        }
    }
    assert_eq!(Vec::from_iter(online), ["Anna", "Billy", "Carl"]);
}

#[test]
fn whoever_enters_a_room_between_a_leaving_and_a_return_hears_of_the_return() {
    let mut world = World::chain(1);
    let [anna, billy] = world.people([Person(0, 1, "Anna"), Person(0, 2, "Billy")]);
    world.done(billy, ChatRequest::Join(name("room")));
    world.run(500);
    world.connect(Person(0, 3, "Carl"), None);
    world.done(billy, ChatRequest::Leave(name("room")));
    world.done(anna, ChatRequest::Join(name("room")));
    world.done(billy, ChatRequest::Join(name("room")));
    world.run(500);
    let mut members = std::collections::BTreeSet::new();
    for event in world.told(anna) {
        let ChatEvent::Room { all, joined, left, .. } = event else { continue };
        if all {
            members.clear();
        }
        members.extend(joined.iter().map(Name::to_string));
        members.retain(|member| !left.iter().any(|name| name.as_str() == member));
    }
    assert_eq!(Vec::from_iter(members), ["Anna", "Billy"]);
}

#[test]
fn pages_of_users_follow_each_other() {
    let mut world = World::chain(2);
    let names: Vec<String> = (0..25).map(|n| format!("user-{n:02}")).collect();
    for (n, user) in names.iter().enumerate() {
        let who = Person(n % 2, 100 + n as u64, "");
        let connect =
            Connect { user: name(user), client: ClientId(1), resume: None, visible: true };
        world.done(who, ChatRequest::Connect(connect));
    }
    world.run(500);
    let (mut after, mut seen) = (Bytes::new(), Vec::new());
    loop {
        let page = ChatRequest::Users { prefix: "user".into(), after: after.clone(), limit: 10 };
        let Reply::Users(users, more) = world.chat(Person(1, 99, ""), page) else { panic!() };
        seen.extend(users.iter().map(|one| one.user.to_string()));
        if !more {
            break;
        }
        after = users.last().unwrap().user.as_bytes().clone();
    }
    assert_eq!(seen, names);
    let page = ChatRequest::Users { prefix: Bytes::new(), after, limit: NAMES_MAX + 1 };
    assert!(matches!(world.chat(ANNA, page), Reply::Failed(ErrorCode::NamesMax, 0)));
}

#[test]
fn a_session_that_speaks_for_another_user_speaks_no_more_for_the_first() {
    let mut world = World::chain(2);
    world.people([ANNA]);
    world.connect(Person(0, 11, "Zed"), None);
    world.run(100);
    assert_eq!(world.online(1), ["Zed"]);
    world.done(ANNA, ChatRequest::Disconnect);
    assert!(world.online(1).is_empty());
    let refused = world.chat(ANNA, ChatRequest::Send(vec![post(1, "Zed", "x")]));
    assert!(matches!(refused, Reply::Failed(ErrorCode::NotConnected, 0)));
}

#[test]
fn a_session_that_is_not_seen_can_send_and_gets_nothing() {
    let mut world = World::chain(2);
    world.people([ANNA]);
    let bot = Person(1, 60, "bot");
    let connect = Connect { user: name("bot"), client: ClientId(7), resume: None, visible: false };
    world.done(bot, ChatRequest::Connect(connect));
    world.send(bot, 1, "Anna", "beep");
    assert_eq!(world.heard(ANNA), ["bot: beep"]);
    assert_eq!(world.ends(bot), [(1, Outcome::Delivered(1))]);
    assert_eq!(world.online(0), ["Anna"]);
    world.send(ANNA, 1, "all:", "anybody?");
    assert_eq!(world.heard(bot), [""; 0]);
}

#[test]
fn limits_hold_to_the_one() {
    let mut world = World::chain(1);
    world.people([ANNA]);
    let most = "x".repeat(CHAT_BODY_BYTES_MAX);
    world.send(ANNA, 1, "nobody", &most);
    world.send(ANNA, 2, "nobody", &(most + "x"));
    let large = Outcome::Refused(ErrorCode::MessageTooLarge);
    assert_eq!(world.ends(ANNA), [(1, Outcome::Unknown), (2, large)]);
    for room in 0..ROOMS_MAX {
        world.done(ANNA, ChatRequest::Join(name(&format!("room-{room}"))));
    }
    world.done(ANNA, ChatRequest::Join(name("room-1")));
    let reply = world.chat(ANNA, ChatRequest::Join(name("one more")));
    assert!(matches!(reply, Reply::Failed(ErrorCode::RoomsMax, 0)));
    let status = |length| ChatRequest::Status(Some("s".repeat(length).into()));
    world.done(ANNA, status(STATUS_BYTES_MAX));
    for bad in [status(STATUS_BYTES_MAX + 1), ChatRequest::Status(Some("a\0".into()))] {
        assert!(matches!(world.chat(ANNA, bad), Reply::Failed(ErrorCode::StatusText, 0)));
    }
    let names = |count: usize| (0..count).map(|n| name(&n.to_string())).collect();
    world.done(ANNA, ChatRequest::WatchUsers(UsersWatch::Names(names(NAMES_MAX))));
    let more = ChatRequest::WatchUsers(UsersWatch::Names(names(NAMES_MAX + 1)));
    assert!(matches!(world.chat(ANNA, more), Reply::Failed(ErrorCode::NamesMax, 0)));
}

#[test]
fn a_session_that_does_not_take_in_its_messages_is_ended_and_its_senders_hear_of_it() {
    let mut world = World::chain(2);
    let reader = Person(1, 12, "Billy");
    world.people([ANNA, reader]);
    let body = "x".repeat(CHAT_BODY_BYTES_MAX);
    let fit = UNREAD_BYTES_MAX / (CHAT_BODY_BYTES_MAX + 64);
    for number in 1..=fit as u64 {
        world.send(ANNA, number, "Billy", &body);
    }
    assert!(!world.told(reader).iter().any(|event| matches!(event, ChatEvent::Ended(_))));
    world.send(ANNA, fit as u64 + 1, "Billy", &body);
    assert!(matches!(world.told(reader).last(), Some(ChatEvent::Ended(NOT_READING))));
    world.run(11_000);
    let ends = world.ends(ANNA);
    assert_eq!(ends.len(), fit + 1);
    assert!(ends.iter().all(|(_, outcome)| *outcome == Outcome::Offline));
    assert_eq!(world.online(0), ["Anna"]);
}

#[test]
fn a_sender_with_too_much_under_way_is_refused_and_told_in_order() {
    let mut world = World::chain(1);
    world.people([ANNA, Person(0, 12, "Billy"), Person(0, 13, "Carl")]);
    let batch = (1..=UNSETTLED_MAX as u64 / 2).map(|n| post(n, "Billy", "")).collect();
    world.done(ANNA, ChatRequest::Send(batch));
    let batch = (UNSETTLED_MAX as u64 / 2 + 1..=UNSETTLED_MAX as u64).map(|n| post(n, "Carl", ""));
    world.done(ANNA, ChatRequest::Send(batch.collect()));
    world.send(ANNA, 1_000_000, "Carl", "");
    assert_eq!(world.heard(Person(0, 12, "Billy")).len(), UNSETTLED_MAX / 2);
    world.heard(Person(0, 13, "Carl"));
    let ends = world.ends(ANNA);
    assert_eq!(ends.len(), UNSETTLED_MAX + 1);
    assert_eq!(ends.last(), Some(&(1_000_000, Outcome::Refused(ErrorCode::Unsettled))));
    assert!(ends[..UNSETTLED_MAX].iter().all(|(_, end)| *end == Outcome::Delivered(1)));
}

#[test]
fn a_gap_in_the_deltas_is_asked_for() {
    let mut world = World::chain(2);
    // Links that lose what comes: as if a delta had not arrived.
    let links = std::mem::take(&mut world.links);
    world.connect(ANNA, None);
    world.links = links;
    assert!(world.online(1).is_empty());
    world.connect(Person(0, 12, "Billy"), None);
    world.run(4_000);
    assert_eq!(world.online(1), ["Anna", "Billy"]);
    let links = std::mem::take(&mut world.links);
    world.connect(Person(0, 13, "Carl"), None);
    world.links = links;
    world.run(30_000);
    assert_eq!(world.online(1), ["Anna", "Billy", "Carl"], "the last one, that nothing follows");
}

#[test]
fn who_watches_is_told_that_users_went_and_came_back_with_their_node() {
    for restarted in [false, true] {
        let mut world = World::chain(2);
        let (anna, billy) = (ANNA, Person(1, 12, "Billy"));
        world.people([anna, billy]);
        let everybody = UsersWatch::Prefix(Bytes::new());
        world.done(billy, ChatRequest::WatchUsers(everybody));
        world.told(billy);
        world.cut(0, 1);
        world.run(1_000);
        assert_eq!(world.online_as_told(billy, anna), Some(false));
        if restarted {
            world.restart(0);
            world.connect(anna, None);
        }
        world.link(0, 1);
        world.run(1_000);
        assert_eq!(world.online(1), ["Anna", "Billy"]);
        assert_eq!(world.online_as_told(billy, anna), Some(true), "restarted: {restarted}");
    }
}

impl World {
    /// Whether somebody is online, as `who` was told last.
    fn online_as_told(&mut self, who: Person, whom: Person) -> Option<bool> {
        let told = self.told(who).into_iter();
        let changes = told.filter_map(|event| match event {
            ChatEvent::Users { changes, .. } => Some(changes),
            _ => None,
        });
        let of =
            changes.flat_map(|changes| changes.to_vec()).filter(|one| one.user == name(whom.2));
        of.last().map(|one| one.sessions > 0)
    }
}

#[test]
fn what_is_unread_for_long_is_settled_when_it_is_read_however_often_it_is_sent_again() {
    let mut world = World::chain(2);
    let [anna, _] = world.people([Person(0, 10, "Anna"), Person(1, 11, "Billy")]);
    // More than there are ranges of numbers, for what goes to others lies between.
    let to_billy: Vec<u64> = (1..200).step_by(2).collect();
    for number in &to_billy {
        world.send(anna, *number, "Billy", "x");
        world.send(anna, number + 1, "all:", "y");
    }
    world.run(30_000);
    assert_eq!(world.ends(anna), [], "Billy has taken in nothing yet");
    let billy = Person(1, 11, "Billy");
    assert_eq!(world.heard(billy).len(), 2 * to_billy.len());
    world.run(1_000);
    let ends = world.ends(anna);
    assert_eq!(ends.len(), 2 * to_billy.len());
    assert!(ends.iter().all(|(_, end)| *end == Outcome::Delivered(1)), "{ends:?}");
}
