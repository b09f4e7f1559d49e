//! Addresses and names for the nodes, with real clients, a real resolver and the real dnsmasq.

use std::fs;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, must};
use bramblegate_lab::{Error, Result, Venue, World};

use super::client::Client;
use super::scene::{PLAIN, STOP, alert, before_start, ensure, is, promptly, try_from, until};

/// Serves addresses; the settings identify one node by its hardware address.
const SERVE: &str = "[cluster.dhcp]\n[[node]]\nname = \"rpi3\"\nmac = \"b8:27:eb:00:00:03\"\n";

/// Another board in a node's place that the settings do not name: theirs would keep its name. It
/// has no address until it requests one: if it were seen at the node's, it would be that node.
pub fn another_board(node: &str) -> Result<()> {
    let mac = format!("06:00:00:00:00:0{}", node.trim_start_matches("rpi"));
    must(node, &format!("ip -4 addr flush dev eth0; ip link set eth0 address {mac}")).map(drop)
}

/// A world whose gateway serves the nodes.
pub fn serving(
    venue: &str,
    settings: &str,
    story: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    before_start(venue, |world| {
        world.set_settings(settings);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        story(world)
    })
}

/// Returns the answer of a node's resolver for a name or an address; does not wait long for a
/// missing server.
pub fn look_up(node: &str, name: &str) -> String {
    exec(node, &format!("timeout 0.4 busybox nslookup {name} 192.168.50.1"))
        .map(|(_, text)| text)
        .unwrap_or_default()
}

pub fn dnsmasq_of_ours() -> Option<String> {
    let text = must("head", "pgrep -f 'dnsmasq --conf-fil[e]=/run/world/run/dnsmasq/main'").ok()?;
    text.lines().next().map(str::to_owned)
}

pub fn nodes_get_addresses_and_names() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        another_board("rpi2")?;
        let worker = Client::udhcpc("rpi2", "worker")?;
        let (address, took) = worker.wait()?;
        promptly("it has an address", took, Duration::from_millis(300))?;
        let host: u8 = address.rsplit('.').next().and_then(|part| part.parse().ok()).unwrap_or(0);
        ensure(
            &format!("{address} is in the range"),
            address.starts_with("192.168.50.") && (100..200).contains(&host),
        )?;
        let name = look_up("rpi2", "worker.bramble");
        ensure(&format!("its name is known at once: {name}"), name.contains(&address))?;
        let lease = worker.lease().unwrap_or_default();
        for reported in ["router=192.168.50.1", "dns=192.168.50.1", "domain=bramble", "lease=3600"]
        {
            ensure(&format!("it was sent {reported}: {lease}"), lease.contains(reported))?;
        }
        let name = look_up("rpi2", &address);
        ensure(&format!("so is the name of its address: {name}"), name.contains("worker.bramble"))?;
        let known = Client::udhcpc("rpi3", "something-else")?;
        ensure("the settings give rpi3 its address", known.wait()?.0 == "192.168.50.13")?;
        for (name, answer) in [
            ("rpi1.bramble", "192.168.50.11"),
            ("rpi3.bramble", "192.168.50.13"),
            ("www.example", "203.0.113.80"),
            ("192.168.50.11", "rpi1.bramble"),
        ] {
            until(&format!("{name} is {answer}"), || look_up("rpi2", name).contains(answer))?;
        }
        let head =
            must("head", "hostname")?.trim().split('.').next().unwrap_or_default().to_lowercase();
        until("the head has a name", || {
            look_up("rpi2", &format!("{head}.bramble")).contains("192.168.50.1")
        })?;
        another_board("rpi1")?;
        let other = Client::dhcpcd("rpi1", "second")?;
        let (address, _) = other.wait()?;
        ensure(&format!("{address} is another"), Some(address.clone()) != worker.address())?;
        until("dhcpcd's name too", || look_up("rpi2", "second.bramble").contains(&address))?;
        until("the journal tells who has what", || {
            world.journal().contains(&format!("has the address {address}"))
        })?;
        let printed = world
            .gateway_command("print")
            .arg("dnsmasq")
            .output()
            .map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        let main = fs::read_to_string(format!("{HOME}/run/dnsmasq/main")).unwrap_or_default();
        ensure(
            &format!("what is printed is what dnsmasq was given:\n{text}"),
            text.starts_with(&main) && !main.is_empty(),
        )?;
        fs::write(format!("{HOME}/printed"), text).map_err(|error| Error(error.to_string()))?;
        must("head", &format!("dnsmasq --test -C {HOME}/printed"))?;
        let (code, text) = exec("venue", "busybox nslookup rpi1.bramble 10.99.0.126")?;
        ensure(
            &format!("the venue is sent nothing: {text}"),
            code != 0 && !text.contains("192.168.50.11"),
        )
    })
}

