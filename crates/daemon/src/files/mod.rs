//! Files: watched, read within bounds, and written in folders that belong to somebody else.

pub mod folder;
pub(crate) mod inotify;
pub mod reading;
