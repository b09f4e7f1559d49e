//! The daemon's life cycle: killed, restarted, stopped, reloaded.

use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, must, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::scene::{
    PLAIN, Pinger, STOP, before_start, ensure, is, leased, network_of_head, online, reload, same,
    try_from, until, wait_online,
};

fn kill(world: &mut World) -> Result<()> {
    let code = world.stop_gateway("KILL", STOP)?;
    ensure("it was killed", code == 137)
}

/// A TCP transfer through the NAT loses no packet in the gateway.
pub fn transfer_survives_kill_and_restart() -> Result<()> {
    online(PLAIN, |world| {
        let server_log = std::path::PathBuf::from(format!("{HOME}/iperf-server.log"));
        let _server = spawn(
            within("internet", "iperf3").args(["-s", "-B", "203.0.113.80", "--forceflush"]),
            &server_log,
        )?;
        until("iperf3 listens", || {
            std::fs::read_to_string(&server_log).is_ok_and(|t| t.contains("listening"))
        })?;
        let log = std::path::PathBuf::from(format!("{HOME}/iperf.json"));
        // 50 Mbit/s: a loss appears as a retransmission, not as a full queue.
        let arguments = ["-c", "203.0.113.80", "-t", "5", "-b", "50M", "-i", "0.5", "-J"];
        let mut client = spawn(within("rpi1", "iperf3").args(arguments), &log)?;
        std::thread::sleep(Duration::from_millis(800));
        kill(world)?;
        std::thread::sleep(Duration::from_millis(400));
        world.start_gateway()?;
        until("it is there again", || is(world, "gateway.masquerade", "true"))?;
        let code = world.stop_gateway("TERM", STOP)?;
        ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
        world.start_gateway()?;
        until("it is there again", || is(world, "gateway.masquerade", "true"))?;
        world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal("HUP")?;
        world.foreign_flush()?;
        let mut code = None;
        until("the transfer ends", || {
            code = code.or_else(|| client.ended());
            code.is_some()
        })?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        ensure(&format!("iperf3 succeeded: {text}"), code == Some(0))?;
        let report: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| Error(error.to_string()))?;
        let retransmits =
            report.pointer("/end/sum_sent/retransmits").and_then(serde_json::Value::as_u64);
        // On a machine under load, TCP retransmits segments that were not lost: the receiver
        // reports that by a D-SACK (RFC 2883).
        let needless = needless_retransmissions()?;
        println!("{retransmits:?} retransmissions, {needless} of them needless");
        let lost = retransmits.map(|sent| sent.saturating_sub(needless));
        ensure(
            &format!("no packet lost: {retransmits:?} retransmissions, {needless} needless"),
            lost == Some(0),
        )?;
        let intervals = report
            .get("intervals")
            .and_then(serde_json::Value::as_array)
            .cloned()
            .unwrap_or_default();
        let idle = intervals
            .iter()
            .filter(|i| i.pointer("/sum/bytes").and_then(serde_json::Value::as_u64) == Some(0));
        ensure("no interval without data", idle.count() == 0 && intervals.len() >= 8)
    })
}

/// Returns `TCPDSACKRecv` of the node's network.
fn needless_retransmissions() -> Result<u64> {
    let text = must("rpi1", "grep ^TcpExt: /proc/net/netstat")?;
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let place = names.iter().position(|name| *name == "TCPDSACKRecv");
    let value = place.and_then(|place| values.get(place)?.parse().ok());
    value.ok_or_else(|| Error("/proc/net/netstat names no TCPDSACKRecv".into()))
}

pub fn second_instance_refuses() -> Result<()> {
    online(PLAIN, |world| {
        let first = world.gateway().map(|gateway| gateway.id()).unwrap_or_default();
        let output =
            world.gateway_command("run").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(
            &format!("exit code 75, not {:?}: {text}", output.status.code()),
            output.status.code() == Some(75),
        )?;
        ensure(&format!("it names process {first}: {text}"), text.contains(&first.to_string()))?;
        ensure("the first still works", try_from(world, "rpi1", "ping 203.0.113.80").is_ok())
    })
}

