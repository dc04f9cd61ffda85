//! How fast a client from elsewhere may speak. Pure; clients on this machine have no limit.
//!
//! Limits: `MESSAGES_PER_SECOND`, `BURST`.

use std::net::IpAddr;
use std::time::Instant;

/// Messages that a client may send in a second, on and on.
const MESSAGES_PER_SECOND: f64 = 10.0;
/// Messages that it may send at once.
const BURST: f64 = 100.0;

/// A bucket of tokens, one a message; none for a client without a limit.
pub(super) struct Pace(Option<Bucket>);

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Pace {
    /// A full bucket for a client at `remote`.
    pub(super) fn new(remote: IpAddr, now: Instant) -> Pace {
        let local = remote.to_canonical().is_loopback();
        Pace((!local).then_some(Bucket { tokens: BURST, filled: now }))
    }

    /// Whether one more message may be sent now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let Some(bucket) = &mut self.0 else { return true };
        let seconds = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + seconds * MESSAGES_PER_SECOND).min(BURST);
        bucket.filled = now;
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_clients_elsewhere_are_slowed() {
        let start = Instant::now();
        let mut far = Pace::new([10, 0, 0, 1].into(), start);
        let mut sent = |at: u64, tries: usize| {
            let at = start + Duration::from_secs(at);
            (0..tries).filter(|_| far.take(at)).count()
        };
        assert_eq!((sent(0, 101), sent(1, 11), sent(100, 200)), (100, 10, 100));
        let mut near = Pace::new([127, 0, 0, 2].into(), start);
        assert!((0..1_000).all(|_| near.take(start)));
    }
}
