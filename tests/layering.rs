//! The plan of the house (`docs/architecture.md`): imports point down, there is no circle, and the
//! pure rooms touch nothing of the machine. Reads the source text; test code is free to look
//! wherever it likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms it may import from. A room stands below all that import it.
const FLOORS: &[(&str, &[&str])] = &[
    // Crates, under their short names; Cargo sees to it that they know nobody here.
    ("api", &[]),
    ("panel", &[]),
    ("board", &["panel"]),
    ("config", &["board", "panel"]),
    // A crate too, which `source` and `reconciler` name by its whole name.
    ("netlink", &[]),
    ("event", &["api", "config", "panel"]),
    ("dns", &[]),
    // Waiting, handing over, and keeping going what may end: whoever runs something uses it.
    ("sync", &[]),
    ("supervise", &["sync"]),
    ("source", &["api", "supervise", "sync", "config", "board", "dns", "event"]),
    ("state", &["api", "config", "board", "panel", "event"]),
    ("policy", &["api", "state", "config", "board", "panel", "event"]),
    ("render", &["api", "policy", "state", "config", "board", "panel", "event"]),
    // What is read back is read as the sources read it; sockets and messages are the crate
    // bramblegate-netlink.
    (
        "sink",
        &[
            "api",
            "supervise",
            "sync",
            "render",
            "policy",
            "state",
            "source",
            "config",
            "board",
            "panel",
            "event",
        ],
    ),
    (
        "daemon",
        &[
            "api",
            "supervise",
            "sync",
            "sink",
            "render",
            "policy",
            "state",
            "source",
            "config",
            "board",
            "panel",
            "event",
        ],
    ),
    (
        "cli",
        &[
            "api", "netlink", "daemon", "sink", "render", "policy", "state", "source", "config",
            "board", "panel", "dns", "event",
        ],
    ),
    ("main", &["cli"]),
];

/// Rooms that are functions of their arguments.
const PURE: &[&str] = &["event", "dns", "state", "policy", "render"];

/// What a pure room never names: the runtime, files, processes, environment, clocks, sockets,
/// terminals.
const OUTSIDE: &[&str] = &[
    "tokio::",
    "rustix::",
    "socket2::",
    "rtnetlink::",
    "netlink_sys::",
    "bramblegate_netlink",
    "nftnl::",
    "mnl::",
    "hidapi::",
    "sd_notify::",
    "linux_embedded_hal::",
    "async fn",
    ".await",
    "std::fs",
    "std::io",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "Instant::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    // Cargo unites features: where the whole workspace is built the types come with their client.
    "api::client",
    "print!",
    "println!",
    "unsafe",
    "panel::blinkstick",
    "panel::gpio",
    "panel::hd44780",
    "panel::hid",
    "panel::linux",
    "panel::pcf8574",
    "panel::sysfs_led",
];

/// Modules of the crate bramblegate-panel that are its vocabulary: functions of their arguments as
/// well.
const PANEL_PURE: &[&str] = &["charset", "frame", "light", "playlist", "signal", "wiring"];

/// One subject may take this much; what is longer is two.
const MOST_LINES: usize = 800;

/// One source file without its comments and tests.
struct Source {
    /// below `src/`: `reconciler/firewall/encode.rs`
    path: String,
    text: String,
    lines: usize,
}

impl Source {
    /// The room it belongs to: `reconciler` for `reconciler/firewall.rs`, `event` for `event.rs`.
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Names of the module: `["reconciler", "firewall", "encode"]`.
    fn module(&self) -> Vec<&str> {
        self.path.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").collect()
    }

    /// The rooms that it names, by `crate::…` or by `super::…` beyond its own room.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, _) in self.text.match_indices("crate::") {
            found.extend(names_after(&self.text[at + "crate::".len()..]));
        }
        let depth = self.module().len();
        for (at, _) in self.text.match_indices("super::") {
            let before = &self.text[..at];
            if before.ends_with("super::") {
                continue;
            }
            let mut rest = &self.text[at..];
            let mut up = 0;
            while let Some(next) = rest.strip_prefix("super::") {
                rest = next;
                up += 1;
            }
            if up >= depth {
                found.extend(names_after(rest));
            }
        }
        found.remove(self.room());
        found
    }
}

/// The first name of a path, or the first names of a group: `{event::A, panel::{B, C}}`.
fn names_after(text: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(group) = text.strip_prefix('{') else {
        return vec![text.chars().take_while(|c| is_name(*c)).collect()];
    };
    let mut names = Vec::new();
    let (mut depth, mut fresh, mut name) = (0, true, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                fresh = true;
            }
            c if is_name(c) && depth == 0 && fresh => name.push(c),
            c if c.is_whitespace() => {}
            _ => fresh = false,
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

/// The text up to the tests, without comments.
fn product_code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        let [first, second] = pair else { return false };
        first.trim_end() == "#[cfg(test)]" && second.starts_with("mod ") && second.ends_with('{')
    });
    let code = lines.iter().take(tests.unwrap_or(lines.len()));
    code.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_files(root: &Path) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    walk(root, &mut paths);
    paths.sort();
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The sources of the root package, of the daemon and of the pure crate.
fn sources() -> Vec<Source> {
    ["src", "crates/daemon/src", "crates/core/src"].into_iter().flat_map(sources_below).collect()
}

