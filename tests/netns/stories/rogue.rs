//! No DHCP server beside another one: cables in the wrong interfaces.

use std::path::PathBuf;
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, exec, must, spawn, within};
use bramblegate_lab::{Error, Result};

use super::scene::{PLAIN, alert, before_start, ensure, is, until, wait_online};

const SERVING: &str = "[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.199\"\n";

/// A DHCP server in a node's place.
fn rogue() -> Result<Running> {
    let (log, leases) = (
        PathBuf::from(format!("{HOME}/rogue.log")),
        format!("--dhcp-leasefile={HOME}/rogue.leases"),
    );
    let mut command = within("rpi3", "dnsmasq");
    command.args(["-d", "-C", "/dev/null", "--port=0", "--interface=eth0", "--no-ping", &leases]);
    let running = spawn(command.arg("--dhcp-range=192.168.50.200,192.168.50.209,2m"), &log)?;
    until("the other server", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("DHCP, IP range"))
    })?;
    Ok(running)
}

fn doctor() -> Result<(i32, String)> {
    exec("head", &format!("{} doctor -c {HOME}/bramblegate.toml 2>&1", crate::program().display()))
}

pub fn another_server_on_the_cluster_port_is_a_fault() -> Result<()> {
    before_start(PLAIN, |world| {
        world.set_settings(SERVING);
        let server = rogue()?;
        world.start_gateway()?;
        let took = until("the alert", || alert(world, "gateway-foreign-dhcp").is_some())?;
        ensure(&format!("found at once, not after {took:?}"), took < Duration::from_secs(3))?;
        wait_online(world)?;
        ensure("the status says so", is(world, "cluster.dhcp", "refused-foreign-server"))?;
        ensure(
            "it is a fault",
            is(world, "severity", "fault") && is(world, "panel.led.pattern", "fast-blink"),
        )?;
        until("row 1 stays, row 2 asks", || {
            let rows = world.glass().join("|");
            rows.starts_with("10.99.0.126 ") && rows.contains("|PORTS SWAPPED?")
        })?;
        let text = alert(world, "gateway-foreign-dhcp").unwrap_or_default();
        ensure(&format!("it is named: {text}"), text.contains("192.168.50.13"))?;
        let (code, report) = doctor()?;
        let named =
            report.contains("gateway-foreign-dhcp") && !report.contains("gateway-ports-swapped");
        ensure(
            &format!("doctor asks, for it is not certain ({code}):\n{report}"),
            named && code != 0,
        )?;

        // The cable is unplugged: the result is unknown. Plugged in again, the check repeats, and
        // no server answers any more.
        must("switch", "ip link set head down")?;
        until("over", || alert(world, "gateway-foreign-dhcp").is_none())?;
        ensure("not refused", !is(world, "cluster.dhcp", "refused-*"))?;
        must("switch", "ip link set head up")?;
        until("the same again", || alert(world, "gateway-foreign-dhcp").is_some())?;
        must("switch", "ip link set head down")?;
        until("over again", || alert(world, "gateway-foreign-dhcp").is_none())?;
        drop(server);
        must("switch", "ip link set head up")?;
        std::thread::sleep(Duration::from_secs(5));
        ensure("no server is there now", alert(world, "gateway-foreign-dhcp").is_none())?;
        let journal = world.journal();
        let logged = |what: &str| journal.matches(what).count();
        ensure(
            &format!("a record for each change:\n{journal}"),
            (
                logged("another DHCP server answers"),
                logged("no longer answers on the cluster interface"),
            ) == (2, 2),
        )
    })
}

/// The venue's cable is in the cluster interface, and the switch with the nodes in the uplink.
pub fn swapped_cables_are_certain_when_a_node_is_met_at_the_uplink() -> Result<()> {
    before_start(PLAIN, |world| {
        world.set_settings(&format!(
            "{SERVING}[[node]]\nname = \"rpi1\"\nmac = \"02:aa:00:00:00:01\"\n"
        ));
        // A node behind the venue's switch, in the place of its router.
        must("laptop", "ip link set eth0 address 02:aa:00:00:00:01")?;
        world.start_gateway()?;
        until("online, but for the node that is elsewhere", || {
            is(world, "uplink.state", "online") && is(world, "cluster.up", "2")
        })?;
        must("head", "ping -c 1 -W 2 10.99.0.20")?;
        let (code, report) = doctor()?;
        let certain =
            report.contains("gateway-ports-swapped") && report.contains("rpi1 was seen at eth1");
        ensure(&format!("doctor knows ({code}):\n{report}"), certain && code == 2)?;
        let remedy = "move the cable in eth0 to eth1, and the one in eth1 to eth0";
        ensure(&format!("and which cable to move:\n{report}"), report.contains(remedy))
    })
}

/// The daemon's restart must not leave nodes without a server: the result since the last carrier
/// change is still known.
pub fn restart_asks_without_waiting() -> Result<()> {
    before_start(PLAIN, |world| {
        world.set_settings(SERVING);
        world.start_gateway()?;
        wait_online(world)?;
        let file = format!("{HOME}/run/dhcp-alone");
        until("alone", || std::fs::read_to_string(&file).is_ok())?;
        let before = std::fs::read_to_string(&file).map_err(|error| Error(error.to_string()))?;
        world.stop_gateway("KILL", Duration::from_secs(2))?;
        let _server = rogue()?;
        world.start_gateway()?;
        until("found all the same", || alert(world, "gateway-foreign-dhcp").is_some())?;
        ensure("one port was remembered", before.lines().count() == 1)?;
        until("and is forgotten", || std::fs::read_to_string(&file).is_err())?;
        until("refused", || is(world, "cluster.dhcp", "refused-*")).map(drop)
    })
}
