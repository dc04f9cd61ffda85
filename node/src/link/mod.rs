//! Bytes to frames and back between nodes: WebSocket, and Noise inside it.
//!
//! Promise: a frame that comes out here was sent by the node that [`Input::LinkUp`] named, on
//! this link, in this order, and by nobody else; frames of one link stay in order. Strangers get
//! as far as the handshake and are refused with a reason, here in the log and there in the close
//! message. Nothing here decides who is linked to whom: the engine does.
//!
//! Reading order: `handshake` (the first words), `noise`, `websocket`, then `pump` and `queue`
//! (a link at work), `strangers` and `refused` (who is not let in). The bytes are in
//! docs/protocol.md.

mod address;
mod handshake;
mod noise;
mod pump;
mod queue;
mod refused;
mod strangers;
mod websocket;

use crate::identity::Keys;
use crate::inbox::Inbox;
use crate::network::Network;
use address::Address;
use bytes::Bytes;
use folkmoot_core::engine::Input;
use folkmoot_core::id::LinkId;
use handshake::{HANDSHAKE_PAUSE, Known, Local, Side, shake};
use noise::StaticKey;
use queue::SendQueue;
use refused::{CLOSE_BY_ENGINE, Refused};
use std::collections::HashMap;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use strangers::Strangers;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;

/// Whether an address can be dialled; if not, why.
pub(crate) fn check_address(url: &str) -> Result<(), String> {
    Address::parse(url).map(drop).map_err(|why| format!("{url}: {why}"))
}

/// All links of this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    local: Local,
    inbox: Inbox,
    runtime: Handle,
    strangers: Strangers,
    next_link: AtomicU64,
    live: Mutex<HashMap<LinkId, Arc<SendQueue>>>,
    /// Whether no more links are made.
    closing: watch::Sender<bool>,
    /// Whether none are made for a while.
    paused: AtomicBool,
    /// Links and handshakes that have not ended.
    tasks: watch::Sender<usize>,
}

impl Links {
    /// No links yet. To be called within a tokio runtime, on which all links will run.
    pub(crate) fn new(keys: Keys, network: Arc<Network>, boot: u64, inbox: Inbox) -> Links {
        let local = Local { keys, network, boot, static_key: StaticKey::generate() };
        let shared = Shared {
            local,
            inbox,
            runtime: Handle::current(),
            strangers: Strangers::default(),
            next_link: AtomicU64::new(1),
            live: Mutex::default(),
            closing: watch::Sender::new(false),
            paused: AtomicBool::new(false),
            tasks: watch::Sender::new(0),
        };
        Links { shared: Arc::new(shared) }
    }

    /// Dials `address` in the background; ends in [`Input::LinkUp`] or [`Input::DialFailed`].
    pub(crate) fn dial(&self, address: String) {
        let links = self.clone();
        let task = Task::new(&self.shared.tasks);
        self.shared.runtime.spawn(async move {
            let _task = task;
            if let Err(why) = links.run_dialled(&address).await {
                links.shared.inbox.send_now(Input::DialFailed(address, why.to_string()));
            }
        });
    }

    /// Serves the other end of a dialled link, after the WebSocket upgrade; returns at its end.
    pub(crate) async fn accept<S>(&self, io: S, remote: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _task = Task::new(&self.shared.tasks);
        let socket = websocket::accepted(io).await;
        if self.is_paused() {
            return websocket::turn_away(socket, &Refused::Full);
        }
        let Some(place) = self.shared.strangers.enter(remote.ip()) else {
            self.log_refused(remote.ip(), &Refused::Busy);
            return websocket::turn_away(socket, &Refused::Busy);
        };
        match self.meet(socket, Side::Acceptor).await {
            Ok((socket, known)) => {
                drop(place);
                self.run(socket, known, None).await;
            }
            Err(why) => self.log_refused(remote.ip(), &why),
        }
    }

    /// Sends frames, and leaves none; never blocks. Frames for a link that is gone go nowhere.
    pub(crate) fn send(&self, frames: &mut Vec<(LinkId, Bytes)>) {
        let live = self.live();
        let mut frames = frames.drain(..).peekable();
        while let Some((link, frame)) = frames.next() {
            let rest = iter::from_fn(|| frames.next_if(|next| next.0 == link));
            let frames = iter::once(frame).chain(rest.map(|(_, frame)| frame));
            match live.get(&link) {
                Some(queue) => queue.push(frames),
                None => frames.for_each(drop),
            }
        }
    }

