//! An acknowledged write survives: it is there, or something newer of the same path is; and
//! nothing is there that nobody wrote there, or that was refused.
//!
//! A write is honest if its stamp is no more than the drift limit ahead of the true time. What a
//! clock far ahead has stamped may be stamped anew, so of such a write only this is promised:
//! it is not lost to nothing.

use super::{Invariant, Verdict};
use crate::clock::true_ms;
use crate::oracle::{Op, Oracle, Outcome, Wish, brief, entries, entry};
use crate::world::World;
use folkmoot_core::data::{Entry, EntryKey};
use folkmoot_core::id::Path;
use folkmoot_core::replica::Version;
use std::collections::{BTreeMap, BTreeSet};

/// The final state holds what the oracle was promised.
pub struct AcknowledgedWritesSurvive;

impl Invariant for AcknowledgedWritesSurvive {
    fn name(&self) -> &'static str {
        "acknowledged_writes_survive"
    }

    fn patience_ms(&self, _: &World) -> u64 {
        0
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        let held = entries(world.hosts[0].disk.durable());
        let verdict = somebody_wrote_it(&world.oracle, &held);
        match verdict.and_then(|()| nothing_is_lost(world, &held)) {
            Ok(()) => Verdict::Holds,
            Err(text) => Verdict::Broken(text),
        }
    }
}

/// An acknowledgement leaves only when the write can be read on that node.
pub fn on_written(world: &mut World, node: usize, id: u64) {
    let Some(op) = world.oracle.ops.get(&id) else { return };
    let store = world.hosts[node].disk.durable();
    for index in 0..op.writes.len() {
        if !matches!(op.writes[index].1, Wish::Last | Wish::First | Wish::Fields(_)) {
            continue;
        }
        for (key, version) in op.made(index) {
            let held = entry(store, &key);
            let stands = held.as_ref().is_some_and(|held| match op.writes[index].1 {
                Wish::First => true, // an earlier one may have come meanwhile
                _ => held.version >= version || is_value_of(world, held, op, index),
            });
            if !stands {
                let held = brief(held.as_ref());
                let text =
                    format!("node-{node} acknowledged {version:?} of {key:?}, it holds {held}");
                return world.breaks("acknowledged_writes_survive", text);
            }
        }
    }
}

fn somebody_wrote_it(oracle: &Oracle, held: &BTreeMap<EntryKey, Entry>) -> Result<(), String> {
    for (key, entry) in held {
        let Some(value) = &entry.value else { continue };
        let Some((id, op)) = oracle.find(value) else {
            return Err(format!("{key:?} holds {}, which nobody wrote", brief(Some(entry))));
        };
        if !op.keys(id.index).contains(key) {
            return Err(format!("{key:?} holds {id:?}, which was written elsewhere"));
        }
        if let Outcome::Refused(code) = &op.outcome {
            return Err(format!("{key:?} holds {id:?}, which was refused: {code}"));
        }
    }
    Ok(())
}

