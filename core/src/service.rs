//! The shape that all services have.

use crate::ctx::Ctx;
use crate::id::{NodeId, SessionId};
use crate::request::Caller;
use crate::time::Time;
use bytes::Bytes;

/// What happened to a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeighborChange {
    /// There is a link now.
    Up,
    /// There is no link any more.
    Down,
    /// Its link is full: it is sent no live messages, and should be sent nothing large.
    Full,
    /// It got no live messages for a while and can take them again.
    Drained,
    /// It has something that cannot be had envelope by envelope any more.
    Gap,
}

/// One way for data to live in the mesh. Requests and messages are checked for form before they
/// come here; peers are not believed.
pub(crate) trait Service {
    /// What local clients may ask.
    type Request;

    /// A local client asks.
    fn on_request(&mut self, ctx: &mut Ctx, caller: Caller, request: Self::Request);
    /// A local client is gone.
    fn on_session_closed(&mut self, ctx: &mut Ctx, session: SessionId);
    /// A message that was spread to all, first sent by `origin`. Not to accept it
    /// (`ctx.refused`) keeps it from being passed on. An error closes the link.
    fn on_spread(&mut self, ctx: &mut Ctx, origin: NodeId, body: Bytes) -> Handled;
    /// A message from the neighbor `from`. An error closes the link.
    fn on_message(&mut self, ctx: &mut Ctx, from: NodeId, body: Bytes) -> Handled;
    /// A neighbor came, went, or fell behind.
    fn on_neighbor(&mut self, ctx: &mut Ctx, node: NodeId, change: NeighborChange);
    /// A node can be reached now, in this run; or, without one, cannot be reached any more.
    fn on_reach(&mut self, _ctx: &mut Ctx, _node: NodeId, _boot: Option<u64>) {}
    /// The deadline of `next_tick` has come.
    fn on_tick(&mut self, ctx: &mut Ctx);
    /// The step ends: what was gathered over its inputs is written and sent.
    fn on_step_end(&mut self, ctx: &mut Ctx);
    /// When `on_tick` is due.
    fn next_tick(&self) -> Option<Time>;
}

/// Whether a message could be decoded.
pub(crate) type Handled = Result<(), crate::wire::codec::Malformed>;
