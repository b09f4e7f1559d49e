//! `make clients-test`: every state that an uplink can be in, with the real DHCP clients of Debian
//! 12 and 13, and what row 1, the LED, the status and `doctor` say; and our table as the nft of
//! each lists it (`make test` does that with the machine's own). Each case has namespaces of its
//! own, and a root of its own over one that `scripts/client-roots.sh` made. Slow, so no part of
//! `cargo test`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod listing;
#[path = "../common/sets.rs"]
mod sets;
mod stage;
#[path = "../common/listing.rs"]
mod text;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

use cases::STATES;
use stage::{CLIENTS, Client, Stage};

/// Set in the process that plays one case inside namespaces of its own.
const CASE: &str = "BRAMBLEGATE_CLIENTS_CASE";

/// Stands for a client where the case is a release's nft.
const LISTING: &str = "nft";

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        return play(&case);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let cases = CLIENTS.iter().flat_map(|client| {
        STATES.iter().map(move |(state, _)| format!("{}::{state}", client.name))
    });
    let listings = listing::RELEASES.iter().map(|(release, _)| format!("{LISTING}::{release}"));
    let trials =
        cases.chain(listings).map(|case| Trial::test(case.clone(), move || outer(&case))).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Where the roots are.
pub fn roots() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(target.join("client-roots")).unwrap()
}

/// Plays one case in a process that is the first of namespaces of its own: all that it started ends
/// with it.
fn outer(case: &str) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let mut command = Command::new("timeout");
    command
        .args([
            "180",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(program);
    let output = command.env(CASE, case).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() {
        println!("{case}: {}", text.lines().last().unwrap_or_default());
        return Ok(());
    }
    Err(text.into())
}

fn play(case: &str) -> ExitCode {
    if let Some((LISTING, release)) = case.split_once("::") {
        listing::play(release);
        return ExitCode::SUCCESS;
    }
    let (client, state) = case.split_once("::").expect("CLIENT::STATE");
    let client: &Client = CLIENTS.iter().find(|known| known.name == client).expect("a client");
    let (_, story) = STATES.iter().find(|(known, _)| *known == state).expect("a state");
    let mut stage = Stage::new(client);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story(&mut stage)));
    if result.is_err() {
        eprintln!("{}", stage.story());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
