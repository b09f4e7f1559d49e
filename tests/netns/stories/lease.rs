//! Addresses that nodes had before, or have without a request.

use std::net::Ipv4Addr;
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result, World};

use super::client::{Client, ask};
use super::scene::{PLAIN, ensure, is, until};
use super::service::serving;
use crate::dhcp::{
    CLIENT_ID, DISCOVER, NAK, REBINDING_TIME, RENEWAL_TIME, REQUEST, REQUESTED_ADDRESS, SERVER,
    message,
};

/// A host with this address comes from the venue's network.
const CLASH: &str = "192.168.50.11";

fn board(number: u8) -> [u8; 6] {
    [0xb8, 0x27, 0xeb, 0, 0, number]
}

/// A node whose cable was unplugged requests its previous address (INIT-REBOOT); one whose lease
/// nearly ends broadcasts its request (REBINDING).
fn earlier_address_is_refused(node: &str, mac: [u8; 6], earlier: Ipv4Addr) -> Result<()> {
    let nowhere = Ipv4Addr::UNSPECIFIED;
    for (how, question) in [
        ("INIT-REBOOT", message(REQUEST, mac, nowhere, &[(REQUESTED_ADDRESS, &earlier.octets())])),
        ("REBINDING", message(REQUEST, mac, earlier, &[])),
    ] {
        let answer = ask(node, question)?;
        let refused = answer.as_ref().is_some_and(|answer| answer.kind == NAK);
        ensure(&format!("{earlier} is refused in {how}: {answer:?}"), refused)?;
    }
    Ok(())
}

/// The head gets another lease: the cluster has to move, or may return.
fn move_cluster(world: &mut World, lease: &str, cluster: &str) -> Result<()> {
    world.change_dhcp("eth1", |dhcp| dhcp.address = lease.parse().unwrap_or(dhcp.address))?;
    world.pull_cable("eth1")?;
    world.plug_cable("eth1")?;
    until(&format!("the cluster is at {cluster}"), || {
        is(world, "cluster.address", &format!("{cluster}/24"))
    })?;
    until("it serves there", || {
        must("head", "ss -lun").is_ok_and(|text| text.contains(&format!("{cluster}:53")))
    })?;
    Ok(())
}

/// A node's client after its cable was unplugged and plugged in: refused, and in the cluster's
/// subnet within four seconds (the client itself waits one or two).
fn replug(client: &Client, wanted: &str) -> Result<()> {
    let log = || std::fs::read_to_string(&client.log).unwrap_or_default();
    let before = log().matches("NAK").count();
    must(&client.node, "ip link set eth0 down && ip link set eth0 up")?;
    let took = until(&format!("{} has {wanted}", client.node), || {
        client.address().as_deref() == Some(wanted)
    })?;
    ensure(
        &format!("it was refused the earlier one: {}", log()),
        log().matches("NAK").count() > before,
    )?;
    ensure(&format!("{wanted} after {took:?}"), took < Duration::from_secs(4))
}

pub fn cluster_that_moves_refuses_the_earlier_subnet() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.", "192.168.50.").replace("192.168.50.1/24", "192.168.50.254/24");
    serving(&venue, "[cluster.dhcp]\n", |world| {
        let real = Client::dhcpcd("rpi2", "worker")?;
        let (home, _) = real.wait()?;
        let mut other = Client::udhcpc("rpi1", "other")?;
        let (earlier, _) = other.wait()?;
        other.running.kill();
        let earlier: Ipv4Addr = earlier.parse().map_err(|_| Error(earlier.clone()))?;
        let [_, _, _, host] = earlier.octets();
        let away = home.replace("192.168.50", "10.213.50");
        move_cluster(world, CLASH, "10.213.50.1")?;
        earlier_address_is_refused("rpi1", board(1), earlier)?;
        replug(&real, &away)?;
        let mut other = Client::udhcpc("rpi1", "other")?;
        let now = Ipv4Addr::new(10, 213, 50, host);
        ensure(
            "a client that begins anew keeps its host part",
            other.wait()?.0 == now.to_string(),
        )?;
        other.running.kill();
        move_cluster(world, "192.168.50.126", "192.168.50.1")?;
        earlier_address_is_refused("rpi1", board(1), now)?;
        replug(&real, &home)?;
        let other = Client::udhcpc("rpi1", "other")?;
        ensure("also on the way home", other.wait()?.0 == earlier.to_string())
    })
}

