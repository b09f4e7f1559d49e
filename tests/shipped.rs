//! The real program accepts every shipped board, settings file, venue and settings example, and
//! every page of the documentation names only existing files and tests.

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

/// Returns the errors of `bramblegate check` for a file; `None` without errors.
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

/// The minimum that each part of a settings file needs.
const REST: &str =
    "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\nboard = \"raspberry-pi-4\"\n";

/// Blocks marked `toml` in pages for users are whole settings files; a part is marked `toml,part`.
#[test]
fn every_settings_example_for_people_is_good() {
    let mut pages = vec![root().join("README.md")];
    pages.extend(files("docs", "md"));
    pages.extend(files("docs/guide", "md"));
    let mut texts = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.file_stem().unwrap().to_str().unwrap();
        for (number, block) in text.split("```toml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            texts.push((format!("{name}-{}", number + 1), block.to_owned()));
        }
        for (number, block) in text.split("```toml,part\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            let rest =
                if block.contains("[uplink]") { REST.split_once('\n').unwrap().1 } else { REST };
            texts.push((format!("{name}-part-{}", number + 1), format!("{rest}{block}")));
        }
    }
    let parts = texts.iter().filter(|(name, _)| name.contains("part")).count();
    assert!(parts > 2 && texts.len() > parts + 5, "too few examples: {}", texts.len());
    check_texts("examples", &texts);
}

/// Links to a part of a page lead to an existing heading.
#[test]
fn every_link_to_a_heading_leads_to_one() {
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((path, heading)) = link.split_once('#') else { continue };
            if link.contains("://") {
                continue;
            }
            let target = if path.is_empty() {
                text.clone()
            } else {
                fs::read_to_string(page.parent().unwrap().join(path)).unwrap_or_default()
            };
            let headings = target.lines().filter(|line| line.starts_with('#'));
            if !headings.map(anchor).any(|known| known == heading) {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
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

/// The usual sections, in their order, and the version of the program.
#[test]
fn the_manual_pages_have_the_usual_sections_and_the_version() {
    for (page, sections) in [
        (
            "docs/man/bramblegate.1",
            &[
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "COMMANDS",
                "OPTIONS",
                "EXIT STATUS",
                "ENVIRONMENT",
            ][..],
        ),
        (
            "docs/man/bramblegate.8",
            &["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT"],
        ),
        ("docs/man/bramblegate.toml.5", &["NAME", "SYNOPSIS", "DESCRIPTION"]),
    ] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let headings: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let end = if page.ends_with(".1") { "FILES EXAMPLES" } else { "FILES" };
        let wanted =
            sections.iter().copied().chain(end.split(' ')).chain(["REPORTING BUGS", "SEE ALSO"]);
        let wanted: Vec<&str> = wanted.collect();
        let usual: Vec<&str> =
            headings.iter().copied().filter(|heading| wanted.contains(heading)).collect();
        assert_eq!(usual, wanted, "{page}");
        let title = text.lines().find(|line| line.starts_with(".TH ")).unwrap();
        let version = format!("\"bramblegate {}\"", env!("CARGO_PKG_VERSION"));
        assert!(title.contains(&version), "{page}: {title}");
    }
}

/// Returns the short help of a verb.
fn help(words: &[String]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_bramblegate")).args(words).arg("-h").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the verbs and options that a verb's short help lists.
fn listed(help: &str) -> (Vec<String>, BTreeSet<String>) {
    let verbs = help.split("Commands:\n").nth(1).unwrap_or_default();
    let verbs = verbs.lines().take_while(|line| line.starts_with("  "));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next());
    let verbs = verbs.filter(|verb| *verb != "help").map(str::to_owned).collect();
    let options = help.split("Options:\n").nth(1).unwrap_or_default();
    let words = options.lines().flat_map(|line| line.split_whitespace().take(3));
    let words = words.filter(|word| word.starts_with("--"));
    let words = words.map(|word| word.split(['[', '=']).next().unwrap_or(word));
    let words = words.map(|word| word.trim_end_matches(['.', ',']).to_owned());
    (verbs, words.collect())
}

#[test]
fn the_manual_has_every_verb_and_option_of_the_help() {
    let manual = fs::read_to_string(root().join("docs/man/bramblegate.1")).unwrap();
    let daemon = fs::read_to_string(root().join("docs/man/bramblegate.8")).unwrap();
    let (manual, daemon) = (manual.replace("\\-", "-"), daemon.replace("\\-", "-"));
    let mut absent = Vec::new();
    let mut left: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(words) = left.pop() {
        let (verbs, options) = listed(&help(&words));
        let page = if words == ["run"] { &daemon } else { &manual };
        absent.extend(options.iter().filter(|option| !page.contains(*option)).cloned());
        for verb in verbs {
            let form = format!("{verb}\\fR");
            absent.extend((verb != "run" && !manual.contains(&form)).then(|| verb.clone()));
            left.push(words.iter().cloned().chain([verb]).collect());
        }
        seen += options.len();
    }
    assert!(seen > 60, "help is listed otherwise: {seen}");
    assert!(absent.is_empty(), "not in the manual: {absent:?}");
}

/// Codes appear only in their two tables.
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
            } else if !["tests.rs", "event/alert/mod.rs", "doctor/code.rs"]
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

