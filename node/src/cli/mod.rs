//! The command line: its commands, one file each, and nothing that a command does.

mod banner;
mod bench;
mod chat;
mod client;
mod completion;
mod data;
mod demo;
mod export;
mod failure;
mod import;
mod invite;
mod mesh;
mod out;
mod scratch;
mod serve;
mod settings;
mod watch;

use crate::config::{Config, Flags};
use clap::{Args, FromArgMatches, Parser, Subcommand};
use failure::{Exit, Failure};
use out::Out;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  folkmoot serve                          start a node; nothing needs to be set
  folkmoot data put users/1 '{\"n\":1}'     write a value, on every node at once
  folkmoot data get users/1               read it, from any node
  folkmoot chat --as anna                 talk with people on any node
  folkmoot demo                           three nodes on this machine, to try

Exit codes:
  0 done   1 failed   2 wrong command line   3 nothing there   4 no node answers
  5 the node refused   6 a setting is wrong   7 port or data directory cannot be used
  74 the disk failed under a running node";

/// The meeting place that a community owns: every node holds the shared data, none is the centre.
#[derive(Debug, Parser)]
#[command(name = "folkmoot", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// Answer in JSON, one object a line
    #[arg(long, global = true, env = crate::config::JSON_ENV, help_heading = "Everywhere")]
    #[arg(value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,
    /// Config file [env: FOLKMOOT_CONFIG] [default: folkmoot.toml in the user's config directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node
    Serve(serve::ServeArgs),
    /// Print the line with which another machine joins this network
    Invite(invite::InviteArgs),
    /// Start a node in the network of an invite
    Join(serve::JoinArgs),
    /// Show how the node and its network are
    Status(mesh::StatusArgs),
    /// Show the nodes of the network and the links of this one
    Mesh(mesh::MeshArgs),
    /// Show or add the addresses that the node dials
    Peers(mesh::PeersArgs),
    /// Send a message to a node and back
    Ping(mesh::PingArgs),
    /// Show the members of the network, or remove one
    Members(mesh::MembersArgs),
    /// Read and write shared data
    Data(data::DataArgs),
    /// Talk with people on any node
    Chat(chat::ChatArgs),
    /// Run three nodes on this machine, ready to try
    Demo(demo::DemoArgs),
    /// Measure this machine
    Bench(bench::BenchArgs),
    /// Show or check the settings
    Config(settings::ConfigArgs),
    /// Print the completion script of a shell
    Completion(completion::CompletionArgs),
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let out = Out { json: cli.json };
    match cli.run(out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(out.json),
    }
}

/// What is no command line is told as every other failure; help and version are none.
fn refuse(error: &clap::Error) -> ExitCode {
    let wanted = |value: String| !["", "0", "false", "no", "off"].contains(&value.as_str());
    let asked = std::env::args_os().any(|arg| arg == "--json")
        || std::env::var(crate::config::JSON_ENV).is_ok_and(wanted);
    if !asked || !error.use_stderr() {
        error.exit();
    }
    let text = error.render().to_string();
    let what = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
    let hint = "`folkmoot --help` lists all commands";
    Failure::new(Exit::Usage, what).why(text.trim()).hint(hint).report(true)
}

impl Cli {
    fn run(self, out: Out) -> Result<(), Failure> {
        let file = self.config.as_deref();
        let load = |flags: &Flags| Config::load(file, flags);
        match self.command {
            Command::Serve(args) => serve::serve(load(&args.settings.0)?, out),
            Command::Invite(args) => invite::run(&load(&args.settings.0)?, &args, out),
            Command::Join(args) => serve::join(load(&args.settings.0)?, &args, out),
            Command::Status(args) => mesh::status(&load(&args.settings.0)?, out),
            Command::Mesh(args) => mesh::mesh(&load(&args.settings.0)?, out),
            Command::Peers(args) => mesh::peers(&load(&args.settings.0)?, &args, out),
            Command::Ping(args) => mesh::ping(&load(&args.settings.0)?, &args, out),
            Command::Members(args) => mesh::members(&load(&args.settings.0)?, &args, out),
            Command::Data(args) => data::run(&load(&args.settings.0)?, args.command, out),
            Command::Chat(args) => chat::run(&load(&args.settings.0)?, args, out),
            Command::Demo(args) => demo::run(&args, out),
            Command::Bench(args) => bench::run(&args, out),
            Command::Config(args) => settings::run(file, &args, out),
            Command::Completion(args) => completion::run(&args, out),
        }
    }
}

/// The settings of a node, as flags.
#[derive(Debug)]
pub(crate) struct NodeSettings(pub(crate) Flags);

/// The setting of a client: which node.
#[derive(Debug)]
pub(crate) struct ClientSettings(pub(crate) Flags);

/// The settings of which an invite is made.
#[derive(Debug)]
pub(crate) struct InviteSettings(pub(crate) Flags);

/// All settings, as flags.
#[derive(Debug)]
pub(crate) struct AllSettings(pub(crate) Flags);

const CLIENT_KEYS: &[&str] = &["url"];
const INVITE_KEYS: &[&str] = &["data_dir", "listen", "addresses", "url"];

fn node_keys() -> Vec<&'static str> {
    all_keys().into_iter().filter(|name| *name != "url").collect()
}

fn all_keys() -> Vec<&'static str> {
    crate::config::KEYS.iter().map(|key| key.name).collect()
}

macro_rules! flags_as_args {
    ($type:ident, $keys:expr) => {
        impl Args for $type {
            fn augment_args(command: clap::Command) -> clap::Command {
                Flags::add_to(command, $keys)
            }
            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }
        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                Ok($type(Flags::from_matches(matches)))
            }
            fn update_from_arg_matches(
                &mut self,
                matches: &clap::ArgMatches,
            ) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

flags_as_args!(NodeSettings, &node_keys());
flags_as_args!(ClientSettings, CLIENT_KEYS);
flags_as_args!(InviteSettings, INVITE_KEYS);
flags_as_args!(AllSettings, &all_keys());

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "no example in `{}`", path.trim());
            command.get_subcommands().for_each(|sub| visit(sub, &path));
        }
        visit(&Cli::command(), "");
    }
}
