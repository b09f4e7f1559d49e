//! Commands that alerts and `doctor` print, run as printed: afterwards the alert is gone, and the
//! function works. `tests/remedies.rs` lists the test of each.

use std::path::PathBuf;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, must, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::client::Client;
use super::scene::{PLAIN, alert, before_start, ensure, is, online, try_from, until, wait_online};
use super::service::{another_board, look_up};

const SERVE: &str = "[cluster.dhcp]\n";

/// Returns the commands in an alert's parentheses, "(sudo …)", without `sudo`, which the namespaces
/// lack.
pub fn command_of(text: &str) -> Result<String> {
    let command = text.split_once("(sudo ").and_then(|(_, rest)| rest.split_once(')'));
    let (command, _) = command.ok_or_else(|| Error(format!("no command in {text:?}")))?;
    println!("{command}");
    Ok(command.replace("sudo ", ""))
}

/// Waits for an alert that contains `what`, runs its command, and waits until it is gone.
fn cure(world: &World, code: &str, what: &str) -> Result<()> {
    let reported = || alert(world, code).filter(|text| text.contains(what));
    until(&format!("{code} is raised"), || reported().is_some())?;
    must("head", &command_of(&reported().unwrap_or_default())?)?;
    until(&format!("{code} is over"), || reported().is_none()).map(drop)
}

/// Returns the first command in backquotes of a finding of `doctor`, without `sudo`.
fn command_of_doctor(code: &str) -> Result<String> {
    // In a view of control groups of its own, so that the unit that these tests may run in holds
    // nothing.
    let line = format!(
        "unshare --cgroup {} doctor -c {HOME}/bramblegate.toml 2>&1",
        crate::program().display()
    );
    let (_, report) = exec("head", &line)?;
    let mut lines = report.lines().skip_while(|line| !line.contains(&format!("{code}:"))).skip(1);
    let command = lines.next().and_then(|remedy| remedy.split('`').nth(1));
    let command = command.ok_or_else(|| Error(format!("no command for {code} in\n{report}")))?;
    println!("{command}");
    Ok(command.replace("sudo ", ""))
}

pub fn ways_and_ports_are_put_right() -> Result<()> {
    online(PLAIN, |world| {
        let works = |world: &World| {
            until("a node reaches the internet", || {
                try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
            })
        };
        must("head", "ip route add default via 192.168.50.13 dev eth0 metric 1")?;
        cure(world, "uplink-exit-by", "back to the cluster interface eth0")?;
        works(world)?;
        must(
            "head",
            "ip link add spare type veth peer name other && ip link set spare up && ip addr add \
             10.77.0.2/24 dev spare
             sysctl -qw net.ipv4.conf.spare.ignore_routes_with_linkdown=0
             ip route add default via 10.77.0.1 dev spare metric 1",
        )?;
        cure(world, "uplink-exit-by", "spare, which has no carrier")?;
        works(world)?;
        must("head", "ip link del spare")?;
        must("head", "ip link set eth1 down")?;
        cure(world, "uplink-none", "eth1 is switched off")
    })
}

/// The cluster interface is a bridge without ports, then the uplink becomes one of its ports.
pub fn ports_of_a_bridge_are_put_right() -> Result<()> {
    before_start(PLAIN, |world| {
        must("head", "ip link add br0 type bridge")?;
        world.set_settings("[cluster]\ninterface = \"br0\"\n");
        world.start_gateway()?;
        let reported =
            || alert(world, "gateway-port-no-carrier").filter(|text| text.contains("has no port"));
        until("a bridge without ports is named", || reported().is_some())?;
        let command = command_of(&reported().unwrap_or_default())?;
        must("head", &command.replace("PORT", "eth0"))?;
        until("it is over", || reported().is_none())?;
        wait_online(world)?;
        must("head", "ip link set eth1 master br0")?;
        cure(world, "uplink-enslaved", "which leads to the nodes")?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
        })
        .map(drop)
    })
}

