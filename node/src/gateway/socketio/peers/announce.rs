//! Tells the other servers who is online in this mesh, their own users not counted.
//!
//! Promise: a server gets the whole list when it is connected, then each change. What is told is
//! never more than what the mesh has besides the sessions that stand for users of servers: for
//! such users the engine is asked, once none of their sessions is just being opened or closed.
//! The mesh tells who comes and goes, not how many sessions a user has: users who are at another
//! server too are asked for now and then.
//! Limits: `RESEND_PAUSE`, `ASK_PAUSE`, `ASKS_MAX`.

use super::mail::{Mail, Told};
use super::{Peers, Residence, is_object_member};
use crate::gateway::socketio::chat::update_peer;
use crate::http::stopped;
use crate::node::Node;
use crate::session::Session;
use bytes::Bytes;
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, UsersWatch};
use folkmoot_core::id::Name;
use folkmoot_core::request::{Event, Reply, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// From a connection that a server may have dialled to the list that it is sent once more.
const RESEND_PAUSE: Duration = Duration::from_secs(1);

/// How often users of other servers are asked for.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// How many of them at once.
const ASKS_MAX: usize = 256;

/// Tells of one server's connection.
pub(super) struct Connected {
    pub(super) index: usize,
    pub(super) announcer: Arc<Mail>,
}

impl Connected {
    pub(super) fn tell(&self, connected: bool) {
        self.announcer.tell(Told::Connected(self.index, connected));
    }
}

/// What the servers know.
struct Announcer {
    peers: Arc<Peers>,
    chat: Session,
    /// Connections of each of our users, as told.
    own: BTreeMap<Name, u32>,
    connected: BTreeSet<usize>,
    /// Who gets everything once more, and when.
    resend: BTreeSet<usize>,
    resend_at: Instant,
    /// The user who was asked for last.
    asked: Option<Name>,
    /// Who was nowhere at all when asked for with those.
    gone: Vec<(Name, Residence)>,
}

/// Announces until the node stops.
pub(super) async fn run(peers: Arc<Peers>, node: Node, mut stop: watch::Receiver<bool>) {
    let mail = peers.announcer.clone();
    let mut announcer = Announcer::new(peers, &node);
    let mut asks = interval(ASK_PAUSE);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    announcer.watch().await;
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            event = announcer.chat.next_event() => match event {
                Some(event) => announcer.on_event(event).await,
                None => {
                    // It fell behind.
                    tokio::time::sleep(RESEND_PAUSE).await;
                    announcer.chat = node.session(Principal::Owner);
                    announcer.watch().await;
                }
            },
            () = sleep_until(announcer.resend_at), if !announcer.resend.is_empty() => {
                for index in std::mem::take(&mut announcer.resend) {
                    if announcer.connected.contains(&index) {
                        announcer.tell_all(index);
                    }
                }
            }
            _ = asks.tick() => announcer.ask_some().await,
            told = mail.next() => announcer.on_told(told).await,
        }
    }
}

impl Announcer {
    /// No server knows anything yet.
    fn new(peers: Arc<Peers>, node: &Node) -> Announcer {
        let (own, connected, resend) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (chat, resend_at) = (node.session(Principal::Owner), Instant::now());
        let (asked, gone) = (None, Vec::new());
        Announcer { peers, chat, own, connected, resend, resend_at, asked, gone }
    }

    async fn watch(&self) {
        let everybody = ChatRequest::WatchUsers(UsersWatch::Prefix(Bytes::new()));
        // If it cannot be told, the session is closed, and that is told.
        let _ = self.chat.tell(Request::Chat(everybody)).await;
    }

