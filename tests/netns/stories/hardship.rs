//! A machine in trouble: without space, without rights, with a broken panel, with a flood of
//! events.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, ip, must, run};
use bramblegate_lab::{Error, Result, World, watch};

use super::scene::{
    PLAIN, STOP, alert, before_start, ensure, is, leased, network_of_head, reload, reported, same,
    try_from, until, wait_online,
};

/// That interface stays up.
fn without_the_cluster_port(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("eth0 ") && !line.starts_with("eth0@"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The disk has no space for the record of previous settings: that is reported, and nothing is lost
/// while the daemon runs.
pub fn full_disk_is_reported_and_everything_is_put_back() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        let before = without_the_cluster_port(&network_of_head()?);
        let state = format!("{HOME}/state");
        fs::create_dir_all(&state).map_err(|error| Error(error.to_string()))?;
        run("mount", &["-t", "tmpfs", "-o", "size=8k", "tmpfs", &state])?;
        let fill = format!("head -c 8192 /dev/zero > {state}/fill");
        let kept = || fs::read_to_string(format!("{state}/previous.json")).unwrap_or_default();
        exec("head", &fill)?;
        world.set_settings("[gateway]\non_stop = \"remove\"\n");
        world.start_gateway()?;
        wait_online(world)?;
        let text = alert(world, "host-state").unwrap_or_default();
        ensure(
            &format!("it is said: {text}"),
            text.contains("previous.json") && text.contains("No space left"),
        )?;
        ensure("as a notice", is(world, "severity", "notice"))?;
        ensure("in the journal too", world.journal().contains("host-state: "))?;
        ensure(
            "nothing is left half written",
            !fs::exists(format!("{state}/previous.json.new")).unwrap_or(true),
        )?;
        must("head", &format!("rm {state}/fill"))?;
        reload(world, "[gateway]\non_stop = \"remove\"\n")?;
        until("there is room, and it is used", || alert(world, "host-state").is_none())?;
        ensure("all of it", kept().contains("192.168.50.1/24") && kept().contains("arp_ignore"))?;
        // And later: another address has to be recorded.
        exec("head", &fill)?;
        reload(
            world,
            "[gateway]\non_stop = \"remove\"\n[cluster]\naddress = \"192.168.50.2/24\"\n",
        )?;
        until("it is said again", || alert(world, "host-state").is_some())?;
        must("head", &format!("rm {state}/previous.json"))?;
        let code = world.stop_gateway("TERM", STOP)?;
        ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
        same("the head's network", &before, &without_the_cluster_port(&network_of_head()?))
    })
}

/// The folder does not exist (it is created), or is read-only.
pub fn missing_or_read_only_state_is_no_reason_to_end() -> Result<()> {
    before_start(PLAIN, |world| {
        let state = format!("{HOME}/state");
        world.set_settings("[gateway]\non_stop = \"remove\"\n");
        let mut read_only = || -> Result<()> {
            world.start_gateway()?;
            wait_online(world)?;
            let text = alert(world, "host-state").unwrap_or_default();
            ensure(&format!("it is said: {text}"), text.contains("Read-only"))?;
            let code = world.stop_gateway("TERM", STOP)?;
            ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
            ensure("nothing was not put back", !world.journal().contains("not put back"))
        };
        fs::create_dir_all(&state).map_err(|error| Error(error.to_string()))?;
        run("mount", &["-t", "tmpfs", "-o", "ro", "tmpfs", &state])?;
        read_only()?;
        run("umount", &[&state])?;
        world.start_gateway()?;
        fs::remove_dir_all(&state).map_err(|error| Error(error.to_string()))?;
        wait_online(world)?;
        until("the folder is made", || {
            fs::exists(format!("{state}/previous.json")).unwrap_or(false)
        })
        .map(drop)
    })
}

