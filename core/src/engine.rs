//! Dispatch, and no rule of any service.
//!
//! Every input goes to one handler; what the handlers want is gathered in a [`Step`]. Handing
//! over many inputs before [`Engine::finish`] is the group commit: one batch, one sync.

use crate::access;
use crate::chat::Chat;
use crate::ctx::{Around, Ctx, Fact, Outgoing, Speaks};
use crate::data::{Data, DataConfig};
use crate::error::ErrorCode;
use crate::id::{LinkId, NetworkId, NodeId, Path, RequestId, SessionId};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::mesh::{Delivery, Mesh};
use crate::request::{Caller, Event, MeshRequest, MeshStatus, Reply, Request};
use crate::rng::Rng;
use crate::service::Service;
use crate::stats::Stats;
use crate::store::space::META;
use crate::store::{Batch, Store, StoreError};
use crate::time::{Clock, Now, Stamp, Time};
use crate::wire::codec::Malformed;
use crate::wire::envelope::Tag;
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
    /// An address is not dialled at all.
    #[error("does not dial {address}: {error}")]
    PeerRefused {
        /// The address as given.
        address: String,
        /// Why not.
        error: ErrorCode,
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
    pub identity: Box<dyn Identity>,
    /// The network it belongs to.
    pub network: NetworkId,
    /// Larger than every boot counter of this node before: see [`boot_counter`].
    pub boot: u64,
    /// Seed for jitter, the leaps of the clock, and the store's id where the store is new.
    pub seed: u64,
    /// Addresses to dial, for ever, beside those that were added in earlier runs.
    pub peers: Vec<String>,
    /// Addresses at which this node can be dialled, for its record.
    pub addresses: Vec<String>,
    /// How many older versions to keep on this node, per path prefix; the longest prefix counts.
    pub histories: Vec<(Path, usize)>,
    /// What may be set.
    pub limits: Limits,
}

/// Key of the boot counter in [`META`].
const BOOT: &[u8] = b"boot";
/// Key of the clock's bound in [`META`].
pub(crate) const CLOCK_BOUND: &[u8] = b"clock";

/// The state of a node.
pub struct Engine {
    mesh: Mesh,
    chat: Chat,
    data: Data,
    limits: Limits,
    clock: Clock,
    rng: Rng,
    stats: Stats,
    outgoing: Vec<Outgoing>,
    facts: Vec<Fact>,
    around: Around,
}

/// A context for one handler, borrowing all of the engine but its services. A method could not:
/// it would borrow the services too.
macro_rules! ctx {
    ($engine:ident, $now:expr, $store:expr, $step:expr, $speaks:expr) => {
        Ctx {
            now: $now,
            limits: &$engine.limits,
            clock: &mut $engine.clock,
            rng: &mut $engine.rng,
            stats: &mut $engine.stats,
            store: $store,
            batch: &mut $step.batch,
            outputs: &mut $step.outputs,
            at_once: &mut $step.at_once,
            outgoing: &mut $engine.outgoing,
            facts: &mut $engine.facts,
            around: $engine.around,
            speaks: $speaks,
            refused: false,
            ahead: false,
            weight: 1,
            marked: None,
        }
    };
}

impl Engine {
    /// Opens the state that `store` holds. What must be written before anything else is put in
    /// `step`. A damaged store is an [`Output::Halt`] in `step`.
    pub fn open(config: EngineConfig, now: Now, store: &dyn Store, step: &mut Step) -> Engine {
        let (mut rng, mut stats) = (Rng::new(config.seed), Stats::default());
        let (mut outgoing, mut facts) = (Vec::new(), Vec::new());
        let around = Around::default();
        let mut clock = Clock::new(Stamp(0), config.limits.drift_ms_max);
        let mut ctx = Ctx {
            now,
            limits: &config.limits,
            clock: &mut clock,
            rng: &mut rng,
            stats: &mut stats,
            store,
            batch: &mut step.batch,
            outputs: &mut step.outputs,
            at_once: &mut step.at_once,
            outgoing: &mut outgoing,
            facts: &mut facts,
            around,
            speaks: Speaks::AfterWrite,
            refused: false,
            ahead: false,
            weight: 1,
            marked: None,
        };
        let bound = Stamp(ctx.number(META, CLOCK_BOUND));
        let leaps = Rng::new(config.seed);
        *ctx.clock = Clock::new(bound, config.limits.drift_ms_max).with_leaps(leaps);
        ctx.batch.put(META.key(BOOT), config.boot.to_be_bytes().to_vec());
        let own = config.identity.node();
        let (network, histories) = (config.network, config.histories);
        let data_config = DataConfig { own, network, seed: config.seed, histories };
        let data = Data::open(&mut ctx, data_config);
        let chat = Chat::new(&mut ctx, own, config.boot);
        let mut mesh = Mesh::new(config.identity, network, config.boot, config.addresses);
        mesh.open_peers(&mut ctx, config.peers);
        let limits = config.limits;
        let mut engine =
            Engine { mesh, chat, data, limits, clock, rng, stats, outgoing, facts, around };
        engine.settle(now, store, step);
        engine.finish(now, store, step);
        engine
    }

