//! From settings to a running node.

use super::room::RoomWatch;
use super::stop::Stop;
use super::{Inner, Node, check_address};
use crate::api::{Strategies, Strategy};
use crate::error::Error;
use crate::fatal;
use crate::gateway::socketio::peers::Servers;
use crate::http::{self, HttpLimits, Policy};
use crate::identity::Keys;
use crate::inbox::inbox;
use crate::link::Links;
use crate::network::Network;
use crate::runtime::{Act, Clock, Runtime};
use crate::session::Sessions;
use crate::store::check::{self, Opened};
use crate::store::directory::Directory;
use crate::store::writer::Writer;
use crate::store::{Durability, Overlay, Views};
use folkmoot_core::access::Principal;
use folkmoot_core::engine::{Engine, EngineConfig, Output, Step, boot_counter};
use folkmoot_core::id::Path;
use folkmoot_core::identity::Identity;
use folkmoot_core::limits::{
    ADDRESS_BYTES_MAX, HISTORY_VERSIONS_MAX, Limits, RECORD_ADDRESSES_MAX,
};
use folkmoot_core::store::StoreError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Settings for a node. All have defaults: it listens on 127.0.0.1:3655, keeps nothing beyond its
/// life, knows no peers and makes a network of its own.
///
/// Two nodes of one network, of which the second dials the first:
///
/// ```
/// # use folkmoot::{Error, Node};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Error> {
/// let builder = || Node::builder().listen("127.0.0.1:0").secret("correct horse battery staple");
/// let first = builder().start().await?;
/// let second = builder().peer(first.url()).start().await?;
/// let mut changes = second.subscribe("hello").await?;
/// first.put("hello", "world").await?;
/// let change = changes.next().await.expect("the node is open");
/// assert_eq!(change.path(), Some("hello"));
/// # first.close().await;
/// # second.close().await;
/// # Ok(())
/// # }
/// ```
///
/// What cannot be is refused when the node starts:
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// let tls = folkmoot::Node::builder().peer("https://example.org").start().await;
/// assert!(tls.is_err());
/// # }
/// ```
pub struct Builder {
    listen: String,
    data_dir: Option<PathBuf>,
    peers: Vec<String>,
    addresses: Vec<String>,
    secret: Option<String>,
    policy: Policy,
    durability: Durability,
    histories: Vec<(String, usize)>,
    strategies: Vec<(String, Strategy)>,
    limits: Limits,
    router: axum::Router,
    servers: Option<(String, String)>,
    between_steps: fn(),
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 3655).to_string(),
            data_dir: None,
            peers: Vec::new(),
            addresses: Vec::new(),
            secret: None,
            policy: Policy::default(),
            durability: Durability::Sync,
            histories: Vec::new(),
            strategies: Vec::new(),
            limits: Limits::default(),
            router: axum::Router::new(),
            servers: None,
            between_steps: || (),
        }
    }
}

impl Builder {
    /// The address to listen on, `host:port`; port 0 for any.
    pub fn listen(mut self, address: impl ToString) -> Builder {
        self.listen = address.to_string();
        self
    }