/// Renews the lease. The client's signal alone is not an answer yet.
pub fn renew(client: &Client) -> Result<String> {
    let renewals = || {
        let log = fs::read_to_string(&client.log).unwrap_or_default();
        log.lines().filter(|line| line.starts_with("renew ")).count()
    };
    let before = renewals();
    client.running.signal("USR1")?;
    until("it is renewed", || renewals() > before)?;
    Ok(client.address().unwrap_or_default())
}

pub fn leases_outlive_everything() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        let copy = format!("{HOME}/state/dnsmasq.leases");
        until("it is on the disk", || {
            fs::read_to_string(&copy).is_ok_and(|text| text.contains(&address))
        })?;
        let written = fs::metadata(&copy).and_then(|file| file.modified()).ok();
        ensure("a renewal keeps the address", renew(&client)? == address)?;
        for signal in ["TERM", "KILL"] {
            world.stop_gateway(signal, STOP)?;
            until("dnsmasq ends with it", || dnsmasq_of_ours().is_none())?;
            world.start_gateway()?;
            until("it serves again", || is(world, "cluster.dhcp", "serving"))?;
            ensure("the name is known", look_up("rpi2", "worker.bramble").contains(&address))?;
            ensure("the address stays", renew(&client)? == address)?;
        }
        ensure(
            "and none of it was written again",
            fs::metadata(&copy).and_then(|file| file.modified()).ok() == written,
        )?;
        // A power cut: memory is lost, and the disk has wrong data.
        world.stop_gateway("KILL", STOP)?;
        must("head", &format!("rm -r {HOME}/run/dnsmasq; printf '1 b8:27\\377' >> {copy}"))?;
        world.start_gateway()?;
        until("it serves again", || is(world, "cluster.dhcp", "serving"))?;
        ensure("the name is known", look_up("rpi2", "worker.bramble").contains(&address))?;
        ensure("the damage is said", world.journal().contains("line 2 is damaged"))?;
        ensure("the address stays", renew(&client)? == address)
    })
}

pub fn leases_are_heard_of_again() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        let listed = |world: &World, name: &str, address: &str| {
            let nodes = world.status().map(|status| status.nodes).unwrap_or_default();
            let node = nodes.iter().find(|node| node.name == *name);
            node.and_then(|node| node.address).is_some_and(|held| held.to_string() == address)
        };
        let client = Client::udhcpc_with("rpi2", "worker", &["-x", "0x3d:ff0000000100"])?;
        let (address, _) = client.wait()?;
        until("it is listed", || listed(world, "rpi2", &address))?;
        super::scene::reload(world, "")?;
        until("nothing is served", || dnsmasq_of_ours().is_none())?;
        ensure("who has an address has it still", listed(world, "rpi2", &address))?;
        super::scene::reload(world, SERVE)?;
        until("it serves again", || {
            is(world, "cluster.dhcp", "serving") && dnsmasq_of_ours().is_some()
        })?;
        must("switch", "ip link set head down")?;
        until("nothing is served on a port without a cable", || dnsmasq_of_ours().is_none())?;
        must("switch", "ip link set head up")?;
        until("it serves again", || {
            is(world, "cluster.dhcp", "serving") && dnsmasq_of_ours().is_some()
        })?;
        // Another card in the same board: its system has another client identifier.
        drop(client);
        let client = Client::udhcpc_with("rpi2", "kitchen", &["-x", "0x3d:ff0000000200"])?;
        let (again, _) = client.wait()?;
        ensure(&format!("one board has one lease: {address}, {again}"), again == address)?;
        let (other, _) = Client::udhcpc("rpi1", "second")?.wait()?;
        until("a lease of now is heard of", || listed(world, "rpi1", &other))?;
        let copy = format!("{HOME}/state/dnsmasq.leases");
        until("and kept", || fs::read_to_string(&copy).is_ok_and(|text| text.contains(&other)))?;
        ensure(
            "once",
            fs::read_to_string(&copy)
                .is_ok_and(|text| text.matches("b8:27:eb:00:00:02").count() == 1),
        )
    })
}

