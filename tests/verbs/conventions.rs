//! Conventions that users expect from other tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::pty::Terminal;
use super::{Folder, SETTINGS, SNAPSHOT, complaint, somebody, verb, with};

fn shown(words: &str) -> (Option<i32>, String, String) {
    let output = verb(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text, complaint(&output))
}

#[test]
fn help_is_a_verb_too_and_long_help_has_examples() {
    let (code, text, _) = shown("help status");
    assert!(code == Some(0) && text.contains("Usage: bramblegate status"), "{text}");
    assert_eq!(text, shown("status --help").1);
    assert!(text.contains("Examples:") && text.contains("Nagios"), "{text}");
    let (code, text, _) = shown("help nodes drain");
    assert!(code == Some(0) && text.contains("Usage: bramblegate nodes drain"), "{text}");
    let (code, text, _) = shown("status -h");
    assert!(
        code == Some(0) && !text.contains("Examples:") && text.contains("-w, --watch"),
        "{text}"
    );
    assert_eq!(shown("help nonsense").0, Some(64));
    for (asked, same) in [
        ("help demo", "demo --help"),
        ("help demo attach", "demo attach --help"),
        ("help -h", "--help"),
        ("help --help", "--help"),
    ] {
        let answer = shown(asked);
        assert!(answer.0 == Some(0) && answer.1.contains("Examples:"), "{asked}: {answer:?}");
        assert_eq!(answer, shown(same), "{asked}");
    }
}

#[test]
fn what_systemd_does_is_named_and_no_other_verb_suggested() {
    for (typed, command) in [
        ("start", "sudo systemctl start bramblegate"),
        ("stop", "sudo systemctl stop bramblegate"),
        ("restart", "sudo systemctl restart bramblegate"),
        ("reload", "sudo systemctl reload bramblegate"),
        ("logs", "sudo journalctl -u bramblegate"),
        ("log", "sudo journalctl -u bramblegate"),
    ] {
        let (code, text, error) = shown(typed);
        assert_eq!((code, text.as_str()), (Some(64), ""), "{typed}");
        assert!(error.ends_with(&format!(": {command}\n")), "{error}");
    }
    let (code, _, error) = shown("stauts");
    assert!(code == Some(64) && error.contains("'status'"), "{error}");
    assert!(!shown("--help").1.contains("restart"));
}

#[test]
fn a_settings_file_is_named_in_each_way() {
    let folder = Folder::new();
    let file = folder.path("settings.toml");
    let name = file.display().to_string();
    let ok = format!("{name}: ok, board generic-pc, 0 nodes\n");
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let by_word = verb("check").arg(&file).output().unwrap();
    let by_option = with("check", "-c", &file);
    let by_variable = verb("check").env("BRAMBLEGATE_CONFIG", &file).output().unwrap();
    for output in [by_word, by_option, by_variable] {
        assert_eq!(text(&output), ok, "{}", complaint(&output));
    }
    let both = verb("check -c /nonexistent").env("BRAMBLEGATE_CONFIG", &file).output().unwrap();
    assert!(complaint(&both).starts_with("/nonexistent:"), "an option wins: {}", complaint(&both));
    let both = verb("check x").arg("-c").arg(&file).output().unwrap();
    assert_eq!(both.status.code(), Some(64), "{}", complaint(&both));
    let quiet = verb("check -q").arg(&file).output().unwrap();
    assert!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty());
    fs::write(folder.drop_in("10-x.toml"), "[cluster]\ndomain = \"x\"\n").unwrap();
    let verbose = text(&verb("check -v").arg(&file).output().unwrap());
    assert_eq!(verbose.lines().filter(|line| line.ends_with(": read")).count(), 2, "{verbose}");
}

/// `status`, `panel` and `nodes` find the socket from the settings file.
#[test]
fn settings_lead_to_the_socket() {
    let folder = Folder::new();
    let socket = somebody(&folder, SNAPSHOT.as_bytes(), true);
    let file = folder.path("settings.toml");
    fs::write(&file, format!("{SETTINGS}status.socket = {:?}\n", socket.display())).unwrap();
    for words in ["status", "status -j", "panel --once", "nodes", "nodes -j"] {
        let by_option = with(words, "-c", &file);
        let by_variable = verb(words).env("BRAMBLEGATE_CONFIG", &file).output().unwrap();
        for output in [by_option, by_variable] {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{words}: {}", complaint(&output));
            assert!(text.contains("rpi1") || words.starts_with("panel"), "{words}: {text}");
        }
    }
}

