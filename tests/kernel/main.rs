//! Tests on the real kernel. The binary starts itself again in network, mount and process
//! namespaces of its own (as root, or in a user namespace), so that nothing it does touches the
//! machine. Every test gets one more network namespace for itself: tests run side by side.
//!
//! A file for each area, with `pub fn tests() -> Vec<Trial>`; a test that cannot run fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod conflict;
mod conntrack;
mod dhcp;
mod disturbance;
mod doctor;
mod firewall;
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

use libtest_mimic::{Arguments, Trial};

fn tests() -> Vec<Trial> {
    let mut all = Vec::new();
    all.extend(conflict::tests());
    all.extend(conntrack::tests());
    all.extend(dhcp::tests());
    all.extend(disturbance::tests());
    all.extend(doctor::tests());
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

fn main() {
    if let Some(name) = lab::helper_name() {
        return firewall::help(&name);
    }
    lab::enter();
    let mut arguments = Arguments::from_args();
    // They wait for the kernel and for servers most of their time.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    libtest_mimic::run(&arguments, tests()).exit();
}