    /// Handles one input. What it makes is complete only after [`Engine::finish`].
    pub fn handle(&mut self, now: Now, input: Input, store: &dyn Store, step: &mut Step) {
        let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
        match input {
            Input::LinkUp { link, node, boot, wall_ms, dialled } => {
                self.mesh.on_link_up(&mut ctx, link, (node, boot), wall_ms, dialled);
            }
            Input::LinkDown(link) => self.mesh.on_link_down(&mut ctx, link),
            Input::LinkFull(link) => self.mesh.on_link_full(link),
            Input::LinkDrained(link) => self.mesh.on_link_drained(link),
            Input::Frame(link, frame) => self.mesh.on_frame(&mut ctx, link, frame),
            Input::DialFailed(address, why) => self.mesh.on_dial_failed(&mut ctx, address, why),
            Input::Request(caller, request) => self.on_request(now, caller, request, store, step),
            Input::SessionClosed(session) => {
                self.data.on_session_closed(&mut ctx, session);
                self.chat.on_session_closed(&mut ctx, session);
            }
            Input::Tick => {
                self.mesh.on_tick(&mut ctx);
                self.chat.on_tick(&mut ctx);
                self.around = self.mesh.around(&self.limits);
                let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
                self.data.on_tick(&mut ctx);
            }
        }
        self.settle(now, store, step);
    }

    fn on_request(
        &mut self,
        now: Now,
        caller: Caller,
        request: Request,
        store: &dyn Store,
        step: &mut Step,
    ) {
        let allowed = access::check(caller.principal, access::action(&request));
        let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
        let mut answer = |reply| ctx.reply(caller.session, caller.request, reply);
        let done = |result: Result<(), ErrorCode>| match result {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed(error, 0),
        };
        match request {
            _ if allowed.is_err() => answer(done(allowed)),
            Request::Data(request) => {
                self.around = self.mesh.around(&self.limits);
                let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
                self.data.on_request(&mut ctx, caller, request);
            }
            Request::Chat(request) => self.chat.on_request(&mut ctx, caller, request),
            Request::Mesh(MeshRequest::Status) => {
                // It tells of data: not before that is on the disk.
                let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
                let mut status = Box::new(MeshStatus::default());
                self.mesh.fill_status(&mut status);
                self.data.fill_status(&mut status);
                self.chat.fill_status(&mut status);
                status.stats = ctx.stats.clone();
                ctx.reply(caller.session, caller.request, Reply::Mesh(status));
            }
            Request::Mesh(MeshRequest::Ping(node)) => {
                self.mesh.on_ping_request(&mut ctx, caller, node);
            }
            Request::Mesh(MeshRequest::AddPeer(address)) => {
                let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
                let reply = done(self.mesh.add_peer(&mut ctx, address));
                ctx.reply(caller.session, caller.request, reply);
            }
            Request::Mesh(MeshRequest::RemovePeer(address)) => {
                let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
                let reply = done(self.mesh.remove_peer(&mut ctx, &address));
                ctx.reply(caller.session, caller.request, reply);
            }
            Request::Mesh(MeshRequest::Remove(node)) => {
                let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
                self.data.remove_member(&mut ctx, node);
                ctx.reply(caller.session, caller.request, Reply::Done);
            }
        }
    }

    /// Ends a step of one or more inputs: packs what they made into batch and frames.
    pub fn finish(&mut self, now: Now, store: &dyn Store, step: &mut Step) {
        let mut ctx = ctx!(self, now, store, step, Speaks::AfterWrite);
        self.data.on_step_end(&mut ctx);
        let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
        self.chat.on_step_end(&mut ctx);
        self.settle(now, store, step);
        let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
        self.mesh.on_step_end(&mut ctx);
    }

