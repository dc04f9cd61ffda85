//! `/link`: where other nodes come in. The rest is done by the link layer, which asks for the
//! network's secret before anything else.

use super::Shared;
use super::error::{Problem, Refusal};
use super::guard::Ends;
use super::upgrade;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;

pub(super) async fn upgrade(
    State(doors): Shared,
    mut request: Request<Body>,
) -> Result<Response, Refusal> {
    let ends = *request.extensions().get::<Ends>().ok_or(Problem::Upgrade)?;
    let links = doors.links.clone();
    upgrade::answer(&mut request, async move |tcp, _slot| {
        // From here on the link layer keeps the deadlines.
        links.accept(tcp, ends.remote).await;
    })
}
