//! Checks the rules of CONTRIBUTING.md for every text that a user reads, as far as a machine can:
//! words to avoid (`rules.txt`), and sentences of at most 25 words. `exceptions.txt` lists the
//! allowed exceptions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[path = "../common/source.rs"]
mod source;
mod text;

use text::{Sentence, Text};

/// The longest sentence, in words.
const LONGEST: usize = 25;

/// Source folders whose string literals users read: alerts, journal, doctor, verbs. Not the rule
/// set's comments, which identify the rules in the kernel.
const SOURCES: [&str; 10] = [
    "crates/api/src/client",
    "crates/core/src/decide/alert",
    "crates/core/src/event/alert",
    "crates/core/src/facts",
    "crates/core/src/view/journal",
    "crates/config/src",
    "crates/daemon/src",
    "crates/lab/src/demo",
    "crates/panel/src",
    "src/cli",
];

/// A phrase to avoid.
#[derive(Debug)]
struct Rule {
    words: Vec<String>,
    /// Words after the phrase that make it acceptable.
    before: Vec<String>,
    /// Words before the phrase that make it acceptable.
    after: Vec<String>,
    better: String,
}

impl Rule {
    /// Returns the phrase if the sentence contains it.
    fn broken_by(&self, words: &[String]) -> Option<String> {
        let length = self.words.len();
        let hit = |at: &usize| {
            let follows = words.get(at + length);
            let precedes = at.checked_sub(1).and_then(|at| words.get(at));
            words.get(*at..at + length).is_some_and(|found| found == self.words)
                && follows.is_none_or(|word| !self.before.contains(word))
                && precedes.is_none_or(|word| !self.after.contains(word))
        };
        (0..words.len()).find(hit).map(|_| self.words.join(" "))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the lines of a list, each split at its bars.
fn list(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("tests/words").join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('|').map(|part| part.trim().to_owned()).collect()).collect()
}

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in list("rules.txt") {
        let [phrases, better] = line.as_slice() else { panic!("rules.txt: {line:?}") };
        for phrase in phrases.split(", ") {
            let mut parts = phrase.split(" !");
            let words = parts.next().unwrap().split(' ').map(str::to_owned).collect();
            let mut rule =
                Rule { words, before: Vec::new(), after: Vec::new(), better: better.clone() };
            for part in parts {
                match part.split_once(' ') {
                    Some(("before", word)) => rule.before.push(word.to_owned()),
                    Some(("after", word)) => rule.after.push(word.to_owned()),
                    _ => panic!("rules.txt: {part}"),
                }
            }
            rules.push(rule);
        }
    }
    rules
}

/// Returns the violations in a sentence.
fn faults(sentence: &Sentence, rules: &[Rule]) -> Vec<String> {
    let mut faults: Vec<String> = rules
        .iter()
        .filter_map(|rule| {
            let phrase = rule.broken_by(&sentence.words)?;
            Some(format!("\"{phrase}\": write {}", rule.better))
        })
        .collect();
    if sentence.words.len() > LONGEST {
        faults.push(format!("{} words: at most {LONGEST}", sentence.words.len()));
    }
    if sentence.text.matches(';').count() > 1 {
        faults.push("a chain of semicolons: make sentences".to_owned());
    }
    if sentence.has_bare_as() {
        faults.push("a bare \"as\": write such as, for example, like".to_owned());
    }
    faults
}

/// Returns every text that a user reads.
fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    let pages = ["*.md", "docs/guide/*.md", ".github/ISSUE_TEMPLATE/*.yml"];
    for pattern in pages {
        for path in glob::glob(root().join(pattern).to_str().unwrap()).unwrap() {
            texts.extend(text::page(root(), &path.unwrap()));
        }
    }
    for path in glob::glob(root().join("docs/man/*.[158]").to_str().unwrap()).unwrap() {
        texts.extend(text::manual(root(), &path.unwrap()));
    }
    texts.extend(text::help(&[]));
    texts.extend(
        bramblegate::config::keys::all()
            .map(|key| Text { source: "settings keys".to_owned(), text: key.doc.to_owned() }),
    );
    for folder in SOURCES {
        for (name, source) in source::product_files(root(), folder) {
            let literals = source::literals(source::product_code(&source));
            texts.extend(literals.into_iter().map(|literal| text::literal(&name, &literal)));
        }
    }
    texts
}

