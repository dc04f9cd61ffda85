//! `config show` and `config validate`: every setting with its origin.

use super::AllSettings;
use super::failure::{Exit, Failure};
use super::out::Out;
use crate::config::{CONFIG_ENV, Config, Flags, INVITE_ENV, JSON_ENV, KEYS, Kind, nearest};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot config show
  folkmoot config validate my.toml")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print all settings as a config file that says where each value comes from
    #[command(after_help = "Example:
  folkmoot config show > ~/.config/folkmoot/folkmoot.toml

A secret is never printed.")]
    Show {
        #[command(flatten)]
        settings: AllSettings,
    },
    /// Check a config file and the environment without starting anything
    #[command(after_help = "Example:
  folkmoot config validate my.toml

Exit code 0: all is well; 6: something is wrong.")]
    Validate {
        /// The file [default: the one that `serve` would read]
        file: Option<PathBuf>,
    },
}

/// Runs `config`.
pub(crate) fn run(file: Option<&Path>, args: &ConfigArgs, out: Out) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Show { settings } => show(&Config::load(file, &settings.0)?, out),
        ConfigCommand::Validate { file: named } => validate(named.as_deref().or(file), out),
    }
}

fn show(config: &Config, out: Out) -> Result<(), Failure> {
    if let (Some(file), false) = (&config.file, out.json) {
        out.line(format_args!("# read from {}\n", file.display()))?;
    }
    for key in KEYS {
        let value = match (key.name, key.kind) {
            ("data_dir", _) => json!(config.data_dir()?),
            ("secret", _) => json!(config.text("secret").map(|_| "(set, not shown)")),
            (name, kind) if kind.is_list() => json!(config.list(name)),
            (name, Kind::Switch) => json!(config.switch(name)),
            (name, Kind::Number(..)) => json!(config.number(name)),
            (name, _) => json!(config.text(name)),
        };
        let origin = config.origin(key.name);
        // JSON texts, lists, numbers and switches are TOML as they stand.
        let commented = if key.name == "secret" || value.is_null() { "# " } else { "" };
        let shown = if value.is_null() { "\"\"".to_string() } else { value.to_string() };
        let words = format!("# {}\n{commented}{} = {shown}  # {origin}\n", key.help, key.name);
        let json = json!({ "key": key.name, "value": value, "origin": origin.to_string(),
            "flag": format!("--{}", key.flag), "env": key.env });
        out.say(words, &json)?;
    }
    Ok(())
}

fn validate(file: Option<&Path>, out: Out) -> Result<(), Failure> {
    let config = Config::load(file, &Flags::default())?;
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let known = [CONFIG_ENV, INVITE_ENV, JSON_ENV].contains(&&*name)
            || KEYS.iter().any(|key| key.env == name);
        if let (Some(rest), false) = (name.strip_prefix("FOLKMOOT_"), known) {
            let failure = Failure::new(Exit::Config, format!("unknown variable {name}"));
            return Err(match nearest(&rest.to_lowercase()) {
                Some(near) => {
                    failure.hint(format!("did you mean FOLKMOOT_{}?", near.to_uppercase()))
                }
                None => failure.hint("`folkmoot config show --json` lists all variables"),
            });
        }
    }
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let words = match &file {
        Some(file) => format!("{file} and the environment are fine"),
        None => "the environment is fine; there is no config file, and none is needed".to_string(),
    };
    out.say(words, &json!({ "valid": true, "file": file }))
}
