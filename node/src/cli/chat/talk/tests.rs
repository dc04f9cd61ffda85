use super::*;

fn talk() -> Talk {
    Talk::new("anna", 7, Some("tea".into()), false)
}

/// What was said since the last look.
fn said(talk: &mut Talk) -> Vec<Value> {
    talk.say.drain(..).map(|text| serde_json::from_str(&text).unwrap()).collect()
}

fn ops(talk: &mut Talk) -> Vec<String> {
    said(talk).iter().map(|frame| frame["op"].as_str().unwrap().to_owned()).collect()
}

fn hear(talk: &mut Talk, frame: Value) {
    talk.on_text(&frame.to_string()).unwrap();
}

fn welcome(talk: &mut Talk, resumed: bool) {
    let session = "ab".repeat(16);
    hear(talk, json!({"op": "welcome", "node": "0", "session": session, "resumed": resumed}));
}

#[test]
fn a_talk_begins_with_hello_and_then_says_all_that_waits() {
    let mut talk = talk();
    assert_eq!(talk.on_line("@billy hi"), Ok(Next::GoOn));
    talk.on_connected();
    assert_eq!(
        said(&mut talk),
        [json!({"op": "hello", "user": "anna", "client": "0000000000000007"})]
    );
    welcome(&mut talk, false);
    let frames = said(&mut talk);
    assert_eq!(frames[0]["op"], "users");
    assert_eq!(frames[1], json!({"op": "join", "room": "tea"}));
    let sent = json!({"op": "send", "n": 1, "to": "billy", "body": {"text": "hi"}});
    assert_eq!(frames[2..], [sent]);
}

#[test]
fn what_is_not_settled_is_sent_again_with_its_number_and_nothing_is_printed_twice() {
    let mut talk = talk();
    talk.on_connected();
    welcome(&mut talk, false);
    for line in ["@billy one", "two", "@carl three"] {
        talk.on_line(line).unwrap();
    }
    said(&mut talk);
    let settled =
        json!({"op": "settled", "from": 1, "upto": 1, "outcome": "delivered", "sessions": 1});
    hear(&mut talk, settled);
    let message = json!({"op": "message", "n": 1, "from": "billy", "client": "01", "m": 4, "to": "anna", "body": "x"});
    hear(&mut talk, message.clone());
    assert_eq!(said(&mut talk), [json!({"op": "received", "n": 1})]);

    talk.on_lost("gone");
    talk.on_connected();
    let hello = json!({"op": "hello", "session": "ab".repeat(16), "received": 1});
    assert_eq!(said(&mut talk), [hello]);
    welcome(&mut talk, true);
    let again: Vec<_> = said(&mut talk).iter().map(|frame| frame["n"].as_u64()).collect();
    assert_eq!(again, [None, Some(2), Some(3)]);

    // The session is gone: it begins anew, and hears the message again.
    talk.on_lost("gone");
    talk.on_connected();
    said(&mut talk);
    hear(&mut talk, json!({"op": "error", "code": 212, "error": "not_resumed", "detail": "no"}));
    assert_eq!(ops(&mut talk), ["hello"]);
    welcome(&mut talk, false);
    assert_eq!(ops(&mut talk), ["users", "join", "send", "send"]);
    talk.print.clear();
    hear(&mut talk, message);
    assert!(talk.print.is_empty(), "{:?}", talk.print);
    assert_eq!(ops(&mut talk), ["received"]);
}

#[test]
fn settled_runs_end_what_they_name_and_only_that() {
    let mut talk = talk();
    talk.on_connected();
    welcome(&mut talk, false);
    for line in ["@billy 1", "2", "@carl 3", "/all 4"] {
        talk.on_line(line).unwrap();
    }
    talk.print.clear();
    hear(&mut talk, json!({"op": "settled", "from": 1, "upto": 3, "outcome": "offline"}));
    assert_eq!(talk.print.len(), 2, "one line for each target: {:?}", talk.print);
    assert!(!talk.is_settled());
    // A run that makes no sense ends nothing else.
    hear(&mut talk, json!({"op": "settled", "from": 9, "upto": 2, "outcome": "offline"}));
    assert!(!talk.is_settled());
    hear(&mut talk, json!({"op": "error", "n": 4, "code": 113, "error": "x", "detail": "y"}));
    assert!(talk.is_settled());
}

#[test]
fn presence_is_told_as_it_changes() {
    let mut talk = talk();
    talk.on_connected();
    welcome(&mut talk, false);
    talk.print.clear();
    let users =
        json!([{"user": "anna", "sessions": 1}, {"user": "b", "sessions": 1, "status": "x"}]);
    hear(&mut talk, json!({"op": "users", "all": true, "users": users}));
    assert_eq!(talk.print, ["* online: anna, b (x)"]);
    hear(&mut talk, json!({"op": "users", "all": false, "users": [{"user": "b", "sessions": 0}]}));
    talk.on_line("/who").unwrap();
    assert_eq!(talk.print[1..], ["* b has gone", "* online: anna"]);
    // The same list again, after a reconnection, is no news.
    let same = json!({"op": "users", "all": true, "users": [{"user": "anna", "sessions": 1}]});
    hear(&mut talk, same);
    assert_eq!(talk.print.len(), 3);
}

#[test]
fn in_json_bodies_pass_as_they_are_and_frames_come_out_as_they_came() {
    let mut talk = Talk::new("anna", 7, None, true);
    talk.on_connected();
    welcome(&mut talk, false);
    talk.say.clear();
    talk.on_line(r#"{"to":"billy","body":{"n" : 1.00, "a":[ ]}}"#).unwrap();
    talk.on_line(r#"{"op":"send","room":"tea","body":null,"n":99}"#).unwrap();
    talk.on_line(r#"{"op":"send","to":"billy","body":"typing","signal":true}"#).unwrap();
    assert_eq!(
        talk.say,
        [
            r#"{"op":"send","n":1,"body":{"n" : 1.00, "a":[ ]},"to":"billy"}"#,
            r#"{"op":"send","n":2,"body":null,"room":"tea"}"#,
            r#"{"op":"send","body":"typing","signal":true,"to":"billy"}"#,
        ]
    );
    assert_eq!(talk.unsettled.len(), 2);
    talk.print.clear();
    let text =
        r#"{"op":"message","n":1,"from":"b","client":"01","m":1,"to":"anna","at":5,"body":1.0}"#;
    talk.on_text(text).unwrap();
    assert_eq!(talk.print, [text]);
    for bad in ["hi", "[1]", r#"{"op":"hello"}"#, r#"{"op":"join"}"#, r#"{"op":7}"#] {
        assert!(talk.on_line(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_name_that_is_refused_ends_the_talk() {
    let mut talk = talk();
    talk.on_connected();
    let refused = json!({"op": "error", "code": 112, "error": "name", "detail": "not usable"});
    assert_eq!(talk.on_text(&refused.to_string()), Err("not usable".into()));
    assert!(talk.on_text("no JSON").is_err());
}

#[test]
fn so_many_messages_are_known_again_and_for_one_more_the_first_is_forgotten() {
    let mut talk = talk();
    talk.on_connected();
    welcome(&mut talk, false);
    let mut prints = |m: usize| {
        talk.print.clear();
        let message = json!({"op": "message", "n": 1, "from": "b", "client": "01", "m": m, "to": "anna", "body": "x"});
        hear(&mut talk, message);
        !talk.print.is_empty()
    };
    assert!((1..=SEEN_MAX).all(&mut prints));
    assert!(!prints(1), "as many as are known");
    assert!(prints(SEEN_MAX + 1));
    assert!(!prints(2) && prints(1));
}
