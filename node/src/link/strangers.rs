//! Those at the door who have not proven anything yet: few at a time, and few lines about them.
//!
//! Limits: `STRANGERS_MAX`, `STRANGERS_PER_ADDRESS_MAX`, `LOGGED_MAX`, `LOG_PAUSE`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Handshakes of others that may be under way at a time.
pub(super) const STRANGERS_MAX: usize = 256;
/// Those among them that may come from one address (one /64 of IPv6). Loopback is exempt: whoever
/// is there may do worse, and reverse proxies are there.
pub(super) const STRANGERS_PER_ADDRESS_MAX: usize = 4;
/// Addresses about which is remembered when they were last written about.
const LOGGED_MAX: usize = 1_024;
/// Pause between two lines about one address.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Counts strangers; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Strangers {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    logged: HashMap<IpAddr, Instant>,
}

/// A stranger's place at the door; dropped when it is known or gone.
pub(super) struct Place {
    strangers: Strangers,
    address: IpAddr,
}

impl Strangers {
    /// A place for one more from `address`, if there is one.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = neighborhood(address);
        let mut state = self.lock();
        let here = state.by_address.get(&address).copied().unwrap_or(0);
        let crowded = here >= STRANGERS_PER_ADDRESS_MAX && !address.is_loopback();
        if crowded || state.total >= STRANGERS_MAX {
            return None;
        }
        state.total += 1;
        state.by_address.insert(address, here + 1);
        Some(Place { strangers: self.clone(), address })
    }

    /// Whether a line about `address` may be written at `now`; then the next may not, for a while.
    pub(super) fn may_log(&self, address: IpAddr, now: Instant) -> bool {
        let address = neighborhood(address);
        let mut state = self.lock();
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < LOG_PAUSE;
        if state.logged.get(&address).is_some_and(is_recent) {
            return false;
        }
        if state.logged.len() >= LOGGED_MAX {
            state.logged.retain(|_, at| is_recent(at));
        }
        if state.logged.len() >= LOGGED_MAX {
            return false;
        }
        state.logged.insert(address, now);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.strangers.lock();
        state.total -= 1;
        let here = state.by_address.get(&self.address).copied().unwrap_or(0);
        if here > 1 {
            state.by_address.insert(self.address, here - 1);
        } else {
            state.by_address.remove(&self.address);
        }
    }
}

/// What one attacker has at least: one address of IPv4, a /64 of IPv6.
fn neighborhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn one_address_gets_few_places_and_all_together_a_bounded_number() {
        let strangers = Strangers::default();
        let four: Vec<_> = (0..9).map_while(|_| strangers.enter(address(1))).collect();
        assert_eq!(four.len(), STRANGERS_PER_ADDRESS_MAX);
        drop(four);
        let many = (0..=255).flat_map(|last| [address(last); STRANGERS_PER_ADDRESS_MAX]);
        let places: Vec<_> = many.map_while(|address| strangers.enter(address)).collect();
        assert_eq!(places.len(), STRANGERS_MAX);
        drop(places);
        assert!(strangers.lock().by_address.is_empty() && strangers.lock().total == 0);
    }

    #[test]
    fn many_may_come_through_a_proxy_on_this_machine() {
        let strangers = Strangers::default();
        let local: IpAddr = [127, 0, 0, 1].into();
        let places: Vec<_> = (0..STRANGERS_MAX).map_while(|_| strangers.enter(local)).collect();
        assert_eq!(places.len(), STRANGERS_MAX);
        assert!(strangers.enter(local).is_none());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let at = |text: &str| neighborhood(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:0:0:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), address(1));
    }

    #[test]
    fn one_line_is_written_about_an_address_in_a_minute() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        assert!(strangers.may_log(address(1), start));
        assert!(!strangers.may_log(address(1), start + LOG_PAUSE - Duration::from_millis(1)));
        assert!(strangers.may_log(address(2), start));
        assert!(strangers.may_log(address(1), start + LOG_PAUSE));
        let later = start + 3 * LOG_PAUSE;
        let many = (0..=u16::MAX).map(|n| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]));
        let written = many.filter(|address| strangers.may_log(*address, later)).count();
        assert_eq!(written, LOGGED_MAX);
    }
}
