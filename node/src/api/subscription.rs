//! Changes from now on, as they happen.
//!
//! Promise: whoever applies every [`Change`] to what was there holds what the node holds.

use super::data::Item;
use super::watch::{Told, Watch};

/// The changes at a path and below it. Dropping it ends it.
pub struct Subscription {
    watch: Watch,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This is there now.
    Put(Item),
    /// At this path there is nothing any more: it was deleted, or its time to live is over.
    Gone(String),
    /// Forget everything: the node's log no longer reaches back to what was told last, after a
    /// long time without a call. What is there now follows, each as [`Change::Put`].
    Reset,
}

impl Change {
    /// Where; `None` for everywhere.
    pub fn path(&self) -> Option<&str> {
        match self {
            Change::Put(item) => Some(&item.path),
            Change::Gone(path) => Some(path),
            Change::Reset => None,
        }
    }
}

impl Subscription {
    pub(crate) fn new(watch: Watch) -> Subscription {
        Subscription { watch }
    }

    /// The next change; `None` once the node is closed. Several changes of one path may be told
    /// as one, with the newest value; none is left out. May be cancelled without loss.
    ///
    /// ```
    /// # use folkmoot::{Error, Node, api::Change};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// let node = Node::builder().listen("127.0.0.1:0").start().await?;
    /// let mut changes = node.subscribe("users").await?;
    /// node.put("users/1", "Anna").await?;
    /// let change = changes.next().await.expect("the node is open");
    /// assert!(matches!(change, Change::Put(item) if item.value.to_string() == "\"Anna\""));
    /// # node.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.watch.next().await {
                Ok(Told::Changed { path, found, .. }) => {
                    let put = found.as_ref().map(|found| Change::Put(Item::from_found(found)));
                    return Some(put.unwrap_or_else(|| Change::Gone(path.to_string())));
                }
                Ok(Told::Value(found)) => return Some(Change::Put(Item::from_found(&found))),
                Ok(Told::Gone(path)) => return Some(Change::Gone(path.to_string())),
                Ok(Told::Reset) => return Some(Change::Reset),
                Ok(Told::Ready(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
