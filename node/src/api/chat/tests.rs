//! The library's chat on one node and on two.

use super::session::ORDERS_MAX;
use super::*;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::limits::{CHAT_BODY_BYTES_MAX, MESSAGE_COST_BYTES, UNSETTLED_BYTES_MAX};
use futures_util::FutureExt;
use std::time::Duration;

async fn node() -> Node {
    Node::builder().listen("127.0.0.1:0").start().await.expect("a node with defaults starts")
}

async fn heard(session: &ChatSession) -> Heard {
    let next = tokio::time::timeout(Duration::from_secs(20), session.next()).await;
    next.expect("something is heard").expect("the session is open")
}

/// The next message, whatever else is heard.
async fn message(session: &ChatSession) -> Message {
    loop {
        if let Heard::Message(message) = heard(session).await {
            return message;
        }
    }
}

#[tokio::test]
async fn many_messages_arrive_in_order_and_are_settled_when_the_next_is_asked_for() {
    let node = node().await;
    let anna = node.chat().connect("anna").await.unwrap();
    let billy = node.chat().connect("billy").await.unwrap();
    let sent: Vec<Sending> = (0..500).map(|n| anna.send("billy", &n)).collect();
    for n in 0..500u32 {
        let message = message(&billy).await;
        assert_eq!(message.body().parse::<u32>().unwrap(), n);
        assert_eq!(message.number(), u64::from(n) + 1);
    }
    let mut sent = sent.into_iter();
    for sending in sent.by_ref().take(499) {
        assert_eq!(sending.await.unwrap(), Outcome::Delivered(1));
    }
    // The last one is told and not taken in.
    let mut last = sent.next().unwrap();
    assert!((&mut last).now_or_never().is_none());
    tokio::select! {
        outcome = &mut last => assert_eq!(outcome.unwrap(), Outcome::Delivered(1)),
        _ = billy.next() => unreachable!("nothing more comes"),
    }
    node.close().await;
}

#[tokio::test]
async fn by_hand_nothing_is_taken_in_before_it_is_said() {
    let node = node().await;
    let options = ConnectOptions { acknowledge_by_hand: true, ..ConnectOptions::default() };
    let anna = node.chat().connect("anna").await.unwrap();
    let billy = node.chat().connect_with("billy", options).await.unwrap();
    let (mut first, mut second) = (anna.send("billy", "1"), anna.send("billy", "2"));
    message(&billy).await;
    let last = message(&billy).await;
    // What the engine was asked last has been done: an acknowledgement would have been, too.
    billy.status(None).await.unwrap();
    anna.status(None).await.unwrap();
    assert!((&mut first).now_or_never().is_none());
    billy.received(last.number());
    assert_eq!(first.await.unwrap(), Outcome::Delivered(1));
    assert_eq!((&mut second).await.unwrap(), Outcome::Delivered(1));
    node.close().await;
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let node = node().await;
    let anna = node.chat().connect("anna").await.unwrap();
    for bad in ["", " anna", "a\nb", &"n".repeat(129)] {
        assert_eq!(anna.send(bad, "x").await.unwrap_err().code(), Some(ErrorCode::Name), "{bad:?}");
        assert!(anna.join(bad).await.is_err() && node.chat().connect(bad).await.is_err());
    }
    let outside = anna.say("tea", "x").await.unwrap();
    assert_eq!(outside, Outcome::Refused(ErrorCode::NotInRoom));
    let large = anna.send("billy", &"x".repeat(CHAT_BODY_BYTES_MAX)).await.unwrap();
    assert_eq!(large, Outcome::Refused(ErrorCode::MessageTooLarge));
    let deep = serde_json::from_str::<serde_json::Value>(&("[".repeat(33) + &"]".repeat(33)));
    assert!(matches!(anna.send("billy", &deep.unwrap()).await, Err(Error::Value(_))));
    let long = anna.status(Some(&"x".repeat(129))).await;
    assert_eq!(long.unwrap_err().code(), Some(ErrorCode::StatusText));
    assert!(node.chat().users("", "", 1_001).await.is_err());
    node.close().await;
}

