//! The machine boots: nodes that were powered on with it are expected for their usual boot time. A
//! time namespace makes the gateway see a recent boot (time_namespaces(7)).

use std::fs;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, STOP, alert, before_start, ensure, is, leased, until};

/// The uptime that the gateway sees when it starts.
const UP: Duration = Duration::from_secs(3);

/// Starts the gateway on a machine that has just booted.
fn power_on(world: &mut World) -> Result<()> {
    let text = fs::read_to_string("/proc/uptime").map_err(|error| Error(error.to_string()))?;
    let uptime = text.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
    let uptime = uptime.ok_or_else(|| Error(format!("no uptime in {text}")))?;
    let offset = format!("--boottime=-{}", uptime.saturating_sub(UP.as_secs()));
    // It ends with its parent, which forwards no other signal.
    let wrapper = ["unshare", "--time", &offset, "--fork", "--kill-child"];
    world.start_gateway_by(&wrapper, &[])
}

/// Cuts the power; the disk is as last saved. Returns the usual boot times.
fn power_cut(world: &mut World) -> Result<Vec<(String, u64)>> {
    world.stop_gateway("KILL", STOP)?;
    // The killed process is the parent of the gateway.
    until("it is gone", || world.status().is_err())?;
    let file = format!("{HOME}/state/usual-times");
    let kept = fs::read_to_string(&file).map_err(|error| Error(format!("{file}: {error}")))?;
    println!("{kept}");
    let mut times = Vec::new();
    // One line has the ID of the boot alone.
    for line in kept.lines().filter(|line| line.contains(' ')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, seconds, name] = words.as_slice() else {
            return Err(Error(format!("kept: {line}")));
        };
        times.push(((*name).to_owned(), seconds.parse().unwrap_or(0)));
    }
    // The id of another boot.
    let other = kept.lines().filter_map(|line| line.split_once(' '));
    let other: String = other.map(|(_, rest)| format!("other {rest}\n")).collect();
    fs::write(&file, other).map_err(|error| Error(error.to_string()))?;
    Ok(times)
}

/// Two nodes answer at once, the third takes five seconds; the next time the second does not come,
/// and is reported long before the end of `health.boot_grace`, while the third is still expected.
pub fn node_that_is_not_back_in_its_usual_time_is_named() -> Result<()> {
    let settings = "[health]\nboot_grace = \"10m\"\n";
    before_start(&format!("settings = '''\n{settings}'''\n{PLAIN}"), |world| {
        leased()?;
        must("rpi3", "ip link set eth0 down")?;
        power_on(world)?;
        until("two answer", || is(world, "cluster.up", "2"))?;
        std::thread::sleep(Duration::from_secs(5));
        must("rpi3", "ip link set eth0 up")?;
        until("the third answers", || is(world, "cluster.up", "3"))?;
        std::thread::sleep(Duration::from_secs(1));
        let times = power_cut(world)?;
        let time =
            |name: &str| times.iter().find(|(known, _)| known == name).map(|(_, time)| *time);
        ensure("all are known", times.len() == 3)?;
        ensure("the slow one takes longer", time("rpi3") >= time("rpi1").map(|time| time + 5))?;

        must("rpi2", "ip link set eth0 down")?;
        let started = Instant::now();
        power_on(world)?;
        until("two answer", || is(world, "cluster.up", "2"))?;
        while alert(world, "node-down").is_none() {
            let waited = started.elapsed();
            ensure("it is named in time", waited < Duration::from_secs(30))?;
            std::thread::sleep(Duration::from_millis(100));
        }
        let named = started.elapsed();
        println!("named after {named:?}");
        // Three seconds to its usual answer, of which this run began at the third, and 15 more.
        ensure("and not before", named > Duration::from_secs(13))?;
        ensure("by its name", alert(world, "node-down").is_some_and(|text| text.contains("rpi2")))
    })
}
