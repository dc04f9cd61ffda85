//! What the figures are to reach: for each a bar, and where there is one an aim beyond it.
//!
//! They hold for 2 cores that client and nodes share. The table at the end says which are reached;
//! a figure that is not is no failure of the command, for the machine may be a smaller one.

use super::Failure;
use super::Out;
use super::report::{Part, Round, latencies, median, number};
use crate::cli::out::table;
use serde_json::json;

/// Puts a second of the original of this design, which acknowledges before it syncs.
const ORIGINAL_PUTS: f64 = 13_000.0;

/// Which figure of a part is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Figure {
    /// The part's own, in its unit.
    Value,
    /// The 99th percentile of the single operations, in milliseconds.
    P99,
    /// One of [`Round::more`].
    More(&'static str),
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// At least this much; the aim is more.
    AtLeast(f64, Option<f64>),
    /// At most this much; the aim is less.
    AtMost(f64, Option<f64>),
}

impl Goal {
    fn verdict(self, value: f64) -> &'static str {
        let (bar, aim) = match self {
            Goal::AtLeast(bar, aim) => (value >= bar, aim.is_some_and(|aim| value >= aim)),
            Goal::AtMost(bar, aim) => (value <= bar, aim.is_some_and(|aim| value <= aim)),
        };
        match (bar, aim) {
            (true, true) => "aim reached",
            (true, false) => "reached",
            (false, _) => "NOT REACHED",
        }
    }

    fn numbers(self) -> (f64, Option<f64>) {
        let (Goal::AtLeast(bar, aim) | Goal::AtMost(bar, aim)) = self;
        (bar, aim)
    }
}

/// The goals of a part, beside its definition.
pub(super) type Goals = &'static [(Figure, Goal)];

/// Says what each part came to, against bar and aim, and against the original.
pub(super) fn summary(parts: &[(&Part, Vec<Round>)], out: Out) -> Result<(), Failure> {
    let (mut rows, mut goals, mut ratios, mut words) = (vec![], vec![], vec![], vec![]);
    for (part, rounds) in parts {
        for (figure, goal) in part.goals {
            let Some((name, value)) = measured(part, rounds, *figure) else { continue };
            let (bar, aim) = goal.numbers();
            let verdict = goal.verdict(value);
            let aim_words = aim.map_or(String::new(), number);
            let words = [part.name, name, &number(value), &number(bar), &aim_words, verdict];
            rows.push(words.map(str::to_string).to_vec());
            goals.push(json!({ "part": part.name, "figure": name, "median": value, "bar": bar,
                "aim": aim, "verdict": verdict }));
        }
        if part.unit == "puts/s" {
            let ratio = median(rounds.iter().map(|round| round.value)) / ORIGINAL_PUTS;
            words.push(format!("{} {ratio:.1} times", part.name));
            ratios.push(json!({ "part": part.name, "ratio": ratio }));
        }
    }
    let mut text = table(&["part", "figure", "median", "bar", "aim", ""], &rows);
    if !words.is_empty() {
        let (original, words) = (number(ORIGINAL_PUTS), words.join(", "));
        text += &format!(
            "\n\nagainst the original's {original} puts/s, acknowledged without a sync: {words}, \
             each put synced"
        );
    }
    out.say(text, &json!({ "goals": goals, "original_puts": ORIGINAL_PUTS, "ratios": ratios }))
}

fn measured(part: &Part, rounds: &[Round], figure: Figure) -> Option<(&'static str, f64)> {
    match figure {
        Figure::Value => Some((part.unit, median(rounds.iter().map(|round| round.value)))),
        Figure::P99 => Some(("p99 ms", latencies(rounds)?.value_at_quantile(0.99) as f64 / 1000.0)),
        Figure::More(name) => {
            let of = |round: &Round| round.more.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            let values: Option<Vec<f64>> = rounds.iter().map(of).collect();
            values.map(|values| (name, median(values)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_on_the_bar_reaches_it_and_one_beyond_the_aim_the_aim() {
        let more = Goal::AtLeast(10.0, Some(20.0));
        let verdicts = [9.9, 10.0, 20.0].map(|value| more.verdict(value));
        assert_eq!(verdicts, ["NOT REACHED", "reached", "aim reached"]);
        let less = Goal::AtMost(2.0, Some(1.0));
        let verdicts = [2.1, 2.0, 1.0].map(|value| less.verdict(value));
        assert_eq!(verdicts, ["NOT REACHED", "reached", "aim reached"]);
        assert_eq!(Goal::AtMost(2.0, None).verdict(0.1), "reached");
    }
}
