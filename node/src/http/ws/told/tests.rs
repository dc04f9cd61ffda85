//! Frames as a client reads them.

use super::*;
use crate::websocket::reader::{Reader, Received, Sender};
use folkmoot_core::error::ErrorCode;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// The texts of frames.
fn texts(frames: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    let fed = Reader::new(Sender::Server).feed(&mut frames.to_vec(), &mut |received| {
        let Received::Text(text) = received else { panic!("{received:?}") };
        all.push(text.to_owned());
        ControlFlow::Continue(())
    });
    assert_eq!(fed, Ok(ControlFlow::Continue(())));
    all
}

fn values(frames: &[u8]) -> Vec<Value> {
    texts(frames).iter().map(|text| serde_json::from_str(text).expect(text)).collect()
}

fn told(event: &ChatEvent) -> Vec<Value> {
    let mut out = Vec::new();
    push_event(&mut out, &mut Tails::default(), event);
    values(&out)
}

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

fn message(to: Target, body: &str) -> Message {
    Message {
        from: name("billy \"b\""),
        client: ClientId(0xab),
        number: 7,
        to,
        kind: Kind::Message,
        sent_ms: 1_764_057_600_000,
        remote: false,
        body: body.to_owned().into(),
    }
}

#[test]
fn messages_are_numbered_on_and_bodies_pass_as_they_were_written() {
    let to_user = Arc::new(message(Target::User(name("anna")), "{ \"text\" : 1.00 }"));
    let to_all = Arc::new(message(Target::Everyone, "null"));
    let mut out = Vec::new();
    let event = ChatEvent::Messages { first: 9, messages: vec![to_user, to_all] };
    push_event(&mut out, &mut Tails::default(), &event);
    assert_eq!(
        texts(&out),
        [
            r#"{"op":"message","n":9,"from":"billy \"b\"","client":"00000000000000ab","m":7,"to":"anna","at":1764057600000,"body":{ "text" : 1.00 }}"#,
            r#"{"op":"message","n":10,"from":"billy \"b\"","client":"00000000000000ab","m":7,"all":true,"at":1764057600000,"body":null}"#,
        ]
    );
}

#[test]
fn a_signal_has_no_numbers() {
    let mut signal = message(Target::Room(name("tea")), "\"typing\"");
    signal.kind = Kind::Signal;
    let expected = json!([{
        "op": "signal", "from": "billy \"b\"", "client": "00000000000000ab", "room": "tea",
        "at": 1_764_057_600_000_u64, "body": "typing",
    }]);
    assert_eq!(json!(told(&ChatEvent::Signals(vec![Arc::new(signal)]))), expected);
}

#[test]
fn what_another_node_sent_that_is_no_json_is_told_as_a_string() {
    for (body, said) in [("{\"a\":1}", json!({"a": 1})), ("{", json!("{")), ("1}", json!("1}"))] {
        let mut message = message(Target::Everyone, body);
        message.remote = true;
        let event = ChatEvent::Messages { first: 1, messages: vec![Arc::new(message)] };
        assert_eq!(told(&event)[0]["body"], said);
    }
}

#[test]
fn what_goes_to_many_is_encoded_once_and_the_same_as_for_one() {
    let mut tails = Tails::default();
    // More messages than there are slots, so that slots are used again.
    let messages: Vec<_> = (0..3 * TAILS_MAX)
        .map(|n| Arc::new(message(Target::Room(name("tea")), &format!("{n}"))))
        .collect();
    let others: Vec<_> = (0..SHARED_MIN).map(|_| messages.clone()).collect();
    let event = ChatEvent::Messages { first: 1, messages: messages.clone() };
    let (mut first, mut again) = (Vec::new(), Vec::new());
    push_event(&mut first, &mut tails, &event);
    push_event(&mut again, &mut tails, &event);
    let mut fresh = Vec::new();
    push_event(&mut fresh, &mut Tails::default(), &event);
    assert!(first == again && first == fresh);
    assert!(tails.slots.iter().flatten().count() > TAILS_MAX / 2);
    drop((others, event));
    // Nothing of a message is kept but its encoding.
    let place = Arc::downgrade(&messages[0]);
    drop(messages);
    assert!(place.upgrade().is_none());
}

