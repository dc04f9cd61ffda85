//! The store on a real disk: what survives, what is refused, what is found.

use super::check::{self, Opened};
use super::directory::Directory;
use super::writer::Writer;
use super::{Durability, Overlay, Snapshot, Views};
use crate::error::Error;
use folkmoot_core::engine::Output;
use folkmoot_core::id::LinkId;
use folkmoot_core::store::{Batch, Store};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store with its writer; says which outputs left.
struct Running {
    writer: Writer,
    views: Arc<Views>,
    left: Receiver<u64>,
    directory: Directory,
}

fn start(path: &Path) -> Running {
    let directory = Directory::open(path).unwrap();
    let opened = check::open(&directory, Durability::Sync).unwrap();
    run(directory, opened)
}

fn run(directory: Directory, opened: Opened) -> Running {
    let views = Arc::new(Views::new(&opened.database, |_| {}));
    let (sender, left) = channel();
    let act = move |outputs: &mut Vec<Output>| {
        for output in outputs.drain(..) {
            let Output::Close(LinkId(number), _) = output else { panic!("no such output") };
            sender.send(number).unwrap_or_default();
        }
    };
    let writer = Writer::start(opened, Durability::Sync, views.clone(), act).unwrap();
    Running { writer, views, left, directory }
}

impl Running {
    /// Writes and waits until it is durable.
    fn put(&mut self, number: u64, batch: Batch) {
        let mut outputs = vec![Output::Close(LinkId(number), "")];
        self.writer.hand_over(Arc::new(batch), &mut outputs);
        assert!(outputs.is_empty());
        assert_eq!(self.left.recv(), Ok(number));
    }

    fn close(self) {
        self.views.close();
        self.writer.close();
        drop(self.directory);
    }
}

fn batch(pairs: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(key.as_bytes().to_vec(), value.as_bytes().to_vec());
    }
    batch
}

fn read_all(store: &dyn Store) -> Result<Pairs, folkmoot_core::store::StoreError> {
    let mut pairs = Pairs::new();
    store.scan(&[1], &[255], &mut |key, value| {
        pairs.insert(key.to_vec(), value.to_vec());
        true
    })?;
    for (key, value) in &pairs {
        assert_eq!(store.get(key)?.as_deref(), Some(&value[..]));
    }
    Ok(pairs)
}

/// What somebody finds who opens the directory.
fn find(path: &Path) -> Result<Pairs, String> {
    let directory = Directory::open(path).map_err(|error| error.to_string())?;
    let opened = check::open(&directory, Durability::Sync).map_err(|error| error.to_string())?;
    let running = run(directory, opened);
    let pairs = read_all(&running.views.snapshot()).map_err(|error| error.to_string());
    running.close();
    pairs
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Journals begin as 64 MiB of nothing: only what is in them is copied.
            let mut bytes = fs::read(entry.path()).unwrap();
            while bytes.len() > 2 * 4096 && bytes.ends_with(&[0; 4096]) {
                bytes.truncate(bytes.len() - 4096);
            }
            fs::write(to, bytes).unwrap();
        }
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

#[test]
fn what_was_acknowledged_is_there_after_a_death_without_warning() {
    let place = tempfile::tempdir().unwrap();
    let mut running = start(&place.path().join("a"));
    let mut expected = Pairs::new();
    for number in 1..=20 {
        let (key, value) = (format!("e{number}"), format!("value {number}"));
        running.put(number, batch(&[(&key, &value), ("mlast", &value)]));
        expected.insert(key.into_bytes(), value.clone().into_bytes());
        expected.insert(b"mlast".to_vec(), value.into_bytes());
        // What lies on disk now is what a process finds that is started after a death.
        let copied = place.path().join(format!("copy {number}"));
        copy(&place.path().join("a"), &copied);
        assert_eq!(find(&copied).unwrap(), expected);
    }
    running.close();
    assert_eq!(find(&place.path().join("a")).unwrap(), expected);
}

