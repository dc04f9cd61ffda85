//! The end of a node, in order: no more clients and links, then the engine, then the store.

use crate::inbox::Inbox;
use crate::link::Links;
use crate::session::Sessions;
use crate::store::Views;
use crate::store::directory::Directory;
use std::thread::JoinHandle;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

/// What has to be ended.
pub(super) struct Stop {
    /// Everything that serves clients has a receiver, and drops it when it has ended.
    http: watch::Sender<bool>,
    inbox: Inbox,
    links: Links,
    tasks: Vec<AbortHandle>,
    /// Taken by whoever stops the node; others wait for the lock.
    rest: Mutex<Option<(JoinHandle<()>, Directory)>>,
}

impl Stop {
    pub(super) fn new(
        http: watch::Sender<bool>,
        inbox: Inbox,
        links: Links,
        engine: JoinHandle<()>,
        directory: Directory,
        tasks: Vec<AbortHandle>,
    ) -> Stop {
        Stop { http, inbox, links, tasks, rest: Mutex::new(Some((engine, directory))) }
    }

    pub(super) async fn stop(&self, sessions: &Sessions, views: &Views) {
        let mut rest = self.rest.lock().await;
        let Some((engine, directory)) = rest.take() else { return };
        self.http.send_replace(true);
        self.http.closed().await;
        self.links.shutdown().await;
        self.inbox.close();
        let ended = tokio::task::spawn_blocking(move || engine.join());
        // A panic there has ended the process.
        drop(ended.await);
        sessions.close_all();
        views.close();
        self.tasks.iter().for_each(AbortHandle::abort);
        drop(directory);
    }
}

impl Drop for Stop {
    /// Without [`Stop::stop`] the threads end by themselves, some time later.
    fn drop(&mut self) {
        self.inbox.close();
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
