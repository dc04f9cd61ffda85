//! Many at once: what an idle session costs, how fast all come back, and what it costs to know of
//! a hundred thousand users elsewhere.

use super::pair::nodes;
use super::raw::lost;
use super::room::join;
use crate::cli::bench::goals::{Figure, Goal};
use crate::cli::bench::reopen::{Served, serve_with};
use crate::cli::bench::report::{Part, Round};
use crate::cli::bench::{Bench, Failure, differs};
use crate::memory::GIVE_BACK_AFTER;
use folkmoot::Node;
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{ChatRequest, Connect};
use folkmoot_core::id::{ClientId, Name};
use folkmoot_core::request::{MeshRequest, Reply, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const COMING_BACK: &str = "s until all are served after coming back at once";

pub(super) const SESSIONS: Part = Part {
    name: "sessions",
    what: "memory of a node for each of 15,000 idle sessions, all of other users",
    client: "15,000 WebSockets, connected at once, at most 1,000 handshakes under way",
    unit: "KiB resident",
    goals: &[
        (Figure::Value, Goal::AtMost(4.0, Some(2.0))),
        (Figure::More(COMING_BACK), Goal::AtMost(3.0, None)),
    ],
    run: sessions,
};

pub(super) const DIRECTORY: Part = Part {
    name: "directory",
    what: "memory of a node for 100,000 users elsewhere, names of nine letters, one session each",
    client: "100,000 sessions on another node, none on this one",
    unit: "MB resident",
    goals: &[(Figure::Value, Goal::AtMost(3.0, Some(1.0)))],
    run: directory,
};

pub(super) const AGREE: Part = Part {
    name: "agree",
    what: "two nodes with 100,000 users each meet, until both know all",
    client: "100,000 sessions on each node",
    unit: "s",
    goals: &[(Figure::Value, Goal::AtMost(1.0, None))],
    run: agree,
};

fn sessions(bench: &Bench) -> Result<Round, Failure> {
    let nodes = nodes(bench, 1)?;
    let count = bench.scaled(15_000);
    // Once before, so that what the node keeps for reuse is there.
    drop(connect(bench, nodes[0].host(), count.min(1_000))?);
    std::thread::sleep(Duration::from_secs(1));
    let before = nodes[0].resident_mb();
    let (open, _) = connect(bench, nodes[0].host(), count)?;
    std::thread::sleep(Duration::from_secs(2));
    let after = nodes[0].resident_mb();
    drop(open);
    std::thread::sleep(Duration::from_millis(200));
    let (open, took) = connect(bench, nodes[0].host(), count)?;
    drop(open);
    let each = (after - before) * 1e6 / 1024.0 / count as f64;
    Ok(Round { value: each, more: vec![(COMING_BACK, took.as_secs_f64())], ..Round::default() })
}

fn connect(
    bench: &Bench,
    host: &str,
    count: u64,
) -> Result<(Vec<tokio::net::TcpStream>, Duration), Failure> {
    let (host, began) = (host.to_string(), Instant::now());
    let open = bench.client(async move {
        let under_way = Arc::new(Semaphore::new(1_000));
        let mut opening = Vec::new();
        for user in 0..count {
            let permit = under_way.clone().acquire_owned().await.expect("it is never closed");
            let host = host.clone();
            opening.push(tokio::spawn(async move {
                let opened = join(host, format!("user-{user:05}"), user + 1, false).await;
                drop(permit);
                opened
            }));
        }
        let mut open = Vec::new();
        for one in opening {
            let opened = one.await.expect("the load generator does not panic");
            open.push(opened.map_err(lost)?.0);
        }
        Ok(open)
    })?;
    Ok((open, began.elapsed()))
}

/// Sessions of users `prefix00000000` and on, without sockets.
fn crowd(
    bench: &Bench,
    node: &Node,
    prefix: char,
    count: u64,
) -> Result<Vec<folkmoot::Session>, Failure> {
    let node = node.clone();
    bench.client(async move {
        let mut sessions = Vec::new();
        for n in 0..count {
            let session = node.session(Principal::Owner);
            let user = Name::new(format!("{prefix}{n:08}")).expect("a sound name");
            let connect = Connect { user, client: ClientId(n), resume: None, visible: true };
            let request = Request::Chat(ChatRequest::Connect(connect));
            session.tell(request).await.map_err(|code| {
                Failure::new(crate::cli::failure::Exit::Failed, "no session").why(code)
            })?;
            sessions.push(session);
        }
        Ok(sessions)
    })
}

/// Users that a node knows of.
async fn known(node: &Node) -> u64 {
    let session = node.session(Principal::Owner);
    match session.ask(Request::Mesh(MeshRequest::Status)).await {
        Reply::Mesh(status) => status.nodes.iter().map(|node| node.users).sum(),
        _ => 0,
    }
}

fn directory(bench: &Bench) -> Result<Round, Failure> {
    let (empty, full) = (bench.start("empty", None)?, bench.start("crowd", None)?);
    let served = serve_with(&bench.data_dir("watching"), None)?;
    let count = bench.scaled(100_000);
    let sessions = crowd(bench, &full, 'u', count)?;
    // A link costs something by itself: program that was never run, buffers.
    let before = meet(&served, &empty, 0)?;
    let value = meet(&served, &full, count)? - before;
    drop(sessions);
    Ok(Round { value, ..Round::default() })
}

/// Links a node to another and waits until it knows that one's users; answers its resident MB
/// once it has given back what that took for a moment.
fn meet(served: &Served, node: &Node, users: u64) -> Result<f64, Failure> {
    let client = crate::cli::client::Client::at(&served.url);
    let peer = serde_json::json!({ "address": node.url() }).to_string();
    client.json(ureq::http::Method::POST, "/v1/mesh/peers", peer.as_bytes())?;
    let until = Instant::now() + Duration::from_secs(60);
    let id = node.id().to_string();
    loop {
        let status = client.json(ureq::http::Method::GET, "/v1/mesh", &[])?;
        let nodes = status["nodes"].as_array().into_iter().flatten();
        let known = nodes.filter(|node| node["node"] == id).find_map(|node| node["users"].as_u64());
        if known == Some(users) {
            break;
        }
        if Instant::now() > until {
            return Err(differs("users", users, known.unwrap_or_default()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (mut least, mut since) = (served.resident_mb(), Instant::now());
    while since.elapsed() <= GIVE_BACK_AFTER + Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(500));
        let resident = served.resident_mb();
        if resident < least - 0.1 {
            (least, since) = (resident, Instant::now());
        }
    }
    Ok(served.resident_mb())
}

fn agree(bench: &Bench) -> Result<Round, Failure> {
    let (one, other) = (bench.start("one", None)?, bench.start("other", None)?);
    let count = bench.scaled(100_000);
    let sessions = (crowd(bench, &one, 'a', count)?, crowd(bench, &other, 'b', count)?);
    let took = bench.client({
        let (one, other) = (one.clone(), other.clone());
        async move {
            while known(&one).await < count || known(&other).await < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let began = Instant::now();
            let session = one.session(Principal::Owner);
            session.ask(Request::Mesh(MeshRequest::AddPeer(other.url()))).await;
            while known(&one).await < 2 * count || known(&other).await < 2 * count {
                if began.elapsed() > Duration::from_secs(60) {
                    return Err(differs("users", 2 * count, known(&one).await));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(began.elapsed())
        }
    })?;
    drop(sessions);
    Ok(Round { value: took.as_secs_f64(), ..Round::default() })
}
