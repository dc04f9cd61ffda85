//! Shared data from Rust: values at paths, on every node.
//!
//! Reads show what is on this node's disk and do not pass the engine. A write is done when it is
//! on this node's disk; the other nodes follow.

use super::batch::Batch;
use super::strategy::{Strategies, Strategy};
use super::subscription::Subscription;
use super::value::Value;
use super::watch::{Since, Watch};
use crate::error::Error;
use crate::node::Node;
use crate::runtime::wall_ms;
use folkmoot_core::access::{Action, Principal, check};
use folkmoot_core::data::read::{self, Found};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{NodeId, Path};
use folkmoot_core::replica::Version;
use folkmoot_core::request::{self, Condition};
use folkmoot_core::store::StoreError;
use serde::Serialize;
use std::time::Duration;

/// Rows of a scan that are read at once, before others get their turn.
const SCAN_ROWS: usize = 256;

/// Shared data as the owner of the node sees it; cheap to clone.
#[derive(Clone)]
pub struct Data {
    node: Node,
}

/// A value with its place and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it is.
    pub path: String,
    /// What is there.
    pub value: Value,
    /// When and on which node it was written.
    pub version: Version,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

impl Item {
    /// When it was written, in Unix milliseconds.
    pub fn timestamp(&self) -> u64 {
        self.version.stamp.ms()
    }

    /// The node on which it was written.
    pub fn origin(&self) -> NodeId {
        self.version.node
    }

    pub(crate) fn from_found(found: &Found) -> Item {
        Item {
            path: found.path.to_string(),
            value: Value::from_found(&found.value),
            version: found.version,
            expires_ms: found.expires_ms,
        }
    }
}

/// A value that a path had before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Older {
    /// Whose it was: a field of the merged object; `None` for what was put as a whole.
    pub field: Option<String>,
    /// What was there.
    pub value: Value,
    /// When and on which node it was written.
    pub version: Version,
    /// When it was to end, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it was written.
    pub path: String,
    /// What was written; `None` for a delete.
    pub value: Option<Value>,
    /// The version that stands now.
    pub version: Version,
    /// Whether a value was there before.
    pub existed: bool,
    /// Whether the write changed anything.
    pub changed: bool,
}

impl Written {
    /// When it was written, in Unix milliseconds.
    pub fn timestamp(&self) -> u64 {
        self.version.stamp.ms()
    }
}

/// How a value is put.
#[derive(Clone, Copy, Debug)]
pub struct PutOptions {
    /// Only if this holds on this node.
    pub condition: Condition,
    /// How long the value lasts.
    pub ttl: Option<Duration>,
    /// What happens to it where others write too; `None`: what the node's settings say of the
    /// path.
    pub strategy: Option<Strategy>,
}

impl Default for PutOptions {
    fn default() -> PutOptions {
        let condition = Condition::Always;
        PutOptions { condition, ttl: None, strategy: None }
    }
}

impl PutOptions {
    /// The write that they make of a value.
    pub(crate) fn write(
        &self,
        strategies: &Strategies,
        path: Path,
        value: &Value,
    ) -> Result<request::Write, Error> {
        let change = strategies.change(&path, value, self.strategy)?;
        let end = |ttl: Duration| {
            let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            wall_ms().saturating_add(ms)
        };
        let (expires_ms, condition) = (self.ttl.map(end), self.condition);
        Ok(request::Write { path, change, condition, expires_ms })
    }
}

impl Data {
    pub(crate) fn new(node: Node) -> Data {
        Data { node }
    }

    /// Puts a value.
    pub async fn put(
        &self,
        path: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Written, Error> {
        self.put_with(path, value, PutOptions::default()).await
    }

    /// Puts a value with options: conditions, an end, another strategy.
    pub async fn put_with(
        &self,
        path: &str,
        value: &(impl Serialize + ?Sized),
        options: PutOptions,
    ) -> Result<Written, Error> {
        let mut batch = self.batch();
        batch.put_with(path, value, options)?;
        Ok(batch.commit().await?.remove(0))
    }

    /// Deletes the value at a path; answers whether there was one.
    pub async fn del(&self, path: &str) -> Result<bool, Error> {
        let mut batch = self.batch();
        batch.del(path)?;
        Ok(batch.commit().await?.remove(0).existed)
    }

    /// Writes that are done together or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(self.node.clone())
    }

    /// The value at a path.
    pub async fn get(&self, path: &str) -> Result<Option<Item>, Error> {
        check(Principal::Owner, Action::Read)?;
        let path = to_path(path)?;
        let found = self.node.snapshot().find(&path, wall_ms()).map_err(damaged)?;
        Ok(found.as_ref().map(Item::from_found))
    }

    /// The values whose path begins with `prefix`, in path order: at most `limit` of them, behind
    /// the path `after` if one is given. `users` is the beginning of `users2` too; end the prefix
    /// with `/` to mean what is below `users`.
    pub async fn scan(
        &self,
        prefix: &str,
        limit: Option<usize>,
        after: Option<&str>,
    ) -> Result<Vec<Item>, Error> {
        check(Principal::Owner, Action::Read)?;
        let mut after = after.map(to_path).transpose()?;
        let limit = limit.unwrap_or(usize::MAX);
        let snapshot = self.node.snapshot();
        let (mut items, now) = (Vec::new(), wall_ms());
        loop {
            let wanted = SCAN_ROWS.min(limit - items.len());
            let mut page = Vec::new();
            if wanted > 0 {
                read::scan(&snapshot, prefix, after.as_ref(), now, &mut |found| {
                    page.push(found);
                    page.len() < wanted
                })
                .map_err(damaged)?;
            }
            items.extend(page.iter().map(Item::from_found));
            if page.len() < SCAN_ROWS {
                return Ok(items);
            }
            after = page.pop().map(|last| last.path);
            tokio::task::yield_now().await;
        }
    }

    /// Older values of a path and of its fields that this node has kept, newest first: none,
    /// unless it was told to with [`Builder::history`](crate::node::Builder::history).
    pub async fn history(&self, path: &str) -> Result<Vec<Older>, Error> {
        check(Principal::Owner, Action::Read)?;
        let older = read::history(&self.node.snapshot(), &to_path(path)?).map_err(damaged)?;
        let value = |read::Older { field, entry }| {
            let value = Value::from_found(&read::Value::Plain(entry.value?));
            let (version, expires_ms) = (entry.version, entry.expires_ms);
            Some(Older { field, value, version, expires_ms })
        };
        Ok(older.into_iter().filter_map(value).collect())
    }

    /// Changes at a path and below it from now on; an empty path means all.
    pub async fn subscribe(&self, path: &str) -> Result<Subscription, Error> {
        Ok(Subscription::new(self.watch(path, Since::Now).await?))
    }

    /// Changes at a path and below it, from a given state on; an empty path means all.
    pub async fn watch(&self, path: &str, from: Since) -> Result<Watch, Error> {
        let prefix = if path.is_empty() { None } else { Some(to_path(path)?) };
        Ok(Watch::start(self.node.clone(), Principal::Owner, prefix, from).await?)
    }
}

pub(crate) fn to_path(text: &str) -> Result<Path, Error> {
    Ok(Path::new(text.to_owned())?)
}

/// A read that failed.
pub(crate) fn damaged(error: StoreError) -> ErrorCode {
    tracing::error!("{error}");
    ErrorCode::Store
}
