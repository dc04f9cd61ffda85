//! What one socket is, whatever carries it: its queue, its heartbeat, its place in the namespace.
//!
//! Promise: no clock and no socket is touched here; what comes in is a packet and the time, what
//! goes out waits in the queue. Protocol 3 pings from the client, protocol 4 from the node.
//! Limits: `QUEUE_BYTES_MAX`, `PING_INTERVAL`, `PING_TIMEOUT`, `ENTER_TIMEOUT`.

use super::engine_io::{self, PAYLOAD_BYTES_MAX, Protocol};
use super::packet::{self, Kind, Packet};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two pings; told to the client.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long the answer to a ping may take; told to the client.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client of protocol 4 may take to enter the namespace.
const ENTER_TIMEOUT: Duration = Duration::from_secs(45);
/// Bytes that wait for the transport, the list of users not counted: one more packet, and the
/// client counts as one that does not read.
pub(super) const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a namespace that is repeated in an answer.
const NAMESPACE_BYTES_MAX: usize = 128;

/// A socket between its handshake and its end.
pub(super) struct Session {
    pub(super) protocol: Protocol,
    pub(super) queue: Queue,
    id: String,
    /// Whether it is in the main namespace.
    entered: bool,
    opened: Instant,
    heard: Instant,
    pinged: Instant,
    /// Whether the node's last ping waits for any sign of life.
    waits: bool,
}

/// What a packet means to whoever stands behind the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Nothing.
    Nothing,
    /// An event, as JSON that was not looked at, and by what it wants to be acknowledged.
    Event { id: Option<u64>, data: &'a str },
    /// The client left the namespace, and its user with it.
    Left,
}

/// Why a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client said so, or its connection is gone.
    Gone,
    /// It said what is not in the protocol.
    Malformed(&'static str),
    /// No sign of life.
    Silent,
    /// It does not take in what waits for it.
    NotReading,
    /// The node is shutting down.
    Closing,
}

impl End {
    /// The WebSocket close code and its reason.
    pub(super) fn close(self) -> (u16, &'static str) {
        match self {
            End::Gone => (1000, ""),
            End::Malformed(why) => (1002, why),
            End::Silent => (4009, "no sign of life"),
            End::NotReading => (4008, "does not read"),
            End::Closing => (1001, "the node is shutting down"),
        }
    }
}

impl Session {
    /// A session whose queue begins with the handshake. `upgrade` tells the client that it may
    /// go on over a WebSocket.
    pub(super) fn open(protocol: Protocol, id: String, upgrade: bool, now: Instant) -> Session {
        let upgrades = if upgrade { "\"websocket\"" } else { "" };
        let (interval, timeout) = (PING_INTERVAL.as_millis(), PING_TIMEOUT.as_millis());
        let handshake = format!(
            "0{{\"sid\":\"{id}\",\"upgrades\":[{upgrades}],\"pingInterval\":{interval},\
             \"pingTimeout\":{timeout},\"maxPayload\":{PAYLOAD_BYTES_MAX}}}"
        );
        let mut queue = Queue::default();
        queue.push(handshake.into());
        let entered = protocol == Protocol::Three;
        if entered {
            queue.push(packet::connect(protocol, &id));
        }
        let (opened, heard, pinged) = (now, now, now);
        Session { protocol, queue, id, entered, opened, heard, pinged, waits: false }
    }

