//! Rules, forwarding, and their disturbance by other programs.

use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, must, spawn, within};
use bramblegate_lab::{Error, Result};

use super::scene::{
    PLAIN, Pinger, alert, before_start, ensure, is, online, promptly, reported, try_from, until,
    wait_online,
};

/// With owner and persist, another program's flush does not touch the table, and no other program
/// may delete it.
pub fn protected_table_survives_a_foreign_flush() -> Result<()> {
    online(PLAIN, |world| {
        let node = Pinger::start()?;
        for _ in 0..20 {
            world.foreign_flush()?;
            let (code, _) = exec("head", "nft delete table inet bramblegate")?;
            ensure("a foreign delete is refused", code != 0)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        ensure("the rules are there", must("head", "nft list ruleset")?.contains("masquerade"))?;
        ensure("nothing had to be repaired", is(world, "gateway.repaired", "0"))?;
        let (sent, lost) = node.finish()?;
        ensure(&format!("{lost} of {sent} packets lost"), lost == 0 && sent > 20)
    })
}

/// Without protection (or on a kernel before 6.9) the table is restored at once.
pub fn unprotected_table_is_put_back() -> Result<()> {
    before_start(PLAIN, |world| {
        world.set_settings("[gateway]\nprotect = false\n");
        world.start_gateway()?;
        wait_online(world)?;
        for round in 1..=5 {
            let start = Instant::now();
            world.foreign_flush()?;
            until("the rules are back", || {
                must("head", "nft list ruleset").is_ok_and(|text| text.contains("masquerade"))
            })?;
            promptly("they are back", start.elapsed(), Duration::from_millis(500))?;
            until("it was counted", || {
                reported(world, "gateway.repaired").parse::<u32>().is_ok_and(|n| n >= round)
            })?;
        }
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "http http://203.0.113.80/").is_ok()
        })
        .map(drop)
    })
}

pub fn forwarding_cleared_comes_back() -> Result<()> {
    online(PLAIN, |world| {
        for port in ["eth0", "eth1"] {
            must("head", &format!("echo 0 > /proc/sys/net/ipv4/conf/{port}/forwarding"))?;
            until("forwarding is back", || {
                must("head", &format!("cat /proc/sys/net/ipv4/conf/{port}/forwarding"))
                    .is_ok_and(|text| text.trim() == "1")
            })?;
        }
        // The global switch writes all of them.
        must(
            "head",
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/ip_forward",
        )?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
        })?;
        until("the status says so", || is(world, "gateway.forwarding", "true")).map(drop)
    })
}

pub fn cluster_address_removed_comes_back() -> Result<()> {
    online(PLAIN, |world| {
        must(
            "head",
            "ip addr add 192.168.50.200/24 dev eth0; ip addr del 192.168.50.1/24 dev eth0",
        )?;
        until("the address is back", || {
            must("head", "ip -4 addr show dev eth0")
                .is_ok_and(|text| text.contains("192.168.50.1/24"))
        })?;
        let text = must("head", "ip -4 addr show dev eth0")?;
        // Deleting the primary address deletes the secondary one too, unless promote_secondaries is
        // set: only the gateway's own is restored.
        println!("{text}");
        must("head", "ip link set eth0 down")?;
        until("the port is up again", || try_from(world, "rpi1", "ping 203.0.113.80").is_ok())
            .map(drop)
    })
}

/// `ip addr flush` repeats until nothing is left, and the gateway restores as often. In the end
/// everything is restored, and no wrong alert was raised.
pub fn flush_of_the_cluster_port_during_an_overlap() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.1/24", "192.168.50.254/24").replace("10.99.0.", "192.168.50.");
    online(&venue, |world| {
        ensure("the venue uses our subnet", is(world, "gateway.overlap", "routed"))?;
        let lines = world.journal().lines().count();
        for _ in 0..20 {
            let _ = exec("head", "ip addr flush dev eth0")?;
            let whole = || {
                must("head", "ip -4 addr show dev eth0")
                    .is_ok_and(|text| text.contains("192.168.50.1/24"))
                    && must("head", "ip route show table 50980")
                        .is_ok_and(|text| text.contains("src 192.168.50.1"))
            };
            until("address and route are back", whole)?;
        }
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
        })?;
        let journal = world.journal();
        let reported: Vec<&str> = journal.lines().skip(lines).collect();
        ensure(
            "it was reported",
            reported.iter().any(|line| line.contains("was removed from the cluster interface")),
        )?;
        let wrong: Vec<_> = reported
            .iter()
            .filter(|line| line.contains("routing: ") || line.contains("interfaces: "))
            .collect();
        ensure(&format!("nothing false: {wrong:?}"), wrong.is_empty())
    })
}

