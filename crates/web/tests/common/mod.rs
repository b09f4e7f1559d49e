//! Helpers of the page's tests: emulated sockets, the program, a client.
#![allow(
    dead_code,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod client;
pub mod daemon;
pub mod program;
