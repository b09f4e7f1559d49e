//! The cost of a flood on the cluster interface: the gateway's processor time and memory, at a
//! thousand frames a second. Takes turns with another build if `BRAMBLEGATE_BASE` names it.
//! dnsmasq's time is listed separately.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bramblegate_lab::Result;
use bramblegate_lab::shell::Running;

use crate::flood::Flood;
use crate::lab::{Head, fail, median, program, pss, used};
use crate::table::Row;

/// The variable that names the build to compare with.
const BASE: &str = "BRAMBLEGATE_BASE";
const RATE: u32 = 1000;
const ROUNDS: usize = 3;
/// The one-time work of a flood (listing nodes, learning names) is over after this time.
const BEGIN: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(10);
/// The check for other DHCP servers is over after this time.
const SERVES: Duration = Duration::from_secs(7);
const SETTINGS: &str = "[cluster.dhcp]\nenabled = true\n[lcd]\nbus = \"emulator\"\n[led]\ndevice = \"emulator\"\n\
                        [[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\n";

/// The result of one flood with one build.
struct Cost {
    /// Percent of a core.
    cpu: f64,
    dnsmasq: f64,
    /// The growth in percent, since the one-time work.
    growth: f64,
}

pub fn measure() -> Result<Vec<Row>> {
    let base = std::env::var_os(BASE).map(PathBuf::from);
    let mut rows = Vec::new();
    for flood in Flood::ALL {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(cost(&program(), flood)?);
            if let Some(base) = &base {
                theirs.push(cost(base, flood)?);
            }
        }
        rows.extend(row(flood, &ours, &theirs));
    }
    Ok(rows)
}

fn row(flood: Flood, ours: &[Cost], theirs: &[Cost]) -> Vec<Row> {
    let middle =
        |costs: &[Cost], of: fn(&Cost) -> f64| median(&costs.iter().map(of).collect::<Vec<_>>());
    let (name, cpu, growth) =
        (flood.name(), middle(ours, |cost| cost.cpu), middle(ours, |cost| cost.growth));
    let least = match flood {
        Flood::Names => Some(10.0),
        Flood::Arp => Some(5.0),
        Flood::Discover | Flood::Journal => None,
    };
    let mut row = Row::new(format!("flood of {name}, 1,000 a second, CPU"), cpu, "% of a core");
    row = match (theirs.is_empty(), least) {
        (true, _) => row.target("<= 5 %", cpu <= 5.0),
        (false, least) => {
            let before = middle(theirs, |cost| cost.cpu);
            let row = row.against("the other build", before);
            match least {
                Some(least) => row.target(format!("<= 1/{least:.0}"), cpu * least <= before),
                None => row.target("<= 5 %", cpu <= 5.0),
            }
        }
    };
    let mut memory = Row::new(format!("flood of {name}, growth of memory (PSS)"), growth, "%");
    if !theirs.is_empty() {
        memory = memory.against("the other build", middle(theirs, |cost| cost.growth));
    }
    let dnsmasq = Row::new(
        format!("flood of {name}, dnsmasq's own CPU"),
        middle(ours, |cost| cost.dnsmasq),
        "% of a core",
    );
    vec![row, memory.target("<= 5 %", growth <= 5.0), dnsmasq]
}

/// Measures in a network of its own, without traces of another flood.
fn cost(program: &Path, flood: Flood) -> Result<Cost> {
    let head = Head::new("flood")?;
    let gateway = head.start_program(program, SETTINGS, &[])?;
    std::thread::sleep(SERVES);
    let sender = head
        .nodes
        .thread(move || flood.send("n0", RATE, BEGIN + WATCHED + Duration::from_secs(1), 0))?;
    std::thread::sleep(BEGIN);
    let dnsmasq = child(&gateway);
    let time =
        |pid: Option<u32>| pid.map_or(Ok(Duration::ZERO), |pid| used(pid).map(|used| used.cpu));
    let (before, served, memory) = (used(gateway.id())?.cpu, time(dnsmasq)?, pss(gateway.id())?);
    std::thread::sleep(WATCHED);
    let (after, serves, more) = (used(gateway.id())?.cpu, time(dnsmasq)?, pss(gateway.id())?);
    sender
        .join()
        .ok()
        .and_then(std::io::Result::ok)
        .ok_or("nothing was sent")
        .map_err(fail("flood"))?;
    let percent = |time: Duration| time.as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    Ok(Cost {
        cpu: percent(after.saturating_sub(before)),
        dnsmasq: percent(serves.saturating_sub(served)),
        growth: (more / memory - 1.0) * 100.0,
    })
}

/// Returns the process that the gateway has started.
fn child(gateway: &Running) -> Option<u32> {
    let id = gateway.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
