//! What is the same for everybody: the front door, the description of the interface, and whether
//! the node lives and is ready.

use super::Shared;
use super::data::json_response;
use super::error::Refusal;
use super::guard::Ends;
use super::who::Who;
use super::{mesh, ui};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// The description of all routes, written by hand; a test holds it against the route table.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// The shell for browsers, and for others what to try.
pub(super) async fn index(
    State(doors): Shared,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
) -> Response {
    if ui::wants_page(&headers) {
        return ui::index(ends, &headers);
    }
    let (url, node, network) = (doors.node.url(), doors.node.id(), doors.node.network());
    let text = format!(
        "Folkmoot {version}\n\
         \n\
         node     {node}\n\
         network  {network}\n\
         \n\
         Values that are put on one node of a mesh are on all of them at once. Try:\n\
         \n\
         curl -X PUT {url}/api/greetings/hello \\\n     \
              -H 'content-type: application/json' -d '{{\"message\":\"Hello World!\"}}'\n\
         curl {url}/api/greetings/hello\n\
         curl {url}/api/scan/greetings\n\
         curl -N {url}/v1/watch?prefix=greetings\n\
         \n\
         Its state:         {url}/v1/status, {url}/v1/mesh, {url}/metrics\n\
         All there is:      {url}/openapi.json\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::VARY, "accept")];
    (kind, text).into_response()
}

pub(super) async fn openapi() -> Response {
    json_response(Bytes::from_static(OPENAPI.as_bytes()))
}

/// The process lives and answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The engine answers, so requests will be served.
pub(super) async fn readyz(State(doors): Shared, who: Who) -> Result<&'static str, Refusal> {
    mesh::ask_status(&doors, who).await.map(|_| "ready\n")
}