/// Returns whether a word looks like `uplink-none`: a subject and a problem.
fn is_code(word: &&str) -> bool {
    let subject = word.split('-').next().unwrap_or_default();
    ["uplink", "gateway", "node", "share", "lcd", "led", "host"].contains(&subject)
        && word.contains('-')
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !word.ends_with('-')
}

/// Returns the codes that a section of a manual page lists: those in bold at the beginning of a
/// paragraph.
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

/// Returns the pages of the documentation: those in the root, and all below `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages = files(".", "md");
    pages.extend(files("docs", "md"));
    pages.extend(files("docs/decisions", "md"));
    pages.extend(files("docs/guide", "md"));
    pages.retain(|page| !page.ends_with("CHANGELOG.md"));
    pages
}

/// Returns the texts in backquotes on a page, with their line number, without code blocks.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(|quoted| (number + 1, quoted)));
        }
    }
    found
}

/// The bases of paths on a page: the root, or a floor of the flow (`facts/node`).
const BASES: &[&str] = &["", "crates/core/src", "crates/daemon/src"];

/// Paths outside the repository: of an installed program, of a folder of the service.
const PATHS_OF_OTHERS: &[&str] = &["previous.json"];

/// Returns whether a text is the path of a file or folder of the repository: relative, with a
/// folder, or of a known kind of file.
fn is_path(quoted: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-*<>".contains(c);
    let begins = quoted.starts_with(|c: char| c.is_ascii_alphanumeric());
    let ends = [".rs", ".toml", ".md", ".sh", ".json", ".c", ".py"];
    let named = quoted.contains('/') || ends.iter().any(|end| quoted.ends_with(end));
    begins && named && quoted.chars().all(plain) && !PATHS_OF_OTHERS.contains(&quoted)
}

/// Returns whether the path exists; `<name>` matches any name, and `facts/uplink` a module, which
/// is a file or a folder.
fn is_there(path: &str) -> bool {
    let mut pattern = String::new();
    for part in path.split('<') {
        match part.split_once('>') {
            Some((_, after)) if !pattern.is_empty() || path.starts_with('<') => {
                pattern.push('*');
                pattern.push_str(after);
            }
            _ => pattern.push_str(part),
        }
    }
    let file = format!("{pattern}.rs");
    BASES.iter().any(|base| {
        [&pattern, &file].iter().any(|pattern| {
            let pattern = root().join(base).join(pattern);
            glob::glob(pattern.to_str().unwrap()).unwrap().next().is_some()
        })
    })
}

