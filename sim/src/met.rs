//! Which machines have come to know of each other, and when: by a link between them, or by one
//! between others that each of them knew.

/// When any two machines came to know of each other.
pub struct Met {
    since: Vec<Vec<Option<u64>>>,
}

impl Met {
    /// Nobody knows of anybody but himself.
    pub fn new(nodes: usize) -> Met {
        let row = |own| (0..nodes).map(|other| (own == other).then_some(0)).collect();
        Met { since: (0..nodes).map(row).collect() }
    }

    /// Two machines are linked at this moment of world time.
    pub fn link(&mut self, a: usize, b: usize, now: u64) {
        let known = |own: usize| -> Vec<usize> {
            (0..self.since.len()).filter(|other| self.since[own][*other].is_some()).collect()
        };
        let (left, right) = (known(a), known(b));
        for (x, y) in left.iter().flat_map(|x| right.iter().map(|y| (*x, *y))) {
            self.since[x][y].get_or_insert(now);
            self.since[y][x].get_or_insert(now);
        }
    }

    /// Whether two machines knew of each other at a moment.
    pub fn by(&self, a: usize, b: usize, at: u64) -> bool {
        self.since[a][b].is_some_and(|since| since <= at)
    }
}
