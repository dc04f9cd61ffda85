//! `/socket.io/`: the chat of multi-server-chat, for clients of Socket.IO 1.1 and later.
//!
//! Reading order: `engine_io` and `packet` (bytes to words), `chat` (words to requests), `session`
//! (one socket, pure), `driver` (its life), `polling` and `websocket` (what carries it), `watcher`
//! and `list` (who is online), `peers` (the original servers of a mixed mesh).
//! The clients' view stands in `docs/socketio.md`.
//!
//! Promise: nothing is decided here; a user lives as long as the socket that named it.
//! Limits: `SOCKETS_MAX`, `SOCKETS_PER_ADDRESS_MAX`.

mod chat;
mod driver;
mod engine_io;
mod list;
mod pace;
mod packet;
pub(crate) mod peers;
mod polling;
mod session;
mod watcher;
mod websocket;

use crate::http::guard::Ends;
use crate::http::uri::Query;
use crate::http::who::Who;
use crate::http::{Doors, place_of, upgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use driver::{Carrier, Driver, Inbound};
use engine_io::{Bounds, Protocol};
use folkmoot_core::access::Principal;
use folkmoot_core::id::ClientId;
use peers::{Peer, Peers};
use session::Session;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use watcher::Watcher;
use websocket::WebSocket;

/// Where it answers.
pub(crate) const ROUTE: &str = "/socket.io/";
/// Sockets that poll, or may still do.
const SOCKETS_MAX: usize = 16 * 1024;
/// Such sockets of one address that is not on this machine, or of one network of IPv6.
const SOCKETS_PER_ADDRESS_MAX: usize = 64;

/// All sockets of a node.
pub(crate) struct Gateway {
    watcher: Arc<Watcher>,
    polled: Mutex<Polled>,
    /// Users may come from other machines.
    open_clients: bool,
    peers: Option<Arc<Peers>>,
}

/// The sockets that requests have to find.
#[derive(Default)]
struct Polled {
    sockets: HashMap<String, Socket>,
    /// How many there are of each address or network elsewhere.
    addresses: HashMap<IpAddr, usize>,
}

/// Where to find a socket.
#[derive(Clone)]
struct Socket {
    protocol: Protocol,
    /// Its client reads answers of bytes.
    reads_bytes: bool,
    inbound: mpsc::Sender<Inbound>,
}

/// Whoever a socket is for.
#[derive(Clone, Copy)]
struct Guest {
    remote: SocketAddr,
    /// On whose behalf its users act.
    principal: Principal,
}

/// A socket's entry among those that can be found; taken out when dropped.
pub(crate) struct Place {
    gateway: Arc<Gateway>,
    id: String,
    /// What it is counted with; `None` on this machine.
    address: Option<IpAddr>,
}

impl Gateway {
    /// No sockets yet.
    pub(crate) fn new(open_clients: bool, peers: Option<Arc<Peers>>) -> Arc<Gateway> {
        let (watcher, polled) = (Watcher::new(), Mutex::default());
        Arc::new(Gateway { watcher, polled, open_clients, peers })
    }

    fn lock(&self) -> MutexGuard<'_, Polled> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the socket of this id is found.
    fn find(&self, id: &str) -> Option<Socket> {
        self.lock().sockets.get(id).cloned()
    }

    /// Makes a socket found under `id`, unless there are too many.
    fn enter(self: &Arc<Gateway>, id: &str, address: IpAddr, socket: Socket) -> Option<Place> {
        let mut polled = self.lock();
        if polled.sockets.len() >= SOCKETS_MAX {
            return None;
        }
        let address = place_of(address);
        if let Some(address) = address {
            let count = polled.addresses.entry(address).or_default();
            if *count >= SOCKETS_PER_ADDRESS_MAX {
                return None;
            }
            *count += 1;
        }
        polled.sockets.insert(id.to_owned(), socket);
        Some(Place { gateway: self.clone(), id: id.to_owned(), address })
    }

    /// Whether somebody at `remote` may identify as a user. Original servers may come from where
    /// users may not.
    fn admits_users(&self, remote: SocketAddr) -> bool {
        self.open_clients || remote.ip().to_canonical().is_loopback()
    }

    /// How large may be what comes from `remote`.
    fn bounds(&self, remote: SocketAddr) -> Bounds {
        let server = self.peers.as_ref().is_some_and(|peers| peers.knows(remote.ip()));
        if server { Bounds::SERVER } else { Bounds::CLIENT }
    }

    /// A socket has come.
    fn came(&self, remote: SocketAddr) {
        if let Some(peers) = &self.peers {
            peers.came(remote.ip());
        }
    }

    /// A socket from `remote` says that it is this original server: its side of the bridge.
    fn peer(&self, remote: SocketAddr, id: &str) -> Option<Peer> {
        self.peers.as_ref()?.peer(remote.ip(), id)
    }

    /// Whether the program speaks for a user of an original server.
    fn is_foreign(&self, client: ClientId) -> bool {
        self.peers.as_ref().is_some_and(|peers| peers.is_foreign(client))
    }

    /// A message is not to leave this node.
    fn note_local(&self, client: ClientId, number: u64) {
        if let Some(peers) = &self.peers {
            peers.note_local(client, number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut polled = self.gateway.lock();
        polled.sockets.remove(&self.id);
        let Some(address) = self.address else { return };
        if let Some(count) = polled.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                polled.addresses.remove(&address);
            }
        }
    }
}

/// What engine.io says of requests that it does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Transport,
    UnknownId,
    Method,
    Request,
    Full,
    Protocol,
    TooLarge,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Refused::Transport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Refused::UnknownId => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            Refused::Method => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Refused::Request => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, 4, "Too many sockets"),
            Refused::Protocol => (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
            Refused::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "Payload too large"),
        };
        let body = format!("{{\"code\":{code},\"message\":\"{message}\"}}");
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// What a request line says.
struct Asked {
    protocol: Protocol,
    /// The client reads answers of bytes: with protocol 3, unless it says that it does not.
    reads_bytes: bool,
    websocket: bool,
    id: Option<String>,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Asked, Refused> {
        let mut query = Query::parse(query).map_err(|_| Refused::Request)?;
        let websocket = match query.take("transport").as_deref() {
            Some("polling") => false,
            Some("websocket") => true,
            _ => return Err(Refused::Transport),
        };
        let protocol = match query.take("EIO").as_deref() {
            Some("3") => Protocol::Three,
            Some("4") => Protocol::Four,
            _ => return Err(Refused::Protocol),
        };
        // Scripts of other sites would be answered.
        if query.take("j").is_some() {
            return Err(Refused::Transport);
        }
        let reads_bytes = protocol == Protocol::Three && query.take("b64").is_none();
        let id = query.take("sid").map(|id| id.into_owned());
        Ok(Asked { protocol, reads_bytes, websocket, id })
    }
}

