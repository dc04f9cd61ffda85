//! Every setting: one table from which the flags, the environment variables, the keys of the
//! TOML file, the help and `config show` are made.
//!
//! Promise: no setting is needed; the nearest origin wins (flag, environment, file, default);
//! what is unknown or wrong is an error that names the setting, its origin and the cure.

use clap::{Arg, ArgAction, ArgMatches};
use folkmoot::api::Strategy;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text but the empty one.
    Text,
    /// `host:port`.
    Address,
    /// A directory.
    Directory,
    /// `http://host:port` and its like.
    Url,
    /// Several of them; a repeatable flag, a comma-separated variable, a TOML array.
    Urls,
    /// Host names, several of them, like `Urls`.
    Names,
    /// `path=number`, several of them, like `Urls`.
    Counts,
    /// `path=strategy`, several of them, like `Urls`.
    Strategies,
    /// `true` or `false`; a flag without a value.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Number(u64, u64),
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its TOML key.
    pub(crate) name: &'static str,
    /// Its flag, without the dashes.
    pub(crate) flag: &'static str,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Its default as text; empty where it is made or has none.
    pub(crate) default: &'static str,
    /// One line of help.
    pub(crate) help: &'static str,
}

macro_rules! key {
    ($name:literal, $flag:literal, $env:literal, $kind:expr, $default:literal, $help:literal) => {
        Key { name: $name, flag: $flag, env: $env, kind: $kind, default: $default, help: $help }
    };
}

const DAY_MS: u64 = 24 * 3600 * 1000;
const LEVELS: Kind = Kind::Choice(&["error", "warn", "info", "debug", "trace"]);

/// All settings. The order is that of `config show`.
#[rustfmt::skip]
pub(crate) const KEYS: &[Key] = &[
    key!("listen", "listen", "FOLKMOOT_LISTEN", Kind::Address, "127.0.0.1:3655",
        "Address to listen on; 0.0.0.0:3655 lets other machines link to this node"),
    key!("data_dir", "data-dir", "FOLKMOOT_DATA_DIR", Kind::Directory, "",
        "Directory for the node's key, its secret and its data; made if missing"),
    key!("peers", "peer", "FOLKMOOT_PEERS", Kind::Urls, "",
        "Node to link to, http://host:port; repeatable, tried for ever"),
    key!("secret", "secret", "FOLKMOOT_SECRET", Kind::Text, "",
        "Secret of the network; made at the first start unless given"),
    key!("addresses", "address", "FOLKMOOT_ADDRESSES", Kind::Urls, "",
        "Address at which other nodes can dial this one, for its invites; repeatable"),
    key!("open_clients", "open-clients", "FOLKMOOT_OPEN_CLIENTS", Kind::Switch, "false",
        "Answer clients on every address, not on loopback alone: anyone who reaches it may write"),
    key!("hosts", "host", "FOLKMOOT_HOSTS", Kind::Names, "",
        "Host name to answer to beside localhost and the node's addresses; repeatable"),
    key!("origins", "origin", "FOLKMOOT_ORIGINS", Kind::Urls, "",
        "Origin whose pages may use the node, https://example.org; repeatable"),
    key!("durability", "durability", "FOLKMOOT_DURABILITY", Kind::Choice(&["sync", "os"]), "sync",
        "When a write is acknowledged: sync (it is on the disk) or os (the system has it)"),
    key!("histories", "history", "FOLKMOOT_HISTORIES", Kind::Counts, "",
        "Keep older values at and below a path, users=10 keeps ten of each; repeatable"),
    key!("strategies", "strategy", "FOLKMOOT_STRATEGIES", Kind::Strategies, "",
        "How concurrent writes below a path are settled, users=merge (last, first, merge); repeatable"),
    key!("url", "url", "FOLKMOOT_URL", Kind::Url, "http://127.0.0.1:3655",
        "Node that client commands talk to"),
    key!("log", "log", "FOLKMOOT_LOG", LEVELS, "info",
        "Least level of what is logged to standard error"),
    key!("log_format", "log-format", "FOLKMOOT_LOG_FORMAT", Kind::Choice(&["text", "json"]), "text",
        "Form of the log lines"),
    key!("drift_ms_max", "drift-ms-max", "FOLKMOOT_DRIFT_MS_MAX", Kind::Number(1_000, DAY_MS), "60000",
        "How far in the future a stamp may lie, in milliseconds"),
    key!("tombstone_grace_ms", "tombstone-grace-ms", "FOLKMOOT_TOMBSTONE_GRACE_MS", Kind::Number(1_000, 3650 * DAY_MS), "2592000000",
        "How long a delete is remembered, in milliseconds"),
    key!("log_changes_max", "log-changes-max", "FOLKMOOT_LOG_CHANGES_MAX", Kind::Number(1_000, 1_000_000_000), "1000000",
        "Changes kept for watchers and neighbours that come back"),
    key!("ping_ms", "ping-ms", "FOLKMOOT_PING_MS", Kind::Number(100, DAY_MS), "5000",
        "Silence on a link after which it is pinged, in milliseconds"),
    key!("dead_ms", "dead-ms", "FOLKMOOT_DEAD_MS", Kind::Number(300, DAY_MS), "15000",
        "Silence on a link after which it is closed, in milliseconds"),
    key!("redial_ms_min", "redial-ms-min", "FOLKMOOT_REDIAL_MS_MIN", Kind::Number(10, DAY_MS), "500",
        "First pause before a peer is dialled again, in milliseconds; it doubles"),
    key!("redial_ms_max", "redial-ms-max", "FOLKMOOT_REDIAL_MS_MAX", Kind::Number(10, DAY_MS), "30000",
        "Longest such pause, in milliseconds"),
    key!("compare_ms", "compare-ms", "FOLKMOOT_COMPARE_MS", Kind::Number(100, DAY_MS), "10000",
        "How often neighbours compare what they hold, in milliseconds"),
];