pub fn who_has_port_67_is_stopped() -> Result<()> {
    before_start(PLAIN, |world| {
        another_board("rpi2")?;
        let log = PathBuf::from(format!("{HOME}/holder.log"));
        // The system's own, as Debian's package starts it.
        let mut other = within("head", "dnsmasq");
        other.args([
            "-k",
            "-C",
            "/dev/null",
            "--port=0",
            "--interface=lo",
            "--pid-file",
            "--user=root",
        ]);
        let leases = format!("--dhcp-leasefile={HOME}/holder.leases");
        let _holder = spawn(other.args(["--dhcp-range=10.77.0.5,10.77.0.9", &leases]), &log)?;
        until("it has the port", || {
            must("head", "ss -lun").is_ok_and(|text| text.contains("0.0.0.0:67"))
        })?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        let reported =
            || alert(world, "gateway-dnsmasq-failed").filter(|text| text.contains("port 67"));
        until("it is reported", || reported().is_some())?;
        let text = reported().unwrap_or_default();
        ensure(
            &format!("with who knows more: {text}"),
            text.contains("`sudo bramblegate doctor` names it"),
        )?;
        let command = command_of_doctor("host-port-67")?;
        ensure(&format!("the holder is to be stopped: {command}"), command.starts_with("kill "))?;
        must("head", &command)?;
        // The next attempt comes after ten seconds at most.
        let served = || reported().is_none() && is(world, "cluster.dhcp", "serving");
        until("it is over", served).or_else(|_| until("it is over", served))?;
        // Wait until its end: it reports the lease before it sets the address.
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        until("names too", || look_up("rpi2", "worker.bramble").contains(&address)).map(drop)
    })
}

/// BPDUs that announce twice 30 s, from a real bridge instead of a node; any program can send them.
pub fn who_holds_dhcp_back_is_seen() -> Result<()> {
    before_start(PLAIN, |world| {
        must(
            "rpi3",
            "ip link add tree type bridge stp_state 1 forward_delay 3000 hello_time 100
             ip link set eth0 master tree && ip link set tree up",
        )?;
        let sender = must("rpi3", "cat /sys/class/net/eth0/address")?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        until("it is reported", || alert(world, "gateway-dhcp-held").is_some())?;
        let text = alert(world, "gateway-dhcp-held").unwrap_or_default();
        let bound: u64 = text
            .split("up to ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or(0);
        ensure(&format!("with a bound: {text}"), (40..=62).contains(&bound))?;
        ensure(
            "as a notice",
            is(world, "severity", "notice") || alert(world, "uplink-*").is_some(),
        )?;
        let looks = command_of(&text)?;
        let seen = must("head", &format!("timeout 5 {looks} -c 1 2>/dev/null"))?;
        ensure(&format!("the command shows who sends them: {seen}"), seen.contains(sender.trim()))?;
        must("switch", "ip link set head down")?;
        until("another cable, another answer", || alert(world, "gateway-dhcp-held").is_none())
            .map(drop)
    })
}

/// Where no readable rule explains the drop, the advice shows iptables-legacy's rules.
pub fn what_is_advised_to_look_at_shows_rules() -> Result<()> {
    online(PLAIN, |world| {
        must(
            "head",
            "nft add table ip odd && nft 'add chain ip odd f { type filter hook forward priority \
             5; }' && \
             nft add rule ip odd f meta mark 0 ip protocol icmp drop && iptables-legacy -A \
             FORWARD -p tcp --dport 7 -j DROP",
        )?;
        let reported =
            || alert(world, "gateway-blocked").filter(|text| text.contains("do not leave"));
        let mut waited = Err(Error("not tried".to_owned()));
        for _ in 0..3 {
            exec(
                "rpi1",
                "for n in $(seq 20); do ping -c 1 -W 0.1 203.0.113.80 >/dev/null; done; true",
            )?;
            waited = until("it is noticed", || reported().is_some());
            if waited.is_ok() {
                break;
            }
        }
        waited?;
        let text = reported().unwrap_or_default().replace("(try: sudo", "(sudo");
        let seen = must("head", &command_of(&text)?)?;
        ensure(&format!("the rules are seen: {seen}"), seen.contains("--dport 7 -j DROP"))?;
        // A board of an unknown network. Another program's change causes an immediate read of the
        // counters.
        must("rpi3", "ip addr add 172.31.0.9/24 dev eth0")?;
        let ping = "busybox ping -c 8 -i 0.1 -W 1 -I 172.31.0.9 203.0.113.80";
        let _ = exec("rpi3", ping)?;
        must("head", "nft delete table ip odd")?;
        let reported =
            || alert(world, "gateway-drops").filter(|text| text.contains("find the board"));
        until("what we drop is named", || reported().is_some())?;
        let looks = command_of(&reported().unwrap_or_default())?;
        let later = spawn(
            within("rpi3", "sh").args(["-c", &format!("sleep 1; {ping}")]),
            &PathBuf::from("/dev/null"),
        )?;
        let seen = must("head", &format!("timeout 9 {looks} -c 1 2>/dev/null"));
        drop(later);
        let seen = seen?;
        ensure(&format!("the board is seen: {seen}"), seen.contains("172.31.0.9"))
    })
}
