//! Two nodes over loopback sockets: the wiring, and what is refused on it.

mod refusals;

use super::*;
use crate::inbox::{Receiver, inbox};
use crate::network::derive_id;
use folkmoot_core::id::NodeId;
use folkmoot_core::identity::Identity;
use folkmoot_core::limits::FRAME_BYTES_MAX;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use zeroize::Zeroizing;

const DEADLINE: Duration = Duration::from_secs(20);

/// A network by name, without the cost of deriving it.
pub(super) fn network(name: u8, psk: u8) -> Arc<Network> {
    Arc::new(Network {
        id: folkmoot_core::id::NetworkId([name; 16]),
        secret: Zeroizing::new(String::new()),
        psk: Zeroizing::new([psk; 32]),
    })
}

/// Links with the inbox of an engine that is played by the test.
pub(super) struct Node {
    pub(super) links: Links,
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) inputs: Inputs,
}

pub(super) struct Inputs {
    receiver: Receiver,
    waiting: VecDeque<Input>,
}

impl Inputs {
    /// The next input; fails after the deadline.
    pub(super) fn next(&mut self) -> Input {
        if self.waiting.is_empty() {
            let mut batch = Vec::new();
            self.receiver.receive(&mut batch, Some(Instant::now() + DEADLINE));
            self.waiting.extend(batch);
        }
        self.waiting.pop_front().expect("an input within the deadline")
    }

    pub(super) fn link_up(&mut self) -> (LinkId, NodeId, Option<String>) {
        match self.next() {
            Input::LinkUp { link, node, dialled, .. } => (link, node, dialled),
            other => panic!("no link came up: {other:?}"),
        }
    }

    pub(super) fn frame(&mut self) -> Bytes {
        match self.next() {
            Input::Frame(_, frame) => frame,
            other => panic!("no frame came: {other:?}"),
        }
    }

    fn dial_failed(&mut self) -> String {
        match self.next() {
            Input::DialFailed(_, why) => why,
            other => panic!("the dial did not fail: {other:?}"),
        }
    }

    pub(super) fn is_empty(&mut self) -> bool {
        let mut batch = Vec::new();
        self.receiver.receive(&mut batch, Some(Instant::now()));
        self.waiting.extend(batch);
        self.waiting.is_empty()
    }
}

pub(super) fn node(runtime: &Runtime, network: &Arc<Network>) -> Node {
    let (inbox, receiver) = inbox();
    let keys = Keys::generate();
    let (id, boot) = (keys.node(), 7);
    let (links, address) = runtime.block_on(async {
        let links = Links::new(keys, network.clone(), boot, inbox);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, links.clone()));
        (links, address)
    });
    let inputs = Inputs { receiver, waiting: VecDeque::new() };
    Node { links, id, address, inputs }
}

#[expect(clippy::result_large_err, reason = "the library's type")]
async fn serve(listener: TcpListener, links: Links) {
    loop {
        let (stream, remote) = listener.accept().await.unwrap();
        let links = links.clone();
        tokio::spawn(async move {
            let check = |request: &Request, response: Response| {
                assert_eq!(request.uri().path(), "/link");
                Ok(response)
            };
            let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else {
                return;
            };
            links.accept(socket.into_inner(), remote).await;
        });
    }
}

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Two nodes and the names of the link between them.
fn linked(runtime: &Runtime) -> (Node, LinkId, Node, LinkId) {
    let network = network(1, 1);
    let (mut a, mut b) = (node(runtime, &network), node(runtime, &network));
    a.links.dial(b.address.clone());
    let (at_a, node_at_a, dialled) = a.inputs.link_up();
    assert_eq!((node_at_a, dialled), (b.id, Some(b.address.clone())));
    let (at_b, node_at_b, dialled) = b.inputs.link_up();
    assert_eq!((node_at_b, dialled), (a.id, None));
    (a, at_a, b, at_b)
}

