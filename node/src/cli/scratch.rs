//! A directory for the time being, removed when it is no longer needed.

use super::failure::{Exit, Failure};
use std::path::{Path, PathBuf};

/// The directory. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty directory below `parent`, or where the system keeps such.
    pub(crate) fn new(parent: Option<&Path>, name: &str) -> Result<Scratch, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system has random numbers");
        let path = parent.join(format!("folkmoot-{name}-{:016x}", u64::from_le_bytes(random)));
        std::fs::create_dir_all(&path).map_err(|error| {
            Failure::new(Exit::InUse, format!("cannot make the directory {}", path.display()))
                .why(error)
                .hint("name a place that can be written to, with TMPDIR or --dir")
        })?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is the system's to remove.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