    /// The directory in which everything is kept. Without one nothing outlives the node.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Builder {
        self.data_dir = Some(path.into());
        self
    }

    /// An address to dial, for ever: `http://host:port`.
    pub fn peer(mut self, url: impl Into<String>) -> Builder {
        self.peers.push(url.into());
        self
    }

    /// Addresses to dial, for ever.
    pub fn peers(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        self.peers.extend(urls.into_iter().map(Into::into));
        self
    }

    /// An address at which others can dial this node, where it is not the one it listens on; at
    /// most eight, of 256 bytes each.
    pub fn advertise(mut self, url: impl Into<String>) -> Builder {
        self.addresses.push(url.into());
        self
    }

    /// The secret of the network. Nodes with the same secret form one network.
    pub fn secret(mut self, text: impl Into<String>) -> Builder {
        self.secret = Some(text.into());
        self
    }

    /// Whether clients from other machines are let in, who may then do everything.
    pub fn open_clients(mut self, open: bool) -> Builder {
        self.policy.open_clients = open;
        self
    }

    /// A host name that clients may call this node by, beside `localhost` and its addresses.
    pub fn allow_host(mut self, name: impl Into<String>) -> Builder {
        self.policy.hosts.push(name.into());
        self
    }

    /// An origin, as `https://example.org`, whose pages may use this node.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Builder {
        self.policy.origins.push(origin.into());
        self
    }

    /// When a write is acknowledged.
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.durability = durability;
        self
    }

    /// How this node's writes at the path `prefix` and below it are settled against those of
    /// others, where a write itself does not say.
    pub fn strategy(mut self, prefix: impl Into<String>, strategy: Strategy) -> Builder {
        self.strategies.push((prefix.into(), strategy));
        self
    }

    /// Keeps older values of the path `prefix` and of what is below it, on this node: so many of
    /// each path, or of each field of a merged object; at most 100.
    pub fn history(mut self, prefix: impl Into<String>, versions: usize) -> Builder {
        self.histories.push((prefix.into(), versions));
        self
    }

    /// Limits other than the defaults.
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = limits;
        self
    }

    /// Routes of one's own, served beside the node's on the same port, behind the same guard:
    /// pages of other sites cannot use them.
    ///
    /// ```
    /// # use folkmoot::{Error, Node};
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// let own = axum::Router::new().route("/tea", axum::routing::get(|| async { "is ready" }));
    /// let node = Node::builder().listen("127.0.0.1:0").router(own).start().await?;
    ///
    /// let mut client = tokio::net::TcpStream::connect(node.addr()).await.unwrap();
    /// let request = "GET /tea HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    /// client.write_all(request.as_bytes()).await.unwrap();
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer).await.unwrap();
    /// assert!(answer.ends_with("is ready"));
    /// # node.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn router(mut self, router: axum::Router) -> Builder {
        self.router = router;
        self
    }

    /// Makes the node one server of a mesh of original multi-server-chat servers: `list` is the
    /// JSON that they are given, `id` names this node in it.
    pub fn socketio_servers(mut self, list: impl Into<String>, id: impl Into<String>) -> Builder {
        self.servers = Some((list.into(), id.into()));
        self
    }

    /// What the engine's thread calls before it waits for more to do, up to thousands of times a
    /// second: for what belongs to a thread, as with an allocator that keeps free memory for each.
    /// The node waits for it.
    pub fn between_steps(mut self, call: fn()) -> Builder {
        self.between_steps = call;
        self
    }

    /// Starts the node. It is ready when this returns.
    pub async fn start(mut self) -> Result<Node, Error> {
        self.peers.iter().chain(&self.addresses).try_for_each(|url| check_address(url))?;
        check_addresses(&self.addresses)?;
        check_histories(&self.histories)?;
        let Builder { data_dir, secret, durability, .. } = &self;
        let (data_dir, secret, durability) = (data_dir.clone(), secret.clone(), *durability);
        let open = move || Kept::open(data_dir.as_deref(), secret.as_deref(), durability);
        let servers = self.servers.clone();
        let servers = blocking(move || {
            let read = |(list, id): (String, String)| Servers::read(&list, &id);
            servers.map(read).transpose().map_err(Error::Setting)
        });
        self.policy.servers = servers.await?;
        let kept = blocking(open).await?;
        let listener = listen(&self.listen).await?;
        blocking(move || self.run(kept, listener)).await
    }

    fn run(self, kept: Kept, listener: TcpListener) -> Result<Node, Error> {
        let Kept { directory, keys, network, mut opened } = kept;
        let histories = by_prefix("history", self.histories)?;
        let strategies = Strategies::new(by_prefix("strategy", self.strategies)?);
        let failed = |source| Error::DataDir { path: directory.path().to_owned(), source };
        let damaged = |error: StoreError| damaged(&directory, &error);
        let addr = listener.local_addr().map_err(failed)?;
        let addresses =
            if self.addresses.is_empty() { own_addresses(addr) } else { self.addresses };
        let (inbox, receiver) = inbox();
        let sessions = Sessions::new(inbox.clone());
        let views = Arc::new(Views::new(&opened.database, fatal::damaged));
        let overlay = Overlay::new(opened.database.clone());
        let clock = Clock::start();
        let boot = boot_counter(&overlay, clock.now().wall_ms).map_err(damaged)?;
        let id = keys.node();
        let links = Links::new(keys.clone(), network.clone(), boot, inbox.clone());
        let config = EngineConfig {
            identity: Box::new(keys),
            network: network.id,
            boot,
            seed: seed()?,
            peers: self.peers,
            addresses: addresses.clone(),
            histories,
            limits: self.limits,
        };
        let (engine, mut first) = open(config, &clock, &overlay).map_err(damaged)?;
        // What comes of the start is on disk before anybody can ask for it.
        let batches = [Arc::new(std::mem::take(&mut first.batch))];
        let snapshot = opened.commit(&batches, self.durability).map_err(failed)?;
        views.publish(&batches, snapshot);
        let mut act = Act::new(links.clone(), sessions.clone());
        let act_late = Act::new(links.clone(), sessions.clone());
        let act_on = move |outputs: &mut Vec<Output>| act.act(outputs);
        let writer =
            Writer::start(opened, self.durability, views.clone(), act_on).map_err(failed)?;
        let runtime = Runtime {
            engine,
            first,
            overlay,
            writer,
            inbox: receiver,
            act: act_late,
            clock,
            between_steps: self.between_steps,
        };
        let engine = runtime.start().map_err(failed)?;
        let room = RoomWatch::new(directory.path(), sessions.clone(), links.clone());
        let tasks = vec![tokio::spawn(room.run()).abort_handle()];
        let data_dir = directory.path().to_owned();
        let common = sessions.open(Principal::Anonymous);
        let (stop_http, stopped) = watch::channel(false);
        let stop = Stop::new(stop_http, inbox, links.clone(), engine, directory, tasks);
        let inner = Inner {
            id,
            addr,
            addresses,
            data_dir,
            network,
            durability: self.durability,
            strategies,
            sessions,
            views,
            common,
            stop,
        };
        let node = Node { inner: Arc::new(inner) };
        warn_of_port(self.policy.servers.as_ref(), addr.port());
        let (served, router, policy) = (node.clone(), self.router, self.policy);
        let limits = HttpLimits::default();
        tokio::spawn(http::serve(listener, served, links, router, policy, limits, stopped));
        Ok(node)
    }
}

