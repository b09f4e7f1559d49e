//! Ports of the head that lead to nodes.

use std::time::Duration;

use bramblegate::venue::shell::{exec, must};
use bramblegate::venue::{Error, Result, World};

use super::scene::{PLAIN, STOP, alert, before_start, ensure, is, online, reload, try_from, until, wait_online};

const FORWARD: &str = "[[forward]]\nlisten = 2201\nto = \"rpi1:22\"\n";

/// What is said to the laptop at a port of the head.
fn greeting(port: u16) -> Result<String> {
    let (_, text) = exec("laptop", &format!("sleep 0.4 | busybox nc -w 2 10.99.0.126 {port}"))?;
    Ok(text.trim().to_owned())
}

fn reaches_the_node() -> Result<()> {
    let text = greeting(2201)?;
    ensure(&format!("the node answers at the head's port: {text:?}"), text == "SSH-2.0-venue")
}

fn open_ports(world: &World, address: &str, ports: &[u16]) -> Vec<u16> {
    let open = |port: &&u16| try_from(world, "laptop", &format!("tcp {address}:{port}")).is_ok();
    ports.iter().filter(open).copied().collect()
}

pub fn laptop_reaches_a_node_through_the_head() -> Result<()> {
    before_start(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        let _more = world.serve("rpi1", "banner", "[::]:8080")?;
        let _other = world.serve("rpi2", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        reaches_the_node()?;
        ensure("the head's own ssh too", try_from(world, "laptop", "tcp HEAD:22").is_ok())?;
        let open = open_ports(world, "10.99.0.126", &[22, 80, 2200, 2201, 2202, 8080, 9100]);
        ensure(&format!("and nothing else: {open:?}"), open == [22, 2201])?;
        must("laptop", "ip route add 192.168.50.0/24 via 10.99.0.126")?;
        for node in ["192.168.50.11", "192.168.50.12"] {
            let open = open_ports(world, node, &[22, 2201, 8080]);
            ensure(&format!("{node} itself stays closed: {open:?}"), open.is_empty())?;
        }
        // Only at an address of the head: what passes through it is not at its port.
        must("laptop", "ip route add 172.17.0.0/16 via 10.99.0.126")?;
        ensure("what passes is left alone", try_from(world, "laptop", "tcp 172.17.0.2:2201").is_err())?;
        ensure("nor is the way out disturbed", try_from(world, "rpi1", "http http://www.example/").is_ok())?;
        until("nothing is to complain of", || is(world, "severity", "ok")).map(drop)
    })
}

pub fn forwarded_port_outlives_the_daemon() -> Result<()> {
    before_start(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        reaches_the_node()?;
        world.stop_gateway("TERM", STOP)?;
        reaches_the_node()?;
        world.start_gateway()?;
        wait_online(world)?;
        reaches_the_node()
    })
}

pub fn forwarded_port_follows_the_node() -> Result<()> {
    online(PLAIN, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        ensure("closed before", open_ports(world, "10.99.0.126", &[2201]).is_empty())?;
        reload(world, FORWARD)?;
        until("open after a reload", || greeting(2201).is_ok_and(|text| text == "SSH-2.0-venue"))?;
        must(
            "rpi1",
            "ip addr del 192.168.50.11/24 dev eth0; ip addr add 192.168.50.21/24 dev eth0; ip route add default via 192.168.50.1",
        )?;
        reload(world, &format!("{FORWARD}[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.21\"\n"))?;
        until("the same node at its new address", || greeting(2201).is_ok_and(|text| text == "SSH-2.0-venue"))?;
        reload(world, "")?;
        until("closed again", || open_ports(world, "10.99.0.126", &[2201]).is_empty()).map(drop)
    })
}

/// With one subnet on both sides a node looks for the venue's computers in the cluster: that is said, not found out.
pub fn forwarded_port_under_an_overlap_is_said() -> Result<()> {
    let venue = PLAIN.replace("10.99.0.", "192.168.50.").replace("192.168.50.1/24", "192.168.50.254/24");
    before_start(&venue, |world| {
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        world.set_settings(FORWARD);
        world.start_gateway()?;
        wait_online(world)?;
        until("said", || alert(world, "node-forward-overlap").is_some())?;
        let open = open_ports(world, "192.168.50.126", &[22, 2201]);
        ensure(&format!("and so it is; the head itself is reached: {open:?}"), open == [22])
    })
}

pub fn forwarded_port_that_leads_nowhere_is_said() -> Result<()> {
    online(PLAIN, |world| {
        let lost =
            "[[node]]\nname = \"rpi9\"\nmac = \"02:00:00:00:00:99\"\n[[forward]]\nlisten = 2209\nto = \"rpi9:22\"\n";
        reload(world, lost)?;
        until("said", || alert(world, "node-forward-lost").is_some())?;
        ensure("and closed", open_ports(world, "10.99.0.126", &[2209]).is_empty())?;
        let _node = world.serve("rpi1", "banner", "[::]:22")?;
        reload(world, "[[forward]]\nlisten = 22\nto = \"rpi1:22\"\n")?;
        until("the first is over", || alert(world, "node-forward-lost").is_none())?;
        let text = alert(world, "node-forward-hides").ok_or_else(|| Error("not said that ssh is hidden".into()))?;
        ensure(&format!("who wins: {text}"), text.contains("ssh") && text.contains("the forward wins"))?;
        std::thread::sleep(Duration::from_millis(200));
        let text = greeting(22)?;
        ensure("and it does", text == "SSH-2.0-venue")
    })
}