    /// Carries what mesh and services have for each other until nothing is left.
    fn settle(&mut self, now: Now, store: &dyn Store, step: &mut Step) {
        loop {
            let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
            for fact in std::mem::take(ctx.facts) {
                match fact {
                    Fact::Removed(node) => self.mesh.on_removed(&mut ctx, node),
                    Fact::CaughtUp(marks) => drop(self.mesh.on_caught_up(marks)),
                    Fact::Agreed(neighbor, marks) => {
                        if self.mesh.on_caught_up(marks) {
                            self.data.on_agreed(&ctx, neighbor);
                        }
                    }
                }
            }
            for outgoing in std::mem::take(ctx.outgoing) {
                self.mesh.send(&mut ctx, outgoing);
            }
            let deliveries = self.mesh.take_deliveries();
            if deliveries.is_empty() && self.facts.is_empty() && self.outgoing.is_empty() {
                return;
            }
            for delivery in deliveries {
                self.deliver(now, delivery, store, step);
            }
        }
    }

    fn deliver(&mut self, now: Now, delivery: Delivery, store: &dyn Store, step: &mut Step) {
        let speaks = match &delivery {
            Delivery::Message { tag: Tag::CHAT, .. } | Delivery::Unicast { tag: Tag::CHAT, .. } => {
                Speaks::AtOnce
            }
            Delivery::Spread { envelope, .. } if envelope.tag == Tag::CHAT => Speaks::AtOnce,
            _ => Speaks::AfterWrite,
        };
        let mut ctx = ctx!(self, now, store, step, speaks);
        let (link, handled) = match delivery {
            Delivery::Neighbor(node, change) => {
                self.data.on_neighbor(&mut ctx, node, change);
                let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
                return self.chat.on_neighbor(&mut ctx, node, change);
            }
            Delivery::Reach(node, boot) => {
                self.data.on_reach(&mut ctx, node, boot);
                let mut ctx = ctx!(self, now, store, step, Speaks::AtOnce);
                return self.chat.on_reach(&mut ctx, node, boot);
            }
            Delivery::Ahead(ahead) => return self.data.on_ahead(ahead),
            Delivery::Message { link, from, tag, body, marked } => {
                ctx.marked = marked;
                match tag {
                    Tag::DATA => (link, self.data.on_message(&mut ctx, from, body)),
                    Tag::CHAT => (link, self.chat.on_message(&mut ctx, from, body)),
                    _ => {
                        ctx.stats.unknown_messages += 1;
                        return;
                    }
                }
            }
            Delivery::Unicast { from, tag, body } => {
                let handled = match tag {
                    Tag::DATA => self.data.on_message(&mut ctx, from, body),
                    Tag::CHAT => self.chat.on_message(&mut ctx, from, body),
                    _ => Err(Malformed),
                };
                // Malformed bytes are their sender's fault, not that of the link they came by.
                ctx.stats.unknown_messages += u64::from(handled.is_err());
                return;
            }
            Delivery::Spread { link, from, envelope, ahead } => {
                ctx.ahead = ahead;
                let (origin, body) = (envelope.origin, envelope.body.clone());
                let handled = match envelope.tag {
                    Tag::DATA => self.data.on_spread(&mut ctx, origin, body),
                    Tag::CHAT => self.chat.on_spread(&mut ctx, origin, body),
                    _ => Ok(()), // relayed blind: a newer version's service
                };
                if handled.is_ok() && !ctx.refused {
                    let weight = ctx.weight;
                    self.mesh.relay(&mut ctx, envelope, Some(from), speaks, weight);
                }
                (link, handled)
            }
        };
        if handled.is_err() {
            self.mesh.close_malformed(&mut ctx, link);
        }
    }

    /// Sends something of a service that the service did not say, with the next step.
    #[cfg(test)]
    pub(crate) fn whisper(&mut self, tag: Tag, dest: crate::ctx::Dest, body: Bytes) {
        let speaks = Speaks::AtOnce;
        self.outgoing.push(Outgoing { tag, dest, speaks, weight: 0, body });
    }

    /// When [`Input::Tick`] is due; a time in the past means at once.
    pub fn next_tick(&self) -> Option<Time> {
        let mesh = self.mesh.next_tick(&self.limits);
        [mesh, self.chat.next_tick(), self.data.next_tick()].into_iter().flatten().min()
    }

    /// Counters since the start of this run.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// This node's id.
    pub fn node(&self) -> NodeId {
        self.mesh.own()
    }
}

/// The boot counter of a start at `wall_ms` of a node whose store is `store`: larger than the
/// last one and, clocks permitting, than one that a lost store had. [`Engine::open`] stores it.
pub fn boot_counter(store: &dyn Store, wall_ms: u64) -> Result<u64, StoreError> {
    let stored = META.number(store, BOOT)?;
    Ok(wall_ms.max(stored.saturating_add(1)))
}