/// A second daemon, started by hand with folders of its own, does not meet the first one's lock,
/// but its table.
pub fn second_instance_elsewhere_refuses() -> Result<()> {
    online(PLAIN, |world| {
        let first = world.gateway().map(|gateway| gateway.id()).unwrap_or_default();
        let settings =
            std::fs::read_to_string(format!("{HOME}/bramblegate.toml")).unwrap_or_default();
        let settings = ["status.sock", "lcd.log", "led.log"]
            .iter()
            .fold(settings, |text, name| text.replace(name, &format!("second-{name}")));
        std::fs::write(format!("{HOME}/second.toml"), settings)
            .map_err(|error| Error(error.to_string()))?;
        let line = format!(
            "mkdir -p {HOME}/second && STATE_DIRECTORY={HOME}/second \
             RUNTIME_DIRECTORY={HOME}/second exec timeout 10 {} run -c \
             {HOME}/second.toml",
            crate::program().display()
        );
        let (code, text) = bramblegate_lab::shell::exec("head", &line)?;
        ensure(&format!("exit code 75, not {code}: {text}"), code == 75)?;
        let named = text.contains(&format!("process {first} (bramblegate)"));
        ensure(&format!("it names process {first}: {text}"), named)?;
        let before = network_of_head()?;
        let line = line.replace(" run -c", " off -c");
        let (code, text) = bramblegate_lab::shell::exec("head", &line)?;
        ensure(&format!("off refuses with 75, not {code}: {text}"), code == 75)?;
        same("the head's network", &before, &network_of_head()?)?;
        ensure("the first still works", try_from(world, "rpi1", "ping 203.0.113.80").is_ok())
    })
}

pub fn on_stop_keep_leaves_the_nat() -> Result<()> {
    online(PLAIN, |world| {
        let before = network_of_head()?;
        let code = world.stop_gateway("TERM", STOP)?;
        ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
        ensure(
            "the NAT is still there",
            try_from(world, "rpi1", "http http://www.example/").is_ok(),
        )?;
        ensure(
            "the venue is still kept out",
            try_from(world, "laptop", "tcp 10.99.0.126:9100").is_err(),
        )?;
        let glass = world.glass().join("|");
        ensure(&format!("the LCD says STOPPED, not {glass}"), glass.contains("STOPPED"))?;
        same("the head's network", &before, &network_of_head()?)
    })
}

pub fn on_stop_remove_puts_everything_back() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        let before = network_of_head()?;
        world.set_settings("[gateway]\non_stop = \"remove\"\n");
        world.start_gateway()?;
        wait_online(world)?;
        let code = world.stop_gateway("TERM", STOP)?;
        ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
        // The interface was down before; that it stays up is harmless and not counted.
        same(
            "the head's network",
            &without_link_state(&before),
            &without_link_state(&network_of_head()?),
        )
    })
}

pub fn off_cleans_up_after_a_dead_daemon() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        let before = network_of_head()?;
        world.start_gateway()?;
        wait_online(world)?;
        kill(world)?;
        ensure("the rules outlived it", must("head", "nft list ruleset")?.contains("masquerade"))?;
        let output =
            world.gateway_command("off").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(&format!("off succeeds: {:?} {text}", output.status), output.status.success())?;
        same(
            "the head's network",
            &without_link_state(&before),
            &without_link_state(&network_of_head()?),
        )
    })
}

/// Where the venue uses the cluster's subnet, there are rules, tables and routes to remove too.
pub fn nothing_is_left_of_an_overlap() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.", "192.168.50.");
    before_start(&venue, |world| {
        leased()?;
        let before = without_link_state(&network_of_head()?);
        world.set_settings("[gateway]\non_stop = \"remove\"\n");
        for by_hand in [false, true] {
            world.start_gateway()?;
            wait_online(world)?;
            until("it is routed", || is(world, "gateway.overlap", "routed"))?;
            let ours = must("head", "ip -4 rule; ip -4 route show table 50980")?;
            ensure(
                &format!("rules and routes are there: {ours}"),
                ours.contains("5110:") && ours.contains("192.168.50.0/24"),
            )?;
            if by_hand {
                kill(world)?;
                let output = world
                    .gateway_command("off")
                    .output()
                    .map_err(|error| Error(error.to_string()))?;
                ensure("off succeeds", output.status.success())?;
            } else {
                let code = world.stop_gateway("TERM", STOP)?;
                ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
            }
            same("the head's network", &before, &without_link_state(&network_of_head()?))?;
        }
        Ok(())
    })
}

