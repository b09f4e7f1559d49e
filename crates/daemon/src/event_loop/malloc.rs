//! Returns unused memory to the kernel.
//!
//! Parsing the settings of ten thousand nodes allocates several times the memory that they need in
//! the end. The result lies above the garbage, so glibc would never shrink the heap.

/// Allocations above this size (bytes) are mapped separately: untouched pages cost nothing, and
/// freeing unmaps them. This is glibc's initial `M_MMAP_THRESHOLD`; setting it keeps glibc from
/// raising it at each large `free`.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: libc::c_int = 128 * 1024;

/// Limits the allocator to one arena (`M_ARENA_MAX`): the panel's threads allocate too little for
/// one each.
pub fn limit_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets parameters of the allocator, which is thread-safe; no pointers are handed over.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Returns a contiguous copy of a value that parsing scattered over the heap, where it pins pages
/// that are otherwise free.
pub fn compact<T: Clone>(scattered: &T) -> T {
    trim();
    scattered.clone()
}

/// Returns free pages to the kernel. The cost grows with the heap, so call it only after much has
/// been freed.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases only pages in which nothing is allocated; no pointers are handed over.
    unsafe {
        libc::malloc_trim(0);
    }
}
