//! Clients that are slow, silent, deaf or too fast.

use super::super::super::Doors;
use super::super::super::Port;
use super::super::super::connections::Connections;
use super::super::socket::Socket;
use super::*;
use folkmoot_core::access::Principal;
use std::ops::ControlFlow;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

impl Door {
    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_hello_in_time_is_closed_also_while_something_drips_in() {
    let door = door(WsLimits { hello: SHORT * 3, ..WsLimits::default() }).await;
    let mut silent = Person::arrive(&door.url()).await;
    assert_eq!(silent.closed().await, 4001);
    let tcp = Person::arrive(&door.url()).await.client.into_tcp();
    let (mut reader, mut writer) = tcp.into_split();
    let dripping = tokio::spawn(async move {
        let mut drips = tokio::time::interval(SHORT / 10);
        for byte in
            std::iter::once(0x81).chain(std::iter::once(0xe0)).chain([0; 4]).chain([b' '; 96])
        {
            drips.tick().await;
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE / 2, reader.read_to_end(&mut all)).await;
    assert!(read.is_ok() && all[2..4] == 4001_u16.to_be_bytes(), "{all:?}");
    dripping.abort();
    // Who has said it stays.
    let mut anna = Person::come(&door.url(), "anna", 1).await;
    tokio::time::sleep(SHORT * 4).await;
    anna.say(json!({"op": "ping"}));
    anna.told("pong").await;
    door.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_does_not_end_closes_its_connection() {
    let door = door(WsLimits { message: SHORT, ..WsLimits::default() }).await;
    let mut tcp = Person::come(&door.url(), "anna", 1).await.client.into_tcp();
    tcp.write_all(&[0x01, 0x81, 0, 0, 0, 0, b'{']).await.unwrap();
    let mut all = Vec::new();
    tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut all)).await.unwrap().unwrap();
    assert_eq!(all[2..4], 4009_u16.to_be_bytes());
    door.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_other_end_is_gone_is_noticed_and_one_that_answers_stays() {
    let door = door(WsLimits { silence: SHORT, pong: SHORT, ..WsLimits::default() }).await;
    let mut watcher = Person::come(&door.url(), "anna", 1).await;
    let mut half_open = Person::come(&door.url(), "billy", 2).await.client.into_tcp();
    // He reads, as his system would, and nobody is there to answer.
    let mut all = Vec::new();
    let gone = half_open.read_to_end(&mut all);
    let (read, ()) = tokio::join!(tokio::time::timeout(PATIENCE, gone), async {
        let quiet = tokio::time::timeout(SHORT * 5, watcher.client.next()).await;
        assert!(quiet.is_err(), "nothing is told: {quiet:?}");
    });
    read.unwrap().unwrap();
    assert_eq!(all[..2], [0x89, 0], "a ping");
    assert_eq!(all[4..6], 4009_u16.to_be_bytes());
    watcher.say(json!({"op": "ping"}));
    watcher.told("pong").await;
    door.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_closed_and_delays_nobody() {
    let door = door(WsLimits { write: SHORT * 5, ..WsLimits::default() }).await;
    let deaf = Person::come(&door.url(), "deaf", 1).await.client.into_tcp();
    let mut billy = Person::come(&door.url(), "billy", 2).await;
    let mut anna = Person::come(&door.url(), "anna", 3).await;
    let body = format!("\"{}\"", "x".repeat(8 * 1024));
    // He does not even say that he has received what he has: he is closed for that, at last.
    let (mut n, mut ended) = (0, false);
    let began = Instant::now();
    while !ended {
        assert!(began.elapsed() < PATIENCE, "after {n} messages");
        n += 1;
        anna.client.say_send(2 * n - 1, ("to", "deaf"), &body);
        anna.client.say_send(2 * n, ("to", "billy"), "1");
        anna.client.turn(&mut |_| ControlFlow::Continue(())).await.unwrap();
        let message = billy.told("message").await;
        assert_eq!(message["n"], n);
        billy.client.say_received(n);
        billy.client.turn(&mut |_| ControlFlow::Continue(())).await.unwrap();
        while let Ok(told) = tokio::time::timeout(Duration::ZERO, anna.hear()).await {
            ended |= told.unwrap()["outcome"] != "delivered";
        }
    }
    drop(deaf);
    door.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_asks_and_never_reads_is_closed() {
    let door = door(WsLimits { write: SHORT * 3, ..WsLimits::default() }).await;
    let mut tcp = Person::arrive(&door.url()).await.client.into_tcp();
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'x'; 125]].concat().repeat(100);
    let gone = async { while tcp.write_all(&ping).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the node closes");
    door.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_gets_everything() {
    let node = start().await;
    let mut billy = Person::come(&node.url(), "billy", 2).await;
    let mut anna = Person::come(&node.url(), "anna", 3).await;
    let body = format!("\"{}\"", "x".repeat(4 * 1024));
    for n in 1..=200 {
        anna.client.say_send(n, ("to", "billy"), &body);
    }
    let sending = async {
        while anna.client.unwritten() > 0 {
            anna.client.turn(&mut |_| ControlFlow::Continue(())).await.unwrap();
        }
    };
    let reading = async {
        for n in 1..=200 {
            let message = billy.told("message").await;
            assert_eq!(message["m"], n);
            billy.client.say_received(n);
            if n % 10 == 0 {
                tokio::time::sleep(SHORT / 10).await;
            }
        }
    };
    tokio::join!(sending, reading);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_elsewhere_that_speaks_too_fast_is_closed() {
    let door = door(WsLimits::default()).await;
    let limits = HttpLimits::default();
    let slot = Arc::new(Connections::new(&limits)).enter([127, 0, 0, 1].into(), Instant::now());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    let (_stop, stop) = watch::channel(false);
    let port = Arc::new(Port::new(Policy::default(), limits.clone()));
    let socketio = crate::gateway::socketio::Gateway::new(false, None);
    let doors =
        Arc::new(Doors { node: door.node.clone(), links: no_links(), port, socketio, stop });
    Socket::new(doors, Principal::Owner, ours, slot.unwrap(), false).start();
    let burst = limits.ws.texts_burst as usize;
    let text = b"{\"op\":\"ping\"}";
    let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text].concat();
    theirs.write_all(&frame.repeat(2 * burst)).await.unwrap();
    let mut all = Vec::new();
    tokio::time::timeout(PATIENCE, theirs.read_to_end(&mut all)).await.unwrap().unwrap();
    let pongs = all.windows(4).filter(|four| four == b"pong").count();
    assert!((burst..burst + burst / 2).contains(&pongs), "{pongs}");
    assert!(all.windows(2).any(|two| two == 4029_u16.to_be_bytes()));
    door.node.close().await;
}
