//! The fixtures and the man page of the settings match what the program reads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use bramblegate::board::Boards;
use bramblegate::config::{self, keys};

const MAN_PAGE: &str = "docs/man/bramblegate.toml.5";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns what `check` (errors) or `print settings` would show, on a machine without a device
/// tree.
fn answer(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = [(name, fs::read_to_string(path).unwrap())];
    match config::resolve(&files, &Boards::default(), None, None) {
        Ok(merged) => merged.to_toml(),
        Err(faults) => faults.iter().map(|fault| format!("{fault}\n")).collect(),
    }
}

/// Compares with the fixture; explains how to write a new one.
fn compare(fixture: &Path, seen: &str) -> Result<(), String> {
    match fs::read_to_string(fixture) {
        Err(_) => Err(format!("create {} with:\n{seen}", fixture.display())),
        Ok(expected) if expected == seen => Ok(()),
        // UPDATE=1 writes the current output; read the difference before keeping it.
        Ok(_) if std::env::var_os("UPDATE").is_some() => {
            fs::write(fixture, seen).map_err(|error| error.to_string())
        }
        Ok(expected) => {
            let differs = expected.lines().zip(seen.lines()).position(|(a, b)| a != b);
            let line =
                differs.unwrap_or_else(|| expected.lines().count().min(seen.lines().count())) + 1;
            Err(format!("{} differs from line {line} on; seen was:\n{seen}", fixture.display()))
        }
    }
}

fn compare_folder(folder: &str) {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("tests/settings").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {folder}");
    let wrong: Vec<String> = files
        .iter()
        .filter_map(|path| compare(&path.with_extension("expected"), &answer(path)).err())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn good_files_print_as_expected() {
    compare_folder("good");
}

#[test]
fn bad_files_get_every_fault_reported() {
    compare_folder("bad");
}

#[test]
fn printed_settings_are_the_same_settings() {
    for entry in fs::read_dir(root().join("tests/settings/good")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let files = [("first", fs::read_to_string(&path).unwrap())];
        let board = Boards::default().resolve(&config::board_name(&files), None).unwrap();
        let first = config::read(&files, &board, None).unwrap();
        let again = config::load(&[("again", first.to_toml())], &board).unwrap();
        assert_eq!(first.settings, again, "{}", path.display());
    }
}

/// Escapes for man(7): backslash, and a request character at the start of a line; `…` where troff
/// may lack it.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...")
}

fn reference() -> String {
    let mut text = String::new();
    let mut section = None;
    for key in keys::all() {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(table) {
            let title = match table {
                "" => "At the top".to_owned(),
                "node" | "group" | "forward" => format!("[[{table}]]"),
                _ => format!("[{table}]"),
            };
            text += &format!(".SS {title}\n");
            section = Some(table);
        }
        let default = match key.default {
            keys::Preset::Required => "must be set".to_owned(),
            keys::Preset::Toml(value) => format!("default {value}"),
            keys::Preset::Board => "default from the board".to_owned(),
            keys::Preset::WithTable(text) => format!("default: \"{text}\""),
            keys::Preset::Words(words) => format!("default: {words}"),
        };
        text += &format!(
            ".TP\n.B {}\n{}; {}.\n.br\n{}\n",
            roff(name),
            roff(&key.kind.words()),
            roff(&default),
            roff(key.doc)
        );
        if !key.was.is_empty() {
            text += &format!("Formerly {}.\n", roff(&key.was.join(" and ")));
        }
    }
    text
}

#[test]
fn the_man_page_has_the_table_that_the_parser_uses() {
    let (begin, end) = (".\\\" begin of the table of keys\n", ".\\\" end of the table of keys\n");
    let path = root().join(MAN_PAGE);
    let page = fs::read_to_string(&path).unwrap_or_else(|_| panic!("create {}", path.display()));
    let (before, rest) =
        page.split_once(begin).expect("the man page has lost its mark of the table's begin");
    let (table, after) =
        rest.split_once(end).expect("the man page has lost its mark of the table's end");
    let wanted = reference();
    if table != wanted {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bramblegate.toml.5");
        fs::write(&new, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
        panic!("{MAN_PAGE} is not what the parser reads; the right one is in {}", new.display());
    }
}
