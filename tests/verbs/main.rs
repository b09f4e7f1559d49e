//! The verbs as used by people and scripts: invalid files, closed pipes, full disks, another
//! program at the socket. With the real program, without root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod completions;
mod conventions;
mod errors;
mod formats;
mod pty;
mod report;
mod setup;
mod ssh_install;
mod web;
mod wifi;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SETTINGS: &str =
    "board = \"generic-pc\"\nuplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";
const SNAPSHOT: &str = concat!(
    r#"{"schema":1,"type":"snapshot","severity":"ok","panel":{"lcd":{"state":"ok","lines":["10.99.0.126",""]}},"#,
    r#""nodes":[{"name":"rpi1","address":"192.168.50.11","health":"up"}]}"#,
    "\n"
);

/// A folder with valid settings; dropping this removes it.
struct Folder(PathBuf, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let held = tempfile::tempdir().unwrap();
        let path = held.path().to_owned();
        fs::create_dir_all(path.join("settings.toml.d")).unwrap();
        fs::write(path.join("settings.toml"), SETTINGS).unwrap();
        Self(path, held)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn drop_in(&self, name: &str) -> PathBuf {
        self.path("settings.toml.d").join(name)
    }
}

fn verb(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bramblegate"));
    command.args(words.split_whitespace()).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

fn with(words: &str, option: &str, file: &Path) -> Output {
    verb(words).arg(option).arg(file).output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks for exit 78 and one error that names the file and contains these words.
#[track_caller]
fn is_refused(folder: &Folder, culprit: &Path, words: &[&str]) {
    let start = Instant::now();
    let output = with("check", "-c", &folder.path("settings.toml"));
    let text = complaint(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(
        text.starts_with(&format!("{}:", culprit.display())) && text.lines().count() == 2,
        "{text}"
    );
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
    assert!(start.elapsed() < Duration::from_secs(10), "it waits for nothing");
}

#[test]
fn settings_that_are_no_settings_are_named_with_their_remedy() {
    let folder = Folder::new();
    let main = folder.path("settings.toml");
    fs::remove_file(&main).unwrap();
    is_refused(&folder, &main, &["no such file", "bramblegate detect > "]);
    fs::create_dir(&main).unwrap();
    is_refused(&folder, &main, &["it is a folder and no file", "settings file"]);
    fs::remove_dir(&main).unwrap();
    fs::write(&main, [b"# \xe4\xf6\xfc\n".repeat(200_000).as_slice()].concat()).unwrap();
    is_refused(&folder, &main, &[":1:3:", "UTF-8"]);
    fs::write(&main, "[".repeat(1_000_000)).unwrap();
    is_refused(&folder, &main, &["not TOML"]);
    fs::remove_file(&main).unwrap();
    symlink("/dev/zero", &main).unwrap();
    is_refused(&folder, &main, &["it is a device and no file", "an ordinary file"]);
}

/// Former names stay valid: with a note on standard error, without a failure.
#[test]
fn check_shows_the_new_name_of_a_key_and_is_content() {
    let folder = Folder::new();
    let main = folder.path("settings.toml");
    fs::write(&main, format!("{SETTINGS}[health]\nfailure_threshold = 4\n")).unwrap();
    let output = with("check", "-c", &main);
    let text = complaint(&output);
    assert!(output.status.success(), "{text}");
    let line = SETTINGS.lines().count() + 2;
    let place = format!("{}:{line}:21: ", main.display());
    let note = format!(
        "{place}note: health.failure_threshold is now called health.down_after\n    help: write \
         down_after in [health]; the former name stays valid\n"
    );
    assert_eq!(text, note);
    let printed = with("print settings", "-c", &main);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let line = printed.lines().find(|line| line.starts_with("down_after = 4 "));
    assert!(line.is_some_and(|line| line.ends_with("(written as failure_threshold)")), "{printed}");
}

/// All errors at once, each with its position and its help, and exit 78.
#[test]
fn check_reports_every_error_with_its_help() {
    let folder = Folder::new();
    let main = folder.path("settings.toml");
    fs::write(&main, format!("{SETTINGS}[health]\ninterval = 1\ndown_after = 0\n")).unwrap();
    let output = with("check", "-c", &main);
    let (line, file) = (SETTINGS.lines().count() + 2, main.display());
    let expected = format!(
        "{file}:{line}:12: error: health.interval: 1 has no unit\n    help: write a duration from \
         50ms to 1h, such as \"300ms\"\n{file}:{}:14: error: health.down_after: 0 is out of \
         bounds\n    help: write an integer from 1 to 1000\n",
        line + 1
    );
    assert_eq!((output.status.code(), complaint(&output)), (Some(78), expected));
    fs::remove_file(&main).unwrap();
    let output = with("check", "-c", &main);
    let expected = format!(
        "{file}:1:1: error: no such file\n    help: create one for this machine with `bramblegate detect \
         > {file}`\n"
    );
    assert_eq!((output.status.code(), complaint(&output)), (Some(78), expected));
}

/// Foreign files among the drop-ins; a pipe there must not block a daemon that reloads.
#[test]
fn drop_ins_that_are_no_files_are_named_with_their_remedy() {
    let folder = Folder::new();
    let culprit = folder.drop_in("60-x.toml");
    symlink("/nowhere", &culprit).unwrap();
    is_refused(&folder, &culprit, &["leads nowhere", "remove it"]);
    fs::remove_file(&culprit).unwrap();
    fs::create_dir(&culprit).unwrap();
    is_refused(&folder, &culprit, &["no file", "move it away"]);
    fs::remove_dir(&culprit).unwrap();
    assert!(Command::new("mkfifo").arg(&culprit).status().unwrap().success());
    is_refused(&folder, &culprit, &["no file", "move it away"]);
    fs::remove_file(&culprit).unwrap();
    assert!(with("check", "-c", &folder.path("settings.toml")).status.success());
}

#[test]
fn doctor_distinguishes_a_fresh_machine_from_one_with_wrong_settings() {
    let folder = Folder::new();
    let output = with("doctor", "-c", &folder.path("none.toml"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in ["finding  host-settings: not set up yet: ", "remedy: sudo bramblegate setup"] {
        assert!(text.contains(wanted), "{text}");
    }
    let checks = text.lines().last().and_then(|line| line.split(' ').next()?.parse::<u32>().ok());
    assert!(
        checks.is_some_and(|checks| checks > 1),
        "the machine is looked at all the same: {text}"
    );
    fs::write(folder.path("settings.toml"), "nonsense = 1\n").unwrap();
    let output = with("doctor", "-c", &folder.path("settings.toml"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("BLOCKED  host-settings: ") && text.contains("\n1 of "), "{text}");
}

/// `bramblegate detect > bramblegate.toml` on a full disk must not leave half a file and succeed.
#[test]
fn what_cannot_be_written_is_reported() {
    let folder = Folder::new();
    let settings = format!("-c {}", folder.path("settings.toml").display());
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let socket = somebody(&folder, SNAPSHOT.as_bytes(), true);
    let reported = format!("--socket {}", socket.display());
    for words in [
        "detect".to_owned(),
        format!("print settings {settings}"),
        format!("print ruleset {settings}"),
        format!("print dnsmasq {settings}"),
        format!("status {reported}"),
        format!("status --json {reported}"),
        format!("panel --once {reported}"),
        format!("nodes list {reported}"),
        format!("nodes hosts {reported}"),
        format!("ssh-config {reported}"),
    ] {
        let output = verb(&words).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(71), "{words}: {}", complaint(&output));
        assert!(
            complaint(&output).contains("No space left on device"),
            "{words}: {}",
            complaint(&output)
        );
    }
}

/// `| head -1` is not an error, and does not cause a panic.
#[test]
fn who_stops_reading_ends_it_quietly() {
    let folder = Folder::new();
    let settings = format!("-c {}", folder.path("settings.toml").display());
    for words in ["--help", "detect", "print settings", "print ruleset", "check"] {
        let words = if words.starts_with("print") || words == "check" {
            format!("{words} {settings}")
        } else {
            words.to_owned()
        };
        let mut child = verb(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}: {}", complaint(&output));
        assert!(!complaint(&output).contains("panicked"), "{words}: {}", complaint(&output));
    }
}

/// Serves one client after the other at a socket in the folder: sends `says`, then nothing, or
/// closes.
fn somebody(folder: &Folder, says: &'static [u8], stays: bool) -> PathBuf {
    let path = folder.path("status.sock");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(says);
            held.extend(stays.then_some(stream));
        }
    });
    path
}

/// The watched daemon is quiet: nothing is written, so no failed write reveals that the reader is
/// gone.
#[test]
fn a_watch_ends_with_its_reader_though_nothing_happens() {
    let folder = Folder::new();
    let socket = somebody(&folder, SNAPSHOT.as_bytes(), true);
    for words in ["status --watch", "status --json --watch", "panel"] {
        let mut child =
            verb(words).arg("--socket").arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty(), "{words}");
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > Duration::from_secs(6) {
                child.kill().unwrap();
                panic!("{words} goes on without a reader");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_program_at_the_socket_that_is_no_daemon_is_distinguished_from_one() {
    let folder = Folder::new();
    for says in [&b""[..], b"hello\n", b"\xff\xfe\n", b"{\"a\":1}\n", b"[1]\n", b"{\"type\":"] {
        let socket = somebody(&folder, says, false);
        for words in [
            "status",
            "status --json",
            "status --watch",
            "status --json --watch",
            "panel",
            "panel --once",
        ] {
            let output = with(words, "--socket", &socket);
            let what = format!("{words} of {:?}", String::from_utf8_lossy(says));
            assert_eq!(output.status.code(), Some(3), "{what}: {}", complaint(&output));
            assert!(
                complaint(&output).contains(&*socket.to_string_lossy()),
                "{what}: {}",
                complaint(&output)
            );
            assert!(output.stdout.is_empty(), "{what}");
        }
    }
    for nothing in ["nothing", "settings.toml", "settings.toml.d"] {
        for words in ["status", "panel --once", "panel"] {
            let output = with(words, "--socket", &folder.path(nothing));
            assert_eq!(output.status.code(), Some(3), "{words}: {}", complaint(&output));
            assert!(
                complaint(&output).contains("systemctl start bramblegate"),
                "{words}: {}",
                complaint(&output)
            );
        }
    }
}

/// What must not reach a terminal: names of other programs, texts of servers and files are shown
/// with these escaped.
fn is_raw(c: char) -> bool {
    let direction = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    (c.is_control() && !matches!(c, '\n' | '\t')) || direction
}

/// Clear screen, bell, delete, the 8-bit form of an escape sequence, right-to-left override.
const RAW: &str = "\u{1b}[2J\u{7}\u{7f}\u{9b}31m\u{202e}x";

/// Every external string, in every verb that prints it.
#[test]
fn nothing_of_others_reaches_the_terminal_raw() {
    let folder = Folder::new();
    let escaped: String = RAW
        .chars()
        .map(|c| if is_raw(c) { format!("\\u{:04x}", c as u32) } else { c.to_string() })
        .collect();
    let node = r#"{"name":"rpi1@","mac":"@","address":"192.168.50.11","health":"up","stage":"@","origin":"@","group":"@"}"#;
    let status = concat!(
        r#"{"schema":1,"type":"snapshot","severity":"@","version":"@","alerts":[{"severity":"@","code":"@","text":"@"}],"#,
        r#""uplink":{"interface":"@","state":"@","address":"10.99.0.126/24"},"uplinks":[{"interface":"@","state":"@","#,
        r#""address":"@","addresses":["@"],"gateway":"@"}],"gateway":{"overlap":"@","blocked_by":{"table":"@","chain":"@","#,
        r#""remedy":"@"}},"cluster":{"interface":"@","address":"@","dhcp":"@"},"panel":{"lcd":{"state":"@","lines":["@","@"]},"#,
        r#""led":{"state":"@","colour":"@","pattern":"@"}},"nodes":["#,
    );
    let status: &'static str = format!("{status}{node}]}}\n").replace('@', &escaped).leak();
    let refused: &'static str =
        format!(r#"{{"schema":1,"type":"refused","reason":"{escaped}"}}{}"#, "\n").leak();
    let order: &'static str =
        format!(r#"{{"schema":1,"ok":false,"error":"{escaped}"}}{}"#, "\n").leak();
    let settings = folder.path("settings.toml").display().to_string();
    let mut found = Vec::new();
    let mut look = |what: &str, output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &complaint(output);
        let raw: String = text.chars().filter(|c| is_raw(*c)).collect();
        if !raw.is_empty() {
            found.push(format!("{what}: {raw:?} in {text:?}"));
        }
    };
    for (says, verbs) in [
        (
            status,
            &[
                "status",
                "status --json",
                "nodes list",
                "nodes list --json",
                "nodes hosts",
                "ssh-config",
                "panel --once",
                "status --watch",
            ][..],
        ),
        (refused, &["status", "nodes list", "panel --once"]),
        (order, &["nodes drain rpi1", "status --acknowledge"]),
    ] {
        let socket = somebody(&folder, says.as_bytes(), false);
        for words in verbs {
            look(words, &verb(words).arg("--socket").arg(&socket).output().unwrap());
        }
    }
    for words in ["check", "doctor", "print settings", "nodes add", "nodes forget", "nodes drain"] {
        let name: &[&str] = if words.starts_with("nodes") { &[RAW] } else { &[] };
        look(words, &verb(words).args(name).arg("-c").arg(folder.path(RAW)).output().unwrap());
        look(words, &verb(words).args(name).arg("-c").arg(&settings).output().unwrap());
    }
    for text in [
        format!("{RAW} = 1\n"),
        format!("board = \"{escaped}\"\n"),
        format!("[uplink]\ninterfaces = [\"{}\"]\n", RAW.escape_unicode()),
        format!("{SETTINGS}[[node]]\nname = \"{}\"\n", escaped),
        format!("{SETTINGS}[cluster.dhcp]\nrange = \"{escaped}\"\n"),
    ] {
        fs::write(folder.path("settings.toml"), &text).unwrap();
        for words in ["check", "doctor", "print settings", "run"] {
            look(
                &format!("{words} of {text:?}"),
                &verb(words).arg("-c").arg(&settings).output().unwrap(),
            );
        }
    }
    look("an unknown word", &verb("").arg(RAW).output().unwrap());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every verb that reads settings refuses endless ones, and those that are not a file, at once.
#[test]
fn settings_that_have_no_end_are_refused_at_once() {
    let folder = Folder::new();
    let main = folder.path("settings.toml");
    fs::remove_file(&main).unwrap();
    assert!(Command::new("mkfifo").arg(&main).status().unwrap().success());
    is_refused_in_time(&folder, "it is a FIFO");
    fs::remove_file(&main).unwrap();
    symlink("/dev/tty", &main).unwrap();
    is_refused_in_time(&folder, "it is a device");
    fs::remove_file(&main).unwrap();
    UnixListener::bind(&main).unwrap();
    is_refused_in_time(&folder, "it is a socket");
    fs::remove_file(&main).unwrap();
    File::create(&main).unwrap().set_len(1 << 40).unwrap();
    is_refused_in_time(&folder, "longer than 16 MiB");
}

#[track_caller]
fn is_refused_in_time(folder: &Folder, words: &str) {
    for verb in ["check", "run", "print settings"] {
        let mut command = Command::new("timeout");
        command.arg("5").arg(env!("CARGO_BIN_EXE_bramblegate")).args(verb.split(' '));
        let output = command
            .arg("-c")
            .arg(folder.path("settings.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{verb}: {}", complaint(&output));
        assert!(complaint(&output).contains(words), "{verb}: {}", complaint(&output));
    }
}