fn nothing_is_lost(world: &World, held: &BTreeMap<EntryKey, Entry>) -> Result<(), String> {
    let oracle = &world.oracle;
    let paths: BTreeSet<&Path> =
        oracle.ops.values().flat_map(|op| op.writes.iter().map(|(path, _)| path)).collect();
    for path in paths {
        let group = path.as_str().split('/').next().unwrap_or_default();
        match group {
            "last" | "ends" => the_newest_stands(world, path, held)?,
            "first" => the_first_stands(world, path, held)?,
            "merge" => every_field_stands(world, path, held)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether a write may have left nothing behind: a delete, or a value that ends.
fn may_vanish(wish: &Wish) -> bool {
    matches!(wish, Wish::Delete | Wish::Ends(_))
}

fn the_newest_stands(
    world: &World,
    path: &Path,
    held: &BTreeMap<EntryKey, Entry>,
) -> Result<(), String> {
    let entry = held.get(&EntryKey::path(path));
    let mut newest: Option<(Version, usize, &Op)> = None;
    let (mut vanishing, mut acknowledged) = (false, false);
    for (index, op) in world.oracle.writes_to(path) {
        let refused = matches!(op.outcome, Outcome::Refused(_));
        vanishing |= may_vanish(&op.writes[index].1) && !refused;
        acknowledged |= op.version(index).is_some();
        let version = op.version(index).filter(|version| world.is_honest(op, *version));
        if let Some(version) =
            version.filter(|version| newest.is_none_or(|(top, ..)| *version > top))
        {
            newest = Some((version, index, op));
        }
    }
    if acknowledged && !vanishing && entry.is_none() {
        return Err(format!("{path} was acknowledged and never deleted, it is gone"));
    }
    let Some((version, index, op)) = newest else { return Ok(()) };
    match entry {
        Some(entry) if entry.version >= version => Ok(()),
        Some(entry) if is_value_of(world, entry, op, index) => Ok(()),
        None if vanishing => Ok(()),
        Some(entry) if has_ended(world, &op.writes[index].1) && !is_live(world, entry) => Ok(()),
        Some(entry) if op.writes[index].1 == Wish::Delete && !is_live(world, entry) => Ok(()),
        Some(entry) if was_forgotten_alone(world, op, index, entry) => Ok(()),
        other => Err(format!("{path} was acknowledged as {version:?}, all hold {}", brief(other))),
    }
}

/// Whether a value was to end, and its time is over: then an older one that is over does no harm.
fn has_ended(world: &World, wish: &Wish) -> bool {
    matches!(wish, Wish::Ends(end) if *end <= true_ms(world.now))
}

fn is_live(world: &World, entry: &Entry) -> bool {
    entry.is_live(true_ms(world.now))
}

/// Whether what stands is older than a delete that was forgotten in its time, before the nodes of
/// the two writes knew of each other: nobody could know that somebody holds something older.
fn was_forgotten_alone(world: &World, op: &Op, index: usize, entry: &Entry) -> bool {
    let found = entry.value.as_ref().and_then(|value| world.oracle.find(value));
    let forgotten = op.at_ms + world.options.limits.tombstone_grace_ms;
    may_vanish(&op.writes[index].1)
        && found.is_some_and(|(_, older)| !world.met.by(op.node, older.node, forgotten))
}

fn is_value_of(world: &World, entry: &Entry, op: &Op, index: usize) -> bool {
    let found = entry.value.as_ref().and_then(|value| world.oracle.find(value));
    found.is_some_and(|(id, found)| std::ptr::eq(found, op) && id.index == index)
}

fn the_first_stands(
    world: &World,
    path: &Path,
    held: &BTreeMap<EntryKey, Entry>,
) -> Result<(), String> {
    let mut first: Option<(Version, usize, &Op)> = None;
    for (index, op) in world.oracle.writes_to(path) {
        if op.writes[index].1 == Wish::Delete && !matches!(op.outcome, Outcome::Refused(_)) {
            return Ok(()); // what is first again depends on what the delete knew
        }
        let version = op.version(index).filter(|version| world.is_honest(op, *version));
        if let Some(version) =
            version.filter(|version| first.is_none_or(|(top, ..)| *version < top))
        {
            first = Some((version, index, op));
        }
    }
    let Some((first, index, op)) = first else { return Ok(()) };
    match held.get(&EntryKey::path(path)) {
        Some(entry) if entry.value.is_some() && entry.version <= first => Ok(()),
        Some(entry) if is_value_of(world, entry, op, index) => Ok(()), // made anew
        other => {
            Err(format!("{path} was first acknowledged as {first:?}, all hold {}", brief(other)))
        }
    }
}

fn every_field_stands(
    world: &World,
    path: &Path,
    held: &BTreeMap<EntryKey, Entry>,
) -> Result<(), String> {
    let deletes = |(index, op): &(usize, &Op)| {
        op.writes[*index].1 == Wish::Delete && !matches!(op.outcome, Outcome::Refused(_))
    };
    let deleted: Vec<(usize, &Op)> = world.oracle.writes_to(path).filter(deletes).collect();
    for (index, op) in world.oracle.writes_to(path) {
        let version = op.version(index).filter(|version| world.is_honest(op, *version));
        let Some(version) = version else { continue };
        let newer =
            |(index, op): &(usize, &Op)| op.version(*index).is_none_or(|other| other > version);
        if !matches!(op.writes[index].1, Wish::Fields(_)) || deleted.iter().any(newer) {
            continue;
        }
        for (key, version) in op.made(index) {
            match held.get(&key) {
                Some(entry) if entry.version >= version => {}
                Some(entry) if is_value_of(world, entry, op, index) => {}
                other => {
                    let held = brief(other);
                    return Err(format!(
                        "{key:?} was acknowledged as {version:?}, all hold {held}"
                    ));
                }
            }
        }
    }
    Ok(())
}