/// Whatever is at the path of the status socket: exit 71 with the remedy, without any change of
/// files or network.
pub fn socket_that_cannot_be_made_is_exit_71() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        let untouched = network_of_head()?;
        let error = |error: std::io::Error| Error(error.to_string());
        let path = format!("{HOME}/taken.sock");
        let mut refused = |what: &str, path: &str, words: &str| -> Result<()> {
            world.set_settings(&format!("[sockets]\nstatus = \"{path}\"\n"));
            world.write_settings()?;
            let output = world.gateway_command("run").output().map_err(error)?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure(
                &format!("{what}: exit 71, not {:?}: {text}", output.status.code()),
                output.status.code() == Some(71),
            )?;
            ensure(
                &format!("{what}: it says why, and what to do: {text}"),
                text.contains(words) && text.contains("sockets.status"),
            )
        };
        fs::write(&path, "precious").map_err(error)?;
        refused("a file", &path, "not a socket")?;
        ensure(
            "it is still there",
            fs::read_to_string(&path).is_ok_and(|text| text == "precious"),
        )?;
        fs::remove_file(&path).map_err(error)?;
        let theirs = std::os::unix::net::UnixListener::bind(&path).map_err(error)?;
        refused("another's socket", &path, "another process answers")?;
        ensure("it is still there", std::os::unix::net::UnixStream::connect(&path).is_ok())?;
        drop(theirs);
        refused("no folder", &format!("{HOME}/a/b/c.sock"), "make its folder")?;
        refused("a read-only folder", "/proc/bramblegate.sock", "/proc/bramblegate.sock")?;
        same("the head's network", &untouched, &network_of_head()?)?;
        // A dead process's leftovers are no obstacle.
        world.set_settings(&format!("[sockets]\nstatus = \"{path}\"\n"));
        world.start_gateway()?;
        until("it answers", || watch::snapshot(path.as_ref()).is_ok())?;
        reload(world, "")?;
        until("new settings move the socket", || is(world, "cluster.total", "3"))?;
        ensure("and take the old one away", !fs::exists(&path).unwrap_or(true))
    })
}

