//! How a command fails: what happened, why, what to do, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

/// Exit codes. They are documented in `folkmoot --help` and docs/operating.md and never change
/// their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something went wrong that has no code of its own.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// There is nothing at that path, or no such node.
    NotFound = 3,
    /// No node answers at the URL.
    Unreachable = 4,
    /// The node refused the request.
    Refused = 5,
    /// A setting is wrong.
    Config = 6,
    /// The port or the data directory is in use, or cannot be used.
    InUse = 7,
}

/// A failure in the words of its reader.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    why: Option<String>,
    hint: Option<String>,
    /// Which item of a batch was at fault, from 0.
    pub(crate) item: Option<usize>,
}

impl Failure {
    /// What happened.
    pub(crate) fn new(exit: Exit, what: impl fmt::Display) -> Failure {
        Failure { exit, what: what.to_string(), why: None, hint: None, item: None }
    }

    /// Where it happened, before what happened.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Failure {
        self.what = format!("{place}: {}", self.what);
        self
    }

    /// Why it happened.
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Failure {
        self.why = Some(why.to_string());
        self
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }

    /// Says it on standard error and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let error = serde_json::json!({
                "what": self.what, "why": self.why, "do": self.hint, "exit": self.exit as u8,
            });
            eprintln!("{}", serde_json::json!({ "error": error }));
        } else {
            eprintln!("{self}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for (name, text) in [("why", &self.why), ("do", &self.hint)] {
            if let Some(text) = text {
                write!(f, "\n  {:<4} {}", format!("{name}:"), text.replace('\n', "\n       "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Failure {
        Failure::new(Exit::Config, error.what).hint(error.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::new(Exit::InUse, "cannot listen").why("in use").hint("stop\nit");
        assert_eq!(
            failure.to_string(),
            "error: cannot listen\n  why: in use\n  do:  stop\n       it"
        );
    }
}
