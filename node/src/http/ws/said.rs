//! What a client says on `/v1/ws`, read from its JSON: pure.
//!
//! Promise: a text is read once, whatever the order of its members, and nothing is copied but
//! names; bodies pass as they were written. Names and limits are those of `docs/chat.md`.

use crate::api::watch::{Since, Token};
use crate::http::error::{Problem, Refusal};
use crate::json::{self, JsonError, Member};
use bytes::Bytes;
use folkmoot_core::chat::words::UsersWatch;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{ClientId, Name, Path, ResumeToken};
use folkmoot_core::limits::{NAMES_MAX, PATH_BYTES_MAX};
use std::borrow::Cow;

/// Bytes of the `id` of a request, as it is written.
const ID_BYTES_MAX: usize = 128;
/// The largest number that every reader of JSON holds exactly.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// One thing that was said, and the `id` under which it is answered.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) op: Op<'a>,
    pub(super) id: Option<&'a str>,
}

/// What was said.
#[derive(Debug)]
pub(super) enum Op<'a> {
    Hello { user: Name, client: ClientId },
    Resume { session: ResumeToken, received: u64 },
    Send(Send<'a>),
    Received(u64),
    Join(Name),
    Leave(Name),
    Status(Option<Bytes>),
    Users(UsersWatch),
    Watch { watch: u64, prefix: Option<Path>, since: Since },
    Unwatch(u64),
    Ping,
    Bye,
}

/// A message, as it lies in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Send<'a> {
    /// Its number; 0 for a signal that has none.
    pub(super) n: u64,
    pub(super) to: To<'a>,
    pub(super) signal: bool,
    pub(super) body: &'a str,
}

/// Whom it is for; names are not checked yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum To<'a> {
    User(Cow<'a, str>),
    Room(Cow<'a, str>),
    All,
}

/// What cannot be done with a text.
#[derive(Debug)]
pub(super) enum Fault<'a> {
    /// It is no JSON object: the connection is closed.
    Json(JsonError),
    /// It is refused, and the connection goes on.
    Refused {
        /// Its `id`, if it has one.
        id: Option<&'a str>,
        /// The number of the message, if it is one.
        n: Option<u64>,
        /// Why.
        why: Refusal,
    },
}

/// Reads one text.
pub(super) fn read(text: &str) -> Result<Said<'_>, Fault<'_>> {
    match usual(text) {
        Some(send) => Ok(Said { op: Op::Send(send), id: None }),
        None => read_members(text),
    }
}

/// A message to a user as most clients write it, which is what comes most often; anything else
/// is `None`, and read by its members.
fn usual(text: &str) -> Option<Send<'_>> {
    let rest = text.strip_prefix("{\"op\":\"send\",\"n\":")?;
    let (n, rest) = rest.split_once(',')?;
    let n = number(n).filter(|_| n.starts_with(|digit| matches!(digit, '1'..='9')))?;
    let (user, rest) = json::split_plain(rest.strip_prefix("\"to\":\"")?);
    let body = json::value_before(rest.strip_prefix("\",\"body\":")?, "}")?;
    Some(Send { n, to: To::User(user.into()), signal: false, body })
}

fn read_members(text: &str) -> Result<Said<'_>, Fault<'_>> {
    let mut members = Members::default();
    let mut on = |key: &str, raw| match members.slot(key) {
        None => Ok(Member::Unknown),
        Some(Some(_)) => Err(JsonError::Repeats(key.to_owned())),
        Some(slot) => {
            *slot = Some(raw);
            Ok(Member::Known)
        }
    };
    json::members(text, &mut on).map_err(Fault::Json)?;
    let id = members.id.filter(|raw| is_id(raw));
    let n = members.n.and_then(number);
    let refused = |why| Fault::Refused { id, n, why };
    if id.is_none() && members.id.is_some() {
        return Err(refused(wrong("id is a number, a short string, true, false or null")));
    }
    match members.op() {
        Ok(op) => Ok(Said { op, id }),
        Err(why) => Err(refused(why)),
    }
}

