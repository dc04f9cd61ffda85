//! The HTTP side of a node: one port, one route table, and nothing that decides.
//!
//! Promise: every request is judged by `guard.rs` first and answered by one handler; handlers
//! cannot fail, a refusal is an answer (`error.rs`); nothing a client sends is unbounded in size,
//! depth, number or time (`limits.rs`, `deadline.rs`, `connections.rs`).
//! What is said here is written down for clients in `docs/http.md` and `/openapi.json`.

mod accept;
mod batch;
pub(crate) mod body;
mod chat;
mod connections;
pub(crate) mod data;
mod deadline;
pub(crate) mod error;
mod etag;
pub(crate) mod guard;
pub(crate) mod history;
mod limits;
mod link;
pub(crate) mod mesh;
mod metrics;
mod page;
pub(crate) mod scan;
mod ui;
pub(crate) mod upgrade;
pub(crate) mod uri;
pub(crate) mod values;
mod watch;
pub(crate) mod who;
mod ws;

#[cfg(test)]
mod tests;

use crate::gateway::socketio::peers::Peers;
use crate::gateway::{rest, socketio};
use crate::link::Links;
use crate::node::Node;
pub(crate) use accept::stopped;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use connections::Connections;
pub(crate) use connections::{Slot, place_of};
use error::{Problem, Refusal};
pub(crate) use guard::Policy;
pub(crate) use limits::HttpLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Headers of ours that pages of an allowed origin may read.
const EXPOSED_HEADERS: &str = "etag, folkmoot-stamp, folkmoot-node, folkmoot-expires";

/// What all handlers share.
pub(crate) struct Doors {
    pub(crate) node: Node,
    pub(crate) links: Links,
    pub(crate) port: Arc<Port>,
    pub(crate) socketio: Arc<socketio::Gateway>,
    /// Tells streams to end.
    pub(crate) stop: tokio::sync::watch::Receiver<bool>,
}

impl Doors {
    /// The limits of the port.
    pub(crate) fn limits(&self) -> &HttpLimits {
        &self.port.limits
    }

    /// Seconds since the start.
    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.port.started.elapsed().as_secs()
    }
}

/// What all connections share.
pub(crate) struct Port {
    policy: Policy,
    limits: HttpLimits,
    connections: Arc<Connections>,
    started: Instant,
    /// For messages over plain HTTP.
    letters: Arc<Semaphore>,
    tails: Arc<chat::Tails>,
    /// Answers since the start, by the first digit of their status.
    answers: [AtomicU64; 6],
}

impl Port {
    fn new(policy: Policy, limits: HttpLimits) -> Port {
        let connections = Arc::new(Connections::new(&limits));
        Port {
            policy,
            limits,
            connections,
            started: Instant::now(),
            letters: Arc::new(Semaphore::new(chat::LETTERS_MAX)),
            tails: Arc::default(),
            answers: Default::default(),
        }
    }

    fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Answers on `listener` until `stop` says so; returns when what was under way is answered.
/// `extra` has what the program that runs the node wants to answer beside the table.
pub(crate) async fn serve(
    listener: tokio::net::TcpListener,
    node: Node,
    links: Links,
    extra: Router,
    policy: Policy,
    limits: HttpLimits,
    stop: tokio::sync::watch::Receiver<bool>,
) {
    let servers = policy.servers.clone();
    let peers = servers.map(|servers| Peers::start(servers, node.clone(), stop.clone()));
    let socketio = socketio::Gateway::new(policy.open_clients, peers);
    let port = Arc::new(Port::new(policy, limits));
    let doors =
        Doors { node: node.clone(), links, port: port.clone(), socketio, stop: stop.clone() };
    let mut stopped = stop.clone();
    let close_doors = async move {
        accept::stopped(&mut stopped).await;
        node.close_doors();
    };
    let answer = accept::run(listener, router(Arc::new(doors), extra), port, stop);
    tokio::join!(answer, close_doors);
}

/// The route table. A path in braces takes everything that follows, escapes and all.
#[rustfmt::skip]
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Doors>>)> {
    vec![
        ("/",                        get(page::index)),
        ("/ui/{*file}",              get(ui::get)),
        ("/openapi.json",            get(page::openapi)),
        ("/healthz",                 get(page::healthz)),
        ("/readyz",                  get(page::readyz)),
        ("/metrics",                 get(metrics::get)),
        ("/link",                    get(link::upgrade)),

        ("/v1/data",                 get(scan::page).post(batch::post)),
        ("/v1/data/{*path}",         get(data::get).put(data::put).delete(data::delete)),
        ("/v1/watch",                get(watch::events)),
        ("/v1/ws",                   get(ws::upgrade)),
        ("/v1/chat/messages",        post(chat::post)),
        ("/v1/chat/users",           get(chat::users)),
        ("/v1/chat/stream",          get(chat::events)),
        ("/v1/history/{*path}",      get(history::get)),
        ("/v1/status",               get(mesh::status)),
        ("/v1/mesh",                 get(mesh::get)),
        ("/v1/mesh/peers",           post(mesh::add_peer).delete(mesh::remove_peer)),
        ("/v1/mesh/ping/{node}",     post(mesh::ping)),
        ("/v1/mesh/members/{node}",  delete(mesh::remove_member)),

        ("/api/{*path}",             get(rest::get).put(rest::put).delete(rest::delete)),
        ("/api/scan/",               get(rest::scan)),
        ("/api/scan/{*prefix}",      get(rest::scan).put(rest::put).delete(rest::delete)),
        ("/api/history/{*path}",     get(rest::history).put(rest::put).delete(rest::delete)),
        ("/api/status",              get(rest::status).put(rest::put).delete(rest::delete)),

        (socketio::ROUTE,            get(socketio::handle).post(socketio::handle)),
    ]
}

fn router(doors: Arc<Doors>, extra: Router) -> Router {
    let table = routes().into_iter().fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods.fallback(wrong_method))
    });
    let table = table.with_state(doors);
    // Their own fallback, if they have one, is behind the table too.
    if extra.has_routes() { table.fallback_service(extra) } else { table.fallback(no_route) }
}

async fn wrong_method(request: Request) -> Response {
    refuse(&request, Problem::Method)
}

async fn no_route(request: Request) -> Response {
    refuse(&request, Problem::NoRoute)
}

fn refuse(request: &Request, problem: Problem) -> Response {
    let refusal = Refusal::from(problem);
    let seed = request.uri().path().starts_with("/api/");
    if seed { refusal.in_seed_words() } else { refusal }.into_response()
}

/// The part of the request's raw path behind `route`.
fn rest_of<'a>(request: &'a Request, route: &str) -> &'a str {
    request.uri().path().strip_prefix(route).unwrap_or_default()
}

type Shared = State<Arc<Doors>>;
