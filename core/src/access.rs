//! Who may do what. Every request carries a principal and passes one check.

use crate::chat::words::ChatRequest;
use crate::error::ErrorCode;
use crate::request::{DataRequest, MeshRequest, Request};

/// Who asks. It comes from how a session was opened, never from what the session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The owner of this node: a client on the same machine.
    Owner,
    /// Anybody else. May do nothing until there are accounts.
    Anonymous,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read or watch values.
    Read,
    /// Write values.
    Write,
    /// See the state of the mesh.
    Observe,
    /// Change who belongs to the network or whom this node dials.
    Administer,
    /// See who is online.
    See,
    /// Speak for a user: be seen, send and be sent messages.
    Speak,
}

/// What `request` wants to do.
pub fn action(request: &Request) -> Action {
    match request {
        Request::Data(DataRequest::Write(_)) => Action::Write,
        Request::Data(DataRequest::Watch { .. } | DataRequest::Unwatch { .. }) => Action::Read,
        Request::Chat(ChatRequest::Users { .. } | ChatRequest::WatchUsers(_)) => Action::See,
        Request::Chat(_) => Action::Speak,
        Request::Mesh(MeshRequest::Status | MeshRequest::Ping(_)) => Action::Observe,
        Request::Mesh(
            MeshRequest::AddPeer(_) | MeshRequest::RemovePeer(_) | MeshRequest::Remove(_),
        ) => Action::Administer,
    }
}

/// The one check: may `principal` do `action`?
pub fn check(principal: Principal, _action: Action) -> Result<(), ErrorCode> {
    match principal {
        Principal::Owner => Ok(()),
        Principal::Anonymous => Err(ErrorCode::Forbidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_may_do_everything_and_a_stranger_nothing() {
        let of_data = [Action::Read, Action::Write, Action::Observe, Action::Administer];
        for action in of_data.into_iter().chain([Action::See, Action::Speak]) {
            assert_eq!(check(Principal::Owner, action), Ok(()));
            assert_eq!(check(Principal::Anonymous, action), Err(ErrorCode::Forbidden));
        }
    }
}