/// Every request of the gateway.
pub(crate) async fn handle(
    State(doors): State<Arc<Doors>>,
    Who(principal): Who,
    request: Request,
) -> Response {
    let mut response =
        answer(&doors, principal, request).await.unwrap_or_else(IntoResponse::into_response);
    // Browsers' clients ask for it; there are no cookies here that it could give away.
    let credentials = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
    response.headers_mut().insert(credentials, HeaderValue::from_static("true"));
    response
}

async fn answer(
    doors: &Arc<Doors>,
    principal: Principal,
    mut request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::read(request.uri().query())?;
    let ends = *request.extensions().get::<Ends>().ok_or(Refused::Request)?;
    let guest = Guest { remote: ends.remote, principal };
    let reads = request.method() == Method::GET;
    match (asked.id, asked.websocket) {
        (None, _) if !reads => Err(Refused::Method),
        (Some(_), true) if !reads => Err(Refused::Request),
        (None, false) => polling::open(doors, asked.protocol, asked.reads_bytes, guest).await,
        (None, true) => {
            let (gateway, node) = (doors.socketio.clone(), doors.node.clone());
            let (stop, bounds) = (doors.stop.clone(), gateway.bounds(ends.remote));
            let answered = upgrade::answer(&mut request, async move |tcp, slot| {
                let socket = WebSocket::accepted(tcp, slot, bounds).await;
                let session = Session::open(asked.protocol, new_id(), false, Instant::now());
                let carrier = Carrier::WebSocket(Box::new(socket));
                Driver::new(gateway, node, guest, session, carrier).run(stop).await;
            });
            answered.map_err(|_| Refused::Request)
        }
        (Some(id), websocket) => {
            let found = doors.socketio.find(&id).ok_or(Refused::UnknownId)?;
            if found.protocol != asked.protocol {
                return Err(Refused::Request);
            }
            if websocket {
                let bounds = doors.socketio.bounds(ends.remote);
                let answered = upgrade::answer(&mut request, async move |tcp, slot| {
                    let socket = WebSocket::accepted(tcp, slot, bounds).await;
                    websocket::probe(socket, found.inbound).await;
                });
                return answered.map_err(|_| Refused::Request);
            }
            if reads {
                polling::poll(found).await
            } else {
                polling::post(doors, found, ends.remote, request).await
            }
        }
    }
}

/// A name for a socket that nobody can guess.
fn new_id() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// 64 random bits.
fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system had random numbers when the node started");
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests;
