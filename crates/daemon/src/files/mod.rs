//! Files: watched, read with a size limit, and written safely in directories of another user.

pub mod folder;
pub(crate) mod inotify;

pub use bramblegate_files::{reading, settings};
