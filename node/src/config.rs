//! Every setting: one table from which the flags, the environment variables, the keys of the
//! TOML file, the help and `config show` are made.
//!
//! Promise: no setting is needed; the nearest origin wins (flag, environment, file, default);
//! what is unknown or wrong is an error that names the setting, its origin and the cure.

mod flags;
mod table;

pub(crate) use flags::Flags;
pub(crate) use table::{KEYS, Key, Kind, key, nearest};

use folkmoot::api::Strategy;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use table::{to_count, to_strategy};

/// The file's own flag and variable; it cannot stand in the file.
pub(crate) const CONFIG_ENV: &str = "FOLKMOOT_CONFIG";
/// The variable of the invite that `join` takes.
pub(crate) const INVITE_ENV: &str = "FOLKMOOT_INVITE";
/// Asks for answers in JSON, like `--json`.
pub(crate) const JSON_ENV: &str = "FOLKMOOT_JSON";
/// Bytes of a config file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a value came from; the nearest wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
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
                let values = if key.kind.is_list() {
                    value.split([',', ' ']).filter(|part| !part.is_empty()).collect()
                } else {
                    vec![value.as_str()]
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
                (toml::Value::Array(items), kind) if kind.is_list() => {
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
        key.check_all(&values, &origin)?;
        self.settings.insert(self::key(key.name).name, Setting { values, origin });
        Ok(())
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
            "peers = ['https://example.org']",
            "peers = ['http://example.org']",
            "addresses = ['https://example.org:443']",
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
    fn what_other_nodes_or_the_store_would_refuse_is_refused_by_one() {
        let addresses = |count, bytes| {
            let one = format!("'http://{}:1'", "a".repeat(bytes - "http://:1".len()));
            format!("addresses = [{}]", vec![one; count].join(","))
        };
        let peers = |count| format!("peers = [{}]", vec!["'http://a:1'"; count].join(","));
        let histories = |count| format!("histories = ['users={count}']");
        for (good, bad) in [
            (addresses(8, 20), addresses(9, 20)),
            (addresses(8, 256), addresses(8, 257)),
            (peers(256), peers(257)),
            (histories(100), histories(101)),
        ] {
            resolve(&good, &[], Flags::default()).unwrap();
            let error = resolve(&bad, &[], Flags::default()).unwrap_err();
            assert!(error.hint.starts_with("give "), "{error}");
        }
    }

    #[test]
    fn the_largest_file_is_read_whole_and_one_byte_more_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folkmoot.toml");
        let text = |bytes: u64| {
            let text = "ping_ms = 200\n";
            text.to_owned() + &" ".repeat(usize::try_from(bytes).unwrap() - text.len())
        };
        std::fs::write(&path, text(FILE_BYTES_MAX)).unwrap();
        assert_eq!(read_file(&path, true).unwrap(), Some(text(FILE_BYTES_MAX)));
        std::fs::write(&path, text(FILE_BYTES_MAX + 1)).unwrap();
        let error = read_file(&path, false).unwrap_err();
        assert!(error.what.contains("folkmoot.toml: it is over 1 MiB"), "{error}");
    }

    #[test]
    fn a_wrong_secret_is_not_shown() {
        let error = resolve("secret = ['hunter2']", &[], Flags::default()).unwrap_err();
        assert!(!error.what.contains("hunter2"), "{error}");
    }

    #[test]
    fn every_setting_can_be_a_flag_a_variable_and_a_key_of_the_file() {
        for key in KEYS {
            let value = match key.kind {
                Kind::Address => "127.0.0.1:1".to_string(),
                Kind::Url | Kind::Urls | Kind::Peers => "http://a:1".to_string(),
                Kind::Counts => "users=3".to_string(),
                Kind::Strategies => "users=first".to_string(),
                Kind::Switch => "true".to_string(),
                Kind::Choice(words) => words[words.len() - 1].to_string(),
                Kind::Number(min, _) => min.to_string(),
                _ => "words".to_string(),
            };
            let in_file = match key.kind {
                Kind::Switch | Kind::Number(..) => format!("{} = {value}", key.name),
                kind if kind.is_list() => format!("{} = ['{value}']", key.name),
                _ => format!("{} = '{value}'", key.name),
            };
            let command = Flags::add_to(clap::Command::new("test"), &[key.name]);
            let mut line = vec!["test".to_string(), format!("--{}", key.flag)];
            line.extend((key.kind != Kind::Switch).then(|| value.clone()));
            let flags = Flags::from_matches(&command.get_matches_from(line));
            for (config, origin) in [
                (resolve(&in_file, &[], Flags::default()), "file test.toml".to_string()),
                (
                    resolve("", &[(key.env, &value)], Flags::default()),
                    format!("environment {}", key.env),
                ),
                (resolve("", &[], flags), format!("flag --{}", key.flag)),
            ] {
                let config = config.unwrap();
                assert_eq!(config.settings[key.name].values, [value.as_str()], "{}", key.name);
                assert_eq!(config.origin(key.name).to_string(), origin);
            }
        }
    }

    #[test]
    fn names_follow_one_rule() {
        for key in KEYS {
            assert_eq!(key.env, format!("FOLKMOOT_{}", key.name.to_uppercase()));
            let flag = key.name.replace('_', "-");
            let flag = if key.kind.is_list() { key.flag.to_string() } else { flag };
            assert_eq!(key.flag, flag);
        }
    }
}
