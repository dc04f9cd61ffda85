//! Two nodes that know each other as original servers only.

use super::*;
use crate::gateway::socketio::tests::{Client, in_time, node};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The bridge of a node to a server that nobody dials.
pub(super) fn bridge(node: &Node) -> (Arc<Peers>, Vec<mpsc::Receiver<Bytes>>) {
    let list = r#"{"servers":[{"id":"server-0","ip":"127.0.0.1","port":1},
        {"id":"server-1","ip":"127.0.0.1","port":2}]}"#;
    Peers::new(Servers::read(list, "server-0").unwrap(), node.clone())
}

pub(super) fn name(text: impl ToString) -> Name {
    Name::new(text.to_string()).unwrap()
}

/// Addresses that nobody has.
fn addresses() -> [SocketAddr; 2] {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

async fn server(all: &[SocketAddr; 2], index: usize) -> Node {
    let servers = all.iter().enumerate().map(|(index, address)| {
        format!(r#"{{"id":"server-{index}","ip":"127.0.0.1","port":{}}}"#, address.port())
    });
    let list = format!(r#"{{"servers":[{}]}}"#, servers.collect::<Vec<_>>().join(","));
    let builder = Node::builder().listen(all[index]);
    builder.socketio_servers(list, format!("server-{index}")).start().await.unwrap()
}

fn im(from: &str, to: &str, text: &str, forwarded: bool) -> String {
    format!(r#"42["im",{{"from":"{from}","to":"{to}","text":"{text}","forwarded":{forwarded}}}]"#)
}

#[tokio::test]
async fn users_of_both_servers_see_and_hear_each_other_once() {
    let all = addresses();
    let [one, two] = [server(&all, 0).await, server(&all, 1).await];
    let mut anna = Client::named(all[0], 3, "Anna").await;
    let mut billy = Client::named(all[1], 4, "Billy").await;
    anna.until_listed(&["Anna", "Billy"], &[]).await;
    billy.until_listed(&["Anna", "Billy"], &[]).await;
    // Anna is at both now.
    let mut there = Client::named(all[1], 3, "Anna").await;
    for from in ["Anna", "Billy"] {
        let (sender, first, to) = match from {
            "Anna" => (&mut anna, &mut billy, "Billy"),
            _ => (&mut billy, &mut anna, "Anna"),
        };
        sender.say(&im(from, to, "x", false)).await;
        assert_eq!(sender.next_said().await, im(from, to, "x", false));
        assert_eq!(there.next_said().await, im(from, to, "x", from == "Anna"));
        assert_eq!(first.next_said().await, im(from, to, "x", true));
    }
    // One that must not leave its server does not.
    anna.say(&im("Anna", "Billy", "here", true)).await;
    assert_eq!(anna.next_said().await, im("Anna", "Billy", "here", true));
    anna.say(&im("Anna", "Billy", "there", false)).await;
    assert_eq!(billy.next_said().await, im("Anna", "Billy", "there", true));
    assert_eq!(there.next_said().await, im("Anna", "Billy", "there", true));
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn users_go_with_their_server_and_come_back_with_it() {
    let all = addresses();
    let [one, two] = [server(&all, 0).await, server(&all, 1).await];
    let mut anna = Client::named(all[0], 3, "Anna").await;
    let billy = Client::named(all[1], 3, "Billy").await;
    anna.until_listed(&["Billy"], &[]).await;
    two.close().await;
    drop(billy);
    anna.until_listed(&["Anna"], &["Billy"]).await;
    let two = server(&all, 1).await;
    let mut billy = Client::named(all[1], 3, "Billy").await;
    billy.until_listed(&["Anna", "Billy"], &[]).await;
    anna.until_listed(&["Anna", "Billy"], &[]).await;
    drop(billy);
    anna.until_listed(&["Anna"], &["Billy"]).await;
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn only_servers_of_the_list_tell_of_users() {
    let all = addresses();
    let one = server(&all, 0).await;
    let mut stranger = Client::connect(all[0], 3).await;
    let update = |id: &str| {
        format!(
            r#"42["update_peer",{{"peerId":"{id}","list":[{{"id":"Ghost","connections":1}}]}}]"#
        )
    };
    stranger.say(&update("server-7")).await;
    assert!(stranger.next().await.starts_with("42[\"error\""));
    let mut anna = Client::named(all[0], 3, "Anna").await;
    anna.say(&update("server-1")).await;
    assert!(anna.next_said().await.starts_with("42[\"error\""), "a user is no server");
    // A server may not speak for users that it does not have.
    let mut server = Client::connect(all[0], 3).await;
    server.say(&update("server-1")).await;
    anna.until_listed(&["Anna", "Ghost"], &[]).await;
    server.say(&im("Anna", "Anna", "forged", true)).await;
    assert!(server.next().await.starts_with("42[\"error\""));
    server.say(&update("server-0")).await;
    assert!(server.next().await.starts_with("42[\"error\""));
    server.say(&im("Ghost", "Anna", "boo", true)).await;
    assert_eq!(anna.next_said().await, im("Ghost", "Anna", "boo", true));
    server
        .say(r#"42["update_peer",{"peerId":"server-1","user":{"id":"Ghost","connections":0}}]"#)
        .await;
    anna.until_listed(&["Anna"], &["Ghost"]).await;
    one.close().await;
}

#[tokio::test]
async fn so_many_users_of_a_server_are_let_in_and_one_more_is_refused() {
    let node = node().await;
    let (peers, _) = bridge(&node);
    let mut server = peers.peer(Ipv4Addr::LOCALHOST.into(), "server-1").unwrap();
    let update = |users| Update { peer: "server-1".into(), users };
    let all = update(Users::All((0..RESIDENTS_MAX).map(name).collect()));
    assert_eq!(server.update(all), Ok(()));
    let one = |n: usize, there| update(Users::One(name(n), there));
    let refused = Err("too many users of one server");
    assert_eq!(server.update(one(RESIDENTS_MAX, true)), refused);
    assert_eq!(server.update(one(0, true)), Ok(()), "who is there already");
    assert_eq!(server.update(one(0, false)), Ok(()));
    assert_eq!(server.update(one(RESIDENTS_MAX, true)), Ok(()));
    drop(server);
    node.close().await;
}

#[tokio::test]
async fn a_list_with_one_user_too_many_lets_the_others_in_and_they_stay() {
    let node = node().await;
    let (peers, _) = bridge(&node);
    let mut server = peers.peer(Ipv4Addr::LOCALHOST.into(), "server-1").unwrap();
    let update = |users| Update { peer: "server-1".into(), users };
    let users = || lock(&peers.servers[0].users).residents.len();
    let all = update(Users::All((0..=RESIDENTS_MAX).map(name).collect()));
    assert_eq!(server.update(all), Err("too many users of one server"));
    assert_eq!(users(), RESIDENTS_MAX);
    assert_eq!(server.update(update(Users::One(name(0), false))), Ok(()));
    assert_eq!(users(), RESIDENTS_MAX - 1);
    drop(server);
    node.close().await;
}

#[tokio::test]
async fn so_many_users_of_all_servers_are_known_and_one_more_is_refused() {
    let node = node().await;
    let (peers, _) = bridge(&node);
    let mut server = peers.peer(Ipv4Addr::LOCALHOST.into(), "server-1").unwrap();
    let come = |n: usize| Update { peer: "server-1".into(), users: Users::One(name(n), true) };
    let known = (1..RESIDENCES_MAX).map(|n| (name(n), Residence::default()));
    lock(&peers.shared).residents.extend(known);
    assert_eq!(server.update(come(0)), Ok(()));
    in_time(peers.announcer.next()).await;
    let refused = Err("too many users of servers come and go");
    assert_eq!(server.update(come(RESIDENCES_MAX)), refused);
    peers.forget(&name(1));
    assert_eq!(server.update(come(RESIDENCES_MAX)), Ok(()));
    drop(server);
    node.close().await;
}

#[tokio::test]
async fn a_server_that_has_connected_again_keeps_its_users_and_the_earlier_one_says_nothing() {
    let node = node().await;
    let (peers, _) = bridge(&node);
    let connect = || peers.peer(Ipv4Addr::LOCALHOST.into(), "server-1").unwrap();
    let update = |users| Update { peer: "server-1".into(), users };
    let all = |names: &[&str]| update(Users::All(names.iter().map(name).collect()));
    let users = || {
        let spoken = lock(&peers.servers[0].users);
        spoken.residents.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut first = connect();
    first.update(all(&["Anna", "Billy"])).unwrap();
    let mut second = connect();
    assert_eq!(users(), ["Anna", "Billy"], "they are there until it says who is");
    assert_eq!(first.update(all(&[])), Err("the server has connected again since"));
    second.update(all(&["Billy", "Carl"])).unwrap();
    drop(first);
    assert_eq!(users(), ["Billy", "Carl"]);
    // One that tells of one user has not told of the others.
    let mut third = connect();
    third.update(update(Users::One(name("Dora"), true))).unwrap();
    third.update(update(Users::One(name("Emil"), true))).unwrap();
    assert_eq!(users(), ["Dora", "Emil"]);
    drop(second);
    drop(third);
    assert!(users().is_empty());
    node.close().await;
}

#[tokio::test]
async fn so_many_claims_to_be_a_server_are_remembered_and_none_that_is_long() {
    let node = node().await;
    let (peers, _) = bridge(&node);
    let claim = |address: u32, id: &str| {
        assert!(peers.peer(Ipv4Addr::from_bits(address).into(), id).is_none());
        lock(&peers.shared).strangers.len()
    };
    let id = "é".repeat(STRANGER_CHARS_MAX);
    assert_eq!((claim(0, &id), claim(0, &(id.clone() + "1"))), (1, 1));
    assert_eq!(claim(0, &id[2..]), 2);
    for others in 1..=STRANGERS_MAX {
        assert_eq!(claim(others as u32, "server-1"), STRANGERS_MAX.min(others + 2));
    }
    node.close().await;
}
