//! `bramblegate web password`: sets the password of the status page. `bramblegate-web` makes the
//! hash: this program, which has privileges, does not need that code.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::Gid;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::machine::Machine;
use super::settings::NotWritten;
use super::{exit, output};

/// The program that serves the page.
pub const PROGRAM: &str = "bramblegate-web";
/// Its unit, and the path of that in packages and by `make install`.
pub const UNIT: &str = "bramblegate-web.service";
pub const UNIT_FILE: &str = "/usr/lib/systemd/system/bramblegate-web.service";
/// The file of the password's hash.
pub const FILE: &str = "/etc/bramblegate/web.password";
/// The group that may read the hash.
const GROUP: &str = "bramblegate";
/// Longest input that is read, bytes.
const MAX_INPUT: u64 = 1024;
/// Mode of the file: written by root, read by the group.
const MODE: u32 = 0o640;

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate web password            ask for it twice
  echo secret-words | sudo bramblegate web password   for scripts";

const PASSWORD_EXAMPLES: &str = "\
Examples:
  sudo bramblegate web password            ask for it twice
  sudo bramblegate web password --remove   no one can log in any more";

/// Set the password of the status page
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Set the password that orders on the status page need
    #[command(after_long_help = PASSWORD_EXAMPLES)]
    Password(Password),
}

#[derive(Debug, clap::Args)]
struct Password {
    /// Remove the password: no one can log in
    #[arg(long)]
    remove: bool,
    /// Write the hash to this file
    #[arg(long, value_name = "FILE", hide_default_value = true, default_value = FILE)]
    file: PathBuf,
}

/// Why no password was set.
#[derive(Debug, thiserror::Error)]
enum WebError {
    #[error("there is no {PROGRAM} beside this program")]
    NoProgram,
    #[error("the password cannot be read: {0}")]
    NotRead(io::Error),
    #[error("the two passwords differ, nothing was changed")]
    Differ,
    /// The page's program rejects it.
    #[error("{0}")]
    NotTaken(String),
    #[error("there is no group {GROUP}, which may read the password")]
    NoGroup,
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

impl WebError {
    fn exit(&self) -> u8 {
        match self {
            Self::NoProgram | Self::NoGroup => exit::UNAVAILABLE,
            Self::NotRead(_) | Self::Differ | Self::NotTaken(_) => 1,
            Self::NotWritten(error) => error.exit(),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::NoProgram | Self::NoGroup => "`sudo make install` makes it".to_owned(),
            Self::NotRead(_) => "type it on a terminal, or give it by a pipe".to_owned(),
            Self::Differ => "type the same password twice".to_owned(),
            Self::NotTaken(_) => "give another one, nothing was changed".to_owned(),
            Self::NotWritten(error) => error.help(),
        }
    }
}

/// Sets or removes the password. Exits with 0; with 1 if it was not accepted, 69 without the
/// program or its group, 71 or 77 if it cannot be written.
pub fn main(args: Args) -> ExitCode {
    let Action::Password(password) = args.action;
    let done = if password.remove { remove(&password.file) } else { set(&password.file) };
    match done {
        Ok(text) => {
            output::out(text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::error(&format!("web password: {error}"), &error.help());
            ExitCode::from(error.exit())
        }
    }
}

fn remove(file: &Path) -> Result<&'static str, WebError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NotWritten { path: file.to_owned(), error }.into())
        }
        _ => Ok("The password is removed: no one can log in to the status page.\n"),
    }
}

fn set(file: &Path) -> Result<&'static str, WebError> {
    let program = program().ok_or(WebError::NoProgram)?;
    let group = || Machine::real().group(GROUP).map(Gid::from_raw).ok_or(WebError::NoGroup);
    let group = (file == Path::new(FILE)).then(group).transpose()?;
    let password = ask_password()?;
    let made = hash(&program, &password).map_err(WebError::NotRead)?;
    let hash = made.map_err(WebError::NotTaken)?;
    write(file, &hash, group).map_err(|error| NotWritten { path: file.to_owned(), error })?;
    Ok("The password is set. It counts from the next log-in on.\n")
}