/// Returns every Rust file of the repository that may contain tests, with its path.
fn rust_files() -> Vec<(PathBuf, String)> {
    let patterns =
        ["src/**/*.rs", "crates/*/src/**/*.rs", "crates/*/tests/**/*.rs", "tests/**/*.rs"];
    let paths = patterns.iter().flat_map(|pattern| {
        glob::glob(root().join(pattern).to_str().unwrap()).unwrap().map(Result::unwrap)
    });
    paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Returns whether a bare file name (`worker.rs`) is that of a file in a folder, or beside a file,
/// that the same page names by its path.
fn is_beside(name: &str, paths: &[&str]) -> bool {
    let folders = paths.iter().filter(|path| path.contains('/'));
    folders.into_iter().any(|path| {
        let (folder, _) = path.rsplit_once('/').unwrap_or_default();
        [path, folder].iter().any(|folder| is_there(&format!("{folder}/{name}")))
    })
}

#[test]
fn every_path_on_a_page_is_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let paths: Vec<_> = quoted(&text).into_iter().filter(|(_, text)| is_path(text)).collect();
        let named: Vec<&str> = paths.iter().map(|(_, path)| *path).collect();
        let absent = paths.iter().filter(|(_, path)| {
            !is_there(path) && (path.contains('/') || !is_beside(path, &named))
        });
        wrong.extend(absent.map(|(line, path)| format!("{}:{line}: {path}", page.display())));
    }
    assert!(wrong.is_empty(), "these paths lead nowhere:\n{}", wrong.join("\n"));
}

/// Returns each "`name` in `path`" of a page: an item of the code, and its file or folder.
fn items(text: &str) -> Vec<(String, String)> {
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    });
    let text = lines.collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = text.split('`').collect();
    let quotes = parts.iter().zip(parts.iter().skip(1)).zip(parts.iter().skip(2));
    let pairs = quotes.skip(1).step_by(2).filter(|((_, between), _)| **between == " in ");
    pairs
        .map(|((name, _), path)| ((*name).to_owned(), (*path).to_owned()))
        .filter(|(name, path)| {
            is_path(path) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
        })
        .collect()
}

