//! Clients that poll, and their taking over by a WebSocket.

use super::*;

/// A client that polls.
struct Poller {
    address: SocketAddr,
    path: String,
}

impl Poller {
    async fn open(address: SocketAddr, protocol: u8) -> (Poller, String) {
        let path = format!("/socket.io/?EIO={protocol}&transport=polling");
        let (status, body) = request(address, &format!("GET {path}"), b"").await;
        assert_eq!(status, 200, "{body}");
        let (_, rest) = body.split_once("\"sid\":\"").unwrap();
        let path = format!("{path}&sid={}", &rest[..32]);
        (Poller { address, path }, body)
    }

    fn id(&self) -> &str {
        &self.path[self.path.len() - 32..]
    }

    async fn poll(&self) -> (u16, String) {
        request(self.address, &format!("GET {}", self.path), b"").await
    }

    async fn post(&self, body: impl AsRef<[u8]>) -> (u16, String) {
        let headers = "content-type: text/plain;charset=UTF-8\r\n";
        request_with(self.address, &format!("POST {}", self.path), headers, body.as_ref()).await
    }

    /// Polls until something has come that is not about who is online.
    async fn until(&self, wanted: &str) -> String {
        loop {
            let (status, body) = self.poll().await;
            assert_eq!(status, 200, "{body}");
            if body.contains(wanted) {
                return body;
            }
        }
    }
}

#[tokio::test]
async fn version_1_talks_over_polling_in_any_language() {
    let node = node().await;
    let (anna, handshake) = Poller::open(node.addr(), 3).await;
    let handshake = handshake.strip_suffix("2:40").unwrap();
    assert!(handshake.starts_with(&format!("{}:0{{", handshake.len() - 4)), "{handshake}");
    // "Añna" and "é😀" encoded twice, as version 1.7.4 sent them.
    let identify: String = "42[\"identify\",\"Añna\"]".bytes().map(char::from).collect();
    assert_eq!(anna.post(format!("22:{identify}")).await, (200, "ok".into()));
    anna.until("\"A\\u00f1na\"").await;
    let text: String =
        "42[\"im\",{\"to\":\"Añna\",\"text\":\"é😀\"}]".bytes().map(char::from).collect();
    assert_eq!(anna.post(format!("{}:{text}", text.chars().count())).await.0, 200);
    let said = "42[\"im\",{\"from\":\"A\\u00f1na\",\"to\":\"A\\u00f1na\",\"text\":\"\\u00e9\\ud83d\\ude00\",\"forwarded\":false}]";
    let body = anna.until("im").await;
    assert!(body.starts_with(&format!("{}:{said}", said.len())), "{body}");
    assert_eq!(anna.post("1:1").await.0, 200);
    assert_eq!(anna.poll().await.0, 400);
    node.close().await;
}

#[tokio::test]
async fn version_4_talks_over_polling_to_a_websocket() {
    let node = node().await;
    let (anna, handshake) = Poller::open(node.addr(), 4).await;
    assert!(handshake.starts_with("0{") && handshake.ends_with("\"maxPayload\":1000000}"));
    assert_eq!(anna.post("40").await.0, 200);
    anna.until("40{\"sid\"").await;
    let mut billy = Client::named(node.addr(), 3, "Billy").await;
    let two = "42[\"identify\",\"Anna\"]\u{1e}42[\"im\",{\"to\":\"Billy\",\"text\":\"é\"}]";
    assert_eq!(anna.post(two).await.0, 200);
    let said = "42[\"im\",{\"from\":\"Anna\",\"to\":\"Billy\",\"text\":\"é\",\"forwarded\":false}]";
    assert_eq!(billy.next_said().await, said);
    anna.until(said).await;
    node.close().await;
}

#[tokio::test]
async fn what_is_posted_together_with_a_farewell_is_delivered() {
    let node = node().await;
    let mut billy = Client::named(node.addr(), 4, "Billy").await;
    for farewell in ["41", "1", "4x"] {
        let (anna, _) = Poller::open(node.addr(), 4).await;
        assert_eq!(anna.post("40\u{1e}42[\"identify\",\"Anna\"]").await.0, 200);
        let im = |text| format!("42[\"im\",{{\"to\":\"Billy\",\"text\":\"{text}\"}}]");
        let post = [im("one"), im("two"), farewell.to_owned()].join("\u{1e}");
        assert_eq!(anna.post(post).await, (200, "ok".into()));
        for text in ["one", "two"] {
            let said = billy.next_said().await;
            assert!(said.contains(&format!("\"text\":\"{text}\"")), "{farewell}: {said}");
        }
    }
    node.close().await;
}

#[tokio::test]
async fn a_poll_whose_client_is_gone_loses_nothing() {
    let node = node().await;
    let (anna, _) = Poller::open(node.addr(), 4).await;
    let mut gone = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", anna.path);
    gone.write_all(head.as_bytes()).await.unwrap();
    // Another poll ends the one before it: then that one was there.
    let waiting = anna.poll();
    let (other, answer) = tokio::join!(waiting, async {
        let mut byte = [0; 1];
        in_time(gone.read_exact(&mut byte)).await.unwrap();
        drop(gone);
        anna.post("40").await
    });
    assert_eq!(answer.0, 200);
    assert!(other.1.starts_with("40{"), "{other:?}");
    let mut gone = TcpStream::connect(node.addr()).await.unwrap();
    gone.write_all(head.as_bytes()).await.unwrap();
    drop(gone);
    assert_eq!(anna.post("2").await.0, 200);
    assert_eq!(anna.until("3").await, "3");
    node.close().await;
}