/// The file's own flag and variable; it cannot stand in the file.
pub(crate) const CONFIG_ENV: &str = "FOLKMOOT_CONFIG";
/// The variable of the invite that `join` takes.
pub(crate) const INVITE_ENV: &str = "FOLKMOOT_INVITE";
/// Bytes of a config file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The key of that name.
///
/// # Panics
/// If there is none: names are written in the code.
pub(crate) fn key(name: &str) -> &'static Key {
    KEYS.iter().find(|key| key.name == name).expect("settings are named after the table")
}

/// Where a value came from; the nearest wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// Peers that an invite named when this node joined.
    Joined,
    /// The config file.
    File(PathBuf),
    /// An environment variable.
    Env(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::Joined => write!(f, "joined by invite"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Env(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A setting that is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct ConfigError {
    /// What is wrong, with the setting and its origin.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
}

impl ConfigError {
    fn new(what: impl fmt::Display, hint: impl fmt::Display) -> ConfigError {
        ConfigError { what: what.to_string(), hint: hint.to_string() }
    }
}

/// The flags that a command was given, by key name. Each command lists the keys that it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(BTreeMap<&'static str, Vec<String>>);

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
                Kind::Urls => arg.action(ArgAction::Append).value_name("URL"),
                Kind::Counts => arg.action(ArgAction::Append).value_name("PATH=N"),
                Kind::Strategies => arg.action(ArgAction::Append).value_name("PATH=WORD"),
                Kind::Names => arg.action(ArgAction::Append).value_name("NAME"),
                Kind::Url => arg.value_name("URL").global(true),
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
    fn with(mut self, name: &'static str, value: &str) -> Flags {
        self.0.entry(name).or_default().push(value.to_string());
        self
    }
}

/// A checked value: one text, or several for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    values: Vec<String>,
    origin: Origin,
}

/// All settings, checked, each with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    settings: BTreeMap<&'static str, Setting>,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
}

impl Config {
    /// Reads file and environment and lays the flags over them.
    pub(crate) fn load(file: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = file.map(Path::to_path_buf).or_else(|| env(CONFIG_ENV).map(PathBuf::from));
        let must_exist = named.is_some();
        let path = named.or_else(default_file);
        let text = match path.as_deref() {
            Some(path) => read_file(path, must_exist)?,
            None => None,
        };
        let file = path.zip(text);
        Config::resolve(
            file.as_ref().map(|(path, text)| (path.as_path(), text.as_str())),
            env,
            flags,
        )
    }

    fn resolve(
        file: Option<(&Path, &str)>,
        env: impl Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Config, ConfigError> {
        let mut config = Config { settings: BTreeMap::new(), file: None };
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            config.set(key, vec![key.default.to_string()], Origin::Default)?;
        }
        if let Some((path, text)) = file {
            config.file = Some(path.to_path_buf());
            config.lay_file(path, text)?;
        }
        for key in KEYS {
            if let Some(value) = env(key.env) {
                let values = match key.kind {
                    Kind::Urls | Kind::Names | Kind::Counts | Kind::Strategies => {
                        value.split([',', ' ']).filter(|part| !part.is_empty()).collect()
                    }
                    _ => vec![value.as_str()],
                };
                let values = values.into_iter().map(str::to_string).collect();
                config.set(key, values, Origin::Env(key.env))?;
            }
            if let Some(values) = flags.0.get(key.name) {
                config.set(key, values.clone(), Origin::Flag(key.flag))?;
            }
        }
        Ok(config)
    }