/// Returns whether the file, or one in the folder, defines the item (`name` or `Type::name`).
fn defines(path: &str, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    let is_definition = |line: &str| {
        line.split_once(name).is_some_and(|(before, after)| {
            let kinds = ["fn ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "mod "];
            kinds.iter().any(|kind| before.ends_with(kind))
                && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let files = BASES.iter().flat_map(|base| {
        let path = root().join(base).join(path);
        let below = path.join("**/*.rs");
        let below = glob::glob(below.to_str().unwrap()).unwrap().map(Result::unwrap);
        [path.clone(), path.with_extension("rs")].into_iter().chain(below).collect::<Vec<_>>()
    });
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| text.lines().any(is_definition))
}

/// A page names functions so that they are found: a renamed one would be searched for in vain.
#[test]
fn every_item_on_a_page_is_in_its_file() {
    let mut named = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for (name, path) in items(&fs::read_to_string(&page).unwrap()) {
            named += 1;
            if is_there(&path) && !defines(&path, &name) {
                wrong.push(format!("{}: {name} in {path}", page.display()));
            }
        }
    }
    assert!(named > 20, "the pages name items otherwise: {named}");
    assert!(wrong.is_empty(), "these items are not there:\n{}", wrong.join("\n"));
    assert!(defines("decide/clat.rs", "order") && defines("decide/clat", "ClatPlan::order"));
    assert!(!defines("decide/clat.rs", "orders") && !defines("decide/clat.rs", "rder"));
}

/// Links to other pages and files, and the index of decisions.
#[test]
fn every_link_on_a_page_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
        let here = links.filter(|link| !link.contains("://") && !link.is_empty());
        let absent = here.filter(|link| !page.parent().unwrap().join(link).exists());
        wrong.extend(absent.map(|link| format!("{}: {link}", page.display())));
    }
    let index = fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    let decisions = files("docs/decisions", "md");
    let names = decisions.iter().filter_map(|page| page.file_name()?.to_str());
    let unlisted =
        names.filter(|name| *name != "README.md" && !index.contains(&format!("({name})")));
    wrong.extend(unlisted.map(|name| format!("the index of decisions lacks {name}")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Returns whether a test exists: a trial (`"area::name"`), or a function in a file or folder of
/// the path; `area::*`: whether the area exists.
fn is_a_test(name: &str, sources: &[(PathBuf, String)]) -> bool {
    let (module, _) = name.split_once("::").unwrap();
    let (_, function) = name.rsplit_once("::").unwrap();
    let (trial, function) =
        (format!("\"{}", name.trim_end_matches('*')), format!("fn {function}("));
    let ends_trial = if name.ends_with('*') { "" } else { "\"" };
    sources.iter().any(|(path, text)| {
        let of_module =
            path.iter().any(|part| Path::new(part).file_stem() == Some(module.as_ref()));
        text.contains(&format!("{trial}{ends_trial}")) || of_module && text.contains(&function)
    })
}

/// Nothing checks a promise whose test was renamed or removed.
#[test]
fn every_test_that_the_security_page_names_is_there() {
    let page = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let sources = rust_files();
    let named: Vec<&str> = quoted(&page)
        .into_iter()
        .map(|(_, quoted)| quoted)
        .filter(|quoted| quoted.contains("::"))
        .collect();
    assert!(named.len() > 20, "the page names its tests otherwise: {named:?}");
    let absent: Vec<&&str> = named.iter().filter(|test| !is_a_test(test, &sources)).collect();
    assert!(absent.is_empty(), "no such tests: {absent:#?}");
}

/// The parser of paths has to find what it claims to find.
#[test]
fn paths_are_distinguished_from_other_words() {
    for path in
        ["tests/layering.rs", "crates/core", "boards/<name>.toml", "sink/firewall", "mod.rs"]
    {
        assert!(is_path(path), "{path}");
    }
    for word in ["/dev/i2c-N", "~/.ssh/config", "$STATE_DIRECTORY/x", "nft -f", "facts", "a::b"] {
        assert!(!is_path(word), "{word}");
    }
    assert!(
        is_there("boards/<name>.toml")
            && is_there("facts/node")
            && is_there("facts/transition")
            && is_there("tests/kernel/")
    );
    assert!(!is_there("sink/firewall") && !is_there("boards/<name>.rs"));
    assert!(is_beside("wiring.rs", &["crates/panel/src/frame.rs"]));
    assert!(is_beside("wiring.rs", &["crates/panel/src"]) && !is_beside("x.rs", &["crates"]));
    let page = "a `b/c`\n```sh\n`no/path`\n```\n`d` and `e/f`";
    assert_eq!(quoted(page), [(1, "b/c"), (5, "d"), (5, "e/f")]);
}

/// Cargo would run a test with a `main` of its own as one without any tests, and succeed.
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

/// The script that the unit runs as root, with a `systemctl` that only records its arguments.
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
        ("[buttons]\npower = 13\n[gpio]\nchip = \"pinctrl-bcm2711\"\n", "start"),
        ("[buttons]\nchip = \"off\"\npower = 13\n", "stop"),
        ("[buttons]\npower = 13\nenabled = false\n", "stop"),
        ("[buttons]\npower = 13\n[gpio]\nchip = \"off\"\n", "stop"),
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

/// `make` lists its targets for a terminal of 80 columns.
#[test]
fn the_list_of_make_fits_a_terminal() {
    let output = Command::new("make").arg("help").current_dir(root()).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(list.contains("  make demo ") && list.contains("  make uninstall "), "{list}");
    let wide: Vec<&str> = list.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}
