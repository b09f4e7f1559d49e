//! `make web-test`: the page in a real Chromium, driven by WebDriver, in namespaces of its own. One
//! story has the real gateway in a real venue; the others have clusters of any size behind a status
//! socket. Screenshots of the run are in `target/web-shots`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../crates/web/tests/common/mod.rs"]
mod common;
#[path = "../common/frame.rs"]
mod frame;
mod stories;
mod webdriver;

use std::process::ExitCode;
use std::time::Duration;

use bramblegate_lab::{inside, shell};

use frame::Trial;

/// The time limit of a story.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    bramblegate_lab::serve::helper(&arguments).unwrap_or_else(|| {
        let trials = stories::ALL.iter().map(|(name, story)| {
            let mut trial = Trial::new(*name, || {
                inside::furnish()?;
                shell::ip("", "link set lo up")?;
                story()
            });
            // Measurements run alone.
            trial.places = usize::MAX;
            trial
        });
        frame::run(1, LIMIT, trials.collect())
    })
}
