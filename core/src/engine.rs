//! Dispatch, and no rule of any service.
//!
//! Every input goes to one handler; what the handlers want is gathered in a [`Step`]. Handing
//! over many inputs before [`Engine::finish`] is the group commit: one batch, one sync.

use crate::id::{LinkId, NodeId, RequestId, SessionId};
use crate::request::{Caller, Event, Reply, Request};
use crate::store::{Batch, StoreError};
use bytes::Bytes;

/// All that can happen to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link was made: both keys are proven, frames may follow.
    LinkUp {
        /// Its name from now on.
        link: LinkId,
        /// The proven key at its other end.
        node: NodeId,
        /// That node's boot counter.
        boot: u64,
        /// That node's wall clock at the handshake, in Unix milliseconds.
        wall_ms: u64,
        /// The address that was dialled; `None` if the other side dialled.
        dialled: Option<String>,
    },
    /// A link is gone, for whatever reason.
    LinkDown(LinkId),
    /// A link's send queue is full: nothing that can be made up for later is to be sent.
    LinkFull(LinkId),
    /// A link's send queue is empty again.
    LinkDrained(LinkId),
    /// One whole frame, decrypted.
    Frame(LinkId, Bytes),
    /// An address could not be dialled, and why.
    DialFailed(String, String),
    /// A local client asks.
    Request(Caller, Request),
    /// A local client is gone; its watches go with it.
    SessionClosed(SessionId),
    /// The deadline of [`Engine::next_tick`] has come.
    Tick,
}

/// All that a node can want done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send one frame, at most `FRAME_BYTES_MAX` bytes.
    Send(LinkId, Bytes),
    /// Close a link and say why to the other side. [`Input::LinkDown`] need not follow.
    Close(LinkId, &'static str),
    /// Dial an address; answered by [`Input::LinkUp`] or [`Input::DialFailed`].
    Dial(String),
    /// Answer a request.
    Reply(SessionId, RequestId, Reply),
    /// Tell a session something.
    Event(SessionId, Event),
    /// Something an operator should read in the log.
    Notice(Notice),
    /// The store cannot be read: stop the node.
    Halt(StoreError),
}

/// What an operator should read in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Notice {
    /// A neighbor was won.
    #[error("linked to {0}")]
    Linked(NodeId),
    /// A neighbor was lost.
    #[error("link to {0} lost")]
    Unlinked(NodeId),
    /// An address cannot be reached; it is tried again.
    #[error("cannot reach {address}: {why}; trying again in {pause_ms} ms")]
    DialFailed {
        /// The address as given.
        address: String,
        /// What went wrong.
        why: String,
        /// The pause before the next attempt.
        pause_ms: u64,
    },
    /// A node was turned away.
    #[error("refused {node}: {why}")]
    Refused {
        /// Who.
        node: NodeId,
        /// Why.
        why: &'static str,
    },
    /// Entries with stamps in the future were refused.
    #[error(
        "refused a change from {0}: its stamp lies in the future; a clock is wrong, see status"
    )]
    Future(NodeId),
    /// This node's clock is off.
    #[error("this node's clock is {0} ms off from its neighbors: set it right")]
    ClockOff(i64),
    /// Entries made while the clock ran ahead were stamped anew.
    #[error("the clock had run ahead: {0} entries were stamped anew")]
    Restamped(u64),
    /// Another node runs with this node's key.
    #[error("another node runs with this node's key: was its data directory copied?")]
    Twin,
}

/// What came of handling inputs.
#[derive(Debug, Default)]
pub struct Step {
    /// Make this durable first,
    pub batch: Batch,
    /// then act on these, in order, after all of earlier steps.
    pub outputs: Vec<Output>,
    /// Act on these at once: they tell nothing that is not durable already.
    pub at_once: Vec<Output>,
}

/// What an engine is started with.
pub struct EngineConfig {
    /// The node's key.
    pub identity: Box<dyn crate::identity::Identity>,
    /// The network it belongs to.
    pub network: crate::id::NetworkId,
    /// Larger than every boot counter of this node before: see [`boot_counter`].
    pub boot: u64,
    /// Seed for jitter, and for the store's id where the store is new.
    pub seed: u64,
    /// Addresses to dial, for ever.
    pub peers: Vec<String>,
    /// Addresses at which this node can be dialled, for its record.
    pub addresses: Vec<String>,
    /// What may be set.
    pub limits: crate::limits::Limits,
}

/// The state of a node.
pub struct Engine {}

impl Engine {
    /// Opens the state that `store` holds. What must be written before anything else is put in
    /// `step`.
    pub fn open(
        config: EngineConfig,
        now: crate::time::Now,
        store: &dyn crate::store::Store,
        step: &mut Step,
    ) -> Result<Engine, StoreError> {
        let _ = (config, now, store, step);
        unimplemented!()
    }

    /// Handles one input. What it makes is complete only after [`Engine::finish`].
    pub fn handle(
        &mut self,
        now: crate::time::Now,
        input: Input,
        store: &dyn crate::store::Store,
        step: &mut Step,
    ) {
        let _ = (now, input, store, step);
        unimplemented!()
    }

    /// Ends a step of one or more inputs: packs what they made into batch and frames.
    pub fn finish(
        &mut self,
        now: crate::time::Now,
        store: &dyn crate::store::Store,
        step: &mut Step,
    ) {
        let _ = (now, store, step);
        unimplemented!()
    }

    /// When [`Input::Tick`] is due.
    pub fn next_tick(&self) -> Option<crate::time::Time> {
        unimplemented!()
    }
}

/// The boot counter of a start at `wall_ms` of a node whose store is `store`: larger than the
/// last one and, clocks permitting, than one that a lost store had. [`Engine::open`] stores it.
pub fn boot_counter(store: &dyn crate::store::Store, wall_ms: u64) -> Result<u64, StoreError> {
    let _ = (store, wall_ms);
    unimplemented!()
}
