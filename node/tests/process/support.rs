//! Starting the program, talking to it, stopping it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One running node.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    /// What it printed before it was ready.
    pub(crate) banner: String,
    /// Where it answers.
    pub(crate) url: String,
    agent: ureq::Agent,
}

/// The program with these arguments, in an environment of its own.
pub(crate) fn folkmoot(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_folkmoot"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FOLKMOOT_") {
            command.env_remove(name);
        }
    }
    // Nobody's own config file may take part.
    command.env("XDG_CONFIG_HOME", "/nonexistent").args(args).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    let output = folkmoot(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A node on a free port.
pub(crate) fn start(dir: &Path, more: &[&str]) -> Process {
    start_at("127.0.0.1:0", dir, more)
}

/// A node on this address. A port that was free a moment ago may be somebody's for a moment.
pub(crate) fn start_at(listen: &str, dir: &Path, more: &[&str]) -> Process {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_start(command(listen, dir, more)) {
            Ok(process) => return process,
            Err((Some(7), _)) if !listen.ends_with(":0") && Instant::now() < deadline => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err((code, log)) => panic!("the node ended with {code:?}:\n{log}"),
        }
    }
}

/// The command that starts a node.
pub(crate) fn command(listen: &str, dir: &Path, more: &[&str]) -> Command {
    let mut command = folkmoot(&["serve", "--listen", listen, "--data-dir", &text(dir)]);
    command.args(more);
    command
}

/// Starts a node and waits until it is ready, or until it has ended.
pub(crate) fn try_start(command: Command) -> Result<Process, (Option<i32>, String)> {
    let (mut child, log, lines) = spawn(command);
    let mut banner = String::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(url) = line.strip_prefix("ready ") {
                    let url = url.to_string();
                    let config = ureq::Agent::config_builder();
                    let config = config.http_status_as_error(false).timeout_global(Some(PATIENCE));
                    let agent = config.build().into();
                    return Ok(Process { child, log, banner, url, agent });
                }
                banner += &line;
                banner.push('\n');
            }
            Err(_) => {
                let _ = child.kill();
                let code = child.wait().unwrap().code();
                return Err((code, whole(&log)));
            }
        }
    }
}

/// Starts the program; its log is gathered, its output comes line by line.
pub(crate) fn spawn(mut command: Command) -> (Child, Arc<Mutex<String>>, Receiver<String>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let (mut stderr, kept) = (child.stderr.take().unwrap(), log.clone());
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut bytes) {
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    let (send, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    (child, log, lines)
}

/// The log of a process that has ended: whoever gathers it has reached its end.
fn whole(log: &Arc<Mutex<String>>) -> String {
    let deadline = Instant::now() + PATIENCE;
    while Arc::strong_count(log) > 1 && Instant::now() < deadline {
        std::thread::sleep(LOOK_AGAIN);
    }
    log.lock().unwrap().clone()
}

impl Process {
    /// Asks the node; the answer's status and body.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        self.try_ask(method, target, body).unwrap()
    }

    /// Asks a node that may be gone.
    pub(crate) fn try_ask(&self, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
        let request = ureq::http::Request::builder().method(method);
        let request = request.uri(format!("{}{target}", self.url));
        let request = request.header("content-type", "application/json");
        let mut answer = self.agent.run(request.body(body.to_string()).unwrap()).ok()?;
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string().ok()?;
        Some((answer.status().as_u16(), text))
    }

    pub(crate) fn put(&self, path: &str, value: &str) {
        let (status, body) = self.ask("PUT", &format!("/v1/data/{path}"), value);
        assert!((200..300).contains(&status), "{status} {body}\n{}", self.log());
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.ask("GET", &format!("/v1/data/{path}"), "");
        match status {
            200 => Some(serde_json::from_str(&body).unwrap()),
            404 => None,
            _ => panic!("{status} {body}\n{}", self.log()),
        }
    }

    pub(crate) fn del(&self, path: &str) {
        let (status, body) = self.ask("DELETE", &format!("/v1/data/{path}"), "");
        assert!((200..300).contains(&status), "{status} {body}\n{}", self.log());
    }

    pub(crate) fn json(&self, target: &str) -> Value {
        let (status, body) = self.ask("GET", target, "");
        assert_eq!(status, 200, "{body}\n{}", self.log());
        serde_json::from_str(&body).unwrap()
    }

    /// All that it holds, as `folkmoot data export` prints it.
    pub(crate) fn export(&self) -> String {
        let (code, out, err) = run(&["data", "--url", &self.url, "export"]);
        assert_eq!(code, 0, "{err}");
        out
    }

    /// Waits until `path` has this value, or none.
    pub(crate) fn wait_for(&self, path: &str, value: Option<&str>) {
        let value: Option<Value> = value.map(|value| serde_json::from_str(value).unwrap());
        self.until(&format!("{path} to be {value:?}"), || self.get(path) == value);
    }

    /// Waits until a condition holds.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", self.log());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as an operator would, and waits for its end.
    pub(crate) fn signal(mut self, signal: &str) -> (ExitStatus, String) {
        send_signal(self.child.id(), signal);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, whole(&self.log));
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send_signal(process: u32, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
    assert!(status.unwrap().success());
}

/// An address that is free now, for nodes that must know each other's before they start.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

/// A directory of the test's own, removed at its end.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    (dir, path)
}
