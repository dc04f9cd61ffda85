//! Standard output: words for people, one JSON object a line for programs.

use super::failure::{Exit, Failure};
use serde_json::Value;
use std::io::{ErrorKind, Write};

/// How a command was asked to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// Whether `--json` was given.
    pub(crate) json: bool,
}

impl Out {
    /// Prints the words, or the JSON if that was asked for.
    pub(crate) fn say(self, words: impl std::fmt::Display, json: &Value) -> Result<(), Failure> {
        if self.json { self.line(json) } else { self.line(words) }
    }

    /// Prints one line as it is.
    pub(crate) fn line(self, line: impl std::fmt::Display) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        written(writeln!(out, "{line}").and_then(|()| out.flush()))
    }
}

/// Turns what a write to standard output came to into what a command answers. A reader that has
/// gone away (`| head`) ends the program and is no error.
pub(crate) fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Exit::Failed, "cannot write to standard output").why(error)),
    }
}

/// What to type to run this program: its name if that is found, else where it is.
pub(crate) fn program() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join("folkmoot").is_file());
    match std::env::current_exe() {
        Ok(place) if !found => place.display().to_string(),
        _ => "folkmoot".to_owned(),
    }
}

/// Columns of words under their headings, each as wide as it must be.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut lines = vec![line(headings.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".into(), "long".into()], vec!["bcd".into(), "x".into()]];
        assert_eq!(table(&["N", "M"], &rows), "N    M\na    long\nbcd  x");
    }
}
