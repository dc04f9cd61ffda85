//! The list of users that `update_client` shows: kept sorted, written once for all sockets.
//!
//! Promise: the order is that of JavaScript's `sort`, by UTF-16 code unit; each user once; pure.

use super::packet;
use crate::json::push_string;
use bytes::Bytes;
use folkmoot_core::chat::words::Presence;
use folkmoot_core::id::Name;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::mem;

/// Everybody who is online in the mesh.
#[derive(Default)]
pub(super) struct UserList {
    /// With the edition of the list in which each came.
    users: BTreeMap<ByUnit, u64>,
    /// How often the list was written.
    edition: u64,
}

impl UserList {
    /// Takes what was told; answers whether the list has changed.
    pub(super) fn apply(&mut self, all: bool, changes: &[Presence]) -> bool {
        let mut before = BTreeMap::new();
        if all {
            before = mem::take(&mut self.users);
        }
        let mut changed = false;
        for change in changes {
            let name = ByUnit(change.user.clone());
            if change.sessions == 0 {
                changed |= self.users.remove(&name).is_some();
                continue;
            }
            match before.remove(&name) {
                Some(edition) => drop(self.users.insert(name, edition)),
                None => {
                    let next = self.edition + 1;
                    self.users.entry(name).or_insert_with(|| {
                        changed = true;
                        next
                    });
                }
            }
        }
        changed || !before.is_empty()
    }

    /// Whether `name` is in the list as it was when it was written in this edition.
    pub(super) fn had(&self, name: &Name, edition: u64) -> bool {
        self.users.get(&ByUnit(name.clone())).is_some_and(|since| *since <= edition)
    }

    /// The event that shows the list, and its edition.
    pub(super) fn write(&mut self) -> (Bytes, u64) {
        let mut out = b"{\"list\":[".to_vec();
        for (at, name) in self.users.keys().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_string(&mut out, name.0.as_str());
        }
        out.extend_from_slice(b"]}");
        self.edition += 1;
        (packet::event("update_client", &out), self.edition)
    }
}

/// A name in the order of UTF-16 code units.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ByUnit(Name);

impl Ord for ByUnit {
    fn cmp(&self, other: &ByUnit) -> Ordering {
        let (left, right) = (self.0.as_bytes(), other.0.as_bytes());
        left.iter().copied().map(unit_rank).cmp(right.iter().copied().map(unit_rank))
    }
}

impl PartialOrd for ByUnit {
    fn partial_cmp(&self, other: &ByUnit) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Bytes of UTF-8 order as code points do, but for one thing: the pairs of UTF-16 (first bytes
/// F0 to F4) come before U+E000 to U+FFFF (first bytes EE and EF).
fn unit_rank(byte: u8) -> u8 {
    match byte {
        0xee | 0xef => byte + 5,
        0xf0..=0xf4 => byte - 2,
        _ => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::new(text.to_owned()).unwrap()
    }

    fn online(text: &str, sessions: u32) -> Presence {
        Presence { user: name(text), sessions, status: None, seen_ms: None }
    }

    fn shown(list: &mut UserList) -> String {
        String::from_utf8(list.write().0.to_vec()).unwrap()
    }

    #[test]
    fn users_are_sorted_by_code_unit_and_once() {
        let mut list = UserList::default();
        let names = ["b", "\u{ff41}", "a", "😀", "B", "é", "a\"", "ab"];
        let users: Vec<_> = names.iter().map(|name| online(name, 1)).collect();
        assert!(list.apply(true, &users));
        assert!(!list.apply(false, &[online("a", 2)]));
        // `[...names].sort()` in JavaScript.
        let want = r#"42["update_client",{"list":["B","a","a\"","ab","b","é","😀","ａ"]}]"#;
        assert_eq!(shown(&mut list), want);
    }

    #[test]
    fn only_a_change_of_names_is_a_change() {
        let mut list = UserList::default();
        assert!(list.apply(false, &[online("a", 1), online("b", 1)]));
        assert!(!list.apply(false, &[online("a", 3), online("c", 0)]));
        assert!(list.apply(false, &[online("a", 0)]));
        assert!(!list.apply(true, &[online("b", 2)]), "the same, told anew");
        assert!(list.apply(true, &[online("c", 2)]));
        assert!(list.apply(true, &[]));
        assert!(!list.apply(true, &[]));
    }

    #[test]
    fn a_user_is_in_the_editions_after_coming() {
        let mut list = UserList::default();
        let empty = list.write().1;
        list.apply(false, &[online("a", 1)]);
        assert!(!list.had(&name("a"), empty));
        let edition = list.write().1;
        assert!(list.had(&name("a"), edition));
        list.apply(true, &[online("a", 2), online("b", 1)]);
        assert!(list.had(&name("a"), edition) && !list.had(&name("b"), edition));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_code_units(
            a in "[a-cé\u{e000}\u{ffff}😀\u{10ffff}]{1,4}",
            b in "[a-cé\u{e000}\u{ffff}😀\u{10ffff}]{1,4}",
        ) {
            let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
            let order = ByUnit(name(&a)).cmp(&ByUnit(name(&b)));
            prop_assert_eq!(order, units(&a).cmp(&units(&b)));
        }
    }
}
