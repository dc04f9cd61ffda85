//! How many connections there are, and from where.
//!
//! Promise: the sum is bounded, so that the node keeps files for its store and its links; one
//! address elsewhere gets a bounded share and rate. Clients on this machine share only the sum.
//! Limits: `connections_max`, `connections_per_ip_max`, `connections_per_ip_rate`.

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
    per_ip_rate: f64,
}

/// One address elsewhere: its connections, and a bucket of tokens for new ones.
#[derive(Debug)]
struct Place {
    open: usize,
    tokens: f64,
    filled: Instant,
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
        Connections {
            open: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            places: Mutex::default(),
            max: limits.connections_max,
            per_ip_max: limits.connections_per_ip_max,
            per_ip_rate: limits.connections_per_ip_rate,
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

    fn take_place(&self, ip: IpAddr, now: Instant) -> bool {
        let mut places = self.lock();
        if places.len() >= ADDRESSES_MAX && !places.contains_key(&ip) {
            places.retain(|_, place| place.open > 0);
        }
        let burst = self.per_ip_rate * 2.0;
        let place = places.entry(ip).or_insert(Place { open: 0, tokens: burst, filled: now });
        let seconds = now.saturating_duration_since(place.filled).as_secs_f64();
        place.tokens = (place.tokens + seconds * self.per_ip_rate).min(burst);
        place.filled = now;
        if place.open >= self.per_ip_max || place.tokens < 1.0 {
            return false;
        }
        place.open += 1;
        place.tokens -= 1.0;
        true
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
fn place_of(remote: IpAddr) -> Option<IpAddr> {
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
    fn neighbours_in_one_ipv6_network_count_together() {
        let place = |text: &str| place_of(text.parse().unwrap());
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:2"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_eq!(place("::ffff:10.0.0.1"), place("10.0.0.1"));
        assert_eq!(place("::1"), None);
    }
}
