//! Slow, silent, greedy and garbled clients on real sockets, with limits of milliseconds.

use super::super::HttpLimits;
use super::super::guard::Policy;
use super::*;
use axum::extract::State;
use axum::routing::{get, put};
use bytes::Bytes;
use futures_util::stream;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// Nothing here may take longer; what does is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// A limit that a test wants to see pass.
const SHORT: Duration = Duration::from_millis(60);

struct Server {
    addr: SocketAddr,
    port: Arc<Port>,
    stop: watch::Sender<bool>,
    /// Requests for `/slow` that have begun.
    begun: Arc<AtomicUsize>,
    run: JoinHandle<()>,
}

/// Limits that no test reaches, but for those that it sets itself.
fn patient() -> HttpLimits {
    HttpLimits {
        first_byte: PATIENCE,
        head: PATIENCE,
        body: PATIENCE,
        idle: PATIENCE,
        write: PATIENCE,
        ..HttpLimits::default()
    }
}

async fn start(limits: HttpLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let port = Arc::new(Port::new(Policy::default(), limits));
    let (stop, stopped) = watch::channel(false);
    let body_port = port.clone();
    let read = move |request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        super::super::body::json(&head.headers, body, 1 << 20, &body_port.limits).await
    };
    let begun = Arc::<AtomicUsize>::default();
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/body", put(read))
        .route("/large", get(|| async { Bytes::from(vec![b'x'; 64 << 20]) }))
        .route("/slow", get(slow).with_state(begun.clone()))
        .route("/drip", get(|| async { Body::from_stream(drip()) }));
    let run = tokio::spawn(run(listener, router, port.clone(), stopped));
    Server { addr, port, stop, begun, run }
}

async fn slow(State(begun): State<Arc<AtomicUsize>>) -> &'static str {
    begun.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(SHORT * 4).await;
    "at last"
}

fn drip() -> impl futures_util::Stream<Item = Result<&'static str, Infallible>> {
    stream::unfold(0, |count| async move {
        tokio::time::sleep(SHORT).await;
        (count < 8).then_some((Ok("drop,"), count + 1))
    })
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(bytes.as_ref()).await.unwrap();
        rest(&mut tcp).await
    }

    async fn until_nobody_is_connected(&self) {
        let gone = async {
            while self.port.connections.open() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE / 2, gone).await.expect("the connection is closed");
    }
}

/// What comes until the server closes, which it must do in half the patience: else it was the
/// other limit that closed.
async fn rest(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE / 2, tcp.read_to_end(&mut bytes)).await;
    // A reset is a close, too.
    let _ = read.expect("the server closes");
    String::from_utf8(bytes).unwrap()
}