/// Another program's default deny (ufw's, as iptables on nf_tables has it): reported with its
/// remedy, and the nodes are served again. A drop without a readable rule is detected by missing
/// packets.
pub fn drop_at_input_is_named_and_its_remedy_helps() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        another_board("rpi2")?;
        must(
            "head",
            "iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -A INPUT -m conntrack --ctstate \
             RELATED,ESTABLISHED -j ACCEPT
             iptables-nft -P INPUT DROP",
        )?;
        until("it is named", || {
            alert(world, "gateway-blocked").is_some_and(|text| text.contains("(DHCP)"))
        })?;
        ensure(
            "with its chain",
            is(world, "gateway.blocked_by.chain", "INPUT") && is(world, "severity", "fault"),
        )?;
        let (code, report) = doctor()?;
        ensure(
            &format!("doctor too ({code}):\n{report}"),
            code == 2 && report.contains("for addresses (DHCP)"),
        )?;
        let text = alert(world, "gateway-blocked").unwrap_or_default();
        let commands =
            text.split_once("(uplink.allow): ").map(|(_, commands)| commands).unwrap_or_default();
        ensure(
            &format!("with a remedy: {text}"),
            commands.starts_with("iptables -I INPUT -i eth0 -j ACCEPT"),
        )?;
        must("head", &commands.replace("iptables ", "iptables-nft "))?;
        until("and over", || alert(world, "gateway-blocked").is_none())?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        until("names too", || look_up("rpi2", "worker.bramble").contains(&address))?;
        try_from(world, "laptop", "ping HEAD")?;

        must(
            "head",
            "nft add table ip odd && nft 'add chain ip odd i { type filter hook input priority 0; \
             }' && nft add rule ip odd i meta mark 0 udp dport 67 drop",
        )?;
        must("rpi2", "busybox udhcpc -i eth0 -n -q -t 8 -T 1 -s /bin/true || true")?;
        until("what does not arrive is noticed", || {
            alert(world, "gateway-blocked")
                .is_some_and(|text| text.contains("do not reach dnsmasq"))
        })?;
        let text = alert(world, "gateway-blocked").unwrap_or_default();
        let looks = text
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|look| look.replace("sudo ", "").replace("PORT", "eth0"));
        let seen = looks.map(|look| must("head", &look)).collect::<Result<String>>()?;
        ensure(
            &format!("what it advises to look at shows the rule:\n{seen}"),
            seen.contains("udp dport 67 drop"),
        )?;
        must("head", "nft delete table ip odd")?;
        must("rpi2", "busybox udhcpc -i eth0 -n -q -t 4 -T 1 -s /bin/true")?;
        until("and over again", || alert(world, "gateway-blocked").is_none()).map(drop)
    })
}

fn doctor() -> Result<(i32, String)> {
    bramblegate_lab::shell::exec(
        "head",
        &format!("{} doctor -c {HOME}/bramblegate.toml 2>&1", crate::program().display()),
    )
}

