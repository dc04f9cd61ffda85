//! `status`, `mesh`, `peers`, `ping` and `members`: the network as the node sees it.

use super::ClientSettings;
use super::client::{Client, encode};
use super::failure::{Exit, Failure};
use super::out::{Out, table};
use crate::config::Config;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ureq::http::Method;

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  folkmoot status --url http://127.0.0.1:3656")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
}

/// Arguments of `mesh`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  folkmoot mesh --json | jq .nodes")]
pub(crate) struct MeshArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
}

/// Arguments of `peers`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot peers
  folkmoot peers add http://192.0.2.7:3655
  folkmoot peers remove http://192.0.2.7:3655")]
pub(crate) struct PeersArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
    #[command(subcommand)]
    command: Option<PeersCommand>,
}

#[derive(Debug, Subcommand)]
enum PeersCommand {
    /// Dial one more address from now on, also after a restart
    #[command(after_help = "Example:
  folkmoot peers add http://192.0.2.7:3655")]
    Add {
        /// http://host:port
        address: String,
    },
    /// Dial an address no more
    #[command(after_help = "Example:
  folkmoot peers remove http://192.0.2.7:3655

A link that stands stays. One that the settings name (--peer) is dialled again after a restart.")]
    Remove {
        /// As `folkmoot peers` shows it
        address: String,
    },
}

/// Arguments of `ping`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  folkmoot ping 3f9a        the beginning of a node id is enough")]
pub(crate) struct PingArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
    /// Node id, or its beginning
    node: String,
    /// How many messages
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
}

/// Arguments of `members`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot members
  folkmoot members remove 3f9a")]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
    #[command(subcommand)]
    command: Option<MembersCommand>,
}

#[derive(Debug, Subcommand)]
enum MembersCommand {
    /// Remove a node from the network; its key is refused from then on
    #[command(after_help = "Example:
  folkmoot members remove 3f9a

It keeps what it holds. Whoever knows the secret can come back under a new key.")]
    Remove {
        /// Node id, or its beginning
        node: String,
    },
}

/// Runs `status`.
pub(crate) fn status(config: &Config, out: Out) -> Result<(), Failure> {
    let status = Client::new(config).json(Method::GET, "/v1/status", &[])?;
    if out.json {
        return out.line(status);
    }
    for (name, value) in status.as_object().into_iter().flatten() {
        if let Some(inner) = value.as_object() {
            out.line(format_args!("{name}"))?;
            for (name, value) in inner {
                out.line(format_args!("  {name:<24} {}", plain(value)))?;
            }
        } else {
            out.line(format_args!("{name:<26} {}", plain(value)))?;
        }
    }
    Ok(())
}

/// Runs `mesh`.
pub(crate) fn mesh(config: &Config, out: Out) -> Result<(), Failure> {
    let mesh = Client::new(config).json(Method::GET, "/v1/mesh", &[])?;
    if out.json {
        return out.line(mesh);
    }
    let nodes =
        columns(&mesh["nodes"], &["node", "hops", "users", "addresses", "links", "removed"]);
    out.line(table(&["NODE", "HOPS", "USERS", "ADDRESSES", "LINKS", "REMOVED"], &nodes))?;
    let links = columns(&mesh["links"], &["node", "dialled", "in_sync", "behind", "round_trip_ms"]);
    out.line("")?;
    out.line(table(&["LINK TO", "DIALLED", "IN SYNC", "BEHIND", "ROUND TRIP MS"], &links))?;
    out.line(format_args!("\n{} chat sessions on this node", plain(&mesh["sessions"])))
}

/// Runs `peers`.
pub(crate) fn peers(config: &Config, args: &PeersArgs, out: Out) -> Result<(), Failure> {
    let client = Client::new(config);
    match &args.command {
        Some(PeersCommand::Add { address }) => {
            let body = json!({ "address": address }).to_string();
            let added = client.json(Method::POST, "/v1/mesh/peers", body.as_bytes())?;
            return out.say(format!("dialling {address} from now on"), &added);
        }
        Some(PeersCommand::Remove { address }) => {
            let target = format!("/v1/mesh/peers?address={}", encode(address, false));
            let removed = client.json(Method::DELETE, &target, &[])?;
            return out.say(format!("{address} is not dialled any more"), &removed);
        }
        None => {}
    }
    let mesh = client.json(Method::GET, "/v1/mesh", &[])?;
    if out.json {
        return out.line(&mesh["peers"]);
    }
    let peers = columns(&mesh["peers"], &["address", "added", "linked", "node", "error"]);
    out.line(table(&["ADDRESS", "ADDED", "LINKED", "NODE", "LAST ERROR"], &peers))
}

/// Runs `ping`.
pub(crate) fn ping(config: &Config, args: &PingArgs, out: Out) -> Result<(), Failure> {
    let client = Client::new(config);
    let node = find_node(&client, &args.node)?;
    for _ in 0..args.count {
        let target = format!("/v1/mesh/ping/{}", encode(&node, false));
        let pong = client.json(Method::POST, &target, &[])?;
        let words = format!(
            "{} answered after {} ms over {} hops",
            short(&node),
            plain(&pong["round_trip_ms"]),
            plain(&pong["hops"]),
        );
        out.say(words, &pong)?;
    }
    Ok(())
}

/// Runs `members`.
pub(crate) fn members(config: &Config, args: &MembersArgs, out: Out) -> Result<(), Failure> {
    let client = Client::new(config);
    if let Some(MembersCommand::Remove { node }) = &args.command {
        let node = find_node(&client, node)?;
        client.json(Method::DELETE, &format!("/v1/mesh/members/{node}"), &[])?;
        return out.say(format!("removed {node}"), &json!({ "node": node, "removed": true }));
    }
    let mesh = client.json(Method::GET, "/v1/mesh", &[])?;
    let rows = mesh["nodes"].as_array().cloned().unwrap_or_default();
    if out.json {
        return rows.iter().try_for_each(|node| {
            out.line(json!({ "node": node["node"], "removed": node["removed"] }))
        });
    }
    let rows = rows.iter().map(|node| {
        vec![
            plain(&node["node"]),
            if node["removed"] == true { "removed" } else { "member" }.into(),
        ]
    });
    out.line(table(&["NODE", "IS"], &rows.collect::<Vec<_>>()))
}

/// The one known node whose id begins so.
fn find_node(client: &Client, beginning: &str) -> Result<String, Failure> {
    let mesh = client.json(Method::GET, "/v1/mesh", &[])?;
    let nodes = mesh["nodes"].as_array().into_iter().flatten();
    let ids = nodes.filter_map(|node| node["node"].as_str());
    let found: Vec<&str> = ids.filter(|id| id.starts_with(beginning)).collect();
    match found[..] {
        [one] => Ok(one.to_string()),
        [] => Err(Failure::new(Exit::NotFound, format!("no node is known as {beginning}"))
            .hint("`folkmoot mesh` lists the nodes of the network")),
        _ => {
            Err(Failure::new(Exit::Usage, format!("{} nodes begin with {beginning}", found.len()))
                .hint("write more of the id; `folkmoot mesh` lists them"))
        }
    }
}

fn columns(rows: &Value, fields: &[&str]) -> Vec<Vec<String>> {
    let rows = rows.as_array().into_iter().flatten();
    rows.map(|row| fields.iter().map(|field| plain(&row[field])).collect()).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_string(),
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        Value::String(text) => short(text).to_string(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Enough of an id to tell it from the others.
fn short(text: &str) -> &str {
    let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &text[..12] } else { text }
}
