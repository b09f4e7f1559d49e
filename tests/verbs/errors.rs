//! Every error of every verb has two lines: what is wrong, and what to do about it.

use super::{Folder, complaint, verb};

/// Command lines that fail, with or without root; `DIR` is an empty folder with valid settings.
const FAILING: [&str; 29] = [
    "check DIR/missing.toml",
    "run -c DIR/missing.toml",
    "print settings -c DIR/missing.toml",
    "print frame -c DIR/settings.toml --facts DIR/missing.json",
    "status --socket DIR/missing.sock",
    "status --json --watch --socket DIR/missing.sock",
    "status --acknowledge --socket DIR/missing.sock",
    "panel --once --socket DIR/missing.sock",
    "panel --socket DIR/missing.sock",
    "detect --try 0x27 --size 3x3",
    "detect --try 0x27 --size 128x64",
    "detect --try 0x27 --bus DIR/missing",
    "wifi xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "off -c DIR/missing.toml",
    "nodes list --socket DIR/missing.sock -c DIR/missing.toml",
    "nodes drain rpi1 --socket DIR/missing.sock",
    "nodes drain rpi[1-",
    "nodes add rpi[1-2] --mac b8:27:eb:00:00:01 -c DIR/settings.toml",
    "nodes add 12h -c DIR/settings.toml",
    "nodes adopt rpi9 --socket DIR/missing.sock -c DIR/settings.toml",
    "nodes rename rpi[1-2] rpi1 -c DIR/settings.toml",
    "ssh-config --user a,b -c DIR/settings.toml",
    "ssh-config --via pi@ -c DIR/settings.toml",
    "ssh-config --via head:abc -c DIR/settings.toml",
    "ssh-config --socket DIR/missing.sock -c DIR/settings.toml",
    "report -o DIR/report.tar.gz -c DIR/settings.toml",
    "web password --file DIR/web.password",
    "stop",
    "logs",
];

/// Returns why a text is not a list of errors with their help.
fn misshapen(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.iter().any(|line| line.starts_with("bramblegate ")) {
        return Some("the program's name is in front".to_owned());
    }
    let is_error = |line: &str| line.starts_with("error: ") || line.contains(": error: ");
    let has_help = |at: usize| {
        let help = lines.get(at + 1).and_then(|line| line.strip_prefix("    help: "));
        help.is_some_and(|help| !help.trim().is_empty())
    };
    let errors: Vec<usize> = (0..lines.len()).filter(|at| is_error(lines[*at])).collect();
    if errors.is_empty() {
        return Some("no error in it".to_owned());
    }
    // A settings file may have several errors.
    if let Some(second) = errors.iter().skip(1).find(|at| lines[**at].starts_with("error: ")) {
        return Some(format!("one cause has a second error: {:?}", lines[*second]));
    }
    let alone = errors.iter().find(|at| !has_help(**at));
    let hint = |line: &str| line.ends_with('?') || line.contains("; ");
    alone.map(|at| format!("no help below {:?}", lines[*at])).or_else(|| {
        let inside = errors.iter().find(|at| hint(lines[**at]));
        inside.map(|at| format!("its help is inside of {:?}", lines[*at]))
    })
}

#[test]
fn every_error_is_followed_by_its_help() {
    let folder = Folder::new();
    let mut wrong = Vec::new();
    for line in FAILING {
        let output =
            verb(&line.replace("DIR", folder.path("").to_str().unwrap())).output().unwrap();
        let text = complaint(&output);
        if output.status.success() {
            wrong.push(format!("{line}: exits with 0"));
        }
        wrong.extend(misshapen(&text).map(|why| format!("{line}: {why}\n{text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_no_help_is_noticed() {
    assert_eq!(misshapen("error: a\n    help: b\n"), None);
    for text in [
        "",
        "a: b\n",
        "error: a\n",
        "error: a\n    help: \n",
        "bramblegate check: a\n",
        "error: a: is b so?\n    help: c\n",
        "error: a; b\n    help: c\n",
        "error: a\n    help: b\nerror: c\n    help: d\n",
    ] {
        assert!(misshapen(text).is_some(), "{text:?}");
    }
}
