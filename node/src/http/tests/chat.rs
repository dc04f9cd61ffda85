//! `/v1/chat`: messages, users and streams over plain HTTP.

use super::watch::{Client, Event};
use super::*;
use crate::http::chat::LETTERS_MAX;
use crate::http::limits::LETTER_BODY_BYTES_MAX;
use folkmoot_core::limits::CHAT_BODY_BYTES_MAX;
use serde_json::{Value, json};

const SEND: &str = "POST /v1/chat/messages";

impl Client {
    /// The next event of a name; those of others are left out.
    async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }
}

/// A stream, welcomed.
async fn listen(door: &Doorstep, query: &str) -> Client {
    let mut client = Client::start(door, &format!("GET /v1/chat/stream?{query}"), "").await;
    let welcome = client.next().await.unwrap();
    assert_eq!((&welcome.name[..], &welcome.data["resumed"]), ("welcome", &json!(false)));
    assert!(welcome.id.is_some());
    client
}

/// Sends, and reads the stream that must hear it, until it is answered.
async fn send_to(door: &Doorstep, client: &mut Client, body: &str) -> (Value, Event) {
    let answer = door.tell(SEND, body);
    tokio::pin!(answer);
    let mut heard = None;
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            event = client.until("message") => assert!(heard.replace(event).is_none(), "once"),
        }
    };
    assert_eq!(answer.status, 200, "{}", answer.body);
    (answer.json(), heard.expect("it was delivered"))
}

#[tokio::test]
async fn a_message_arrives_and_its_sender_learns_it() {
    let door = doorstep().await;
    let mut billy = listen(&door, "user=billy").await;
    let text = r#"{"from":"anna","to":"billy","body":{"n" : 1.00},"id":"first"}"#;
    let (answer, event) = send_to(&door, &mut billy, text).await;
    assert_eq!(answer, json!({"id": "first", "outcome": "delivered", "sessions": 1}));
    assert_eq!((&event.data["from"], &event.data["to"]), (&json!("anna"), &json!("billy")));
    assert_eq!((&event.data["n"], &event.data["body"]["n"]), (&json!(1), &json!(1.0)));
    // The sender is not seen.
    let users = door.ask("GET /v1/chat/users").await.json();
    assert_eq!(users, json!({"users": [{"user": "billy", "sessions": 1}]}));

    // A repeat is known, and arrives no second time.
    let again = door.tell(SEND, text).await.json();
    assert_eq!(again["outcome"], "delivered");
    let text = r#"{"from":"anna","to":"billy","body":"second"}"#;
    let (_, event) = send_to(&door, &mut billy, text).await;
    assert_eq!((&event.data["n"], &event.data["body"]), (&json!(2), &json!("second")));
    door.close().await;
}

#[tokio::test]
async fn rooms_everybody_and_nobody_are_answered_each_in_its_way() {
    let door = doorstep().await;
    let mut billy = listen(&door, "user=billy&room=tea%20room&users=").await;
    let room = billy.until("room").await;
    assert_eq!((&room.data["all"], &room.data["joined"]), (&json!(true), &json!(["billy"])));
    assert_eq!(billy.until("users").await.data["users"][0]["user"], "billy");
    let text = r#"{"from":"anna","room":"tea room","body":1}"#;
    let (answer, event) = send_to(&door, &mut billy, text).await;
    assert_eq!((&answer["sessions"], &event.data["room"]), (&json!(1), &json!("tea room")));
    let text = r#"{"from":"anna","all":true,"body":null}"#;
    let (_, event) = send_to(&door, &mut billy, text).await;
    assert_eq!((&event.data["all"], &event.data["body"]), (&json!(true), &Value::Null));
    let text = r#"{"from":"anna","to":"carl","body":1}"#;
    assert_eq!(door.tell(SEND, text).await.json()["outcome"], "unknown");
    door.close().await;
}