fn without_link_state(text: &str) -> String {
    let lines =
        text.lines().filter(|line| !line.starts_with("eth0 ") && !line.starts_with("eth0@"));
    lines.collect::<Vec<_>>().join("\n")
}

pub fn reload_takes_new_settings() -> Result<()> {
    online(PLAIN, |world| {
        ensure("9100 is closed", try_from(world, "laptop", "tcp HEAD:9100").is_err())?;
        let node = Pinger::start()?;
        reload(world, "[uplink]\nallow = [\"ssh\", \"icmp\", 9100]\n")?;
        until("9100 is open", || try_from(world, "laptop", "tcp HEAD:9100").is_ok())?;
        // An error must not take the gateway down.
        let lines = world.journal().lines().count();
        reload(world, "[uplink]\nallowed = 3\n")?;
        until("the mistake is reported, with its place", || {
            world
                .journal()
                .lines()
                .skip(lines)
                .any(|l| l.contains("allowed") && l.contains("50-venue.toml:2:1"))
        })?;
        ensure("9100 is still open", try_from(world, "laptop", "tcp HEAD:9100").is_ok())?;
        reload(world, "")?;
        until("mended, 9100 is closed again", || {
            try_from(world, "laptop", "tcp HEAD:9100").is_err()
        })?;
        let (sent, lost) = node.finish()?;
        ensure(&format!("{lost} of {sent} packets lost"), lost == 0)
    })
}

/// `gateway.enabled = false` removes everything of the gateway and still shows the address; `true`
/// restores it.
pub fn reload_switches_the_gateway_off_and_on() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        let untouched = without_link_state(&network_of_head()?);
        world.start_gateway()?;
        wait_online(world)?;
        let working = network_of_head()?;
        for _ in 0..2 {
            reload(world, "[gateway]\nenabled = false\n")?;
            until("nothing of ours is left", || {
                network_of_head().is_ok_and(|text| without_link_state(&text) == untouched)
            })
            .or_else(|_| {
                same("the head's network", &untouched, &without_link_state(&network_of_head()?))
                    .map(|()| Duration::ZERO)
            })?;
            until("the status says so", || is(world, "gateway.masquerade", "false"))?;
            ensure("the address is still shown", world.glass().concat().contains("10.99.0.126"))?;
            // Removed settings are not restored.
            std::thread::sleep(Duration::from_millis(500));
            same("the head's network", &untouched, &without_link_state(&network_of_head()?))?;
            reload(world, "")?;
            until("everything is back", || network_of_head().is_ok_and(|text| text == working))
                .or_else(|_| {
                    same("the head's network", &working, &network_of_head()?)
                        .map(|()| Duration::ZERO)
                })?;
            until("a node reaches the internet", || {
                try_from(world, "rpi1", "http http://www.example/").is_ok()
            })?;
            until("the status says so", || is(world, "gateway.masquerade", "true"))?;
        }
        Ok(())
    })
}

/// The two interfaces exchange roles while the daemon is dead: what an earlier run left on the new
/// uplink is not a lease.
pub fn earlier_cluster_port_makes_no_clash() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        world.set_settings("[uplink]\ninterfaces = [\"eth0\"]\n[cluster]\ninterface = \"eth1\"\n");
        world.start_gateway()?;
        let held = |port: &str| {
            must("head", &format!("ip -4 -br addr show dev {port}")).unwrap_or_default()
        };
        until("eth1 is the cluster's", || held("eth1").contains("192.168.50.1/24"))?;
        kill(world)?;
        ensure("it outlived the daemon", held("eth1").contains("192.168.50.1/24"))?;
        let lines = world.journal().lines().count();
        world.set_settings("");
        world.start_gateway()?;
        wait_online(world)?;
        ensure("the ports have changed roles", !held("eth1").contains("192.168.50.1/24"))?;
        let reported: Vec<String> =
            world.journal().lines().skip(lines).map(str::to_owned).collect();
        let heard = |word: &str| reported.iter().any(|line| line.contains(word));
        ensure(
            &format!("it has reported something: {reported:?}"),
            heard("eth1 has 10.99.0.126/24"),
        )?;
        let wrong =
            ["clash", "moved", "overlap", "192.168.50.1/24"].into_iter().find(|word| heard(word));
        ensure(&format!("nothing is reported of {wrong:?}: {reported:?}"), wrong.is_none())?;
        ensure("no alternative stays", held("eth0").split_whitespace().count() == 3)
    })
}