/// The members that mean something, as they are written.
#[derive(Default)]
struct Members<'a> {
    op: Option<&'a str>,
    id: Option<&'a str>,
    n: Option<&'a str>,
    to: Option<&'a str>,
    room: Option<&'a str>,
    all: Option<&'a str>,
    body: Option<&'a str>,
    signal: Option<&'a str>,
    user: Option<&'a str>,
    client: Option<&'a str>,
    session: Option<&'a str>,
    received: Option<&'a str>,
    text: Option<&'a str>,
    prefix: Option<&'a str>,
    names: Option<&'a str>,
    off: Option<&'a str>,
    watch: Option<&'a str>,
    since: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Option<&'a str>> {
        Some(match key {
            "op" => &mut self.op,
            "id" => &mut self.id,
            "n" => &mut self.n,
            "to" => &mut self.to,
            "room" => &mut self.room,
            "all" => &mut self.all,
            "body" => &mut self.body,
            "signal" => &mut self.signal,
            "user" => &mut self.user,
            "client" => &mut self.client,
            "session" => &mut self.session,
            "received" => &mut self.received,
            "text" => &mut self.text,
            "prefix" => &mut self.prefix,
            "names" => &mut self.names,
            "off" => &mut self.off,
            "watch" => &mut self.watch,
            "since" => &mut self.since,
            _ => return None,
        })
    }

    fn op(&self) -> Result<Op<'a>, Refusal> {
        let op = self.op.and_then(json::string_of).ok_or_else(|| wrong("op says what it is"))?;
        Ok(match &*op {
            "send" => Op::Send(self.send()?),
            "received" => Op::Received(self.number_of(self.n, "n")?),
            "hello" => self.hello()?,
            "join" => Op::Join(name_of(self.room, "room")?),
            "leave" => Op::Leave(name_of(self.room, "room")?),
            "status" => Op::Status(self.status()?),
            "users" => Op::Users(self.users()?),
            "watch" => self.watch()?,
            "unwatch" => Op::Unwatch(self.number_of(self.watch, "watch")?),
            "ping" => Op::Ping,
            "bye" => Op::Bye,
            _ => return Err(wrong("op is none of those that this node knows")),
        })
    }

    fn send(&self) -> Result<Send<'a>, Refusal> {
        let name = |raw| json::string_of(raw).ok_or_else(|| wrong("to and room are names"));
        let to = match (self.to, self.room, is_true(self.all, "all")?) {
            (Some(user), None, false) => To::User(name(user)?),
            (None, Some(room), false) => To::Room(name(room)?),
            (None, None, true) => To::All,
            _ => return Err(wrong("a message has one of to, room, \"all\":true")),
        };
        let signal = is_true(self.signal, "signal")?;
        let n = match self.n {
            None if signal => 0,
            n => self
                .number_of(n, "n")
                .and_then(|n| if n == 0 { Err(no_number()) } else { Ok(n) })?,
        };
        let body = self.body.ok_or_else(|| wrong("a message has a body"))?;
        Ok(Send { n, to, signal, body })
    }

    fn hello(&self) -> Result<Op<'a>, Refusal> {
        if let Some(session) = self.session {
            let session = json::string_of(session).and_then(|text| ResumeToken::from_hex(&text));
            let session = session.ok_or_else(|| wrong("session is as it was in welcome"))?;
            let received = self.number_of(self.received, "received")?;
            return Ok(Op::Resume { session, received });
        }
        let user = name_of(self.user, "user")?;
        let client = self.client.and_then(json::string_of).filter(|text| text.len() == 16);
        let client = client.and_then(|text| client_of(&text));
        let client = client.ok_or_else(|| wrong("client is 16 hex digits"))?;
        Ok(Op::Hello { user, client })
    }

    fn status(&self) -> Result<Option<Bytes>, Refusal> {
        match self.text {
            None | Some("null") => Ok(None),
            Some(raw) => match json::string_of(raw) {
                Some(text) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
                None => Err(wrong("text is a string or null")),
            },
        }
    }

    fn users(&self) -> Result<UsersWatch, Refusal> {
        if is_true(self.off, "off")? {
            return Ok(UsersWatch::None);
        }
        let Some(raw) = self.names else {
            let prefix = self.prefix.map_or(Some(Cow::Borrowed("")), json::string_of);
            let prefix = prefix.ok_or_else(|| wrong("prefix is a string"))?;
            if prefix.len() > PATH_BYTES_MAX {
                return Err(ErrorCode::Name.into());
            }
            return Ok(UsersWatch::Prefix(Bytes::copy_from_slice(prefix.as_bytes())));
        };
        let names: Vec<Cow<'_, str>> =
            serde_json::from_str(raw).map_err(|_| wrong("names is a list of names"))?;
        if names.len() > NAMES_MAX {
            return Err(ErrorCode::NamesMax.into());
        }
        let names = names.into_iter().map(|name| Name::new(name.into_owned()));
        Ok(UsersWatch::Names(names.collect::<Result<_, _>>()?))
    }

    fn watch(&self) -> Result<Op<'a>, Refusal> {
        let watch = self.number_of(self.watch, "watch")?;
        let text = |raw, what| match raw {
            None | Some("null") => Ok(None),
            Some(raw) => json::string_of(raw).map(Some).ok_or_else(|| wrong(what)),
        };
        let prefix = text(self.prefix, "prefix is a path")?.filter(|path| !path.is_empty());
        let prefix = prefix.map(|path| Path::new(path.into_owned())).transpose()?;
        let since = match text(self.since, "since is a token")?.as_deref() {
            None | Some("") => Since::Snapshot,
            Some("now") => Since::Now,
            Some(token) => Since::Token(token.parse::<Token>().map_err(|_| Problem::Token)?),
        };
        Ok(Op::Watch { watch, prefix, since })
    }

    fn number_of(&self, raw: Option<&str>, what: &str) -> Result<u64, Refusal> {
        raw.and_then(number).ok_or_else(|| wrong(&format!("{what} is a number from 0 to 2^53 - 1")))
    }
}

