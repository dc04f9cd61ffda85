//! What is heard in chat.

use crate::api::value::Value;
use folkmoot_core::chat::words::{self, Presence, Target};
use folkmoot_core::id::{ClientId, Name};
use std::sync::Arc;

/// What a session hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A message.
    Message(Message),
    /// Something of the moment, as typing: sent once, and lost where it is lost.
    Signal(Message),
    /// Who came, went or changed, after [`ChatSession::watch_users`](super::ChatSession::watch_users).
    Users(UsersChange),
    /// Who came and went in a room that the session is in.
    Room(RoomChange),
}

/// Who came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersChange {
    /// Whether this is everybody who is watched and online: forget what was told before.
    pub all: bool,
    /// Each user once, in the order of their names; one who went has no sessions.
    pub users: Vec<Presence>,
}

/// Who came and went in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomChange {
    /// The room.
    pub room: Name,
    /// Whether this is everybody who is there: forget what was told before.
    pub all: bool,
    /// Who is there now and was not.
    pub joined: Vec<Name>,
    /// Who was there and is not any more.
    pub left: Vec<Name>,
}

/// A message; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    number: u64,
    message: Arc<words::Message>,
}

impl Message {
    pub(super) fn new(number: u64, message: Arc<words::Message>) -> Message {
        Message { number, message }
    }

    /// Its place among the messages of the session that heard it, from 1; 0 for a signal.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The sender.
    pub fn from(&self) -> &str {
        self.message.from.as_str()
    }

    /// Whom it is for.
    pub fn to(&self) -> &Target {
        &self.message.to
    }

    /// Where an answer goes: to the sender, or to the room that it was said in. What was said to
    /// everybody is answered to its sender alone.
    pub fn answer_to(&self) -> Target {
        match &self.message.to {
            Target::Room(room) => Target::Room(room.clone()),
            Target::User(_) | Target::Everyone => Target::User(self.message.from.clone()),
        }
    }

    /// What it says. What another node sent that is no JSON is told as a string.
    pub fn body(&self) -> Value {
        Value::from_anything(&self.message.body)
    }

    /// Its name for good: the sender's program and its number there. With them whoever gets it
    /// twice knows it.
    pub fn id(&self) -> (ClientId, u64) {
        (self.message.client, self.message.number)
    }

    /// When the sender's node took it, in Unix milliseconds.
    pub fn sent_ms(&self) -> u64 {
        self.message.sent_ms
    }
}