#[test]
fn two_nodes_link_and_exchange_frames_in_order() {
    let runtime = runtime();
    let (mut a, at_a, mut b, at_b) = linked(&runtime);
    let sizes = [0, 1, 100, 4_096, FRAME_BYTES_MAX].into_iter().cycle().take(500);
    let frames: Vec<Bytes> = (0_u8..=255).cycle().zip(sizes).map(frame).collect();
    for frame in &frames {
        a.links.send(&mut vec![(at_a, frame.clone())]);
        b.links.send(&mut vec![(at_b, frame.clone())]);
    }
    for frame in &frames {
        assert!(a.inputs.frame() == frame && b.inputs.frame() == frame);
    }

    fn frame((fill, size): (u8, usize)) -> Bytes {
        vec![fill; size].into()
    }
}

#[test]
fn closing_a_link_sends_what_was_handed_over_before_and_both_hear_of_the_end() {
    let runtime = runtime();
    let (mut a, at_a, mut b, at_b) = linked(&runtime);
    for _ in 0..100 {
        a.links.send(&mut vec![(at_a, Bytes::from(vec![1; 10_000]))]);
    }
    a.links.close(at_a, "enough");
    a.links.send(&mut vec![(at_a, Bytes::from_static(b"too late"))]);
    for _ in 0..100 {
        assert_eq!(b.inputs.frame().len(), 10_000);
    }
    assert!(matches!(b.inputs.next(), Input::LinkDown(link) if link == at_b));
    assert!(matches!(a.inputs.next(), Input::LinkDown(link) if link == at_a));
    runtime.block_on(async { tokio::join!(a.links.shutdown(), b.links.shutdown()) });
    assert!(a.links.live().is_empty() && b.links.live().is_empty());
    assert!(a.inputs.is_empty() && b.inputs.is_empty());
}

#[test]
fn a_shutdown_closes_all_links_and_refuses_new_ones() {
    let runtime = runtime();
    let (mut a, _, mut b, _) = linked(&runtime);
    runtime.block_on(a.links.shutdown());
    assert!(matches!(a.inputs.next(), Input::LinkDown(_)));
    assert!(matches!(b.inputs.next(), Input::LinkDown(_)));
    b.links.dial(a.address.clone());
    assert!(b.inputs.dial_failed().contains("shutting down"));
    a.links.dial(b.address.clone());
    assert!(a.inputs.dial_failed().contains("shutting down"));
}

#[test]
fn a_node_that_is_killed_is_missed_by_its_neighbor() {
    let (ours, theirs) = (runtime(), runtime());
    let network = network(1, 1);
    let (mut a, mut b) = (node(&ours, &network), node(&theirs, &network));
    a.links.dial(b.address.clone());
    a.inputs.link_up();
    b.inputs.link_up();
    theirs.shutdown_background();
    assert!(matches!(a.inputs.next(), Input::LinkDown(_)));
    assert!(matches!(b.inputs.next(), Input::LinkDown(_)), "also when its task is dropped");
}

#[test]
fn a_neighbor_that_reads_slowly_is_full_and_then_drained() {
    let runtime = runtime();
    let (mut a, at_a, mut b, _) = linked(&runtime);
    let frame = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    let mut sent = 0;
    // The engine of b does not take anything, so b does not read, so a cannot write.
    while a.inputs.is_empty() {
        a.links.send(&mut vec![(at_a, frame.clone())]);
        sent += 1;
        std::thread::yield_now();
    }
    assert!(matches!(a.inputs.next(), Input::LinkFull(link) if link == at_a));
    for _ in 0..sent {
        assert_eq!(b.inputs.frame().len(), FRAME_BYTES_MAX);
    }
    assert!(matches!(a.inputs.next(), Input::LinkDrained(link) if link == at_a));
}

#[test]
fn a_neighbor_that_does_not_read_at_all_is_closed_at_the_limit() {
    let runtime = runtime();
    let (mut a, at_a, _b, _) = linked(&runtime);
    let frame = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    while !a.links.live().is_empty() {
        a.links.send(&mut vec![(at_a, frame.clone())]);
        std::thread::yield_now();
    }
    assert!(matches!(a.inputs.next(), Input::LinkFull(_)));
    assert!(matches!(a.inputs.next(), Input::LinkDown(_)));
    assert!(a.inputs.is_empty());
}