/// dnsmasq runs but hangs: detected, reported, killed. Where it serves names it is queried; where
/// not, its process is checked.
pub fn dnsmasq_that_stands_still() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        let id = dnsmasq_of_ours().ok_or_else(|| Error("dnsmasq does not run".into()))?;
        must("head", &format!("kill -STOP {id}"))?;
        until("it is named", || {
            alert(world, "gateway-dnsmasq-failed").is_some_and(|text| text.contains("stands still"))
        })?;
        until("another answers", || {
            dnsmasq_of_ours().is_some_and(|new| new != id)
                && look_up("rpi2", "worker.bramble").contains(&address)
        })?;
        ensure("the address stays", renew(&client)? == address)?;
        // Another program's rules drop the gateway's own query: that is no reason to kill a dnsmasq
        // that serves the nodes.
        let id = dnsmasq_of_ours();
        must(
            "head",
            "nft add table ip lo && nft 'add chain ip lo i { type filter hook input priority 0; \
             }' && nft add rule ip lo i iif lo udp dport 53 drop",
        )?;
        until("it is reported", || {
            world.journal().contains("another program drop it on the loopback interface")
        })?;
        ensure("the same one lives on", dnsmasq_of_ours() == id)?;
        ensure("and answers", look_up("rpi2", "worker.bramble").contains(&address))?;
        until("the one before is forgiven", || alert(world, "gateway-dnsmasq-failed").is_none())
            .map(drop)
    })
}

pub fn dnsmasq_killed_fifty_times() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let id = dnsmasq_of_ours().ok_or_else(|| Error("dnsmasq does not run".into()))?;
            let start = Instant::now();
            must("head", &format!("kill -KILL {id}"))?;
            until("another answers", || {
                dnsmasq_of_ours().is_some_and(|new| new != id)
                    && look_up("rpi2", "worker.bramble").contains(&address)
            })?;
            longest = longest.max(start.elapsed());
        }
        println!("longest gap {longest:?}");
        ensure(&format!("the longest gap is {longest:?}"), longest < Duration::from_secs(1))?;
        ensure("the address stays", renew(&client)? == address)?;
        ensure("it serves", is(world, "cluster.dhcp", "serving"))?;
        let start = Instant::now();
        super::scene::reload(
            world,
            &SERVE.replace(
                "[cluster.dhcp]",
                "[cluster.dhcp]\nrange = \"192.168.50.150-192.168.50.180\"",
            ),
        )?;
        until("the range is another", || {
            fs::read_to_string(format!("{HOME}/run/dnsmasq/main"))
                .is_ok_and(|text| text.contains("192.168.50.150"))
        })?;
        until("it answers", || look_up("rpi2", "worker.bramble").contains(&address))?;
        ensure("a restart is no gap of a second", start.elapsed() < Duration::from_secs(1))
    })
}

pub fn what_cannot_be_served_is_an_alert() -> Result<()> {
    let one = format!("{SERVE}[cluster.netboot]\nroot = \"/nowhere\"\n")
        .replace("[cluster.dhcp]", "[cluster.dhcp]\nrange = \"192.168.50.150-192.168.50.150\"");
    serving(PLAIN, &one, |world| {
        until("no boot files", || {
            alert(world, "gateway-netboot").is_some_and(|text| text.contains("/nowhere: No such"))
        })?;
        another_board("rpi1")?;
        another_board("rpi2")?;
        let (address, _) = Client::udhcpc("rpi2", "first")?.wait()?;
        ensure(
            "the only one",
            address == "192.168.50.150" && alert(world, "gateway-dhcp-full").is_none(),
        )?;
        let second = Client::udhcpc("rpi1", "second")?;
        until("none is left", || {
            alert(world, "gateway-dhcp-full").is_some_and(|text| text.contains("06:00:00:00:00:01"))
        })?;
        super::scene::reload(
            world,
            &SERVE.replace(
                "[cluster.dhcp]",
                "[cluster.dhcp]\nrange = \"192.168.50.150-192.168.50.160\"",
            ),
        )?;
        until("there are more", || alert(world, "gateway-dhcp-full").is_none())?;
        until("and no node boots", || alert(world, "gateway-netboot").is_none())?;
        until("it gets one", || second.address().is_some()).map(drop)
    })
}

pub fn port_53_taken_leaves_addresses() -> Result<()> {
    before_start(PLAIN, |world| {
        let mut other = world.serve("head", "banner", "[::]:53")?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("what is missing is said", || {
            alert(world, "gateway-dnsmasq-no-names").is_some_and(|text| text.contains("port 53"))
        })?;
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        client.wait()?;
        let lease = client.lease().unwrap_or_default();
        until("the nodes ask the venue's resolver", || {
            let _ = client.running.signal("USR1");
            std::thread::sleep(Duration::from_millis(200));
            client.lease().is_some_and(|lease| lease.contains("dns=10.99.0.1"))
        })
        .map_err(|error| Error(format!("{error}: {lease}")))?;
        other.kill();
        until("with the port free names are served", || {
            look_up("rpi2", "rpi1.bramble").contains("192.168.50.11")
        })?;
        until("and it is over", || alert(world, "gateway-dnsmasq-no-names").is_none()).map(drop)
    })
}

