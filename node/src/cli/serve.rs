//! `serve` and `join`: run a node until it is told to end.

use super::NodeSettings;
use super::banner::Banner;
use super::failure::{Exit, Failure};
use super::out::Out;
use crate::config::Config;
use clap::Args;
use folkmoot::network::{Invite, Network};
use folkmoot::{Builder, Durability, Error, Node, Principal};
use folkmoot_core::limits::Limits;
use folkmoot_core::request::{MeshRequest, Reply, Request};
use serde_json::json;
use std::fs::DirBuilder;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use tracing_subscriber::filter::LevelFilter;

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot serve
  folkmoot serve --listen 0.0.0.0:3655 --peer http://192.0.2.7:3655
  FOLKMOOT_DATA_DIR=/srv/folkmoot folkmoot serve

Prints one line `ready http://ADDR` when it accepts requests. Ends cleanly on SIGTERM and SIGINT.
Numbers that are seldom changed are listed by --help, not by -h.")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) settings: NodeSettings,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot join folkmoot-invite:...
  folkmoot join folkmoot-invite:... --listen 127.0.0.1:3656 --data-dir /tmp/second   on the same machine

It is remembered: afterwards `folkmoot serve` is enough. `folkmoot invite` prints the line.")]
pub(crate) struct JoinArgs {
    /// The line that `folkmoot invite` printed
    #[arg(env = crate::config::INVITE_ENV, hide_env_values = true)]
    invite: Invite,
    #[command(flatten)]
    pub(crate) settings: NodeSettings,
}

/// Runs `serve`.
pub(crate) fn serve(config: Config, out: Out) -> Result<(), Failure> {
    start_log(&config);
    block_on(run(config, &[], out))
}

/// Runs `join`.
pub(crate) fn join(config: Config, args: &JoinArgs, out: Out) -> Result<(), Failure> {
    start_log(&config);
    enter(&config.data_dir()?, &args.invite)?;
    block_on(run(config, &args.invite.addresses, out))
}

/// Makes a data directory belong to the network of an invite.
fn enter(dir: &Path, invite: &Invite) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        Failure::new(Exit::InUse, format!("cannot use {}", dir.display()))
            .why(error)
            .hint("choose another directory with --data-dir")
    })?;
    Network::join(dir, invite).map_err(|error| Failure::new(Exit::Config, error))?;
    Ok(())
}

/// Runs a node that dials `added` too, from now on.
async fn run(config: Config, added: &[String], out: Out) -> Result<(), Failure> {
    // Before anything is printed: a signal that comes early must not be lost.
    let ended = end_signal()?;
    let node = builder(&config)?.start().await.map_err(failure)?;
    for address in added {
        let add = Request::Mesh(MeshRequest::AddPeer(address.clone()));
        if let Reply::Failed(code, _) = node.ask(Principal::Owner, add).await {
            node.close().await;
            return Err(Failure::new(Exit::Refused, format!("cannot dial {address}: {code}"))
                .hint("`folkmoot serve` runs the node; `folkmoot peers` lists whom it dials"));
        }
    }
    crate::memory::give_back();
    let url = node.url();
    if out.json {
        out.line(json!({ "event": "ready", "url": url, "node": node.id().to_string() }))?;
    } else {
        out.line(Banner::new(&config, &node))?;
        out.line(format_args!("ready {url}"))?;
    }
    ended.await;
    node.close().await;
    Ok(())
}

