//! `bench data` and `bench chat`: what this machine does, in figures that others can check.
//!
//! Every part runs in rounds, each with nodes and directories of its own. A round fails if what
//! was received differs from what was sent, and with it the command. The nodes' threads and those of the load generator
//! are apart, so that the generator's share of the processor can be told.

mod chat;
mod goals;
mod load;
mod meet;
mod mesh;
mod reopen;
mod report;
mod rest;
mod store;

use super::failure::{Exit, Failure};
use super::out::Out;
use super::scratch::Scratch;
use clap::{Args, Subcommand};
use folkmoot::Node;
use report::{Part, print};
use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot bench data
  folkmoot bench data --only put-64,get --rounds 5")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Measure shared data
    #[command(after_help = "Examples:
  folkmoot bench data
  folkmoot bench data --only put-64,get --rounds 5
  folkmoot bench data --list

Use a release build, an idle machine, and a directory on the disk that you want to know about.")]
    Data(PartsArgs),
    /// Measure chat, and nats-server beside it where that is installed
    #[command(after_help = "Examples:
  folkmoot bench chat
  folkmoot bench chat --only batched,nats-batched --rounds 5

Use a release build and an idle machine. The nodes run in processes of their own.")]
    Chat(PartsArgs),
}

#[derive(Debug, Args)]
struct PartsArgs {
    /// Only these parts; --list names them
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<String>,
    /// Say what the parts do, and end
    #[arg(long)]
    list: bool,
    /// Rounds of each part
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Share of the usual amount of work, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    scale: u64,
    /// Where to keep the nodes' data meanwhile [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// All parts, in the order in which they run.
const PARTS: &[Part] = &[
    store::PUT_64,
    store::PUT_512,
    mesh::PUT_LINKED,
    store::GET,
    rest::HTTP_PUT,
    rest::HTTP_BATCH,
    mesh::CHAIN,
    mesh::JOIN,
    meet::MEET,
    reopen::REOPEN,
    reopen::IDLE,
];

/// What a round may use.
pub(crate) struct Bench {
    nodes: Runtime,
    client: Runtime,
    scale: u64,
    scratch: Scratch,
    started: RefCell<Vec<Node>>,
}

impl Drop for Bench {
    /// Whatever came of the round: nobody writes any more when the directory is removed.
    fn drop(&mut self) {
        self.close(self.started.take());
    }
}

/// Runs `bench`.
pub(crate) fn run(args: &BenchArgs, out: Out) -> Result<(), Failure> {
    let (args, all) = match &args.command {
        BenchCommand::Data(args) => (args, PARTS),
        BenchCommand::Chat(args) => (args, chat::PARTS),
    };
    let parts = chosen(&args.only, all)?;
    if args.list {
        return parts.iter().try_for_each(|part| part.describe(out));
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is no release build; its figures mean little");
    }
    report::head(args.rounds, args.scale, args.dir.as_deref(), out)?;
    let mut measured = Vec::new();
    for part in parts {
        if let Err(why) = chat::can_run(part) {
            eprintln!("{:<12} left out: {why}\n", part.name);
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            let bench = Bench::new(args)?;
            rounds.push((part.run)(&bench)?);
        }
        print(part, &rounds, out)?;
        measured.push((part, rounds));
    }
    goals::summary(&measured, out)
}

fn chosen(only: &[String], all: &'static [Part]) -> Result<Vec<&'static Part>, Failure> {
    let names = || all.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
    for name in only {
        if !all.iter().any(|part| part.name == name) {
            return Err(Failure::new(Exit::Usage, format!("there is no part `{name}`"))
                .hint(format!("the parts are {}", names())));
        }
    }
    let wanted = |part: &&Part| only.is_empty() || only.iter().any(|name| name == part.name);
    Ok(all.iter().filter(wanted).collect())
}

impl Bench {
    fn new(args: &PartsArgs) -> Result<Bench, Failure> {
        let threads = |name: &str, count| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(count).thread_name(name).enable_all();
            builder
                .build()
                .map_err(|error| Failure::new(Exit::Failed, "cannot start threads").why(error))
        };
        Ok(Bench {
            nodes: threads("node", 2)?,
            client: threads(report::CLIENT_THREAD, 1)?,
            scale: args.scale,
            scratch: Scratch::new(args.dir.as_deref(), "bench")?,
            started: RefCell::default(),
        })
    }

    /// An amount of work at the chosen scale.
    fn scaled(&self, amount: u64) -> u64 {
        (amount * self.scale / 100).max(1)
    }

    /// Where the node of that name keeps its data.
    fn data_dir(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Starts a node on the nodes' threads.
    fn start(&self, name: &str, peer: Option<&Node>) -> Result<Node, Failure> {
        let builder = Node::builder()
            .listen("127.0.0.1:0")
            .data_dir(self.data_dir(name))
            .secret(reopen::SECRET)
            .peers(peer.map(Node::url));
        let started = self.nodes.block_on(async move {
            tokio::spawn(builder.start()).await.expect("starting a node does not panic")
        });
        let node = started.map_err(|error| Failure::new(Exit::Failed, error))?;
        self.started.borrow_mut().push(node.clone());
        Ok(node)
    }

    /// Runs the load generator, or whatever else is not a node.
    fn client<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.client.block_on(async {
            self.client.spawn(work).await.expect("the load generator does not panic")
        })
    }

    fn close(&self, nodes: impl IntoIterator<Item = Node>) {
        for node in nodes {
            self.nodes.block_on(node.close());
        }
    }
}

/// The failure of a round whose result is not what was sent.
fn differs(what: &str, sent: impl std::fmt::Debug, received: impl std::fmt::Debug) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: received differs from sent"))
        .why(format!("sent {sent:?}, received {received:?}"))
        .hint("this is a defect: please report it with the command and the machine")
}
