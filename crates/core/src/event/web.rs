//! The server of the status page, a separate process.

/// Reports whether the status page is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    /// Its process listens on this TCP port.
    Listens(u16),
    /// The process does not run.
    Absent,
}
