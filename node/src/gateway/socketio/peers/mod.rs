//! One node as a server among the original servers of multi-server-chat.
//!
//! Each server dials all others. What this node tells goes over the connections that it dials
//! (`dial`): its users (`announce`), and messages for users of the other server. What others
//! tell comes over the connections that they dial, which are sockets like any other until they
//! say `update_peer`: then each of their users gets a session here (`resident`).
//!
//! Promise: only addresses and ids of the given list count as servers. A message goes to each
//! server once, and what came from one server goes to no other: they tell each other themselves.
//! One connection speaks for the users of a server, the one that came last: when it is gone, they
//! are.
//! Limits: `RESIDENTS_MAX`, `RESIDENCES_MAX`, `RECENT_MAX`, `WAITING_MAX`, `STRANGERS_MAX`,
//! `STRANGER_CHARS_MAX`.

mod announce;
mod dial;
mod mail;
mod recent;
mod resident;
mod servers;

pub(crate) use servers::Servers;

use super::chat::{Im, Update, Users};
use crate::node::Node;
use bytes::Bytes;
use folkmoot_core::id::{ClientId, Name};
use mail::{Mail, Told};
use recent::Recent;
use resident::Resident;
use servers::Server;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// Users of one server that have sessions here.
const RESIDENTS_MAX: usize = 20_000;
/// Users of all servers who have sessions here, or had some until a moment ago.
const RESIDENCES_MAX: usize = 200_000;
/// Messages that wait for the connection to a server.
const WAITING_MAX: usize = 256;
/// Messages that are remembered as sent to a server, or as not to be sent on.
const RECENT_MAX: usize = 4_096;
/// Claims to be a server that were logged: each address with what it called itself.
const STRANGERS_MAX: usize = 1_024;
/// Characters of what it called itself.
const STRANGER_CHARS_MAX: usize = 64;

/// What every object of JavaScript has. The servers keep their users in a plain object: they take
/// each of these for a user of theirs, and end when they send to it.
const OBJECT_MEMBERS: [&str; 12] = [
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// The bridge to all original servers.
pub(crate) struct Peers {
    /// What this node is called among them.
    id: String,
    servers: Vec<Arc<Other>>,
    shared: Mutex<Shared>,
    announcer: Arc<Mail>,
    node: Node,
}

/// Another server.
struct Other {
    server: Server,
    /// To the connection that this node dials.
    out: mpsc::Sender<Bytes>,
    /// What it was sent.
    sent: Mutex<Recent>,
    users: Mutex<Spoken>,
}

/// The users of a server for whom one of its connections speaks.
#[derive(Default)]
struct Spoken {
    /// Counts the connections: the last is the one.
    connection: u64,
    residents: BTreeMap<Name, Resident>,
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    /// The programs that speak for users of other servers.
    foreign: HashSet<ClientId>,
    /// Sessions of each such user, and how many of them are just being opened or closed.
    residents: BTreeMap<Name, Residence>,
    /// Messages that are to stay on this node.
    local: Recent,
    strangers: HashSet<(IpAddr, String)>,
}

/// The sessions that this node has opened for one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Residence {
    open: u32,
    changing: u32,
    /// How often that has changed: what was counted meanwhile does not count.
    changes: u64,
}

impl Residence {
    fn is_empty(self) -> bool {
        self.open == 0 && self.changing == 0
    }
}

