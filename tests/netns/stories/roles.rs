//! Interfaces that are neither the cluster's nor uplinks, and what is reachable through an uplink.

use bramblegate_lab::Result;
use bramblegate_lab::shell::{exec, ip, must};

use super::scene::{
    PLAIN, STOP, TWO, alert, before_start, ensure, online, reload, try_from, until, wait_online,
};

/// A network behind another interface of the head, such as a management network or a newly plugged
/// adapter.
fn plug_in(port: &str) -> Result<()> {
    ip(
        "",
        &format!(
            "netns add aside\nlink add {port} netns head type veth peer name eth0 netns aside\n"
        ),
    )?;
    must(
        "aside",
        "ip link set lo up; ip addr add 172.22.0.2/24 dev eth0; ip link set eth0 up; ip route add \
         default via 172.22.0.1",
    )?;
    must("head", &format!("ip addr add 172.22.0.1/24 dev {port}; ip link set {port} up")).map(drop)
}

/// An interface that no setting names reaches neither closed ports of the head nor nodes, and is
/// reported; the same for a renamed uplink. A trusted interface reaches everything.
pub fn port_without_a_role_is_closed_and_named() -> Result<()> {
    online(PLAIN, |world| {
        let _closed = world.serve("head", "banner", "[::]:7070")?;
        let _ssh = world.serve("rpi1", "banner", "[::]:22")?;
        // Like Docker, which makes every interface forward.
        must("head", "echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        plug_in("up9")?;
        ensure("a closed port", try_from(world, "aside", "tcp 172.22.0.1:7070").is_err())?;
        ensure("a node", try_from(world, "aside", "tcp 192.168.50.11:22").is_err())?;
        ensure("ssh is allowed", try_from(world, "aside", "tcp 172.22.0.1:22").is_ok())?;
        until("it is named", || {
            alert(world, "gateway-unknown-port").is_some_and(|text| text.contains("up9"))
        })?;
        reload(world, "[gateway]\ntrust = [\"up*\"]\n")?;
        until("it is trusted", || alert(world, "gateway-unknown-port").is_none())?;
        until("and open", || try_from(world, "aside", "tcp 172.22.0.1:7070").is_ok())?;
        ensure("for nodes too", try_from(world, "aside", "tcp 192.168.50.11:22").is_ok())?;
        reload(world, "")?;
        // A second subnet on the cluster interface, whose boards the gateway does not translate.
        // Another program's change causes an immediate read of the counters.
        must("head", "ip addr add 192.168.60.1/24 dev eth0")?;
        must("rpi2", "ip addr add 192.168.60.7/24 dev eth0")?;
        let _ = exec("rpi2", "busybox ping -c 6 -i 0.1 -W 1 -I 192.168.60.7 203.0.113.80")?;
        must("head", "nft add table ip other")?;
        let counted = || {
            alert(world, "gateway-drops")
                .is_some_and(|text| text.contains("192.168.60.0/24 on eth0"))
        };
        until("what we drop is named", counted)?;
        // The uplink is renamed, and keeps all its addresses.
        must("laptop", "ip route add 192.168.50.0/24 via 10.99.0.126")?;
        must("head", "ip link set eth1 down; ip link set eth1 name lan5; ip link set lan5 up")?;
        let named = || {
            alert(world, "gateway-unknown-port")
                .is_some_and(|text| text.contains("lan5") || text.contains("up9"))
        };
        until("it is named", named)?;
        ensure("closed for the venue", try_from(world, "laptop", "tcp 10.99.0.126:7070").is_err())?;
        ensure("nodes too", try_from(world, "laptop", "tcp 192.168.50.11:22").is_err())
    })
}

/// Forwarding is enabled for the nodes: a venue reaches neither another nor a third network of the
/// head, even after a restart, until the user enables forwarding of everything.
pub fn venues_are_not_led_to_one_another() -> Result<()> {
    before_start(TWO, |world| {
        ip("", "netns add box\nlink add vethbox netns head type veth peer name eth0 netns box\n")?;
        must("head", "ip addr add 172.17.0.1/16 dev vethbox; ip link set vethbox up")?;
        must(
            "box",
            "ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; ip route add default via \
             172.17.0.1",
        )?;
        until("both leases", || {
            must("head", "ip -4 addr")
                .is_ok_and(|text| text.contains("172.20.5.77") && text.contains("10.99.0.126"))
        })?;
        must(
            "laptop",
            "ip route add 172.20.5.0/24 via 10.99.0.126; ip route add 172.17.0.0/16 via \
             10.99.0.126",
        )?;
        must("venue2", "ip route add 10.99.0.0/24 via 172.20.5.77")?;
        let reached = |to: &str| {
            exec("laptop", &format!("busybox ping -c 1 -W 1 {to}")).is_ok_and(|(code, _)| code == 0)
        };
        ensure("neither before", !reached("172.20.5.1") && !reached("172.17.0.2"))?;
        world.start_gateway()?;
        wait_online(world)?;
        let apart = |when: &str| {
            ensure(&format!("another venue, {when}"), !reached("172.20.5.1"))?;
            ensure(&format!("a third network, {when}"), !reached("172.17.0.2"))
        };
        apart("online")?;
        world.stop_gateway("TERM", STOP)?;
        world.start_gateway()?;
        wait_online(world)?;
        apart("after a restart")?;
        let named =
            || alert(world, "gateway-drops").filter(|text| text.contains("To switch it on"));
        let _ = exec("laptop", "busybox ping -c 9 -i 0.2 -W 1 172.17.0.2")?;
        must("head", "nft add table ip other")?;
        until("what we drop is named", || named().is_some())?;
        let text = named().unwrap_or_default();
        let command = text
            .split_once("sudo ")
            .and_then(|(_, rest)| rest.split(',').next())
            .unwrap_or_default();
        must("head", command)?;
        until("somebody wants that", || reached("172.20.5.1") && reached("172.17.0.2")).map(drop)
    })
}
