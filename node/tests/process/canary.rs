//! Canaries: words that must not turn up where others can read.

use crate::support::{Process, directory, run, start, text};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

const SECRET: &str = "canary-secret-b41c7f";
const PATH: &str = "canary-path-90d2ee";
const VALUE: &str = "canary-value-5a18c3";

/// Passes bytes on to another address and remembers them.
struct Tap {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(url: &str) -> Tap {
        let target = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let kept = heard.clone();
        std::thread::spawn(move || {
            for one in listener.incoming().map_while(Result::ok) {
                let Ok(other) = TcpStream::connect(&target) else { continue };
                pass(one.try_clone().unwrap(), other.try_clone().unwrap(), kept.clone());
                pass(other, one, kept.clone());
            }
        });
        Tap { url, heard }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, kept: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Ends a node and answers all that it has logged, at the finest level.
fn whole_log(node: Process) -> String {
    node.signal("TERM").1
}

#[test]
fn what_is_secret_is_neither_on_the_wire_nor_in_the_logs() {
    let ((_a, dir_a), (_b, dir_b)) = (directory(), directory());
    let a = start(&dir_a, &["--secret", SECRET, "--log", "trace"]);
    let tap = Tap::before(&a.url);
    let b = start(&dir_b, &["--secret", SECRET, "--log", "trace", "--peer", &tap.url]);
    a.put(&format!("{PATH}/1"), &format!("\"{VALUE}\""));
    b.wait_for(&format!("{PATH}/1"), Some(&format!("\"{VALUE}\"")));
    b.put(&format!("{PATH}/2"), &format!("\"{VALUE}\""));
    a.wait_for(&format!("{PATH}/2"), Some(&format!("\"{VALUE}\"")));
    let (_, invite, _) = run(&["invite", "--data-dir", &text(&dir_a), "--url", &a.url]);
    assert!(holds(invite.as_bytes(), SECRET), "the canary is the secret");

    let (log_a, log_b) = (whole_log(a), whole_log(b));
    let heard = tap.heard.lock().unwrap().clone();
    assert!(holds(&heard, "GET /link HTTP/1.1"), "the link went through the tap");
    assert!(log_a.contains("linked to") && log_b.contains("linked to"), "{log_a}\n{log_b}");
    for word in [SECRET, PATH, VALUE] {
        assert!(!holds(&heard, word), "{word} is on the wire");
        for log in [&log_a, &log_b] {
            assert!(!log.contains(word), "{word} is in a log:\n{log}");
        }
    }
    for dir in [&dir_a, &dir_b] {
        assert_eq!(mode(dir), 0o700);
        for file in ["node.key", "network.toml"] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
