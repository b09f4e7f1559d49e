//! `make web-test`: the page in a real Chromium, driven by WebDriver, in namespaces of its own. One
//! story has the real gateway in a real venue; the others have clusters of any size behind a status
//! socket. Pictures of the run are in `target/web-shots`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../crates/web/tests/common/mod.rs"]
mod common;
mod stories;
mod webdriver;

use std::process::ExitCode;

use bramblegate_lab::{inside, shell};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = bramblegate_lab::serve::helper(&arguments) {
        return code;
    }
    if !inside::is_inside() {
        eprintln!("{}", inside::enter(&arguments));
        return ExitCode::FAILURE;
    }
    if let Err(error) = inside::furnish().and_then(|()| shell::ip("", "link set lo up")) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let mut arguments = Arguments::from_args();
    // One at a time: what is measured is measured alone.
    arguments.test_threads = Some(1);
    let trials = stories::ALL.iter().map(|(name, story)| {
        Trial::test(*name, || story().map_err(|error| error.to_string().into()))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
