//! The structure of the code (`docs/architecture.md`): imports point down, there is no circle, and
//! the pure floors do not touch the machine. Parses the source text; test code may import anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/rust_files.rs"]
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Each floor (or crate, or skill) and the ones it may import from. A floor is below all that import
/// it.
const FLOORS: &[(&str, &[&str])] = &[
    // Crates, by their short names; Cargo ensures that they depend on none of these.
    ("api", &[]),
    ("panel", &[]),
    ("board", &["panel"]),
    ("config", &["board", "panel"]),
    // A crate too, which `watch` and `reconcile` name by its full name.
    ("netlink", &[]),
    ("dns", &[]),
    ("event", &["api", "config", "panel"]),
    ("facts", &["api", "config", "board", "panel", "event"]),
    ("decide", &["api", "facts", "config", "board", "panel", "event"]),
    ("view", &["api", "decide", "facts", "config", "board", "panel", "event"]),
    // Of the daemon: skills without a subject.
    ("clock", &["event"]),
    ("pace", &[]),
    ("sync", &[]),
    ("oneshot", &["sync"]),
    ("supervise", &["sync"]),
    ("files", &["config", "sync"]),
    ("socket", &["files", "oneshot", "pace", "sync"]),
    ("packet", &["event", "sync"]),
    (
        "watch",
        &[
            "api",
            "event",
            "dns",
            "config",
            "board",
            "clock",
            "pace",
            "sync",
            "oneshot",
            "supervise",
            "files",
            "socket",
            "packet",
        ],
    ),
    // A reconciler parses what it reads back like a watch: it may use `watch`.
    (
        "reconcile",
        &[
            "api",
            "view",
            "decide",
            "facts",
            "event",
            "config",
            "board",
            "panel",
            "clock",
            "pace",
            "sync",
            "oneshot",
            "supervise",
            "files",
            "socket",
            "packet",
            "watch",
        ],
    ),
    (
        "event_loop",
        &[
            "api",
            "reconcile",
            "watch",
            "view",
            "decide",
            "facts",
            "event",
            "config",
            "board",
            "panel",
            "clock",
            "pace",
            "sync",
            "supervise",
            "files",
            "socket",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "netlink",
            "event_loop",
            "reconcile",
            "watch",
            "view",
            "decide",
            "facts",
            "event",
            "dns",
            "config",
            "board",
            "panel",
            "clock",
            "files",
            "socket",
        ],
    ),
    ("main", &["cli"]),
];

/// The subjects of the program: each has one name on every floor.
const SUBJECTS: &[&str] = &[
    "alert",
    "button",
    "clat",
    "cluster",
    "control",
    "dhcp",
    "firewall",
    "forward",
    "host",
    "journal",
    "link",
    "node",
    "output",
    "panel",
    "probe",
    "routing",
    "service_manager",
    "share",
    "status",
    "uplink",
    "venue",
    "web",
];

/// Each floor, and the files that are specific to it: they compose, or hold what several subjects
/// share.
const OWN: &[(&str, &[&str])] = &[
    ("crates/core/src/event", &[]),
    ("crates/core/src/facts", &["answers", "context", "resync", "transition"]),
    ("crates/core/src/decide", &[]),
    ("crates/core/src/view", &[]),
    ("crates/daemon/src/watch", &[]),
    ("crates/daemon/src/reconcile", &["error", "rtnl", "worker"]),
];

/// Floors of pure functions.
const PURE: &[&str] = &["event", "dns", "facts", "decide", "view"];

/// What a pure floor must not name: the runtime, files, processes, environment, clocks, sockets,
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
    // Cargo unifies features: a build of the whole workspace includes the client.
    "api::client",
    "print!",
    "println!",
    "unsafe",
    "panel::blinkstick",
    "panel::gpio",
    "panel::hd44780",
    "panel::hid",
    "panel::linux",
    "panel::oled",
    "panel::pcf8574",
    "panel::sysfs_led",
];

/// Modules of the crate bramblegate-panel that are pure too.
const PANEL_PURE: &[&str] = &["charset", "frame", "light", "playlist", "signal", "wiring"];

