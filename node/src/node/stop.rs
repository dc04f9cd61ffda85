//! The end of a node, in order: no more clients and links, then the engine, then the store.

use crate::inbox::Inbox;
use crate::link::Links;
use crate::session::Sessions;
use crate::store::Views;
use crate::store::directory::Directory;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

/// What has to be ended.
pub(super) struct Stop {
    inbox: Inbox,
    links: Links,
    tasks: Vec<AbortHandle>,
    _listener: TcpListener,
    /// Taken by whoever stops the node; others wait for the lock.
    rest: Mutex<Option<(JoinHandle<()>, Directory)>>,
}

impl Stop {
    pub(super) fn new(
        inbox: Inbox,
        links: Links,
        engine: JoinHandle<()>,
        directory: Directory,
        tasks: Vec<AbortHandle>,
        listener: TcpListener,
    ) -> Stop {
        Stop {
            inbox,
            links,
            tasks,
            _listener: listener,
            rest: Mutex::new(Some((engine, directory))),
        }
    }

    pub(super) async fn stop(&self, sessions: &Sessions, views: &Views) {
        let mut rest = self.rest.lock().await;
        let Some((engine, directory)) = rest.take() else { return };
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
