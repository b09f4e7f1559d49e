//! Local sockets that others connect to: made, and their places shared out.

pub mod admission;
pub mod bind;
pub mod subusers;
