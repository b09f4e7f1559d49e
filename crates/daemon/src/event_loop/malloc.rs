//! Memory that is not needed any more goes back to the kernel.
//!
//! Reading the settings of ten thousand nodes takes several times the memory of what is kept of
//! them, and what is kept lies above it: the C library would hold all of it for ever.

/// What is larger has pages of its own (bytes): those of it that were never written to cost
/// nothing, and all go back when it goes. The C library begins with this, and raises it with each
/// large thing that is given back.
#[cfg(target_env = "gnu")]
const OWN_PAGES: libc::c_int = 128 * 1024;

/// Limits the allocator to one heap for all threads (`M_ARENA_MAX`): those of the panel allocate
/// little, and would each begin one of their own.
pub fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets parameters of the allocator, which is thread-safe; no pointers are handed over.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES);
    }
}

/// Returns a copy that lies together, for what was read bit by bit: it is scattered between the
/// remains of reading, and keeps the pages of those from going back.
pub fn compact<T: Clone>(scattered: &T) -> T {
    trim();
    scattered.clone()
}

/// Gives free pages back; costs the more the more there is. For moments after which much less is
/// needed than before.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases only pages in which nothing is allocated; no pointers are handed over.
    unsafe {
        libc::malloc_trim(0);
    }
}
