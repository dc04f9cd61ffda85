//! `GET /v1/ws`: chat, presence and data watches over one WebSocket, as `docs/chat.md` says.
//!
//! One task serves one socket. What a client says is read ([`said`]), gathered ([`posts`]) and
//! handed to the engine; what the engine tells is written ([`told`]). [`talk`] is all of that
//! without a socket, [`socket`] the bytes, [`times`] the time; [`flights`] holds a sender back, and
//! [`watches`] are those of data.

mod flights;
mod posts;
mod said;
mod socket;
mod talk;
mod times;
pub(super) mod told;
mod watches;

#[cfg(test)]
mod tests;

use super::Shared;
use super::error::{Problem, Refusal};
use super::guard::Ends;
use super::upgrade;
use super::who::Who;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use socket::Socket;

pub(super) async fn upgrade(
    State(doors): Shared,
    Who(principal): Who,
    mut request: Request<Body>,
) -> Result<Response, Refusal> {
    let ends = *request.extensions().get::<Ends>().ok_or(Problem::Upgrade)?;
    let is_local = ends.remote.ip().to_canonical().is_loopback();
    upgrade::answer(&mut request, async move |tcp, slot| {
        Socket::new(doors, principal, tcp, slot, is_local).start();
    })
}
