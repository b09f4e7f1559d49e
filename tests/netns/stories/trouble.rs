//! dnsmasq in trouble: it hangs, it dies, its files cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result};

use super::scene::{PLAIN, alert, before_start, ensure, is, reload, until};
use super::service::look_up;

const SERVE: &str = "[cluster.dhcp]\n";

/// Replaces dnsmasq by another program, as long as it is mounted there.
fn in_place_of_dnsmasq(script: &str) -> Result<()> {
    let path = format!("{HOME}/other-dnsmasq");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).map_err(|error| Error(error.to_string()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|error| Error(error.to_string()))?;
    bramblegate_lab::shell::run("mount", &["--bind", &path, "/usr/sbin/dnsmasq"]).map(drop)
}

pub fn dnsmasq_that_hangs_is_reported() -> Result<()> {
    before_start(PLAIN, |world| {
        in_place_of_dnsmasq("exec sleep 1000")?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        // Four seconds until the check for other servers ends, five for dnsmasq.
        std::thread::sleep(Duration::from_secs(4));
        until("it is reported", || {
            alert(world, "gateway-dnsmasq-failed")
                .is_some_and(|text| text.contains("has not said so"))
        })?;
        ensure("the status says failed", is(world, "cluster.dhcp", "failed"))
    })
}

pub fn dnsmasq_that_dies_again_and_again_is_reported() -> Result<()> {
    before_start(PLAIN, |world| {
        in_place_of_dnsmasq(
            "echo 'dnsmasq[1]: started, version 2.90' >&2; sleep 0.2; echo 'dnsmasq[1]: it hurts' \
             >&2; exit 3",
        )?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        until("it is reported", || {
            alert(world, "gateway-dnsmasq-failed")
                .is_some_and(|text| text.contains("again and again") && text.contains("it hurts"))
        })?;
        std::thread::sleep(Duration::from_secs(1));
        ensure("and stays so while it goes on", is(world, "cluster.dhcp", "failed"))
    })
}

pub fn full_memory_is_reported_and_got_over() -> Result<()> {
    before_start(PLAIN, |world| {
        let run = format!("{HOME}/run");
        fs::create_dir_all(&run).map_err(|error| Error(error.to_string()))?;
        bramblegate_lab::shell::run("mount", &["-t", "tmpfs", "-o", "size=128k", "tmpfs", &run])?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        must("head", &format!("dd if=/dev/zero of={run}/filler bs=1k count=200 2>&1 || true"))?;
        let more = format!("{SERVE}[[node]]\nname = \"extra\"\naddress = \"192.168.50.66\"\n");
        reload(world, &more)?;
        until("it is reported", || is(world, "cluster.dhcp", "failed"))?;
        must("head", &format!("rm {run}/filler"))?;
        until("it serves again", || is(world, "cluster.dhcp", "serving"))?;
        until("with what is wanted", || look_up("rpi2", "extra.bramble").contains("192.168.50.66"))
            .map(drop)
    })
}
