//! One person's side of the protocol of `docs/chat.md`: what comes in, what is said to the node and
//! what is printed. Pure.
//!
//! Promise: what was typed is sent again until it is settled, over any number of connections; what
//! comes twice is printed once; messages count as received once they are printed.
//! Limits: `UNSETTLED_MAX`, `SEEN_MAX`.

use super::line::{HELP, Line, Target, parse};
use super::show;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages on their way at which no more lines are read: half of what a node allows.
const UNSETTLED_MAX: usize = 4_096;
/// Messages of others that are known again.
const SEEN_MAX: usize = 4_096;

/// The state of a talk.
pub(super) struct Talk {
    user: String,
    client: u64,
    json: bool,
    /// How the session is gone on with, and the number of the last message of it that was printed.
    session: Option<String>,
    received: u64,
    /// Whether the node has welcomed this connection.
    open: bool,
    /// The number of the last message that was sent.
    number: u64,
    unsettled: BTreeMap<u64, (Target, String)>,
    seen: BTreeSet<(String, u64)>,
    seen_order: VecDeque<(String, u64)>,
    rooms: Vec<String>,
    status: Option<String>,
    /// How presence is watched.
    users: String,
    online: BTreeMap<String, Option<String>>,
    /// To whom plain text goes.
    current: Option<Target>,
    /// What is to be said to the node, after `print` is printed.
    pub(super) say: Vec<String>,
    /// Lines to print.
    pub(super) print: Vec<String>,
}

/// What a line means for the program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Quit,
}

impl Talk {
    /// A talk of `user`; `client` is nobody else's number.
    pub(super) fn new(user: &str, client: u64, room: Option<String>, json: bool) -> Talk {
        Talk {
            user: user.to_owned(),
            client,
            json,
            session: None,
            received: 0,
            open: false,
            number: 0,
            unsettled: BTreeMap::new(),
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            current: room.clone().map(Target::Room),
            rooms: room.into_iter().collect(),
            status: None,
            users: json!({ "op": "users", "prefix": "" }).to_string(),
            online: BTreeMap::new(),
            say: Vec::new(),
            print: Vec::new(),
        }
    }

