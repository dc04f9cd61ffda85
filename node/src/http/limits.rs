//! The limits of the HTTP port, each with its unit and default.

use folkmoot_core::limits::CHAT_BODY_BYTES_MAX;
use std::time::Duration;

/// Bytes of a request line with its headers.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Headers of a request.
pub(crate) const HEADERS_MAX: usize = 32;
/// Bytes that are read ahead on a connection, and buffered for it.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the body of a batch: its paths and values, and room for the JSON around them.
pub(crate) const BATCH_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of the body of a message: what is said, with its JSON, names and an id around it.
pub(crate) const LETTER_BODY_BYTES_MAX: usize = CHAT_BODY_BYTES_MAX + 4 * 1024;
/// Bytes of any other body that is not a value.
pub(crate) const SMALL_BODY_BYTES_MAX: usize = 4 * 1024;
/// Bytes of values in one page of a scan, at which the page is ended.
pub(crate) const PAGE_BYTES_TARGET: usize = 1024 * 1024;
/// Bytes that are gathered before a stream passes them on.
pub(crate) const CHUNK_BYTES_TARGET: usize = 64 * 1024;
/// Silence on a stream of events after which a comment is sent.
pub(crate) const EVENTS_SILENCE: Duration = Duration::from_secs(15);

/// What a test may set differently.
#[derive(Clone, Debug)]
pub(crate) struct HttpLimits {
    /// Connections at the same time.
    pub(crate) connections_max: usize,
    /// Connections of one address that is not on this machine.
    pub(crate) connections_per_ip_max: usize,
    /// New connections per second of such an address; twice as many at once.
    pub(crate) connections_per_ip_rate: f64,
    /// Requests per second of such an address, when it has used up its burst.
    pub(crate) requests_per_ip_rate: f64,
    /// Requests of such an address at once.
    pub(crate) requests_per_ip_burst: f64,
    /// From the connection to its first byte.
    pub(crate) first_byte: Duration,
    /// From the first byte of a request to the end of its headers.
    pub(crate) head: Duration,
    /// From the headers to the end of the body.
    pub(crate) body: Duration,
    /// Between an answer and the next request.
    pub(crate) idle: Duration,
    /// How long a client may take in nothing of an answer.
    pub(crate) write: Duration,
    /// How long requests under way may take once the node shuts down.
    pub(crate) drain: Duration,
    /// Those of WebSockets.
    pub(crate) ws: WsLimits,
}

/// The limits of `/v1/ws`.
#[derive(Clone, Debug)]
pub(crate) struct WsLimits {
    /// From the connection to the client's hello.
    pub(crate) hello: Duration,
    /// Silence after which a client is pinged.
    pub(crate) silence: Duration,
    /// From a ping to any sign of life.
    pub(crate) pong: Duration,
    /// How long a client may take in nothing.
    pub(crate) write: Duration,
    /// From the first byte of a text to its last.
    pub(crate) message: Duration,
    /// How long a client with too many unsettled messages is not listened to, if none is settled.
    pub(crate) crowded: Duration,
    /// How long a client may take to hear why it is closed.
    pub(crate) farewell: Duration,
    /// Texts per second of a client that is not on this machine, when it has used up its burst.
    pub(crate) texts_rate: f64,
    /// Texts of such a client at once.
    pub(crate) texts_burst: f64,
}

impl Default for WsLimits {
    fn default() -> WsLimits {
        WsLimits {
            hello: Duration::from_secs(10),
            silence: Duration::from_secs(25),
            pong: Duration::from_secs(10),
            write: Duration::from_secs(10),
            message: Duration::from_secs(30),
            crowded: Duration::from_secs(2),
            farewell: Duration::from_secs(1),
            texts_rate: 200.0,
            texts_burst: 1_000.0,
        }
    }
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            connections_max: 16 * 1024,
            connections_per_ip_max: 64,
            connections_per_ip_rate: 20.0,
            requests_per_ip_rate: 100.0,
            requests_per_ip_burst: 1_000.0,
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(5),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            ws: WsLimits::default(),
        }
    }
}
