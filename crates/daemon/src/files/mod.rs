//! Files: watched, read within bounds, and written in folders that belong to another user.

pub mod folder;
pub(crate) mod inotify;

pub use bramblegate_files::{reading, settings};
