//! Tests on the real kernel. The binary starts itself again in network, mount and process namespaces of its own (as
//! root, or in a user namespace), so that nothing it does touches the machine. Every test gets one more network
//! namespace for itself: tests run side by side.
//!
//! A file for each area, with `pub fn tests() -> Vec<Trial>`; a test that cannot run fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod firewall;
mod lab;
mod links;
mod netlink;
mod probe;
mod routing;

use libtest_mimic::{Arguments, Trial};

fn tests() -> Vec<Trial> {
    let mut all = Vec::new();
    all.extend(firewall::tests());
    all.extend(links::tests());
    all.extend(netlink::tests());
    all.extend(probe::tests());
    all.extend(routing::tests());
    all
}

fn main() {
    lab::enter();
    libtest_mimic::run(&Arguments::from_args(), tests()).exit();
}
