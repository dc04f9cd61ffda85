//! What can go wrong around a node: ten kinds, each with what to do about it.

use crate::identity::FileError;
use crate::network::NetworkError;
use folkmoot_core::error::ErrorCode;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why something about a node could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request was refused; the code says why and what it left behind.
    #[error("{0}")]
    Refused(ErrorCode),
    /// A value is not what it should be.
    #[error("the value is not usable: {0}")]
    Value(String),
    /// The data directory cannot be used.
    #[error(
        "cannot use {path}: {source}; check that it exists and may be written, or choose another with --data-dir"
    )]
    DataDir {
        /// What was tried.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error(
        "{0} is in use by another node: stop that one first, or choose another with --data-dir"
    )]
    InUse(PathBuf),
    /// The data directory was written by a newer version.
    #[error(
        "{path} has format {found}, this program knows formats up to {known}: use a newer version; nothing was changed"
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The format that it has.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// The data directory is damaged.
    #[error(
        "{path} is damaged: {what}; nothing was changed. Set it aside and start with an empty directory: what other nodes have comes back from them"
    )]
    Damaged {
        /// The file or directory at fault.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node's keys, or its network and secret, cannot be used.
    #[error("{0}")]
    Identity(String),
    /// An address or another setting that cannot be understood.
    #[error("{0}")]
    Setting(String),
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Error {
        Error::Refused(code)
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Error {
        match error {
            FileError::Io { path, source, .. } => Error::DataDir { path, source },
            error => Error::Identity(error.to_string()),
        }
    }
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Error {
        match error {
            NetworkError::File(error) => error.into(),
            error => Error::Identity(error.to_string()),
        }
    }
}

impl Error {
    /// The code of a refused request.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused(code) => Some(*code),
            _ => None,
        }
    }
}