/// Docker's, firewalld's or the user's own: an accept in the gateway's table does not override it.
pub fn foreign_drop_policy_is_named() -> Result<()> {
    online(PLAIN, |world| {
        must(
            "head",
            "nft add table ip filter && nft 'add chain ip filter FORWARD { type filter hook \
             forward priority 0; policy drop; }'",
        )?;
        until("it is named", || is(world, "gateway.blocked_by.table", "ip filter"))?;
        until("with its chain", || is(world, "gateway.blocked_by.chain", "FORWARD"))?;
        ensure("with a remedy", !reported(world, "gateway.blocked_by.remedy").is_empty())?;
        until("it is an alert", || alert(world, "gateway-*").is_some())?;
        until("it is a fault", || is(world, "severity", "fault"))?;
        ensure("and true", try_from(world, "rpi1", "ping 203.0.113.80").is_err())?;
        must("head", "nft delete table ip filter")?;
        until("and taken back", || is(world, "gateway.blocked_by", "null"))?;
        until("a node reaches the internet", || {
            try_from(world, "rpi1", "ping 203.0.113.80").is_ok()
        })?;
        until("all is well", || is(world, "severity", "ok")).map(drop)
    })
}

pub fn venue_reaches_only_what_is_allowed() -> Result<()> {
    before_start(PLAIN, |world| {
        let ports = [21, 53, 80, 111, 443, 2049, 5432, 6443, 8000, 8010, 9090, 10250];
        let mut servers = Vec::new();
        for port in ports {
            servers.push(world.serve("head", "banner", &format!("[::]:{port}"))?);
        }
        world.set_settings("[uplink]\nallow = [\"ssh\", \"icmp\", \"tcp:8000-8005\"]\n");
        world.start_gateway()?;
        wait_online(world)?;
        let scan = |from: &str, address: &str| -> Vec<u16> {
            let world = &*world;
            std::thread::scope(|scope| {
                let tries: Vec<_> = ports
                    .iter()
                    .chain(&[22, 9100])
                    .map(|port| {
                        let target = format!("tcp {address}:{port}");
                        (*port, scope.spawn(move || try_from(world, from, &target).is_ok()))
                    })
                    .collect();
                tries
                    .into_iter()
                    .filter_map(|(port, open)| open.join().unwrap_or(true).then_some(port))
                    .collect()
            })
        };
        let mut open = scan("laptop", "10.99.0.126");
        open.sort_unstable();
        ensure(
            &format!("from the venue exactly 22 and 8000 are open, not {open:?}"),
            open == [22, 8000],
        )?;
        let inner = scan("rpi1", "192.168.50.1");
        ensure(
            &format!("from a node all are open, not {inner:?}"),
            inner.len() == ports.len() + 2,
        )?;
        // The cluster's own address must not bypass it.
        must("laptop", "ip route add 192.168.50.0/24 via 10.99.0.126")?;
        let around = scan("laptop", "192.168.50.1");
        ensure(
            &format!("by the cluster's address no more is open: {around:?}"),
            around.iter().all(|p| open.contains(p)),
        )
    })
}

pub fn venue_does_not_reach_the_nodes() -> Result<()> {
    online(PLAIN, |world| {
        let _ssh = world.serve("rpi1", "banner", "[::]:22")?;
        ensure("the node serves", try_from(world, "head", "tcp 192.168.50.11:22").is_ok())?;
        must("laptop", "ip route add 192.168.50.0/24 via 10.99.0.126")?;
        ensure(
            "no new connection from the venue",
            try_from(world, "laptop", "tcp 192.168.50.11:22").is_err(),
        )?;
        ensure("no ping either", try_from(world, "laptop", "ping 192.168.50.11").is_err())?;
        // Packets with addresses of the cluster from the venue are forged.
        must("laptop", "ip addr add 192.168.50.77/32 dev lo")?;
        let before = must("rpi1", "ip neigh; cat /proc/net/snmp | grep Icmp:")?;
        let (code, _) = exec("laptop", "busybox ping -c 2 -W 1 -I 192.168.50.77 192.168.50.11")?;
        ensure("forged sources get no answer", code != 0)?;
        let after = must("rpi1", "ip neigh; cat /proc/net/snmp | grep Icmp:")?;
        ensure(
            &format!("no neighbour .77 at the node\n{before}\n{after}"),
            !after.contains("192.168.50.77"),
        )
    })
}

