//! Names the commit in `--version` if the source is a git checkout. The program contains no time of
//! the build and no path, so that builds of the same commit are equal.

use std::path::Path;
use std::process::Command;

/// A packager whose source has no `.git` may name the commit by this variable.
const VARIABLE: &str = "BRAMBLEGATE_COMMIT";
/// Digits of the commit that are shown; as many as git shows in a large repository.
const DIGITS: &str = "--short=12";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let named = std::env::var(VARIABLE).ok().filter(|commit| is_commit(commit));
    let version = match named.or_else(commit) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo:rustc-env=BRAMBLEGATE_VERSION={version}");
}

/// Returns the commit of this folder's own repository; none of one that lies around it.
fn commit() -> Option<String> {
    let here = std::env::current_dir().ok()?.canonicalize().ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != here {
        return None;
    }
    // `logs/HEAD` gets a line with each commit and checkout, also in a worktree.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists());
    log.iter().for_each(|log| println!("cargo:rerun-if-changed={log}"));
    git(&["rev-parse", DIGITS, "HEAD"]).filter(|commit| is_commit(commit))
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Returns the first line that git prints, if it is there and ends well.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.is_empty()).then(|| text.trim().to_owned())
}