#[tokio::test]
async fn a_websocket_takes_over_without_loss() {
    let node = node().await;
    let (anna, _) = Poller::open(node.addr(), 4).await;
    anna.post("40").await;
    anna.until("40{").await;
    anna.post("42[\"identify\",\"Anna\"]").await;
    anna.until("Anna").await;
    let mut socket = Client::dial(node.addr(), &format!("EIO=4&sid={}", anna.id())).await;
    let (poll, ()) = tokio::join!(anna.poll(), async {
        socket.say("2probe").await;
        assert_eq!(socket.next().await, "3probe");
    });
    assert_eq!(poll, (200, "6".into()), "the waiting poll ends");
    // Said before the takeover, heard after it.
    anna.post("42[\"im\",{\"to\":\"Nobody\",\"n\":1}]").await;
    socket.say("5").await;
    socket.say("42[\"im\",{\"to\":\"Nobody\",\"n\":2}]").await;
    for n in [1, 2] {
        let said = format!(
            "42[\"im\",{{\"from\":\"Anna\",\"to\":\"Nobody\",\"n\":{n},\"forwarded\":false}}]"
        );
        assert_eq!(socket.next_said().await, said);
    }
    assert_eq!(anna.poll().await.0, 400);
    node.close().await;
}

#[tokio::test]
async fn a_probe_that_makes_no_sense_leaves_polling_alone() {
    let node = node().await;
    let (anna, _) = Poller::open(node.addr(), 3).await;
    let mut socket = Client::dial(node.addr(), &format!("EIO=3&sid={}", anna.id())).await;
    socket.say("42[\"identify\",\"Anna\"]").await;
    assert!(socket.next().await.starts_with("closed"));
    anna.post("1:2").await;
    assert_eq!(anna.until("1:3").await, "1:3");
    node.close().await;
}

#[tokio::test]
async fn bad_requests_are_refused_in_the_words_of_engine_io() {
    let node = node().await;
    let ask = async |line: &str| request(node.addr(), line, b"").await;
    let told = async |line: &str| ask(line).await.1.split(',').next().unwrap().to_owned();
    let sid = "sid=0123456789abcdef0123456789abcdef";
    assert_eq!(told("GET /socket.io/").await, "{\"code\":0");
    assert_eq!(told("GET /socket.io/?EIO=4&transport=flash").await, "{\"code\":0");
    assert_eq!(told("GET /socket.io/?EIO=4&transport=polling&j=0").await, "{\"code\":0");
    assert_eq!(
        told(&format!("GET /socket.io/?EIO=4&transport=polling&{sid}")).await,
        "{\"code\":1"
    );
    assert_eq!(told("POST /socket.io/?EIO=4&transport=polling").await, "{\"code\":2");
    assert_eq!(told("GET /socket.io/?EIO=4&transport=websocket").await, "{\"code\":3");
    assert_eq!(told("GET /socket.io/?EIO=2&transport=polling").await, "{\"code\":5");
    assert_eq!(ask("DELETE /socket.io/?EIO=4&transport=polling").await.0, 405);
    let (anna, _) = Poller::open(node.addr(), 4).await;
    let as_3 = anna.path.replace("EIO=4", "EIO=3");
    assert_eq!(told(&format!("GET {as_3}")).await, "{\"code\":3");
    let foreign = request_with(
        node.addr(),
        "GET /socket.io/?EIO=4&transport=polling",
        "origin: http://evil.example\r\n",
        b"",
    );
    assert_eq!(foreign.await.0, 403);
    node.close().await;
}

#[tokio::test]
async fn a_payload_that_makes_no_sense_ends_the_socket() {
    let node = node().await;
    for (protocol, bad) in [(3, &b"9:40"[..]), (4, b""), (4, b"\xff"), (3, b"abc")] {
        let (anna, _) = Poller::open(node.addr(), protocol).await;
        assert_eq!(anna.post(bad).await.0, 400);
        assert_eq!(anna.poll().await.0, 400);
    }
    let (anna, _) = Poller::open(node.addr(), 4).await;
    assert_eq!(anna.post(vec![b'4'; engine_io::PAYLOAD_BYTES_MAX + 1]).await.0, 413);
    assert_eq!(anna.post("40").await.0, 200);
    node.close().await;
}

#[tokio::test]
async fn who_never_polls_is_given_up_when_too_much_waits() {
    let node = node().await;
    let (anna, _) = Poller::open(node.addr(), 3).await;
    assert_eq!(anna.post("22:42[\"identify\",\"Anna1\"]").await.0, 200);
    let im = format!("42[\"im\",{{\"to\":\"Nobody\",\"text\":\"{}\"}}]", "x".repeat(60_000));
    let payload = format!("{}:{im}", im.len()).repeat(10);
    let mut posts = 0;
    while anna.post(&payload).await.0 == 200 {
        posts += 1;
        assert!(posts < 100, "it was never given up");
    }
    assert!(posts >= 1, "1 MiB may wait");
    assert_eq!(anna.poll().await.0, 400);
    node.close().await;
}