pub fn full_disk_is_reported() -> Result<()> {
    before_start(PLAIN, |world| {
        let state = format!("{HOME}/state");
        fs::create_dir_all(&state).map_err(|error| Error(error.to_string()))?;
        // Mounted here, so that the head, whose mounts are derived from these, sees it.
        bramblegate_lab::shell::run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &state])?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        let full = must(
            "head",
            &format!(
                "exec 2>&1; dd if=/dev/zero of={state}/filler bs=1k count=100; df {state}; ls -l \
                 {state}"
            ),
        )?;
        let written = || {
            format!(
                "{full}{}",
                must("head", &format!("ls -l {state}; df {state}")).unwrap_or_default()
            )
        };
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        until("it is reported", || {
            world.journal().contains("cannot be written, so leases would not outlive")
        })
        .map_err(|error| Error(format!("{error}: {}", written())))?;
        ensure(
            "the name is known all the same",
            look_up("rpi2", "worker.bramble").contains(&address),
        )?;
        must("head", &format!("rm {state}/filler"))?;
        another_board("rpi1")?;
        Client::udhcpc("rpi1", "second")?.wait()?;
        until("with room again both are kept", || {
            fs::read_to_string(format!("{state}/dnsmasq.leases"))
                .is_ok_and(|text| text.lines().count() == 2)
        })
        .map(drop)
    })
}

pub fn cluster_that_moves_keeps_host_parts() -> Result<()> {
    let venue =
        PLAIN.replace("10.99.0.", "192.168.50.").replace("192.168.50.1/24", "192.168.50.254/24");
    serving(&venue, SERVE, |world| {
        until("the overlap is seen", || is(world, "gateway.overlap", "routed"))?;
        until("names are asked by the uplink", || {
            fs::read_to_string(format!("{HOME}/run/dnsmasq/servers"))
                .is_ok_and(|text| text == "server=192.168.50.254@eth1\n")
        })?;
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let known = Client::udhcpc("rpi3", "rpi3")?;
        let (address, _) = client.wait()?;
        known.wait()?;
        ensure(
            "leases are short",
            client.lease().is_some_and(|lease| lease.contains("lease=120")),
        )?;
        until("a name of the internet", || {
            look_up("rpi2", "www.example").contains("203.0.113.80")
        })?;
        world.change_dhcp("eth1", |dhcp| {
            dhcp.address = "192.168.50.11".parse().unwrap_or(dhcp.address)
        })?;
        world.pull_cable("eth1")?;
        world.plug_cable("eth1")?;
        until("the cluster has moved", || is(world, "cluster.address", "10.213.50.1/24"))?;
        until("it serves there", || {
            must("head", "ss -lun").is_ok_and(|text| text.contains("10.213.50.1:53"))
        })?;
        // A client requests its previous address, like after its cable was unplugged.
        for (client, address) in [(&client, address.as_str()), (&known, "192.168.50.13")] {
            client.running.signal("USR1")?;
            let wanted = address.replace("192.168.50", "10.213.50");
            until(&format!("{address} becomes {wanted}"), || {
                client.address().as_deref() == Some(wanted.as_str())
            })?;
        }
        let text = exec("rpi2", "busybox nslookup worker.bramble 10.213.50.1")?.1;
        ensure(
            &format!("the name moves along: {text}"),
            text.contains(&address.replace("192.168.50", "10.213.50")),
        )?;
        until("the journal tells it", || world.journal().contains("has the address 10.213.50.13"))?;
        // rpi1 does not request its address: the head has only seen it.
        until("the name of a static node stays with it", || {
            exec("rpi2", "busybox nslookup rpi1.bramble 10.213.50.1")
                .is_ok_and(|(_, text)| text.contains("192.168.50.11"))
        })?;
        world.change_dhcp("eth1", |dhcp| {
            dhcp.address = "192.168.50.126".parse().unwrap_or(dhcp.address)
        })?;
        world.pull_cable("eth1")?;
        world.plug_cable("eth1")?;
        until("the cluster is at home", || is(world, "cluster.address", "192.168.50.1/24"))?;
        until("it serves there", || {
            must("head", "ss -lun").is_ok_and(|text| text.contains("192.168.50.1:53"))
        })?;
        client.running.signal("USR1")?;
        until("who moved is home", || client.address().as_deref() == Some(address.as_str()))?;
        until("and so is its name", || look_up("rpi2", "worker.bramble").contains(&address))
            .map(drop)
    })
}