    async fn on_told(&mut self, told: Told) {
        match told {
            Told::Connected(index, true) => {
                self.connected.insert(index);
                self.tell_all(index);
            }
            Told::Connected(index, false) => drop(self.connected.remove(&index)),
            Told::Changed(name) => drop(self.ask(name).await),
            Told::Came(address) => {
                let servers = self.peers.servers.iter().enumerate();
                let there = servers.filter(|(_, other)| other.server.is_at(address));
                if self.resend.is_empty() {
                    self.resend_at = Instant::now() + RESEND_PAUSE;
                }
                self.resend.extend(there.map(|(index, _)| index));
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        let Event::Chat(ChatEvent::Users { all, changes }) = event else { return };
        if all {
            self.keep(&changes.iter().map(|change| change.user.clone()).collect());
        }
        for change in changes.iter() {
            match self.peers.residence(&change.user) {
                None => self.set(change.user.clone(), change.sessions),
                Some(_) => drop(self.ask(change.user.clone()).await),
            }
            // What is told of that user from now on is newer than those sessions.
            if change.sessions == 0 {
                self.peers.forget(&change.user);
            }
        }
    }

    /// These are online and nobody else, whatever was not told.
    fn keep(&mut self, online: &BTreeSet<Name>) {
        let gone = self.own.keys().filter(|name| !online.contains(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.set(name, 0);
        }
        self.peers.forget_others(online);
    }

    /// Asks for some users of other servers, the next ones each time. Whoever came and went so fast
    /// that the mesh does not tell is forgotten the next time: news of the time before has come then.
    async fn ask_some(&mut self) {
        for (name, residence) in std::mem::take(&mut self.gone) {
            if self.peers.residence(&name) == Some(residence) {
                self.peers.forget(&name);
            }
        }
        let names = self.peers.residents_after(self.asked.as_ref(), ASKS_MAX);
        self.asked = names.last().cloned().filter(|_| names.len() == ASKS_MAX);
        for name in names {
            if let Some(residence) = self.ask(name.clone()).await {
                self.gone.push((name, residence));
            }
        }
    }

    /// Asks the engine how many connections a user has who also has some at other servers. Answers
    /// the residence of one who has none anywhere.
    async fn ask(&mut self, name: Name) -> Option<Residence> {
        let before = self.peers.residence(&name).filter(|residence| residence.changing == 0)?;
        let (prefix, after) = (name.as_bytes().clone(), Bytes::new());
        let request = ChatRequest::Users { prefix, after, limit: 1 };
        let Reply::Users(users, _) = self.chat.ask(Request::Chat(request)).await else {
            return None;
        };
        let all = users.first().filter(|one| one.user == name).map_or(0, |one| one.sessions);
        // Whoever has changed it since then has it asked again.
        if self.peers.residence(&name) != Some(before) {
            return None;
        }
        self.set(name, all.saturating_sub(before.open));
        (all == 0 && before.is_empty()).then_some(before)
    }

    /// So many connections a user has: tells it if that is new. Of one to whom nobody at a server
    /// can write without ending it, no server is told.
    fn set(&mut self, name: Name, connections: u32) {
        if is_object_member(&name) {
            return;
        }
        let before = match connections {
            0 => self.own.remove(&name),
            _ => self.own.insert(name.clone(), connections),
        };
        if before.unwrap_or(0) == connections {
            return;
        }
        let packet = update_peer(&self.peers.id, &[(name, connections)], false);
        for index in self.connected.clone() {
            self.send(index, packet.clone());
        }
    }

    /// Sends a server a packet. One that has no room for it gets everything, a little later.
    fn send(&mut self, index: usize, packet: Bytes) {
        if self.peers.servers[index].out.try_send(packet).is_err() {
            self.resend.insert(index);
            self.resend_at = Instant::now() + RESEND_PAUSE;
        }
    }

    /// Tells a server everything.
    fn tell_all(&mut self, index: usize) {
        let users: Vec<_> = self.own.iter().map(|(name, count)| (name.clone(), *count)).collect();
        let packet = update_peer(&self.peers.id, &users, true);
        self.send(index, packet);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bridge, name};
    use super::super::{WAITING_MAX, lock};
    use super::*;
    use crate::gateway::socketio::tests::node;

    #[tokio::test]
    async fn so_many_users_are_asked_for_at_once_and_one_more_the_next_time() {
        let node = node().await;
        let (peers, _) = bridge(&node);
        let mut announcer = Announcer::new(peers.clone(), &node);
        // Told to be here, where they are not: whoever is asked for is so no more.
        for n in 0..=ASKS_MAX {
            lock(&peers.shared).residents.insert(name(n), Residence::default());
            announcer.own.insert(name(n), 1);
        }
        announcer.ask_some().await;
        assert_eq!(announcer.own.len(), 1);
        announcer.ask_some().await;
        assert!(announcer.own.is_empty());
        node.close().await;
    }

    #[tokio::test]
    async fn no_server_is_told_of_a_user_whose_name_is_that_of_a_member_of_all_objects() {
        let node = node().await;
        let (peers, mut outs) = bridge(&node);
        let mut announcer = Announcer::new(peers, &node);
        announcer.connected.insert(0);
        announcer.set(name("constructor"), 1);
        announcer.set(name("Anna"), 1);
        let told = outs[0].try_recv().unwrap();
        assert!(told.ends_with(b"\"user\":{\"id\":\"Anna\",\"connections\":1}}]"), "{told:?}");
        announcer.tell_all(0);
        let all = outs[0].try_recv().unwrap();
        assert!(all.ends_with(b"\"list\":[{\"id\":\"Anna\",\"connections\":1}]}]"), "{all:?}");
        node.close().await;
    }

    #[tokio::test]
    async fn who_came_and_went_unseen_is_forgotten_unless_somebody_is_just_coming() {
        let node = node().await;
        let (peers, _) = bridge(&node);
        let mut announcer = Announcer::new(peers.clone(), &node);
        let known = [Residence::default(), Residence { changing: 1, ..Residence::default() }];
        lock(&peers.shared)
            .residents
            .extend(known.into_iter().enumerate().map(|(n, residence)| (name(n), residence)));
        announcer.ask_some().await;
        assert_eq!(peers.residence(&name(0)), Some(known[0]), "news of its time may be on the way");
        announcer.ask_some().await;
        assert_eq!(peers.residence(&name(0)), None);
        assert_eq!(peers.residence(&name(1)), Some(known[1]));
        // Since it was asked for, somebody has come and gone once more.
        lock(&peers.shared).residents.insert(name(0), known[0]);
        announcer.ask_some().await;
        let changed = Residence { changes: 1, ..known[0] };
        lock(&peers.shared).residents.insert(name(0), changed);
        announcer.ask_some().await;
        assert_eq!(peers.residence(&name(0)), Some(changed));
        node.close().await;
    }

    #[tokio::test]
    async fn so_many_packets_wait_for_a_server_and_with_one_more_it_is_told_all_anew() {
        let node = node().await;
        let (peers, mut outs) = bridge(&node);
        let mut announcer = Announcer::new(peers, &node);
        announcer.connected.insert(0);
        let mut come = |n: usize| {
            announcer.set(name(n), 1);
            announcer.resend.len()
        };
        assert!((0..WAITING_MAX).all(|n| come(n) == 0));
        assert_eq!(come(WAITING_MAX), 1);
        (0..WAITING_MAX).for_each(|_| drop(outs[0].try_recv().unwrap()));
        assert!(outs[0].try_recv().is_err(), "the last is not among them");
        announcer.tell_all(0);
        let all = String::from_utf8(outs[0].try_recv().unwrap().to_vec()).unwrap();
        assert!((0..=WAITING_MAX).all(|n| all.contains(&format!("\"{n}\""))), "{all}");
        node.close().await;
    }
}