/// The limit of lines for one subject; a longer file is two subjects.
const MOST_LINES: usize = 800;

/// One source file without its comments and tests.
struct Source {
    /// The path below `src/`: `reconcile/firewall/encode.rs`.
    path: String,
    text: String,
    lines: usize,
}

impl Source {
    /// Returns the floor of the file: `reconcile` for `reconcile/clat.rs`, `dns` for `dns.rs`.
    fn floor(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// Returns the names of the module: `["reconcile", "firewall", "encode"]`.
    fn module(&self) -> Vec<&str> {
        self.path.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").collect()
    }

    /// Returns the paths that the file names, from the crate's root: `["event", "alert",
    /// "AlertCode"]`.
    fn paths(&self) -> BTreeSet<Vec<&str>> {
        let module = self.module();
        let mut found = BTreeSet::new();
        for (at, _) in self.text.match_indices("crate::") {
            expand(&self.text[at + "crate::".len()..], &[], &mut found);
        }
        for (at, _) in self.text.match_indices("super::") {
            if self.text[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &self.text[at..];
            let mut base = &module[..];
            while let Some(next) = rest.strip_prefix("super::") {
                rest = next;
                base = base.split_last().map_or(&[][..], |(_, parents)| parents);
            }
            expand(rest, base, &mut found);
        }
        found
    }

    /// Returns the floors that the file names, by `crate::…` or by `super::…` beyond its own floor.
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
        found.remove(self.floor());
        found
    }
}

/// Adds the paths that begin with `text`, below `base`; returns the rest of the text.
fn expand<'a>(text: &'a str, base: &[&'a str], found: &mut BTreeSet<Vec<&'a str>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            let after = expand(rest, base, found);
            // Skip ` as Name`.
            let end = after.find([',', '}']).unwrap_or(after.len());
            if after.len() == rest.len() || end == after.len() {
                return after;
            }
            rest = &after[end..];
        }
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path: Vec<&str> = base.iter().copied().chain([name]).collect();
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() => expand(rest, &path, found),
        _ => {
            if !name.is_empty() {
                found.insert(path);
            }
            rest
        }
    }
}

/// Returns the first name of a path, or the first names of a group: `{event::A, panel::{B, C}}`.
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

/// Returns the text before the tests, without comments.
fn product_code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        let [first, second] = pair else { return false };
        first.trim_end() == "#[cfg(test)]" && second.starts_with("mod ") && second.ends_with('{')
    });
    let code = lines.iter().take(tests.unwrap_or(lines.len()));
    code.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns the sources of the root package, of the daemon and of the pure crate.
fn sources() -> Vec<Source> {
    ["src", "crates/daemon/src", "crates/core/src"].into_iter().flat_map(sources_below).collect()
}