pub fn maximum_segment_size_is_clamped() -> Result<()> {
    let venue = PLAIN.replace("laptop =", "mtu = 1280\nlaptop =");
    online(&venue, |world| {
        let log = std::path::PathBuf::from(format!("{HOME}/syn.log"));
        let mut tcpdump = within("venue", "tcpdump");
        let _listener = spawn(
            tcpdump.args(["-l", "-n", "-i", "wan", "tcp[tcpflags] & tcp-syn != 0 and port 80"]),
            &log,
        )?;
        until("tcpdump listens", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening"))
        })?;
        try_from(world, "rpi1", "http http://203.0.113.80/big")?;
        until("a SYN was seen", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("mss"))
        })?;
        std::thread::sleep(Duration::from_millis(200));
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        ensure(
            &format!("the node's SYN says 1240:\n{text}"),
            text.contains("[S]") && text.contains("mss 1240"),
        )
    })
}

/// An ssh session (here to a port that `allow` does not cover) must not be cut when the rules are
/// first loaded.
pub fn session_open_before_the_start_lives_on() -> Result<()> {
    before_start(PLAIN, |world| {
        until("a lease", || world.head_address().is_some())?;
        let _echo = world.serve("head", "echo", "[::]:7007")?;
        let log = std::path::PathBuf::from(format!("{HOME}/session.log"));
        let own = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
        let mut command = within("laptop", &own.to_string_lossy());
        let mut session =
            spawn(command.args(["venue-try", "talk", "10.99.0.126:7007", "8"]), &log)?;
        std::thread::sleep(Duration::from_millis(300));
        world.start_gateway()?;
        wait_online(world)?;
        ensure("a new one is refused", try_from(world, "laptop", "tcp 10.99.0.126:7007").is_err())?;
        let mut code = None;
        until("the session ends by itself", || {
            code = code.or_else(|| session.ended());
            code.is_some()
        })?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        ensure(&format!("the session lives: {text}"), code == Some(0))
    })
}

/// Containers, virtual machines, tunnels on the head: not the gateway's business.
pub fn other_networks_of_the_head_are_left_alone() -> Result<()> {
    before_start(PLAIN, |world| {
        must(
            "head",
            "ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link \
             set docker0 up && \
             echo 1 > /proc/sys/net/ipv4/conf/docker0/forwarding && echo 1 > \
             /proc/sys/net/ipv4/conf/eth1/forwarding",
        )?;
        must(
            "head",
            "nft -f - <<E\ntable ip containers {\n\
             chain pre { type nat hook prerouting priority -100; iifname eth1 tcp dport \
             8443 dnat to 172.17.0.2:22; }\n\
             chain post { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 \
             oifname eth1 masquerade; }\n}\nE",
        )?;
        bramblegate_lab::shell::ip(
            "",
            "netns add box\nlink add eth0 netns box type veth peer name box netns head\n",
        )?;
        bramblegate_lab::shell::ip("head", "link set box master docker0 up\n")?;
        bramblegate_lab::shell::ip(
            "box",
            "link set lo up\naddr add 172.17.0.2/16 dev eth0\nlink set eth0 up\n\
             route add default via 172.17.0.1\n",
        )?;
        let _server = world.serve("box", "banner", "[::]:22")?;
        until("a lease", || world.head_address().is_some())?;
        until("the container works before", || {
            try_from(world, "box", "ping 203.0.113.80").is_ok()
        })?;
        try_from(world, "laptop", "tcp HEAD:8443")?;
        world.start_gateway()?;
        wait_online(world)?;
        try_from(world, "box", "http http://203.0.113.80/")?;
        try_from(world, "laptop", "tcp HEAD:8443")?;
        try_from(world, "box", "ping 192.168.50.11")?;
        try_from(world, "rpi1", "tcp 172.17.0.2:22")
    })
}

/// A table with the gateway's name is replaced, whatever it contains.
pub fn foreign_table_of_our_name_is_replaced() -> Result<()> {
    before_start(PLAIN, |world| {
        must(
            "head",
            "nft add table inet bramblegate && nft 'add chain inet bramblegate old { type filter \
             hook forward priority 0; \
             policy drop; }'",
        )?;
        world.start_gateway()?;
        wait_online(world)?;
        let rules = must("head", "nft list table inet bramblegate")?;
        ensure("nothing of it is left", !rules.contains("chain old"))?;
        try_from(world, "rpi1", "http http://www.example/")
    })
}

