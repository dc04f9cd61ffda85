//! A node whose clock had run ahead, among neighbors whose clocks are right.

use super::*;
use crate::error::ErrorCode;
use crate::limits::SLICE_ENTRIES_MAX;

const AHEAD_MS: u64 = 1_000_000_000;

fn merge(at: &str, value: &str) -> Write {
    let change = Change::Merge(vec![("f".to_owned(), value.to_owned().into())]);
    Write { change, ..Write::put(path(at), "") }
}

#[test]
fn what_was_written_ahead_of_time_is_stamped_anew_in_slices_and_in_its_order() {
    let mut victim = Victim::new();
    victim.now.wall_ms += AHEAD_MS;
    victim.write(merge("hidden", "1"));
    for first in (0..10_000).step_by(1_000) {
        let write = |n: u32| Write::put(path(&format!("n/{}", n.wrapping_mul(7_919))), "1");
        let writes = (first..first + 1_000).map(write).collect();
        victim.ask(Request::Data(DataRequest::Write(writes)));
        victim.run(10);
    }
    victim.put("hidden", "2");
    victim.put("shown", "1");
    victim.write(merge("shown", "2"));
    let order = |victim: &Victim| {
        let mut entries: Vec<_> =
            victim.entries().into_iter().map(|(key, entry)| (entry.version, key)).collect();
        entries.sort();
        entries
    };
    let before = order(&victim);
    victim.now.wall_ms -= AHEAD_MS;
    let believed_ms = victim.now.wall_ms + Limits::default().drift_ms_max;
    victim.batch_max = 0;
    victim.input(Input::Tick); // it notices the jump
    victim.link(1);
    let (mut slices, mut refused) = (0, 0);
    while order(&victim).last().is_some_and(|(version, _)| version.stamp.ms() > believed_ms + 3) {
        victim.input(Input::Tick);
        slices += 1;
        let write = vec![Write::put(path("meanwhile"), slices.to_string())];
        match victim.ask(Request::Data(DataRequest::Write(write))) {
            Reply::Failed(ErrorCode::Busy, 0) => refused += 1,
            reply => assert!(matches!(reply, Reply::Written(_)), "{reply:?}"),
        }
        assert!(slices < 100, "it never ends");
    }
    assert!(victim.batch_max <= SLICE_ENTRIES_MAX + 8, "{} writes at once", victim.batch_max);
    assert!(refused > 2, "it goes in slices");
    let names = |order: Vec<(Version, EntryKey)>| -> Vec<EntryKey> {
        let ours = order.into_iter().map(|(_, key)| key);
        ours.filter(|key| key.to_system().is_none() && *key != at("meanwhile")).collect()
    };
    assert_eq!(names(order(&victim)), names(before));
    assert_eq!(victim.get("hidden").as_deref(), Some(&b"2"[..]));
    assert_eq!(victim.get("shown").as_deref(), Some(&b"2"[..]));
    let told = victim.notices.iter().filter_map(|notice| match notice {
        Notice::Restamped(count) => Some(*count),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [10_004]);
    victim.put("meanwhile", "taken again");
}
