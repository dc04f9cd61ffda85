//! How two nodes get to know each other on a fresh WebSocket, message by message.
//!
//! | dialler                  | acceptor                     |                                   |
//! |--------------------------|------------------------------|-----------------------------------|
//! | hello                    | hello                        | in the clear, in either order     |
//! | Noise 1                  |                              |                                   |
//! |                          | Noise 2                      |                                   |
//! | Noise 3                  |                              | here a wrong secret is noticed    |
//! | sealed proof             | sealed proof                 | in either order                   |
//!
//! Promise: at the end each side knows that the other has the network's secret and the key of the
//! node that it says it is. The hellos are the prologue of the Noise handshake, each with its
//! length before it, so nobody in between can change the offered versions or shift bytes from
//! one to the other. A proof is a signature over the handshake's hash: it fits this handshake
//! only, and one's own is not accepted back. Limits: `HELLO_BYTES_MAX`, `HANDSHAKE_PAUSE`.

use super::noise::{Handshake, Opener, Sealer, StaticKey, TAG_BYTES};
use super::refused::Refused;
use super::websocket::{broken, next};
use crate::identity::Keys;
use crate::network::Network;
use crate::runtime::wall_ms;
use bytes::Bytes;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::identity::Identity;
use folkmoot_core::limits::HELLO_BYTES_MAX;
use folkmoot_core::mesh::handshake::{Hello, Proof};
use futures_util::SinkExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Time for everything from the dialled address to the last proof.
pub(super) const HANDSHAKE_PAUSE: Duration = Duration::from_secs(10);

/// Who this node is, as links say it.
pub(super) struct Local {
    pub(super) keys: Keys,
    pub(super) network: Arc<Network>,
    pub(super) boot: u64,
    pub(super) static_key: StaticKey,
}

/// What a handshake yields.
pub(super) struct Known {
    pub(super) proof: Proof,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

/// Gets to know the other side.
pub(super) async fn shake<S>(
    socket: &mut WebSocketStream<S>,
    side: Side,
    local: &Local,
) -> Result<Known, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let prologue = hellos(socket, side, local).await?;
    let psk = &local.network.psk;
    let noise = match side {
        Side::Dialler => {
            let mut noise = Handshake::dialler(psk, &local.static_key, &prologue);
            send(socket, noise.write()).await?;
            let second = next(socket).await?;
            noise.read(&second).map_err(|_| Refused::Malformed)?;
            send(socket, noise.write()).await?;
            noise
        }
        Side::Acceptor => {
            let mut noise = Handshake::acceptor(psk, &local.static_key, &prologue);
            let first = next(socket).await?;
            noise.read(&first).map_err(|_| Refused::Malformed)?;
            send(socket, noise.write()).await?;
            let third = next(socket).await?;
            noise.read(&third).map_err(|_| Refused::Secret)?;
            noise
        }
    };
    let (hash, mut sealer, mut opener) = noise.finish();
    let id = local.network.id;
    let own = Proof::new(&local.keys, id, &hash, local.boot, wall_ms());
    send(socket, sealer.seal(&own.encode())).await?;
    let sealed = short(next(socket).await?, HELLO_BYTES_MAX + TAG_BYTES)?;
    let proof = opener.open(&sealed).map_err(|_| Refused::Secret)?;
    let proof = Proof::decode(proof).map_err(|_| Refused::Malformed)?;
    if proof.node == local.keys.node() {
        return Err(Refused::Itself);
    }
    proof.check(&local.keys, id, &hash)?;
    Ok(Known { proof, sealer, opener })
}

/// Exchanges the hellos; answers the prologue, in which the dialler's comes first.
async fn hellos<S>(
    socket: &mut WebSocketStream<S>,
    side: Side,
    local: &Local,
) -> Result<Vec<u8>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = Hello::new(local.network.id);
    let ours = hello.encode();
    send(socket, ours.clone()).await?;
    let theirs = short(next(socket).await?, HELLO_BYTES_MAX)?;
    let their_hello = Hello::decode(theirs.clone())?;
    match hello.agree(&their_hello) {
        Err(ErrorCode::Network) => {
            return Err(Refused::Network { ours: hello.network, theirs: their_hello.network });
        }
        other => other?,
    };
    Ok(match side {
        Side::Dialler => prologue(&ours, &theirs),
        Side::Acceptor => prologue(&theirs, &ours),
    })
}

fn prologue(dialler: &[u8], acceptor: &[u8]) -> Vec<u8> {
    let length = |hello: &[u8]| {
        u16::try_from(hello.len()).expect("hellos are at most 512 bytes").to_be_bytes()
    };
    [&length(dialler)[..], dialler, &length(acceptor)[..], acceptor].concat()
}

async fn send<S>(socket: &mut WebSocketStream<S>, bytes: Bytes) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match socket.send(Message::Binary(bytes)).await {
        Ok(()) => Ok(()),
        // The reason why the other side does not listen any more may be there to be read.
        Err(error) => Err(match next(socket).await {
            Err(told @ Refused::Told(_)) => told,
            _ => broken(error),
        }),
    }
}

fn short(bytes: Bytes, bytes_max: usize) -> Result<Bytes, Refused> {
    if bytes.len() > bytes_max { Err(Refused::Malformed) } else { Ok(bytes) }
}