/// Whether servers end when they are sent a message from or to `user`.
fn is_object_member(user: &Name) -> bool {
    OBJECT_MEMBERS.contains(&user.as_str())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peers {
    /// Dials the servers from now on, until the node stops.
    pub(crate) fn start(servers: Servers, node: Node, stop: watch::Receiver<bool>) -> Arc<Peers> {
        let (peers, outs) = Peers::new(servers, node.clone());
        for (index, waiting) in outs.into_iter().enumerate() {
            let other = peers.servers[index].server.clone();
            let connected = announce::Connected { index, announcer: peers.announcer.clone() };
            tokio::spawn(dial::run(other, waiting, connected, stop.clone()));
        }
        tokio::spawn(announce::run(peers.clone(), node, stop));
        peers
    }

    /// The bridge, and what waits for each server.
    fn new(servers: Servers, node: Node) -> (Arc<Peers>, Vec<mpsc::Receiver<Bytes>>) {
        let mut outs = Vec::new();
        let other = |server: Server| {
            let (out, waiting) = mpsc::channel(WAITING_MAX);
            outs.push(waiting);
            let (sent, users) = (Mutex::new(Recent::new(RECENT_MAX)), Mutex::default());
            Arc::new(Other { server, out, sent, users })
        };
        let others = servers.others.into_iter().map(other).collect();
        let peers = Arc::new(Peers {
            id: servers.id,
            servers: others,
            shared: Mutex::new(Shared { local: Recent::new(RECENT_MAX), ..Shared::default() }),
            announcer: Arc::default(),
            node,
        });
        (peers, outs)
    }

    /// Whether a server is at this address.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.servers.iter().any(|other| other.server.is_at(address))
    }

    /// A socket has come from this address. If a server has just dialled this node, it has
    /// forgotten what it knew of its users, and is told again.
    pub(super) fn came(&self, address: IpAddr) {
        if self.knows(address) {
            self.announcer.tell(Told::Came(address));
        }
    }

    /// The side of a connection from `address` that calls itself `id`.
    pub(super) fn peer(self: &Arc<Peers>, address: IpAddr, id: &str) -> Option<Peer> {
        let known = |other: &&Arc<Other>| other.server.id == id && other.server.is_at(address);
        if let Some(other) = self.servers.iter().find(known) {
            tracing::info!("the chat server {id} has connected from {address}");
            return Some(Peer::take_over(self.clone(), other.clone()));
        }
        let id: String = id.chars().take(STRANGER_CHARS_MAX).collect();
        let mut shared = lock(&self.shared);
        if shared.strangers.len() < STRANGERS_MAX && shared.strangers.insert((address, id.clone()))
        {
            tracing::warn!("{address} says that it is the chat server {id:?}, which is not listed");
        }
        None
    }

    /// Whether the program speaks for a user of another server.
    pub(super) fn is_foreign(&self, client: ClientId) -> bool {
        lock(&self.shared).foreign.contains(&client)
    }

    /// A message is to stay on this node.
    pub(super) fn note_local(&self, client: ClientId, number: u64) {
        lock(&self.shared).local.note(client, number);
    }

    /// A session for `user` is about to be opened or closed.
    fn change(&self, user: &Name) {
        let mut shared = lock(&self.shared);
        let residence = shared.residents.entry(user.clone()).or_default();
        residence.changing += 1;
        residence.changes += 1;
    }

    /// It is open.
    fn opened(&self, user: &Name, client: ClientId) {
        let mut shared = lock(&self.shared);
        shared.foreign.insert(client);
        let residence = shared.residents.entry(user.clone()).or_default();
        residence.changing -= 1;
        residence.open += 1;
        drop(shared);
        self.announcer.tell(Told::Changed(user.clone()));
    }

    /// It is closed, or was never opened.
    fn closed(&self, user: &Name, client: Option<ClientId>) {
        let mut shared = lock(&self.shared);
        let residence = shared.residents.entry(user.clone()).or_default();
        residence.changing -= 1;
        if let Some(client) = client {
            residence.open -= 1;
            shared.foreign.remove(&client);
        }
        drop(shared);
        self.announcer.tell(Told::Changed(user.clone()));
    }

    /// Sessions of `user` that are not the user's own; `None` for a user who never had any.
    fn residence(&self, user: &Name) -> Option<Residence> {
        lock(&self.shared).residents.get(user).copied()
    }

    /// Users who have such sessions, in order, after this one.
    fn residents_after(&self, after: Option<&Name>, max: usize) -> Vec<Name> {
        let shared = lock(&self.shared);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = shared.residents.range::<Name, _>((from, Bound::Unbounded));
        names.take(max).map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a user who has no such session any more.
    fn forget(&self, user: &Name) {
        let mut shared = lock(&self.shared);
        if shared.residents.get(user).is_some_and(|residence| residence.is_empty()) {
            shared.residents.remove(user);
        }
    }

    /// Forgets all of those but the ones who are online.
    fn forget_others(&self, online: &BTreeSet<Name>) {
        let mut shared = lock(&self.shared);
        shared.residents.retain(|name, one| !one.is_empty() || online.contains(name));
    }
}

/// One connection that another server has dialled. Its users go when it is dropped, unless the
/// server has connected again.
pub(super) struct Peer {
    peers: Arc<Peers>,
    other: Arc<Other>,
    connection: u64,
    /// Whether it has said who its users are.
    has_told: bool,
}

impl Peer {
    /// Speaks for the users of the server from now on. Who was there is until it says who is.
    fn take_over(peers: Arc<Peers>, other: Arc<Other>) -> Peer {
        let mut users = lock(&other.users);
        users.connection += 1;
        let connection = users.connection;
        drop(users);
        Peer { peers, other, connection, has_told: false }
    }

    /// The users for whom it speaks.
    fn users(&self) -> Result<MutexGuard<'_, Spoken>, &'static str> {
        let users = lock(&self.other.users);
        let speaks = users.connection == self.connection;
        speaks.then_some(users).ok_or("the server has connected again since")
    }

    /// Takes what the server tells of its users.
    pub(super) fn update(&mut self, update: Update) -> Result<(), &'static str> {
        if update.peer != self.other.server.id {
            return Err("this connection is another server's");
        }
        let told = self.take(update.users);
        // Even if there was no room for all: those who were let in are this connection's.
        self.has_told = true;
        told
    }

    fn take(&self, told: Users) -> Result<(), &'static str> {
        let mut users = self.users()?;
        let residents = &mut users.residents;
        match told {
            Users::All(names) => {
                let names: BTreeSet<Name> = names.into_iter().collect();
                residents.retain(|name, _| names.contains(name));
                let added = names.into_iter().map(|name| self.add(residents, name));
                added.fold(Ok(()), Result::and)
            }
            Users::One(name, there) => {
                if !self.has_told {
                    residents.clear();
                }
                if there {
                    return self.add(residents, name);
                }
                residents.remove(&name);
                Ok(())
            }
        }
    }

    fn add(
        &self,
        residents: &mut BTreeMap<Name, Resident>,
        name: Name,
    ) -> Result<(), &'static str> {
        if residents.contains_key(&name) {
            return Ok(());
        }
        if residents.len() >= RESIDENTS_MAX {
            return Err("too many users of one server");
        }
        if lock(&self.peers.shared).residents.len() >= RESIDENCES_MAX {
            return Err("too many users of servers come and go");
        }
        let resident = Resident::start(self.peers.clone(), self.other.clone(), name.clone());
        residents.insert(name, resident);
        Ok(())
    }

    /// Takes a message that one of the server's users sent.
    pub(super) async fn im(&self, im: Im) -> Result<(), &'static str> {
        let from = im.from.as_ref();
        let resident = from.and_then(|from| self.users().ok()?.residents.get(from).cloned());
        resident.ok_or("from is no user of this server")?.say(im).await
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Ok(mut users) = self.users() {
            users.residents.clear();
        }
    }
}

#[cfg(test)]
mod tests;
