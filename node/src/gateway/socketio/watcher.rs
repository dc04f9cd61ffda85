//! One watch of presence for all sockets of the node.
//!
//! Promise: the list is kept, and written once, only while a user of a socket is there to see
//! it; whoever looks sees the newest. A list that goes to many is not written more often than
//! they can take it.
//! Limits: `PAUSE_MIN`, `PAUSE_MAX`, `BYTES_PER_SECOND`.

use super::list::UserList;
use crate::node::Node;
use bytes::Bytes;
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, UsersWatch};
use folkmoot_core::id::Name;
use folkmoot_core::request::{Event, Request};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The shortest pause between two lists: what comes together is shown together.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two lists.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Bytes of lists that all sockets together are sent in a second, as long as pauses allow.
const BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;

/// The list as it was written last.
#[derive(Clone, Default)]
struct Edition {
    packet: Bytes,
    /// 0 before the first.
    number: u64,
}

/// The watch, which runs while somebody reads.
pub(super) struct Watcher {
    list: Mutex<UserList>,
    editions: watch::Sender<Edition>,
    runs: Mutex<bool>,
}

/// One socket's view of the list.
pub(super) struct Reader {
    watcher: Arc<Watcher>,
    editions: watch::Receiver<Edition>,
}

impl Watcher {
    /// Nobody reads yet.
    pub(super) fn new() -> Arc<Watcher> {
        let editions = watch::Sender::new(Edition::default());
        Arc::new(Watcher { list: Mutex::default(), editions, runs: Mutex::new(false) })
    }

    /// Reads the list from now on.
    pub(super) fn read(self: &Arc<Watcher>, node: &Node) -> Reader {
        let mut runs = lock(&self.runs);
        let mut editions = self.editions.subscribe();
        editions.mark_changed();
        if !*runs {
            *runs = true;
            tokio::spawn(run(self.clone(), node.clone()));
        }
        Reader { watcher: self.clone(), editions }
    }

    fn write(&self) -> Duration {
        let (packet, number) = lock(&self.list).write();
        let bytes = packet.len() as u64 * self.editions.receiver_count() as u64;
        self.editions.send_replace(Edition { packet, number });
        let pause = Duration::from_millis(bytes * 1000 / BYTES_PER_SECOND);
        pause.clamp(PAUSE_MIN, PAUSE_MAX)
    }

    /// Ends the watch, unless somebody has begun to read just now.
    fn stop(&self) -> bool {
        let mut runs = lock(&self.runs);
        *runs = self.editions.receiver_count() > 0;
        if !*runs {
            *lock(&self.list) = UserList::default();
            self.editions.send_replace(Edition::default());
        }
        !*runs
    }
}

impl Reader {
    /// The list, once it is new to this reader and has `user` in it.
    pub(super) async fn next(&mut self, user: &Name) -> Bytes {
        loop {
            // The sender lives as long as the watcher, and that as long as this.
            let _ = self.editions.changed().await;
            let edition = self.editions.borrow_and_update().clone();
            let told = edition.number > 0;
            if told && lock(&self.watcher.list).had(user, edition.number) {
                return edition.packet;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(watcher: Arc<Watcher>, node: Node) {
    loop {
        let unread = tokio::select! {
            () = watch(&watcher, &node) => false,
            () = watcher.editions.closed() => true,
        };
        if unread && watcher.stop() {
            return;
        }
        if !unread {
            // It fell behind, or the node is ending.
            tokio::time::sleep(PAUSE_MAX).await;
        }
    }
}

/// Follows presence until the node closes the session.
async fn watch(watcher: &Watcher, node: &Node) {
    let mut session = node.session(Principal::Owner);
    let everybody = ChatRequest::WatchUsers(UsersWatch::Prefix(Bytes::new()));
    if session.tell(Request::Chat(everybody)).await.is_err() {
        return;
    }
    let mut pause = Box::pin(tokio::time::sleep(Duration::ZERO));
    let mut changed = false;
    loop {
        tokio::select! {
            () = pause.as_mut(), if changed => {
                changed = false;
                let next = tokio::time::Instant::now() + watcher.write();
                pause.as_mut().reset(next);
            }
            event = session.next_event() => match event {
                Some(Event::Chat(ChatEvent::Users { all, changes })) => {
                    changed |= lock(&watcher.list).apply(all, &changes);
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}
