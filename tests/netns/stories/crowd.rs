//! A room is switched on: all its boards request addresses at once, with real clients.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bramblegate::api::status::{Node, NodeHealth};
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, exec, ip, must, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, alert, ensure};
use super::service::serving;

/// The number of boards; the environment may set more. Three hundred keep two cores busy for some
/// seconds, which would disturb concurrent stories that measure time.
const CROWD: usize = 100;
const CROWD_VARIABLE: &str = "BRAMBLEGATE_CROWD";

fn crowd() -> usize {
    std::env::var(CROWD_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(CROWD)
}

/// One subnet for the world's three nodes and all boards.
const ROOM: &str = "[cluster]\naddress = \"192.168.50.1/22\"\n[cluster.dhcp]\n\
                    range = \"192.168.48.10-192.168.49.250\"\n";
/// One `ip` for each lease: the clients have to be many, not clever.
const SCRIPT: &str = "#!/bin/sh
case $1 in
bound) ip addr add $ip/$mask dev $interface; echo $interface $ip >>HOME/crowd.log ;;
renew) echo $interface $ip >>HOME/renewed.log ;;
esac
";

/// Boards with hardware addresses of their own, on one cable to the switch.
fn build() -> Result<()> {
    ip("", "netns add crowd\nlink add eth0 netns crowd type veth peer name crowd netns switch")?;
    ip("switch", "link set crowd master sw0 up")?;
    // Each answers only for itself, though they share a kernel.
    must(
        "crowd",
        "cd /proc/sys/net/ipv4/conf/all && echo 1 >arp_ignore && echo 2 >arp_announce && echo 0 \
         >rp_filter",
    )?;
    must(
        "crowd",
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > \
         /proc/sys/net/ipv6/conf/default/disable_ipv6",
    )?;
    let boards = (1..=crowd()).map(|n| {
        // In a random-looking order, the same each time.
        let [a, b, c, _] = (n as u32).wrapping_mul(0x9e37_79b1).to_be_bytes();
        let mac = format!("06:00:00:{a:02x}:{b:02x}:{c:02x}");
        format!(
            "link add pi{n} link eth0 address {mac} type macvlan mode bridge\nlink set pi{n} up\n"
        )
    });
    ip("crowd", &format!("link set eth0 up\n{}", boards.collect::<String>()))
}

fn switch_on() -> Result<Running> {
    let script = format!("{HOME}/crowd.sh");
    fs::write(&script, SCRIPT.replace("HOME", HOME)).map_err(|error| Error(error.to_string()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .map_err(|error| Error(error.to_string()))?;
    let crowd = crowd();
    let all = format!(
        "mkdir -p {HOME}/clients; for n in $(seq {crowd}); do busybox udhcpc -f -p \
         {HOME}/clients/$n -i pi$n -t 9 -T 2 -A 1 -s {script} -x hostname:pi$n >/dev/null 2>&1 & \
         done; wait"
    );
    spawn(within("crowd", "sh").args(["-c", &all]), &PathBuf::from(format!("{HOME}/clients.log")))
}

/// Returns board and address of each line that the clients wrote.
fn leases(file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("{HOME}/{file}")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(board, ip)| (board.to_owned(), ip.to_owned()))
        .collect()
}

fn wait(what: &str, patience: u64, mut count: impl FnMut() -> usize) -> Result<()> {
    let start = Instant::now();
    while count() < crowd() {
        if start.elapsed() > Duration::from_secs(patience) {
            return Err(Error(format!("{what}: {} of {} after {patience} s", count(), crowd())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{what}: all after {:?}", start.elapsed());
    Ok(())
}

/// Returns the nodes of the status that are up at their leased address.
fn listed(world: &World, leases: &BTreeMap<String, String>) -> usize {
    let Ok(status) = world.status() else { return 0 };
    let right = |node: &&Node| {
        leases.get(&*node.name) == node.address.map(|address| address.to_string()).as_ref()
    };
    status.nodes.iter().filter(right).filter(|node| node.health == NodeHealth::Up).count()
}

/// Returns KiB of the daemon itself, and seconds of its processor time.
fn costs(world: &mut World) -> Result<(u64, f64)> {
    let id = world.gateway().ok_or_else(|| Error("no gateway".into()))?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    let time = fs::read_to_string(format!("/proc/{id}/schedstat")).unwrap_or_default();
    let time: Option<f64> = time.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    memory
        .zip(time)
        .map(|(memory, nanos)| (memory, nanos / 1e9))
        .ok_or_else(|| Error("the gateway has ended".into()))
}

pub fn all_ask_for_addresses_at_once() -> Result<()> {
    serving(PLAIN, ROOM, |world| {
        build()?;
        let before = costs(world)?;
        let _clients = switch_on()?;
        wait("leases", 30, || leases("crowd.log").len())?;
        let given = leases("crowd.log");
        let mut addresses: Vec<&String> = given.values().collect();
        addresses.sort_unstable();
        addresses.dedup();
        ensure("no two have one address", addresses.len() == crowd())?;
        wait("listed and up", 20, || listed(world, &given))?;
        let twice = alert(world, "node-duplicate-*");
        ensure(&format!("no node is taken for another: {twice:?}"), twice.is_none())?;
        let after = costs(world)?;
        println!(
            "{} KiB before, {} KiB with all; {:.2} s of processor time",
            before.0,
            after.0,
            after.1 - before.1
        );
        for board in [1, crowd() / 2, crowd()] {
            let board = &format!("pi{board}");
            let address = given.get(board).cloned().unwrap_or_default();
            let ask = |what: &str| {
                exec("rpi1", &format!("busybox nslookup {what} 192.168.50.1")).map(|(_, text)| text)
            };
            let (there, back) = (ask(&format!("{board}.bramble"))?, ask(&address)?);
            let known =
                there.contains(&address) && back.contains(&format!("name = {board}.bramble"));
            ensure(&format!("{board} is at {address}: {there}{back}"), known)?;
        }
        must("crowd", &format!("kill -USR1 $(cat {HOME}/clients/*)"))?;
        wait("renewals", 20, || leases("renewed.log").len())?;
        ensure("each keeps its address", leases("renewed.log") == given)?;
        wait("still up", 10, || listed(world, &given))?;
        let renewed = costs(world)?;
        println!(
            "{} KiB after all have renewed; {:.2} s of processor time",
            renewed.0,
            renewed.1 - after.1
        );
        // The first lease also loads pages of the program that were not needed before.
        let most = before.0 + 512 + 10 * crowd() as u64;
        ensure("no more than 10 KiB a node", after.0 < most)?;
        ensure("and flat from then on", renewed.0 <= after.0 + 256)
    })
}
