//! `make mpi-test`: a job of a teaching cluster, with the real Open MPI and mpi4py of Debian 12 and
//! 13, over the real ssh server. Three nodes get their addresses and names from the gateway and
//! sort 500,000 numbers; also where the venue uses the cluster's subnet, whichever of the head's
//! interfaces has the lower index. Each case has namespaces of its own, and each computer in it a
//! root of its own over one that `scripts/mpi-roots.sh` made. Slow, so not part of `cargo test`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/frame.rs"]
mod frame;
mod job;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use bramblegate_lab::{Result, serve};

use frame::Trial;
use job::{Job, Sorted};
use stage::Stage;

/// The tested releases, with Open MPI 4.1 and 5.0, which start their processes differently.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// The time limit of a case.
const LIMIT: Duration = Duration::from_secs(240);

/// Each needs the processors.
const PLACES: usize = 1;

/// A home router.
const PLAIN: &str = r#"
purpose = "A home router"
nodes_by_dhcp = true
[[network]]
address = "10.99.0.1/24"
[network.dhcp]
address = "10.99.0.126"
"#;

/// A venue with the cluster's own subnet.
const OVERLAP: &str = r#"
purpose = "The venue has the cluster's own subnet"
nodes_by_dhcp = true
[[network]]
address = "192.168.50.254/24"
laptop = "192.168.50.20/24"
[network.dhcp]
address = "192.168.50.126"
"#;

type Case = fn(&'static str) -> Result<()>;

const CASES: [(&str, Case); 3] = [
    ("sort_on_one_two_three_nodes", sort),
    ("overlap_with_the_cluster_port_first", |release| overlap(release, false)),
    ("overlap_with_the_cluster_port_last", |release| overlap(release, true)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve::helper(&arguments) {
        return code;
    }
    let trials = RELEASES.iter().flat_map(|release| {
        CASES.iter().map(move |(name, case)| {
            Trial::new(format!("{release}::{name}"), move || case(release))
        })
    });
    frame::run(PLACES, LIMIT, trials.collect())
}

/// The program under test: the one just built.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_bramblegate").into()
}

/// The folder of the roots.
pub fn roots() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(target.join("mpi-roots")).unwrap()
}

/// From the head with one, two and three nodes, with the printed host file; and from a node, which
/// finds the others by the names of the gateway.
fn sort(release: &'static str) -> Result<()> {
    let stage = Stage::new(release, PLAIN, false)?;
    let hosts = stage.host_file()?;
    assert_eq!(hosts, "rpi1 slots=1\nrpi2 slots=1\nrpi3 slots=1\n");
    let names = ["rpi1", "rpi2", "rpi3"];
    let run = |from, nodes: usize| {
        let sorted = stage.run(&Job { from, hosts: &hosts, processes: nodes })?;
        assert_eq!(sorted.hosts, names[..nodes]);
        Ok(sorted)
    };
    let from_head = [1, 2, 3].map(|nodes| run("head", nodes));
    let [one, two, three] = from_head;
    let (one, two, three) = (one?, two?, three?);
    report(release, &[&one, &two, &three]);
    // Processor time, since wall-clock time depends on the load of this machine.
    assert!(two.speed_up(&one) > 1.3, "{one:?} {two:?}");
    assert!(three.speed_up(&one) > two.speed_up(&one), "{two:?} {three:?}");
    run("rpi1", 3).map(drop)
}

fn report(release: &str, runs: &[&Sorted]) {
    let processors = available_parallelism().map_or(1, usize::from);
    let [one, ..] = runs else { return };
    for run in runs {
        println!(
            "{release}: {} nodes: {:.2} s, {:.1} times as fast; {:.1} times by the time of the \
             busiest processors",
            run.hosts.len(),
            run.seconds,
            one.seconds / run.seconds,
            run.speed_up(one),
        );
    }
    println!("{release}: the nodes share {processors} processors");
}

/// Head and nodes in one job, where the uplink's address is in the cluster's subnet too: each
/// process chooses any address of another, and Open MPI prefers that of the interface with the
/// lower index.
fn overlap(release: &'static str, cluster_port_last: bool) -> Result<()> {
    let stage = Stage::new(release, OVERLAP, cluster_port_last)?;
    stage.sees_overlap()?;
    let hosts = format!("head slots=1\n{}", stage.host_file()?);
    let sorted = stage.run(&Job { from: "head", hosts: &hosts, processes: 4 })?;
    assert_eq!(sorted.hosts, ["head", "rpi1", "rpi2", "rpi3"]);
    println!("{release}: head and nodes, in an overlap: {:.2} s", sorted.seconds);
    // From a node too: the head does not take part, and forwards nothing.
    let sorted = stage.run(&Job { from: "rpi3", hosts: &stage.host_file()?, processes: 3 })?;
    assert_eq!(sorted.hosts, ["rpi3", "rpi1", "rpi2"], "it begins where it was started");
    Ok(())
}
