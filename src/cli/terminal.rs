//! The terminal: raw while a verb draws, and restored afterwards in any case.

use std::io::{self, IsTerminal, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyModifiers};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Ctrl-C in raw mode, where it sends no signal.
pub const INTERRUPT: char = '\u{3}';
/// Ctrl-D.
pub const END: char = '\u{4}';
/// Esc.
pub const ESCAPE: char = '\u{1b}';

/// Runs this program again as a child, with `mark` set to our process ID in its environment, and
/// returns its exit code. Restores the terminal even if the child was killed.
pub fn guard(mark: &str, variable: Option<(&str, String)>) -> io::Result<u8> {
    let before = tcgetattr(std::io::stdin()).ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(watch(mark, variable)) {
        // The child has restored the terminal. A second time would move the cursor before its last
        // output.
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

/// How the child ended, and the exit code for that.
enum End {
    Exited(u8),
    Killed(u8),
}

async fn watch(mark: &str, variable: Option<(&str, String)>) -> io::Result<End> {
    use tokio::signal::unix::{SignalKind, signal};
    let program = std::env::current_exe()?;
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(mark, std::process::id().to_string())
        .envs(variable)
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let signalled = tokio::select! {
        status = child.wait() => {
            let code = status?.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(End::Killed(1), End::Exited));
        }
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
        _ = quit.recv() => 131,
    };
    // Killing the process that made the namespaces kills everything in them.
    let _ = child.kill().await;
    Ok(End::Killed(signalled))
}

/// Restores the terminal after a child was killed. `crossterm` only knows the mode that it has
/// changed itself, so the one from before is kept here.
fn restore(before: Option<&Termios>) {
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
    leave();
}

/// Leaves the alternate screen, wraps lines and shows the cursor again, resets colours.
fn leave() {
    let mut out = io::stdout();
    if out.is_terminal() {
        // This fails only if the terminal is gone.
        let _ = execute!(
            out,
            SetAttribute(Attribute::Reset),
            EnableLineWrap,
            Show,
            LeaveAlternateScreen
        );
    }
}

/// A terminal in raw mode, on its alternate screen; restored when dropped.
#[derive(Debug)]
pub struct Screen {
    is_raw: bool,
}

impl Screen {
    /// Takes over the terminal. Long lines are cut at the edge: wrapped, they would push others off
    /// the screen.
    pub fn open() -> Self {
        // If standard input is not a terminal, its mode is not ours to change.
        let is_raw = io::stdin().is_terminal() && enable_raw_mode().is_ok();
        let _ = execute!(
            io::stdout(),
            EnterAlternateScreen,
            Hide,
            DisableLineWrap,
            Clear(ClearType::All)
        );
        Self { is_raw }
    }

    /// Replaces what is shown, without flicker. Lines beyond `rows` are left out.
    pub fn show(&self, lines: &[String], rows: usize) {
        // This fails only if the terminal is gone.
        let _ = draw(&mut io::stdout().lock(), lines, rows);
    }
}

/// Writes lines from the first row on, in one piece: standard output keeps what is queued until it
/// is flushed.
fn draw(out: &mut impl Write, lines: &[String], rows: usize) -> io::Result<()> {
    let mut text = Vec::new();
    queue!(text, MoveTo(0, 0))?;
    for (row, line) in lines.iter().take(rows).enumerate() {
        // No line break after the last line: on a screen of that height it would push the first
        // line off.
        let before = if row == 0 { "" } else { "\r\n" };
        // Cleared before it is written: after a line as wide as the screen, the cursor is on its
        // last character.
        queue!(
            text,
            Print(before),
            Clear(ClearType::UntilNewLine),
            Print(line),
            SetAttribute(Attribute::Reset)
        )?;
    }
    queue!(text, Clear(ClearType::FromCursorDown))?;
    out.write_all(&text)?;
    out.flush()
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_raw {
            let _ = disable_raw_mode();
        }
        leave();
    }
}

/// Returns the keys typed from now on; none without a keyboard.
pub fn keys() -> Receiver<char> {
    let (sender, receiver) = channel();
    if io::stdin().is_terminal() {
        std::thread::spawn(move || {
            while let Ok(event) = crossterm::event::read() {
                if key(&event).is_some_and(|key| sender.send(key).is_err()) {
                    return;
                }
            }
        });
    }
    receiver
}

/// Returns the character of a key, if it has one: arrows and the like have none.
fn key(event: &Event) -> Option<char> {
    let Event::Key(key) = event else { return None };
    match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
        (KeyCode::Char('c'), true) => Some(INTERRUPT),
        (KeyCode::Char('d'), true) => Some(END),
        (KeyCode::Char(character), false) => Some(character),
        (KeyCode::Esc, _) => Some(ESCAPE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_are_characters_and_an_arrow_is_no_escape() {
        let typed = |code, modifiers| key(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(typed(KeyCode::Char('q'), KeyModifiers::NONE), Some('q'));
        assert_eq!(typed(KeyCode::Char('N'), KeyModifiers::SHIFT), Some('N'));
        assert_eq!(typed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(INTERRUPT));
        assert_eq!(typed(KeyCode::Esc, KeyModifiers::NONE), Some(ESCAPE));
        assert_eq!(typed(KeyCode::Up, KeyModifiers::NONE), None);
        assert_eq!(typed(KeyCode::Char('x'), KeyModifiers::CONTROL), None);
    }

    #[test]
    fn a_picture_replaces_the_one_before_and_ends_with_its_last_row() {
        let mut drawn = Vec::new();
        draw(&mut drawn, &["one".into(), "two".into(), "three".into()], 2).unwrap();
        let drawn = String::from_utf8(drawn).unwrap();
        assert_eq!(drawn, "\u{1b}[1;1H\u{1b}[Kone\u{1b}[0m\r\n\u{1b}[Ktwo\u{1b}[0m\u{1b}[J");
    }
}