#[tokio::test]
async fn a_stream_that_is_taken_up_again_misses_nothing_and_repeats_nothing() {
    let door = doorstep().await;
    let mut billy = listen(&door, "user=billy").await;
    let mut ids = Vec::new();
    for n in 1..=3 {
        let text = format!(r#"{{"from":"anna","to":"billy","body":{n}}}"#);
        let (_, event) = send_to(&door, &mut billy, &text).await;
        ids.push(event.id.unwrap());
    }
    drop(billy);
    // It is written while nobody reads, and waits.
    let text = r#"{"from":"anna","to":"billy","body":4}"#;
    let late = door.tell(SEND, text);
    let back = async {
        let line = "GET /v1/chat/stream?user=billy";
        let mut client = Client::start(&door, line, &format!("last-event-id: {}", ids[0])).await;
        let welcome = client.until("welcome").await;
        assert_eq!(welcome.data["resumed"], true);
        // What the transport had taken from the first stream may not have arrived.
        for n in 2..=4 {
            let event = client.until("message").await;
            assert_eq!((&event.data["n"], &event.data["body"]), (&json!(n), &json!(n)));
        }
        let silence = tokio::time::timeout(std::time::Duration::from_millis(50), client.next());
        assert!(silence.await.is_err(), "nothing comes twice");
    };
    let (answer, ()) = tokio::join!(late, back);
    assert_eq!(answer.json()["outcome"], "delivered");

    let unknown = format!("{}-7", "ab".repeat(16));
    let line = format!("GET /v1/chat/stream?user=billy&since={unknown}");
    let mut client = Client::start(&door, &line, "").await;
    let welcome = client.until("welcome").await;
    assert_eq!(welcome.data["resumed"], false);
    assert!(!welcome.id.unwrap().starts_with("abab"), "a token is never the client's choice");
    door.close().await;
}

#[tokio::test]
async fn users_come_in_pages() {
    let door = doorstep().await;
    let mut open = Vec::new();
    for name in ["ab", "aa", "b", "%C3%A9"] {
        open.push(listen(&door, &format!("user={name}")).await);
    }
    let names = |answer: &Answer| -> Vec<String> {
        let users = answer.json()["users"].as_array().unwrap().clone();
        users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect()
    };
    let first = door.ask("GET /v1/chat/users?limit=2").await;
    assert_eq!(
        (names(&first), &first.json()["after"]),
        (vec!["aa".into(), "ab".into()], &json!("ab"))
    );
    let second = door.ask("GET /v1/chat/users?limit=2&after=ab").await;
    assert_eq!(names(&second), ["b", "é"]);
    assert!(second.json().get("after").is_none());
    assert_eq!(names(&door.ask("GET /v1/chat/users?prefix=a").await), ["aa", "ab"]);
    let status = door.ask("GET /v1/status").await.json();
    assert_eq!((&status["chat"]["sessions"], &status["chat"]["users"]), (&json!(4), &json!(4)));
    assert_eq!(door.ask("GET /v1/mesh").await.json()["nodes"][0]["users"], 4);
    let metrics = door.ask("GET /metrics").await.body;
    assert!(metrics.contains("\nfolkmoot_chat_users 4\n"), "{metrics}");
    door.close().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_node_shuts_down_and_one_that_is_taken_over_is_told_so() {
    let door = doorstep().await;
    let mut client = Client::start(&door, "GET /v1/chat/stream?user=billy", "").await;
    let id = client.next().await.unwrap().id.unwrap();
    let line = format!("GET /v1/chat/stream?user=billy&since={id}");
    let mut other = Client::start(&door, &line, "").await;
    assert_eq!(other.next().await.unwrap().data["resumed"], true);
    let end = client.until("end").await;
    assert!(end.data["reason"].as_str().unwrap().contains("another connection"));
    assert!(client.next().await.is_none());
    door.stop.send_replace(true);
    assert!(other.next().await.is_none());
    door.close().await;
}

#[tokio::test]
async fn bad_messages_are_refused_and_nobody_hears_them() {
    let door = doorstep().await;
    let mut billy = listen(&door, "user=billy").await;
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    let long = "n".repeat(129);
    let large = format!("\"{}\"", "x".repeat(64 * 1024 - 1));
    let with = |rest: &str| format!(r#"{{"from":"anna",{rest}}}"#);
    for (text, status, error) in [
        (String::new(), 400, "not_json"),
        ("[]".into(), 400, "not_json"),
        ("null".into(), 400, "not_json"),
        (r#"{"to":"billy","body":1}"#.into(), 400, "not_json"),
        (r#"{"from":{"a":1},"to":"billy","body":1}"#.into(), 400, "not_json"),
        (r#"{"from":null,"to":"billy","body":1}"#.into(), 400, "not_json"),
        (r#"{"from":"","to":"billy","body":1}"#.into(), 400, "name"),
        (with(r#""to":"billy""#), 400, "not_json"),
        (with(r#""body":1"#), 400, "not_json"),
        (with(r#""to":"billy","room":"tea","body":1"#), 400, "not_json"),
        (with(r#""to":"billy","all":true,"body":1"#), 400, "not_json"),
        (with(r#""all":false,"body":1"#), 400, "not_json"),
        (with(r#""to":7,"body":1"#), 400, "not_json"),
        (with(r#""to":"billy","body":1,"forwarded":true"#), 400, "not_json"),
        (with(r#""to":"billy","body":1,"body":2"#), 400, "json_repeats"),
        (with(r#""to":" billy","body":1"#), 400, "name"),
        (with(r#""to":"a\nb","body":1"#), 400, "name"),
        (with(&format!(r#""room":"{long}","body":1"#)), 400, "name"),
        (with(&format!(r#""to":"billy","body":{deep}"#)), 400, "json_too_deep"),
        (with(&format!(r#""to":"billy","body":{large}"#)), 413, "message_too_large"),
        (with(&format!(r#""to":"billy","body":[{large},{large}]"#)), 413, "body_too_large"),
        (with(r#""to":"billy","body":1,"id":"""#), 400, "not_json"),
        (with(&format!(r#""to":"billy","body":1,"id":"{}""#, "x".repeat(257))), 400, "not_json"),
    ] {
        let answer = door.tell(SEND, &text).await;
        let start: String = text.chars().take(80).collect();
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{start}");
    }
    let answer = door.ask_with(SEND, "content-type: text/plain", with(r#""all":true,"body":1"#));
    assert_eq!(answer.await.status, 415);
    for line in [
        "GET /v1/chat/users?limit=0",
        "GET /v1/chat/users?limit=1001",
        "GET /v1/chat/users?prefix=%ff",
        "GET /v1/chat/users?all=1",
        "GET /v1/chat/stream",
        "GET /v1/chat/stream?user=",
        "GET /v1/chat/stream?user=a%00",
        "GET /v1/chat/stream?user=a&user=b",
        "GET /v1/chat/stream?user=a&room=",
        "GET /v1/chat/stream?user=a&since=7",
        "POST /v1/chat/messages?to=billy",
    ] {
        assert!(matches!(door.ask(line).await.status, 400 | 415), "{line}");
    }
    let silence = tokio::time::timeout(std::time::Duration::from_millis(50), billy.next());
    assert!(silence.await.is_err());
    // Names that other programs stumble over are names.
    for name in ["constructor", "__proto__", "<b>", "Анна"] {
        let text = format!(r#"{{"from":"{name}","to":"{name}","body":1}}"#);
        assert_eq!(door.tell(SEND, &text).await.json()["outcome"], "unknown", "{name}");
    }
    door.close().await;
}

#[tokio::test]
async fn a_letter_of_the_largest_size_arrives_and_one_byte_more_is_refused() {
    let door = doorstep().await;
    let mut billy = listen(&door, "user=billy").await;
    let with = |body: u8| format!(r#"{{"from":"anna","to":"billy","body":{body}}}"#);
    let (_, heard) = send_to(&door, &mut billy, &padded(&with(1), LETTER_BODY_BYTES_MAX)).await;
    assert_eq!(heard.data["body"], 1);
    let answer = door.tell(SEND, &padded(&with(2), LETTER_BODY_BYTES_MAX + 1)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (413, &json!("body_too_large")));
    let (_, heard) = send_to(&door, &mut billy, &with(3)).await;
    assert_eq!(heard.data["body"], 3, "nobody has heard what was refused");
    // The body alone, with its quotes.
    let with = |bytes: usize| {
        let text = "x".repeat(bytes - 2);
        format!(r#"{{"from":"anna","to":"billy","body":"{text}"}}"#)
    };
    let (_, heard) = send_to(&door, &mut billy, &with(CHAT_BODY_BYTES_MAX)).await;
    assert_eq!(heard.data["body"].as_str().unwrap().len(), CHAT_BODY_BYTES_MAX - 2);
    let answer = door.tell(SEND, &with(CHAT_BODY_BYTES_MAX + 1)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (413, &json!("message_too_large")));
    door.close().await;
}

#[tokio::test]
async fn as_many_letters_as_may_be_on_their_way_are_taken_and_one_more_is_told_to_wait() {
    let door = doorstep().await;
    let letter = r#"{"from":"anna","to":"nobody","body":1}"#;
    let most = u32::try_from(LETTERS_MAX).unwrap();
    let others = door.port.letters.clone().try_acquire_many_owned(most - 1).unwrap();
    assert_eq!(door.tell(SEND, letter).await.json()["outcome"], "unknown");
    let one_more = door.port.letters.clone().try_acquire_owned().unwrap();
    let answer = door.tell(SEND, letter).await;
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("busy")));
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    drop(one_more);
    assert_eq!(door.tell(SEND, letter).await.json()["outcome"], "unknown");
    drop(others);
    door.close().await;
}
