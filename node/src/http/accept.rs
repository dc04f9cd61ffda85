//! The accept loop, and what happens to every request before and after its route.
//!
//! Promise: no client holds a connection without using it (`deadline.rs`), nor more than its
//! share (`connections.rs`), nor asks more often; running out of files slows the loop down and does not spin it; on
//! shutdown nothing new is accepted, requests under way are answered, and streams end.
//! HTTP/1.1 only, nothing is compressed; sockets are set as `socket.rs` says.

use super::Port;
use super::deadline::{Pulse, Timed};
use super::error::Problem;
use super::guard::Ends;
use super::limits::{HEAD_BYTES_MAX, HEADERS_MAX, READ_BYTES_MAX};
use crate::socket;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower_service::Service as _;

/// The pause after a connection could not be accepted; doubles while that lasts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Answers on `listener` with `router` until `stop` says so; returns when the requests that were
/// under way are answered, or have had their time.
pub(crate) async fn run(
    listener: TcpListener,
    router: Router,
    port: Arc<Port>,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX);
    // Every connection holds a sender; there are none left when all are closed.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut pause = PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) if is_of_the_client(&error) => continue,
            Err(error) => {
                tracing::warn!("cannot accept connections: {error}; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            }
        };
        pause = PAUSE_MIN;
        if let Some((io, doorway)) = admit(tcp, &router, &port) {
            let connection = http.serve_connection(TokioIo::new(io), doorway).with_upgrades();
            let (open, mut stop, drain) = (open.clone(), stop.clone(), port.limits.drain);
            tokio::spawn(async move {
                let _open = open;
                tokio::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = stopped(&mut stop) => {
                        connection.as_mut().graceful_shutdown();
                        tokio::time::timeout(drain, connection).await.unwrap_or(Ok(()))
                    }
                };
                if let Err(error) = ended {
                    tracing::debug!("a connection ended: {error}");
                }
            });
        }
    }
    drop((listener, open));
    let _ = all_closed.recv().await;
}

/// Waits until the node shuts down, or whoever could say so is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether only one client is concerned: it gave up before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::Interrupted)
}

fn admit(tcp: TcpStream, router: &Router, port: &Arc<Port>) -> Option<(Timed, Doorway)> {
    let ends = Ends { remote: tcp.peer_addr().ok()?, local: tcp.local_addr().ok()? };
    let Some(slot) = port.connections.enter(ends.remote.ip(), Instant::now()) else {
        tracing::debug!("turned {} away: too many connections", ends.remote);
        return None;
    };
    socket::prepare(&tcp).ok()?;
    let pulse = Pulse::default();
    let io = Timed::new(tcp, slot, pulse.clone(), &port.limits);
    Some((io, Doorway { router: router.clone(), port: port.clone(), pulse, ends }))
}

/// What every request of one connection goes through.
struct Doorway {
    router: Router,
    port: Arc<Port>,
    pulse: Pulse,
    ends: Ends,
}

impl hyper::service::Service<Request<Incoming>> for Doorway {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pulse.busy();
        let (router, port, pulse) = (self.router.clone(), self.port.clone(), self.pulse.clone());
        let ends = self.ends;
        Box::pin(async move {
            let mut response = answer(router, &port, ends, request.map(Body::new)).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                pulse.upgraded();
            } else if response.body().size_hint().exact().is_some() {
                pulse.answered();
            } else {
                response = response.map(|inner| Body::new(Streamed { inner, pulse }));
            }
            Ok(response)
        })
    }
}

/// One request, from the guard to the headers that every answer has.
pub(crate) async fn answer(
    mut router: Router,
    port: &Port,
    ends: Ends,
    mut request: Request<Body>,
) -> Response {
    request.extensions_mut().insert(ends);
    let (head, body) = request.into_parts();
    let seed = head.uri.path().starts_with("/api");
    let checked = match port.connections.may_ask(ends.remote.ip(), Instant::now()) {
        true => port.policy.check(ends, &head),
        false => Err(Problem::TooMany.into()),
    };
    let (origin, response) = match checked {
        Err(refusal) if seed => (None, refusal.in_seed_words().into_response()),
        Err(refusal) => (None, refusal.into_response()),
        Ok(Some(origin)) if head.method == Method::OPTIONS => (Some(origin), preflight()),
        Ok(origin) => {
            let who = port.policy.who(head.uri.path());
            let mut request = Request::from_parts(head, body);
            request.extensions_mut().insert(who);
            let response = router.call(request).await.unwrap_or_else(|never| match never {});
            (origin, response)
        }
    };
    port.count(response.status());
    finish(response, origin)
}

/// What a page of another, allowed origin may ask for.
fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, PUT, POST, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "content-type, if-match, if-none-match, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        // There are no cookies here; clients of Socket.IO ask all the same.
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn finish(mut response: Response, origin: Option<HeaderValue>) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    let own = match origin {
        None => "same-origin",
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static(super::EXPOSED_HEADERS);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
            "cross-origin"
        }
    };
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static(own));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// A body of unknown length: the answer is made when it ends.
struct Streamed {
    inner: Body,
    pulse: Pulse,
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.pulse.answered();
    }
}

impl HttpBody for Streamed {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
