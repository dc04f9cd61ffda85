//! A watcher that took one snapshot and then applied what it was told holds what its node holds,
//! also when it resumed by its token after its node crashed.

use super::{Invariant, Verdict};
use crate::oracle::{brief, entries};
use crate::watcher::Watcher;
use crate::world::World;
use folkmoot_core::data::{Entry, EntryKey};
use std::collections::BTreeMap;

/// Every watcher's copy equals the state.
pub struct WatchesAreGapless;

impl Invariant for WatchesAreGapless {
    fn name(&self) -> &'static str {
        "watches_are_gapless"
    }

    fn patience_ms(&self, _: &World) -> u64 {
        5_000
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        for watcher in &world.clients.watchers {
            if let Err(text) = compare(world, watcher) {
                return Verdict::NotYet(format!("the watcher at node-{}: {text}", watcher.node));
            }
        }
        Verdict::Holds
    }
}

fn compare(world: &World, watcher: &Watcher) -> Result<(), String> {
    if !watcher.live {
        return Err("its watch does not stand".to_owned());
    }
    let host = &world.hosts[watcher.node];
    let wall_ms = host.clock.wall_ms(world.now);
    let live = |held: &BTreeMap<EntryKey, Entry>, wall_ms| -> BTreeMap<EntryKey, Entry> {
        let covered = |key: &EntryKey, entry: &Entry| {
            let path = key.to_field().and_then(|_| key.to_path());
            let whole = path.and_then(|path| held.get(&EntryKey::path(&path)));
            whole.is_some_and(|whole| whole.version > entry.version)
        };
        let shown = |(key, entry): &(&EntryKey, &Entry)| {
            watcher.covers(key) && entry.is_live(wall_ms) && !covered(key, entry)
        };
        let shown = held.iter().filter(shown);
        shown.map(|(key, entry)| (key.clone(), entry.clone())).collect()
    };
    // What the watcher was not told the end of has not ended for it.
    let (told, held) = (live(&watcher.view, 0), live(&entries(host.disk.durable()), wall_ms));
    for (key, entry) in &held {
        // Told its end: the clock was set back since.
        let ended = watcher.view.get(key).is_some_and(|one| {
            one.version == entry.version && one.value.is_none() && one.expires_ms.is_some()
        });
        if told.get(key) != Some(entry) && !ended {
            let (held, told) = (brief(Some(entry)), brief(told.get(key)));
            return Err(format!("{key:?} is {held}, but it was told {told}"));
        }
    }
    match told.iter().find(|(key, _)| !held.contains_key(*key)) {
        Some((key, entry)) => {
            Err(format!("{key:?} is gone, but it was told {}", brief(Some(entry))))
        }
        None => Ok(()),
    }
}
