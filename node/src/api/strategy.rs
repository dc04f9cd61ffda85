//! What happens where two nodes write one path without knowing of each other.

use super::value::Value;
use crate::error::Error;
use folkmoot_core::id::Path;
use folkmoot_core::request::Change;

/// How concurrent writes of one path are settled. It is kept with each value, so all nodes settle
/// them alike, whatever their own settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The last write wins.
    #[default]
    Last,
    /// The first write wins, and later ones change nothing.
    First,
    /// The fields of an object are written each for itself; those not named stay.
    Merge,
}

impl Strategy {
    /// The strategy that a word names: `last`, `first` or `merge`.
    pub fn from_word(word: &str) -> Option<Strategy> {
        match word {
            "last" => Some(Strategy::Last),
            "first" => Some(Strategy::First),
            "merge" => Some(Strategy::Merge),
            _ => None,
        }
    }

    /// What is done with a value.
    pub(crate) fn change(self, value: &Value) -> Result<Change, Error> {
        let text = value.as_bytes().clone();
        Ok(match self {
            Strategy::Last => Change::Put(text),
            Strategy::First => Change::PutFirst(text),
            Strategy::Merge => Change::Merge(value.fields()?),
        })
    }
}

/// The strategies of this node's writes, by path prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strategies(Vec<(Path, Strategy)>);

impl Strategies {
    pub(crate) fn new(strategies: Vec<(Path, Strategy)>) -> Strategies {
        Strategies(strategies)
    }

    /// What is done with a value put at `path`: by `asked`, or by the longest prefix that covers
    /// the path. Where a prefix says `merge`, a value without fields is put as a whole.
    pub(crate) fn change(
        &self,
        path: &Path,
        value: &Value,
        asked: Option<Strategy>,
    ) -> Result<Change, Error> {
        match asked.unwrap_or_else(|| self.of(path)) {
            Strategy::Merge if asked.is_none() && !value.is_object() => {
                Strategy::Last.change(value)
            }
            strategy => strategy.change(value),
        }
    }

    fn of(&self, path: &Path) -> Strategy {
        let covers = |(prefix, _): &&(Path, Strategy)| prefix.covers(path);
        let found = self.0.iter().filter(covers).max_by_key(|(prefix, _)| prefix.as_bytes().len());
        found.map_or(Strategy::Last, |(_, strategy)| *strategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts_unless_the_write_says_otherwise() {
        let path = |text: &str| Path::new(text.to_owned()).unwrap();
        let strategies = Strategies::new(vec![
            (path("users"), Strategy::Merge),
            (path("users/names"), Strategy::First),
        ]);
        let object = Value::from_text(r#"{"a":1}"#).unwrap();
        let change = |at: &str, asked| strategies.change(&path(at), &object, asked).unwrap();
        assert!(matches!(change("users/1", None), Change::Merge(_)));
        assert!(matches!(change("users/names/anna", None), Change::PutFirst(_)));
        assert!(matches!(change("users2", None), Change::Put(_)));
        assert!(matches!(change("users/1", Some(Strategy::Last)), Change::Put(_)));
        let number = Value::from_text("1").unwrap();
        assert!(matches!(strategies.change(&path("users/1"), &number, None), Ok(Change::Put(_))));
        assert!(strategies.change(&path("x"), &number, Some(Strategy::Merge)).is_err());
    }
}
