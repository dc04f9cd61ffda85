//! `/v1/status` and `/v1/mesh`: what the node sees, and whom it links to.

use super::Shared;
use super::data::json_response;
use super::error::{Problem, Refusal};
use super::limits::SMALL_BODY_BYTES_MAX;
use super::uri::Query;
use super::who::Who;
use super::{Doors, body, rest_of};
use crate::json;
use crate::node::check_address;
use axum::extract::{Request, State};
use axum::response::Response;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::NodeId;
use folkmoot_core::request::{LinkStatus, MeshRequest, MeshStatus, NodeStatus, PeerStatus, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn status(State(doors): Shared, who: Who) -> Result<Response, Refusal> {
    let status = ask_status(&doors, who).await?;
    let reachable = status.nodes.iter().filter(|node| node.hops.is_some()).count();
    let stats: serde_json::Map<String, Value> = super::metrics::counters(&status.stats)
        .iter()
        .map(|(name, _, value)| ((*name).to_owned(), Value::from(*value)))
        .collect();
    let body = json!({
        "node": doors.node.id().to_string(),
        "network": doors.node.network().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "listen": doors.node.addr().to_string(),
        "data_dir": doors.node.data_dir(),
        "durability": doors.node.durability().name(),
        "uptime_seconds": doors.uptime_seconds(),
        "open_clients": doors.port.policy.open_clients,
        "nodes": status.nodes.len(),
        "nodes_reachable": reachable,
        "links": status.links.len(),
        "in_sync": is_in_sync(&status),
        "clock_offset_ms": status.clock_offset_ms,
        "chat": {
            "sessions": status.sessions,
            "users": own_users(&status, doors.node.id()),
        },
        "data": {
            "store": status.store.to_string(),
            "number": status.number,
            "entries": status.entries,
            "tombstones": status.tombstones,
            "digest": hex(&status.digest),
        },
        "counters": stats,
    });
    Ok(json_response(body.to_string().into()))
}

/// Whether all that others have is here, as far as this node can know: not while it is to have
/// neighbors and has none.
fn is_in_sync(status: &MeshStatus) -> bool {
    let alone = status.links.is_empty() && !status.peers.is_empty();
    !alone && status.links.iter().all(|link| link.in_sync)
}

pub(super) async fn get(State(doors): Shared, who: Who) -> Result<Response, Refusal> {
    let status = ask_status(&doors, who).await?;
    let own = doors.node.id();
    let body = json!({
        "node": own.to_string(),
        "sessions": status.sessions,
        "nodes": status.nodes.iter().map(|node| node_to_json(node, own)).collect::<Vec<_>>(),
        "links": status.links.iter().map(link_to_json).collect::<Vec<_>>(),
        "peers": status.peers.iter().map(peer_to_json).collect::<Vec<_>>(),
    });
    Ok(json_response(body.to_string().into()))
}

/// The users with a session on this node.
pub(super) fn own_users(status: &MeshStatus, own: NodeId) -> u64 {
    status.nodes.iter().find(|node| node.node == own).map_or(0, |node| node.users)
}

fn node_to_json(node: &NodeStatus, own: NodeId) -> Value {
    json!({
        "node": node.node.to_string(),
        "self": node.node == own,
        "hops": node.hops,
        "next_hop": node.next_hop.map(|id| id.to_string()),
        "boot": node.boot,
        "addresses": node.addresses,
        "links": node.links.iter().map(NodeId::to_string).collect::<Vec<_>>(),
        "users": node.users,
        "removed": node.removed,
    })
}

fn link_to_json(link: &LinkStatus) -> Value {
    json!({
        "node": link.node.to_string(),
        "dialled": link.dialled,
        "behind": link.behind,
        "in_sync": link.in_sync,
        "round_trip_ms": link.round_trip_ms,
    })
}

fn peer_to_json(peer: &PeerStatus) -> Value {
    json!({
        "address": peer.address,
        "node": peer.node.map(|id| id.to_string()),
        "linked": peer.linked,
        "added": peer.added,
        "error": peer.error,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPeer {
    address: String,
}

pub(super) async fn add_peer(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let limits = &doors.port.limits;
    let body = body::json(&head.headers, body, SMALL_BODY_BYTES_MAX, limits).await?;
    let text = json::check(&body, json::DEPTH_MAX)?;
    let peer: NewPeer = serde_json::from_str(text)
        .map_err(|_| Problem::Json.because("send {\"address\": \"http://host:port\"}"))?;
    check_address(&peer.address)
        .map_err(|why| Refusal::from(ErrorCode::PeerAddress).because(why))?;
    ask(&doors, who, MeshRequest::AddPeer(peer.address.clone())).await?;
    Ok(json_response(json!({ "address": peer.address }).to_string().into()))
}

pub(super) async fn remove_peer(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(request.uri().query())?;
    let address = query.take("address");
    query.end()?;
    let address = address.ok_or_else(|| Problem::Query.because("name it: ?address=URL"))?;
    ask(&doors, who, MeshRequest::RemovePeer(address.clone().into())).await?;
    Ok(json_response(json!({ "removed": address }).to_string().into()))
}

pub(super) async fn ping(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let node = node_of(rest_of(&request, "/v1/mesh/ping/"))?;
    match ask(&doors, who, MeshRequest::Ping(node)).await? {
        Reply::Pong { round_trip_ms, hops } => {
            let body = json!({
                "node": node.to_string(),
                "round_trip_ms": round_trip_ms,
                "hops": hops,
            });
            Ok(json_response(body.to_string().into()))
        }
        other => unreachable!("a ping was answered with {other:?}"),
    }
}

pub(super) async fn remove_member(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let node = node_of(rest_of(&request, "/v1/mesh/members/"))?;
    ask(&doors, who, MeshRequest::Remove(node)).await?;
    Ok(json_response(json!({ "removed": node.to_string() }).to_string().into()))
}

fn node_of(text: &str) -> Result<NodeId, Refusal> {
    NodeId::from_hex(text).ok_or_else(|| Problem::Node.into())
}

/// What the engine sees of the mesh.
pub(crate) async fn ask_status(doors: &Doors, who: Who) -> Result<Box<MeshStatus>, Refusal> {
    match ask(doors, who, MeshRequest::Status).await? {
        Reply::Mesh(status) => Ok(status),
        other => unreachable!("a question for the status was answered with {other:?}"),
    }
}

async fn ask(doors: &Doors, who: Who, request: MeshRequest) -> Result<Reply, Refusal> {
    let request = folkmoot_core::request::Request::Mesh(request);
    match doors.node.ask(who.0, request).await {
        Reply::Failed(code, _) => Err(code.into()),
        reply => Ok(reply),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
