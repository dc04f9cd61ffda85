//! The table of all settings, and what each may be.

use super::{ConfigError, Origin};
use folkmoot::api::Strategy;
use folkmoot_core::limits::{
    ADDRESS_BYTES_MAX, HISTORY_VERSIONS_MAX, PEERS_MAX, RECORD_ADDRESSES_MAX,
};

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
    /// Addresses that nodes can dial, several of them, like `Urls`.
    Peers,
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

impl Kind {
    /// Whether it takes several values.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Kind::Urls | Kind::Peers | Kind::Names | Kind::Counts | Kind::Strategies)
    }
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
    key!("peers", "peer", "FOLKMOOT_PEERS", Kind::Peers, "",
        "Node to link to, http://host:port; repeatable, tried for ever"),
    key!("secret", "secret", "FOLKMOOT_SECRET", Kind::Text, "",
        "Secret of the network; made at the first start unless given"),
    key!("addresses", "address", "FOLKMOOT_ADDRESSES", Kind::Peers, "",
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
    key!("socketio_config", "socketio-config", "FOLKMOOT_SOCKETIO_CONFIG", Kind::Text, "",
        "File that lists the multi-server-chat servers of a mixed mesh, this node among them"),
    key!("socketio_id", "socketio-id", "FOLKMOOT_SOCKETIO_ID", Kind::Text, "",
        "Which server of that list this node is, server-1"),
    key!("url", "url", "FOLKMOOT_URL", Kind::Url, "http://127.0.0.1:3655",
        "Node that client commands talk to"),
    key!("log", "log", "FOLKMOOT_LOG", LEVELS, "info",
        "Least level of what is logged to standard error"),
    key!("log_format", "log-format", "FOLKMOOT_LOG_FORMAT", Kind::Choice(&["text", "json"]), "text",
        "Form of the log lines"),
    key!("drift_ms_max", "drift-ms-max", "FOLKMOOT_DRIFT_MS_MAX", Kind::Number(1_000, DAY_MS), "60000",
        "How far in the future a stamp may lie, in milliseconds"),
    key!("tombstone_grace_ms", "tombstone-grace-ms", "FOLKMOOT_TOMBSTONE_GRACE_MS", Kind::Number(1_000, 3650 * DAY_MS), "2592000000",
        "How long a delete is remembered at least, in milliseconds"),
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

/// The key of that name.
///
/// # Panics
/// If there is none: names are written in the code.
pub(crate) fn key(name: &str) -> &'static Key {
    KEYS.iter().find(|key| key.name == name).expect("settings are named after the table")
}

impl Key {
    /// How many values it may have, and bytes of each; where nodes rely on it.
    fn limits(&self) -> Option<(usize, usize)> {
        match self.name {
            "addresses" => Some((RECORD_ADDRESSES_MAX, ADDRESS_BYTES_MAX)),
            "peers" => Some((PEERS_MAX, ADDRESS_BYTES_MAX)),
            _ => None,
        }
    }

    /// Checks all values together.
    pub(super) fn check_all(&self, values: &[String], origin: &Origin) -> Result<(), ConfigError> {
        for value in values {
            self.check(value, origin)?;
        }
        let Some((count_max, bytes_max)) = self.limits() else { return Ok(()) };
        let long = values.iter().any(|value| value.len() > bytes_max);
        if values.len() <= count_max && !long {
            return Ok(());
        }
        Err(ConfigError::new(
            format!("there is too much in `{}` ({origin})", self.name),
            format!("give at most {count_max}, each of at most {bytes_max} bytes"),
        ))
    }

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
            Kind::Peers => folkmoot::node::check_address(value).is_ok(),
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

    pub(super) fn wrong(&self, value: &str, origin: &Origin) -> ConfigError {
        let wants = match self.kind {
            Kind::Text => "text that is not empty".to_string(),
            Kind::Directory => "the name of a directory".to_string(),
            Kind::Address => "host:port, for example 127.0.0.1:3655".to_string(),
            Kind::Url => "a URL, for example http://127.0.0.1:3655".to_string(),
            Kind::Urls => "a list of URLs, for example http://192.0.2.1:3655".to_string(),
            Kind::Peers => {
                "a list of addresses, http://host:port; links are encrypted in any case".to_string()
            }
            Kind::Names => "a list of host names, for example my.example.org".to_string(),
            Kind::Counts => format!(
                "a list of path=number, for example users=10, with numbers up to {HISTORY_VERSIONS_MAX}"
            ),
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

/// The two halves of `path=strategy`.
pub(super) fn to_strategy(text: &str) -> Option<(&str, Strategy)> {
    let (path, word) = text.rsplit_once('=')?;
    Some((path, Strategy::from_word(word)?))
}

/// The two halves of `path=number`; the number is at most `HISTORY_VERSIONS_MAX`.
pub(super) fn to_count(text: &str) -> Option<(&str, usize)> {
    let (path, number) = text.rsplit_once('=')?;
    let number = number.parse().ok().filter(|number| *number <= HISTORY_VERSIONS_MAX)?;
    Some((path, number))
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
