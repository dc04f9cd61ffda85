//! Asks every node for its state and waits for the answers.

use crate::world::World;
use folkmoot_core::request::{MeshRequest, MeshStatus, Reply, Request};

/// A question to every node.
#[derive(Debug, Default)]
pub struct Survey {
    asked: Vec<u64>,
}

impl Survey {
    /// Asks every node.
    pub fn ask(&mut self, world: &mut World) {
        let nodes = 0..world.hosts.len();
        self.asked =
            nodes.map(|node| world.ask(node, Request::Mesh(MeshRequest::Status))).collect();
    }

    /// The answers, by node, once all are there; then the next survey may begin.
    pub fn take(&mut self, world: &mut World) -> Option<Vec<MeshStatus>> {
        let answers = &mut world.clients.answers;
        if self.asked.is_empty() || self.asked.iter().any(|id| !answers.contains_key(id)) {
            return None;
        }
        let ids = std::mem::take(&mut self.asked);
        let status = |id| match answers.remove(&id) {
            Some(Reply::Mesh(status)) => *status,
            other => panic!("a question for the state was answered with {other:?}"),
        };
        Some(ids.into_iter().map(status).collect())
    }

    /// The answers if they are there, and asks anew.
    pub fn poll(&mut self, world: &mut World) -> Option<Vec<MeshStatus>> {
        let answers = self.take(world);
        if self.asked.is_empty() {
            self.ask(world);
        }
        answers
    }
}
