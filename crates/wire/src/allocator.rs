//! Makes the allocator return what a burst left free.

/// Bytes from which on a burst is worth it.
pub(crate) const BURST: usize = 8 << 20;

/// Returns free memory to the system.
///
/// glibc returns by itself only what lies at the end of its heap, so a few small survivors of a burst can hold all of
/// it (malloc_trim(3)). Takes about a millisecond for each 50 MB.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes no pointers and may be called at any time (attribute MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
