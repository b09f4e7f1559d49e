//! The head's ports: what the kernel has of them, who plays which role, and what others changed.

pub(crate) mod drift;
pub mod mirror;
pub mod netconf;
pub mod port;
pub mod roleless;