#[test]
fn an_unfinished_commit_is_dropped_and_a_finished_one_is_missed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let mut running = start(&path);
    running.put(1, batch(&[("eone", "1")]));
    let journal = path.join("store/0.jnl");
    let end = |path: &Path| {
        let written = &fs::read(path).unwrap()[..4096];
        written.iter().rposition(|byte| *byte != 0).unwrap()
    };
    let first = end(&journal) + 1;
    let before = place.path().join("before");
    copy(&path, &before);
    running.put(2, batch(&[("etwo", "2")]));
    let second = end(&journal) + 1;
    let bytes = fs::read(&journal).unwrap();
    running.close();
    for length in first..second {
        // The commit was under way: the mark does not know of it.
        let torn = place.path().join(format!("torn {length}"));
        copy(&before, &torn);
        fs::write(torn.join("store/0.jnl"), &bytes[..length]).unwrap();
        assert_eq!(find(&torn).unwrap().len(), 1, "cut at {length}");
    }
    let lost = place.path().join("lost");
    copy(&path, &lost);
    fs::write(lost.join("store/0.jnl"), &bytes[..second - 1]).unwrap();
    assert!(find(&lost).unwrap_err().contains("2 was durable"));
}

#[test]
fn an_unfinished_commit_may_be_all_that_the_journals_hold() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let mut running = start(&path);
    running.put(1, batch(&[("eone", "1")]));
    let before = place.path().join("before");
    copy(&path, &before);
    running.put(2, batch(&[("etwo", "2")]));
    let bytes = fs::read(path.join("store/0.jnl")).unwrap();
    running.close();
    // As after an empty journal has taken the place of a full one, whose commits are in tables.
    let written = fs::read(before.join("store/0.jnl")).unwrap();
    let first = written.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let second = bytes[..4096].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for length in first..second {
        fs::write(before.join("store/0.jnl"), &bytes[first..length]).unwrap();
        let store = before.join("store");
        assert_eq!(super::journal::check(&store, 1).unwrap(), None, "{length}");
        fs::write(before.join("store/0.jnl"), &bytes[first..length]).unwrap();
        assert!(length < first + 64 || super::journal::check(&store, 2).is_err(), "{length}");
    }
}

#[test]
fn a_flipped_byte_in_any_file_is_found_or_does_no_harm() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let mut running = start(&path);
    let mut expected = Pairs::new();
    for number in 1..=40_u64 {
        let (key, value) = (format!("e{:03}", number % 10), format!("value {number}"));
        let (log, change) = (format!("l{number:03}"), format!("change {number}"));
        let (history, old) = (format!("h{number:03}"), format!("older {number}"));
        let pairs = [(&*key, &*value), (&log, &change), (&history, &old), ("mlast", &value)];
        running.put(number, batch(&pairs));
        expected.insert(key.into_bytes(), value.clone().into_bytes());
        expected.insert(log.into_bytes(), change.into_bytes());
        expected.insert(history.into_bytes(), old.into_bytes());
        expected.insert(b"mlast".to_vec(), value.into_bytes());
        if number == 20 {
            // The first half lies in tables, the second in the journal.
            running.close();
            let directory = Directory::open(&path).unwrap();
            let opened = check::open(&directory, Durability::Sync).unwrap();
            opened.database.flush().unwrap();
            running = run(directory, opened);
        }
    }
    running.close();
    let small = place.path().join("small");
    copy(&path, &small);
    assert_eq!(find(&small).unwrap(), expected);
    copy(&path, &small);
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for file in files(&small) {
        let name = file.strip_prefix(&small).unwrap();
        let length = fs::metadata(&file).unwrap().len() as usize;
        if length > 0 {
            refused.entry(kind(name)).or_default();
        }
        let step = (length / 11).max(1);
        for at in (0..length).step_by(step) {
            let damaged = place.path().join("damaged");
            copy(&small, &damaged);
            let mut bytes = fs::read(damaged.join(name)).unwrap();
            bytes[at] ^= 1 << (at % 8);
            fs::write(damaged.join(name), &bytes).unwrap();
            match find(&damaged) {
                Ok(pairs) => assert_eq!(pairs, expected, "{} at {at}", name.display()),
                Err(_) => *refused.entry(kind(name)).or_default() += 1,
            }
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
    // Of this one the other slot stands, see below.
    assert_eq!(refused.remove("commits"), Some(0));
    assert!(refused.values().all(|count| *count > 0), "a kind that nobody checks: {refused:#?}");
    let keyspaces = (1..=4).map(|number| format!("store/keyspaces/{number}/tables/#"));
    for wanted in keyspaces.chain(["format", "store/#.jnl"].map(String::from)) {
        assert!(refused.contains_key(&wanted), "{wanted} is missing in {refused:#?}");
    }

    /// Numbers tell files of one kind apart, but that of a keyspace, which tells what is in it.
    fn kind(name: &Path) -> String {
        let parts: Vec<String> = name.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let mut kind = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let is_keyspace = at > 0 && parts[at - 1] == "keyspaces";
            let digits = |letter: char| letter.is_ascii_digit();
            let split: Vec<&str> = part.split(digits).collect();
            kind.push(match (is_keyspace, split.len()) {
                (true, _) | (_, 1) => part.clone(),
                _ => format!("{}#{}", split[0], split[split.len() - 1]),
            });
        }
        kind.join("/")
    }
}

