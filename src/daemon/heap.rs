//! Memory that is not needed any more goes back to the kernel.
//!
//! Reading the settings of ten thousand nodes takes several times the memory of what is kept of them, and what is kept lies
//! above it: the C library would hold all of it for ever.

#[cfg(target_env = "gnu")]
use nftnl::nftnl_sys::libc;

/// One heap for all threads (`M_ARENA_MAX`): those of the panel allocate little, and would each begin one of their own.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, which is thread-safe; no pointers are handed over.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives free pages back; costs the more the more there is. For moments after which much less is needed than before.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases only pages in which nothing is allocated; no pointers are handed over.
    unsafe {
        libc::malloc_trim(0);
    }
}
