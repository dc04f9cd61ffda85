//! Changes from now on, as they happen.

use super::data::Item;
use super::watch::{Told, Watch};

/// The changes at a path and below it. Dropping it ends it.
pub struct Subscription {
    watch: Watch,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: String,
    /// What is there now; `None` after a delete or the end of a time to live.
    pub item: Option<Item>,
}

impl Subscription {
    pub(crate) fn new(watch: Watch) -> Subscription {
        Subscription { watch }
    }

    /// The next change; `None` once the node is closed. Several changes of one path may be told
    /// as one, with the newest value; none is left out. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.watch.next().await {
                Ok(Told::Changed { path, found, .. }) => {
                    let item = found.as_ref().map(Item::from_found);
                    return Some(Change { path: path.to_string(), item });
                }
                // After a long absence the log may not reach back: the snapshot tells it all.
                Ok(Told::Value(found)) => {
                    let item = Item::from_found(&found);
                    return Some(Change { path: item.path.clone(), item: Some(item) });
                }
                Ok(Told::Reset | Told::Ready(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