#[test]
fn a_flipped_byte_in_the_count_of_commits_is_made_good_and_one_in_each_slot_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let mut running = start(&path);
    running.put(1, batch(&[("eone", "1")]));
    running.put(2, batch(&[("etwo", "2")]));
    running.close();
    let flip = |at: &[usize]| {
        let damaged = place.path().join(format!("{at:?}"));
        copy(&path, &damaged);
        let mut bytes = fs::read(damaged.join("commits")).unwrap();
        at.iter().for_each(|at| bytes[*at] ^= 1);
        fs::write(damaged.join("commits"), &bytes).unwrap();
        damaged
    };
    for at in (0..16).chain(512..528) {
        let damaged = flip(&[at]);
        assert_eq!(find(&damaged).unwrap().len(), 2, "{at}");
        let count = super::mark::read(&damaged.join("commits")).unwrap();
        assert_eq!(count, Some(2), "{at}");
    }
    assert!(find(&flip(&[3, 515])).unwrap_err().contains("it names no commit"));
}

#[test]
fn a_lost_file_is_missed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let mut running = start(&path);
    running.put(1, batch(&[("eone", "1")]));
    running.close();
    let all = ["format", "commits", "store", "store/version", "store/0.jnl"];
    for lost in all.into_iter().chain(["store/keyspaces/2/current"]) {
        let damaged = place.path().join(lost.replace('/', " "));
        copy(&path, &damaged);
        match damaged.join(lost) {
            path if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            path => fs::remove_file(path).unwrap(),
        }
        assert!(find(&damaged).is_err(), "without {lost}");
    }
    let damaged = place.path().join("two");
    copy(&path, &damaged);
    fs::remove_file(damaged.join("format")).unwrap();
    fs::remove_file(damaged.join("commits")).unwrap();
    assert!(find(&damaged).unwrap_err().contains("format is damaged: it is gone"));
}

#[test]
fn a_directory_in_use_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let first = Directory::open(place.path()).unwrap();
    let second = Directory::open(place.path()).err().unwrap();
    assert!(matches!(second, Error::InUse(_)));
    assert!(second.to_string().contains(&*first.path().to_string_lossy()));
    drop(first);
    assert!(Directory::open(place.path()).is_ok());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    start(place.path()).close();
    fs::write(place.path().join("format"), "folkmoot-data 2\n").unwrap();
    assert!(matches!(Directory::open(place.path()).err(), Some(Error::Newer { found: 2, .. })));
    fs::write(place.path().join("format"), "folkmoot-data 1\n").unwrap();
    start(place.path()).close();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Directory::open(&file.join("data")).err().unwrap();
    assert!(matches!(error, Error::DataDir { .. }));
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_again() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("store/keyspaces/1")).unwrap();
    fs::write(place.path().join("store/0.jnl"), "half").unwrap();
    fs::write(place.path().join("commits"), "").unwrap();
    let mut running = start(place.path());
    running.put(1, batch(&[("e", "1")]));
    running.close();
}

#[test]
fn outputs_leave_in_order_also_those_without_a_batch() {
    let place = tempfile::tempdir().unwrap();
    let mut running = start(place.path());
    let mut sent = Vec::new();
    for number in 0..2_000 {
        let pending = if number % 3 == 0 { Batch::default() } else { batch(&[("ekey", "value")]) };
        let mut outputs = vec![Output::Close(LinkId(number), "")];
        running.writer.hand_over(Arc::new(pending), &mut outputs);
        // What waits for nothing is the caller's to act on: everything before it has left.
        if !outputs.is_empty() {
            sent.extend(running.left.try_iter());
            sent.push(number);
        }
    }
    while sent.len() < 2_000 {
        sent.push(running.left.recv().unwrap());
    }
    assert!(sent.iter().copied().eq(0..2_000));
    running.close();
}

