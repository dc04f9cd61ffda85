//! A store as it will be once some writes are applied.

use super::{Store, StoreError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Writes laid over a store.
pub struct Overlay<'a> {
    /// The store beneath.
    pub below: &'a dyn Store,
    /// What the writes leave at each key that they touch; `None`: nothing.
    pub above: &'a BTreeMap<Bytes, Option<Bytes>>,
}

impl Store for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.above.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut above = self.above.range::<[u8], _>(range).peekable();
        if above.peek().is_none() {
            return self.below.scan(from, to, visit);
        }
        let mut wanted = true;
        self.below.scan(from, to, &mut |key, value| {
            while wanted
                && let Some((over, over_value)) = above.next_if(|(over, _)| &over[..] < key)
            {
                wanted = over_value.as_ref().is_none_or(|value| visit(over, value));
            }
            if !wanted {
                return false;
            }
            wanted = match above.next_if(|(over, _)| &over[..] == key) {
                Some((_, over_value)) => over_value.as_ref().is_none_or(|value| visit(key, value)),
                None => visit(key, value),
            };
            wanted
        })?;
        while wanted && let Some((key, value)) = above.next() {
            wanted = value.as_ref().is_none_or(|value| visit(key, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore};
    use proptest::prelude::*;

    fn batch(writes: &[(u8, Option<u8>)]) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.put(vec![*key], vec![*value]),
                None => batch.delete(vec![*key]),
            }
        }
        batch
    }

    fn all(store: &dyn Store, most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            found.len() < most
        };
        store.scan(&[3], &[12], visit).unwrap();
        found
    }

    proptest! {
        #[test]
        fn reads_are_those_of_the_store_after_the_writes(
            first: Vec<(u8, Option<u8>)>,
            second: Vec<(u8, Option<u8>)>,
            most in 1usize..9,
        ) {
            let small = |writes: Vec<(u8, Option<u8>)>| -> Vec<_> {
                writes.into_iter().map(|(key, value)| (key % 16, value)).collect()
            };
            let (first, mut second) = (batch(&small(first)), batch(&small(second)));
            let mut below = MemoryStore::default();
            below.apply(&first);
            let mut after = below.clone();
            after.apply(&second);
            let overlay = Overlay { below: &below, above: second.latest() };
            prop_assert_eq!(all(&overlay, most), all(&after, most));
            for key in 0..16 {
                prop_assert_eq!(overlay.get(&[key]), after.get(&[key]));
            }
        }
    }
}
