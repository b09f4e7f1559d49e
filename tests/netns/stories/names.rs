//! New systems with equal host names: first come, first served.

use std::fs;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result, World};

use super::client::Client;
use super::scene::{PLAIN, STOP, alert, ensure, is, promptly, until};
use super::service::{another_board, dnsmasq_of_ours, look_up, renew, serving};

/// The host name of every fresh image.
const SAME: &str = "raspberrypi";
/// The name of the second board.
const OTHER: &str = "node-00-00-02";

/// Checks that a name resolves to an address, and back.
fn leads(name: &str, address: &str) -> bool {
    look_up("rpi3", &format!("{name}.bramble")).contains(&format!(": {address}\n"))
        && look_up("rpi3", address).contains(&format!("name = {name}.bramble"))
}

/// Checks that a board's name resolves soon after its lease.
fn soon(name: &str, client: &Client) -> Result<String> {
    let address = client.wait()?.0;
    let begin = Instant::now();
    until(&format!("{name} is {address}"), || leads(name, &address))?;
    promptly(&format!("{name} has its name"), begin.elapsed(), Duration::from_millis(300))?;
    Ok(address)
}

/// Checks that both have their names, in DNS and in the status.
fn stands(world: &World, when: &str, [first, second]: [&str; 2]) -> Result<()> {
    ensure(&format!("{when} the first is {SAME}"), leads(SAME, first))?;
    ensure(&format!("{when} the second is {OTHER}"), leads(OTHER, second))?;
    let list = super::inventory::succeed(world, &["nodes", "hosts"])?;
    let listed = |address: &str, name: &str| {
        list.lines().any(|line| {
            line.starts_with(address) && line.split_whitespace().any(|word| word == name)
        })
    };
    ensure(
        &format!("{when} they are listed so:\n{list}"),
        listed(first, SAME) && listed(second, OTHER),
    )
}

pub fn first_come_first_named() -> Result<()> {
    let settings = format!("[sockets]\ncontrol = \"{HOME}/control.sock\"\n[cluster.dhcp]\n");
    serving(PLAIN, &settings, |world| {
        another_board("rpi1")?;
        another_board("rpi2")?;
        let first = Client::udhcpc("rpi1", SAME)?;
        let one = soon(SAME, &first)?;
        let second = Client::udhcpc("rpi2", SAME)?;
        let two = soon(OTHER, &second)?;
        let both = [one.as_str(), two.as_str()];
        stands(world, "at once", both)?;
        until("it is reported", || {
            alert(world, "node-duplicate-name")
                .is_some_and(|text| text.contains(SAME) && text.contains(OTHER))
        })?;
        let renewed = |when: &str| -> Result<()> {
            ensure("the addresses stay", renew(&second)? == two && renew(&first)? == one)?;
            std::thread::sleep(Duration::from_millis(200));
            stands(world, when, both)
        };
        renewed("renewed")?;
        let id = dnsmasq_of_ours().ok_or_else(|| Error("dnsmasq does not run".into()))?;
        must("head", &format!("kill -KILL {id}"))?;
        until("another dnsmasq answers", || {
            dnsmasq_of_ours().is_some_and(|new| new != id) && leads(SAME, &one)
        })?;
        stands(world, "after dnsmasq's end", both)?;
        renewed("after dnsmasq's end, renewed")?;
        // A power cut of the head: only the disk's state survives.
        until("both are on the disk", || {
            fs::read_to_string(format!("{HOME}/state/dnsmasq.leases"))
                .is_ok_and(|text| text.contains(SAME) && text.contains(OTHER))
        })?;
        world.stop_gateway("KILL", STOP)?;
        must("head", &format!("rm -r {HOME}/run/dnsmasq"))?;
        world.start_gateway()?;
        until("it serves again", || is(world, "cluster.dhcp", "serving"))?;
        ensure("the second is first to ask", renew(&second)? == two && renew(&first)? == one)?;
        until("they are heard", || leads(SAME, &one) && leads(OTHER, &two))?;
        stands(world, "after a power cut", both)?;
        until("it is reported again", || alert(world, "node-duplicate-name").is_some())?;
        drop(second);
        let second = Client::udhcpc("rpi2", "window")?;
        ensure("its address stays", soon("window", &second)? == two)?;
        until("it is over", || alert(world, "node-duplicate-name").is_none())?;
        ensure("the first is still the first", leads(SAME, &one))?;
        // The advice of the alert.
        drop(second);
        let second = Client::udhcpc("rpi2", SAME)?;
        ensure("its address stays again", second.wait()?.0 == two)?;
        until("it is reported a third time", || alert(world, "node-duplicate-name").is_some())?;
        let text = alert(world, "node-duplicate-name").unwrap_or_default();
        let command = text.split('`').nth(1).unwrap_or_default();
        super::inventory::carry_out(world, command, &[OTHER, "desk"])?;
        until("it has a name of its own", || {
            leads("desk", &two) && alert(world, "node-duplicate-name").is_none()
        })
        .map(drop)
    })
}

/// A board that is seen at the address that the settings give to rpi2 is rpi2, whatever host name
/// its next request has; a board without an address before its request has the name that it sends.
pub fn board_at_a_nodes_address_is_that_node() -> Result<()> {
    // Which of two names dnsmasq finds first for an address differs from process to process.
    for own in ["worker", "desk", "kitchen"] {
        serving(PLAIN, "[cluster.dhcp]\n", |world| {
            let mac = "06:00:00:00:01:02";
            let board = format!(
                "ip -4 addr flush dev eth0; ip link set eth0 address {mac}; \
                 ip addr add 192.168.50.12/24 dev eth0; \
                 busybox arping -U -c 1 -w 1 -I eth0 192.168.50.12"
            );
            must("rpi2", &board)?;
            until("it is heard", || is(world, "nodes.rpi2.mac", mac))?;
            let client = Client::udhcpc("rpi2", own)?;
            let (address, _) = client.wait()?;
            until("it is rpi2", || leads("rpi2", &address))?;
            until(&format!("and not {own}"), || {
                !look_up("rpi3", &format!("{own}.bramble")).contains(&address)
            })?;
            another_board("rpi1")?;
            let client = Client::udhcpc("rpi1", "stranger")?;
            let (address, _) = client.wait()?;
            until("the other is who it says it is", || leads("stranger", &address)).map(drop)
        })?;
    }
    Ok(())
}
