//! What is told of chat without a WebSocket, written as JSON: pure. Members are as there.

pub(super) use crate::http::ws::told::{push_member, push_names};

use crate::http::ws::told::{push_tail, push_user};
use crate::json::{push_number, push_string};
use folkmoot_core::chat::words::{Kind, Message, Presence};

/// Appends `"key":"text"` behind a brace.
pub(super) fn push_first_member(out: &mut Vec<u8>, key: &str, text: &str) {
    push_string(out, key);
    out.push(b':');
    push_string(out, text);
}

/// Appends a message, or a signal, as `docs/chat.md` describes it.
pub(super) fn push_message(out: &mut Vec<u8>, number: u64, message: &Message) {
    out.push(b'{');
    if message.kind == Kind::Message {
        out.extend_from_slice(b"\"n\":");
        push_number(out, number);
    }
    let start = out.len();
    push_tail(out, message);
    if message.kind == Kind::Signal {
        // The comma: there is no number before it.
        out.remove(start);
    }
}

/// Appends an array of users.
pub(super) fn push_users(out: &mut Vec<u8>, users: &[Presence]) {
    out.push(b'[');
    for (at, user) in users.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_user(out, user);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::chat::words::Target;
    use folkmoot_core::id::{ClientId, Name};

    fn name(text: &str) -> Name {
        Name::new(text.to_owned()).unwrap()
    }

    #[test]
    fn whatever_names_and_bodies_hold_it_is_one_json_object() {
        let mut message = Message {
            from: name("a\"\\<b>"),
            client: ClientId(0xab),
            number: 7,
            to: Target::User(name("}{")),
            kind: Kind::Message,
            sent_ms: 5,
            remote: true,
            body: "{\"x\" : 1.00}".into(),
        };
        let told = |message: &Message| -> serde_json::Value {
            let mut out = Vec::new();
            push_message(&mut out, 3, message);
            serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {out:?}"))
        };
        let value = told(&message);
        assert_eq!((&value["n"], &value["m"]), (&3.into(), &7.into()));
        assert_eq!((&value["from"], &value["to"]), (&"a\"\\<b>".into(), &"}{".into()));
        assert_eq!(value["client"], "00000000000000ab");
        message.body = b"no JSON \xff"[..].into();
        (message.to, message.kind) = (Target::Everyone, Kind::Signal);
        let value = told(&message);
        assert_eq!((&value["body"], &value["all"]), (&"no JSON \u{fffd}".into(), &true.into()));
        assert!(value.get("n").is_none() && value.get("m").is_none());
    }

    #[test]
    fn users_have_what_is_known_of_them() {
        let status = Some("\"away\"".into());
        let anna = Presence { user: name("anna"), sessions: 2, status, seen_ms: None };
        let gone = Presence { user: name("b"), sessions: 0, status: None, seen_ms: Some(9) };
        let mut out = Vec::new();
        push_users(&mut out, &[anna, gone]);
        let text = r#"[{"user":"anna","sessions":2,"status":"\"away\""},{"user":"b","sessions":0,"seen":9}]"#;
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
