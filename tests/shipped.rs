//! Every board, settings file, venue and settings example that is shipped is what the real binary
//! takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bramblegate::cli::doctor::FindingCode;
use bramblegate::event::AlertCode;
use bramblegate_lab::Venue;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no *.{extension} in {folder}");
    found
}

/// What `bramblegate check` says against a file; `None` if nothing.
fn complaint(path: &Path) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_bramblegate"))
        .arg("check")
        .arg("-c")
        .arg(path)
        .output()
        .unwrap();
    let logged = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code() != Some(0))
        .then(|| format!("{}: {}\n{logged}", path.display(), output.status))
}

fn check_texts(name: &str, texts: &[(String, String)]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let complaints: Vec<String> = texts
        .iter()
        .filter_map(|(name, text)| {
            let path = folder.join(format!("{name}.toml"));
            fs::write(&path, text).unwrap();
            complaint(&path)
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_board_makes_good_settings() {
    let texts: Vec<(String, String)> = files("boards", "toml")
        .iter()
        .map(|path| {
            let board = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = format!(
                "board = {board:?}\n[uplink]\ninterfaces = [\"eth1\", \"wlan0\"]\n[cluster]\n\
                 interface = \"eth0\"\n"
            );
            (board, text)
        })
        .collect();
    check_texts("boards", &texts);
}

#[test]
fn every_good_settings_file_is_good() {
    let complaints: Vec<String> =
        files("tests/settings/good", "toml").iter().filter_map(|path| complaint(path)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_bad_settings_file_is_refused_with_78() {
    for path in files("tests/settings/bad", "toml") {
        let logged = complaint(&path).unwrap_or_else(|| panic!("{} is taken", path.display()));
        assert!(logged.contains("78"), "{logged}");
    }
}

#[test]
fn every_venue_reads() {
    let faults: Vec<String> = files("tests/venues", "toml")
        .iter()
        .filter_map(|path| Venue::read(path).err())
        .map(|error| error.to_string())
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Blocks marked `toml` in the pages for people are whole settings files; what is only a part says
/// `toml,part`.
#[test]
fn every_settings_example_for_people_is_good() {
    let mut pages = vec![root().join("README.md")];
    pages.extend(files("docs", "md"));
    let mut texts = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.file_stem().unwrap().to_str().unwrap();
        for (number, block) in text.split("```toml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            texts.push((format!("{name}-{}", number + 1), block.to_owned()));
        }
    }
    assert!(!texts.is_empty(), "no settings example in README.md");
    check_texts("examples", &texts);
}

#[test]
fn the_manual_lists_every_alert_and_no_other() {
    let codes: BTreeSet<String> = AlertCode::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(
        section("docs/man/bramblegate.8", "ALERTS"),
        codes,
        "ALERTS in bramblegate.8, and the table of alerts"
    );
}

#[test]
fn the_manual_lists_every_finding_that_is_no_alert_and_no_other() {
    let codes: BTreeSet<String> = FindingCode::OWN.iter().map(ToString::to_string).collect();
    assert_eq!(
        section("docs/man/bramblegate.1", "FINDINGS"),
        codes,
        "FINDINGS in bramblegate.1, and the table of codes"
    );
}

/// Codes are spelled in their two tables only.
#[test]
fn no_code_of_an_alert_or_finding_is_spelled_twice() {
    let known: BTreeSet<&str> = AlertCode::ALL
        .iter()
        .map(|code| code.name())
        .chain(FindingCode::OWN.iter().map(|code| code.name()))
        .collect();
    let mut folders: Vec<PathBuf> =
        ["crates/core/src", "crates/daemon/src", "src"].map(|folder| root().join(folder)).into();
    let mut spelled: Vec<String> = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.extend(Some(path).filter(|path| !path.ends_with("tests")));
            } else if !["tests.rs", "event/alert.rs", "doctor/code.rs"]
                .iter()
                .any(|name| path.ends_with(name))
            {
                let text = fs::read_to_string(&path).unwrap();
                let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let words = product.split('"').filter(|word| known.contains(word));
                spelled.extend(words.map(|word| format!("{}: {word}", path.display())));
            }
        }
    }
    assert!(spelled.is_empty(), "{spelled:#?}");
}

/// `uplink-none`: a subject and what is wrong with it.
fn is_code(word: &&str) -> bool {
    let subject = word.split('-').next().unwrap_or_default();
    ["uplink", "gateway", "node", "lcd", "led", "host"].contains(&subject)
        && word.contains('-')
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !word.ends_with('-')
}

/// The codes that a section of a manual page lists: those in bold that a paragraph begins with.
fn section(page: &str, name: &str) -> BTreeSet<String> {
    let manual = fs::read_to_string(root().join(page)).unwrap().replace("\\-", "-");
    let text = manual
        .split(&format!("\n.SH {name}\n"))
        .nth(1)
        .unwrap_or_else(|| panic!("{page} has no {name}"));
    let lines: Vec<&str> = text.split("\n.SH ").next().unwrap().lines().collect();
    let headings = lines
        .iter()
        .zip(lines.iter().skip(1))
        .filter(|(line, _)| **line == ".TP")
        .map(|(_, next)| *next);
    let words = headings.flat_map(|line| line.split([' ', ',', '"']));
    words.filter(is_code).map(str::to_owned).collect()
}

/// Cargo would take a test with a `main` of its own for one without any tests, and be content.
#[test]
fn tests_with_a_main_of_their_own_are_declared_so() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for kind in ["tests", "benches"] {
        for entry in fs::read_dir(root().join(kind)).unwrap() {
            let path = entry.unwrap().path().join("main.rs");
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if !text.contains("\nfn main()") || path.ends_with("system/usbsim/main.rs") {
                continue;
            }
            let line = format!("path = \"{}\"\n", path.strip_prefix(root()).unwrap().display());
            let (_, after) = manifest
                .split_once(&line)
                .unwrap_or_else(|| panic!("Cargo.toml does not have {line}"));
            let entry = after.split("\n[").next().unwrap();
            assert!(
                entry.contains("harness = false"),
                "Cargo.toml: {line} has lost its harness = false"
            );
        }
    }
}

/// The script that the unit runs as root, with a `systemctl` that only writes down what it is asked
/// for.
#[test]
fn power_off_is_waited_for_only_where_a_button_is_set() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("arm-power-button");
    fs::create_dir_all(&folder).unwrap();
    let (settings, asked) = (folder.join("settings.toml"), folder.join("asked"));
    let systemctl = format!("#!/bin/sh\necho \"$@\" >>{}\n", asked.display());
    fs::write(folder.join("systemctl"), systemctl).unwrap();
    fs::set_permissions(folder.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let program =
        format!("{} print settings -c {}", env!("CARGO_BIN_EXE_bramblegate"), settings.display());
    let script = fs::read_to_string(root().join("systemd/arm-power-button")).unwrap();
    assert!(script.contains("/usr/bin/bramblegate print settings"));
    let script = script.replace("/usr/bin/bramblegate print settings", &program);
    let smallest =
        "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\nboard = \"generic-pc\"\n";
    for (buttons, wanted) in [
        ("", "stop"),
        ("[buttons]\nchip = \"pinctrl-bcm2711\"\nnext = 5\n", "stop"),
        ("[buttons]\nchip = \"pinctrl-bcm2711\"\npower = 13\n", "start"),
        ("no TOML", "stop"),
    ] {
        let _ = fs::remove_file(&asked);
        fs::write(&settings, format!("{smallest}{buttons}")).unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let status = Command::new("sh").args(["-c", &script]).env("PATH", path).status().unwrap();
        let asked = fs::read_to_string(&asked).unwrap_or_default();
        assert!(status.success(), "{buttons}");
        assert_eq!(asked, format!("--no-block {wanted} bramblegate-poweroff.path\n"), "{buttons}");
    }
    let unit = fs::read_to_string(root().join("systemd/bramblegate.service")).unwrap();
    assert!(!unit.contains("Wants=bramblegate-poweroff.path"), "nothing else starts it");
}
