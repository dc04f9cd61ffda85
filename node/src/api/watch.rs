//! Watching without gaps: a snapshot, then every change, also across reconnects.
//!
//! Promise: whoever applies what a watch tells holds what the node holds, at each [`Told::Ready`]
//! and after each change behind it. A [`Token`] says how far a watcher is; with it a new watch goes on from
//! there, on the same store. A watcher that is too slow for live changes reads them from the
//! change log later; if the log no longer reaches back, it is told to forget what it has, and a
//! snapshot follows. Changes of one path may be told as one, the newest. The end of a time to live
//! is a change like any other.
//! Limits: `PAGE_ROWS`, `PAGE_CHANGES`.

use super::data::damaged;
use crate::node::Node;
use crate::runtime::wall_ms;
use crate::session::Session;
use folkmoot_core::access::{Action, Principal, check};
use folkmoot_core::data::read::{self, Found, Value};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{Path, StoreId, WatchId};
use folkmoot_core::request::{Changed, DataRequest, Event, Reply, Request};
use folkmoot_core::store::StoreError;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

/// Rows of a snapshot that are read at once.
const PAGE_ROWS: usize = 256;
/// Changes of the log that are read at once.
const PAGE_CHANGES: usize = 1_024;
/// The one watch of each session here.
const WATCH: WatchId = WatchId(1);

/// How far a watcher is. Means something only to the store that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The store whose changes are counted.
    pub store: StoreId,
    /// The number of the last change that the watcher knows.
    pub number: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.store, self.number)
    }
}

impl FromStr for Token {
    type Err = ErrorCode;

    fn from_str(text: &str) -> Result<Token, ErrorCode> {
        let read = || {
            let (store, number) = text.split_once('-')?;
            Some(Token { store: StoreId::from_hex(store)?, number: number.parse().ok()? })
        };
        read().ok_or(ErrorCode::Malformed)
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With the next change.
    Now,
    /// With all values that are there.
    Snapshot,
    /// Where another watch was.
    Token(Token),
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Forget everything: values follow.
    Reset,
    /// A value that is there.
    Value(Found),
    /// Of these values, one that has gone meanwhile.
    Gone(Path),
    /// What is there was told, with what has changed meanwhile; further changes follow.
    Ready(Token),
    /// A change.
    Changed {
        /// Where.
        path: Path,
        /// What is there now; `None` after a delete or the end of a time to live.
        found: Option<Found>,
        /// How far the watcher is with it.
        token: Token,
    },
}

/// A watch of one path and what is below it, or of everything. Dropping it ends it.
///
/// ```
/// # use folkmoot::{Error, Node, api::watch::{Since, Told}};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Error> {
/// # let node = Node::builder().listen("127.0.0.1:0").start().await?;
/// node.put("users/1", "Anna").await?;
/// let mut watch = node.data().watch("users", Since::Snapshot).await?;
/// assert!(matches!(watch.next().await?, Told::Value(found) if found.path.as_str() == "users/1"));
/// let Told::Ready(token) = watch.next().await? else { panic!("there was one value") };
///
/// // Whoever comes back with its token misses nothing.
/// drop(watch);
/// node.del("users/1").await?;
/// let mut watch = node.data().watch("users", Since::Token(token)).await?;
/// assert!(matches!(watch.next().await?, Told::Changed { found: None, .. }));
/// # node.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    node: Node,
    principal: Principal,
    prefix: Option<Path>,
    store: StoreId,
    /// The last change that was told, or is in `told`.
    number: u64,
    told: VecDeque<Told>,
    /// Whether values were told and the changes since are not all told yet.
    opening: bool,
    stage: Stage,
}

enum Stage {
    /// The values that are there are told, those behind a path.
    Values(Option<Path>),
    /// The changes since are read from the log.
    Log(Option<Session>),
    /// Changes come as events.
    Live(Session),
}

impl Watch {
    /// Begins to watch.
    pub async fn start(
        node: Node,
        principal: Principal,
        prefix: Option<Path>,
        from: Since,
    ) -> Result<Watch, ErrorCode> {
        check(principal, Action::Read)?;
        let snapshot = node.snapshot();
        let store = snapshot.store_id().map_err(damaged)?;
        let number = snapshot.number().map_err(damaged)?;
        let (told, stage) = (VecDeque::new(), Stage::Log(None));
        let opening = false;
        let mut watch = Watch { node, principal, prefix, store, number, told, opening, stage };
        match from {
            Since::Now => {
                let (session, number) = watch.subscribe().await?;
                (watch.stage, watch.number) = (Stage::Live(session), number);
            }
            Since::Snapshot => watch.begin_with_values(number),
            Since::Token(token) if token.store == store && token.number <= number => {
                watch.number = token.number;
            }
            Since::Token(_) => watch.reset(number),
        }
        Ok(watch)
    }

