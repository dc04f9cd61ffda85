//! Who wants to know who comes and goes. What a change costs is the number of those who watch it.

use super::Chat;
use super::words::{ChatEvent, Presence, UsersWatch};
use crate::ctx::Ctx;
use crate::error::ErrorCode;
use crate::id::{Name, SessionId};
use crate::limits::NAMES_MAX;
use crate::request::Event;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The watches of all sessions.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    by_session: BTreeMap<SessionId, UsersWatch>,
    by_prefix: BTreeMap<Bytes, BTreeSet<SessionId>>,
    by_name: BTreeMap<Name, BTreeSet<SessionId>>,
}

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.by_session.is_empty()
    }

    /// Replaces the watch of a session.
    pub(super) fn set(&mut self, session: SessionId, watch: UsersWatch) {
        match self.by_session.remove(&session) {
            Some(UsersWatch::Prefix(prefix)) => strike(&mut self.by_prefix, &prefix, session),
            Some(UsersWatch::Names(names)) => {
                names.iter().for_each(|name| strike(&mut self.by_name, name, session));
            }
            Some(UsersWatch::None) | None => {}
        }
        match &watch {
            UsersWatch::None => return,
            UsersWatch::Prefix(prefix) => {
                self.by_prefix.entry(prefix.clone()).or_default().insert(session);
            }
            UsersWatch::Names(names) => {
                for name in names {
                    self.by_name.entry(name.clone()).or_default().insert(session);
                }
            }
        }
        self.by_session.insert(session, watch);
    }

    /// Brings changes, in the order of names, to those who watch them.
    fn tell(&self, ctx: &mut Ctx, changes: Vec<Presence>) {
        let changes = Arc::new(changes);
        let event = |changes| Event::Chat(ChatEvent::Users { all: false, changes });
        for (prefix, sessions) in &self.by_prefix {
            let covered = |one: &&Presence| one.user.as_bytes().starts_with(prefix);
            let told = match prefix.is_empty() {
                true => changes.clone(),
                false => Arc::new(changes.iter().filter(covered).cloned().collect()),
            };
            if !told.is_empty() {
                sessions.iter().for_each(|session| ctx.event(*session, event(told.clone())));
            }
        }
        let mut named: BTreeMap<SessionId, Vec<Presence>> = BTreeMap::new();
        for change in changes.iter().filter(|_| !self.by_name.is_empty()) {
            for session in self.by_name.get(&change.user).into_iter().flatten() {
                named.entry(*session).or_default().push(change.clone());
            }
        }
        for (session, told) in named {
            ctx.event(session, event(Arc::new(told)));
        }
    }
}

fn strike<K: Ord>(watchers: &mut BTreeMap<K, BTreeSet<SessionId>>, key: &K, session: SessionId) {
    if let Some(sessions) = watchers.get_mut(key) {
        sessions.remove(&session);
        if sessions.is_empty() {
            watchers.remove(key);
        }
    }
}

impl Chat {
    /// A session watches users from now on, and is told at the end of the step who is there.
    pub(super) fn watch_users(
        &mut self,
        session: SessionId,
        watch: UsersWatch,
    ) -> Result<(), ErrorCode> {
        match watch {
            UsersWatch::None => self.unwatch(session),
            UsersWatch::Names(names) if names.len() > NAMES_MAX => {
                return Err(ErrorCode::NamesMax);
            }
            watch => drop(self.new_watches.insert(session, watch)),
        }
        Ok(())
    }

    /// A session watches nobody any more.
    pub(super) fn unwatch(&mut self, session: SessionId) {
        self.new_watches.remove(&session);
        self.watchers.set(session, UsersWatch::None);
    }

    /// Tells those who is there who began to watch in this step: once, however often they asked.
    pub(super) fn begin_watches(&mut self, ctx: &mut Ctx) {
        if self.new_watches.is_empty() {
            return;
        }
        // What has changed is told from what was told before, which these did not hear.
        self.tell_users(ctx);
        let mut by_prefix: BTreeMap<Bytes, Arc<Vec<Presence>>> = BTreeMap::new();
        for (session, watch) in std::mem::take(&mut self.new_watches) {
            let there = match &watch {
                UsersWatch::None => continue,
                UsersWatch::Prefix(prefix) => {
                    let there = || Arc::new(self.users(prefix, b"", usize::MAX).0);
                    by_prefix.entry(prefix.clone()).or_insert_with(there).clone()
                }
                UsersWatch::Names(names) => {
                    let names: BTreeSet<&Name> = names.iter().collect();
                    let presence = |name: &Name| self.presence(name.clone());
                    Arc::new(names.into_iter().map(presence).collect())
                }
            };
            self.watchers.set(session, watch);
            let event = ChatEvent::Users { all: true, changes: there };
            ctx.event(session, Event::Chat(event));
        }
    }

    /// Tells watchers what changed since the last time, and notes who was last seen when.
    pub(super) fn tell_users(&mut self, ctx: &mut Ctx) {
        let mut changes = Vec::new();
        for (user, before) in std::mem::take(&mut self.touched) {
            let presence = self.presence(user.clone());
            let online = presence.sessions > 0;
            if before.online && !online {
                self.note_last_seen(&user, ctx.now.wall_ms);
            }
            let differs = before.online != online || before.status != presence.status;
            if differs && !self.watchers.is_empty() {
                let seen_ms = self.last_seen_ms(&user).filter(|_| !online);
                changes.push(Presence { seen_ms, ..presence });
            }
        }
        if !changes.is_empty() {
            self.watchers.tell(ctx, changes);
        }
    }
}
