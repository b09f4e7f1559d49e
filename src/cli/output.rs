//! Standard output and standard error. A closed pipe causes no panic, and control characters in
//! texts of other programs are escaped. Functions for drawn texts, with escape sequences of our
//! own, get parts that are escaped already: the client does that with each status it receives.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::exit;

use crate::config::with_help;
use crate::event::{in_words, printable, printable_json};

/// Writes to standard output; a closed pipe is ignored.
pub fn out(text: &str) {
    let _ = try_out(text);
}

/// Writes the result of a verb to standard output; returns the exit code. A closed pipe is ignored,
/// but another error, such as a full disk, is reported: half a file is not the result.
pub fn deliver(text: &str) -> u8 {
    deliver_drawn(&printable(text))
}

/// Writes JSON as [`deliver`] does a text.
pub fn deliver_json(text: &str) -> u8 {
    deliver_drawn(&printable_json(text))
}

/// Writes a text with escape sequences of our own as [`deliver`] does one without.
pub fn deliver_drawn(text: &str) -> u8 {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            self::error(
                &format!("standard output cannot be written: {error}"),
                "make room where it goes, or write it elsewhere",
            );
            exit::CANNOT_CREATE
        }
        _ => 0,
    }
}

/// Returns whether standard output still has a reader, without writing to it.
pub fn is_open() -> bool {
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&none)).is_err()
        || watched.iter().all(|fd| !fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// Writes to standard output; returns whether it still has a reader.
pub fn try_out(text: &str) -> bool {
    try_out_drawn(&printable(text))
}

/// Writes JSON as [`try_out`] does a text.
pub fn try_out_json(text: &str) -> bool {
    try_out_drawn(&printable_json(text))
}

/// Writes a text with escape sequences of our own as [`try_out`] does one without.
pub fn try_out_drawn(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Writes an error and, on the next line, its remedy to standard error: the format of all errors of
/// all verbs.
pub fn error(message: &str, help: &str) {
    err(&format!("{}\n", with_help(&format!("error: {message}"), help)));
}

/// Writes the message of an [`ApplyError`](crate::event::ApplyError) as [`error`] does. Its remedy
/// follows the last semicolon; without one, `help` is the remedy.
pub fn failure(verb: &str, message: &str, help: &str) {
    let (message, help) = message.rsplit_once("; ").unwrap_or((message, help));
    error(&format!("{verb}: {message}"), help);
}

/// Writes a note in the format of [`error`].
pub fn note(note: &str, help: &str) {
    err(&format!("{}\n", with_help(&format!("note: {note}"), help)));
}

/// Writes to standard error, without the numbers of OS errors.
pub fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(printable(&in_words(text)).as_bytes());
}

/// When texts are coloured (`--color`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Colours {
    /// on a terminal that can, unless `NO_COLOR` is set (no-color.org)
    Auto,
    Always,
    Never,
}

/// The value of `--color`, as the number of a [`Colours`].
static WANTED: AtomicU8 = AtomicU8::new(Colours::Auto as u8);

/// Stores the value of `--color`, for everything printed later.
pub fn set_colours(wanted: Colours) {
    WANTED.store(wanted as u8, Ordering::Relaxed);
}

/// Returns the value of `--color`: `None` for "auto".
pub fn wanted_colours() -> Option<bool> {
    match WANTED.load(Ordering::Relaxed) {
        wanted if wanted == Colours::Always as u8 => Some(true),
        wanted if wanted == Colours::Never as u8 => Some(false),
        _ => None,
    }
}

/// Returns whether standard output may be coloured.
pub fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_able = || std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb;
    wanted_colours().unwrap_or_else(is_able)
}

/// Returns the width of the terminal on standard output, in columns; `None` if there is no
/// terminal, or its size is unknown.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Splits a text into lines of at most `columns`; a longer word has a line of its own.
pub fn filled(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Asks on the terminal; Enter takes the proposal. `None` at the end of standard input.
pub fn ask(question: &str, proposal: &str) -> Option<String> {
    err(&format!("{question} [{proposal}] "));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).ok()?;
    match (read, line.trim()) {
        (0, _) => {
            err("\n");
            None
        }
        (_, "") => Some(proposal.to_owned()),
        (_, answer) => Some(answer.to_owned()),
    }
}

/// `-q` and `-v`. Each verb that has them describes them (`mut_arg`).
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Verbosity {
    /// Print less
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more
    #[arg(short, long)]
    pub verbose: bool,
}
