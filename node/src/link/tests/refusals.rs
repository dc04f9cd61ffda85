//! Those who do not keep to the protocol: what they are told, and that nothing else happens.

use super::super::handshake::{Known, shake};
use super::*;
use folkmoot_core::limits::HELLO_BYTES_MAX;
use folkmoot_core::mesh::handshake::{Hello, Proof};
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

type Socket<S> = WebSocketStream<S>;

async fn dial(address: &str) -> Socket<TcpStream> {
    let address = Address::parse(address).unwrap();
    websocket::dialled(&address).await.unwrap()
}

fn local(network: &Arc<Network>) -> Local {
    let static_key = StaticKey::generate();
    Local { keys: Keys::generate(), network: network.clone(), boot: 1, static_key }
}

async fn send<S>(socket: &mut Socket<S>, bytes: impl Into<Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.send(Message::Binary(bytes.into())).await.unwrap();
}

/// The code and words with which the other side closes.
async fn told<S>(socket: &mut Socket<S>) -> (u16, String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap() {
            Ok(Message::Close(Some(frame))) => {
                return (frame.code.into(), frame.reason.to_string());
            }
            Ok(Message::Binary(_)) => {}
            other => panic!("not told why: {other:?}"),
        }
    }
}

/// A member of the network that may misbehave, linked to a node.
async fn member(node: &Node, network: &Arc<Network>) -> (Socket<TcpStream>, Known) {
    let mut socket = dial(&node.address).await;
    let known = shake(&mut socket, Side::Dialler, &local(network)).await.unwrap();
    (socket, known)
}

