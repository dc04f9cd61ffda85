//! Who locally wants which path or prefix; shared by all services.
//!
//! A prefix covers itself and everything below it, by segments: `users` covers `users/1`, not
//! `users2`. Finding the watches of a path costs its number of segments, not the number of watches.

use crate::error::ErrorCode;
use crate::id::{Path, SessionId, WatchId};
use crate::limits::WATCHES_MAX;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The watches of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    by_prefix: BTreeMap<Bytes, BTreeSet<(SessionId, WatchId)>>,
    by_session: BTreeMap<SessionId, BTreeMap<WatchId, Bytes>>,
}

impl Interest {
    /// Adds a watch, or moves the one of the same name.
    pub(crate) fn add(
        &mut self,
        session: SessionId,
        watch: WatchId,
        prefix: Option<&Path>,
    ) -> Result<(), ErrorCode> {
        self.remove(session, watch);
        let watches = self.by_session.entry(session).or_default();
        if watches.len() >= WATCHES_MAX {
            return Err(ErrorCode::WatchesMax);
        }
        let prefix = prefix.map_or_else(Bytes::new, |path| path.as_bytes().clone());
        watches.insert(watch, prefix.clone());
        self.by_prefix.entry(prefix).or_default().insert((session, watch));
        Ok(())
    }

    /// Removes a watch, if it is there.
    pub(crate) fn remove(&mut self, session: SessionId, watch: WatchId) {
        let Some(watches) = self.by_session.get_mut(&session) else { return };
        if let Some(prefix) = watches.remove(&watch) {
            if watches.is_empty() {
                self.by_session.remove(&session);
            }
            if let Some(watchers) = self.by_prefix.get_mut(&prefix) {
                watchers.remove(&(session, watch));
                if watchers.is_empty() {
                    self.by_prefix.remove(&prefix);
                }
            }
        }
    }

    /// Removes all watches of a session.
    pub(crate) fn remove_session(&mut self, session: SessionId) {
        let watches: Vec<WatchId> =
            self.by_session.get(&session).into_iter().flat_map(BTreeMap::keys).copied().collect();
        for watch in watches {
            self.remove(session, watch);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// The watches that cover `path`.
    pub(crate) fn covering(&self, path: &[u8]) -> impl Iterator<Item = (SessionId, WatchId)> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let prefixes = ends.chain([0, path.len()]).map(|end| &path[..end]);
        prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_prefix_covers_itself_and_what_is_below_by_segments() {
        let mut interest = Interest::default();
        let session = SessionId(1);
        interest.add(session, WatchId(1), Some(&path("users"))).unwrap();
        interest.add(session, WatchId(2), Some(&path("users/1"))).unwrap();
        interest.add(session, WatchId(3), None).unwrap();
        let covering = |text: &str| {
            let mut found: Vec<u64> =
                interest.covering(text.as_bytes()).map(|(_, watch)| watch.0).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(covering("users"), [1, 3]);
        assert_eq!(covering("users/1"), [1, 2, 3]);
        assert_eq!(covering("users/1/a"), [1, 2, 3]);
        assert_eq!(covering("users2/1"), [3]);
    }

    #[test]
    fn watches_are_bounded_and_go_with_their_session() {
        let mut interest = Interest::default();
        let session = SessionId(1);
        for watch in 0..WATCHES_MAX as u64 {
            interest.add(session, WatchId(watch), None).unwrap();
        }
        let one_more = interest.add(session, WatchId(999), None);
        assert_eq!(one_more, Err(ErrorCode::WatchesMax));
        assert_eq!(interest.add(session, WatchId(0), Some(&path("a"))), Ok(()), "replaced");
        interest.remove_session(session);
        assert!(interest.is_empty() && interest.by_session.is_empty());
    }
}
