//! The doors of a real node, asked without sockets: every request goes from the guard to the
//! handler and the engine and back.

mod bad_input;
mod chat;
mod data;
mod described;
mod seed;
mod table;
mod watch;

use super::guard::Ends;
use super::*;
use crate::identity::Keys;
use crate::inbox::inbox;
use crate::network::Network;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use std::net::SocketAddr;

/// A node, and the way into it.
struct Doorstep {
    node: Node,
    router: Router,
    port: Arc<Port>,
    stop: tokio::sync::watch::Sender<bool>,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn doorstep() -> Doorstep {
    doorstep_with(Policy::default(), Router::new()).await
}

async fn doorstep_with(policy: Policy, extra: Router) -> Doorstep {
    let builder = Node::builder()
        .listen("127.0.0.1:0")
        .history("kept", 3)
        .strategy("firsts", crate::api::Strategy::First);
    let node = builder.start().await.expect("a node with defaults starts");
    let port = Arc::new(Port::new(policy, HttpLimits::default()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let links = no_links();
    let socketio = socketio::Gateway::new(false, None);
    let doors = Doors { node: node.clone(), links, port: port.clone(), socketio, stop: stopped };
    Doorstep { node, router: router(Arc::new(doors), extra), port, stop }
}

/// Links of nobody: the node has its own.
fn no_links() -> Links {
    let place = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(place.path()).unwrap();
    let network = Network::load_or_create(place.path(), None).unwrap();
    Links::new(keys, Arc::new(network), 0, inbox().0)
}

/// A text with blanks behind it: part of a body, and of nothing that it means.
fn padded(text: &str, bytes: usize) -> String {
    text.to_owned() + &" ".repeat(bytes - text.len())
}

/// A client on this machine.
fn local() -> Ends {
    let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Ends { remote: end(50_000), local: end(3_655) }
}

impl Doorstep {
    /// Sends a request; `headers` are lines of `name: value`.
    async fn send(&self, line: &str, headers: &str, body: impl Into<Body>) -> Response {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri).header("host", "localhost");
        for header in headers.lines() {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name.trim(), value);
        }
        let request = request.body(body.into()).unwrap();
        accept::answer(self.router.clone(), &self.port, local(), request).await
    }

    async fn ask_with(&self, line: &str, headers: &str, body: impl Into<Body>) -> Answer {
        let response = self.send(line, headers, body).await;
        let (head, body) = response.into_parts();
        let body: Bytes = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn ask(&self, line: &str) -> Answer {
        self.ask_with(line, "", Body::empty()).await
    }

    /// Sends a JSON body.
    async fn tell(&self, line: &str, body: &str) -> Answer {
        self.ask_with(line, "content-type: application/json", body.to_owned()).await
    }

    /// Puts values and expects no refusal.
    async fn put(&self, pairs: &[(&str, &str)]) {
        for (path, value) in pairs {
            let answer = self.tell(&format!("PUT /v1/data/{path}"), value).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    }

    async fn close(self) {
        self.stop.send_replace(true);
        self.node.close().await;
    }
}
