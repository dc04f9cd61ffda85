//! The flags of a command, made from the table.

use super::table::{KEYS, Kind};
use clap::{Arg, ArgAction, ArgMatches};
use std::collections::BTreeMap;

/// The flags that a command was given, by key name. Each command lists the keys that it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(pub(super) BTreeMap<&'static str, Vec<String>>);

impl Flags {
    /// Adds the flags of these keys to a command.
    pub(crate) fn add_to(mut command: clap::Command, keys: &[&str]) -> clap::Command {
        for key in KEYS.iter().filter(|key| keys.contains(&key.name)) {
            let default = match key.default {
                "" => String::new(),
                text => format!(" [default: {text}]"),
            };
            let words = match key.kind {
                Kind::Choice(words) => format!(" [words: {}]", words.join(", ")),
                _ => String::new(),
            };
            let help = format!("{}{words}{default} [env: {}]", key.help, key.env);
            let arg = Arg::new(key.name).long(key.flag).help(help).help_heading("Settings");
            let arg = arg.hide_short_help(matches!(key.kind, Kind::Number(..)));
            // Before or behind the verb: `data --url URL get PATH`, `data get PATH --url URL`.
            let arg = arg.global(matches!(key.kind, Kind::Url));
            command = command.arg(match key.kind {
                Kind::Switch => arg.action(ArgAction::SetTrue),
                Kind::Urls | Kind::Peers => arg.action(ArgAction::Append).value_name("URL"),
                Kind::Counts => arg.action(ArgAction::Append).value_name("PATH=N"),
                Kind::Strategies => arg.action(ArgAction::Append).value_name("PATH=WORD"),
                Kind::Names => arg.action(ArgAction::Append).value_name("NAME"),
                Kind::Url => arg.value_name("URL"),
                Kind::Address => arg.value_name("ADDR"),
                Kind::Directory => arg.value_name("DIR"),
                Kind::Text => arg.value_name("TEXT"),
                Kind::Number(..) => arg.value_name("N"),
                Kind::Choice(_) => arg.value_name("WORD"),
            });
        }
        command
    }

    /// The flags that were given.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Flags {
        let mut flags = BTreeMap::new();
        for key in KEYS {
            if matches!(key.kind, Kind::Switch) {
                if let Ok(Some(true)) = matches.try_get_one::<bool>(key.name) {
                    flags.insert(key.name, vec!["true".to_string()]);
                }
            } else if let Ok(Some(values)) = matches.try_get_many::<String>(key.name) {
                flags.insert(key.name, values.cloned().collect());
            }
        }
        Flags(flags)
    }

    #[cfg(test)]
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Flags {
        self.0.entry(name).or_default().push(value.to_string());
        self
    }
}