/// The product's sources in a folder of the repository: no tests, nor `lib.rs`, which only lists
/// the rooms.
fn sources_below(folder: &str) -> Vec<Source> {
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    all_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .into_iter()
        .filter(|(path, _)| path != "lib.rs" && !is_test(path))
        .map(|(path, text)| Source { path, lines: text.lines().count(), text: product_code(&text) })
        .collect()
}

#[test]
fn imports_point_down() {
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(allowed) = floors.get(source.room()) else {
            wrong.push(format!(
                "{}: room {:?} has no floor yet: give it one in {}",
                source.path,
                source.room(),
                file!()
            ));
            continue;
        };
        for room in source.imports() {
            // `crate::Name` of something that is no room does not happen: lib.rs holds only rooms.
            let by_the_door = source.room() == "main" && room == "bramblegate";
            if !by_the_door && !allowed.contains(&room.as_str()) {
                wrong.push(format!(
                    "{} imports crate::{room}: {} stands not above {room}",
                    source.path,
                    source.room()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n(the floors are in docs/architecture.md)", wrong.join("\n"));
}

#[test]
fn the_floors_have_no_circle() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (room, allowed) in FLOORS {
        let above: Vec<_> = allowed.iter().filter(|other| !below.contains(*other)).collect();
        assert!(above.is_empty(), "{room} may import {above:?}, which stand above it or beside it");
        below.insert(room);
    }
}

#[test]
fn pure_rooms_touch_nothing_of_the_machine() {
    let mut wrong = Vec::new();
    let panel = sources_below("crates/panel/src");
    for module in PANEL_PURE {
        assert!(
            panel.iter().any(|source| source.room() == *module),
            "there is no crates/panel/src/{module}"
        );
    }
    let rooms = sources().into_iter().filter(|source| PURE.contains(&source.room()));
    let config = sources_below("crates/config/src");
    assert!(config.len() > 20, "there is no crates/config/src");
    let vocabulary = panel.into_iter().filter(|source| PANEL_PURE.contains(&source.room()));
    let api =
        sources_below("crates/api/src").into_iter().filter(|source| source.room() != "client");
    let api: Vec<Source> = api.collect();
    assert!(api.len() > 5, "there is no crates/api/src");
    for source in rooms.chain(vocabulary).chain(config).chain(api) {
        for (number, line) in source.text.lines().enumerate() {
            wrong.extend(
                OUTSIDE
                    .iter()
                    .filter(|name| contains_name(line, name))
                    .map(|name| format!("{}:{}: {name} in a pure room", source.path, number + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// All netlink goes by one crate, which knows nobody of the house.
#[test]
fn only_the_crate_netlink_opens_netlink_sockets() {
    let opens = ["netlink_sys::", "AddressFamily::NETLINK", "recv_from_full"];
    let opened = |source: &Source| opens.iter().any(|name| source.text.contains(name));
    let wrong: Vec<String> =
        sources().into_iter().filter(opened).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "these open netlink sockets of their own: {wrong:?}");
    assert!(
        sources_below("crates/netlink/src").iter().any(opened),
        "the crate opens none: look for other names"
    );
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/netlink/Cargo.toml");
    assert!(
        !fs::read_to_string(manifest).unwrap().contains("path = "),
        "the crate knows somebody of the house"
    );
}

/// Whether `name` stands in `line`, not as the head or tail of a longer name.
fn contains_name(line: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) =
            (line[..at].chars().next_back(), line[at + name.len()..].chars().next());
        let longer_before = name.starts_with(goes_on) && before.is_some_and(goes_on);
        let longer_after = name.ends_with(goes_on) && after.is_some_and(goes_on);
        !longer_before && !longer_after
    })
}

#[test]
fn no_file_is_a_thousand_line_room() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > MOST_LINES)
        .map(|source| format!("{}: {} lines, at most {MOST_LINES}", source.path, source.lines))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn every_room_of_the_libraries_has_a_floor() {
    for library in ["crates/daemon/src/lib.rs", "crates/core/src/lib.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(library)).unwrap();
        let rooms: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .collect();
        assert!(rooms.len() > 2, "{library} lists its rooms otherwise: {rooms:?}");
        let unknown: Vec<&&str> =
            rooms.iter().filter(|room| !FLOORS.iter().any(|(known, _)| known == *room)).collect();
        assert!(unknown.is_empty(), "{library}: {unknown:?}");
    }
}

/// The reader of imports has to see what it claims to see.
#[test]
fn imports_are_read_in_every_spelling() {
    let imports = |path: &str, text: &str| {
        let source = Source { path: path.to_owned(), text: product_code(text), lines: 0 };
        source.imports().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        imports(
            "sink/lcd.rs",
            "use crate::event::A;\nuse crate::{panel::{B, C}, state, policy::D as E};"
        ),
        "event panel policy state"
    );
    assert_eq!(imports("sink/lcd.rs", "// crate::facts\nlet x = crate::config::y();"), "config");
    assert_eq!(imports("sink/mod.rs", "use super::source::A;"), "source");
    assert_eq!(
        imports(
            "sink/a/b.rs",
            "use super::c; use super::super::d; use super::super::super::policy::E;"
        ),
        "policy"
    );
    assert_eq!(
        imports("sink/lcd.rs", "a();\n#[cfg(test)]\nmod tests {\n    use crate::facts::State;\n}"),
        ""
    );
}
