//! Reads fjall's journals before fjall does, and trusts them less.
//!
//! fjall's own recovery ends a journal at the first thing that it does not understand and cuts
//! the rest off, so one flipped bit could cost every later commit; its checksums leave out the
//! sequence numbers, by which it decides which of two values is newer. Here a journal is read in
//! full: each commit must follow the one before, in our numbers and in fjall's. Only an end that
//! was never finished may be missing, and only behind what [`super::mark`] knows to be durable.
//!
//! The layout (fjall 3): batches of `1, count u32, sequence u64`, then for each item `2, type u8,
//! compression u8, keyspace u64, key length u16, value length u32, stored length u32, key, value`
//! or `4, keyspace u64`, then `3, xxh3 u64 of the items, "FJL" 3`; all little endian.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// The key under which each commit keeps its number and the sequence number it was made above.
pub(crate) const COMMIT_KEY: &[u8] = b"\0commit";

const TRAILER: &[u8] = b"FJL\x03";

/// Bytes at the front of a batch within which it names its commit.
const NAMED_WITHIN: usize = 64;

/// Damage in a journal.
#[derive(Debug)]
pub(crate) struct Damage {
    /// Which file.
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) what: String,
}

/// A read that failed, or damage.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The file cannot be read.
    Io(PathBuf, io::Error),
    /// The file can be read and is damaged.
    Damage(Damage),
}

/// Checks the journals in `directory`, of which all commits up to `durable` must be whole. What
/// is left of a commit that never became durable is cut off the end of the newest. Answers the
/// number of the last commit found.
pub(crate) fn check(directory: &Path, durable: u64) -> Result<Option<u64>, Failure> {
    let mut files = list(directory).map_err(|error| Failure::Io(directory.to_owned(), error))?;
    files.sort();
    let newest = files.last().map(|(number, _)| *number);
    let mut chain = Chain::default();
    for (number, path) in files {
        let bytes = fs::read(&path).map_err(|error| Failure::Io(path.clone(), error))?;
        let damage = |what| Failure::Damage(Damage { path: path.clone(), what });
        let read = chain.read(&bytes).map_err(damage)?;
        let rest = &bytes[read..];
        if is_unwritten(rest) {
            continue;
        }
        if newest != Some(number) {
            return Err(damage(format!("it ends at byte {read}, but later journals exist")));
        }
        let is_unfinished = match (chain.last, Batch::commit_begun(rest)) {
            (Some(last), _) => last >= durable,
            (None, Some(begun)) => begun > durable,
            (None, None) => durable == 0 || is_unwritten(&rest[rest.len().min(NAMED_WITHIN)..]),
        };
        if !is_unfinished {
            let what = format!("it cannot be read from byte {read} on; {durable} was durable");
            return Err(damage(what));
        }
        tracing::info!("{}: an unfinished commit was dropped", path.display());
        cut(&path, read as u64).map_err(|error| Failure::Io(path.clone(), error))?;
    }
    Ok(chain.last)
}

/// Journals begin with a length of 64 MiB and are filled.
fn is_unwritten(bytes: &[u8]) -> bool {
    const ZEROS: &[u8] = &[0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Numbers and paths of the journals in `directory`.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            files.push((number.unwrap_or(u64::MAX), path));
        }
    }
    Ok(files)
}

/// Number and path of the newest journal in `directory`.
pub(super) fn newest(directory: &Path) -> io::Result<(u64, PathBuf)> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "the store has no journal");
    list(directory)?.into_iter().max().ok_or_else(none)
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// The commits read so far.
#[derive(Default)]
struct Chain {
    last: Option<u64>,
    sequence: Option<u64>,
}

impl Chain {
    /// Reads whole batches; answers where they end.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        while let Some(batch) = Batch::read(&bytes[at..]) {
            if batch.sum != batch.expected {
                // A commit that was cut short has no end, unless the disk wrote it out of order:
                // `check` decides by what was durable.
                return Ok(at);
            }
            if self.sequence.is_some_and(|last| batch.sequence <= last) {
                return Err(format!("the sequence numbers are out of order at byte {at}"));
            }
            self.sequence = Some(batch.sequence);
            if let Some((commit, floor)) = batch.commit {
                if self.last.is_some_and(|last| commit != last + 1) {
                    return Err(format!("commit {commit} at byte {at} is out of order"));
                }
                if batch.sequence < floor {
                    return Err(format!("the sequence number at byte {at} is damaged"));
                }
                self.last = Some(commit);
            }
            at += batch.length;
        }
        Ok(at)
    }
}

/// One batch of a journal.
struct Batch {
    length: usize,
    sequence: u64,
    sum: u64,
    expected: u64,
    commit: Option<(u64, u64)>,
}

impl Batch {
    /// The commit that begins here, whole or not.
    fn commit_begun(bytes: &[u8]) -> Option<u64> {
        let mut reader = Reader { bytes, at: 0 };
        let (1, _count, _sequence) = (reader.u8()?, reader.u32()?, reader.u64()?) else {
            return None;
        };
        let (2, Some((COMMIT_KEY, value))) = (reader.u8()?, reader.item()) else { return None };
        Some(u64::from_be_bytes(*value.first_chunk()?))
    }

    /// Reads one batch; `None` where there is none, or not the whole of it.
    fn read(bytes: &[u8]) -> Option<Batch> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.u8()? != 1 {
            return None;
        }
        let count = reader.u32()?;
        let sequence = reader.u64()?;
        let items = reader.at;
        let mut commit = None;
        for _ in 0..count {
            match reader.u8()? {
                2 => {
                    let (key, value) = reader.item()?;
                    if key == COMMIT_KEY {
                        let number = u64::from_be_bytes(*value.first_chunk()?);
                        let floor = u64::from_be_bytes(*value.get(8..)?.first_chunk()?);
                        commit = Some((number, floor));
                    }
                }
                4 => drop(reader.u64()?),
                _ => return None,
            }
        }
        let sum = xxh3_64(&bytes[items..reader.at]);
        if reader.u8()? != 3 {
            return None;
        }
        let expected = reader.u64()?;
        if reader.take(TRAILER.len())? != TRAILER {
            return None;
        }
        Some(Batch { length: reader.at, sequence, sum, expected, commit })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Key and stored value of an item, behind its first byte.
    fn item(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (_kind, _compression, _keyspace) = (self.u8()?, self.u8()?, self.u64()?);
        let key = usize::from(self.u16()?);
        let (_length, stored) = (self.u32()?, self.u32()?);
        Some((self.take(key)?, self.take(usize::try_from(stored).ok()?)?))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