pub fn names_follow_the_venue() -> Result<()> {
    serving(PLAIN, SERVE, |world| {
        let servers =
            || fs::read_to_string(format!("{HOME}/run/dnsmasq/servers")).unwrap_or_default();
        until("the venue's resolver is asked", || servers() == "server=10.99.0.1\n")?;
        until("a name", || look_up("rpi2", "www.example").contains("203.0.113.80"))?;
        let id = dnsmasq_of_ours();
        let elsewhere = PLAIN.replace("10.99.0.", "172.20.5.");
        world.move_to(&Venue::parse("elsewhere", &elsewhere)?)?;
        until("the other venue's resolver is asked", || servers() == "server=172.20.5.1\n")?;
        until("another name", || look_up("rpi2", "elsewhere.example").contains("203.0.113.80"))?;
        ensure("and dnsmasq was not restarted for it", id.is_some() && dnsmasq_of_ours() == id)?;
        world.pull_cable("eth1")?;
        ensure(
            "names of the cluster need no venue",
            look_up("rpi2", "rpi1.bramble").contains("192.168.50.11"),
        )
    })
}

pub fn missing_dnsmasq_is_named() -> Result<()> {
    before_start(PLAIN, |world| {
        bramblegate_lab::shell::run("mount", &["--bind", "/dev/null", "/usr/sbin/dnsmasq"])?;
        world.set_settings(SERVE);
        world.start_gateway()?;
        until("it is reported", || {
            alert(world, "gateway-dnsmasq-missing")
                .is_some_and(|text| text.contains("dnsmasq-base"))
        })?;
        until("the status says failed", || is(world, "cluster.dhcp", "failed"))?;
        until("the LCD says so", || world.glass().concat().contains("NO DNSMASQ"))?;
        super::scene::try_from(world, "rpi1", "ping 203.0.113.80")?;
        let doctor =
            world.gateway_command("doctor").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
        ensure(&format!("doctor names it: {text}"), text.contains("gateway-dnsmasq-missing"))?;
        let check =
            world.gateway_command("check").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&check.stderr).into_owned();
        ensure(
            &format!("check names it and accepts the settings: {text}"),
            text.contains("dnsmasq") && check.status.success(),
        )
    })
}

pub fn three_capabilities_are_enough() -> Result<()> {
    before_start(PLAIN, |world| {
        let only = "-all,+net_admin,+net_raw,+net_bind_service";
        must(
            "head",
            &format!("mkdir -p {HOME}/state {HOME}/run; chmod 777 {HOME} {HOME}/state {HOME}/run"),
        )?;
        let ambient = "+net_admin,+net_raw,+net_bind_service";
        let user = [
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--bounding-set",
            only,
            "--inh-caps",
            only,
            "--ambient-caps",
            ambient,
            "--no-new-privs",
        ];
        world.set_settings(SERVE);
        world.start_gateway_by(&user, &[])?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        let id = dnsmasq_of_ours().ok_or_else(|| Error("dnsmasq does not run".into()))?;
        let status = must("head", &format!("cat /proc/{id}/status"))?;
        ensure(&format!("dnsmasq is nobody:\n{status}"), status.contains("Uid:\t65534\t65534"))?;
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        let (address, _) = client.wait()?;
        ensure("its name is known", look_up("rpi2", "worker.bramble").contains(&address))?;
        world.stop_gateway("KILL", STOP)?;
        until("dnsmasq ends with a daemon that was killed", || dnsmasq_of_ours().is_none())
            .map(drop)
    })
}
