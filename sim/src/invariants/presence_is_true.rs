//! Every node shows exactly those users online who have a client that is connected somewhere: no
//! ghost of a node that died or of a client that went, and nobody missing.

use super::{Invariant, Verdict};
use crate::world::World;
use bytes::Bytes;
use folkmoot_core::chat::words::ChatRequest;
use folkmoot_core::id::Name;
use folkmoot_core::request::{Reply, Request};
use std::collections::BTreeSet;

/// All see who is there.
#[derive(Default)]
pub struct PresenceIsTrue {
    asked: Vec<u64>,
}

impl Invariant for PresenceIsTrue {
    fn name(&self) -> &'static str {
        "presence_is_true"
    }

    fn patience_ms(&self, world: &World) -> u64 {
        world.options.patience_ms
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        if !world.people.all_settled() {
            return Verdict::NotYet("not everybody has come back, or gone".to_owned());
        }
        let online = world.people.online();
        let answers = std::mem::take(&mut self.asked);
        let seen: Vec<_> = answers.iter().map(|id| world.clients.answers.get(id)).collect();
        let verdict = judge(&online, &seen);
        let everybody =
            |limit| ChatRequest::Users { prefix: Bytes::new(), after: Bytes::new(), limit };
        for node in 0..world.hosts.len() {
            self.asked.push(world.ask(node, Request::Chat(everybody(1_000))));
        }
        verdict
    }
}

fn judge(online: &BTreeSet<Name>, seen: &[Option<&Reply>]) -> Verdict {
    if seen.is_empty() {
        return Verdict::NotYet("nobody has been asked".to_owned());
    }
    for (node, answer) in seen.iter().enumerate() {
        let Some(Reply::Users(users, _)) = answer else {
            return Verdict::NotYet(format!("node-{node} does not say who is online"));
        };
        let shown: BTreeSet<Name> = users.iter().map(|one| one.user.clone()).collect();
        if shown != *online {
            let ghosts: Vec<_> = shown.difference(online).collect();
            let missing: Vec<_> = online.difference(&shown).collect();
            return Verdict::NotYet(format!("node-{node} shows {ghosts:?} and not {missing:?}"));
        }
    }
    Verdict::Holds
}
