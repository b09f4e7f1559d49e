//! Keeps going what may end: the one place for back-off, panics and crash loops.
//!
//! | what | how |
//! |---|---|
//! | a task | [`spawn_kept`] begins its future again whenever that ends or panics |
//! | a thread | [`spawn_thread`] begins its work again after each panic, until it returns |
//! | a child process | [`Child`] starts, signals and ends it; [`ExitCause`] says who ended it |
//! | anything else that is retried | [`Backoff`] for the pause, [`CrashLoop`] for "too often" |
//!
//! Pauses grow twofold between two bounds and begin anew after something ran well. All of this is
//! pure but for the three that start something; moments are arguments.

mod backoff;
mod child;
mod crash_loop;
mod exit_cause;
mod panic;
mod task;
mod thread;

pub use backoff::Backoff;
pub use child::Child;
pub use crash_loop::CrashLoop;
pub use exit_cause::ExitCause;
pub use panic::{Panic, catch, catch_async};
pub use task::{Ending, Restart, Task, spawn_kept};
pub use thread::spawn_thread;