#[test]
fn colours_are_had_by_option_where_there_is_no_terminal() {
    let folder = Folder::new();
    let socket = somebody(&folder, SNAPSHOT.as_bytes(), true);
    for words in ["status", "nodes", "nodes list"] {
        let coloured = |options: &str, no_color: &str| {
            let mut command = verb(&format!("{words} {options}"));
            let output = command.arg("--socket").arg(&socket).env("NO_COLOR", no_color).output();
            String::from_utf8(output.unwrap().stdout).unwrap().contains('\u{1b}')
        };
        let seen = [
            coloured("--color always", ""),
            coloured("--color always", "1"),
            coloured("--color auto", ""),
            coloured("", ""),
            coloured("--color never", ""),
        ];
        assert_eq!(seen, [true, true, false, false, false], "{words}");
    }
    assert_eq!(shown("--color sometimes status").0, Some(64));
}

/// On a terminal the output has colours, unless disabled.
#[test]
fn colours_are_shown_on_a_terminal_unless_they_are_not_wanted() {
    let folder = Folder::new();
    let socket = somebody(&folder, SNAPSHOT.as_bytes(), true).display().to_string();
    let coloured = |option: &str, no_color: &str| {
        let arguments = ["status", "--socket", &socket, "--color", option];
        let variables = [("NO_COLOR", no_color), ("TERM", "xterm")];
        let program = env!("CARGO_BIN_EXE_bramblegate");
        let (_, text) = Terminal::start(program, &arguments, &variables).end();
        assert!(text.contains("status"), "{text}");
        text.contains('\u{1b}')
    };
    let seen = [coloured("auto", ""), coloured("auto", "1"), coloured("never", "")];
    assert_eq!(seen, [true, false, false]);
}

#[test]
fn the_version_names_the_commit_of_the_checkout() {
    let (code, text, _) = shown("--version");
    let version = env!("CARGO_PKG_VERSION");
    let root = env!("CARGO_MANIFEST_DIR");
    let git = Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    let commit = git.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let commit = commit.map(|commit| String::from_utf8(commit).unwrap());
    let wanted = match commit.filter(|_| Path::new(root).join(".git").exists()) {
        Some(commit) => format!("bramblegate {version} ({})\n", &commit[..12]),
        None => format!("bramblegate {version}\n"),
    };
    assert_eq!((code, text), (Some(0), wanted));
}

#[test]
fn no_nodes_are_no_empty_table() {
    let folder = Folder::new();
    let snapshot = concat!(r#"{"schema":1,"type":"snapshot","severity":"ok","nodes":[]}"#, "\n");
    let socket = somebody(&folder, snapshot.as_bytes(), true);
    let text = |words: &str| String::from_utf8(with(words, "--socket", &socket).stdout).unwrap();
    assert_eq!(text("nodes"), "no nodes yet; they appear when they ask for an address\n");
    assert_eq!(text("nodes -j"), "[]\n");
}

/// Each format has the same checks, independent of their results.
#[test]
fn doctor_has_a_line_for_each_check_or_json() {
    let folder = Folder::new();
    let file = folder.path("settings.toml");
    let json = with("doctor -j", "-c", &file);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(
        (&report["schema"], &report["settings"]),
        (&1.into(), &file.to_str().unwrap().into())
    );
    for check in checks {
        assert!(check["check"].is_string() && check["notes"].is_array(), "{check}");
        let findings = check["findings"].as_array().unwrap();
        assert_eq!(check["result"] == "ok", findings.is_empty(), "{check}");
        for finding in findings {
            let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["code", "rank", "remedy", "text"]);
        }
    }
    let verbose = with("doctor -v", "-c", &file);
    let text = String::from_utf8(verbose.stdout).unwrap();
    let marked = text.lines().filter(|line| line.starts_with(['✓', '✗', '!'])).count();
    assert_eq!(marked, checks.len(), "{text}");
    assert!(text.contains(&format!("\n{} checks, ", checks.len())), "{text}");
    assert!(text.contains("✓ the settings are right\n") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(json.status.code(), verbose.status.code());
    fs::remove_file(&file).unwrap();
    let fresh: Value = serde_json::from_slice(&with("doctor -j", "-c", &file).stdout).unwrap();
    assert_eq!(fresh["checks"].as_array().unwrap().len(), checks.len(), "{fresh}");
    assert_eq!(fresh["checks"][0]["result"], "finding", "{fresh}");
}
