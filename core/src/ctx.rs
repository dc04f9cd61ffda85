//! All that a handler may touch.

use crate::engine::{Notice, Output};
use crate::id::{NodeId, RequestId, SessionId};
use crate::limits::Limits;
use crate::request::{Event, Reply};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::store::space::Space;
use crate::store::{Batch, Overlay, Store, StoreError};
use crate::time::{Clock, Now};
use crate::wire::envelope::Tag;
use bytes::Bytes;

/// Where a message of a service goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dest {
    /// To a neighbor: in order while the link lasts.
    Neighbor(NodeId),
    /// The same, with the marks of this moment: up to where everything spread is here.
    NeighborMarked(NodeId),
    /// To a node, over the reliable channel; nowhere if it cannot be reached now.
    Node(NodeId),
    /// To every node that can be reached, once.
    All,
}

/// When the outputs of a service may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// They tell nothing that is written: at once.
    AtOnce,
    /// After this step and all before it are durable.
    AfterWrite,
}

/// A message that a service wants sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) tag: Tag,
    pub(crate) dest: Dest,
    pub(crate) speaks: Speaks,
    /// How many things it holds, for the statistics.
    pub(crate) weight: u64,
    pub(crate) body: Bytes,
}

/// What a service learned that concerns the mesh.
#[derive(Debug)]
pub(crate) enum Fact {
    /// A node was removed from the network.
    Removed(NodeId),
    /// All that was spread up to these marks is here, however it came.
    CaughtUp(Marks),
    /// It is, as the sums are those of this neighbor.
    Agreed(NodeId, Marks),
}

/// Up to which sequence the envelopes of each origin, by node and boot, are here without a gap.
pub(crate) type Marks = Vec<(NodeId, u64, u64)>;

/// What has become of all that was spread and came ahead of something missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Marks cover all of it now.
    Covered,
    /// Its run was forgotten before that: marks will never cover it.
    Lost,
}

/// The marks that came with a message.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) marks: Marks,
    /// Whether everything that they cover is here too.
    pub(crate) covered: bool,
    /// For how long something has been missing that the neighbor's marks covered, in
    /// milliseconds.
    pub(crate) lacking_ms: u64,
}

/// What the mesh knows of this node's surroundings, for services to judge by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    /// Enough neighbors agree that this node's clock is off.
    pub(crate) clock_off: bool,
    /// The neighbors' clocks, by their median, agree with this node's.
    pub(crate) clocks_agree: bool,
    /// This node is to link to others, also if it has met none yet.
    pub(crate) others_expected: bool,
}

/// One handler's view of the node. It lives for one input.
pub(crate) struct Ctx<'a> {
    pub(crate) now: Now,
    pub(crate) limits: &'a Limits,
    pub(crate) clock: &'a mut Clock,
    pub(crate) rng: &'a mut Rng,
    pub(crate) stats: &'a mut Stats,
    pub(crate) store: &'a dyn Store,
    pub(crate) batch: &'a mut Batch,
    pub(crate) outputs: &'a mut Vec<Output>,
    pub(crate) at_once: &'a mut Vec<Output>,
    pub(crate) outgoing: &'a mut Vec<Outgoing>,
    pub(crate) facts: &'a mut Vec<Fact>,
    /// As it was when the last request for data or tick came.
    pub(crate) around: Around,
    pub(crate) speaks: Speaks,
    /// Set by a service that does not accept the spread message it was handed.
    pub(crate) refused: bool,
    /// Whether something that was spread before the message that is handled is missing: marks do
    /// not cover it.
    pub(crate) ahead: bool,
    /// How many things the message that is handled or sent holds, for the statistics.
    pub(crate) weight: u64,
    /// The marks that came with the message that is handled.
    pub(crate) marked: Option<Marked>,
}

impl Ctx<'_> {
    /// Sends a message of the service `tag`.
    pub(crate) fn send(&mut self, tag: Tag, dest: Dest, body: Bytes) {
        let (speaks, weight) = (self.speaks, self.weight);
        self.outgoing.push(Outgoing { tag, dest, speaks, weight, body });
    }

    /// Answers a request.
    pub(crate) fn reply(&mut self, session: SessionId, request: RequestId, reply: Reply) {
        if request == RequestId::UNANSWERED {
            return;
        }
        self.output(Output::Reply(session, request, reply));
    }

    /// Tells a session something.
    pub(crate) fn event(&mut self, session: SessionId, event: Event) {
        self.output(Output::Event(session, event));
    }

    /// Tells the operator something.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.at_once.push(Output::Notice(notice));
    }

    fn output(&mut self, output: Output) {
        match self.speaks {
            Speaks::AtOnce => self.at_once.push(output),
            Speaks::AfterWrite => self.outputs.push(output),
        }
    }

    /// The store as this step leaves it so far.
    pub(crate) fn view(&mut self) -> Overlay<'_> {
        Overlay { below: self.store, above: self.batch.latest() }
    }

    /// Reads a key of `space`. Damage stops the node; until then nothing is there.
    pub(crate) fn get(&mut self, space: Space, key: &[u8]) -> Option<Bytes> {
        match self.view().get(&space.key(key)) {
            Ok(value) => value,
            Err(error) => {
                self.halt(error);
                None
            }
        }
    }

    /// Reads the number at a key of `space`; 0 if there is none. Damage stops the node.
    pub(crate) fn number(&mut self, space: Space, key: &[u8]) -> u64 {
        let number = space.number(&self.view(), key);
        number.unwrap_or_else(|error| {
            self.halt(error);
            0
        })
    }

    /// Visits the keys of `space` from `from` on, without the space's byte.
    pub(crate) fn scan(
        &mut self,
        space: Space,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        let visit = &mut |key: &[u8], value: &[u8]| visit(&key[1..], value);
        if let Err(error) = self.view().scan(&space.key(from), &space.end(), visit) {
            self.halt(error);
        }
    }

    /// The store cannot be trusted any more.
    pub(crate) fn halt(&mut self, error: StoreError) {
        self.at_once.push(Output::Halt(error));
    }
}
