//! Tests on the real kernel, each in namespaces of its own. A file per area, with `pub fn tests()
//! -> Vec<Trial>`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod conflict;
mod conntrack;
mod dhcp;
mod disturbance;
mod doctor;
mod firewall;
#[path = "../common/frame.rs"]
mod frame;
mod healthz;
mod hooks;
mod lab;
mod links;
#[path = "../common/listing.rs"]
mod listing;
mod maps;
mod netlink;
mod packets;
mod probe;
mod resolvers;
mod roles;
mod routing;
mod ruleset;
#[path = "../common/sets.rs"]
mod sets;
mod venue;

use std::process::ExitCode;
use std::time::Duration;

use frame::Trial;

fn tests() -> Vec<Trial> {
    let mut all = Vec::new();
    // The longest ones start first.
    all.extend(conflict::tests());
    all.extend(dhcp::tests());
    all.extend(doctor::tests());
    all.extend(conntrack::tests());
    all.extend(disturbance::tests());
    all.extend(firewall::tests());
    all.extend(healthz::tests());
    all.extend(hooks::tests());
    all.extend(links::tests());
    all.extend(maps::tests());
    all.extend(netlink::tests());
    all.extend(packets::tests());
    all.extend(probe::tests());
    all.extend(resolvers::tests());
    all.extend(roles::tests());
    all.extend(routing::tests());
    all.extend(ruleset::tests());
    all.extend(venue::tests());
    all
}

/// The time limit of a test.
const LIMIT: Duration = Duration::from_secs(90);

/// They mostly wait for the kernel and for servers.
const PLACES: usize = 8;

fn main() -> ExitCode {
    if let Some(name) = lab::helper_name() {
        firewall::help(&name);
        return ExitCode::SUCCESS;
    }
    frame::run(PLACES, LIMIT, tests())
}
