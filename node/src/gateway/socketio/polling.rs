//! Long polling: a GET brings what waits, or waits for it; a POST brings what the client says.
//!
//! Promise: a GET whose client is gone loses nothing, the next one gets it. A POST is answered
//! once the socket has it, so a client cannot send faster than it is read.
//! Limits: `INBOUND_MAX`, `TEXT_BYTES_MAX`, [`Bounds`](super::engine_io::Bounds).

use super::driver::{Carrier, Driver, Inbound, Polling};
use super::engine_io::{self, Protocol};
use super::session::Session;
use super::{Guest, Refused, Socket, new_id};
use crate::http::{Doors, body};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Requests of one socket that wait for it.
const INBOUND_MAX: usize = 4;
/// Bytes of an answer in text to a client that reads bytes, too: version 1 in a browser hands all
/// of them to one call of a function as its arguments, and larger answers in bytes it does not.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The first GET: opens a socket and answers with its handshake.
pub(super) async fn open(
    doors: &Arc<Doors>,
    protocol: Protocol,
    reads_bytes: bool,
    guest: Guest,
) -> Result<Response, Refused> {
    let (gateway, id) = (&doors.socketio, new_id());
    let (socket, inbound) = socket(protocol, reads_bytes);
    let place = gateway.enter(&id, guest.remote.ip(), socket.clone()).ok_or(Refused::Full)?;
    let session = Session::open(protocol, id, true, Instant::now());
    let carrier = Carrier::Polling(Polling::new(inbound, place));
    let driver = Driver::new(gateway.clone(), doors.node.clone(), guest, session, carrier);
    tokio::spawn(driver.run(doors.stop.clone()));
    poll(socket).await
}

/// Where requests find a socket, and where it finds what they bring.
fn socket(protocol: Protocol, reads_bytes: bool) -> (Socket, mpsc::Receiver<Inbound>) {
    let (sender, inbound) = mpsc::channel(INBOUND_MAX);
    (Socket { protocol, reads_bytes, inbound: sender }, inbound)
}

/// A GET.
pub(super) async fn poll(socket: Socket) -> Result<Response, Refused> {
    let (answer, packets) = oneshot::channel();
    let sent = socket.inbound.send(Inbound::Poll(answer)).await;
    sent.map_err(|_| Refused::UnknownId)?;
    let packets = packets.await.map_err(|_| Refused::UnknownId)?;
    let text = engine_io::encode_payload(socket.protocol, &packets);
    let (kind, payload) = if socket.reads_bytes && text.len() > TEXT_BYTES_MAX {
        ("application/octet-stream", engine_io::encode_framed(&packets))
    } else {
        ("text/plain; charset=UTF-8", text)
    };
    Ok(([(header::CONTENT_TYPE, kind), NOT_KEPT], payload).into_response())
}

/// A POST.
pub(super) async fn post(
    doors: &Arc<Doors>,
    socket: Socket,
    remote: SocketAddr,
    request: Request,
) -> Result<Response, Refused> {
    let bounds = doors.socketio.bounds(remote);
    let (head, body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let binary = kind == Some(b"application/octet-stream");
    let read = body::bytes(&head.headers, body, bounds.payload_bytes, doors.limits()).await;
    let body = read.map_err(|_| Refused::TooLarge)?;
    let packets = engine_io::decode_payload(socket.protocol, &body, binary, bounds);
    let (inbound, answer) = match packets {
        Ok(packets) => (Inbound::Packets(packets), Ok(())),
        Err(bad) => (Inbound::Malformed(bad.0), Err(Refused::Request)),
    };
    socket.inbound.send(inbound).await.map_err(|_| Refused::UnknownId)?;
    answer?;
    Ok(([(header::CONTENT_TYPE, "text/html"), NOT_KEPT], "ok").into_response())
}

const NOT_KEPT: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn so_many_requests_wait_for_a_socket_and_one_more_for_room() {
        let (socket, mut inbound) = socket(Protocol::Four, false);
        let poll = |_| Box::pin(poll(socket.clone()));
        let mut polls: Vec<_> = (0..=INBOUND_MAX).map(poll).collect();
        assert!(polls.iter_mut().all(|poll| poll.now_or_never().is_none()));
        assert_eq!(inbound.len(), INBOUND_MAX);
        assert!(inbound.recv().await.is_some());
        assert!(polls.iter_mut().skip(1).all(|poll| poll.now_or_never().is_none()));
        assert_eq!(inbound.len(), INBOUND_MAX);
    }

    #[tokio::test]
    async fn the_largest_answer_in_text_is_followed_by_one_in_bytes_for_who_reads_them() {
        let answered = async |bytes: usize, protocol, reads_bytes| {
            let (socket, mut inbound) = socket(protocol, reads_bytes);
            let answer = async {
                let Some(Inbound::Poll(answer)) = inbound.recv().await else { panic!("no poll") };
                answer.send(vec![vec![b'4'; bytes].into()]).unwrap();
            };
            let (response, ()) = tokio::join!(poll(socket), answer);
            let response = response.unwrap();
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (kind, body.len())
        };
        let text = |bytes| ("text/plain; charset=UTF-8".to_owned(), bytes);
        // Behind five digits and a colon.
        let most = TEXT_BYTES_MAX - 6;
        assert_eq!(answered(most, Protocol::Three, true).await, text(TEXT_BYTES_MAX));
        let framed = ("application/octet-stream".to_owned(), TEXT_BYTES_MAX + 2);
        assert_eq!(answered(most + 1, Protocol::Three, true).await, framed);
        assert_eq!(answered(most + 1, Protocol::Three, false).await, text(TEXT_BYTES_MAX + 1));
        assert_eq!(answered(most + 1, Protocol::Four, false).await, text(most + 1));
    }
}