pub fn disabled_gateway_changes_nothing() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        let before = network_of_head()?;
        world.set_settings("[gateway]\nenabled = false\n");
        world.start_gateway()?;
        until("the address is shown", || world.glass().concat().contains("10.99.0.126"))?;
        until("the internet is seen", || is(world, "uplink.state", "online"))?;
        same("the head's network", &before, &network_of_head()?)?;
        let (_, rules) = exec("head", "nft list ruleset")?;
        ensure("no rules", rules.trim().is_empty())
    })
}

/// Three capabilities are enough.
pub fn three_capabilities_are_enough() -> Result<()> {
    before_start(PLAIN, |world| {
        let only = "-all,+net_admin,+net_raw,+net_bind_service";
        world.start_gateway_by(&["setpriv", "--bounding-set", only, "--inh-caps", only], &[])?;
        wait_online(world)?;
        try_from(world, "rpi1", "http http://www.example/")?;
        world.foreign_flush()?;
        try_from(world, "rpi1", "ping 203.0.113.80")
    })
}

/// READY comes when the rules are loaded, at once even without any interface; then WATCHDOG,
/// RELOADING, STOPPING.
pub fn service_manager_is_notified() -> Result<()> {
    let venue = PLAIN.replace("[[network]]", "[[network]]\npresent = false");
    before_start(&venue, |world| {
        let path = format!("{HOME}/notify.sock");
        let socket = std::os::unix::net::UnixDatagram::bind(&path)
            .map_err(|error| Error(error.to_string()))?;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .map_err(|error| Error(error.to_string()))?;
        let mut heard = String::new();
        let mut hear = |word: &str| {
            until(word, || {
                let mut buffer = [0; 4096];
                if let Ok(length) = socket.recv(&mut buffer) {
                    heard += &String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                    heard.push('\n');
                }
                heard.lines().any(|line| line.starts_with(word))
            })?;
            heard.clear();
            Ok::<(), Error>(())
        };
        let start = std::time::Instant::now();
        world.start_gateway_by(
            &[],
            &[("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "1000000")],
        )?;
        hear("READY=1")?;
        let took = start.elapsed();
        ensure(&format!("READY at once, not after {took:?}"), took < Duration::from_secs(3))?;
        ensure("rules are there", must("head", "nft list ruleset")?.contains("masquerade"))?;
        hear("WATCHDOG=1")?;
        world.insert_port("eth1")?;
        hear("STATUS=")?;
        wait_online(world)?;
        world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal("HUP")?;
        hear("RELOADING=1")?;
        hear("READY=1")?;
        world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal("TERM")?;
        hear("STOPPING=1")
    })
}

/// A foreign route permanently takes the place of a gateway's route: that is reported, and the boot
/// does not wait for it.
pub fn ready_does_not_wait_for_routes() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.", "192.168.50.");
    before_start(&venue, |world| {
        leased()?;
        must("head", "ip route add blackhole 192.168.50.0/24 table 50980 proto static")?;
        let path = format!("{HOME}/notify.sock");
        let socket = std::os::unix::net::UnixDatagram::bind(&path)
            .map_err(|error| Error(error.to_string()))?;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .map_err(|error| Error(error.to_string()))?;
        world.start_gateway_by(&[], &[("NOTIFY_SOCKET", path.as_str())])?;
        until("READY", || {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).unwrap_or(0);
            String::from_utf8_lossy(buffer.get(..length).unwrap_or_default())
                .lines()
                .any(|line| line == "READY=1")
        })?;
        ensure("rules are there", must("head", "nft list ruleset")?.contains("masquerade"))?;
        until("forwarding is on", || is(world, "gateway.forwarding", "true"))?;
        until("the route is reported", || super::scene::alert(world, "gateway-routing").is_some())
            .map(drop)
    })
}
