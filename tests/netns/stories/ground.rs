//! The world itself, before any gateway: if these fail, nothing else is meaningful.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bramblegate_lab::file::Check;
use bramblegate_lab::inside::{self, HOME};
use bramblegate_lab::play::attempt;
use bramblegate_lab::shell::{must, spawn};
use bramblegate_lab::{Error, Result, Venue, World};

use super::scene::{PLAIN, ensure, until};

pub fn world_stands_without_a_gateway() -> Result<()> {
    let start = Instant::now();
    let world = World::build(&Venue::parse("plain", PLAIN)?, &crate::program())?;
    println!("built in {:?}", start.elapsed());
    until("the head has a lease", || world.head_address().as_deref() == Some("10.99.0.126"))?;
    println!("lease after {:?}", start.elapsed());
    let try_it = |place: &str, check: &str| {
        let check: Check = check.parse().map_err(|error| Error(format!("{error}")))?;
        let result = attempt(&world, place, &check);
        println!("{:?} {place} {check}: {result:?}", start.elapsed());
        result
    };
    for (place, check) in [
        ("laptop", "tcp HEAD:22"),
        ("laptop", "ping HEAD"),
        ("laptop", "arp HEAD"),
        ("laptop", "name www.example"),
        ("head", "http http://connectivity.example/generate_204 204"),
        ("head", "http http://www.example/big"),
        ("rpi1", "ping 192.168.50.12"),
    ] {
        try_it(place, check).map_err(|error| Error(format!("{place}: {check}: {error}")))?;
    }
    // The cluster interface has no address yet, and nothing forwards: nodes must reach nothing, or
    // the tests would prove nothing.
    ensure("no node reaches the internet", try_it("rpi1", "ping 203.0.113.80").is_err())?;
    ensure(
        "the machine's resolver file is not ours",
        must("head", "cat /etc/resolv.conf")?.contains("10.99.0.1"),
    )
}

pub fn lease_changes_reach_the_head() -> Result<()> {
    let mut world = World::build(&Venue::parse("plain", PLAIN)?, &crate::program())?;
    until("the head has a lease", || world.head_address().as_deref() == Some("10.99.0.126"))?;
    world
        .change_dhcp("eth1", |dhcp| dhcp.address = "10.99.0.140".parse().unwrap_or(dhcp.address))?;
    world.renew("eth1")?;
    let took = until("refused, then another lease", || {
        world.head_address().as_deref() == Some("10.99.0.140")
    })?;
    println!("another lease after {took:?}");
    let (router, lease) = ("10.77.0.1/24", "10.77.0.9");
    let parse = |_| Error("address".into());
    world.change_subnet(
        "eth1",
        router.parse().map_err(|_| Error("net".into()))?,
        lease.parse().map_err(parse)?,
    )?;
    world.renew("eth1")?;
    until("another subnet", || world.head_address().as_deref() == Some(lease))?;
    world.pull_cable("eth1")?;
    until("no carrier", || {
        must("head", "ip -br link show eth1").is_ok_and(|text| text.contains("NO-CARRIER"))
    })?;
    world.plug_cable("eth1")?;
    until("a lease again", || world.head_address().as_deref() == Some(lease))?;
    let second = PLAIN.replace("10.99.0.", "172.20.5.");
    let index = must("head", "cat /sys/class/net/eth1/ifindex")?;
    world.move_to(&Venue::parse("second", &second)?)?;
    until("the other venue's lease", || world.head_address().as_deref() == Some("172.20.5.126"))?;
    ensure("the port is the same one", must("head", "cat /sys/class/net/eth1/ifindex")? == index)
}

/// Everything that a test started ends with the test program, however that ends.
pub fn interrupted_run_leaves_no_process() -> Result<()> {
    inside::furnish()?;
    let program = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--exact", "ground::world_stands_without_a_gateway"]);
    let mut run = spawn(&mut command, Path::new(&format!("{HOME}/run.log")))?;
    until("its world stands", || others().iter().any(|line| line.contains("dnsmasq")))?;
    run.kill();
    until("nothing is left", || others().is_empty()).map(drop)
}

/// Returns the command lines of all processes except this one, the first of its PID namespace;
/// ended processes have none.
fn others() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let lines = ids
        .filter(|id| *id != std::process::id())
        .filter_map(|id| fs::read_to_string(format!("/proc/{id}/cmdline")).ok());
    lines.filter(|line| !line.is_empty()).collect()
}