#[tokio::test]
async fn more_than_may_be_on_its_way_is_refused_and_does_not_harm_what_follows() {
    let node = node().await;
    let anna = node.chat().connect("anna").await.unwrap();
    let body = "x".repeat(60_000);
    let sent: Vec<Sending> = (0..200).map(|_| anna.send("nobody", &body)).collect();
    let mut outcomes = Vec::new();
    for sending in sent {
        outcomes.push(sending.await.unwrap());
    }
    let taken = outcomes.iter().take_while(|outcome| **outcome == Outcome::Unknown).count();
    assert_eq!(taken, UNSETTLED_BYTES_MAX / (60_002 + MESSAGE_COST_BYTES) + 1);
    let mut refused = outcomes[taken..].iter();
    assert!(refused.all(|outcome| *outcome == Outcome::Refused(ErrorCode::Unsettled)));
    assert_eq!(anna.broadcast("still here").await.unwrap(), Outcome::Delivered(0));
    node.close().await;
}

#[tokio::test]
async fn so_many_orders_wait_and_a_message_more_is_refused() {
    let node = node().await;
    let anna = node.chat().connect("anna").await.unwrap();
    // The session's task does not run before this one waits.
    (0..ORDERS_MAX - 1).for_each(|_| anna.received(0));
    let (last, more) = (anna.broadcast("the last"), anna.broadcast("one more"));
    assert_eq!(more.await.unwrap(), Outcome::Refused(ErrorCode::Unsettled));
    assert_eq!(last.await.unwrap(), Outcome::Delivered(0));
    assert_eq!(anna.broadcast("again").await.unwrap(), Outcome::Delivered(0));
    node.close().await;
}

#[tokio::test]
async fn an_end_is_told_with_its_reason_and_ends_what_waits() {
    let node = node().await;
    let anna = node.chat().connect("anna").await.unwrap();
    let billy = node.chat().connect("billy").await.unwrap();
    let sending = anna.send("billy", "are you there?");
    message(&billy).await;
    node.close().await;
    assert!(anna.next().await.is_none());
    assert_eq!(anna.ended(), Some("the node is shutting down"));
    assert_eq!(sending.await.unwrap_err().code(), Some(ErrorCode::Closing));
    assert_eq!(anna.send("billy", "?").await.unwrap_err().code(), Some(ErrorCode::Closing));
    assert_eq!(anna.join("tea").await.unwrap_err().code(), Some(ErrorCode::Closing));
}

#[tokio::test]
async fn on_two_nodes_people_see_and_hear_each_other_and_who_leaves_is_gone() {
    let secret = "a secret for two nodes of a test";
    let builder = || Node::builder().listen("127.0.0.1:0").secret(secret);
    let first = builder().start().await.unwrap();
    let second = builder().peer(first.url()).start().await.unwrap();
    let anna = first.chat().connect("anna").await.unwrap();
    let billy = second.chat().connect("billy").await.unwrap();
    anna.join("tea").await.unwrap();
    anna.watch_users("b").await.unwrap();
    loop {
        if let Heard::Users(change) = heard(&anna).await
            && change.users.iter().any(|user| user.user.as_str() == "billy" && user.sessions == 1)
        {
            break;
        }
    }
    let sending = anna.send("billy", "hi");
    let message = message(&billy).await;
    billy.post(message.answer_to(), "hi yourself");
    billy.signal(message.answer_to(), "typing").unwrap();
    assert_eq!(self::message(&anna).await.body().to_string(), "\"hi yourself\"");
    loop {
        if let Heard::Signal(signal) = heard(&anna).await {
            break assert_eq!((signal.from(), signal.number()), ("billy", 0));
        }
    }
    billy.received(message.number());
    assert_eq!(sending.await.unwrap(), Outcome::Delivered(1));
    billy.close().await.unwrap();
    loop {
        if let Heard::Users(change) = heard(&anna).await
            && change.users.iter().any(|user| user.sessions == 0 && user.seen_ms.is_some())
        {
            break;
        }
    }
    assert_eq!(anna.send("billy", "gone?").await.unwrap(), Outcome::Offline);
    second.close().await;
    first.close().await;
}