#[test]
fn the_overlay_shows_pending_batches_over_what_is_on_disk() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let opened = check::open(&directory, Durability::Sync).unwrap();
    let mut overlay = Overlay::new(opened.database.clone());
    let mut running = run(directory, opened);
    running.put(1, batch(&[("ea", "1"), ("eb", "1"), ("ed", "1"), ("l1", "1"), ("mx", "1")]));
    let mut pending = batch(&[("ea", "2"), ("ec", "2"), ("ez", "2")]);
    pending.delete(b"eb".to_vec());
    overlay.push(1, Arc::new(pending));
    let mut newer = batch(&[("eb", "3")]);
    newer.delete(b"ec".to_vec());
    overlay.push(2, Arc::new(newer));
    let seen = |overlay: &Overlay| -> Vec<String> {
        let pairs = read_all(overlay).unwrap();
        let text = |(key, value): (Vec<u8>, Vec<u8>)| {
            String::from_utf8([key, vec![b'='], value].concat()).unwrap()
        };
        pairs.into_iter().map(text).collect()
    };
    assert_eq!(seen(&overlay), ["ea=2", "eb=3", "ed=1", "ez=2", "l1=1", "mx=1"]);
    overlay.trim(1);
    assert_eq!(seen(&overlay), ["ea=1", "eb=3", "ed=1", "l1=1", "mx=1"]);
    drop(overlay);
    running.close();
}

#[test]
fn a_long_scan_is_read_ahead_in_order_and_may_be_given_up_anywhere() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let opened = check::open(&directory, Durability::Sync).unwrap();
    let overlay = Overlay::new(opened.database.clone());
    let mut running = run(directory, opened);
    let mut many = Batch::default();
    for number in 0..10_000 {
        many.put(format!("e{number:05}").into_bytes(), b"1".to_vec());
    }
    running.put(1, many);
    for wanted in [1, 1_023, 1_024, 1_025, 2_048, 5_000, 10_000, 20_000] {
        let mut seen: Vec<usize> = Vec::new();
        overlay
            .scan(b"e", b"f", &mut |key, _| {
                seen.push(String::from_utf8_lossy(&key[1..]).parse().unwrap());
                seen.len() < wanted
            })
            .unwrap();
        assert!(seen.into_iter().eq(0..wanted.min(10_000)), "{wanted}");
    }
    drop(overlay);
    running.close();
}

#[test]
fn a_new_journal_has_blocks_ahead_and_no_commit_is_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let mut running = start(place.path());
    let journal = fs::metadata(place.path().join("store/0.jnl")).unwrap();
    assert_eq!((journal.len(), journal.blocks()), (64 << 20, 0));
    let mut all = Pairs::new();
    for number in 0..200_u64 {
        let (key, value) = (format!("e{number}"), "v".repeat(1 + number as usize * 97));
        running.put(number, batch(&[(&key, &value)]));
        all.insert(key.into(), value.into());
        if number == 0 {
            let journal = fs::metadata(place.path().join("store/0.jnl")).unwrap();
            assert_eq!(journal.blocks() * 512, 256 * 1024);
        }
    }
    running.close();
    assert_eq!(find(place.path()), Ok(all));
}

#[test]
fn a_journal_of_an_earlier_run_is_appended_to_and_not_filled() {
    let place = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let mut running = start(place.path());
        running.put(number, batch(&[(&format!("e{number}"), "v")]));
        running.close();
    }
    let journal = fs::metadata(place.path().join("store/0.jnl")).unwrap();
    assert!(journal.len() < 4096, "{}", journal.len());
    assert_eq!(find(place.path()).unwrap().len(), 3);
}

#[test]
fn a_snapshot_shows_one_state_and_refuses_after_the_end() {
    let place = tempfile::tempdir().unwrap();
    let mut running = start(place.path());
    running.put(1, batch(&[("ea", "1")]));
    let before: Snapshot = running.views.snapshot();
    running.put(2, batch(&[("ea", "2"), ("eb", "2")]));
    assert_eq!(read_all(&before).unwrap().len(), 1);
    assert_eq!(read_all(&running.views.snapshot()).unwrap().len(), 2);
    drop(before);
    let views = running.views.clone();
    running.close();
    assert!(views.snapshot().get(b"ea").is_err());
}
