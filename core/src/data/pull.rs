//! Pulls: what a neighbor has that is missing here, page by page.
//!
//! Promise: one neighbor is pulled from at a time; what it said it had when the last page left is
//! here after that, or its answer was waited for for too long, and the next one has its turn.
//! A page that comes after that is merged all the same. Limits: `ANSWER_MS_MAX`.

use super::Data;
use super::apply::Source;
use super::message::{Entries, From, Message, Page};
use super::sync::{REFUSED_MS, Reached};
use crate::ctx::{Ctx, Dest, Fact, Marks};
use crate::id::{NodeId, StoreId};
use crate::time::Time;

/// How long an answer is waited for before a pull is given up, in milliseconds.
pub(super) const ANSWER_MS_MAX: u64 = 10_000;

/// A pull that waits for a page.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) node: NodeId,
    /// What was asked for last.
    at: From,
    heard: Time,
    /// The number and marks that are reached when everything is pulled.
    target: Option<(u64, Marks)>,
}

impl Pull {
    /// Until when its answer is waited for.
    pub(super) fn given_up_at(&self) -> Time {
        self.heard + ANSWER_MS_MAX
    }
}

impl Data {
    pub(super) fn tick_pull(&mut self, ctx: &mut Ctx) {
        let given_up = self.sync.pull.take_if(|pull| pull.given_up_at() <= ctx.now.time);
        if given_up.is_some() {
            self.sync.given_up = given_up;
            self.end_pull(ctx);
        }
    }

    pub(super) fn start_pull(&mut self, ctx: &mut Ctx, node: NodeId, from: From, store: StoreId) {
        let number = if let From::Number(number) = from { Some(number) } else { None };
        self.reach(node, number.map(|number| Reached { store, number }));
        let at = from.clone();
        self.sync.pull = Some(Pull { node, at, heard: ctx.now.time, target: None });
        self.tell(ctx, Dest::Neighbor(node), &Message::Pull(from));
    }

    fn reach(&mut self, node: NodeId, reached: Option<Reached>) {
        if let Some(neighbor) = self.sync.neighbors.get_mut(&node) {
            neighbor.reached = reached;
        }
    }

    /// All changes of `node` up to `number` are here.
    pub(super) fn reach_number(&mut self, node: NodeId, store: StoreId, number: u64) {
        self.reach(node, Some(Reached { store, number }));
    }

    pub(super) fn on_pruned(&mut self, ctx: &mut Ctx, from: NodeId) {
        let is_answered = |pull: &Pull| pull.node == from && matches!(pull.at, From::Number(_));
        if self.sync.pull.as_ref().is_some_and(is_answered) {
            self.reach(from, None);
            self.end_pull(ctx);
        }
    }

    pub(super) fn on_page(&mut self, ctx: &mut Ctx, from: NodeId, page: Page) {
        let marked = ctx.marked.take();
        let Page { of, number, next, done, entries } = page;
        let is_answered = |pull: &Pull| pull.node == from && pull.at == of;
        let late = self.sync.given_up.take_if(|pull| is_answered(pull));
        if late.is_some() && self.sync.pull.is_none() {
            self.sync.pull = late; // it goes on
        } else if late.is_some() && !self.sync.pull.as_ref().is_some_and(is_answered) {
            self.apply_pulled(ctx, from, entries);
            return; // another neighbor's turn has begun
        }
        let Some(pull) = self.sync.pull.as_mut().filter(|pull| is_answered(pull)) else { return };
        (pull.heard, pull.at) = (ctx.now.time, next.clone());
        let whole = matches!(next, From::Key(_));
        if let Some(marked) = marked
            && (!whole || pull.target.is_none())
        {
            pull.target = Some((number, marked.marks));
        }
        self.apply_pulled(ctx, from, entries);
        let store = self.sync.known_store(from);
        if !whole {
            self.reach(from, Some(Reached { store, number }));
        }
        if !done {
            return self.tell(ctx, Dest::Neighbor(from), &Message::Pull(next));
        }
        let target = self.sync.pull.as_mut().and_then(|pull| pull.target.take());
        if let Some((number, marks)) = target {
            self.reach(from, Some(Reached { store, number }));
            ctx.facts.push(Fact::CaughtUp(marks));
        }
        self.save_reached(ctx, from);
        self.end_pull(ctx);
    }

    /// Merges what a neighbor sent when it was asked.
    pub(super) fn apply_pulled(&mut self, ctx: &mut Ctx, from: NodeId, entries: Entries) {
        let refused = self.apply_all(ctx, entries, Source::Pulled);
        if let Some((stamp, neighbor)) = refused.zip(self.sync.neighbors.get_mut(&from)) {
            let (latest, _) = neighbor.refused.get_or_insert((stamp, ctx.now.time + REFUSED_MS));
            *latest = stamp.max(*latest);
        }
    }

    /// The next neighbor may be pulled from; all learn what is here now.
    pub(super) fn end_pull(&mut self, ctx: &mut Ctx) {
        self.sync.pull = None;
        let nodes: Vec<NodeId> = self.sync.neighbors.keys().copied().collect();
        for node in nodes {
            self.send_summary(ctx, node, true);
        }
    }
}
