//! Standard output and standard error, where a closed pipe is no reason to panic.

use std::io::{IsTerminal, Write};

use crate::event::in_words;

/// Writes to standard output. Who stops reading wants no more.
pub fn out(text: &str) {
    let _ = is_read(text);
}

/// Writes to standard output. Returns whether somebody still reads.
pub fn is_read(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Writes to standard error, for people: without the numbers of errors.
pub fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(in_words(text).as_bytes());
}

/// May standard output be coloured? It is a terminal that can, and nobody set `NO_COLOR` (no-color.org).
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}
