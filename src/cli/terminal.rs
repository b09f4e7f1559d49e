//! The terminal: raw while the demo draws, and as it was afterwards, whatever happens.

use std::io::{IsTerminal, Read, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Leaves the alternate screen, wraps lines and shows the cursor again, resets colours.
const RESTORE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Lines that are too long are cut at the edge: wrapped, they would push others off the screen.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";

/// Starts this program again with `mark` set in its environment and waits for its end; then the terminal is as before, even
/// if everything below was killed. Its exit code.
pub fn guard(mark: &str) -> Result<u8, String> {
    let before = tcgetattr(std::io::stdin()).ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    match runtime.block_on(watch(mark)) {
        // It has restored the terminal itself. Twice would put the cursor back to before its last words.
        Ok(End::Exited(code)) => Ok(code),
        Ok(End::Killed(code)) => {
            restore(before.as_ref());
            Ok(code)
        }
        Err(error) => {
            restore(before.as_ref());
            Err(error)
        }
    }
}

/// How the other program ended, and the exit code for that.
enum End {
    Exited(u8),
    Killed(u8),
}

async fn watch(mark: &str) -> Result<End, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(mark, "1")
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    let on = |kind| signal(kind).map_err(|e: std::io::Error| e.to_string());
    let (mut interrupt, mut terminate, mut hangup) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?);
    let signalled = tokio::select! {
        status = child.wait() => {
            let status = status.map_err(|e| e.to_string())?;
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(End::Killed(1), End::Exited));
        }
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    };
    // Killing the maker of the namespaces kills everything in them.
    let _ = child.kill().await;
    Ok(End::Killed(signalled))
}

fn restore(before: Option<&Termios>) {
    if let Some(before) = before {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
    }
    let mut out = std::io::stdout();
    if out.is_terminal() {
        let _ = out.write_all(RESTORE.as_bytes());
        let _ = out.flush();
    }
}

/// A terminal in raw mode, on its alternate screen; put back when dropped.
#[derive(Debug)]
pub struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal over.
    pub fn open() -> Self {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        let _ = std::io::stdout().write_all(BEGIN.as_bytes());
        Self { before }
    }

    /// Replaces what is shown, without flicker. What does not fit on so many rows is left out at the end.
    pub fn show(&self, lines: &[String], rows: usize) {
        let mut text = String::from("\x1b[H");
        for (row, line) in lines.iter().take(rows).enumerate() {
            // No line break after the last one: on a screen just as high it would push the first one off.
            text.push_str(if row == 0 { "" } else { "\r\n" });
            // Cleared before it is written: behind a line just as wide as the screen the cursor stands on its last character.
            text.push_str("\x1b[K");
            text.push_str(line);
            text.push_str("\x1b[0m");
        }
        text.push_str("\x1b[J");
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore(self.before.as_ref());
    }
}

/// The keys typed from now on; none where there is no keyboard.
pub fn keys() -> Receiver<char> {
    let (sender, receiver) = channel();
    if std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            for byte in std::io::stdin().lock().bytes() {
                let Ok(byte) = byte else { return };
                if sender.send(char::from(byte)).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}
