//! Clients on real sockets, polite and otherwise.

mod bad_input;
mod people;
mod slow;
mod watches;

use super::super::guard::Policy;
use super::super::limits::{HttpLimits, WsLimits};
use super::super::serve;
use crate::identity::Keys;
use crate::inbox::inbox;
use crate::link::Links;
use crate::network::Network;
use crate::node::Node;
use crate::websocket::client::{Client, ClientError};
use axum::Router;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Nothing here may take longer; what does is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that a test wants to see pass.
const SHORT: Duration = Duration::from_millis(100);

/// A node with one more door, of other limits than usual.
struct Door {
    node: Node,
    addr: SocketAddr,
    _stop: watch::Sender<bool>,
}

async fn start() -> Node {
    let builder = Node::builder().listen("127.0.0.1:0").secret("for the tests only");
    builder.start().await.expect("a node with defaults starts")
}

async fn start_beside(other: &Node) -> Node {
    let builder = Node::builder().listen("127.0.0.1:0").secret("for the tests only");
    builder.peer(other.url()).start().await.expect("a node with defaults starts")
}

async fn door(ws: WsLimits) -> Door {
    let node = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let limits = HttpLimits { ws, ..HttpLimits::default() };
    let served = node.clone();
    tokio::spawn(async move {
        let router = Router::new();
        serve(listener, served, no_links(), router, Policy::default(), limits, stopped).await;
    });
    Door { node, addr, _stop: stop }
}

/// Links of nobody: the node has its own.
fn no_links() -> Links {
    let place = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(place.path()).unwrap();
    let network = Network::load_or_create(place.path(), None).unwrap();
    Links::new(keys, Arc::new(network), 0, inbox().0)
}

/// A client that is spoken for.
struct Person {
    client: Client,
    /// How the session can be gone on with.
    session: String,
}

impl Person {
    async fn come(url: &str, user: &str, client: u64) -> Person {
        let mut person = Person::arrive(url).await;
        person.client.say_hello(user, client);
        let welcome = person.told("welcome").await;
        assert_eq!((&welcome["user"], &welcome["resumed"]), (&json!(user), &json!(false)));
        assert_eq!(welcome["client"], format!("{client:016x}"));
        person.session = welcome["session"].as_str().unwrap().to_owned();
        person
    }

    /// Connects and says nothing.
    async fn arrive(url: &str) -> Person {
        let client = Client::connect(url).await.unwrap();
        Person { client, session: String::new() }
    }

    /// Breaks off without a word.
    fn vanish(self) -> String {
        self.session
    }

    fn say(&mut self, what: Value) {
        self.client.say(&what.to_string());
    }

    async fn hear(&mut self) -> Result<Value, ClientError> {
        let text = tokio::time::timeout(PATIENCE, self.client.next()).await.expect("it comes")?;
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// What comes next, which must be this.
    #[track_caller]
    fn told(&mut self, op: &'static str) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let told = self.hear().await.unwrap_or_else(|error| panic!("{error} at {place}"));
            assert_eq!(told["op"], op, "{told} at {place}");
            told
        }
    }

    /// Waits until something of this kind is told, whatever comes before.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let told = self.hear().await.unwrap();
            if wanted(&told) {
                return told;
            }
        }
    }

    /// With what the node closes, whatever it tells before.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.hear().await {
                Ok(_) => {}
                Err(ClientError::Closed { code, .. }) => return code,
                Err(error) => panic!("closed without a code: {error}"),
            }
        }
    }
}
