//! A room of a thousand: one sends, all others get it.

use super::BODY_BYTES;
use super::pair::{MICROS, drain, hello, nodes, try_read};
use super::raw::{Raw, TEXT, find, frames, handshake, lost, number_after, push};
use crate::cli::bench::goals::{Figure, Goal};
use crate::cli::bench::reopen::Served;
use crate::cli::bench::report::{Part, Round, per_second};
use crate::cli::bench::{Bench, Failure, differs};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Those who listen.
const MEMBERS: u64 = 1_000;
/// Messages that are sent and not received by all yet, at the most.
const AHEAD: u64 = 1_024;
/// Frames in one write.
const FRAMES: u64 = 64;

pub(super) const ROOM: Part = Part {
    name: "room",
    what: "messages of 128 bytes to a room of 1,000 on one node, each acknowledged by all",
    client: "1,001 WebSockets; the sender writes 64 frames at once, at most 1,024 messages not yet received by all",
    unit: "deliveries/s",
    goals: &[(Figure::Value, Goal::AtLeast(3_000_000.0, Some(8_000_000.0)))],
    run: room,
};

/// Where a client dials from: clients of the world do not share one address, on which the system
/// has to search longer and longer for a free port.
fn source(client: u64) -> SocketAddr {
    const CLIENTS_OF_AN_ADDRESS: u64 = 250;
    let number = (client / CLIENTS_OF_AN_ADDRESS % 250) as u8;
    SocketAddr::from((Ipv4Addr::new(127, 0, 1, 1 + number), 0))
}

/// A socket of one who listens, as far as the room's answer, and what was read behind it: the
/// beginning of a frame.
pub(super) async fn join(
    host: String,
    user: String,
    client: u64,
    room: bool,
) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let socket = TcpSocket::new_v4()?;
    if cfg!(target_os = "linux") {
        socket.bind(source(client))?;
    }
    let address = host.parse().map_err(std::io::Error::other)?;
    let mut tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(handshake(&host, "/v1/ws").as_bytes()).await?;
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        if tcp.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut out = Vec::new();
    let text = format!("{{\"op\":\"hello\",\"user\":\"{user}\",\"client\":\"{client:016x}\"}}");
    push(&mut out, TEXT, text.as_bytes());
    if room {
        push(&mut out, TEXT, b"{\"op\":\"join\",\"room\":\"all\",\"id\":7}");
    }
    tcp.write_all(&out).await?;
    let wanted: &[u8] = if room { b"\"done\"" } else { b"\"welcome\"" };
    let mut read = Vec::new();
    while find(&read, wanted).is_none() {
        if tcp.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let whole = frames(&read, &mut |_| {});
    Ok((tcp, read.split_off(whole)))
}

async fn listen(
    (tcp, mut kept): (TcpStream, Vec<u8>),
    last: u64,
    received: Arc<AtomicU64>,
) -> std::io::Result<u64> {
    let (mut m, mut n) = (0, 0);
    let mut scratch = vec![0; 16 * 1024];
    while m < last {
        tcp.readable().await?;
        let mut count = 0;
        let mut on = |text: &[u8]| {
            if text.starts_with(b"{\"op\":\"message\"") {
                n = number_after(text, b"\"n\":").unwrap_or(n);
                let number = number_after(text, b"\"m\":").unwrap_or(0);
                count += u64::from(number == m + 1);
                m = number;
            }
        };
        let mut reader = Trying(&tcp);
        match try_read(&mut reader, &mut scratch, &mut kept, &mut on) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if count > 0 {
            received.fetch_add(count, Ordering::AcqRel);
            let mut out = Vec::new();
            push(&mut out, TEXT, format!("{{\"op\":\"received\",\"n\":{n}}}").as_bytes());
            // A few bytes: they fit the socket's buffer.
            tcp.writable().await?;
            tcp.try_write(&out)?;
        }
    }
    Ok(m)
}

/// A socket as something that can be read.
struct Trying<'a>(&'a TcpStream);

impl std::io::Read for Trying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.try_read(buffer)
    }
}

fn room(bench: &Bench) -> Result<Round, Failure> {
    let nodes = nodes(bench, 1)?;
    let host = nodes[0].host().to_string();
    let count = bench.scaled(10_000);
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    let listening = bench.client(async move {
        let mut listening = Vec::new();
        for member in 0..MEMBERS {
            let tcp = join(host.clone(), format!("m{member}"), member + 1, true).await;
            listening.push(tokio::spawn(listen(tcp.map_err(lost)?, count, counter.clone())));
        }
        Ok(listening)
    })?;
    let mut sender = hello(&nodes[0], "anna", 100_000)?;
    sender.say("{\"op\":\"join\",\"room\":\"all\",\"id\":7}")?;
    sender.until("\"done\"")?;
    thread::sleep(Duration::from_millis(500));
    let before: f64 = nodes.iter().map(Served::cpu_seconds).sum();
    let began = Instant::now();
    send_to_room(sender, count, &received)?;
    bench.client(async move {
        for one in listening {
            let last = one.await.expect("the load generator does not panic").map_err(lost)?;
            if last != count {
                return Err(differs("messages to a member", count, last));
            }
        }
        Ok(())
    })?;
    let took = began.elapsed();
    let spent = nodes.iter().map(Served::cpu_seconds).sum::<f64>() - before;
    let deliveries = count * MEMBERS;
    if received.load(Ordering::Acquire) != deliveries {
        return Err(differs("deliveries", deliveries, received.load(Ordering::Acquire)));
    }
    let more = vec![(MICROS, spent * 1e6 / deliveries as f64)];
    Ok(Round { value: per_second(deliveries, took), more, ..Round::default() })
}

fn send_to_room(sender: Raw, count: u64, received: &AtomicU64) -> Result<(), Failure> {
    let (reader, mut writer) = sender.split()?;
    let failed = Arc::new(AtomicBool::new(false));
    let noted = failed.clone();
    let draining = thread::spawn(move || drain(reader, &noted));
    let (mut sent, mut out) = (0, Vec::new());
    let body = "x".repeat(BODY_BYTES - 2);
    while sent < count {
        if sent - received.load(Ordering::Acquire) / MEMBERS >= AHEAD {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        out.clear();
        for _ in 0..FRAMES.min(count - sent) {
            sent += 1;
            let text =
                format!("{{\"op\":\"send\",\"n\":{sent},\"room\":\"all\",\"body\":\"{body}\"}}");
            push(&mut out, TEXT, text.as_bytes());
        }
        writer.write_all(&out).map_err(lost)?;
    }
    while received.load(Ordering::Acquire) < count * MEMBERS && !draining.is_finished() {
        thread::sleep(Duration::from_millis(1));
    }
    let _ = writer.shutdown(std::net::Shutdown::Both);
    draining.join().expect("the load generator does not panic");
    match failed.load(Ordering::Acquire) {
        true => Err(differs("what became of the messages", "delivered", "something else")),
        false => Ok(()),
    }
}