    /// What comes next; waits for it. An error ends the watch: the node is shutting down or its
    /// store is damaged. May be cancelled without loss.
    pub async fn next(&mut self) -> Result<Told, ErrorCode> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            match &mut self.stage {
                Stage::Values(..) => self.read_values().map_err(damaged)?,
                Stage::Log(None) => {
                    let (session, _) = self.subscribe().await?;
                    self.stage = Stage::Log(Some(session));
                }
                Stage::Log(Some(_)) => self.read_log().map_err(damaged)?,
                Stage::Live(session) => match session.next_event().await {
                    Some(Event::Changed(_, changes)) => {
                        self.read_event(changes).map_err(damaged)?
                    }
                    // This session speaks for no user.
                    Some(Event::Chat(_)) => {}
                    // It was too slow, or the node closes: the next request tells.
                    None => self.stage = Stage::Log(None),
                },
            }
        }
    }

    fn token(&self) -> Token {
        Token { store: self.store, number: self.number }
    }

    async fn subscribe(&self) -> Result<(Session, u64), ErrorCode> {
        let session = self.node.session(self.principal);
        let watch = DataRequest::Watch { watch: WATCH, prefix: self.prefix.clone() };
        match session.ask(Request::Data(watch)).await {
            Reply::Watching { number } => Ok((session, number)),
            Reply::Failed(code, _) => Err(code),
            reply => unreachable!("a watch is answered with its number, not {reply:?}"),
        }
    }

    fn reset(&mut self, number: u64) {
        self.told.push_back(Told::Reset);
        self.begin_with_values(number);
    }

    /// Tells the values that are there, then what has changed since `number`.
    fn begin_with_values(&mut self, number: u64) {
        (self.number, self.opening) = (number, true);
        self.stage = Stage::Values(None);
    }

    /// Tells the next values. Each page is of a snapshot of its own: a watcher that takes long must
    /// not keep the disk from letting go of what was overwritten.
    fn read_values(&mut self) -> Result<(), StoreError> {
        let Stage::Values(after) = &mut self.stage else { return Ok(()) };
        let snapshot = &self.node.snapshot();
        let mut found = Vec::new();
        let mut visit = |value| {
            found.push(value);
            found.len() < PAGE_ROWS
        };
        let now = wall_ms();
        match &self.prefix {
            None => read::scan(snapshot, "", after.as_ref(), now, &mut visit)?,
            Some(path) => {
                // The path itself, then what is below: in path order, others may lie between.
                if after.is_none()
                    && let Some(value) = snapshot.find(path, now)?
                {
                    visit(value);
                }
                let behind = after.as_ref().filter(|after| *after != path);
                read::scan(snapshot, &format!("{path}/"), behind, now, &mut visit)?;
            }
        }
        let more = found.len() >= PAGE_ROWS;
        *after = found.last().map(|last| last.path.clone());
        self.told.extend(found.into_iter().map(Told::Value));
        if !more {
            self.stage = Stage::Log(None);
        }
        Ok(())
    }

    /// Tells the next changes of the log. At its end the live changes go on.
    fn read_log(&mut self) -> Result<(), StoreError> {
        // Taken after the subscription was answered: no change lies between the two.
        let snapshot = self.node.snapshot();
        let mut newest: BTreeMap<Path, u64> = BTreeMap::new();
        let (mut last, mut count) = (self.number, 0);
        let read = read::changes_after(&snapshot, self.number, &mut |number, key| {
            (last, count) = (number, count + 1);
            if let Some(path) = key.to_path().filter(|path| self.covers(path)) {
                newest.insert(path, number);
            }
            count < PAGE_CHANGES
        })?;
        if read.is_none() {
            self.reset(snapshot.number()?);
            return Ok(());
        }
        let mut changes: Vec<_> = newest.into_iter().collect();
        changes.sort_by_key(|(_, number)| *number);
        for (path, number) in changes {
            let found = snapshot.find(&path, wall_ms())?;
            let token = Token { store: self.store, number };
            self.told.push_back(match found {
                _ if !self.opening => Told::Changed { path, found, token },
                Some(found) => Told::Value(found),
                None => Told::Gone(path),
            });
        }
        self.number = last;
        if count < PAGE_CHANGES {
            self.number = snapshot.number()?;
            if std::mem::take(&mut self.opening) {
                self.told.push_back(Told::Ready(self.token()));
            }
            if let Stage::Log(session) = &mut self.stage
                && let Some(session) = session.take()
            {
                self.stage = Stage::Live(session);
            }
        }
        Ok(())
    }

    /// Tells live changes, but those that the log or the snapshot told before.
    fn read_event(&mut self, changes: Vec<Changed>) -> Result<(), StoreError> {
        let snapshot = self.node.snapshot();
        let has_fields = snapshot.has_fields()?;
        for change in changes {
            if change.number <= self.number {
                continue;
            }
            self.number = change.number;
            let Some(path) = change.key.to_path() else { continue };
            let found = if has_fields {
                snapshot.find(&path, wall_ms())?
            } else {
                plain(path.clone(), change)
            };
            let token = self.token();
            self.told.push_back(Told::Changed { path, found, token });
        }
        Ok(())
    }

    fn covers(&self, path: &Path) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| prefix.covers(path))
    }
}

/// The value of an entry that is no part of a merged object.
fn plain(path: Path, change: Changed) -> Option<Found> {
    let entry = change.entry;
    if change.expired || !entry.is_live(wall_ms()) {
        return None;
    }
    let value = entry.value?;
    let (version, expires_ms) = (entry.version, entry.expires_ms);
    Some(Found { path, value: Value::Plain(value), version, expires_ms })
}
