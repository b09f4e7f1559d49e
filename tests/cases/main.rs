//! Golden stories, each an evening at a venue. A file has purpose, board, settings and moments with
//! events; the expected change of every output at each moment is beside the events. Only pure code
//! runs here.
//!
//! `UPDATE=1 cargo test --test cases` writes the actual outputs into the files: read the difference
//! before keeping it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod file;
mod kernel;
mod outputs;
mod picture;
mod simulation;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};

use file::Case;
use simulation::Simulation;

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no stories in {}", folder.display());
    let trials = paths.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Trial::test(name, move || play(&path))
    });
    let readme = Trial::test("the_picture_in_the_readme", picture::compare);
    libtest_mimic::run(&arguments, trials.chain([readme]).collect()).exit();
}

/// Whether the actual outputs replace the expected ones.
pub fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Runs one story and compares, or rewrites the file.
fn play(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let case = Case::read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut sim = Simulation::begin(&case)?;
    let mut seen = Vec::new();
    for moment in &case.moments {
        let reported = sim
            .play(moment)
            .map_err(|error| format!("{}: at {}: {error}", path.display(), moment.at))?;
        seen.push(reported);
    }
    if updating() {
        let updated = case.with_expectations(&seen);
        if updated != text {
            fs::write(path, updated)?;
        }
        return Ok(());
    }
    let mut wrong = String::new();
    for (moment, seen) in case.moments.iter().zip(&seen) {
        let shown = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display();
        match &moment.expect {
            Some(expected) if expected.trim_end() == seen.trim_end() => {}
            Some(expected) => {
                wrong += &format!(
                    "{shown}: at {} ({}):\n{}\n",
                    moment.at,
                    moment.say,
                    difference(expected, seen)
                );
            }
            None => {
                wrong += &format!(
                    "{shown}: at {}: nothing is expected yet; add\nexpect = '''\n{seen}'''\n",
                    moment.at
                );
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{wrong}UPDATE=1 writes what was seen into the file").into())
    }
}

/// Returns the differing lines, marked: `-` expected, `+` actual.
pub fn difference(expected: &str, seen: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (expected.trim_end().lines().collect(), seen.trim_end().lines().collect());
    // The table of longest common subsequences: the texts have a few hundred lines.
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j < b.len() && (i == a.len() || common[i][j + 1] > common[i + 1][j]) {
            lines.push(format!("+ {}", b[j]));
            j += 1;
        } else {
            lines.push(format!("- {}", a[i]));
            i += 1;
        }
    }
    lines.join("\n")
}