#[test]
fn a_node_with_another_secret_is_refused_and_told_what_to_do() {
    let runtime = runtime();
    let (mut a, mut b) = (node(&runtime, &network(1, 1)), node(&runtime, &network(1, 2)));
    a.links.dial(b.address.clone());
    let why = a.inputs.dial_failed();
    assert!(why.contains("wrong network secret: use `folkmoot join`"), "{why}");
    assert!(b.inputs.is_empty());
}

#[test]
fn a_node_of_another_network_is_refused_and_told_what_to_do() {
    let runtime = runtime();
    let (mut a, mut b) = (node(&runtime, &network(1, 1)), node(&runtime, &network(2, 1)));
    a.links.dial(b.address.clone());
    let why = a.inputs.dial_failed();
    assert!(why.contains("another network (0202") && why.contains("invite line"), "{why}");
    assert!(b.inputs.is_empty());
}

#[test]
fn a_node_that_dials_itself_is_told_so() {
    let runtime = runtime();
    let mut a = node(&runtime, &network(1, 1));
    a.links.dial(a.address.clone());
    let why = a.inputs.dial_failed();
    assert!(why.contains("the address is this node's own") || why.contains("my node key"), "{why}");
}

#[test]
fn an_address_where_no_node_answers_fails_with_the_reason() {
    let runtime = runtime();
    let mut a = node(&runtime, &network(1, 1));
    let closed = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    a.links.dial(address);
    let why = a.inputs.dial_failed();
    assert!(why.contains("refused"), "{why}");
    a.links.dial("https://example.org:443".into());
    let why = a.inputs.dial_failed();
    assert!(why.contains("https:// and wss:// cannot be dialled yet"), "{why}");
}

#[test]
fn a_secret_in_words_admits_and_another_does_not() {
    let runtime = runtime();
    let made = |secret: &str| {
        Arc::new(Network::new(derive_id("the first"), Zeroizing::new(secret.to_owned())))
    };
    let (old, new) = (made("the first"), made("the second"));
    let mut nodes = [node(&runtime, &old), node(&runtime, &new), node(&runtime, &new)];
    let address = nodes[2].address.clone();
    nodes[0].links.dial(address.clone());
    assert!(nodes[0].inputs.dial_failed().contains("secret"));
    nodes[1].links.dial(address);
    assert_eq!(nodes[1].inputs.link_up().1, nodes[2].id);
}

/// Prints figures.
#[test]
#[ignore = "a measurement"]
fn a_link_carries_many_small_frames_and_much_in_large_ones() {
    let runtime = runtime();
    for (bytes, count) in [(200, 200_000), (4_000, 100_000), (FRAME_BYTES_MAX, 5_000)] {
        let (a, at_a, b, _) = linked(&runtime);
        let start = Instant::now();
        let sending = std::thread::spawn(move || {
            let frame = Bytes::from(vec![7; bytes]);
            let mut inputs = a.inputs;
            for _ in 0..count {
                a.links.send(&mut vec![(at_a, frame.clone())]);
                if !inputs.is_empty() && matches!(inputs.next(), Input::LinkFull(_)) {
                    assert!(matches!(inputs.next(), Input::LinkDrained(_)));
                }
            }
            (a.links, inputs)
        });
        let (mut received, mut batch) = (0, Vec::new());
        while received < count {
            b.inputs.receiver.receive(&mut batch, Some(Instant::now() + DEADLINE));
            received += batch.len();
            batch.clear();
        }
        let seconds = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (frames, mb) = (count as f64 / seconds, (count * bytes) as f64 / seconds / 1e6);
        println!("frames of {bytes} bytes: {frames:.0}/s, {mb:.0} MB/s");
        sending.join().unwrap();
    }
}
