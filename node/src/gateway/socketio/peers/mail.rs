//! What the announcer is told, until it looks.
//!
//! Promise: nothing that is told is lost, and what is told again while it waits waits once: so
//! much waits as there are servers, their addresses and their users, which have limits.

use super::lock;
use folkmoot_core::id::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Mutex;
use tokio::sync::Notify;

/// What the announcer is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The connection to the server of this index is there, or not any more.
    Connected(usize, bool),
    /// Somebody has come from an address at which servers are.
    Came(IpAddr),
    /// A user's sessions that stand for other servers have changed.
    Changed(Name),
}

/// What waits to be told.
#[derive(Default)]
pub(super) struct Mail {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    connected: BTreeMap<usize, bool>,
    came: BTreeSet<IpAddr>,
    changed: BTreeSet<Name>,
}

impl Mail {
    /// Tells something, whether or not anybody listens.
    pub(super) fn tell(&self, told: Told) {
        let mut waiting = lock(&self.waiting);
        match told {
            Told::Connected(index, there) => drop(waiting.connected.insert(index, there)),
            Told::Came(address) => drop(waiting.came.insert(address)),
            Told::Changed(name) => drop(waiting.changed.insert(name)),
        }
        self.bell.notify_one();
    }

    /// What one listener is told next. May be cancelled without loss.
    pub(super) async fn next(&self) -> Told {
        loop {
            if let Some(told) = self.take() {
                return told;
            }
            self.bell.notified().await;
        }
    }

    fn take(&self) -> Option<Told> {
        let mut waiting = lock(&self.waiting);
        let connected = waiting.connected.pop_first();
        let connected = connected.map(|(index, there)| Told::Connected(index, there));
        connected
            .or_else(|| waiting.came.pop_first().map(Told::Came))
            .or_else(|| waiting.changed.pop_first().map(Told::Changed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::name;
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn what_is_told_again_waits_once_and_nothing_is_lost() {
        let mail = Mail::default();
        for there in [true, false] {
            mail.tell(Told::Connected(1, there));
            mail.tell(Told::Changed(name("Anna")));
        }
        mail.tell(Told::Changed(name("Billy")));
        let next = || mail.next().now_or_never();
        assert_eq!(next(), Some(Told::Connected(1, false)));
        assert_eq!(next(), Some(Told::Changed(name("Anna"))));
        mail.tell(Told::Changed(name("Anna")));
        assert_eq!(next(), Some(Told::Changed(name("Anna"))));
        assert_eq!(next(), Some(Told::Changed(name("Billy"))));
        assert_eq!(next(), None);
    }
}
