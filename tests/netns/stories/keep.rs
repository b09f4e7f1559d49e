//! Settings that the gateway enforces, and state that it follows: interface settings, ports of
//! sshd, the uplink in use.

use std::time::{Duration, Instant};

use bramblegate_lab::shell::{exec, must};
use bramblegate_lab::{Error, Result};

use super::scene::{
    PLAIN, TWO, alert, before_start, ensure, is, online, try_from, until, wait_online,
};

/// The settings that keep the head from answering the venue's ARP for the cluster are enforced: the
/// kernel reports `rp_filter`; the others are polled once a minute.
pub fn arp_settings_cleared_come_back() -> Result<()> {
    let conf = "/proc/sys/net/ipv4/conf";
    let holds = |port: &str, setting: &str, value: &str| {
        must("head", &format!("cat {conf}/{port}/{setting}")).is_ok_and(|text| text.trim() == value)
    };
    let arping = || {
        exec("laptop", "busybox arping -c 3 -w 2 -I eth0 192.168.50.1").map(|(code, _)| code == 0)
    };
    online(PLAIN, |world| {
        must("head", &format!("echo 1 > {conf}/eth1/rp_filter"))?;
        until("rp_filter is back at once", || holds("eth1", "rp_filter", "2"))?;
        ensure("the head is silent", !arping()?)?;
        let arp = [("arp_ignore", "1"), ("arp_announce", "2")];
        for (port, (setting, _)) in
            ["eth0", "eth1"].into_iter().flat_map(|port| arp.map(|arp| (port, arp)))
        {
            must("head", &format!("echo 0 > {conf}/{port}/{setting}"))?;
        }
        ensure("without them it answers for the cluster", arping()?)?;
        let start = Instant::now();
        let back = || {
            ["eth0", "eth1"]
                .iter()
                .all(|port| arp.iter().all(|(setting, value)| holds(port, setting, value)))
        };
        while !back() && start.elapsed() < Duration::from_secs(65) {
            std::thread::sleep(Duration::from_millis(200));
        }
        ensure(&format!("they are back within a minute: {:?}", start.elapsed()), back())?;
        ensure("the head is silent again", !arping()?)?;
        let journal = world.journal();
        for reported in [
            "rp_filter was set to 1 on eth1",
            "arp_ignore was set to 0 on eth1",
            "arp_announce was set to 0 on eth0",
        ] {
            ensure(
                &format!("it was reported: {reported}"),
                journal.matches(reported).count() == 1,
            )?;
        }
        Ok(())
    })
}

/// A new port of sshd is opened without a restart or a reload, so that the user is not locked out.
pub fn sshd_that_moves_is_followed() -> Result<()> {
    bramblegate_lab::shell::run("mount", &["-t", "tmpfs", "tmpfs", "/etc/ssh"])?;
    let write = |path: &str, text: &str| {
        std::fs::write(path, text).map_err(|error| Error(format!("{path}: {error}")))
    };
    write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")?;
    online(PLAIN, |world| {
        let _moved = world.serve("head", "banner", "[::]:2222")?;
        let _again = world.serve("head", "banner", "[::]:2022")?;
        let open = |port: u16| try_from(world, "laptop", &format!("tcp HEAD:{port}")).is_ok();
        ensure("the port is shut", !open(2222))?;
        write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPort 2222\n")?;
        until("the new port is open", || open(2222))?;
        std::fs::create_dir("/etc/ssh/sshd_config.d").map_err(|error| Error(error.to_string()))?;
        write("/etc/ssh/sshd_config.d/port.conf", "Port 2022\n")?;
        until("and one of a drop-in in a new folder", || open(2022))?;
        write("/etc/ssh/sshd_config", "")?;
        until("what sshd left is shut again", || !open(2222) && !open(2022)).map(drop)
    })
}

/// Over UDP the venue reaches mDNS, as shipped, and nothing else.
pub fn venue_reaches_mdns_and_no_other_udp() -> Result<()> {
    before_start(PLAIN, |world| {
        let ports = [69, 111, 161, 514, 1900, 5353, 8000, 51820];
        let mut servers = Vec::new();
        for port in ports {
            servers.push(world.serve("head", "udp-echo", &format!("0.0.0.0:{port}"))?);
        }
        let own = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
        let open = |from: &str, address: &str| -> Result<Vec<u16>> {
            let answers = |port: u16| {
                exec(from, &format!("{} venue-try udp {address}:{port}", own.display()))
                    .map(|(code, _)| code == 0)
            };
            ports
                .into_iter()
                .map(|port| Ok((port, answers(port)?)))
                .filter(|found| !matches!(found, Ok((_, false))))
                .map(|found| found.map(|(port, _)| port))
                .collect()
        };
        until("a lease", || world.head_address().is_some())?;
        ensure("before, all are open", open("laptop", "10.99.0.126")? == ports)?;
        world.start_gateway()?;
        wait_online(world)?;
        let found = open("laptop", "10.99.0.126")?;
        ensure(&format!("from the venue mDNS alone, not {found:?}"), found == [5353])?;
        ensure("from a node all", open("rpi1", "192.168.50.1")? == ports)
    })
}

/// On an uplink that the nodes do not use now, another program's drop is a warning; it is a fault
/// once the nodes use it.
pub fn foreign_drop_by_a_spare_uplink_is_a_warning() -> Result<()> {
    online(TWO, |world| {
        until("all is well", || is(world, "severity", "ok"))?;
        must(
            "head",
            "nft add table inet strict && nft 'add chain inet strict judge { type filter hook \
             forward priority 0; }' && \
             nft add rule inet strict judge oifname wlan0 drop",
        )?;
        until("it is named", || {
            alert(world, "uplink-blocked").is_some_and(|text| text.contains("wlan0"))
        })?;
        ensure(
            "as a warning",
            is(world, "severity", "warning") && is(world, "gateway.blocked_by", "null"),
        )?;
        ensure(
            "a node reaches the internet",
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok(),
        )?;
        let output =
            world.gateway_command("doctor").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code();
        ensure(&format!("doctor does not call it blocked: {code:?} {text}"), code == Some(1))?;
        ensure(&format!("but names it: {text}"), text.contains("finding  uplink-blocked"))?;
        must("head", "ip route del default dev eth1")?;
        until("now it is in the way", || is(world, "gateway.blocked_by.table", "inet strict"))?;
        ensure("and true", try_from(world, "rpi1", "ping 203.0.113.80").is_err())?;
        until("a fault", || is(world, "severity", "fault")).map(drop)
    })
}
