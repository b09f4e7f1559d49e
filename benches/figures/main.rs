//! `make bench`: figures, compared with alternatives that are measured in the same run, in turns.
//!
//! Everything runs in private namespaces. Each figure has a file; `BENCH=bus,rules` selects some.
//! All results are medians. A figure that cannot be measured here is listed with the reason.

#![allow(clippy::indexing_slicing)]

mod address;
mod agentx;
mod bus;
mod clat;
#[path = "../../crates/web/tests/common/mod.rs"]
mod common;
mod decide;
#[path = "../../tests/common/dhcp.rs"]
mod dhcp;
#[path = "../../tests/common/flood.rs"]
mod flood;
mod floods;
mod forward;
mod glass;
mod hall;
mod idle;
mod lab;
mod lease;
mod metrics;
mod netlink_burst;
mod oled;
mod repair;
mod rules;
mod snmp;
mod start;
mod sweep;
mod table;
mod traffic;
mod web;
mod web_flood;

use std::process::ExitCode;
use std::time::Instant;

use bramblegate_lab::{Result, inside, serve};
use table::{Row, Table};

/// A figure: its name, and its function.
type Figure = (&'static str, fn() -> Result<Vec<Row>>);

/// All figures, the quick ones first.
const FIGURES: [Figure; 19] = [
    ("bus", bus::measure),
    ("decide", decide::measure),
    ("rules", rules::measure),
    ("start", start::measure),
    ("repair", repair::measure),
    ("address", address::measure),
    ("lease", lease::measure),
    ("forward", forward::measure),
    ("hall", hall::measure),
    ("clat", clat::measure),
    ("nat66", forward::nat66),
    ("snmp", snmp::measure),
    ("metrics", metrics::measure),
    ("sweep", sweep::measure),
    ("web", web::measure),
    ("web-flood", web_flood::measure),
    ("floods", floods::measure),
    ("netlink-burst", netlink_burst::measure),
    ("idle", idle::measure),
];

fn main() -> ExitCode {
    // This program also runs the servers of a venue.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve::helper(&arguments) {
        return code;
    }
    if !inside::is_inside() {
        eprintln!("{}", inside::enter(&["inside"]));
        return ExitCode::FAILURE;
    }
    if let Err(error) = lab::furnish() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let wanted = std::env::var("BENCH").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) =
        wanted.iter().find(|name| !FIGURES.iter().any(|(known, _)| known == *name))
    {
        let known: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        eprintln!("There is no figure {unknown}; BENCH takes some of: {}", known.join(" "));
        return ExitCode::from(64);
    }
    let mut table = Table::default();
    for (name, measure) in
        FIGURES.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
    {
        let begin = Instant::now();
        eprint!("{name} … ");
        match measure() {
            Ok(rows) => table.add(rows),
            Err(error) => table.fail(name, &error),
        }
        eprintln!("{:.0} s", begin.elapsed().as_secs_f64());
    }
    println!("{table}");
    if table.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
