//! How many connections and requests there are, and from where.
//!
//! Promise: the sum of connections is bounded, so that the node keeps files for its store and its
//! links; one address elsewhere gets a bounded share, and a bounded rate of connections and of
//! requests. Clients on this machine share only the sum.
//! Limits: `connections_max`, `connections_per_ip_max`, `connections_per_ip_rate`,
//! `requests_per_ip_rate`, `requests_per_ip_burst`.

use super::limits::HttpLimits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses that are remembered without an open connection.
const ADDRESSES_MAX: usize = 4_096;

/// All open connections of the port.
#[derive(Debug)]
pub(crate) struct Connections {
    open: AtomicUsize,
    refused: AtomicU64,
    places: Mutex<HashMap<IpAddr, Place>>,
    max: usize,
    per_ip_max: usize,
    arrivals: Rate,
    requests: Rate,
}

/// One address elsewhere: its connections, what is left for new ones, and for requests.
#[derive(Debug)]
struct Place {
    open: usize,
    arrivals: Bucket,
    requests: Bucket,
}

/// So many at once, and so many a second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    per_second: f64,
}

/// What is left of a rate.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { tokens: rate.burst, filled: now }
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + seconds * rate.per_second).min(rate.burst);
        self.filled = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    connections: Arc<Connections>,
    place: Option<IpAddr>,
}

