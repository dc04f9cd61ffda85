//! The end of the process when going on would break a promise.

use folkmoot_core::store::StoreError;
use std::io::Write;

/// Status with which the process ends (`EX_IOERR`).
const EXIT_STATUS: i32 = 74;

/// Says why and ends the process, at once: whatever was not acknowledged, never will be.
pub(crate) fn stop(why: &str) -> ! {
    // Where the disk is full the log may be too, and must not keep the node from stopping.
    let logged = std::panic::catch_unwind(|| tracing::error!("{why}; the node stops"));
    let told = writeln!(std::io::stderr(), "folkmoot: {why}; the node stops");
    drop((logged, told));
    std::process::exit(EXIT_STATUS)
}

/// Ends the process because what is on disk cannot be read.
pub(crate) fn damaged(error: &StoreError) {
    stop(&format!(
        "{error}. Set the data directory aside and start with an empty one: what other nodes \
         have comes back from them"
    ))
}

/// Ends the process if the thread that holds it panics: the others would wait for it for ever.
pub(crate) struct OnPanic(pub(crate) &'static str);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            stop(&format!("{} met a bug, see above", self.0));
        }
    }
}
