//! Small files that hold a secret: written whole or not at all, and readable by their owner only.
//!
//! Promise: a file is either the old one or the new one, also after a crash, and what was
//! reported written is on disk. A file that others may read is refused, not quietly repaired:
//! whoever made it so should know that the secret may be out. Limits: `FILE_BYTES_MAX`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a private file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a private file could not be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Others may read it.
    #[error(
        "{path} may be read by others (mode {mode:04o}), and what is in it must stay secret: \
         run `chmod 600 {path}`, and if others use this machine, think of it as known to them"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What is in it is not what was written.
    #[error("{path} is damaged: {remedy}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is in the file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| io_error("open", path, source))?,
    };
    check_mode(path, &file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let read = read.and_then(|_| check_length(&bytes));
    read.map_err(|source| io_error("read", path, source))?;
    Ok(Some(bytes))
}

/// Writes the file, in place of an older one if there is one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let draft = path.with_extension("draft");
    let attempt = || {
        check_length(bytes)?;
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        sync_directory(path)
    };
    attempt().map_err(|source| io_error("write", path, source))
}

fn check_length(bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = "it is over 64 KiB, and what belongs there is smaller: put it back from a backup";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(())
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|source| io_error("inspect", path, source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &File) -> Result<(), FileError> {
    Ok(())
}

/// Makes the new name of a file durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), source }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_private_file_is_for_its_owner_only_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        assert!(read(&path).unwrap().is_none());
        fs::write(path.with_extension("draft"), "left by a crash").unwrap();
        for text in [&b"a longer first text"[..], b"second"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().as_slice(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        for mode in [0o644, 0o640, 0o602, 0o610] {
            write(&path, b"secret").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn the_largest_file_is_kept_whole_and_a_larger_one_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let most = vec![b'x'; usize::try_from(FILE_BYTES_MAX).unwrap()];
        let over = [&most[..], b"y"].concat();
        write(&path, &most).unwrap();
        let error = write(&path, &over).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("over 64 KiB"), "{error}");
        assert_eq!(*read(&path).unwrap().unwrap(), most);
        fs::write(&path, &over).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("over 64 KiB"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), over);
    }
}
