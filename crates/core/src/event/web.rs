//! The status page's server, a process of its own.

/// Reports where the status page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    /// Its process listens at this TCP port.
    Listens(u16),
    /// There is no such process.
    Absent,
}