    /// Takes a packet of the client.
    pub(super) fn on_packet<'a>(
        &mut self,
        packet: &'a engine_io::Packet,
        now: Instant,
    ) -> Result<Said<'a>, End> {
        self.heard = now;
        self.waits = false;
        match packet.kind {
            engine_io::Kind::Ping => {
                self.queue.push(format!("3{}", short(packet.text())).into());
                Ok(Said::Nothing)
            }
            engine_io::Kind::Close => Err(End::Gone),
            engine_io::Kind::Message => {
                let read = Packet::decode(packet.text()).map_err(|bad| End::Malformed(bad.0))?;
                Ok(self.on_message(read))
            }
            engine_io::Kind::Open
            | engine_io::Kind::Pong
            | engine_io::Kind::Upgrade
            | engine_io::Kind::Noop
            | engine_io::Kind::Binary => Ok(Said::Nothing),
        }
    }

    fn on_message<'a>(&mut self, packet: Packet<'a>) -> Said<'a> {
        let main = packet.namespace == "/";
        match packet.kind {
            Kind::Connect if main => {
                self.entered = true;
                // Of protocol 3 it was said with the handshake.
                if self.protocol == Protocol::Four {
                    self.queue.push(packet::connect(self.protocol, &self.id));
                }
            }
            Kind::Connect => {
                let name = Some(packet.namespace)
                    .filter(|name| name.len() <= NAMESPACE_BYTES_MAX && is_plain(name))
                    .unwrap_or("/?");
                self.queue.push(packet::no_namespace(self.protocol, name));
            }
            Kind::Disconnect if main => {
                self.entered = false;
                return Said::Left;
            }
            Kind::Event if main && self.entered => {
                return Said::Event { id: packet.id, data: packet.data };
            }
            Kind::BinaryEvent | Kind::BinaryAck if main && self.entered => {
                self.queue.push(packet::refusal("events with binary data are not taken"));
            }
            _ => {}
        }
        Said::Nothing
    }

    /// When [`Session::on_time`] is to be called.
    pub(super) fn deadline(&self) -> Instant {
        let life = match self.protocol {
            Protocol::Three => self.heard + PING_INTERVAL + PING_TIMEOUT,
            Protocol::Four if self.waits => self.pinged + PING_TIMEOUT,
            Protocol::Four => self.pinged + PING_INTERVAL,
        };
        if self.entered { life } else { life.min(self.opened + ENTER_TIMEOUT) }
    }

    /// Pings, or gives up.
    pub(super) fn on_time(&mut self, now: Instant) -> Result<(), End> {
        if now < self.deadline() {
            return Ok(());
        }
        let late = !self.entered && now >= self.opened + ENTER_TIMEOUT;
        if late || self.waits || self.protocol == Protocol::Three {
            return Err(End::Silent);
        }
        self.pinged = now;
        self.waits = true;
        self.queue.push(Bytes::from_static(b"2"));
        Ok(())
    }
}

/// What a ping says is repeated; there is no need to say much.
fn short(said: &str) -> &str {
    if said.len() <= 16 { said } else { "" }
}

/// Whether a namespace can be repeated as it is.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// What waits for the transport.
#[derive(Default)]
pub(super) struct Queue {
    packets: VecDeque<Bytes>,
    bytes: usize,
    /// The newest list of users: an older one that waits is replaced.
    list: Option<Bytes>,
    /// The number of the last message among the packets.
    received: Option<u64>,
}

/// What is handed to a transport at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    packets: Vec<Bytes>,
    list: Option<Bytes>,
    /// The messages up to this number are delivered with it.
    pub(super) received: Option<u64>,
}

impl Batch {
    /// In the order in which they go.
    pub(super) fn all(&self) -> Vec<Bytes> {
        self.packets.iter().chain(&self.list).cloned().collect()
    }
}

impl Queue {
    /// Adds a packet.
    pub(super) fn push(&mut self, packet: Bytes) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    /// The packets hold all messages up to this number.
    pub(super) fn push_received(&mut self, number: u64) {
        self.received = Some(number);
    }

    /// The messages among the packets were somebody else's.
    pub(super) fn forget_received(&mut self) {
        self.received = None;
    }

    /// Puts the list of users in place of the one that waits, if one does.
    pub(super) fn push_list(&mut self, list: Bytes) {
        self.list = Some(list);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.list.is_none()
    }

    /// Bytes that wait, without the list.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes everything.
    pub(super) fn take(&mut self) -> Batch {
        self.bytes = 0;
        let (packets, list) = (std::mem::take(&mut self.packets).into(), self.list.take());
        Batch { packets, list, received: self.received.take() }
    }

    /// Puts back what could not be handed over, the list only if no newer one waits.
    pub(super) fn restore(&mut self, batch: Batch) {
        let newer = std::mem::take(self);
        for packet in batch.packets.into_iter().chain(newer.packets) {
            self.push(packet);
        }
        self.list = newer.list.or(batch.list);
        self.received = newer.received.max(batch.received);
    }
}

#[cfg(test)]
mod tests;