/// Without CAP_NET_RAW neither ICMP nor ARP can be sent: that is reported, and no healthy node
/// counts as dead.
pub fn missing_net_raw_is_reported() -> Result<()> {
    before_start(PLAIN, |world| {
        let _ssh = world.serve("rpi3", "banner", "[::]:22")?;
        let nodes = "[[node]]\nname = \"rpi2\"\nprobe = \"arp\"\n[[node]]\nname = \"rpi3\"\n\
                     probe = [\"icmp\", \"tcp:22\"]\n";
        world.set_settings(nodes);
        must("head", "echo 1 0 > /proc/sys/net/ipv4/ping_group_range")?;
        let less = "--bounding-set=-net_raw";
        world.start_gateway_by(&["setpriv", less, "--inh-caps=-net_raw"], &[])?;
        until("it is reported", || {
            alert(world, "host-no-net-raw").is_some_and(|text| text.contains("arp and icmp"))
        })?;
        ensure(
            "in the journal too",
            world.journal().contains("host-no-net-raw: CAP_NET_RAW is missing"),
        )?;
        until("a node is known by what may be asked", || is(world, "nodes.rpi3.health", "up"))?;
        until("the internet is seen", || is(world, "uplink.state", "online"))?;
        let ticks = cpu(world)?;
        std::thread::sleep(Duration::from_millis(1500));
        let used = cpu(world)? - ticks;
        ensure(&format!("no busy loop: {used} ms of 1500"), used < 300)?;
        for name in ["rpi1", "rpi2"] {
            ensure(
                &format!("{name} is not called dead"),
                reported(world, &format!("nodes.{name}.health")) == "unknown",
            )?;
        }
        try_from(world, "rpi1", "http http://www.example/")?;
        let doctor =
            world.gateway_command("doctor").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
        ensure(&format!("doctor knows it: {text}"), text.contains("host-no-net-raw"))?;
        reload(
            world,
            &format!("{nodes}[uplink]\ncheck.method = \"ping\"\ncheck.host = \"203.0.113.80\"\n"),
        )?;
        until("the uplink's ping too", || {
            alert(world, "host-no-net-raw").is_some_and(|text| text.contains("ping"))
        })?;
        ensure("which says nothing of the internet", alert(world, "uplink-no-internet").is_none())?;
        must("head", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")?;
        until("everybody may ping", || is(world, "nodes.rpi1.health", "up"))?;
        until("it is only ARP now", || {
            alert(world, "host-no-net-raw").is_some_and(|text| !text.contains("icmp"))
        })
        .map(drop)
    })
}

/// Returns the milliseconds of processor time that the gateway has used.
fn cpu(world: &mut World) -> Result<u64> {
    let id = world.gateway().map(|gateway| gateway.id()).unwrap_or_default();
    let text =
        fs::read_to_string(format!("/proc/{id}/stat")).map_err(|error| Error(error.to_string()))?;
    let fields: Vec<u64> =
        text.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    Ok((fields.get(13).copied().unwrap_or(0) + fields.get(14).copied().unwrap_or(0)) * 10)
}

/// A panel that is refused, hangs, is unplugged and returns delays neither the rules nor itself.
pub fn panel_in_trouble_delays_nothing() -> Result<()> {
    before_start(PLAIN, |world| {
        let lcd = "600 nack 2\n1200 unplug\n1500 plug\n2300 stuck 700\n3300 glitch f\n3400 nack\n";
        let led = "600 stuck 1500\n2300 unplug\n2600 plug\n2700 nack 3\n";
        for (name, script) in [("lcd", lcd), ("led", led)] {
            fs::write(format!("{HOME}/{name}.script"), script)
                .map_err(|error| Error(error.to_string()))?;
        }
        world.set_settings(&format!(
            "[gateway]\nprotect = false\n[lcd]\nemulator_script = \"{HOME}/lcd.script\"\n[led]\n\
             emulator_script = \"{HOME}/led.script\"\n"
        ));
        world.start_gateway()?;
        wait_online(world)?;
        world.kill_client("eth1")?;
        let (start, mut round, mut worst) = (Instant::now(), 0, Duration::ZERO);
        while start.elapsed() < Duration::from_millis(3800) {
            round += 1;
            let address = format!("10.99.0.{}", 100 + round % 5);
            must(
                "head",
                &format!(
                    "ip addr flush dev eth1; ip addr add {address}/24 dev eth1; ip route add \
                     default via 10.99.0.1"
                ),
            )?;
            world.foreign_flush()?;
            let flushed = Instant::now();
            until("the rules are back", || {
                must("head", "nft list ruleset").is_ok_and(|text| text.contains("masquerade"))
            })?;
            worst = worst.max(flushed.elapsed());
            std::thread::sleep(Duration::from_millis(250));
        }
        println!("{round} rounds, the rules were away for {worst:?} at most");
        ensure(
            &format!("no flush was waited for: {worst:?}"),
            worst < Duration::from_millis(500) && round > 5,
        )?;
        ensure(
            "there was trouble",
            world.journal().contains("display: ") && world.journal().contains("LED: "),
        )?;
        let last = format!("10.99.0.{}", 100 + round % 5);
        until("row 1 is right again", || {
            world.glass().first().is_some_and(|row| row.trim_end() == last)
        })?;
        until("and nothing is wrong with the panel", || {
            is(world, "panel.lcd.state", "ok") && is(world, "panel.led.state", "ok")
        })
        .map(drop)
    })
}

/// A routing protocol's table, a container host's interfaces, a conflicting DHCP client: it stays
/// responsive, and is idle afterwards.
pub fn storms_are_ridden_out() -> Result<()> {
    before_start(PLAIN, |world| {
        world.start_gateway()?;
        wait_online(world)?;
        let routes: String = (0..2000)
            .map(|n| format!("route add 20.{}.{}.0/24 via 10.99.0.1 dev eth1\n", n / 250, n % 250))
            .collect();
        ip("head", &routes)?;
        answers_soon(world, "after 2000 routes")?;
        let links = (0..150)
            .map(|n| format!("link add d{n} up type veth peer name e{n}\nlink set e{n} up\n"));
        ip("head", &links.collect::<String>())?;
        answers_soon(world, "after 300 ports")?;
        world.kill_client("eth1")?;
        for round in 0..100 {
            let flap = |address: u32| {
                format!("ip addr flush dev eth1; ip addr add 10.99.0.{address}/24 dev eth1; ")
            };
            let line = flap(100 + round % 20)
                + &flap(77)
                + "ip route replace default via 10.99.0.1 dev eth1 metric 100";
            must("head", &line)?;
        }
        let start = Instant::now();
        until("row 1 is the last one", || {
            world.glass().first().is_some_and(|row| row.trim_end() == "10.99.0.77")
        })?;
        ensure(&format!("soon: {:?}", start.elapsed()), start.elapsed() < Duration::from_secs(3))?;
        answers_soon(world, "after 200 addresses")?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
        })?;
        until("all is well", || is(world, "severity", "ok"))?;
        // Late events have been processed by then.
        std::thread::sleep(Duration::from_secs(2));
        let before = cpu(world)?;
        std::thread::sleep(Duration::from_secs(2));
        let used = cpu(world)? - before;
        println!("{used} ms of processor in 2 s of quiet");
        ensure(&format!("quiet again: {used} ms of 2000"), used < 300)
    })
}

