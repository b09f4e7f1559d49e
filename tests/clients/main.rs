//! `make clients-test`: every state of an uplink, with the real DHCP clients of Debian 12 and 13,
//! and the resulting row 1, LED, status and `doctor`; and the gateway's table as the nft of each
//! lists it (`make test` does that with the machine's own). Each case has namespaces of its own,
//! and a root of its own over one that `scripts/client-roots.sh` made. Slow, so not part of `cargo
//! test`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod delegation;
#[path = "../common/frame.rs"]
mod frame;
mod listing;
#[path = "../common/sets.rs"]
mod sets;
mod stage;
#[path = "../common/listing.rs"]
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cases::STATES;
use frame::Trial;
use stage::{CLIENTS, Client, Stage};

/// The time limit of a case.
const LIMIT: Duration = Duration::from_secs(180);

/// They mostly wait.
const PLACES: usize = 4;

fn main() -> ExitCode {
    let states = CLIENTS.iter().flat_map(|client| {
        STATES.iter().map(move |(state, story)| {
            Trial::new(format!("{}::{state}", client.name), || play(client, *story))
        })
    });
    let listings = listing::RELEASES
        .iter()
        .map(|(release, _)| Trial::new(format!("nft::{release}"), || listing::play(release)));
    frame::run(PLACES, LIMIT, states.chain(listings).collect())
}

/// The folder of the roots.
pub fn roots() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(target.join("client-roots")).unwrap()
}

fn play(client: &'static Client, state: fn(&mut Stage)) {
    let mut stage = Stage::new(client);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| state(&mut stage)));
    if let Err(panic) = result {
        eprintln!("{}", stage.story());
        std::panic::resume_unwind(panic);
    }
}