    fn lay_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error| {
            ConfigError::new(
                format!("the config file {} is not TOML:\n{error}", path.display()),
                "correct it; `folkmoot config show` prints a complete file",
            )
        })?;
        for (name, value) in table {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                let hint = match nearest(&name) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`folkmoot config show` prints all keys".to_string(),
                };
                let what = format!("unknown key `{name}` in {}", path.display());
                return Err(ConfigError::new(what, hint));
            };
            let origin = Origin::File(path.to_path_buf());
            let values = match (value, key.kind) {
                (toml::Value::String(text), _) => vec![text],
                (toml::Value::Integer(number), Kind::Number(..)) => vec![number.to_string()],
                (toml::Value::Boolean(switch), Kind::Switch) => vec![switch.to_string()],
                (
                    toml::Value::Array(items),
                    Kind::Urls | Kind::Names | Kind::Counts | Kind::Strategies,
                ) => {
                    let texts = items.iter().map(|item| item.as_str().map(str::to_string));
                    texts.collect::<Option<Vec<_>>>().ok_or_else(|| key.wrong("", &origin))?
                }
                (other, _) => return Err(key.wrong(&other.to_string(), &origin)),
            };
            self.set(key, values, origin)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &Key, values: Vec<String>, origin: Origin) -> Result<(), ConfigError> {
        for value in &values {
            key.check(value, &origin)?;
        }
        self.settings.insert(self::key(key.name).name, Setting { values, origin });
        Ok(())
    }

    /// Adds peers that an invite named, unless they are listed already.
    pub(crate) fn add_joined(&mut self, peers: Vec<String>) {
        let origin = Origin::Joined;
        let setting = Setting { values: Vec::new(), origin };
        let setting = self.settings.entry("peers").or_insert(setting);
        for peer in peers {
            if !setting.values.contains(&peer) {
                setting.values.push(peer);
            }
        }
    }

    /// The value of a setting that is one text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.settings.get(name)?.values.first().map(String::as_str)
    }

    /// The value of a setting that is a list.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        self.settings.get(name).map_or(&[], |setting| &setting.values)
    }

    /// The value of a list of `path=number`.
    pub(crate) fn counts(&self, name: &str) -> Vec<(&str, usize)> {
        self.list(name).iter().filter_map(|text| to_count(text)).collect()
    }

    /// The strategies of a list of them. They were checked.
    pub(crate) fn strategies(&self, name: &str) -> Vec<(&str, Strategy)> {
        self.list(name).iter().filter_map(|text| to_strategy(text)).collect()
    }

    /// The value of a number. It has a default and was checked.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.text(name).expect("numbers have defaults");
        text.parse().expect("numbers are checked when they are set")
    }

    /// Whether a switch is on.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Where a value came from.
    pub(crate) fn origin(&self, name: &str) -> Origin {
        self.settings.get(name).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The data directory: as set, or the user's own.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        if let Some(dir) = self.text("data_dir") {
            return Ok(PathBuf::from(dir));
        }
        let dirs = directories::ProjectDirs::from("", "", "folkmoot").ok_or_else(|| {
            ConfigError::new(
                "there is no home directory to keep the data in",
                "name a directory: --data-dir DIR or FOLKMOOT_DATA_DIR",
            )
        })?;
        Ok(dirs.data_dir().to_path_buf())
    }
}

impl Key {
    fn check(&self, value: &str, origin: &Origin) -> Result<(), ConfigError> {
        let good = match self.kind {
            Kind::Names => !value.is_empty() && !value.contains(['/', ':', ' ']),
            Kind::Text | Kind::Directory => !value.is_empty() && !value.contains('\0'),
            Kind::Address => value
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()),
            Kind::Url | Kind::Urls => {
                let rest = ["http://", "https://", "ws://", "wss://"]
                    .iter()
                    .find_map(|scheme| value.strip_prefix(scheme));
                rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
            }
            Kind::Counts => to_count(value).is_some(),
            Kind::Strategies => to_strategy(value).is_some(),
            Kind::Switch => matches!(value, "true" | "false"),
            Kind::Choice(words) => words.contains(&value),
            Kind::Number(min, max) => {
                value.parse::<u64>().is_ok_and(|number| (min..=max).contains(&number))
            }
        };
        if good { Ok(()) } else { Err(self.wrong(value, origin)) }
    }

    fn wrong(&self, value: &str, origin: &Origin) -> ConfigError {
        let wants = match self.kind {
            Kind::Text => "text that is not empty".to_string(),
            Kind::Directory => "the name of a directory".to_string(),
            Kind::Address => "host:port, for example 127.0.0.1:3655".to_string(),
            Kind::Url => "a URL, for example http://127.0.0.1:3655".to_string(),
            Kind::Urls => "a list of URLs, for example http://192.0.2.1:3655".to_string(),
            Kind::Names => "a list of host names, for example my.example.org".to_string(),
            Kind::Counts => "a list of path=number, for example users=10".to_string(),
            Kind::Strategies => {
                "a list of path=last, path=first or path=merge, for example users=merge".to_string()
            }
            Kind::Switch => "true or false".to_string(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Number(min, max) => format!("a whole number from {min} to {max}"),
        };
        // A secret must not end up in a log, whatever is wrong with it.
        let shown = if self.name == "secret" { String::new() } else { format!(" `{value}`") };
        ConfigError::new(
            format!("the value{shown} of `{}` cannot be used ({origin})", self.name),
            format!("give {wants}"),
        )
    }
}