/// Nodes get no IPv6 yet: IPv6 packets of theirs stay inside, even where another program made the
/// head an IPv6 router.
pub fn ipv6_is_not_forwarded() -> Result<()> {
    let venue = PLAIN.replace("[network.dhcp]", "ipv6 = \"2001:db8:7::/64\"\n[network.dhcp]");
    before_start(&venue, |world| {
        let _ssh = world.serve("rpi1", "banner", "[::]:22")?;
        must(
            "head",
            "echo 2 > /proc/sys/net/ipv6/conf/eth1/accept_ra; echo 1 > \
             /proc/sys/net/ipv6/conf/all/forwarding; \
             ip link set eth0 up; ip addr add 2001:db8:c1::1/64 dev eth0 nodad; ip addr add \
             2001:db8:7::9/64 dev eth1 nodad; \
             ip route replace default via 2001:db8:7::1 dev eth1",
        )?;
        must(
            "rpi1",
            "ip addr add 2001:db8:c1::11/64 dev eth0 nodad; ip route replace default via \
             2001:db8:c1::1",
        )?;
        must("venue", "ip route add 2001:db8:c1::/64 via 2001:db8:7::9")?;
        must("internet", "ip route add 2001:db8:c1::/64 via 2001:db8:f0::2")?;
        must(
            "laptop",
            "ip addr add 2001:db8:7::20/64 dev eth0 nodad; ip route add 2001:db8:c1::/64 via \
             2001:db8:7::9",
        )?;
        let outward = |world: &_| try_from(world, "rpi1", "tcp [2001:db8:80::80]:80");
        let inward = |world: &_| try_from(world, "laptop", "tcp [2001:db8:c1::11]:22");
        until("it is forwarded as long as no rule drops it", || {
            outward(world).is_ok() && inward(world).is_ok()
        })?;
        world.start_gateway()?;
        wait_online(world)?;
        ensure("nothing goes out", outward(world).is_err())?;
        ensure("nothing comes in", inward(world).is_err())?;
        ensure(
            "the head itself has IPv6",
            try_from(world, "head", "tcp [2001:db8:80::80]:80").is_ok(),
        )?;
        ensure("ssh answers by IPv6", try_from(world, "laptop", "tcp [2001:db8:7::9]:22").is_ok())?;
        ensure(
            "the rest does not",
            try_from(world, "laptop", "tcp [2001:db8:7::9]:9100").is_err(),
        )?;
        ensure(
            "nor by the cluster's address",
            try_from(world, "laptop", "tcp [2001:db8:c1::1]:9100").is_err(),
        )?;
        ensure(
            "head and node still talk",
            try_from(world, "head", "tcp [2001:db8:c1::11]:22").is_ok(),
        )?;
        ensure("IPv4 works", try_from(world, "rpi1", "http http://www.example/").is_ok())?;
        until("it is no alert", || is(world, "severity", "ok")).map(drop)
    })
}

/// `print ruleset` prints the kernel's rules, in a form that nft accepts.
pub fn printed_rule_set_is_what_the_kernel_holds() -> Result<()> {
    online(PLAIN, |world| {
        let output = world.gateway_command("print").output();
        let output = output.map_err(|error| Error(error.to_string()))?;
        ensure("print needs an argument", !output.status.success())?;
        let program = format!("STATE_DIRECTORY={HOME}/state {}", crate::program().display());
        let printed = must("head", &format!("{program} print ruleset -c {HOME}/bramblegate.toml"))?;
        std::fs::write(format!("{HOME}/printed.nft"), &printed)
            .map_err(|error| Error(error.to_string()))?;
        bramblegate_lab::shell::ip("", "netns add scratch\n")?;
        must("scratch", &format!("nft -c -f {HOME}/printed.nft && nft -f {HOME}/printed.nft"))?;
        let listing = |namespace: &str| super::scene::rules(namespace, "table inet bramblegate");
        super::scene::same("the rule set", &listing("scratch")?, &listing("head")?)?;
        let kernel = must(
            "head",
            &format!(
                "{} print ruleset --kernel -c {HOME}/bramblegate.toml",
                crate::program().display()
            ),
        )?;
        let flow_table = must("head", "nft list flowtables")?.contains("flowtable");
        ensure(
            "--kernel shows a flow table only where there is one",
            kernel.contains("flowtable") == flow_table,
        )?;
        ensure("and what the kernel counts", kernel.contains("counter packets"))?;
        let reported = if flow_table { ", with a flow table" } else { ", without a flow table" };
        ensure("the journal says so, once", world.journal().matches(reported).count() == 1)
    })
}
