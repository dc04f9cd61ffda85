//! The seed's events, good and bad.

use super::*;
use folkmoot_core::chat::words::Kind;
use folkmoot_core::id::ClientId;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text.to_owned()).unwrap()
}

fn event(data: &str) -> Result<Option<Said>, &'static str> {
    let (name, arguments) = packet::decode_event(data).unwrap();
    read(&name, &arguments)
}

fn text(packet: Bytes) -> String {
    String::from_utf8(packet.to_vec()).unwrap()
}

#[test]
fn a_name_is_a_text_whatever_javascript_calls_its_own() {
    for sound in ["Anna", "constructor", "__proto__", "hasOwnProperty", "Añna 😀"] {
        let said = event(&format!("[\"identify\",\"{sound}\"]"));
        assert_eq!(said, Ok(Some(Said::Identify(name(sound)))));
    }
    let long = format!("\"{}\"", "n".repeat(100_000));
    for bad in
        ["{\"a\":1}", "\"\"", "null", "[\"Anna\"]", "1", "true", "\" a\"", "\"a\\u0000\"", &long]
    {
        assert!(event(&format!("[\"identify\",{bad}]")).is_err(), "{bad}");
    }
    assert!(event("[\"identify\"]").is_err());
}

#[test]
fn a_message_keeps_its_members_and_not_its_sender() {
    let data = r#"["im",{"from":"Boss","to":"B","text":"é\u00e9😀\"","o":{"k":[1,null,"z"]},"forwarded":false,"n":1}]"#;
    let Ok(Some(Said::Im(im))) = event(data) else { panic!() };
    assert_eq!((im.from, im.to, im.forwarded), (Some(name("Boss")), name("B"), false));
    assert_eq!(im.body, r#"{"text":"é\u00e9😀\"","o":{"k":[1,null,"z"]},"n":1}"#);
    let shown = super::im(&name("Anna"), &name("B"), true, &im.body);
    let want = r#"42["im",{"from":"Anna","to":"B","text":"é\u00e9😀\"","o":{"k":[1,null,"z"]},"n":1,"forwarded":true}]"#;
    assert_eq!(text(shown), want);
}

#[test]
fn forwarded_is_what_javascript_takes_for_true() {
    for (value, want) in [
        ("true", true),
        ("1", true),
        ("\"x\"", true),
        ("{}", true),
        ("false", false),
        ("null", false),
        ("0", false),
        ("\"\"", false),
    ] {
        let Ok(Some(Said::Im(im))) =
            event(&format!("[\"im\",{{\"to\":\"B\",\"forwarded\":{value}}}]"))
        else {
            panic!()
        };
        assert_eq!((im.forwarded, &im.body[..]), (want, &b"{}"[..]), "{value}");
    }
}

#[test]
fn bad_messages_are_refused() {
    for bad in [
        "null",
        "1",
        "\"x\"",
        "[]",
        "{}",
        "{\"to\":null}",
        "{\"to\":\"\"}",
        "{\"to\":{}}",
        "{\"text\":\"x\"}",
    ] {
        assert!(event(&format!("[\"im\",{bad}]")).is_err(), "{bad}");
    }
    assert!(event("[\"im\"]").is_err());
}

#[test]
fn a_body_is_bounded_to_the_byte() {
    let with = |bytes: usize| {
        let letters = "x".repeat(bytes - "{\"text\":\"\"}".len());
        event(&format!("[\"im\",{{\"to\":\"B\",\"text\":\"{letters}\"}}]"))
    };
    assert!(with(CHAT_BODY_BYTES_MAX).is_ok());
    assert!(with(CHAT_BODY_BYTES_MAX + 1).is_err());
}

#[test]
fn unknown_events_mean_nothing() {
    assert_eq!(event("[\"update_client\",{}]"), Ok(None));
    assert_eq!(event("[\"\"]"), Ok(None));
}

#[test]
fn messages_of_other_doors_cannot_name_another_sender() {
    let message = |to: Target, body: &'static str| Message {
        from: name("Anna"),
        client: ClientId(1),
        number: 1,
        to,
        kind: Kind::Message,
        sent_ms: 0,
        remote: true,
        body: Bytes::from_static(body.as_bytes()),
    };
    let shown = |to, body| text(delivered(&message(to, body), &name("Me"), true));
    let forged = shown(Target::User(name("B")), r#"{"from":"Boss","text":1,"forwarded":false}"#);
    assert_eq!(forged, r#"42["im",{"from":"Anna","to":"B","text":1,"forwarded":true}]"#);
    let plain = shown(Target::Everyone, "\"hi\"");
    assert_eq!(plain, r#"42["im",{"from":"Anna","to":"Me","text":"hi","forwarded":true}]"#);
    let foreign = shown(Target::Everyone, "not \"JSON");
    assert_eq!(
        foreign,
        r#"42["im",{"from":"Anna","to":"Me","text":"not \"JSON","forwarded":true}]"#
    );
}

#[test]
fn updates_of_servers_are_read_and_written() {
    let list = r#"["update_peer",{"list":[{"id":"Anna","connections":2},{"id":"","connections":1},{"id":"gone","connections":0}],"peerId":"server-1"}]"#;
    let users = Users::All(vec![name("Anna")]);
    assert_eq!(event(list), Ok(Some(Said::UpdatePeer(Update { peer: "server-1".into(), users }))));
    let one = r#"["update_peer",{"peerId":"s","user":{"id":"Anna","connections":0}}]"#;
    let users = Users::One(name("Anna"), false);
    assert_eq!(event(one), Ok(Some(Said::UpdatePeer(Update { peer: "s".into(), users }))));
    for bad in [
        "null",
        "{}",
        "{\"peerId\":\"s\"}",
        "{\"peerId\":1,\"list\":[]}",
        "{\"peerId\":\"s\",\"list\":{}}",
        "{\"peerId\":\"s\",\"user\":{\"id\":\"a\",\"connections\":-1}}",
    ] {
        assert!(event(&format!("[\"update_peer\",{bad}]")).is_err(), "{bad}");
    }
    let users = [(name("a\""), 1), (name("b"), 2)];
    let all = r#"42["update_peer",{"peerId":"s","list":[{"id":"a\"","connections":1},{"id":"b","connections":2}]}]"#;
    assert_eq!(text(update_peer("s", &users, true)), all);
    let one = r#"42["update_peer",{"peerId":"s","user":{"id":"a\"","connections":1}}]"#;
    assert_eq!(text(update_peer("s", &users[..1], false)), one);
}

proptest! {
    #[test]
    fn any_argument_does_no_harm(name in "identify|im|update_peer", argument in "\\PC{0,30}") {
        if let Ok((name, arguments)) = packet::decode_event(&format!("[\"{name}\",{argument}]")) {
            let _ = read(&name, &arguments);
        }
    }

    #[test]
    fn what_is_shown_is_json_whatever_the_body(body: Vec<u8>, object in "\\{(\"[a-z]{0,3}\":[0-9],?){0,3}\\}?") {
        for body in [&body[..], object.as_bytes()] {
            let shown = text(im(&name("a"), &name("b"), false, body));
            let json: serde_json::Value = serde_json::from_str(&shown[2..]).unwrap();
            prop_assert_eq!(&json[1]["from"], "a");
            prop_assert_eq!(&json[1]["forwarded"], false);
        }
    }
}
