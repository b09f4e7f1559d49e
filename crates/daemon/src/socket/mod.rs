//! Listening Unix sockets and their admission control.

pub mod admission;
pub mod bind;
pub mod subusers;