impl Connections {
    /// No connections yet.
    pub(crate) fn new(limits: &HttpLimits) -> Connections {
        let per_second = limits.connections_per_ip_rate;
        Connections {
            open: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            places: Mutex::default(),
            max: limits.connections_max,
            per_ip_max: limits.connections_per_ip_max,
            arrivals: Rate { burst: 2.0 * per_second, per_second },
            requests: Rate {
                burst: limits.requests_per_ip_burst,
                per_second: limits.requests_per_ip_rate,
            },
        }
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections turned away since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Room for a connection from `remote`, or `None` if there are too many.
    pub(crate) fn enter(self: &Arc<Self>, remote: IpAddr, now: Instant) -> Option<Slot> {
        let place = place_of(remote);
        let slot = Slot { connections: self.clone(), place: None };
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let allowed = before < self.max && place.is_none_or(|ip| self.take_place(ip, now));
        if !allowed {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(slot.at(place))
    }

    /// Whether a request from `remote` is within its rate.
    pub(crate) fn may_ask(&self, remote: IpAddr, now: Instant) -> bool {
        place_of(remote).is_none_or(|ip| {
            let mut places = self.lock();
            self.place(&mut places, ip, now).requests.take(self.requests, now)
        })
    }

    fn take_place(&self, ip: IpAddr, now: Instant) -> bool {
        let mut places = self.lock();
        let place = self.place(&mut places, ip, now);
        let taken = place.open < self.per_ip_max && place.arrivals.take(self.arrivals, now);
        place.open += usize::from(taken);
        taken
    }

    fn place<'a>(
        &self,
        places: &'a mut HashMap<IpAddr, Place>,
        ip: IpAddr,
        now: Instant,
    ) -> &'a mut Place {
        if places.len() >= ADDRESSES_MAX && !places.contains_key(&ip) {
            places.retain(|_, place| place.open > 0);
        }
        places.entry(ip).or_insert_with(|| Place {
            open: 0,
            arrivals: Bucket::full(self.arrivals, now),
            requests: Bucket::full(self.requests, now),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn at(mut self, place: Option<IpAddr>) -> Slot {
        self.place = place;
        self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(place) = self.place
            && let Some(place) = self.connections.lock().get_mut(&place)
        {
            place.open = place.open.saturating_sub(1);
        }
    }
}

/// What is counted together: an IPv4 address, or an IPv6 network of 64 bits. `None` on loopback.
pub(crate) fn place_of(remote: IpAddr) -> Option<IpAddr> {
    match remote.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
        ip => Some(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn connections(max: usize, per_ip_max: usize, rate: f64) -> Arc<Connections> {
        Arc::new(Connections::new(&HttpLimits {
            connections_max: max,
            connections_per_ip_max: per_ip_max,
            connections_per_ip_rate: rate,
            ..HttpLimits::default()
        }))
    }

    #[test]
    fn the_sum_is_bounded_and_given_back() {
        let all = connections(2, 64, 1_000.0);
        let (local, now) = (IpAddr::from([127, 0, 0, 1]), Instant::now());
        let first = all.enter(local, now);
        let _second = all.enter(local, now).unwrap();
        assert!(all.enter(local, now).is_none());
        assert_eq!((all.open(), all.refused()), (2, 1));
        drop(first);
        assert!(all.enter(local, now).is_some());
    }

    #[test]
    fn an_address_elsewhere_has_its_share_and_this_machine_has_none() {
        let all = connections(100, 2, 1_000.0);
        let now = Instant::now();
        let enter = |ip: [u8; 4]| all.enter(IpAddr::from(ip), now);
        let held = [enter([10, 0, 0, 1]), enter([10, 0, 0, 1])];
        assert!(held.iter().all(Option::is_some));
        assert!(enter([10, 0, 0, 1]).is_none() && enter([10, 0, 0, 2]).is_some());
        let local: Vec<_> = (0..10).map(|_| enter([127, 0, 0, 1])).collect();
        assert!(local.iter().all(Option::is_some));
        drop(held);
        assert!(enter([10, 0, 0, 1]).is_some());
    }

    #[test]
    fn new_connections_come_at_a_bounded_rate() {
        let all = connections(100, 64, 2.0);
        let (ip, start) = (IpAddr::from([10, 0, 0, 1]), Instant::now());
        let within = |at: Duration| (0..10).filter(|_| all.enter(ip, start + at).is_some()).count();
        assert_eq!(within(Duration::ZERO), 4);
        assert_eq!(within(Duration::from_secs(1)), 2);
        assert_eq!(within(Duration::from_secs(60)), 4);
    }

    #[test]
    fn requests_from_elsewhere_come_at_a_bounded_rate_and_local_ones_at_any() {
        let limits = HttpLimits { requests_per_ip_burst: 3.0, ..HttpLimits::default() };
        let all = Connections::new(&HttpLimits { requests_per_ip_rate: 2.0, ..limits });
        let start = Instant::now();
        let asked = |ip: [u8; 4], seconds: u64| {
            let at = start + Duration::from_secs(seconds);
            (0..10).filter(|_| all.may_ask(IpAddr::from(ip), at)).count()
        };
        assert_eq!((asked([10, 0, 0, 1], 0), asked([10, 0, 0, 2], 0)), (3, 3));
        assert_eq!((asked([10, 0, 0, 1], 1), asked([10, 0, 0, 1], 60)), (2, 3));
        assert_eq!(asked([127, 0, 0, 1], 0), 10);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together() {
        let place = |text: &str| place_of(text.parse().unwrap());
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:2"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_eq!(place("::ffff:10.0.0.1"), place("10.0.0.1"));
        assert_eq!(place("::1"), None);
    }

    #[test]
    fn addresses_without_a_connection_are_forgotten_when_there_are_too_many() {
        let all = connections(2 * ADDRESSES_MAX, 1, 1_000.0);
        let now = Instant::now();
        let ip = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let held = all.enter(ip(0), now);
        assert!(held.is_some());
        for n in 1..ADDRESSES_MAX {
            assert!(all.enter(ip(n), now).is_some());
        }
        assert_eq!(all.lock().len(), ADDRESSES_MAX);
        assert!(all.enter(ip(ADDRESSES_MAX), now).is_some());
        assert_eq!(all.lock().len(), 2, "the one that is connected, and the new one");
        assert!(all.enter(ip(0), now).is_none(), "it has its connection, and no more");
    }
}
