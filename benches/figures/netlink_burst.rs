//! The cost of a burst of 10,000 changes of the kernel's network: the gateway's processor time
//! until it is idle again. Takes turns with another build if `BRAMBLEGATE_BASE` names it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramblegate_lab::Result;
use bramblegate_lab::shell::feed;

use crate::lab::{Head, median, ms, program, used};
use crate::table::Row;

/// The variable that names the build to compare with.
const BASE: &str = "BRAMBLEGATE_BASE";
const ROUNDS: usize = 5;
/// The number of changes of each kind.
const EACH: usize = 2500;
/// The pauses until slower sources have started, and until the effects of the burst are over.
const BEGIN: Duration = Duration::from_secs(4);
const REST: Duration = Duration::from_secs(2);
const SETTINGS: &str = "[lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n";

pub fn measure() -> Result<Vec<Row>> {
    let base = std::env::var_os(BASE).map(PathBuf::from);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(cost(&program())?);
        if let Some(base) = &base {
            theirs.push(cost(base)?);
        }
    }
    let ours = median(&ours);
    let row = Row::new("a burst of 10,000 changes by netlink, CPU", ours, "ms");
    if theirs.is_empty() {
        return Ok(vec![row]);
    }
    let before = median(&theirs);
    Ok(vec![row.against("the other build", before).target("<= 0.5x", ours <= 0.5 * before)])
}

/// Returns the milliseconds that one burst takes one build, in a network of its own.
fn cost(program: &Path) -> Result<f64> {
    let head = Head::new("burst")?;
    head.namespace
        .ip("link add x0 type veth peer name x1\nlink set x0 up\nlink set x1 up\naddr add 10.7.0.1/16 dev x0")?;
    let gateway = head.start_program(program, SETTINGS, &[])?;
    std::thread::sleep(BEGIN);
    let before = used(gateway.id())?.cpu;
    feed("ip", &["-n", &head.namespace.0, "-batch", "-"], &burst())?;
    std::thread::sleep(REST);
    Ok(ms(used(gateway.id())?.cpu.saturating_sub(before)))
}

/// In turn: addresses added and removed on an interface without a role (in a network that it is in,
/// so that no rule changes), neighbours of the venue, those of the cluster as they are confirmed
/// and become stale, and link settings.
fn burst() -> String {
    let mut lines = String::new();
    for step in 0..EACH {
        let (pair, even) = (step / 2, step % 2 == 0);
        let (high, low) = (pair / 250 + 1, pair % 250 + 1);
        let _ = writeln!(
            lines,
            "addr {} 10.7.{high}.{low}/16 dev x0",
            if even { "add" } else { "del" }
        );
        let venue = format!(
            "10.99.0.{} lladdr 02:00:00:00:{:02x}:{:02x} dev eth1",
            2 + step % 100,
            step / 256,
            step % 256
        );
        let _ = writeln!(lines, "neigh replace {venue} nud stale");
        let state = if even { "reachable" } else { "stale" };
        let node = 11 + pair % 3;
        let _ = writeln!(
            lines,
            "neigh replace 192.168.50.{node} lladdr 02:00:00:00:00:{node} dev eth0 nud {state}"
        );
        let _ = writeln!(lines, "link set x1 mtu {}", 1400 + step % 100);
    }
    lines
}