fn to_strategy(text: &str) -> Option<(&str, Strategy)> {
    let (path, word) = text.rsplit_once('=')?;
    Some((path, Strategy::from_word(word)?))
}

fn to_count(text: &str) -> Option<(&str, usize)> {
    let (path, number) = text.rsplit_once('=')?;
    Some((path, number.parse().ok()?))
}

fn default_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "folkmoot")?;
    Some(dirs.config_dir().join("folkmoot.toml"))
}

fn read_file(path: &Path, must_exist: bool) -> Result<Option<String>, ConfigError> {
    let fail = |why: String| {
        let what = format!("cannot read the config file {}: {why}", path.display());
        ConfigError::new(what, "correct the name, or leave it out: no file is needed")
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(fail(error.to_string())),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => Err(fail("it is over 1 MiB".to_string())),
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(|error| fail(error.to_string())),
    }
}

/// The key that is most like `name`, if one is like it at all.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let distances = KEYS.iter().map(|key| (edit_distance(name, key.name), key.name));
    let (distance, near) = distances.min()?;
    (distance <= name.len().max(near.len()) / 2).then_some(near)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str, env: &[(&str, &str)], flags: Flags) -> Result<Config, ConfigError> {
        let find = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        };
        Config::resolve(Some((Path::new("test.toml"), file)), find, &flags)
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let config = resolve("", &[], Flags::default()).unwrap();
        assert_eq!(config.text("listen"), Some("127.0.0.1:3655"));
        assert_eq!(config.number("drift_ms_max"), 60_000);
        assert!(!config.switch("open_clients"));
    }

    #[test]
    fn the_nearest_origin_wins_and_is_told() {
        let file = "listen = '127.0.0.1:1'\npeers = ['http://a:1']\nping_ms = 200";
        let env = [("FOLKMOOT_LISTEN", "127.0.0.1:2"), ("FOLKMOOT_PEERS", "http://b:1,ws://c:2")];
        let flags = Flags::default().with("listen", "127.0.0.1:3");
        let config = resolve(file, &env, flags).unwrap();
        assert_eq!(config.text("listen"), Some("127.0.0.1:3"));
        assert_eq!(config.origin("listen").to_string(), "flag --listen");
        assert_eq!(config.list("peers"), ["http://b:1", "ws://c:2"]);
        assert_eq!(config.origin("peers").to_string(), "environment FOLKMOOT_PEERS");
        assert_eq!(config.origin("ping_ms").to_string(), "file test.toml");
        assert_eq!(config.origin("dead_ms").to_string(), "default");
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_name() {
        let error = resolve("lisen = '127.0.0.1:1'", &[], Flags::default()).unwrap_err();
        assert!(error.what.contains("unknown key `lisen` in test.toml"), "{error}");
        assert_eq!(error.hint, "did you mean `listen`?");
        assert_eq!(nearest("datadir"), Some("data_dir"));
        assert_eq!(nearest("completely-different-thing"), None);
    }

    #[test]
    fn wrong_values_say_what_is_wanted() {
        for file in [
            "listen = 'nowhere'",
            "listen = 5",
            "peers = [1]",
            "peers = ['ftp://x']",
            "open_clients = 'yes'",
            "durability = 'never'",
            "ping_ms = 1",
            "ping_ms = -1",
        ] {
            let error = resolve(file, &[], Flags::default()).unwrap_err();
            assert!(error.hint.starts_with("give "), "{file}: {error} {}", error.hint);
        }
    }

    #[test]
    fn a_wrong_secret_is_not_shown() {
        let error = resolve("secret = ['hunter2']", &[], Flags::default()).unwrap_err();
        assert!(!error.what.contains("hunter2"), "{error}");
    }

    #[test]
    fn names_follow_one_rule() {
        for key in KEYS {
            assert_eq!(key.env, format!("FOLKMOOT_{}", key.name.to_uppercase()));
            let listed =
                matches!(key.kind, Kind::Urls | Kind::Names | Kind::Counts | Kind::Strategies);
            let flag = key.name.replace('_', "-");
            let flag = if listed { key.flag.to_string() } else { flag };
            assert_eq!(key.flag, flag);
        }
    }
}