/// A board with a static address in the range, that never sends a request, and that the settings do
/// not name.
fn silent_board(number: u8, address: &str) -> Result<()> {
    must("rpi3", "ip link add silent link eth0 type macvlan mode bridge")?;
    must("rpi3", &format!("ip link set silent address b8:27:eb:00:00:{number:02x} up"))?;
    must("rpi3", &format!("ip addr add {address}/24 dev silent"))?;
    must("rpi3", "sysctl -qw net.ipv4.conf.all.arp_ignore=1")?;
    let _ = must("rpi3", "ping -c 1 -W 1 -I silent 192.168.50.1");
    Ok(())
}

/// A board appears, requests and gets an address.
fn take(mac: [u8; 6]) -> Result<Ipv4Addr> {
    let nowhere = Ipv4Addr::UNSPECIFIED;
    let offer = ask("rpi2", message(DISCOVER, mac, nowhere, &[]))?.unwrap_or_default();
    let address = offer.address.unwrap_or(nowhere);
    let chosen = [
        (REQUESTED_ADDRESS, &address.octets()[..]),
        (SERVER, offer.option(SERVER).unwrap_or_default()),
    ];
    let answer = ask("rpi2", message(REQUEST, mac, nowhere, &chosen))?;
    let answer = answer.unwrap_or_default();
    ensure(&format!("it has {address}: {answer:?}"), answer.address == Some(address))?;
    // So it learns of a move of the cluster, however long its lease.
    let asks = (answer.option(RENEWAL_TIME), answer.option(REBINDING_TIME));
    ensure(
        &format!("it asks again after a minute: {asks:?}"),
        asks == (Some(&[0, 0, 0, 60]), Some(&[0, 0, 0, 75])),
    )?;
    Ok(address)
}

pub fn address_of_a_silent_node_is_not_given_away() -> Result<()> {
    const SILENT: u8 = 0x77;
    const ASKING: u8 = 0x55;
    let its = |number| Ipv4Addr::new(192, 168, 50, if number == SILENT { 150 } else { 151 });
    let settings = "[cluster.dhcp]\nrange = \"192.168.50.150-192.168.50.151\"\n";
    serving(PLAIN, settings, |world| {
        silent_board(SILENT, "192.168.50.150")?;
        until("it was found", || world.journal().contains("(b8:27:eb:00:00:77) was found"))?;
        let reserved = |line: &str| {
            let hosts =
                std::fs::read_to_string(format!("{HOME}/run/dnsmasq/hosts")).unwrap_or_default();
            hosts.lines().any(|known| known == line)
        };
        until("its address is kept for it", || reserved("b8:27:eb:00:00:77,192.168.50.150"))?;
        until("its name leads to it", || {
            super::service::look_up("rpi2", "node-00-00-77.bramble").contains("192.168.50.150")
        })?;
        ensure("the other address is free", take(board(ASKING))? == its(ASKING))?;
        let _late = Client::udhcpc("rpi1", "late")?;
        until("for a third there is none", || {
            world.journal().contains("no address left for b8:27:eb:00:00:01")
        })?;
        until("a lease is kept too", || reserved("b8:27:eb:00:00:55,192.168.50.151"))?;
        // The silent board sends a request after all; the other like its boot ROM, which uses
        // another client id.
        for (number, id) in [(SILENT, None), (ASKING, Some([0, 17].as_slice()))] {
            let options: Vec<(u8, &[u8])> = id.map(|id| (CLIENT_ID, id)).into_iter().collect();
            let answer =
                ask("rpi3", message(DISCOVER, board(number), Ipv4Addr::UNSPECIFIED, &options))?;
            let given = answer.as_ref().and_then(|answer| answer.address);
            ensure(
                &format!("{number} may have {}: {answer:?}", its(number)),
                given == Some(its(number)),
            )?;
        }
        Ok(())
    })
}