/// Returns the program that serves the page, beside this one.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.join(PROGRAM)).filter(|path| path.is_file())
}

/// Asks twice on a terminal; else reads standard input to its end.
fn ask_password() -> Result<Vec<u8>, WebError> {
    if !io::stdin().is_terminal() {
        let mut text = Vec::new();
        io::stdin().take(MAX_INPUT + 1).read_to_end(&mut text).map_err(WebError::NotRead)?;
        return Ok(text);
    }
    let password = read_hidden("New password for the status page: ").map_err(WebError::NotRead)?;
    let again = read_hidden("Again: ").map_err(WebError::NotRead)?;
    if password == again { Ok(password) } else { Err(WebError::Differ) }
}

/// Reads a line from the terminal without echo.
fn read_hidden(prompt: &str) -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut quiet = before.clone();
    // Byte by byte, control characters too, so that the terminal is restored whatever is typed.
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
    output::err(prompt);
    let line = read_line(&mut stdin);
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    output::err("\n");
    restored?;
    line
}

/// Reads a line, with the editing keys of a terminal.
fn read_line(from: &mut impl Read) -> io::Result<Vec<u8>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const ERASE: [u8; 2] = [8, 127];
    const KILL: u8 = 21;
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() as u64 <= MAX_INPUT {
        if from.read(&mut byte)? == 0 {
            break;
        }
        match byte {
            [b'\n' | b'\r' | END] => break,
            [INTERRUPT] => return Err(io::ErrorKind::Interrupted.into()),
            [KILL] => line.clear(),
            [byte] if ERASE.contains(&byte) => {
                // A character in UTF-8 is a byte and its continuation bytes (RFC 3629).
                while line.pop().is_some_and(|last: u8| last & 0xc0 == 0x80) {}
            }
            [byte] => line.push(byte),
        }
    }
    Ok(line)
}

/// Returns the hash as the page's program makes it, or why it refuses.
fn hash(program: &Path, password: &[u8]) -> io::Result<Result<Vec<u8>, String>> {
    let mut command = Command::new(program);
    command.arg("--hash-password");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(password)?;
    }
    let made = child.wait_with_output()?;
    if made.status.success() {
        return Ok(Ok(made.stdout));
    }
    let why = String::from_utf8_lossy(&made.stderr);
    let why = why.trim();
    Ok(Err(why.strip_prefix("bramblegate-web: ").unwrap_or(why).to_owned()))
}

/// Writes the file atomically; other users can never read it.
fn write(file: &Path, hash: &[u8], group: Option<Gid>) -> io::Result<()> {
    let new = file.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let done = written
        .write_all(hash)
        .and_then(|()| Ok(rustix::fs::fchown(&written, None, group)?))
        .and_then(|()| Ok(rustix::fs::fchmod(&written, rustix::fs::Mode::from_raw_mode(MODE))?))
        .and_then(|()| written.sync_all())
        .and_then(|()| std::fs::rename(&new, file));
    if done.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    done
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_line_is_edited_as_a_terminal_does_it() {
        let read = |text: &str| read_line(&mut text.as_bytes());
        assert_eq!(read("words\nmore").unwrap(), b"words");
        assert_eq!(read("wordß\u{7f}s\r").unwrap(), b"words");
        assert_eq!(read("no\u{15}words").unwrap(), b"words");
        assert_eq!(read("no\u{3}").unwrap_err().kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn the_hash_is_readable_by_owner_and_group_and_replaced_whole() {
        let held = tempfile::tempdir().unwrap();
        let file = held.path().join("web.password");
        for hash in ["one", "two"] {
            write(&file, hash.as_bytes(), None).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), hash);
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, MODE);
        }
        assert_eq!(std::fs::read_dir(held.path()).unwrap().count(), 1);
    }
}
