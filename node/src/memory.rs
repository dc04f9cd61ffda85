//! The allocator of the program.
//!
//! A put is a dozen small allocations, and most are freed on another thread than the one that made
//! them: what mimalloc is built for. It keeps what is free, a part of it for each thread by itself, and
//! gives it back when that thread asks for more; a node that has just started, or has just met a
//! hundred thousand users, may be asked for nothing. So each thread gives back from time to time.
//!
//! It asks for no huge pages: of a small node's memory two thirds were the untouched rest of such pages,
//! and no figure was better for them.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a thread keeps free memory at least, and not much longer if it does anything.
pub(crate) const GIVE_BACK_AFTER: Duration = Duration::from_secs(5);

/// Of the program only: who uses the library chooses for himself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

thread_local! {
    static GAVE_BACK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Tells the system to give no huge pages to this process, where it gives them unasked.
pub(crate) fn use_small_pages() {
    // Where it fails, a node takes some 8 MB more.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives this thread's free memory back to the system, if that was not done lately: the start of a
/// node takes 32 MiB for a moment, to derive the network's key, and a meeting of many users more.
pub(crate) fn give_back() {
    let now = Instant::now();
    let lately = |then: Instant| now.duration_since(then) < GIVE_BACK_AFTER;
    if !GAVE_BACK.get().is_some_and(lately) {
        GAVE_BACK.set(Some(now));
        collect();
    }
}

#[allow(unsafe_code, reason = "the allocator has no safe interface for it")]
fn collect() {
    // SAFETY: it may be called at any time and on any thread, and moves nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