    /// Whether the node has welcomed this connection.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the end of everything that was sent is known.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Whether more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.unsettled.len() < UNSETTLED_MAX
    }

    /// A connection is there.
    pub(super) fn on_connected(&mut self) {
        self.say.clear();
        match &self.session {
            Some(session) => {
                let received = self.received;
                self.say.push(
                    json!({ "op": "hello", "session": session, "received": received }).to_string(),
                );
            }
            None => self.say_hello(),
        }
    }

    fn say_hello(&mut self) {
        let client = format!("{:016x}", self.client);
        self.say.push(json!({ "op": "hello", "user": self.user, "client": client }).to_string());
    }

    /// The connection is lost.
    pub(super) fn on_lost(&mut self, why: &str) {
        self.say.clear();
        if std::mem::take(&mut self.open) {
            let why = show::plain(why);
            self.note(json!({ "op": "lost", "reason": why }), format!("* lost the node: {why}"));
        }
    }

    /// The node says something. The error is why it cannot go on.
    pub(super) fn on_text(&mut self, text: &str) -> Result<(), String> {
        let frame: Value = serde_json::from_str(text).map_err(|_| "it sends no JSON".to_owned())?;
        match frame["op"].as_str().unwrap_or_default() {
            "welcome" => self.on_welcome(&frame, text),
            "message" => self.on_message(&frame, text),
            "settled" => self.on_settled(&frame, text),
            "users" => self.on_users(&frame, text),
            "room" => {
                let lines = show::room(&frame, &self.user);
                self.tell(text, lines);
            }
            "error" => return self.on_error(&frame, text),
            "done" | "pong" => {}
            // Of the moment, or of a later version: for programs only.
            _ => self.tell(text, []),
        }
        Ok(())
    }

    fn on_welcome(&mut self, frame: &Value, text: &str) {
        let resumed = frame["resumed"] == true;
        self.open = true;
        self.session = frame["session"].as_str().map(str::to_owned);
        let node = frame["node"].as_str().unwrap_or("?").chars().take(12).collect::<String>();
        let line = format!("* {} on node {}", show::plain(&self.user), show::plain(&node));
        self.tell(text, [line].into_iter().filter(|_| !resumed));
        self.say.push(self.users.clone());
        if !resumed {
            self.received = 0;
            self.say.extend(self.rooms.iter().map(|room| room_op("join", room)));
            self.say.extend(self.status.iter().map(|text| status_op(Some(text))));
        }
        // The node knows by their numbers those that it has.
        self.say.extend(self.unsettled.values().map(|(_, text)| text.clone()));
    }

    fn on_message(&mut self, frame: &Value, text: &str) {
        let number = frame["n"].as_u64().unwrap_or(0);
        let client = frame["client"].as_str().unwrap_or_default().to_owned();
        let id = (client, frame["m"].as_u64().unwrap_or(0));
        if self.seen.insert(id.clone()) {
            self.seen_order.push_back(id);
            if self.seen_order.len() > SEEN_MAX
                && let Some(first) = self.seen_order.pop_front()
            {
                self.seen.remove(&first);
            }
            let line = show::message(frame, &self.user);
            self.tell(text, [line]);
        }
        self.received = self.received.max(number);
        self.say.push(json!({ "op": "received", "n": number }).to_string());
    }

    fn on_settled(&mut self, frame: &Value, text: &str) {
        let (from, upto) = (frame["from"].as_u64(), frame["upto"].as_u64());
        let (Some(from), Some(upto)) = (from, upto) else { return };
        if from > upto {
            return;
        }
        if self.json {
            self.print.push(text.to_owned());
        }
        let mut rest = self.unsettled.split_off(&from);
        self.unsettled.append(&mut rest.split_off(&upto.saturating_add(1)));
        // A run of messages to one target has one line.
        let mut last = None;
        for (_, (to, _)) in rest {
            if !self.json && last.as_ref() != Some(&to) {
                self.print.extend(show::settled(frame, &to));
            }
            last = Some(to);
        }
    }

    fn on_users(&mut self, frame: &Value, text: &str) {
        let all = frame["all"] == true;
        let before = if all { std::mem::take(&mut self.online) } else { BTreeMap::new() };
        let mut lines = Vec::new();
        for one in frame["users"].as_array().into_iter().flatten() {
            let Some(user) = one["user"].as_str() else { continue };
            let status = one["status"].as_str().map(str::to_owned);
            let was_online = self.online.contains_key(user);
            match one["sessions"].as_u64() {
                Some(0) | None => drop(self.online.remove(user)),
                Some(_) => drop(self.online.insert(user.to_owned(), status)),
            }
            if !all && user != self.user {
                lines.push(show::user(one, was_online));
            }
        }
        if all && self.online != before {
            lines.push(show::online(self.online.iter()));
        }
        self.tell(text, lines);
    }

    fn on_error(&mut self, frame: &Value, text: &str) -> Result<(), String> {
        let detail = show::plain(frame["detail"].as_str().unwrap_or("refused"));
        if !self.open {
            // The session is gone: begin anew. Anything else will not get better.
            if self.session.take().is_none() {
                return Err(detail);
            }
            self.say_hello();
            return Ok(());
        }
        if let Some(n) = frame["n"].as_u64() {
            self.unsettled.remove(&n);
        }
        self.tell(text, [format!("  (refused: {detail})")]);
        Ok(())
    }

    /// Somebody typed a line. The error says what is wrong with it.
    pub(super) fn on_line(&mut self, line: &str) -> Result<Next, String> {
        if self.json {
            return self.on_json(line);
        }
        match parse(line)? {
            Line::Nothing => {}
            Line::Quit => return Ok(Next::Quit),
            Line::Help => self.print.push(HELP.to_owned()),
            Line::Who => self.print.push(show::online(self.online.iter())),
            Line::To(to, text) => {
                if to != Target::Everyone {
                    self.current = Some(to.clone());
                }
                match text.is_empty() {
                    true => self.print.push(format!("* to {} from now on", show::whom(&to))),
                    false => self.send_text(to, &text),
                }
            }
            Line::Text(text) => match self.current.clone() {
                Some(to) => self.send_text(to, &text),
                None => return Err("to whom? write @name text, or /all text".into()),
            },
            Line::Say(text) => match self.rooms.last().cloned() {
                Some(room) => self.send_text(Target::Room(room), &text),
                None => return Err("you are in no room: /join room".into()),
            },
            Line::Join(room) => {
                self.join(&room);
                self.current = Some(Target::Room(room));
            }
            Line::Leave(room) => match room.or_else(|| self.rooms.last().cloned()) {
                Some(room) => {
                    self.leave(&room);
                    self.print.push(format!("* you left #{}", show::plain(&room)));
                }
                None => return Err("you are in no room".into()),
            },
            Line::Status(text) => self.set_status(text),
        }
        Ok(Next::GoOn)
    }

    /// One line of JSON: what is to be said, in the words of `docs/chat.md`, without a number.
    fn on_json(&mut self, line: &str) -> Result<Next, String> {
        if line.trim().is_empty() {
            return Ok(Next::GoOn);
        }
        let mut members: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(line).map_err(|error| format!("no JSON object: {error}"))?;
        let text = |raw: Option<&&RawValue>| -> Option<String> {
            raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        };
        let op = members.remove("op");
        let op = op.map_or(Some("send".into()), |raw| text(Some(&raw)));
        let room = text(members.get("room"));
        match (op.as_deref().unwrap_or_default(), room) {
            ("send", room) => {
                let to = match (text(members.get("to")), room) {
                    (Some(user), None) => Target::User(user),
                    (None, Some(room)) => Target::Room(room),
                    _ => Target::Everyone,
                };
                let signal = members.get("signal").is_some_and(|raw| raw.get() == "true");
                members.remove("n");
                self.send(to, signal, &members);
            }
            ("join", Some(room)) => self.join(&room),
            ("leave", Some(room)) => self.leave(&room),
            ("status", _) => self.set_status(text(members.get("text"))),
            ("users", _) => {
                self.users = frame("users", None, &members);
                self.say_if_open(self.users.clone());
            }
            _ => return Err("\"op\" is send, join, leave, status or users".into()),
        }
        Ok(Next::GoOn)
    }

    fn send_text(&mut self, to: Target, text: &str) {
        let raw =
            |value: Value| serde_json::value::to_raw_value(&value).expect("a value can be written");
        let (key, whom) = match &to {
            Target::User(user) => ("to", raw(json!(user))),
            Target::Room(room) => ("room", raw(json!(room))),
            Target::Everyone => ("all", raw(json!(true))),
        };
        let body = raw(json!({ "text": text }));
        let members = BTreeMap::from([(key.into(), &*whom), ("body".into(), &*body)]);
        self.send(to, false, &members);
    }

    fn send(&mut self, to: Target, signal: bool, members: &BTreeMap<Cow<'_, str>, &RawValue>) {
        if signal {
            return self.say_if_open(frame("send", None, members));
        }
        self.number += 1;
        let text = frame("send", Some(self.number), members);
        self.unsettled.insert(self.number, (to, text.clone()));
        self.say_if_open(text);
    }

    fn join(&mut self, room: &str) {
        self.rooms.retain(|other| other != room);
        self.rooms.push(room.to_owned());
        self.say_if_open(room_op("join", room));
    }

    fn leave(&mut self, room: &str) {
        self.rooms.retain(|other| other != room);
        if self.current == Some(Target::Room(room.to_owned())) {
            self.current = None;
        }
        self.say_if_open(room_op("leave", room));
    }

    fn set_status(&mut self, text: Option<String>) {
        self.say_if_open(status_op(text.as_deref()));
        self.status = text;
    }

    /// Without a connection it is said with the next welcome.
    fn say_if_open(&mut self, text: String) {
        if self.open {
            self.say.push(text);
        }
    }

    /// Prints what the node said, as it is or in words.
    fn tell(&mut self, text: &str, lines: impl IntoIterator<Item = String>) {
        match self.json {
            true => self.print.push(text.to_owned()),
            false => self.print.extend(lines),
        }
    }

    fn note(&mut self, json: Value, words: String) {
        self.print.push(if self.json { json.to_string() } else { words });
    }
}

fn frame(op: &str, n: Option<u64>, members: &BTreeMap<Cow<'_, str>, &RawValue>) -> String {
    let mut text = format!("{{\"op\":\"{op}\"");
    if let Some(n) = n {
        text += &format!(",\"n\":{n}");
    }
    for (key, value) in members {
        text += &format!(",{}:{}", json!(key), value.get());
    }
    text + "}"
}

fn room_op(op: &str, room: &str) -> String {
    json!({ "op": op, "room": room }).to_string()
}

fn status_op(text: Option<&str>) -> String {
    json!({ "op": "status", "text": text }).to_string()
}

#[cfg(test)]
mod tests;