fn damaged(directory: &Directory, error: &StoreError) -> Error {
    Error::Damaged { path: directory.path().join("store"), what: error.to_string() }
}

/// Opens the engine on what the store holds; what comes of it is to be done before anything else.
fn open(
    config: EngineConfig,
    clock: &Clock,
    overlay: &Overlay,
) -> Result<(Engine, Step), StoreError> {
    let mut first = Step::default();
    let engine = Engine::open(config, clock.now(), overlay, &mut first);
    let halt = |output: &Output| match output {
        Output::Halt(error) => Some(error.clone()),
        _ => None,
    };
    match first.at_once.iter().chain(&first.outputs).find_map(halt) {
        Some(error) => Err(error),
        None => Ok((engine, first)),
    }
}

/// Other servers dial the port that their list has.
fn warn_of_port(servers: Option<&Servers>, here: u16) {
    if let Some(told) = servers.map(|servers| servers.port).filter(|told| *told != here) {
        tracing::warn!("chat servers dial port {told}, but this node listens on {here}");
    }
}

/// Other nodes close the link to one that names more.
fn check_addresses(addresses: &[String]) -> Result<(), Error> {
    if addresses.len() > RECORD_ADDRESSES_MAX {
        let count = addresses.len();
        return Err(Error::Setting(format!(
            "{count} addresses to advertise: at most {RECORD_ADDRESSES_MAX}"
        )));
    }
    if addresses.iter().any(|address| address.len() > ADDRESS_BYTES_MAX) {
        return Err(Error::Setting(format!(
            "an address to advertise has more than {ADDRESS_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

fn check_histories(histories: &[(String, usize)]) -> Result<(), Error> {
    match histories.iter().find(|(_, versions)| *versions > HISTORY_VERSIONS_MAX) {
        Some((prefix, versions)) => Err(Error::Setting(format!(
            "history of {prefix:?}: {versions} versions are more than {HISTORY_VERSIONS_MAX}"
        ))),
        None => Ok(()),
    }
}

/// Settings of path prefixes, with the paths checked.
fn by_prefix<T>(what: &str, settings: Vec<(String, T)>) -> Result<Vec<(Path, T)>, Error> {
    let check = |(prefix, setting): (String, T)| {
        let why = |code| Error::Setting(format!("{what} of {prefix:?}: {code}"));
        Ok((Path::new(prefix.clone()).map_err(why)?, setting))
    };
    settings.into_iter().map(check).collect()
}

/// Does what takes a while without holding up others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::Setting(format!("the start was given up: {error}"))),
    }
}

/// What a node has on disk.
struct Kept {
    directory: Directory,
    keys: Keys,
    network: Arc<Network>,
    opened: Opened,
}

impl Kept {
    fn open(
        data_dir: Option<&std::path::Path>,
        secret: Option<&str>,
        durability: Durability,
    ) -> Result<Kept, Error> {
        let directory = match data_dir {
            Some(path) => Directory::open(path)?,
            None => Directory::temporary()?,
        };
        let keys = Keys::load_or_create(directory.path())?;
        // The network's keys are made slow to guess, and a large store takes a while to read.
        let (network, opened) = std::thread::scope(|scope| {
            let opened = scope.spawn(|| check::open(&directory, durability));
            (Network::load_or_create(directory.path(), secret), opened.join())
        });
        let network = Arc::new(network?);
        let opened = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Kept { directory, keys, network, opened })
    }
}

async fn listen(text: &str) -> Result<TcpListener, Error> {
    let unusable =
        |why| Error::Setting(format!("cannot listen on {text:?}: {why}; write host:port"));
    let found = tokio::net::lookup_host(text).await.map_err(|error| unusable(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let address = *addresses.first().ok_or_else(|| unusable("no such host".into()))?;
    TcpListener::bind(&addresses[..]).await.map_err(|source| Error::Listen { address, source })
}

/// Where others can dial a node that listens on `addr`.
fn own_addresses(addr: SocketAddr) -> Vec<String> {
    let mut addr = addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(own_ip().unwrap_or(Ipv4Addr::LOCALHOST.into()));
    }
    vec![format!("http://{addr}")]
}

/// The address that this machine would use towards others. Nothing is sent.
fn own_ip() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): it only selects the route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn seed() -> Result<u64, Error> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Setting(format!("the system has no random numbers: {error}")))?;
    Ok(u64::from_be_bytes(seed))
}
