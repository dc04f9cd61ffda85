//! On whose behalf a request is answered: told by the guard, never by the request.

use super::Doors;
use crate::store::Snapshot;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use folkmoot_core::access::{Action, Principal, check};
use folkmoot_core::error::ErrorCode;
use std::convert::Infallible;

/// The principal of a request; nobody for one that the guard has not seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Who, Infallible> {
        Ok(head.extensions.get().copied().unwrap_or(Who(Principal::Anonymous)))
    }
}

impl Doors {
    /// The newest state that is on disk, for those who may read it.
    pub(crate) fn read(&self, who: Who) -> Result<Snapshot, ErrorCode> {
        check(who.0, Action::Read)?;
        Ok(self.node.snapshot())
    }
}
