//! The allocator of the program.
//!
//! A put is a dozen small allocations, and most are freed on another thread than the one that made
//! them: what mimalloc is built for. It keeps what is free for a while, and looks whether the while
//! is over only when it is asked for more; a node that has just started may be asked for nothing.

/// Of the program only: who uses the library chooses for himself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that is free back to the system: the start of a node takes 32 MiB for a moment, to
/// derive the network's key.
#[allow(unsafe_code, reason = "the allocator has no safe interface for it")]
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time and on any thread, and moves nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
