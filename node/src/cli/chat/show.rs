//! What is heard, in words for a terminal: pure.
//!
//! Promise: whatever others send, nothing of it steers the terminal, and no name or text can pass
//! for a line of another.

use super::line::Target;
use serde_json::Value;

/// A message to whom: `me` is the user at this terminal.
pub(super) fn message(frame: &Value, me: &str) -> String {
    let from = name(&frame["from"]);
    let text = body(&frame["body"]);
    let to = frame["to"].as_str();
    let who = match (to, frame["room"].as_str()) {
        // Said by the same user elsewhere.
        (Some(to), _) if frame["from"] == me && to != me => format!("you to {}", plain(to)),
        (Some(_), _) => from,
        (None, Some(room)) => format!("#{} {from}", plain(room)),
        (None, None) => format!("{from} to all"),
    };
    format!("{who}: {text}")
}

/// What became of a message; nothing is said of what everybody expects.
pub(super) fn settled(frame: &Value, to: &Target) -> Option<String> {
    let whom = whom(to);
    Some(match (frame["outcome"].as_str()?, to) {
        ("delivered", Target::User(_)) => format!("  ({whom} has it)"),
        ("delivered", _) => match frame["sessions"].as_u64() {
            Some(0) | None => format!("  (nobody heard it in {whom})"),
            Some(1) => "  (1 has it)".into(),
            Some(sessions) => format!("  ({sessions} have it)"),
        },
        ("offline", _) => format!("  ({whom} is not online: not delivered)"),
        ("unknown", _) => format!("  (nobody has been seen who is called {whom})"),
        (_, _) => format!("  (not delivered to {whom}: {})", name(&frame["error"])),
    })
}

/// Who came, went or changed. `online` says who was there before.
pub(super) fn user(frame: &Value, was_online: bool) -> String {
    let user = name(&frame["user"]);
    match (frame["sessions"].as_u64(), frame["status"].as_str()) {
        (Some(0) | None, _) => format!("* {user} has gone"),
        (_, Some(status)) => format!("* {user} is here: {}", plain(status)),
        (_, None) if was_online => format!("* {user} is back"),
        (_, None) => format!("* {user} is here"),
    }
}

/// Who is online.
pub(super) fn online<'a>(users: impl Iterator<Item = (&'a String, &'a Option<String>)>) -> String {
    let one = |(user, status): (&String, &Option<String>)| match status {
        Some(status) => format!("{} ({})", plain(user), plain(status)),
        None => plain(user),
    };
    let all: Vec<String> = users.map(one).collect();
    if all.is_empty() {
        "* nobody is online".into()
    } else {
        format!("* online: {}", all.join(", "))
    }
}

/// Who is in a room, or came and went.
pub(super) fn room(frame: &Value, me: &str) -> Vec<String> {
    let room = name(&frame["room"]);
    let names = |key: &str| -> Vec<String> {
        frame[key].as_array().into_iter().flatten().map(name).collect()
    };
    let (joined, left) = (names("joined"), names("left"));
    if frame["all"] == true {
        return vec![format!("* in #{room}: {}", joined.join(", "))];
    }
    let came = joined.iter().filter(|user| *user != me);
    let came = came.map(|user| format!("* {user} came into #{room}"));
    let went = left.iter().filter(|user| *user != me);
    came.chain(went.map(|user| format!("* {user} left #{room}"))).collect()
}

/// A target as it is typed.
pub(super) fn whom(to: &Target) -> String {
    match to {
        Target::User(user) => plain(user),
        Target::Room(room) => format!("#{}", plain(room)),
        Target::Everyone => "all".into(),
    }
}

fn name(value: &Value) -> String {
    plain(value.as_str().unwrap_or("?"))
}

/// `{"text"}`, a plain string, or whatever it is as JSON.
fn body(body: &Value) -> String {
    match body.as_str().or(body["text"].as_str()) {
        Some(text) => plain(text),
        None => plain(&body.to_string()),
    }
}

/// Text that cannot steer a terminal: control characters and those that turn the direction of
/// writing are replaced; further lines are indented.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.trim_end().chars() {
        match letter {
            '\n' => out.push_str("\n    "),
            '\t' => out.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            _ if letter.is_control() => out.push('\u{fffd}'),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_say_who_speaks_and_to_whom() {
        let said = |frame: Value| message(&frame, "anna");
        let body = json!({"text": "hi"});
        assert_eq!(said(json!({"from": "billy", "to": "anna", "body": body})), "billy: hi");
        assert_eq!(said(json!({"from": "billy", "room": "tea", "body": "hi"})), "#tea billy: hi");
        assert_eq!(said(json!({"from": "billy", "all": true, "body": [1]})), "billy to all: [1]");
        assert_eq!(said(json!({"from": "anna", "to": "billy", "body": body})), "you to billy: hi");
        assert_eq!(said(json!({"from": "anna", "to": "anna", "body": body})), "anna: hi");
    }

    #[test]
    fn nothing_that_is_sent_steers_the_terminal() {
        let text = "\u{1b}[2Jred\u{7}\r\n* billy has gone\u{202e}\u{9b}x\n";
        let shown = message(&json!({"from": "b", "to": "a", "body": text}), "a");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}', '\u{9b}']), "{shown:?}");
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines.len() == 2 && lines[1].starts_with("    * billy"), "{lines:?}");
    }

    #[test]
    fn every_outcome_has_words() {
        let billy = Target::User("billy".into());
        let told = |frame: Value, to: &Target| settled(&frame, to).unwrap();
        assert!(told(json!({"outcome": "delivered", "sessions": 2}), &billy).contains("has it"));
        assert!(told(json!({"outcome": "offline"}), &billy).contains("not online"));
        assert!(told(json!({"outcome": "unknown"}), &billy).contains("nobody"));
        let refused = json!({"outcome": "refused", "error": "not_in_room"});
        assert!(told(refused, &Target::Room("tea".into())).contains("#tea: not_in_room"));
        let all = json!({"outcome": "delivered", "sessions": 3});
        assert_eq!(told(all, &Target::Everyone), "  (3 have it)");
    }

    #[test]
    fn who_comes_and_goes_is_told() {
        let frame = |sessions: u64| json!({"user": "billy", "sessions": sessions});
        assert_eq!(user(&frame(1), false), "* billy is here");
        assert_eq!(user(&frame(1), true), "* billy is back");
        assert_eq!(user(&frame(0), true), "* billy has gone");
        let all = json!({"room": "tea", "all": true, "joined": ["anna", "b"], "left": []});
        assert_eq!(room(&all, "anna"), ["* in #tea: anna, b"]);
        let some = json!({"room": "tea", "all": false, "joined": ["anna", "c"], "left": ["b"]});
        assert_eq!(room(&some, "anna"), ["* c came into #tea", "* b left #tea"]);
    }
}
