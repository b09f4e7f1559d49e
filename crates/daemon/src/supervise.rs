//! Supervision: restarts, exponential backoff, panics and crash loops.
//!
//! | what | how |
//! |---|---|
//! | a task | [`spawn_kept`] restarts its future whenever that ends or panics |
//! | a thread | [`spawn_thread`] restarts its work after each panic, until it returns |
//! | a child process | [`Child`] starts, signals and ends it; [`ExitCause`] classifies its exit |
//! | any other retry | [`Backoff`] for the pause, [`CrashLoop`] to detect too many failures |
//!
//! All but the first three are pure: the current time is an argument.

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