    /// Closes a link and says why to the other side, after what was sent before.
    pub(crate) fn close(&self, link: LinkId, why: &'static str) {
        if let Some(queue) = self.live().get(&link) {
            queue.close(Some((CLOSE_BY_ENGINE, why)));
        }
    }

    /// Closes all links and makes no new ones until it is told that the pause is over: this node
    /// has no room for what they bring.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::SeqCst);
        if paused {
            for queue in self.live().values() {
                queue.close(Refused::Full.farewell());
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::SeqCst)
    }

    /// Closes all links and makes no new ones; returns when they are gone.
    pub(crate) async fn shutdown(&self) {
        self.shared.closing.send_replace(true);
        for queue in self.live().values() {
            queue.close(Refused::Closing.farewell());
        }
        // The sender lives in `self`.
        let _ = self.shared.tasks.subscribe().wait_for(|tasks| *tasks == 0).await;
    }

    async fn run_dialled(&self, address: &str) -> Result<(), Refused> {
        let parsed = Address::parse(address)?;
        if self.is_paused() {
            return Err(Refused::Full);
        }
        let connect = tokio::time::timeout(HANDSHAKE_PAUSE, websocket::dialled(&parsed));
        let socket = tokio::select! {
            connected = connect => connected.map_err(|_| Refused::Slow)??,
            () = self.closing() => return Err(Refused::Closing),
        };
        let (socket, known) = self.meet(socket, Side::Dialler).await?;
        self.run(socket, known, Some(address.to_owned())).await;
        Ok(())
    }

    /// The handshake; whoever is refused is told why.
    async fn meet<S>(
        &self,
        mut socket: WebSocketStream<S>,
        side: Side,
    ) -> Result<(WebSocketStream<S>, Known), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = shake(&mut socket, side, &self.shared.local);
        let result = tokio::select! {
            result = tokio::time::timeout(HANDSHAKE_PAUSE, shaking) => result,
            () = self.closing() => Ok(Err(Refused::Closing)),
        };
        match result.unwrap_or(Err(Refused::Slow)) {
            Ok(known) => Ok((socket, known)),
            Err(why) => {
                websocket::farewell(socket, &why).await;
                Err(why)
            }
        }
    }

    async fn run<S>(&self, socket: WebSocketStream<S>, known: Known, dialled: Option<String>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = &self.shared;
        let link = LinkId(shared.next_link.fetch_add(1, Ordering::Relaxed));
        let queue = Arc::new(SendQueue::new(link, shared.inbox.clone()));
        let live = Live { shared, link };
        self.live().insert(link, queue.clone());
        if *shared.closing.borrow() {
            queue.close(Refused::Closing.farewell());
        }
        if self.is_paused() {
            queue.close(Refused::Full.farewell());
        }
        let proof = known.proof;
        shared.inbox.send_now(Input::LinkUp {
            link,
            node: proof.node,
            boot: proof.boot,
            wall_ms: proof.wall_ms,
            dialled,
        });
        let keys = (known.sealer, known.opener);
        let why = pump::pump(socket, link, keys, queue, &shared.inbox).await;
        match why {
            Refused::Forged | Refused::Malformed => {
                tracing::warn!("closed the link to {}: {why}", proof.node);
            }
            _ => tracing::debug!("the link to {} ended: {why}", proof.node),
        }
        drop(live);
    }

    fn log_refused(&self, address: IpAddr, why: &Refused) {
        if self.shared.strangers.may_log(address, Instant::now()) {
            tracing::warn!("refused a link from {address}: {why}");
        }
    }

    async fn closing(&self) {
        // The sender lives in `self`.
        let _ = self.shared.closing.subscribe().wait_for(|closing| *closing).await;
    }

    fn live(&self) -> MutexGuard<'_, HashMap<LinkId, Arc<SendQueue>>> {
        self.shared.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link's place among the live ones.
struct Live<'a> {
    shared: &'a Shared,
    link: LinkId,
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        let mut live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.remove(&self.link);
    }
}

/// Counts something that a shutdown waits for.
struct Task(watch::Sender<usize>);

impl Task {
    fn new(tasks: &watch::Sender<usize>) -> Task {
        tasks.send_modify(|tasks| *tasks += 1);
        Task(tasks.clone())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.send_modify(|tasks| *tasks -= 1);
    }
}

#[cfg(test)]
mod tests;