#[test]
fn every_text_for_users_keeps_to_the_rules() {
    let (rules, exceptions) = (rules(), list("exceptions.txt"));
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut used: BTreeSet<&[String]> = BTreeSet::new();
    for text in texts() {
        for sentence in text.sentences() {
            let faults = faults(&sentence, &rules);
            let excepted = exceptions.iter().find(|line| {
                line.first() == Some(&text.source)
                    && line.get(1).is_some_and(|words| sentence.text.contains(words.as_str()))
            });
            if let (Some(line), false) = (excepted, faults.is_empty()) {
                used.insert(line);
                continue;
            }
            let lines = faults.iter().map(|fault| format!("{fault}: {}", sentence.text));
            found.entry(text.source.clone()).or_default().extend(lines);
        }
    }
    let mut wrong: Vec<String> = found
        .iter()
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(source, faults)| format!("{source}:\n    {}", faults.join("\n    ")))
        .collect();
    wrong.extend(
        exceptions
            .iter()
            .filter(|line| !used.contains(line.as_slice()) || line.len() != 3)
            .map(|line| format!("exceptions.txt: not needed, or without a reason: {line:?}")),
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The README is for readers with little time.
#[test]
fn the_readme_is_short_and_begins_with_what_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let count = readme.split_whitespace().count();
    assert!(count <= 1400, "README.md has {count} words, 1400 at most");
    let body = readme.split_once('\n').unwrap().1;
    let first: Vec<&str> = body.split_whitespace().take(60).collect();
    let first = first.join(" ");
    for wanted in
        ["emulation only", "Raspberry Pi cluster portable", "for people who", "`make demo`"]
    {
        assert!(first.contains(wanted), "the first 60 words of README.md lack {wanted:?}: {first}");
    }
}

/// The rules and the parsers find what they claim to find.
#[test]
fn rules_and_readers_see_what_they_should() {
    let rules = rules();
    let count = |text: &str| -> usize {
        let text = Text { source: "a".to_owned(), text: text.to_owned() };
        text.sentences().iter().map(|sentence| faults(sentence, &rules).len()).sum()
    };
    for (text, wanted) in [
        ("The LED tells it.", 1),
        ("It is no router. There is no cable. It is no longer there.", 1),
        ("Globs, as \"usb*\", match; a name, such as \"eth0\", matches.", 1),
        ("Acknowledges it, as the button does.", 0),
        ("One; two; three.", 1),
        ("It reports `nobody tells`.", 0),
        (&"word ".repeat(25), 0),
        (&"word ".repeat(26), 1),
        (&format!("{}: {}", "word ".repeat(20).trim(), "word ".repeat(20)), 0),
    ] {
        assert_eq!(count(text), wanted, "{text}");
    }
    let page =
        "# A title\n\nOne\ntwo. Three\n\n```sh\nnobody\n```\n| a | nobody |\n\n* item `x y`\n";
    let read: Vec<String> = text::markdown(page);
    assert_eq!(read, ["A title", "One two. Three", "a", "nobody", "item CODE"]);
    let manual = ".SH NAME\nabc \\- def\n.TP\n.B x y\nThe\n.BR text (5)\nis.\n.nf\nnobody\n.fi\n";
    assert_eq!(text::roff(manual), ["NAME", "abc - def", "CODE", "The CODE is."]);
    assert!(text::help(&[]).iter().any(|text| text.source == "help of bramblegate nodes drain"));
}