#[test]
fn strangers_are_told_why_and_the_next_node_is_let_in() {
    let runtime = runtime();
    let network = network(1, 1);
    let mut a = node(&runtime, &network);
    let hello = Hello::new(network.id);
    let future = Hello { version_min: 9, version_max: 200, ..hello };
    let other = Hello::new(folkmoot_core::id::NetworkId([2; 16]));
    let good = hello.encode();
    let first_words: [(&[&[u8]], u16); 8] = [
        (&[b"garbage"], 4301),
        (&[b""], 4301),
        (&[&good[..25]], 4301),
        (&[&[good.to_vec(), vec![0; 500]].concat()], 4301),
        (&[&future.encode()], 4306),
        (&[&other.encode()], 4305),
        (&[&good, b"no Noise message"], 4301),
        (&[&good, &[9; 48]], 4301),
    ];
    for (messages, code) in first_words {
        runtime.block_on(async {
            let mut socket = dial(&a.address).await;
            for message in messages {
                send(&mut socket, message.to_vec()).await;
            }
            assert_eq!(told(&mut socket).await.0, code, "{messages:?}");
        });
    }
    runtime.block_on(async {
        let mut socket = dial(&a.address).await;
        socket.send(Message::Text("hello".into())).await.unwrap();
        assert_eq!(told(&mut socket).await.0, 4301);
    });
    assert!(a.inputs.is_empty());
    runtime.block_on(member(&a, &network));
    a.inputs.link_up();
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_that_is_gone_without_a_word_is_noticed_by_the_system() {
    let runtime = runtime();
    let a = node(&runtime, &network(1, 1));
    let socket = runtime.block_on(dial(&a.address));
    crate::socket::tests::assert_prepared(socket.get_ref());
}

#[test]
fn a_repeated_frame_closes_the_link() {
    let runtime = runtime();
    let network = network(1, 1);
    let mut a = node(&runtime, &network);
    let (mut socket, mut known) = runtime.block_on(member(&a, &network));
    a.inputs.link_up();
    let told = runtime.block_on(async {
        let sealed = known.sealer.seal(b"pay 1");
        send(&mut socket, sealed.clone()).await;
        send(&mut socket, sealed).await;
        told(&mut socket).await
    });
    assert_eq!(told.0, 4303);
    assert_eq!(a.inputs.frame(), &b"pay 1"[..]);
    assert!(matches!(a.inputs.next(), Input::LinkDown(_)));
}

#[test]
fn a_frame_over_the_limit_closes_the_link_and_one_at_the_limit_does_not() {
    let runtime = runtime();
    let network = network(1, 1);
    let mut a = node(&runtime, &network);
    let (mut socket, mut known) = runtime.block_on(member(&a, &network));
    a.inputs.link_up();
    let most = vec![1; FRAME_BYTES_MAX];
    runtime.block_on(send(&mut socket, known.sealer.seal(&most)));
    assert_eq!(a.inputs.frame(), most);
    let over = known.sealer.seal(&[1; FRAME_BYTES_MAX + 1]);
    let told = runtime.block_on(async {
        send(&mut socket, over).await;
        told(&mut socket).await
    });
    assert_eq!(told.0, 4301);
    assert!(matches!(a.inputs.next(), Input::LinkDown(_)));
}

#[test]
fn the_engines_reason_for_a_close_is_told() {
    let runtime = runtime();
    let network = network(1, 1);
    let mut a = node(&runtime, &network);
    let (mut socket, _known) = runtime.block_on(member(&a, &network));
    let (link, ..) = a.inputs.link_up();
    a.links.close(link, "you were removed");
    let told = runtime.block_on(told(&mut socket));
    assert_eq!(told, (4000, "you were removed".to_owned()));
}

/// Somebody who knows the secret but not the key of the node that it wants to be.
#[test]
fn a_proof_that_was_made_elsewhere_is_refused() {
    let runtime = runtime();
    let network = network(1, 1);
    let mut a = node(&runtime, &network);
    let victim = Keys::generate();
    let id = network.id;
    let borrowed = Proof::new(&victim, id, b"the hash of another handshake", 1, 0);
    let mut unsigned = borrowed.encode().to_vec();
    unsigned.truncate(48);
    unsigned.extend([0; 64]);
    let codes = [Some(borrowed.encode()), Some(unsigned.into()), None].map(|proof| {
        runtime.block_on(async {
            let mut socket = dial(&a.address).await;
            let (mut sealer, mut opener) = noise_only(&mut socket, &network).await;
            let theirs = websocket::next(&mut socket).await.unwrap();
            let theirs = opener.open(&theirs).unwrap();
            send(&mut socket, sealer.seal(&proof.unwrap_or(theirs))).await;
            told(&mut socket).await.0
        })
    });
    assert_eq!(codes, [4304, 4304, 4308], "another's, nobody's, and the node's own sent back");
    assert!(a.inputs.is_empty());
}

#[test]
fn first_words_of_the_largest_size_are_taken_and_one_byte_more_is_refused() {
    let runtime = runtime();
    let network = network(1, 1);
    let mut a = node(&runtime, &network);
    // What stands behind is for newer versions.
    let padded = |bytes: &[u8], length: usize| {
        let mut padded = bytes.to_vec();
        padded.resize(length, 0);
        padded
    };
    let hello = |bytes| padded(&Hello::new(network.id).encode(), bytes);
    runtime.block_on(async {
        let mut socket = dial(&a.address).await;
        send(&mut socket, hello(HELLO_BYTES_MAX + 1)).await;
        assert_eq!(told(&mut socket).await.0, 4301);
    });
    for (length, code) in [(HELLO_BYTES_MAX + 1, Some(4301)), (HELLO_BYTES_MAX, None)] {
        runtime.block_on(async {
            let mut socket = dial(&a.address).await;
            let hello = hello(HELLO_BYTES_MAX);
            let (hash, mut sealer, _) = noise_after(&mut socket, &network, hello).await;
            let proof = Proof::new(&Keys::generate(), network.id, &hash, 1, 0).encode();
            send(&mut socket, sealer.seal(&padded(&proof, length))).await;
            if let Some(code) = code {
                assert_eq!(told(&mut socket).await.0, code);
                assert!(a.inputs.is_empty());
            } else {
                a.inputs.link_up();
            }
        });
    }
}

async fn noise_only(
    socket: &mut Socket<TcpStream>,
    network: &Network,
) -> (noise::Sealer, noise::Opener) {
    let hello = Hello::new(network.id).encode().to_vec();
    let (_, sealer, opener) = noise_after(socket, network, hello).await;
    (sealer, opener)
}

/// The encryption after a hello, and the hash that a proof is to sign.
async fn noise_after(
    socket: &mut Socket<TcpStream>,
    network: &Network,
    hello: Vec<u8>,
) -> (Vec<u8>, noise::Sealer, noise::Opener) {
    let theirs = Hello::new(network.id).encode();
    send(socket, hello.clone()).await;
    assert_eq!(websocket::next(socket).await.unwrap(), theirs);
    let length = u16::try_from(hello.len()).unwrap().to_be_bytes();
    let prologue = [&length, &hello[..], &[0, 26], &theirs[..]].concat();
    let key = StaticKey::generate();
    let mut noise = noise::Handshake::dialler(&network.psk, &key, &prologue);
    send(socket, noise.write()).await;
    noise.read(&websocket::next(socket).await.unwrap()).unwrap();
    send(socket, noise.write()).await;
    let (hash, sealer, opener) = noise.finish();
    (hash, sealer, opener)
}

/// Links whose other ends are in memory, so that time need not pass.
fn quiet_links(network: &Arc<Network>) -> (Links, Receiver) {
    let (inbox, receiver) = inbox();
    (Links::new(Keys::generate(), network.clone(), 1, inbox), receiver)
}

fn accepted(links: &Links, last: u8) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (ours, theirs) = duplex(256 * 1024);
    let (links, remote) = (links.clone(), SocketAddr::from(([192, 0, 2, last], 1)));
    (ours, tokio::spawn(async move { links.accept(theirs, remote).await }))
}

