//! A disk that fills up: a real one, in memory.

use crate::support::{Process, command, directory, start, try_start};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A file system in memory whose size can be changed, seen by those who enter its namespace. It
/// outlives the nodes on it.
struct SmallDisk {
    holder: Child,
    data: PathBuf,
}

impl SmallDisk {
    /// `None` where users may not have file systems of their own.
    fn new(dir: &Path) -> Option<SmallDisk> {
        let tried = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
        if !tried.is_ok_and(|status| status.success()) {
            eprintln!("not tested: this system does not allow `unshare --map-root-user --mount`");
            return None;
        }
        let mount =
            "mount -t tmpfs -o size=3g,mode=700 tmpfs \"$0\" && echo there && exec sleep 600";
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "bash", "-c", mount]).arg(dir);
        let mut holder = unshare.stdout(Stdio::piped()).spawn().unwrap();
        let mut there = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut there).unwrap();
        Some(SmallDisk { holder, data: dir.to_owned() })
    }

    /// A command in the namespace.
    fn enter(&self) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--user", "--mount", "--preserve-credentials", "--target"]);
        nsenter.arg(self.holder.id().to_string()).env("XDG_CONFIG_HOME", "/nonexistent");
        nsenter
    }

    fn start(&self, more: &[&str]) -> Process {
        let folkmoot = command("127.0.0.1:0", &self.data, more);
        let mut nsenter = self.enter();
        nsenter.arg(folkmoot.get_program()).args(folkmoot.get_args());
        try_start(nsenter).unwrap_or_else(|(code, log)| panic!("ended with {code:?}:\n{log}"))
    }

    fn resize(&self, size: &str) {
        let mut nsenter = self.enter();
        nsenter.args(["mount", "-o", &format!("remount,size={size}"), "tmpfs"]).arg(&self.data);
        assert!(nsenter.status().unwrap().success());
    }

    /// Leaves no room but for a page.
    fn fill(&self) {
        let used = "used=$(df --output=used -k \"$0\" | tail -1) && \
             mount -o remount,size=$((used + 4))k tmpfs \"$0\"";
        let filled = self.enter().args(["bash", "-c", used]).arg(&self.data).status();
        assert!(filled.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_disk_that_fills_up_refuses_writes_then_leaves_the_mesh_and_comes_back() {
    let ((_a, dir_a), (_b, dir_b)) = (directory(), directory());
    std::fs::create_dir_all(&dir_b).unwrap();
    let Some(disk) = SmallDisk::new(&dir_b) else { return };
    let secret = ["--secret", "the secret of this test", "--redial-ms-max", "500"];
    let a = start(&dir_a, &secret);
    let b = disk.start(&[&secret[..], &["--peer", &a.url]].concat());
    b.put("before", "1");
    a.wait_for("before", Some("1"));

    disk.resize("900m");
    b.until("writes to be refused", || b.ask("PUT", "/v1/data/b", "2").0 == 507);
    assert!(b.ask("PUT", "/v1/data/b", "2").1.contains("disk_full"));
    assert_eq!(b.get("before").unwrap(), 1);
    a.put("a", "1");
    b.wait_for("a", Some("1"));

    disk.resize("200m");
    let links = |node: &Process| node.json("/v1/status")["links"].as_u64();
    b.until("the node to leave the mesh", || links(&b) == Some(0) && links(&a) == Some(0));
    a.put("a", "2");
    assert_eq!((b.get("before").unwrap(), b.get("a").unwrap()), (1.into(), 1.into()));
    let why = || b.json("/v1/mesh")["peers"][0]["error"].to_string();
    b.until("the reason to be told", || why().contains("the disk of this node is full"));

    disk.resize("3g");
    b.wait_for("a", Some("2"));
    b.until("writes to be taken", || b.ask("PUT", "/v1/data/b", "3").0 == 200);
    a.wait_for("b", Some("3"));
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_ends_the_node_and_loses_nothing() {
    let (_keep, dir) = directory();
    std::fs::create_dir_all(&dir).unwrap();
    let Some(disk) = SmallDisk::new(&dir) else { return };
    let node = disk.start(&[]);
    let value = format!("\"{}\"", "x".repeat(200_000));
    let mut acknowledged = 0;
    // Usually the write comes before the node has looked how much room there is.
    loop {
        let put = || node.try_ask("PUT", &format!("/v1/data/n/{acknowledged}"), &value);
        disk.fill();
        match put() {
            Some((200, _)) => acknowledged += 1,
            Some((507, _)) => {
                disk.resize("3g");
                node.until("writes to be taken", || put().is_some_and(|(status, _)| status == 200));
                acknowledged += 1;
            }
            _ => break,
        }
    }
    // Signal 0 is none: this only waits for the end.
    let (status, log) = node.signal("0");
    assert_eq!(status.code(), Some(74), "{log}");
    assert!(log.contains("a write to disk failed"), "{log}");
    disk.resize("3g");
    let node = disk.start(&[]);
    for n in 0..acknowledged {
        assert!(node.get(&format!("n/{n}")).is_some(), "{n} is lost");
    }
    node.put("after", "1");
}
