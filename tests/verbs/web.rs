//! `web password` with the real programs: the input is not shown, and a hash is written.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::pty::Terminal;
use super::{Folder, complaint, verb};

const PASSWORD: &str = "words of a secret";

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let folder = Folder::new();
    let file = folder.path("web.password");
    let name = file.to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_bramblegate");
    let typed = |second: &str| {
        let mut terminal = Terminal::start(program, &["web", "password", "--file", name], &[]);
        terminal.until("New password");
        terminal.keys(&format!("{PASSWORD}\r"));
        terminal.until("Again:");
        terminal.keys(&format!("{second}\r"));
        terminal.end()
    };
    let (status, text) = typed("another");
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(!file.exists() && text.contains("differ"), "{text}");
    let (status, text) = typed(PASSWORD);
    assert_eq!(status.code(), Some(0), "{text} (make build makes bramblegate-web)");
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("$argon2id$"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_script_gives_it_by_standard_input_and_a_short_one_changes_nothing() {
    let folder = Folder::new();
    let file = folder.path("web.password");
    let given = |password: &str| {
        let mut command = verb("web password --file");
        command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(given(PASSWORD).status.code(), Some(0));
    let before = fs::read(&file).unwrap();
    let refused = given("short");
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("8 characters"), "{}", complaint(&refused));
    assert_eq!(fs::read(&file).unwrap(), before);
    let removed = verb("web password --remove --file").arg(&file).output().unwrap();
    assert_eq!(removed.status.code(), Some(0));
    assert!(!file.exists());
}