fn answers_soon(world: &World, when: &str) -> Result<()> {
    let start = Instant::now();
    world.status()?;
    println!("status {when}: {:?}", start.elapsed());
    ensure(
        &format!("{when} it answers soon: {:?}", start.elapsed()),
        start.elapsed() < Duration::from_millis(1500),
    )
}

/// Stopped at any moment of its start: it ends cleanly, with everything restored or, by "keep",
/// nothing half done.
pub fn stopped_while_it_starts() -> Result<()> {
    before_start(PLAIN, |world| {
        leased()?;
        ip("head", "link set eth0 up\n")?;
        let untouched = without_the_cluster_port(&network_of_head()?);
        let lock = format!("{HOME}/run/lock");
        let mut early = 0;
        for round in 0..36_u64 {
            world.set_settings(if round % 3 == 2 {
                ""
            } else {
                "[gateway]\non_stop = \"remove\"\n"
            });
            let _ = fs::remove_file(&lock);
            world.start_gateway()?;
            // Half of them from the first moment on, the others after the start of its work.
            if round % 2 == 0 {
                until("the lock is taken", || fs::exists(&lock).unwrap_or(false))?;
            }
            std::thread::sleep(Duration::from_micros(1200 * (round / 2)));
            match world.stop_gateway("TERM", STOP)? {
                0 => {}
                // Killed before it was the gateway: as `ip netns exec`, or the loader.
                143 if !fs::exists(&lock).unwrap_or(true) => early += 1,
                code => return Err(Error(format!("exit {code} in round {round}"))),
            }
            ensure("no socket is left", !fs::exists(world.socket()).unwrap_or(true))?;
            if round % 3 == 2 {
                let (rules, conf) = (
                    exec("head", "nft list table inet bramblegate")?,
                    "/proc/sys/net/ipv4/conf/eth0/forwarding",
                );
                let (loaded, forwarding) =
                    (rules.0 == 0, must("head", &format!("cat {conf}"))?.trim() == "1");
                ensure(
                    &format!("nothing is forwarded unjudged: {rules:?}"),
                    loaded || !forwarding,
                )?;
                ensure(
                    "the rules are whole",
                    !loaded || rules.1.contains("masquerade") && rules.1.contains("from_uplink"),
                )?;
                let output = world
                    .gateway_command("off")
                    .output()
                    .map_err(|error| Error(error.to_string()))?;
                ensure(&format!("off: {output:?}"), output.status.success())?;
            }
            same("the head's network", &untouched, &without_the_cluster_port(&network_of_head()?))?;
        }
        println!("{early} were killed before they were themselves");
        stopped_while_it_reads(world, &untouched)
    })
}

/// Settings that are slow to read: it handles signals already.
fn stopped_while_it_reads(world: &mut World, untouched: &str) -> Result<()> {
    let nodes = (0..5000).map(|n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        format!("[[node]]\nname = \"n{n}\"\nmac = \"02:00:00:01:{high:02x}:{low:02x}\"\n")
    });
    world.set_settings(&format!("[gateway]\non_stop = \"remove\"\n{}", nodes.collect::<String>()));
    world.start_gateway()?;
    let id = world.gateway().map(|gateway| gateway.id()).unwrap_or_default();
    // By its file, not by its path, which may differ where the tests run in a root of their own.
    let file = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let program = file(&crate::program());
    let exe = format!("/proc/{id}/exe");
    let itself = || program.is_some() && file(Path::new(&exe)) == program;
    until("it is itself", itself)?;
    std::thread::sleep(Duration::from_millis(60));
    let code = world.stop_gateway("TERM", STOP)?;
    ensure(&format!("stopped cleanly while it reads, not {code}"), code == 0)?;
    same("the head's network", untouched, &without_the_cluster_port(&network_of_head()?))
}
