//! Faults of the machine under a real process: lost power, a failing sync, a wrong clock. They are
//! laid between the process and the C library (`faults.c`), so the program itself knows nothing
//! of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library, compiled once for all tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let name = format!("faults-{}.so", std::process::id());
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/faults.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread", "-o"]);
        let status = cc.arg(&library).arg(source).arg("-ldl").status().unwrap();
        assert!(status.success(), "a C compiler is needed for the faults");
        library
    })
}

/// What is written and not synced is lost with the process.
pub(crate) fn lose_power(command: &mut Command) {
    command.env("LD_PRELOAD", library()).env("FAULTS_POWER", "1");
}

/// Syncing fails while `file` exists.
pub(crate) fn fail_to_sync(command: &mut Command, file: &Path) {
    command.env("LD_PRELOAD", library()).env("FAULTS_SYNC", file);
}

/// A wall clock that can be set, also while a process runs.
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// A clock that is right.
    pub(crate) fn new(file: PathBuf) -> Clock {
        let clock = Clock(file);
        clock.set_ahead(0);
        clock
    }

    /// Sets it this far ahead of the right time, in milliseconds.
    pub(crate) fn set_ahead(&self, ms: i64) {
        use std::os::unix::fs::FileExt;
        let mut options = std::fs::OpenOptions::new();
        // In place: the process has it mapped.
        let file = options.create(true).truncate(false).write(true).open(&self.0).unwrap();
        file.write_all_at(&ms.to_ne_bytes(), 0).unwrap();
    }

    /// Gives it to a process.
    pub(crate) fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("FAULTS_CLOCK", &self.0);
    }
}
