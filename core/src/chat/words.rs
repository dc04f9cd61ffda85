//! What clients of chat may say, and what they are told.

use crate::error::ErrorCode;
use crate::id::{ClientId, Name, ResumeToken};
use bytes::Bytes;
use std::sync::Arc;

/// Requests of chat.
///
/// A request that was sent as [`RequestId::UNANSWERED`](crate::id::RequestId::UNANSWERED) gets no
/// reply: the cheapest way for what is sent often.
#[derive(Clone, Debug)]
pub enum ChatRequest {
    /// Says for whom this session speaks from now on. Answered with
    /// [`Reply::Done`](crate::request::Reply::Done). If it spoke before, that ends first.
    Connect(Connect),
    /// Goes on with a session whose connection broke: unread messages after number `received`
    /// follow again, and what was settled meanwhile. Answered with `Done` or `NotResumed`.
    Resume {
        /// What was given when it connected.
        token: ResumeToken,
        /// The number of the last message that the client has.
        received: u64,
    },
    /// The client goes for good; nothing is kept for its return. Answered with `Done`.
    Disconnect,
    /// Messages, in order; what becomes of them is told by [`ChatEvent::Settled`]. Answered with
    /// `Done`, or with the failure of all.
    Send(Vec<Post>),
    /// All messages up to this number have been taken in by the client. Answered with `Done`.
    Received(u64),
    /// Enters a room: its members and their changes are told as [`ChatEvent::Room`]. Answered with
    /// `Done`.
    Join(Name),
    /// Leaves a room. Answered with `Done`.
    Leave(Name),
    /// Sets what others see beside the name, as `away`; `None` for nothing. Answered with `Done`.
    Status(Option<Bytes>),
    /// From now on tells who comes and goes, beginning with who is there. Replaces the session's
    /// earlier watch. Answered with `Done`. Needs no connection.
    WatchUsers(UsersWatch),
    /// Users who are online. Answered with [`Reply::Users`](crate::request::Reply::Users). Needs
    /// no connection.
    Users {
        /// Only names that begin with these bytes.
        prefix: Bytes,
        /// Only names after this one.
        after: Bytes,
        /// At most so many, at most `NAMES_MAX`.
        limit: usize,
    },
    /// Who is in a room, in any of the network's nodes. Answered with `Users`.
    Members(Name),
}

/// For whom a session speaks.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The user.
    pub user: Name,
    /// The program that the user runs.
    pub client: ClientId,
    /// What the client shows to go on after its connection broke; without, the session ends with
    /// its connection.
    pub resume: Option<ResumeToken>,
    /// Whether others see the user online because of this session, and send it messages. A
    /// session that only sends something need not be seen.
    pub visible: bool,
}

/// Whose presence is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsersWatch {
    /// Nobody's any more.
    None,
    /// Everybody whose name begins with these bytes.
    Prefix(Bytes),
    /// These users, at most `NAMES_MAX`.
    Names(Vec<Name>),
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Every session of a user, and every other session of the sender.
    User(Name),
    /// Every session in a room, the sender's others included.
    Room(Name),
    /// Every session of the network.
    Everyone,
}

/// Whether a message must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is numbered, acknowledged and settled.
    Message,
    /// It tells of the moment (typing, a read receipt): sent once, and lost where it is lost.
    Signal,
}

/// A message as its sender hands it in.
#[derive(Clone, Debug)]
pub struct Post {
    /// Its number: larger than that of the client's message before. A repeat keeps its number.
    pub number: u64,
    /// Whom it is for.
    pub to: Target,
    /// Whether it must arrive.
    pub kind: Kind,
    /// Reaches sessions of this node only.
    pub local: bool,
    /// What it says, at most `CHAT_BODY_BYTES_MAX` bytes.
    pub body: Bytes,
}

/// A message as it is delivered. Client and number name it: whoever gets it twice after a
/// reconnection knows it by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: Name,
    /// The sender's program.
    pub client: ClientId,
    /// Its number there.
    pub number: u64,
    /// Whom it is for.
    pub to: Target,
    /// Whether it must arrive.
    pub kind: Kind,
    /// When the sender's node took it, in Unix milliseconds.
    pub sent_ms: u64,
    /// Whether it was sent on another node.
    pub remote: bool,
    /// What it says.
    pub body: Bytes,
}

/// What a session is told.
#[derive(Clone, Debug)]
pub enum ChatEvent {
    /// Messages, numbered on from `first`; to be acknowledged with [`ChatRequest::Received`].
    Messages {
        /// The number of the first of them; the session's first message has number 1.
        first: u64,
        /// The messages, in the order of their numbers.
        messages: Vec<Arc<Message>>,
    },
    /// Signals; they are not numbered.
    Signals(Vec<Arc<Message>>),
    /// What became of the session's own messages, in the order of their numbers, without gaps.
    Settled(Vec<Settled>),
    /// Who came, went or changed among the watched users.
    Users {
        /// Whether this is everybody who is watched and online: forget what was told before.
        all: bool,
        /// The changes, each user once, in the order of their names; shared by all who watch alike.
        changes: Arc<Vec<Presence>>,
    },
    /// Who came and went in a room that the session is in.
    Room {
        /// The room.
        room: Name,
        /// Whether this is everybody who is there: forget what was told before.
        all: bool,
        /// Users who are there now and were not.
        joined: Vec<Name>,
        /// Users who were there and are not any more.
        left: Vec<Name>,
    },
    /// The session's user has ended here: why. Nothing follows.
    Ended(&'static str),
}

/// What became of some messages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The number of the first.
    pub from: u64,
    /// The number of the last. Numbers between that were not used mean nothing.
    pub upto: u64,
    /// What became of each.
    pub outcome: Outcome,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many sessions have taken it in, the sender's own not counted; for a room or everyone
    /// that may be 0.
    Delivered(u32),
    /// The user is known and not online now: it was not delivered.
    Offline,
    /// Nobody of that name has been seen.
    Unknown,
    /// It was refused.
    Refused(ErrorCode),
}

/// One user's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The user.
    pub user: Name,
    /// Open sessions on all nodes that can be reached; 0 for a user who is not online.
    pub sessions: u32,
    /// What the user said beside the name.
    pub status: Option<Bytes>,
    /// For a user who is not online: when the last session was seen to end, in Unix milliseconds.
    pub seen_ms: Option<u64>,
}
