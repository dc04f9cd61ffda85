//! People on three real nodes talk, a thousand messages a second, while the nodes are killed under
//! them and come back: nothing that was `delivered` is missing, nothing comes twice, the order
//! stays. `FOLKMOOT_TEST_CHAT_KILLS` sets the number of kills in a mesh (default 20); a chain, which
//! falls apart with its middle node, has half of them.
//!
//! The judge is on the clients' side: each numbers its messages, acknowledges, goes on with its
//! session where it can, and otherwise connects anew and sends again what is not settled.

mod person;

use crate::mesh::Three;
use crate::support::Process;
use folkmoot::client::Client;
use person::{AtEnd, BUSY, CALM, Counts, LAST, LAST_MESSAGES, NOWHERE, Person, Seen, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Who talks, by program: anna has two.
const PEOPLE: [&str; 6] = ["anna", "billy", "carl", "dora", "emil", "anna"];
/// Messages that are delivered between two kills.
const DELIVERED_BETWEEN: u64 = 500;
/// The longest time after those until the kill, in milliseconds.
const KILL_AT_MS_MAX: u64 = 300;
/// How long nobody may be shown who is not there.
const NO_GHOST_AFTER: Duration = Duration::from_secs(30);

#[test]
#[ignore = "a minute or more: cargo test -p folkmoot --test process people:: -- --ignored"]
fn a_mesh_loses_repeats_and_mixes_up_no_message_while_its_nodes_are_killed() {
    kill_again_and_again(&mut Three::start([&[1, 2], &[0, 2], &[0, 1]]), kills());
}

#[test]
fn a_chain_loses_repeats_and_mixes_up_no_message_while_its_nodes_are_killed() {
    kill_again_and_again(&mut Three::start([&[], &[0], &[1]]), kills() / 2);
}

fn kills() -> u64 {
    std::env::var("FOLKMOOT_TEST_CHAT_KILLS").map_or(20, |kills| kills.parse().unwrap())
}

fn kill_again_and_again(three: &mut Three, kills: u64) {
    let seen = || Seen {
        at: AtomicUsize::new(NOWHERE),
        settled: AtomicUsize::new(BUSY),
        delivered: AtomicU64::new(0),
    };
    let world = World {
        urls: (0..3).map(|i| three.node(i).url.clone()).collect(),
        users: PEOPLE.to_vec(),
        began: Instant::now(),
        phase: AtomicUsize::new(BUSY),
        busy_ms: AtomicU64::new(0),
        over: AtomicBool::new(false),
        seen: PEOPLE.iter().map(|_| seen()).collect(),
    };
    let mut people: Vec<Person> = (0..PEOPLE.len()).map(|i| Person::new(&world, i)).collect();
    let mut report = String::new();
    std::thread::scope(|scope| {
        let _in_any_case = AtEnd(&world);
        for person in &mut people {
            let world = &world;
            scope.spawn(move || {
                let _all_end_if_one_fails = AtEnd(world);
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(person.live());
            });
        }
        report = direct(three, &world, kills);
    });
    println!("{report}; {}", judge(&people));
}

/// Kills nodes while people talk, lets all become calm, and has them talk once more.
fn direct(three: &mut Three, world: &World, kills: u64) -> String {
    let mut random = Random::new(0);
    let mut with_recipients = 0;
    for kill in 0..kills {
        let before = world.delivered();
        world.until("messages to arrive", || world.delivered() >= before + DELIVERED_BETWEEN);
        std::thread::sleep(Duration::from_millis(random.below(KILL_AT_MS_MAX)));
        let at = world.seen[random.below(PEOPLE.len() as u64) as usize].at.load(Relaxed);
        // Mostly the node of somebody, every fourth time any.
        let victim = if kill % 4 == 3 || at == NOWHERE { random.below(3) as usize } else { at };
        with_recipients += u64::from(world.seen.iter().any(|seen| seen.at.load(Relaxed) == victim));
        three.kill(victim);
        three.start_one(victim);
    }
    let took = world.began.elapsed();
    world.busy_ms.store(took.as_millis() as u64, Relaxed);
    world.settle(CALM);
    for i in 0..3 {
        world.until("all to be seen everywhere", || online(three.node(i)) == everybody());
    }
    world.settle(LAST);
    assert!(with_recipients * 2 >= kills, "{with_recipients} kills hit anybody");
    let seconds = took.as_secs_f64();
    format!("{kills} kills, {with_recipients} of them of nodes with people, in {seconds:.1} s")
}

/// What the clients know together, after all is settled.
fn judge(people: &[Person]) -> String {
    let (mut outcomes, mut all) = (BTreeMap::<&str, u64>::new(), Counts::default());
    for person in people {
        for (n, sent) in (1..).zip(&person.sent) {
            let outcome = sent.outcome.as_deref().expect("all is settled");
            *outcomes.entry(outcome).or_default() += 1;
            let id = (person.client(), n);
            let of_user = |other: &&Person| other.user() == sent.to;
            let arrived = people.iter().filter(of_user).any(|other| other.known.contains(&id));
            assert!(arrived || outcome != "delivered", "{id:?} to {} did not arrive", sent.to);
        }
        let last = person.last_messages();
        assert_eq!(last.len() as u64, LAST_MESSAGES);
        let delivered = |sent: &person::Sent| sent.outcome.as_deref() == Some("delivered");
        assert!(last.iter().all(delivered), "all are there, and not all arrives");
        all.add(&person.counts);
    }
    format!("{outcomes:?}, {all:?}")
}

/// Who is online as a node shows it: users, and how many sessions they have.
fn online(node: &Process) -> BTreeMap<String, u64> {
    let answer = node.json("/v1/chat/users?limit=1000");
    let users = answer["users"].as_array().unwrap().iter();
    let user =
        |one: &Value| (one["user"].as_str().unwrap().into(), one["sessions"].as_u64().unwrap());
    users.map(user).collect()
}

fn everybody() -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    PEOPLE.iter().for_each(|user| *all.entry((*user).to_owned()).or_default() += 1);
    all
}