/// Returns the product's sources in a folder of the repository, without tests, and without
/// `lib.rs`, which only lists the floors.
fn sources_below(folder: &str) -> Vec<Source> {
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    files::rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "")
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
        let Some(allowed) = floors.get(source.floor()) else {
            wrong.push(format!(
                "{}: the floor {:?} is missing in FLOORS of {}",
                source.path,
                source.floor(),
                file!()
            ));
            continue;
        };
        for floor in source.imports() {
            // `crate::Name` of anything but a floor does not occur: lib.rs has only floors.
            let is_entry = source.floor() == "main" && floor == "bramblegate";
            if !is_entry && !allowed.contains(&floor.as_str()) {
                wrong.push(format!(
                    "{} imports crate::{floor}: {} is not above {floor}",
                    source.path,
                    source.floor()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n(the floors are in docs/architecture.md)", wrong.join("\n"));
}

#[test]
fn the_floors_have_no_circle() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (floor, allowed) in FLOORS {
        let above: Vec<_> = allowed.iter().filter(|other| !below.contains(*other)).collect();
        assert!(above.is_empty(), "{floor} may import {above:?}, which are above it or beside it");
        below.insert(floor);
    }
}

#[test]
fn pure_floors_touch_nothing_of_the_machine() {
    let mut wrong = Vec::new();
    let panel = sources_below("crates/panel/src");
    for module in PANEL_PURE {
        assert!(
            panel.iter().any(|source| source.floor() == *module),
            "there is no crates/panel/src/{module}"
        );
    }
    let floors = sources().into_iter().filter(|source| PURE.contains(&source.floor()));
    let config = sources_below("crates/config/src");
    assert!(config.len() > 20, "there is no crates/config/src");
    let vocabulary = panel.into_iter().filter(|source| PANEL_PURE.contains(&source.floor()));
    let api =
        sources_below("crates/api/src").into_iter().filter(|source| source.floor() != "client");
    let api: Vec<Source> = api.collect();
    assert!(api.len() > 5, "there is no crates/api/src");
    for source in floors.chain(vocabulary).chain(config).chain(api) {
        for (number, line) in source.text.lines().enumerate() {
            wrong.extend(
                OUTSIDE
                    .iter()
                    .filter(|name| contains_name(line, name))
                    .map(|name| format!("{}:{}: {name} in a pure floor", source.path, number + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// All netlink goes through one crate, which depends on no other of the workspace.
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
        "the crate depends on another of the workspace"
    );
}

/// Returns whether `line` contains `name` as a whole name.
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

/// The status page and SNMP are separate programs, so that their dependencies make the gateway
/// neither larger nor slower. The gateway's own HTTP is the client of probes.
#[test]
fn the_gateway_links_nothing_of_its_neighbours() {
    let tree = |package: &str| {
        let arguments = ["tree", "--offline", "--locked", "--edges=normal", "--prefix=none"];
        let output = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .args(["--format={lib}", "--package", package])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (gateway, web, snmp) =
        (tree("bramblegate"), tree("bramblegate-web"), tree("bramblegate-snmp"));
    assert!(gateway.contains("bramblegate_daemon") && gateway.len() > 50, "{gateway:?}");
    for (name, program) in [
        ("bramblegate_web", &web),
        ("axum", &web),
        ("maud", &web),
        ("prometheus_client", &web),
        ("argon2", &web),
        ("bramblegate_snmp", &snmp),
        ("agentx", &snmp),
    ] {
        assert!(program.contains(name), "{name} has another name now");
        assert!(!gateway.contains(name), "the gateway links {name}");
    }
}

#[test]
fn no_file_has_too_many_lines() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > MOST_LINES)
        .map(|source| format!("{}: {} lines, at most {MOST_LINES}", source.path, source.lines))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn every_public_module_of_the_libraries_is_a_floor() {
    for library in ["crates/daemon/src/lib.rs", "crates/core/src/lib.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(library)).unwrap();
        let modules: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .collect();
        assert!(modules.len() > 2, "{library} lists its modules otherwise: {modules:?}");
        let unknown: Vec<&&str> =
            modules.iter().filter(|name| !FLOORS.iter().any(|(known, _)| known == *name)).collect();
        assert!(unknown.is_empty(), "{library}: {unknown:?}");
    }
}

/// A file or folder on a floor is named after a subject, or is specific to the floor.
#[test]
fn each_subject_has_one_name_on_every_floor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = BTreeSet::new();
    for (floor, own) in OWN {
        for entry in fs::read_dir(root.join(floor)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if matches!(name.as_str(), "mod" | "tests") {
                continue;
            }
            let known = SUBJECTS.contains(&name.as_str()) || own.contains(&name.as_str());
            assert!(known, "{floor}/{name} is no subject: {SUBJECTS:?}");
            used.insert(name);
        }
    }
    let unused: Vec<_> = SUBJECTS.iter().filter(|subject| !used.contains(**subject)).collect();
    assert!(unused.is_empty(), "subjects of no floor: {unused:?}");
}

/// The page lists exactly the subjects of this test, and for each the floors with a file or folder
/// of its name.
#[test]
fn the_architecture_lists_every_subject_and_where_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let section = page.split("\n## Subjects\n").nth(1).expect("it has a section Subjects");
    let section = section.split("\n## ").next().unwrap();
    let is_on = |floor: &str, name: &str| {
        let path = root.join(floor).join(name);
        path.is_dir() || path.with_extension("rs").is_file()
    };
    let rows = SUBJECTS.iter().map(|subject| {
        let on = OWN.iter().filter(|(floor, _)| is_on(floor, subject));
        let names: Vec<&str> = on.filter_map(|(floor, _)| floor.rsplit('/').next()).collect();
        (*subject, names.join(", "))
    });
    let listed = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`'), cells.last()?.to_owned()))
    });
    assert_eq!(
        listed.collect::<Vec<_>>(),
        rows.collect::<Vec<_>>(),
        "left: the table Subjects in docs/architecture.md; right: SUBJECTS and the floors' files"
    );
}

/// The files and folders of each folder import one another in one direction only.
#[test]
fn neighbours_have_no_circle() {
    let mut wrong = Vec::new();
    for folder in ["src", "crates/daemon/src", "crates/core/src", "crates/config/src"] {
        let sources = sources_below(folder);
        let modules: BTreeSet<Vec<&str>> = sources.iter().map(Source::module).collect();
        // Of each folder: which entry imports which.
        let mut imports: BTreeMap<Vec<&str>, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        for source in &sources {
            let from = source.module();
            for path in source.paths() {
                let to = modules.iter().filter(|module| path.starts_with(module));
                let Some(to) = to.max_by_key(|module| module.len()) else { continue };
                let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
                if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
                    let folder = imports.entry(from[..common].to_vec()).or_default();
                    folder.entry(a).or_default().insert(b);
                }
            }
        }
        for (place, edges) in &imports {
            wrong.extend(circle(edges).map(|names| format!("{folder} {place:?}: {names:?}")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Returns a circle's members, if there is one: what is left after all entries that import none of
/// the others, or that none of them imports, are removed repeatedly.
fn circle<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<BTreeSet<&'a str>> {
    let mut left: BTreeSet<&str> = edges.keys().copied().collect();
    loop {
        let imports = |name: &str| edges[name].iter().any(|to| left.contains(to));
        let stays: BTreeSet<&str> = left.iter().copied().filter(|name| imports(name)).collect();
        if stays.len() == left.len() {
            // Also remove entries that none of the others imports.
            let named = |name: &str| left.iter().any(|from| edges[from].contains(name));
            let stays: BTreeSet<&str> = left.iter().copied().filter(|name| named(name)).collect();
            if stays.len() == left.len() {
                return (!left.is_empty()).then_some(left);
            }
            left = stays;
        } else {
            left = stays;
        }
    }
}

#[test]
fn a_circle_is_found_and_a_chain_is_none() {
    let edges = |pairs: &[(&'static str, &[&'static str])]| {
        let pairs = pairs.iter().map(|(from, to)| (*from, to.iter().copied().collect()));
        circle(&pairs.collect())
    };
    assert_eq!(edges(&[("a", &["b"]), ("b", &["c"])]), None);
    let found = edges(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["b"]), ("d", &[])]);
    assert_eq!(found.unwrap().into_iter().collect::<Vec<_>>(), ["b", "c"]);
}

/// The parser of imports has to find what it claims to find.
#[test]
fn imports_are_read_in_every_spelling() {
    let imports = |path: &str, text: &str| {
        let source = Source { path: path.to_owned(), text: product_code(text), lines: 0 };
        source.imports().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        imports(
            "reconcile/lcd.rs",
            "use crate::event::A;\nuse crate::{panel::{B, C}, facts, decide::D as E};"
        ),
        "decide event facts panel"
    );
    assert_eq!(
        imports("reconcile/lcd.rs", "// crate::facts\nlet x = crate::config::y();"),
        "config"
    );
    assert_eq!(imports("reconcile/mod.rs", "use super::watch::A;"), "watch");
    assert_eq!(
        imports(
            "reconcile/a/b.rs",
            "use super::c; use super::super::d; use super::super::super::decide::E;"
        ),
        "decide"
    );
    assert_eq!(
        imports(
            "reconcile/lcd.rs",
            "a();\n#[cfg(test)]\nmod tests {\n    use crate::facts::Facts;\n}"
        ),
        ""
    );
}