fn wrong(detail: &str) -> Refusal {
    Problem::Op.because(detail)
}

fn no_number() -> Refusal {
    wrong("n counts the messages of this client, from 1")
}

fn number(raw: &str) -> Option<u64> {
    raw.parse().ok().filter(|number| *number <= NUMBER_MAX)
}

fn is_true(raw: Option<&str>, what: &str) -> Result<bool, Refusal> {
    match raw {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong(&format!("{what} is true or false"))),
    }
}

fn is_id(raw: &str) -> bool {
    raw.len() <= ID_BYTES_MAX && !raw.starts_with(['{', '['])
}

fn name_of(raw: Option<&str>, what: &str) -> Result<Name, Refusal> {
    let text = raw.and_then(json::string_of);
    let text = text.ok_or_else(|| wrong(&format!("{what} is a name")))?;
    Ok(Name::new(text.into_owned())?)
}

fn client_of(text: &str) -> Option<ClientId> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16).ok()?;
    digits.then_some(ClientId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn op(text: &str) -> Op<'_> {
        read(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}")).op
    }

    #[track_caller]
    fn code(text: &str) -> u16 {
        let Err(Fault::Refused { why, .. }) = read(text) else { panic!("{text}") };
        let body: serde_json::Value = serde_json::from_slice(&why.body()).unwrap();
        body["code"].as_u64().unwrap() as u16
    }

    #[test]
    fn a_message_is_read_in_whatever_order_it_is_written() {
        let sent = |n, to, signal, body| Send { n, to, signal, body };
        let user = || To::User("billy".into());
        for (text, expected) in [
            (
                r#"{"op":"send","n":1,"to":"billy","body":{"text":"hi"}}"#,
                sent(1, user(), false, r#"{"text":"hi"}"#),
            ),
            (
                r#" { "body" : [ 1.0 ] , "x":{}, "to":"bi\u006cly", "n":9007199254740991,"op":"send"} "#,
                sent(NUMBER_MAX, user(), false, "[ 1.0 ]"),
            ),
            (
                r#"{"op":"send","room":"tea \"x\"","n":2,"body":null}"#,
                sent(2, To::Room("tea \"x\"".into()), false, "null"),
            ),
            (r#"{"op":"send","all":true,"signal":true,"body":0}"#, sent(0, To::All, true, "0")),
            (
                r#"{"op":"send","all":false,"to":"billy","signal":false,"n":3,"body":""}"#,
                sent(3, user(), false, r#""""#),
            ),
        ] {
            let Op::Send(send) = op(text) else { panic!("{text}") };
            assert_eq!(send, expected, "{text}");
        }
    }

    #[test]
    fn every_op_is_read() {
        assert!(matches!(op(r#"{"op":"received","n":7}"#), Op::Received(7)));
        let hello = r#"{"op":"hello","user":"anna","client":"9f3c2a7700d1e842"}"#;
        let Op::Hello { user, client } = op(hello) else { panic!() };
        assert_eq!((user.as_str(), client), ("anna", ClientId(0x9f3c_2a77_00d1_e842)));
        let token = "d4".repeat(16);
        let again = format!(r#"{{"op":"hello","session":"{token}","received":5}}"#);
        let Op::Resume { session, received: 5 } = op(&again) else { panic!() };
        assert_eq!(session, ResumeToken([0xd4; 16]));
        assert!(matches!(op(r#"{"op":"join","room":"tea"}"#), Op::Join(_)));
        assert!(matches!(op(r#"{"op":"leave","room":"tea"}"#), Op::Leave(_)));
        let Op::Status(Some(text)) = op(r#"{"op":"status","text":"away"}"#) else { panic!() };
        assert_eq!(text, "away");
        assert!(matches!(op(r#"{"op":"status","text":null}"#), Op::Status(None)));
        let users = |text| match op(text) {
            Op::Users(watch) => watch,
            other => panic!("{other:?}"),
        };
        assert_eq!(users(r#"{"op":"users"}"#), UsersWatch::Prefix(Bytes::new()));
        assert_eq!(users(r#"{"op":"users","prefix":"a"}"#), UsersWatch::Prefix("a".into()));
        assert_eq!(users(r#"{"op":"users","off":true}"#), UsersWatch::None);
        let names = users(r#"{"op":"users","names":["a","\u0062"]}"#);
        let expected = ["a", "b"].map(|name| Name::new(name).unwrap());
        assert_eq!(names, UsersWatch::Names(expected.to_vec()));
        let Op::Watch { watch: 3, prefix: Some(prefix), since: Since::Snapshot } =
            op(r#"{"op":"watch","watch":3,"prefix":"a/b"}"#)
        else {
            panic!()
        };
        assert_eq!(prefix.as_str(), "a/b");
        let all = r#"{"op":"watch","watch":0,"since":"now"}"#;
        assert!(matches!(op(all), Op::Watch { watch: 0, prefix: None, since: Since::Now }));
        assert!(matches!(op(r#"{"op":"unwatch","watch":3}"#), Op::Unwatch(3)));
        assert!(matches!(op(r#"{"op":"ping"}"#), Op::Ping));
        assert!(matches!(op(r#"{"op":"bye"}"#), Op::Bye));
    }

    #[test]
    fn ids_are_kept_as_they_are_written() {
        for id in ["1", "-1.50", "\"a\\u0062\"", "true", "null"] {
            let text = format!(r#"{{"op":"ping","id":{id}}}"#);
            assert_eq!(read(&text).unwrap().id, Some(id));
        }
        for id in ["[]", "{}", &format!("\"{}\"", "x".repeat(ID_BYTES_MAX))] {
            assert_eq!(code(&format!(r#"{{"op":"ping","id":{id}}}"#)), Problem::Op as u16);
        }
    }

    #[test]
    fn what_is_no_object_closes_and_what_makes_no_sense_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"op":"ping","op":"ping"}"#, r#"{"x":1,"x":1}"#] {
            assert!(matches!(read(text), Err(Fault::Json(_))), "{text}");
        }
        for text in [
            "{}",
            r#"{"op":1}"#,
            r#"{"op":"sing"}"#,
            r#"{"op":"send","n":1,"to":"a"}"#,
            r#"{"op":"send","n":1,"body":1}"#,
            r#"{"op":"send","n":1,"to":"a","room":"b","body":1}"#,
            r#"{"op":"send","n":1,"to":"a","all":true,"body":1}"#,
            r#"{"op":"send","n":1,"to":null,"body":1}"#,
            r#"{"op":"send","n":1,"all":1,"body":1}"#,
            r#"{"op":"send","to":"a","body":1}"#,
            r#"{"op":"send","n":0,"to":"a","body":1}"#,
            r#"{"op":"send","n":1.0,"to":"a","body":1}"#,
            r#"{"op":"send","n":-1,"to":"a","body":1}"#,
            r#"{"op":"send","n":"1","to":"a","body":1}"#,
            r#"{"op":"send","n":9007199254740992,"to":"a","body":1}"#,
            r#"{"op":"received"}"#,
            r#"{"op":"hello","user":"a"}"#,
            r#"{"op":"hello","user":{},"client":"9f3c2a7700d1e842"}"#,
            r#"{"op":"hello","user":"a","client":"+f3c2a7700d1e842"}"#,
            r#"{"op":"hello","session":"x","received":1}"#,
            r#"{"op":"hello","session":"d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4"}"#,
            r#"{"op":"users","names":[1]}"#,
            r#"{"op":"join"}"#,
        ] {
            assert_eq!(code(text), Problem::Op as u16, "{text}");
        }
        let hello = r#"{"op":"hello","user":"","client":"9f3c2a7700d1e842"}"#;
        assert_eq!(code(hello), ErrorCode::Name.number());
        let names = vec!["\"a\""; NAMES_MAX + 1].join(",");
        let names = format!(r#"{{"op":"users","names":[{names}]}}"#);
        assert_eq!(code(&names), ErrorCode::NamesMax.number());
        assert_eq!(code(r#"{"op":"watch","watch":1,"since":"x"}"#), Problem::Token as u16);
        let path = r#"{"op":"watch","watch":1,"prefix":"a//b"}"#;
        assert_eq!(code(path), ErrorCode::PathSegmentEmpty.number());
    }

    #[test]
    fn a_refused_message_is_named_by_its_number_and_id() {
        let text = r#"{"op":"send","n":5,"id":"x","body":1}"#;
        let Err(Fault::Refused { id, n, .. }) = read(text) else { panic!() };
        assert_eq!((id, n), (Some("\"x\""), Some(5)));
    }

    #[test]
    fn the_usual_way_is_read_as_its_members_are() {
        let usual_text = r#"{"op":"send","n":12,"to":"billy","body":{"a":["é",1.5]}}"#;
        assert!(usual(usual_text).is_some());
        let deep = format!("{}1{}", "[".repeat(json::DEPTH_MAX), "]".repeat(json::DEPTH_MAX));
        let text = |n: &str, to: &str, body: &str, end: &str| {
            format!("{{\"op\":\"send\",\"n\":{n},\"to\":{to},\"body\":{body}{end}")
        };
        let mut texts = vec![usual_text.to_owned(), text("1", "\"\"", "1", "}")];
        texts.push(text("1", "\"b\"", &deep, "}"));
        texts.push(text("1", "\"b\"", &format!("[{deep}]"), "}"));
        for n in ["0", "01", "+1", "-1", "1.0", "1e3", "", "9007199254740991", "9007199254740992"] {
            texts.push(text(n, "\"b\"", "1", "}"));
        }
        for to in ["1", "\"b\\u0069\"", "\"b\n\"", "\"b", "\" \""] {
            texts.push(text("1", to, "1", "}"));
        }
        for end in ["", "}}", "} ", ",\"signal\":true}", ",\"body\":1}", ",\"op\":\"ping\"}"] {
            texts.push(text("1", "\"b\"", "1", end));
        }
        for text in &texts {
            let told = |read: Result<Said<'_>, Fault<'_>>| format!("{read:?}");
            assert_eq!(told(read(text)), told(read_members(text)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in ".{0,200}", cut: prop::sample::Index) {
            let _ = read(&text);
            let sound = r#"{"op":"send","n":1,"to":"b\u0069lly","body":{"a":[1.5e3,"é"]},"x":1}"#;
            let mut end = cut.index(sound.len());
            while !sound.is_char_boundary(end) {
                end -= 1;
            }
            prop_assert!(matches!(read(&sound[..end]), Err(Fault::Json(_))));
        }

        #[test]
        fn what_is_sent_is_what_serde_reads(
            n in 1..=NUMBER_MAX,
            to in "\\PC{1,20}",
            body in "\\PC{0,40}",
        ) {
            let text = serde_json::json!({"op": "send", "n": n, "to": to, "body": [body]});
            let text = text.to_string();
            let Ok(Said { op: Op::Send(send), id: None }) = read(&text) else {
                panic!("{text}")
            };
            prop_assert_eq!((send.n, &send.to), (n, &To::User(to.into())));
            let read: Vec<String> = serde_json::from_str(send.body).unwrap();
            prop_assert_eq!(&read[0], &body);
        }
    }
}
