//! The whole vocabulary of a local client, free of any transport.
//!
//! Reads of data are not here: they go to a snapshot of the store through
//! [`crate::data::read`] and need not pass the engine.

use crate::access::Principal;
use crate::chat::words::{ChatEvent, ChatRequest, Presence};
use crate::data::{Entry, EntryKey};
use crate::error::ErrorCode;
use crate::id::{NodeId, Path, RequestId, SessionId, StoreId, WatchId};
use crate::replica::Version;
use crate::stats::Stats;
use bytes::Bytes;

/// Who sent a request and where its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The local session.
    pub session: SessionId,
    /// The session's name for the request.
    pub request: RequestId,
    /// On whose behalf the session acts.
    pub principal: Principal,
}

/// What a local client may ask of the engine.
#[derive(Clone, Debug)]
pub enum Request {
    /// Of shared data.
    Data(DataRequest),
    /// Of chat.
    Chat(ChatRequest),
    /// Of the mesh.
    Mesh(MeshRequest),
}

/// Requests of shared data.
#[derive(Clone, Debug)]
pub enum DataRequest {
    /// Writes that are applied together or not at all. Answered with [`Reply::Written`].
    Write(Vec<Write>),
    /// Events for every change at or below `prefix` from now on. Answered with
    /// [`Reply::Watching`].
    Watch {
        /// The session's name for the watch; an earlier watch of that name is replaced.
        watch: WatchId,
        /// The path to watch with everything below it; `None` for all paths.
        prefix: Option<Path>,
    },
    /// No more events for a watch. Answered with [`Reply::Done`].
    Unwatch {
        /// The session's name for the watch.
        watch: WatchId,
    },
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub path: Path,
    /// What.
    pub change: Change,
    /// Only if this holds on this node now.
    pub condition: Condition,
    /// When the value ends, in Unix milliseconds; it must lie in the future.
    pub expires_ms: Option<u64>,
}

impl Write {
    /// Sets `path` to `value` without a condition.
    pub fn put(path: Path, value: impl Into<Bytes>) -> Write {
        let change = Change::Put(value.into());
        Write { path, change, condition: Condition::Always, expires_ms: None }
    }

    /// Deletes `path` without a condition.
    pub fn delete(path: Path) -> Write {
        Write { change: Change::Delete, ..Write::put(path, Bytes::new()) }
    }
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// Sets the value; the last write wins.
    Put(Bytes),
    /// Sets the value unless there is one; the first write wins, on all nodes.
    PutFirst(Bytes),
    /// Sets these fields of an object and leaves its other fields; the last write of each
    /// field wins.
    Merge(Vec<(String, Bytes)>),
    /// Removes the value with all its fields.
    Delete,
}

/// When a write is done: judged against what this node holds, not against the whole network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    Always,
    /// If there is no value (`If-None-Match: *`).
    Absent,
    /// If there is a value (`If-Match: *`).
    Present,
    /// If the value has this version (`If-Match: "..."`).
    Is(Version),
}

/// Requests of the mesh.
#[derive(Clone, Debug)]
pub enum MeshRequest {
    /// Answered with [`Reply::Mesh`].
    Status,
    /// Sends a message to a node over the reliable channel and back. Answered with
    /// [`Reply::Pong`].
    Ping(NodeId),
    /// Dials one more peer from now on, also after a restart. Answered with [`Reply::Done`].
    AddPeer(String),
    /// Dials a peer no more; a link that stands stays. One that the settings name is dialled again
    /// after a restart. Answered with [`Reply::Done`].
    RemovePeer(String),
    /// Removes a node from the network. Answered with [`Reply::Done`].
    Remove(NodeId),
}

/// What the engine answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The writes are durable on this node.
    Written(Vec<Written>),
    /// The watch is there; every change with a larger number is an event.
    Watching {
        /// The number of the last change before the watch.
        number: u64,
    },
    /// Done, nothing to say.
    Done,
    /// Users, in the order of their names, and whether there are more.
    Users(Vec<Presence>, bool),
    /// The state of the mesh as this node sees it.
    Mesh(Box<MeshStatus>),
    /// The node answered.
    Pong {
        /// The way there and back, in milliseconds.
        round_trip_ms: u64,
        /// Links on the way there.
        hops: u32,
    },
    /// Refused, with the index of the write that was at fault (0 for other requests).
    Failed(ErrorCode, usize),
}

/// What became of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version that the write made, or the one that stands if it made none.
    pub version: Version,
    /// Whether a value was there before.
    pub existed: bool,
    /// Whether the write changed anything: not if it deleted nothing, or was not the first.
    pub changed: bool,
}

/// What the engine tells a session unasked.
#[derive(Clone, Debug)]
pub enum Event {
    /// Changes that a watch covers, in the order of their numbers, durable on this node.
    Changed(WatchId, Vec<Changed>),
    /// Of chat.
    Chat(ChatEvent),
}

/// One change of shared data.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The number of the change on this node.
    pub number: u64,
    /// The entry's key: a path, or a field of the merged object at a path.
    pub key: EntryKey,
    /// The entry that stands now, a tombstone for a delete. The end of a time to live is told as
    /// the entry that ended.
    pub entry: Entry,
    /// Whether this is no write but the end of the entry's time to live.
    pub expired: bool,
}

/// The mesh as one node sees it.
#[derive(Clone, Debug, Default)]
pub struct MeshStatus {
    /// Every known node, this one included, in id order.
    pub nodes: Vec<NodeStatus>,
    /// The links of this node.
    pub links: Vec<LinkStatus>,
    /// The addresses that this node dials.
    pub peers: Vec<PeerStatus>,
    /// What was counted since the start.
    pub stats: Stats,
    /// Local number of the last change of data.
    pub number: u64,
    /// The store whose numbers these are.
    pub store: StoreId,
    /// Entries held, tombstones included.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Sum over all entries: two nodes with the same sum hold the same.
    pub digest: [u8; 32],
    /// Chat sessions on this node.
    pub sessions: u64,
    /// Median offset of the neighbors' clocks to this node's, in milliseconds.
    pub clock_offset_ms: i64,
}

/// One known node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// Links on the shortest way there; 0 for this node, `None` while it cannot be reached.
    pub hops: Option<u32>,
    /// The neighbor that is next on that way.
    pub next_hop: Option<NodeId>,
    /// Its boot counter.
    pub boot: u64,
    /// Addresses at which it says that it listens.
    pub addresses: Vec<String>,
    /// The nodes that it says it is linked to.
    pub links: Vec<NodeId>,
    /// Chat users with a session there, as far as is known here.
    pub users: u64,
    /// Whether it was removed from the network.
    pub removed: bool,
}

/// One link of this node.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// The neighbor at its other end.
    pub node: NodeId,
    /// Whether this node dialled it.
    pub dialled: bool,
    /// Whether it cannot keep up and gets no live changes until it has caught up.
    pub behind: bool,
    /// Whether the neighbor's changes are all here.
    pub in_sync: bool,
    /// The last measured round trip, in milliseconds.
    pub round_trip_ms: Option<u64>,
}

/// One address that this node dials.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The address as given.
    pub address: String,
    /// The node that answered there last.
    pub node: Option<NodeId>,
    /// Whether it is linked now.
    pub linked: bool,
    /// Whether a client added it, so that it outlives a restart without being in the settings.
    pub added: bool,
    /// Why the last attempt failed.
    pub error: Option<String>,
}