/// Twenty users come to the first node; program 20 is the first one's too, at the second.
async fn come(urls: &[String], programs: Range<u64>) -> Vec<Client> {
    let mut clients = Vec::new();
    for n in programs {
        let mut client = Client::connect(&urls[usize::from(n == 20)]).await.unwrap();
        client.say_hello(&format!("user-{}", n % 20), n);
        assert!(client.next().await.unwrap().contains("welcome"));
        clients.push(client);
    }
    clients
}

#[test]
fn who_was_at_a_killed_node_only_is_a_ghost_nowhere_and_comes_back_with_it() {
    let mut three = Three::start([&[1, 2], &[0, 2], &[0, 1]]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let urls: Vec<String> = (0..3).map(|i| three.node(i).url.clone()).collect();
    let _there = runtime.block_on(come(&urls, 0..21));
    let all: BTreeMap<_, _> =
        (0..20).map(|n| (format!("user-{n}"), 1 + u64::from(n == 0))).collect();
    for i in 0..3 {
        three.node(i).until("all to be seen", || online(three.node(i)) == all);
    }

    three.kill(0);
    let killed = Instant::now();
    let left = BTreeMap::from([("user-0".to_owned(), 1)]);
    for i in 1..3 {
        three.node(i).until("one to be left", || online(three.node(i)) == left);
    }
    let took = killed.elapsed();
    println!("gone after {took:?}");
    assert!(took < NO_GHOST_AFTER, "ghosts for {took:?}");

    three.start_one(0);
    let _back = runtime.block_on(come(&urls, 0..20));
    for i in 0..3 {
        three.node(i).until("all to be back", || online(three.node(i)) == all);
    }
}

/// xorshift64: whom, whether and when.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        let seed = seed << 32 ^ u64::from(std::process::id());
        Random(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