#[test]
fn every_outcome_has_its_words() {
    let one = |from, upto, outcome| Settled { from, upto, outcome };
    let event = ChatEvent::Settled(vec![
        one(1, 3, Outcome::Delivered(2)),
        one(4, 4, Outcome::Offline),
        one(5, 5, Outcome::Unknown),
        one(6, 6, Outcome::Refused(ErrorCode::MessageTooLarge)),
    ]);
    let expected = json!([
        {"op": "settled", "from": 1, "upto": 3, "outcome": "delivered", "sessions": 2},
        {"op": "settled", "from": 4, "upto": 4, "outcome": "offline"},
        {"op": "settled", "from": 5, "upto": 5, "outcome": "unknown"},
        {"op": "settled", "from": 6, "upto": 6, "outcome": "refused", "code": 113,
         "error": "message_too_large"},
    ]);
    assert_eq!(json!(told(&event)), expected);
}

#[test]
fn a_long_list_of_users_comes_in_pieces_of_which_the_first_begins_anew() {
    let user = |n: u32| Presence {
        user: name(&format!("user {n}")),
        sessions: n % 2,
        status: (n == 1).then(|| "a\"b".into()),
        seen_ms: (n == 2).then_some(5),
    };
    let count = 2 * LIST_MAX as u32 + 1;
    let changes: Vec<_> = (0..count).map(user).collect();
    let told_users = |all, changes| told(&ChatEvent::Users { all, changes: Arc::new(changes) });
    let frames = told_users(true, changes);
    let all: Vec<_> = frames.iter().map(|frame| &frame["all"]).collect();
    assert_eq!(all, [true, false, false]);
    let users = frames.iter().flat_map(|frame| frame["users"].as_array().unwrap());
    assert_eq!(users.count(), count as usize);
    assert_eq!(frames[0]["users"][1], json!({"user": "user 1", "sessions": 1, "status": "a\"b"}));
    assert_eq!(frames[0]["users"][2], json!({"user": "user 2", "sessions": 0, "seen": 5}));
    let nobody = json!([{"op": "users", "all": true, "users": []}]);
    assert_eq!(json!(told_users(true, Vec::new())), nobody);
}

#[test]
fn rooms_welcomes_and_errors_are_one_object_each() {
    let event = ChatEvent::Room {
        room: name("tea"),
        all: false,
        joined: vec![name("a"), name("b")],
        left: vec![],
    };
    let room = json!({"op": "room", "room": "tea", "all": false, "joined": ["a", "b"], "left": []});
    assert_eq!(told(&event), [room]);
    let anna = name("anna");
    let welcome = Welcome { user: Some((&anna, ClientId(1))), node: "6f", session: "d4" };
    let expected = json!({
        "op": "welcome", "user": "anna", "client": "0000000000000001", "node": "6f",
        "session": "d4", "resumed": false,
    });
    assert_eq!(values(&welcome.frame()), [expected]);
    let resumed = Welcome { user: None, ..welcome };
    let expected = json!({"op": "welcome", "node": "6f", "session": "d4", "resumed": true});
    assert_eq!(values(&resumed.frame()), [expected]);
    let mut out = Vec::new();
    push_error(&mut out, &ErrorCode::Name.into(), Some("\"x\""), Some(3));
    let error = &values(&out)[0];
    assert_eq!(
        (&error["op"], &error["error"], &error["code"]),
        (&json!("error"), &json!("name"), &json!(112))
    );
    assert_eq!((&error["id"], &error["n"]), (&json!("x"), &json!(3)));
    assert!(error["detail"].is_string());
}

proptest! {
    #[test]
    fn whatever_names_and_bodies_hold_each_frame_is_one_object(
        from in "\\PC{1,20}",
        room in "\\PC{1,20}",
        text in ".{0,300}",
    ) {
        let (Ok(from), Ok(room)) = (Name::new(from), Name::new(room)) else { return Ok(()) };
        let body = json!([text]).to_string();
        let message = Message { from: from.clone(), ..message(Target::Room(room.clone()), &body) };
        let told = told(&ChatEvent::Messages { first: 1, messages: vec![Arc::new(message)] });
        prop_assert_eq!(&told[0]["from"], from.as_str());
        prop_assert_eq!(&told[0]["room"], room.as_str());
        prop_assert_eq!(&told[0]["body"], &json!([text]));
    }
}
