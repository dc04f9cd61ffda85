//! The messages of one read, gathered for the engine.
//!
//! Promise: the order is kept; a small body shares an allocation with its neighbours, of a size
//! that nothing larger is held in memory for long by one that waits.
//! Limits: `SHARED_BYTES`, `SHARED_BODY_BYTES_MAX`.

use super::said::{Send, To};
use bytes::{Bytes, BytesMut};
use folkmoot_core::chat::words::{Kind, Post, Target};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Name;
use folkmoot_core::limits::MESSAGE_COST_BYTES;

/// Bytes of an allocation that bodies share.
const SHARED_BYTES: usize = 2 * 1024;
/// Bytes of a body that shares one.
const SHARED_BODY_BYTES_MAX: usize = SHARED_BYTES / 4;

/// Messages that have been read and not handed in.
#[derive(Default)]
pub(super) struct Posts {
    posts: Vec<Post>,
    bodies: BytesMut,
    /// What they count while they are not settled.
    bytes: usize,
}

/// Messages to hand in.
pub(super) struct Gathered {
    pub(super) posts: Vec<Post>,
    /// Those of them that will be settled.
    pub(super) count: usize,
    /// What these count.
    pub(super) bytes: usize,
    /// The largest number among them.
    pub(super) last: u64,
}

impl Posts {
    /// Adds a message.
    pub(super) fn push(&mut self, send: &Send<'_>) -> Result<(), ErrorCode> {
        let to = self.target(&send.to)?;
        let kind = if send.signal { Kind::Signal } else { Kind::Message };
        if kind == Kind::Message {
            self.bytes += MESSAGE_COST_BYTES + send.body.len();
        }
        let body = self.body(send.body);
        self.posts.push(Post { number: send.n, to, kind, local: false, body });
        Ok(())
    }

    /// All that were added; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<Gathered> {
        if self.posts.is_empty() {
            return None;
        }
        let posts = std::mem::take(&mut self.posts);
        let settled = || posts.iter().filter(|post| post.kind == Kind::Message);
        let count = settled().count();
        let last = settled().map(|post| post.number).max().unwrap_or(0);
        Some(Gathered { count, last, bytes: std::mem::take(&mut self.bytes), posts })
    }

    /// The one before, if it is the same: a name is checked and copied once for a run of messages.
    fn target(&self, to: &To<'_>) -> Result<Target, ErrorCode> {
        let before = self.posts.last().map(|post| &post.to);
        Ok(match (to, before) {
            (To::All, _) => Target::Everyone,
            (To::User(name), Some(Target::User(same))) if same.as_str() == name => {
                Target::User(same.clone())
            }
            (To::Room(name), Some(Target::Room(same))) if same.as_str() == name => {
                Target::Room(same.clone())
            }
            (To::User(name), _) => Target::User(name_of(name)?),
            (To::Room(name), _) => Target::Room(name_of(name)?),
        })
    }

    fn body(&mut self, body: &str) -> Bytes {
        if body.len() > SHARED_BODY_BYTES_MAX {
            return Bytes::copy_from_slice(body.as_bytes());
        }
        if self.bodies.capacity() < body.len() {
            self.bodies = BytesMut::with_capacity(SHARED_BYTES);
        }
        self.bodies.extend_from_slice(body.as_bytes());
        self.bodies.split().freeze()
    }
}

fn name_of(text: &str) -> Result<Name, ErrorCode> {
    Name::new(Bytes::copy_from_slice(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(n: u64, to: To<'static>, body: &'static str) -> Send<'static> {
        Send { n, to, signal: n == 0, body }
    }

    #[test]
    fn messages_are_gathered_in_order_and_counted() {
        let mut posts = Posts::default();
        let user = |name: &'static str| To::User(name.into());
        posts.push(&send(3, user("b"), "\"x\"")).unwrap();
        posts.push(&send(4, user("b"), "1")).unwrap();
        posts.push(&send(0, To::Room("b".into()), "2")).unwrap();
        posts.push(&send(5, To::All, "3")).unwrap();
        assert_eq!(posts.push(&send(6, user(" "), "4")), Err(ErrorCode::Name));
        let large: &'static str = Box::leak("7".repeat(3_000).into_boxed_str());
        posts.push(&send(7, user("c"), large)).unwrap();
        let all = posts.take().unwrap();
        let said: Vec<_> = all.posts.iter().map(|post| (post.number, post.body.clone())).collect();
        assert_eq!(said[..2], [(3, "\"x\"".into()), (4, "1".into())]);
        assert_eq!((said[3].0, said[4].0, said[4].1.len()), (5, 7, 3_000));
        assert_eq!(all.posts[2].kind, Kind::Signal);
        assert_eq!((all.count, all.last), (4, 7));
        assert_eq!(all.bytes, 4 * MESSAGE_COST_BYTES + 3 + 1 + 1 + 3_000);
        assert!(posts.take().is_none());
    }

    #[test]
    fn a_small_body_holds_little_in_memory() {
        let mut posts = Posts::default();
        let bodies: Vec<Bytes> = (0..100).map(|_| posts.body(&"x".repeat(100))).collect();
        let together =
            |pair: &[Bytes]| pair[0].as_ptr() as usize + 100 == pair[1].as_ptr() as usize;
        let runs = bodies.windows(2).filter(|pair| !together(pair)).count();
        assert!((3..=6).contains(&runs), "{runs}");
    }
}
