//! Room on the disk: looked at now and then, and what follows from it.
//!
//! Promise: local writes are refused first, while there is room for what other nodes wrote. Before
//! a commit could fail for want of room, the node leaves the mesh: reads go on, and when there is
//! room again it links and catches up as after any absence.
//! Limits: `ROOM_PAUSE`, and those of `store/directory.rs`.

use crate::link::Links;
use crate::session::Sessions;
use crate::store::directory::{Room, room};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether the disk has room.
const ROOM_PAUSE: Duration = Duration::from_secs(2);

/// Sees to what the room on the disk allows.
pub(super) struct RoomWatch {
    path: PathBuf,
    sessions: Arc<Sessions>,
    links: Links,
    had: Room,
}

impl RoomWatch {
    /// Looks for the first time.
    pub(super) fn new(path: &Path, sessions: Arc<Sessions>, links: Links) -> RoomWatch {
        let path = path.to_owned();
        let mut watch = RoomWatch { path, sessions, links, had: Room::Enough };
        watch.look();
        watch
    }

    /// Looks for ever.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(ROOM_PAUSE).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let room = room(&self.path);
        if room == self.had {
            return;
        }
        self.sessions.set_room(room == Room::Enough);
        self.links.pause(room == Room::None);
        match room {
            Room::Enough => tracing::info!("the disk has room again: writes are taken"),
            Room::Little => tracing::error!(
                "the disk is nearly full: local writes are refused, what other nodes wrote is taken"
            ),
            Room::None => tracing::error!(
                "the disk is full but for a reserve: this node has left the mesh, reads go on"
            ),
        }
        self.had = room;
    }
}
