//! nats-server on its WebSocket listener, under the same load as a node: text of 128 bytes from one
//! publisher to one subscriber. It acknowledges nothing; the window is the load generator's.

use super::BODY_BYTES;
use super::pair::{MANY, MICROS, ONE, ONE_AT_ONCE, Writes, send};
use super::raw::{BINARY, Raw, lost, push};
use crate::cli::bench::reopen::{TICKS, ticks};
use crate::cli::bench::report::{Part, Round, per_second};
use crate::cli::bench::{Bench, Failure, differs};
use crate::cli::failure::Exit;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(super) const BATCHED: Part = Part {
    name: "nats-batched",
    what: "the peer, nats-server over WebSocket, in the same shape (not acknowledged)",
    client: "two WebSockets; 64 frames a write, at most 4,096 messages not yet received",
    unit: "messages/s",
    goals: &[],
    run: |bench| stream(bench, MANY, 3_000_000),
};

pub(super) const SINGLE: Part = Part {
    name: "nats-single",
    what: "the same, one frame a write",
    client: "two WebSockets; 1 frame a write, sent as the system sends by default (TCP_NODELAY is not set), at most 4,096 messages not yet received",
    unit: "messages/s",
    goals: &[],
    run: |bench| stream(bench, ONE, 1_500_000),
};

pub(super) const SINGLE_AT_ONCE: Part = Part {
    name: "nats-single-at-once",
    what: "the same, where the system sends each frame at once, in a segment of its own",
    client: "two WebSockets; 1 frame a write, TCP_NODELAY is set, at most 4,096 messages not yet received",
    unit: "messages/s",
    goals: &[],
    run: |bench| stream(bench, ONE_AT_ONCE, 1_000_000),
};

/// Where nats-server is, if it is installed.
pub(super) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin".into(), "/usr/local/sbin".into()];
    let all = std::env::split_paths(&path).chain(more);
    all.map(|dir| dir.join("nats-server")).find(|program| program.is_file())
}

struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(lost)?;
    Ok(listener.local_addr().map_err(lost)?.port())
}

fn serve(bench: &Bench) -> Result<Server, Failure> {
    let program = program().ok_or_else(|| Failure::new(Exit::Usage, "no nats-server here"))?;
    let (port, web) = (free_port()?, free_port()?);
    let config = bench.data_dir("nats.conf");
    let text = format!(
        "host: 127.0.0.1\nport: {port}\nwebsocket {{ listen: \"127.0.0.1:{web}\", no_tls: true }}\n"
    );
    std::fs::write(&config, text).map_err(lost)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(Stdio::null()).spawn().map_err(lost)?;
    let server = Server(child, web);
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", web)).is_err() {
        if Instant::now() > until {
            return Err(Failure::new(Exit::Failed, "nats-server does not get ready"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn open(server: &Server) -> Result<Raw, Failure> {
    let mut raw = Raw::open(&format!("127.0.0.1:{}", server.1), "/")?;
    raw.until("INFO")?;
    say(&mut raw, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")?;
    raw.until("PONG")?;
    Ok(raw)
}

fn say(raw: &mut Raw, text: &str) -> Result<(), Failure> {
    let mut out = Vec::new();
    push(&mut out, BINARY, text.as_bytes());
    raw.write(&out)
}

fn stream(bench: &Bench, writes: Writes, count: u64) -> Result<Round, Failure> {
    let server = serve(bench)?;
    let count = bench.scaled(count);
    let mut receiver = open(&server)?;
    say(&mut receiver, "SUB billy 1\r\nPING\r\n")?;
    receiver.until("PONG")?;
    let sender = open(&server)?;
    let seen = Arc::new(AtomicU64::new(0));
    let before = ticks(server.0.id()).unwrap_or(0);
    let began = Instant::now();
    let counter = seen.clone();
    let receiving = thread::spawn(move || receive(receiver, count, &counter));
    let (reader, mut writer) = sender.split()?;
    let mut publish = format!("PUB billy {BODY_BYTES}\r\n").into_bytes();
    publish.extend(std::iter::repeat_n(b'x', BODY_BYTES));
    publish.extend_from_slice(b"\r\n");
    send(&mut writer, count, writes, &seen, |out, _| push(out, BINARY, &publish))?;
    receiving.join().expect("the load generator does not panic")?;
    let took = began.elapsed();
    let spent = (ticks(server.0.id()).unwrap_or(0).saturating_sub(before)) as f64 / TICKS;
    drop(reader);
    let more = vec![(MICROS, spent * 1e6 / count as f64)];
    Ok(Round { value: per_second(count, took), more, ..Round::default() })
}

/// Counts messages: each is a line, the body, and a line's end, wherever frames begin and end.
/// Between them the server may ask whether the client is still there.
fn receive(mut raw: Raw, count: u64, seen: &AtomicU64) -> Result<(), Failure> {
    const ASKED: &[u8] = b"PING\r\n";
    let line = format!("MSG billy 1 {BODY_BYTES}\r\n");
    let each = line.len() + BODY_BYTES + 2;
    let (mut within, mut messages, mut other) = (0, 0, false);
    while messages < count {
        raw.read(|mut payload| {
            while !payload.is_empty() {
                if within == 0 && payload.starts_with(ASKED) {
                    payload = &payload[ASKED.len()..];
                    continue;
                }
                other |= within == 0 && !payload.starts_with(&line.as_bytes()[..1]);
                let taken = payload.len().min(each - within);
                payload = &payload[taken..];
                within = (within + taken) % each;
                messages += u64::from(within == 0);
            }
        })?;
        seen.store(messages, Ordering::Release);
        if other {
            return Err(differs("what nats-server sends", "messages", "something else"));
        }
    }
    Ok(())
}
