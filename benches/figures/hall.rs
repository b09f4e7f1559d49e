//! The time from a router's advertisement in an IPv6-only venue until an IPv4-only node gets an
//! answer from the internet: with the kernel's duplicate address detection, and without.

use std::fs;
use std::time::{Duration, Instant};

use bramblegate_lab::file::Action;
use bramblegate_lab::shell::{must, spawn, within};
use bramblegate_lab::wiring::WEB;
use bramblegate_lab::{Error, Result, Venue, World};

use crate::lab::{fail, file, median, program};
use crate::table::Row;

const ROUNDS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(15);
/// A router that advertises no prefix yet.
const HALL: &str = r#"
purpose = "A hall that speaks only IPv6"
clat = true
[[network]]
ipv6 = "2001:db8:7::/64"
nat64 = "2001:db8:64::/96"
ra = "lifetime=0 no-slaac"
"#;
const ADVERTISED: &str = "lifetime=1800 nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1";

pub fn measure() -> Result<Vec<Row>> {
    let venue = Venue::parse("hall", HALL)?;
    let mut world = World::build_furnished(&venue, &program())?;
    world.start_gateway()?;
    let mut rows = Vec::new();
    for (detection, figure, most) in
        [("1", "RA to a node online", 2.5), ("0", "the same without duplicate detection", 1.0)]
    {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            world.move_to(&venue)?;
            must(
                "head",
                &format!("echo {detection} > /proc/sys/net/ipv6/conf/eth1/dad_transmits"),
            )?;
            until("the translator is off", || must("head", "ip link show clat0").is_err())?;
            until("the port has its link-local address", has_link_local)?;
            times.push(online(&mut world)?);
        }
        eprintln!("{figure}: {times:.2?}");
        let time = median(&times);
        let target = format!("<= {most} s");
        rows.push(Row::new(figure, time, "s").target(target, time <= most));
    }
    Ok(rows)
}

/// Returns the seconds from the advertisement to the first answer.
fn online(world: &mut World) -> Result<f64> {
    let log = file("hall.ping");
    let _ = fs::remove_file(&log);
    let mut command = within("rpi1", "ping");
    let _ping = spawn(command.args(["-D", "-n", "-i", "0.02", WEB]), &log)?;
    world.act(&Action::Advertise { ra: ADVERTISED.parse()? })?;
    let mut first = None;
    until("a node is answered", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        first = text.lines().find_map(answered);
        first.is_some()
    })?;
    let first: f64 = first.ok_or_else(|| Error("no answer".into()))?;
    Ok(first - advertised()?)
}

/// Returns when the router sent its first advertisement, in seconds since 1970.
fn advertised() -> Result<f64> {
    let log = file("venue.router.log");
    let text = fs::read_to_string(&log).map_err(fail("the router's log"))?;
    let at = text.lines().find_map(|line| line.strip_prefix("advertised ")?.parse::<f64>().ok());
    at.ok_or_else(|| Error(format!("the router's log has no time: {text}")))
}

/// Returns whether the uplink is ready for a router: the kernel solicits an advertisement once the
/// link-local address has passed duplicate address detection.
fn has_link_local() -> bool {
    let listed = must("head", "ip -6 -o addr show dev eth1 scope link -tentative");
    listed.is_ok_and(|text| text.contains("fe80::"))
}

/// Parses `[1764500000.123456] 64 bytes from …` as seconds since 1970.
fn answered(line: &str) -> Option<f64> {
    let (at, what) = line.strip_prefix('[')?.split_once("] ")?;
    at.parse().ok().filter(|_| what.contains("bytes from"))
}

fn until(what: &str, mut answer: impl FnMut() -> bool) -> Result<()> {
    let begin = Instant::now();
    while !answer() {
        if begin.elapsed() > PATIENCE {
            return Err(fail(what)("not in 15 s"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