/// A node as the configuration wants it.
pub(crate) fn builder(config: &Config) -> Result<Builder, Failure> {
    let number = |name| config.number(name);
    let limits = Limits {
        drift_ms_max: number("drift_ms_max"),
        tombstone_grace_ms: number("tombstone_grace_ms"),
        log_changes_max: number("log_changes_max"),
        ping_ms: number("ping_ms"),
        dead_ms: number("dead_ms"),
        redial_ms_min: number("redial_ms_min"),
        redial_ms_max: number("redial_ms_max"),
        compare_ms: number("compare_ms"),
        ..Limits::default()
    };
    let os = config.text("durability") == Some("os");
    let mut builder = Node::builder()
        .listen(config.text("listen").expect("the address has a default"))
        .data_dir(config.data_dir()?)
        .peers(config.list("peers"))
        .open_clients(config.switch("open_clients"))
        .durability(if os { Durability::Os } else { Durability::Sync })
        .limits(limits)
        .between_steps(crate::memory::give_back);
    if let Some(secret) = config.text("secret") {
        builder = builder.secret(secret);
    }
    for address in config.list("addresses") {
        builder = builder.advertise(address);
    }
    for host in config.list("hosts") {
        builder = builder.allow_host(host);
    }
    for origin in config.list("origins") {
        builder = builder.allow_origin(origin);
    }
    for (prefix, strategy) in config.strategies("strategies") {
        builder = builder.strategy(prefix, strategy);
    }
    for (prefix, versions) in config.counts("histories") {
        builder = builder.history(prefix, versions);
    }
    if let Some((list, id)) = chat_servers(config)? {
        builder = builder.socketio_servers(list, id);
    }
    Ok(builder)
}

/// The list of original chat servers, and which of them this node is.
fn chat_servers(config: &Config) -> Result<Option<(String, String)>, Failure> {
    let (file, id) = match (config.text("socketio_config"), config.text("socketio_id")) {
        (None, None) => return Ok(None),
        (Some(file), Some(id)) => (file, id),
        (Some(_), None) => {
            return Err(Failure::new(Exit::Config, "`socketio_config` wants `socketio_id`")
                .hint("say which server of the list this node is: --socketio-id server-1"));
        }
        (None, Some(_)) => {
            return Err(Failure::new(Exit::Config, "`socketio_id` wants `socketio_config`")
                .hint("name the file with the list of servers: --socketio-config FILE"));
        }
    };
    let list = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Exit::Config, format!("cannot read the list of servers {file}"))
            .why(error)
            .hint("give the JSON file that the original servers are given")
    })?;
    Ok(Some((list, id.to_owned())))
}

/// Why a node did not start, in the words of somebody who typed a command.
fn failure(error: Error) -> Failure {
    match error {
        Error::Setting(_) | Error::Identity(_) => Failure::new(Exit::Config, error),
        Error::Listen { address, source } => {
            let mut other = address;
            other.set_port(address.port().checked_add(1).unwrap_or(0));
            Failure::new(Exit::InUse, format!("cannot listen on {address}"))
                .why(source)
                .hint(format!("stop what has it, or take another address: --listen {other}"))
        }
        Error::InUse(dir) => Failure::new(Exit::InUse, format!("{} is in use", dir.display()))
            .why("another node runs on this data directory")
            .hint("stop that one, or take another directory: --data-dir DIR"),
        Error::DataDir { path, source } => {
            Failure::new(Exit::InUse, format!("cannot use {}", path.display()))
                .why(source)
                .hint("make it writable for this user, or take another: --data-dir DIR")
        }
        other => Failure::new(Exit::InUse, other),
    }
}

/// Lets the node's log go to standard error.
pub(crate) fn start_log(config: &Config) {
    let level: LevelFilter =
        config.text("log").and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    if config.text("log_format") == Some("json") {
        log.json().init();
    } else {
        log.with_target(false).init();
    }
}

/// Runs a future to its end, on all cores but one: that one is the engine's. With a worker for it
/// too, each thing that came from a socket would wake a second worker that finds nothing to do.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores - 1).max(1))
        .enable_all()
        .on_thread_park(crate::memory::give_back)
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Failed, "cannot start threads")
            .why(error)
            .hint("raise the limits of this user: ulimit -u, ulimit -n")
    })?;
    runtime.block_on(future)
}

/// Comes when the process is told to end; a second signal ends it at once.
pub(crate) fn end_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let hear = |kind| {
        signal(kind)
            .map_err(|error| Failure::new(Exit::Failed, "cannot listen for signals").why(error))
    };
    let (mut term, mut int) = (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
            std::process::exit(130);
        });
    })
}
