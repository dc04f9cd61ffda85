//! `completion`: scripts that let shells complete the command line.

use super::Cli;
use super::failure::Failure;
use super::out::{Out, written};
use clap::{Args, CommandFactory};
use serde_json::json;
use std::io::Write;

/// Arguments of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  folkmoot completion bash > ~/.local/share/bash-completion/completions/folkmoot")]
pub(crate) struct CompletionArgs {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs, out: Out) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "folkmoot", &mut script);
    if out.json {
        let script = String::from_utf8_lossy(&script);
        return out.line(json!({ "shell": args.shell.to_string(), "script": script }));
    }
    written(std::io::stdout().write_all(&script))
}
