//! A host floods the cluster interface: nothing grows, it is reported, and the nodes are served as
//! before.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bramblegate::api::status::Origin;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, alert, ensure, is, until};
use super::service::serving;
use crate::flood::{Flood, arguments};

const RATE: u32 = 1000;
const TIME: Duration = Duration::from_secs(2);
/// The limit of journal lines during a flood: a burst of each kind that it causes, and regular
/// lines.
const LINES: usize = 600;
/// The allowed growth in KiB, after the first of each flood.
const ROOM: u64 = 1024;

fn start(flood: Flood) -> Result<Running> {
    let program = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
    let log = PathBuf::from(format!("{HOME}/flood.log"));
    spawn(
        within("rpi3", &program.to_string_lossy()).args(arguments(flood, "eth0", RATE, TIME)),
        &log,
    )
}

fn journal() -> usize {
    fs::read_to_string(format!("{HOME}/journal.log")).unwrap_or_default().lines().count()
}

/// Returns the gateway's own memory in KiB (`RssAnon`, proc_pid_status(5)). Pages of the program file
/// that are read for the first time are no growth, and they are half of it in a debug build.
fn memory(world: &mut World) -> Result<u64> {
    let id = world.gateway().ok_or_else(|| Error("no gateway".into()))?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Error("the gateway has ended".into()))
}

fn found(world: &World) -> usize {
    world
        .status()
        .unwrap_or_default()
        .nodes
        .iter()
        .filter(|node| node.origin == Origin::Found)
        .count()
}

pub fn unknown_clients_fill_nothing_and_disturb_no_node() -> Result<()> {
    serving(PLAIN, "[cluster.dhcp]\n", |world| {
        let before = memory(world)?;
        for flood in Flood::ALL {
            let lines = journal();
            let mut sender = start(flood)?;
            let (mut reported, mut most) = (false, 0);
            while sender.ended().is_none() {
                reported |= alert(world, "node-flood").is_some();
                most = most.max(found(world));
                ensure(
                    "the nodes stay up and named",
                    is(world, "nodes.rpi1.health", "up") && is(world, "nodes.rpi2.health", "up"),
                )?;
                std::thread::sleep(Duration::from_millis(100));
            }
            let name = flood.name();
            println!(
                "{name}: {most} found nodes, {} lines, {} KiB more",
                journal() - lines,
                memory(world)?.saturating_sub(before)
            );
            ensure(&format!("{name}: {most} found nodes in a /24"), most <= 253)?;
            ensure(&format!("{name}: {} lines", journal() - lines), journal() - lines <= LINES)?;
            // The other two have no effects that would be rate-limited.
            ensure(
                &format!("{name}: dnsmasq is not called deaf"),
                alert(world, "gateway-blocked").is_none(),
            )?;
            ensure(
                &format!("{name} is reported"),
                reported || !matches!(flood, Flood::Names | Flood::Arp),
            )?;
        }
        let more = memory(world)?.saturating_sub(before);
        ensure(&format!("{more} KiB more"), more <= ROOM)?;
        ensure(
            "the panel goes on",
            is(world, "uplink.state", "online") && is(world, "panel.lcd.state", "ok"),
        )?;
        std::thread::sleep(Duration::from_secs(4));
        until("it is over", || alert(world, "node-flood").is_none())?;
        Ok(())
    })
}
