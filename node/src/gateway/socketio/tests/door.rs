//! How many sockets there may be.

use super::*;

fn enter(gateway: &Arc<Gateway>, id: usize, address: impl Into<IpAddr>) -> Option<Place> {
    let socket =
        Socket { protocol: Protocol::Four, reads_bytes: false, inbound: mpsc::channel(1).0 };
    gateway.enter(&id.to_string(), address.into(), socket)
}

#[test]
fn sockets_that_poll_are_limited_to_the_one_in_all_and_per_address() {
    let gateway = Gateway::new(true, None);
    let far: Vec<_> =
        (0..SOCKETS_PER_ADDRESS_MAX).map(|id| enter(&gateway, id, [10, 0, 0, 1])).collect();
    assert!(far.iter().all(Option::is_some));
    assert!(enter(&gateway, 100, [10, 0, 0, 1]).is_none());
    assert!(enter(&gateway, 101, [10, 0, 0, 2]).is_some(), "and given back at once");
    let near: Vec<_> = (1_000..1_000 + SOCKETS_MAX - far.len())
        .map(|id| enter(&gateway, id, [127, 0, 0, 1]))
        .collect();
    assert!(near.iter().all(Option::is_some));
    assert!(enter(&gateway, 102, [127, 0, 0, 1]).is_none());
    drop(far);
    assert!(enter(&gateway, 102, [127, 0, 0, 1]).is_some());
    drop(near);
    assert!(gateway.lock().sockets.is_empty() && gateway.lock().addresses.is_empty());
}

#[test]
fn sockets_that_poll_are_counted_together_in_one_network_of_ipv6() {
    let gateway = Gateway::new(true, None);
    let address = |host: usize| [0x2001, 0xdb8, 0, 0, 0, 0, 0, host as u16];
    let far: Vec<_> =
        (0..SOCKETS_PER_ADDRESS_MAX).map(|id| enter(&gateway, id, address(id))).collect();
    assert!(far.iter().all(Option::is_some));
    assert!(enter(&gateway, 100, address(100)).is_none());
    assert!(enter(&gateway, 101, [0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]).is_some());
    drop(far);
    assert!(gateway.lock().addresses.is_empty());
}

#[test]
fn users_come_from_this_machine_unless_all_may() {
    let at = |ip: [u8; 4]| SocketAddr::from((ip, 1));
    let closed = Gateway::new(false, None);
    assert!(closed.admits_users(at([127, 0, 0, 1])) && !closed.admits_users(at([10, 0, 0, 1])));
    assert!(Gateway::new(true, None).admits_users(at([10, 0, 0, 1])));
}

#[test]
fn clients_of_protocol_3_read_bytes_unless_they_say_not() {
    let reads = |query: &str| {
        let query = format!("transport=polling&{query}");
        Asked::read(Some(&query)).map(|asked| asked.reads_bytes)
    };
    assert_eq!(reads("EIO=3"), Ok(true));
    assert_eq!(reads("EIO=3&b64=1"), Ok(false));
    assert_eq!(reads("EIO=4"), Ok(false));
}