async fn as_client(io: DuplexStream) -> Socket<DuplexStream> {
    WebSocketStream::from_raw_socket(io, Role::Client, None).await
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_says_nothing_is_sent_away_after_ten_seconds() {
    let network = network(1, 1);
    let (links, _receiver) = quiet_links(&network);
    for words in 0..3 {
        let (io, _task) = accepted(&links, 1);
        let start = tokio::time::Instant::now();
        let mut socket = as_client(io).await;
        let hello = Hello::new(network.id).encode();
        let prologue = [&[0, 26], &hello[..], &[0, 26], &hello[..]].concat();
        let key = StaticKey::generate();
        let first = noise::Handshake::dialler(&network.psk, &key, &prologue).write();
        for message in [hello, first].into_iter().take(words) {
            send(&mut socket, message).await;
        }
        assert_eq!(told(&mut socket).await.0, 4309);
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn one_address_cannot_take_all_places_and_all_are_free_again_after_a_while() {
    let network = network(1, 1);
    let (links, _receiver) = quiet_links(&network);
    let mut silent = Vec::new();
    for _ in 0..strangers::STRANGERS_PER_ADDRESS_MAX {
        silent.push(accepted(&links, 1));
        tokio::task::yield_now().await;
    }
    let mut crowded = as_client(accepted(&links, 1).0).await;
    assert_eq!(told(&mut crowded).await.0, 4205);
    let mut other = as_client(accepted(&links, 2).0).await;
    shake(&mut other, Side::Dialler, &local(&network)).await.unwrap();
    for (io, task) in silent {
        drop(io);
        task.await.unwrap();
    }
    let mut again = as_client(accepted(&links, 1).0).await;
    shake(&mut again, Side::Dialler, &local(&network)).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the first words are: no panic, no link, and the task ends.
    #[test]
    fn no_first_words_break_anything(
        after_hello in any::<bool>(),
        as_messages in any::<bool>(),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let network = network(1, 1);
            let (links, receiver) = quiet_links(&network);
            let hello = after_hello.then(|| Hello::new(network.id).encode().to_vec());
            let (io, accepting) = accepted(&links, 1);
            attack(io, Role::Client, as_messages, hello.iter().chain(&messages)).await;
            accepting.await.unwrap();
            let (io, theirs) = duplex(256 * 1024);
            let dialling = tokio::spawn(async move {
                let mut socket = as_client(theirs).await;
                let local = local(&network);
                let shaking = shake(&mut socket, Side::Dialler, &local);
                tokio::time::timeout(HANDSHAKE_PAUSE, shaking).await.is_ok_and(|it| it.is_ok())
            });
            attack(io, Role::Server, as_messages, hello.iter().chain(&messages)).await;
            assert!(!dialling.await.unwrap());
            let mut inputs = Vec::new();
            receiver.receive(&mut inputs, Some(Instant::now()));
            assert!(inputs.is_empty());
        });
    }
}

async fn attack<'a>(
    mut io: DuplexStream,
    role: Role,
    as_messages: bool,
    messages: impl Iterator<Item = &'a Vec<u8>>,
) {
    if as_messages {
        let mut socket = WebSocketStream::from_raw_socket(io, role, None).await;
        for message in messages {
            if socket.send(Message::Binary(message.clone().into())).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = socket.next().await {}
    } else {
        for message in messages {
            if io.write_all(message).await.is_err() {
                return;
            }
        }
    }
}