/// What comes until `end` has come.
async fn until(tcp: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(PATIENCE, tcp.read_buf(&mut bytes)).await;
        assert!(read.unwrap().unwrap() > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped() {
    let server = start(HttpLimits { first_byte: SHORT, ..patient() }).await;
    assert_eq!(server.say("").await, "");
}

#[tokio::test]
async fn headers_that_drip_in_do_not_hold_the_connection() {
    let server = start(HttpLimits { head: SHORT, ..patient() }).await;
    for first in [true, false] {
        let mut tcp = server.connect().await;
        if !first {
            tcp.write_all(request("GET", "/", "").as_bytes()).await.unwrap();
            until(&mut tcp, "hello").await;
        }
        let (mut reader, mut writer) = tcp.into_split();
        let dripping = tokio::spawn(async move {
            let mut drips = tokio::time::interval(SHORT / 6);
            loop {
                drips.tick().await;
                if writer.write_all(b"a").await.is_err() {
                    break;
                }
            }
        });
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE / 2, reader.read_to_end(&mut bytes)).await;
        assert!(read.is_ok() && bytes.is_empty(), "the server closes without a word");
        dripping.abort();
    }
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_but_not_for_ever() {
    let server = start(HttpLimits { idle: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    for _ in 0..3 {
        tcp.write_all(request("GET", "/", "").as_bytes()).await.unwrap();
        assert!(until(&mut tcp, "hello").await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(rest(&mut tcp).await, "");
}

#[tokio::test]
async fn neither_thinking_nor_streaming_counts_as_idle() {
    let limits = HttpLimits { first_byte: SHORT, head: SHORT, idle: SHORT, ..patient() };
    let server = start(limits).await;
    let mut tcp = server.connect().await;
    tcp.write_all(request("GET", "/slow", "").as_bytes()).await.unwrap();
    until(&mut tcp, "at last").await;
    tcp.write_all(request("GET", "/drip", "").as_bytes()).await.unwrap();
    let answer = until(&mut tcp, "0\r\n\r\n").await;
    assert_eq!(answer.matches("drop,").count(), 8);
    assert_eq!(rest(&mut tcp).await, "", "afterwards it does");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so() {
    let server = start(HttpLimits { body: SHORT, ..patient() }).await;
    let headers = "content-type: application/json\r\ncontent-length: 9\r\n";
    let answer = server.say(request("PUT", "/body", headers) + "[1,").await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_slow"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_answer() {
    let server = start(HttpLimits { write: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(request("GET", "/large", "").as_bytes()).await.unwrap();
    until(&mut tcp, "x").await;
    server.until_nobody_is_connected().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_it() {
    let server = start(HttpLimits { write: SHORT * 4, idle: SHORT * 4, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(request("GET", "/large", "").as_bytes()).await.unwrap();
    let mut read = 0;
    let mut piece = vec![0; 4 << 20];
    while read < 64 << 20 {
        tokio::time::sleep(SHORT / 4).await;
        let count = tcp.read(&mut piece).await.unwrap();
        assert!(count > 0, "cut off after {read} bytes");
        read += count;
    }
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let server = start(patient()).await;
    let of_bytes = |bytes: usize| {
        let head = |fill: usize| {
            request("GET", "/", &format!("a: {}\r\nconnection: close\r\n", "x".repeat(fill)))
        };
        head(bytes - head(0).len())
    };
    let answer = server.say(of_bytes(HEAD_BYTES_MAX)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = server.say(of_bytes(HEAD_BYTES_MAX + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many: String = (0..HEADERS_MAX).map(|i| format!("a{i}: x\r\n")).collect();
    let answer = server.say(request("GET", "/", &many)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let most: String = (0..HEADERS_MAX - 2).map(|i| format!("a{i}: x\r\n")).collect();
    let answer = server.say(request("GET", "/", &(most + "connection: close\r\n"))).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_client_is_served() {
    let server = start(patient()).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\nhost localhost\n\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"POST /body HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /body HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let answer = server.say(garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let both = "content-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n";
    let answer = server.say(request("PUT", "/body", both) + "0\r\n\r\nGET /").await;
    assert!(!answer.contains("hello"), "no request is smuggled in: {answer}");
    let answer = server.say(request("GET", "/", "connection: close\r\n")).await;
    assert!(answer.ends_with("hello"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_told_so_also_while_it_is_being_sent() {
    let server = start(patient()).await;
    let headers = |length: usize, more: &str| {
        format!("content-type: application/json\r\ncontent-length: {length}\r\n{more}")
    };
    let length = (1 << 20) + 1;
    let more = "connection: close\r\n";
    let large = request("PUT", "/body", &headers(length, more)) + &" ".repeat(length);
    let answer = server.say(large).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let waits = request("PUT", "/body", &headers(length, "expect: 100-continue\r\n"));
    let answer = server.say(waits).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = start(patient()).await;
    let two = request("GET", "/slow", "") + &request("GET", "/", "connection: close\r\n");
    let answer = server.say(two).await;
    let (first, second) = (answer.find("at last"), answer.find("hello"));
    assert!(first.is_some() && first < second, "{answer}");
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away_until_there_is_room() {
    let server = start(HttpLimits { connections_max: 1, ..patient() }).await;
    let mut first = server.connect().await;
    first.write_all(request("GET", "/", "").as_bytes()).await.unwrap();
    until(&mut first, "hello").await;
    assert_eq!(rest(&mut server.connect().await).await, "");
    assert_eq!(server.port.connections.refused(), 1);
    drop(first);
    server.until_nobody_is_connected().await;
    let answer = server.say(request("GET", "/", "connection: close\r\n")).await;
    assert!(answer.ends_with("hello"));
}

#[tokio::test]
async fn one_request_more_than_an_address_elsewhere_may_send_is_told_to_wait() {
    let policy = Policy { open_clients: true, ..Policy::default() };
    let limits = HttpLimits { requests_per_ip_rate: 0.0, requests_per_ip_burst: 3.0, ..patient() };
    let port = Port::new(policy, limits);
    let router = Router::new().route("/", get(|| async { "hello" }));
    let ask = async |remote: &str| {
        let ends = Ends { remote: remote.parse().unwrap(), local: "192.0.2.9:80".parse().unwrap() };
        let request = Request::get("/").header("host", "192.0.2.9").body(Body::empty()).unwrap();
        answer(router.clone(), &port, ends, request).await
    };
    for status in [200, 200, 200, 429, 429] {
        assert_eq!(ask("192.0.2.1:1000").await.status(), status);
    }
    assert_eq!(ask("192.0.2.2:1000").await.status(), 200, "another address has its own");
    for _ in 0..9 {
        assert_eq!(ask("127.0.0.1:1000").await.status(), 200, "this machine is exempt");
    }
    let refused = ask("192.0.2.1:1000").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let body = axum::body::to_bytes(refused.into_body(), 1_000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["error"], &body["code"]), (&"too_many_requests".into(), &623.into()));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_is_gone_without_a_word_is_noticed_by_the_system() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let port = Arc::new(Port::new(Policy::default(), patient()));
    let (tcp, _) = listener.accept().await.unwrap();
    let (io, _) = admit(tcp, &Router::new(), &port).unwrap();
    crate::socket::tests::assert_prepared(&io.into_parts().0);
}

#[tokio::test]
async fn shutting_down_answers_what_was_asked_and_then_ends() {
    let server = start(patient()).await;
    let mut idle = server.connect().await;
    idle.write_all(request("GET", "/", "").as_bytes()).await.unwrap();
    until(&mut idle, "hello").await;
    let mut busy = server.connect().await;
    busy.write_all(request("GET", "/slow", "").as_bytes()).await.unwrap();
    while server.begun.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.stop.send(true).unwrap();
    assert!(rest(&mut busy).await.contains("at last"));
    assert_eq!(rest(&mut idle).await, "");
    tokio::time::timeout(PATIENCE, server.run).await.expect("the loop ends").unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_shutdown() {
    let server = start(HttpLimits { drain: SHORT, ..patient() }).await;
    let mut tcp = server.connect().await;
    tcp.write_all(request("GET", "/large", "").as_bytes()).await.unwrap();
    until(&mut tcp, "x").await;
    server.stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE / 2, server.run).await.expect("the loop ends").unwrap();
}

#[tokio::test]
async fn every_answer_tells_browsers_to_keep_it_to_themselves() {
    let server = start(patient()).await;
    let answer = server.say(request("GET", "/", "connection: close\r\n")).await;
    for header in ["cross-origin-resource-policy: same-origin", "x-content-type-options: nosniff"] {
        assert!(answer.contains(header), "{answer}");
    }
    let evil = "origin: https://evil.example\r\nconnection: close\r\n";
    let answer = server.say(request("GET", "/", evil)).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("wrong_origin"), "{answer}");
    assert!(!answer.contains("access-control-allow-origin"));
}
