//! How the TCP connections of this node are set, of clients and links alike.
//!
//! Promise: what is written leaves at once; an end that is gone without a word is noticed, by what
//! it does not acknowledge, or by probes while nothing is to be said. This is the system's part:
//! links are pinged beside it, and clients have deadlines.
//! Limits: `UNACKNOWLEDGED`, `SILENCE`, `PROBE_PAUSE`, `PROBES`.

use rustix::net::sockopt;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long what was written may stay without acknowledgement (`TCP_USER_TIMEOUT`).
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Silence after which the other end is probed.
const SILENCE: Duration = Duration::from_secs(15);
/// Pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_secs(5);
/// Probes without an answer after which the other end is gone.
const PROBES: u32 = 3;

/// Sets a connection that was accepted or made.
pub(crate) fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, SILENCE)?;
    sockopt::set_tcp_keepintvl(tcp, PROBE_PAUSE)?;
    sockopt::set_tcp_keepcnt(tcp, PROBES)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(tcp, UNACKNOWLEDGED.as_millis() as u32)?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #[cfg(target_os = "linux")]
    use super::*;

    #[cfg(target_os = "linux")]
    /// Whether a connection is set as it should be.
    #[track_caller]
    pub(crate) fn assert_prepared(tcp: &TcpStream) {
        assert!(tcp.nodelay().unwrap() && sockopt::socket_keepalive(tcp).unwrap());
        assert_eq!(sockopt::tcp_keepidle(tcp).unwrap(), SILENCE);
        assert_eq!(sockopt::tcp_keepintvl(tcp).unwrap(), PROBE_PAUSE);
        assert_eq!(sockopt::tcp_keepcnt(tcp).unwrap(), PROBES);
        assert_eq!(sockopt::tcp_user_timeout(tcp).unwrap(), 30_000);
    }
}
