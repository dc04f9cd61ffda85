//! A running node: the handle on it, and how it is started and stopped.

mod builder;
mod room;
mod stop;

pub use builder::Builder;

/// Whether a node can be dialled at an address: `http://host:port`.
///
/// ```
/// assert!(folkmoot::node::check_address("http://192.0.2.7:3655").is_ok());
/// assert!(folkmoot::node::check_address("https://example.org").is_err());
/// ```
pub fn check_address(url: &str) -> Result<(), Error> {
    crate::link::check_address(url).map_err(Error::Setting)
}

use crate::api::{Change, Chat, Data, Item, Strategies, Subscription, Value, Written};
use crate::error::Error;
use crate::network::{Invite, Network};
use crate::runtime::wall_ms;
use crate::session::{Session, Sessions};
use crate::store::{Durability, Snapshot, Views};
use folkmoot_core::access::Principal;
use folkmoot_core::id::{NetworkId, NodeId};
use folkmoot_core::request::{MeshRequest, MeshStatus, Reply, Request};
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A running node; cheap to clone. It runs until [`Node::close`].
///
/// ```
/// # use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), folkmoot::Error> {
/// let node = folkmoot::Node::builder().listen("127.0.0.1:0").start().await?;
/// node.put("users/1", &json!({"name": "Alice"})).await?;
/// let user = node.get("users/1").await?.expect("it was put");
/// assert_eq!(user.to_string(), r#"{"name":"Alice"}"#);
/// assert!(node.del("users/1").await?);
/// node.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    id: NodeId,
    addr: SocketAddr,
    addresses: Vec<String>,
    data_dir: PathBuf,
    network: Arc<Network>,
    durability: Durability,
    strategies: Strategies,
    sessions: Arc<Sessions>,
    views: Arc<Views>,
    /// For requests that come one by one.
    common: Session,
    stop: stop::Stop,
}

impl Node {
    /// Settings for a node; [`Builder::start`] starts it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Who this node is: its public key.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The address on which it listens.
    pub fn addr(&self) -> SocketAddr {
        self.inner.addr
    }

    /// The URL under which this machine's clients find it.
    pub fn url(&self) -> String {
        let mut addr = self.inner.addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(match addr {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{addr}")
    }

    /// The addresses at which other nodes are told to dial it.
    pub fn addresses(&self) -> &[String] {
        &self.inner.addresses
    }

    /// Where it keeps what it keeps.
    pub fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// The network that it belongs to.
    pub fn network(&self) -> NetworkId {
        self.inner.network.id
    }

    /// When it acknowledges a write.
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// What its settings say of concurrent writes.
    pub(crate) fn strategies(&self) -> &Strategies {
        &self.inner.strategies
    }

    /// One line with which another node can join: addresses, network and secret.
    pub fn invite(&self) -> String {
        let invite: Invite = self.inner.network.invite(self.inner.addresses.clone());
        invite.to_string()
    }

    /// A session for a local client that acts as `principal`.
    pub fn session(&self, principal: Principal) -> Session {
        self.inner.sessions.open(principal)
    }

    /// A session of a client at the doors: it ends when they are closed.
    pub(crate) fn session_at_door(&self, principal: Principal) -> Session {
        self.inner.sessions.open_at_door(principal)
    }

    /// Ends the sessions of clients at the doors.
    pub(crate) fn close_doors(&self) {
        self.inner.sessions.close_doors();
    }

    /// Asks the engine one thing.
    pub async fn ask(&self, principal: Principal, request: Request) -> Reply {
        self.inner.common.ask_as(principal, request).await
    }

    /// The newest state that is on disk.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.views.snapshot()
    }

    /// Shared data, as the owner of the node sees it.
    pub fn data(&self) -> Data {
        Data::new(self.clone())
    }

    /// Chat, as the owner of the node speaks in it.
    pub fn chat(&self) -> Chat {
        Chat::new(self.clone())
    }

    /// The mesh as this node sees it.
    pub async fn status(&self) -> Result<MeshStatus, Error> {
        match self.ask(Principal::Owner, Request::Mesh(MeshRequest::Status)).await {
            Reply::Mesh(status) => Ok(*status),
            Reply::Failed(code, _) => Err(code.into()),
            reply => unreachable!("a status is answered with a status, not {reply:?}"),
        }
    }

    /// Puts a value at a path; done when it is on this node's disk.
    pub async fn put(
        &self,
        path: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Written, Error> {
        self.data().put(path, value).await
    }

    /// The value at a path.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Error> {
        Ok(self.data().get(path).await?.map(|item| item.value))
    }

    /// Deletes the value at a path; answers whether there was one.
    pub async fn del(&self, path: &str) -> Result<bool, Error> {
        self.data().del(path).await
    }

    /// The values whose path begins with `prefix`, at most `limit` if one is given.
    pub async fn scan(&self, prefix: &str, limit: Option<usize>) -> Result<Vec<Item>, Error> {
        self.data().scan(prefix, limit, None).await
    }

    /// Changes at a path and below it, from now on: see [`Subscription::next`].
    pub async fn subscribe(&self, path: &str) -> Result<Subscription, Error> {
        self.data().subscribe(path).await
    }

    /// Calls `told` for every change at a path and below it, until the answer is dropped.
    pub async fn on_change(
        &self,
        path: &str,
        mut told: impl FnMut(Change) + Send + 'static,
    ) -> Result<Unsubscribe, Error> {
        let mut subscription = self.subscribe(path).await?;
        let task = tokio::spawn(async move {
            while let Some(change) = subscription.next().await {
                told(change);
            }
        });
        Ok(Unsubscribe(task))
    }

    /// The wall clock of this machine, in Unix milliseconds.
    pub fn wall_ms() -> u64 {
        wall_ms()
    }

    /// Stops the node: says good-bye to its links, answers what waits, closes the store. Returns
    /// when all of it is done and the data directory can be used again. Other handles on the node
    /// answer [`Closing`](folkmoot_core::error::ErrorCode::Closing) from then on.
    pub async fn close(self) {
        self.shutdown().await;
    }

    /// [`Node::close`] for whoever keeps the handle. Whoever calls second waits for the first.
    pub async fn shutdown(&self) {
        let inner = self.inner.clone();
        // A task of its own: it goes on if whoever waits does not.
        let stopped = tokio::spawn(async move {
            inner.stop.stop(&inner.sessions, &inner.views).await;
        });
        // It cannot have been aborted, and a panic in it was reported.
        drop(stopped.await);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id()).field("addr", &self.addr()).finish()
    }
}

/// Ends the calls that [`Node::on_change`] began when it is dropped.
pub struct Unsubscribe(tokio::task::JoinHandle<()>);

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        self.0.abort();
    }
}
