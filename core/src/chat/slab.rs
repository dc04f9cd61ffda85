//! Things under keys that are made here: a place, and how often it was used. A key of something
//! that is gone finds nothing.

/// Things under keys.
#[derive(Debug)]
pub(super) struct Slab<T> {
    /// How often places were used before this slab was made, as far as keys tell.
    first_turn: u32,
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// With another seed the same keys are not made again soon: a key that somebody still has of
    /// an earlier run finds nothing.
    pub(super) fn new(seed: u64) -> Slab<T> {
        let first_turn = ((seed >> 32) as u32).max(1);
        Slab { first_turn, places: Vec::new(), free: Vec::new() }
    }

    /// Keeps a thing; its key is never 0.
    pub(super) fn insert(&mut self, thing: T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((self.first_turn, None));
            u32::try_from(self.places.len() - 1).expect("under 4 billion places")
        });
        let place = &mut self.places[index as usize];
        place.1 = Some(thing);
        u64::from(place.0) << 32 | u64::from(index)
    }

    pub(super) fn get(&self, key: u64) -> Option<&T> {
        let (turn, thing) = self.places.get(index(key))?;
        thing.as_ref().filter(|_| *turn == turn_of(key))
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (turn, thing) = self.places.get_mut(index(key))?;
        thing.as_mut().filter(|_| *turn == turn_of(key))
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        self.get(key)?;
        let place = &mut self.places[index(key)];
        place.0 = place.0.wrapping_add(1).max(1);
        self.free.push(key as u32);
        place.1.take()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All keys, in the order of their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = u64> {
        let key = |(index, (turn, thing)): (usize, &(u32, Option<T>))| {
            thing.as_ref().map(|_| u64::from(*turn) << 32 | index as u64)
        };
        self.places.iter().enumerate().filter_map(key)
    }
}

fn index(key: u64) -> usize {
    (key & 0xffff_ffff) as usize
}

fn turn_of(key: u64) -> u32 {
    (key >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_something_gone_finds_nothing() {
        let mut slab = Slab::new(1);
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), Some("a"));
        let c = slab.insert("c");
        assert_eq!((slab.get(a), slab.get(b), slab.get(c)), (None, Some(&"b"), Some(&"c")));
        assert_eq!((slab.remove(a), slab.len()), (None, 2));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [c, b]);
    }

    #[test]
    fn the_key_of_an_earlier_run_finds_nothing_in_the_same_place() {
        let [mut before, mut now] = [1 << 32, 7 << 32].map(Slab::new);
        let (a, b) = (before.insert("a"), now.insert("b"));
        assert_eq!((index(a), now.get(a), now.get(b)), (index(b), None, Some(&"b")));
    }
}
