mod dhcp;
mod routing;
mod share;
mod swap;
mod uplink;
mod web;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::board::Board;

/// A head node made of files: eth0 to the nodes, wlan0 to the venue, without problems.
struct Head {
    root: PathBuf,
    settings: String,
    answers: Vec<(&'static str, &'static str)>,
}

impl Head {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("bramblegate-doctor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let settings = "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\n\
                        lcd.bus = \"off\"\nled.device = \"off\"\n";
        let head = Self { root, settings: settings.to_owned(), answers: Vec::new() };
        for port in ["lo", "eth0", "wlan0"] {
            head.file(&format!("/sys/class/net/{port}/address"), "02:00:00:00:00:01\n");
        }
        head.file(
            "/etc/ssh/sshd_config",
            "# Port 99\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
        );
        head.file("/proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\n");
        head.file("/etc/group", "root:x:0:\ni2c:x:994:\nbramblegate:x:990:\n");
        head
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn with(self, path: &str, text: &str) -> Self {
        self.file(path, text);
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    fn set(mut self, settings: &str) -> Self {
        self.settings = settings.to_owned();
        self
    }

    fn answer(mut self, command: &'static str, answer: &'static str) -> Self {
        self.answers.push((command, answer));
        self
    }

    fn all(&self) -> Vec<Finding> {
        let board = Board::built_in("raspberry-pi-4").unwrap();
        let settings = crate::config::load(&[("t", self.settings.as_str())], &board).unwrap();
        let machine = Machine::pretend(&self.root, &self.answers);
        examine(&CheckContext { machine: &machine, settings: &settings })
    }

    fn findings(&self) -> Vec<Finding> {
        let mut all = self.all();
        all.retain(|finding| finding.rank > Rank::Hint);
        all
    }

    fn hints(&self) -> Vec<Finding> {
        let mut all = self.all();
        all.retain(|finding| finding.rank == Rank::Hint);
        all
    }

    /// Asserts that this is the only finding.
    fn has_finding(self, code: &str, text: &str, remedy: &str) -> Finding {
        let findings = self.findings();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        let finding = findings.into_iter().next().unwrap();
        assert_eq!(finding.code.name(), code);
        assert!(finding.text.contains(text), "{text:?} is not in {finding:#?}");
        assert!(finding.remedy.contains(remedy), "{remedy:?} is not in {finding:#?}");
        finding
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn a_healthy_head_has_no_findings() {
    let head = Head::new("healthy");
    assert_eq!(head.findings(), []);
    assert_eq!(code(&[]), 0);
    assert!(report(&[], "13 checks").contains("nothing is in the way"));
}

#[test]
fn a_hanging_daemon_is_a_finding() {
    Head::new("hangs").answer("silent", "").has_finding(
        "gateway-silent",
        "does not answer",
        "systemctl restart bramblegate",
    );
}

#[test]
fn a_line_break_in_a_process_name_is_escaped() {
    let process = sockets::Process {
        id: "7".to_owned(),
        name: "sh\n27 checks, nothing is in the way.".to_owned(),
    };
    assert_eq!(process.to_string().lines().count(), 1, "{process}");
}

#[test]
fn an_enslaved_port_blocks_the_gateway() {
    let head =
        Head::new("bridge").link("/sys/class/net/wlan0/master", "../../devices/virtual/net/br0");
    let finding = head.has_finding("uplink-enslaved", "wlan0 is a port of br0", "name br0");
    assert_eq!(code(&[finding]), 2);
}

#[test]
fn a_member_of_the_clusters_bridge_is_no_finding() {
    let head = Head::new("bridged-cluster")
        .set(
            "uplink.interfaces = [\"wlan*\"]\ncluster.interface = \"eth0\"\nlcd.bus = \"off\"\n\
              led.device = \"off\"\n",
        )
        .link("/sys/class/net/wlan0/master", "../../devices/virtual/net/eth0");
    assert_eq!(head.findings(), []);
}

#[test]
fn a_missing_port_is_reported() {
    let head = Head::new("away").set(
        "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth7\"\nlcd.bus = \"off\"\n\
              led.device = \"off\"",
    );
    head.has_finding("gateway-port-absent", "eth7", "bramblegate detect");
}

#[test]
fn a_drop_of_another_program_blocks() {
    let head = Head::new("drop")
        .answer("blocker", "ip filter\nFORWARD\niptables -I DOCKER-USER -i eth0 -j ACCEPT");
    let finding = head.has_finding(
        "gateway-blocked",
        "table ip filter, chain FORWARD",
        "iptables -I DOCKER-USER -i eth0",
    );
    assert_eq!(finding.rank, Rank::Blocked);
}

#[test]
fn network_manager_on_the_clusters_port_is_reported() {
    let head = Head::new("nm").answer(
        "nmcli -t -f DEVICE,STATE device",
        "wlan0:connected\neth0:connecting (getting IP configuration)\nlo:unmanaged\n",
    );
    head.has_finding(
        "gateway-port-managed",
        "NetworkManager",
        "unmanaged-devices+=interface-name:eth0",
    );
    let head = Head::new("nm2")
        .answer("nmcli -t -f DEVICE,STATE device", "wlan0:connected\neth0:unmanaged\n");
    assert_eq!(head.findings(), []);
    let head = Head::new("nm3")
        .answer("nmcli -t -f DEVICE,STATE device", "wlan0:connected\neth0:unavailable\n");
    head.has_finding(
        "gateway-port-managed",
        "NetworkManager",
        "unmanaged-devices+=interface-name:eth0",
    );
}

#[test]
fn a_port_matches_by_its_alternative_names() {
    let settings = "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"enx0200*\"\n\
                    lcd.bus = \"off\"\nled.device = \"off\"\n";
    let head = |name: &str| Head::new(name).set(settings);
    assert_eq!(head("alt1").answer("altnames eth0", "lan enx020000000001\n").findings(), []);
    head("alt2").has_finding("gateway-port-absent", "enx0200*", "correct cluster.interface");
}

#[test]
fn other_managers_are_reported() {
    Head::new("dhcpcd")
        .with("/etc/dhcpcd.conf", "interface wlan0\n")
        .with("/etc/systemd/system/multi-user.target.wants/dhcpcd.service", "")
        .has_finding("gateway-port-managed", "dhcpcd", "denyinterfaces eth0");
    Head::new("networkd")
        .with("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "")
        .with("/etc/systemd/network/20-wired.network", "[Match]\nName=e*\n[Network]\nDHCP=yes\n")
        .has_finding(
            "gateway-port-managed",
            "systemd-networkd, by /etc/systemd/network/20-wired.network,",
            "Unmanaged=yes",
        );
    // With netplan its generator starts it, or netplan itself, and no link of the owner.
    for folder in ["generator", "system"] {
        Head::new(&format!("netplan-{folder}"))
            .with(
                &format!("/run/systemd/{folder}/multi-user.target.wants/systemd-networkd.service"),
                "",
            )
            .with(
                "/run/systemd/network/10-netplan-all-eth.network",
                "[Match]\nName=eth*\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n",
            )
            .has_finding(
                "gateway-port-managed",
                "systemd-networkd, by /run/systemd/network/10-netplan-all-eth.network,",
                "Unmanaged=yes",
            );
    }
    // By what networkd itself has: the file matches by hardware address.
    let by_address = |name: &str, state: &str| {
        Head::new(name)
            .with("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "")
            .with("/sys/class/net/eth0/ifindex", "2\n")
            .with(
                "/run/systemd/netif/links/2",
                &format!("ADMIN_STATE={state}\nNETWORK_FILE=/etc/systemd/network/lan.network\n"),
            )
    };
    by_address("by-address", "configured").has_finding(
        "gateway-port-managed",
        "systemd-networkd, by /etc/systemd/network/lan.network,",
        "Unmanaged=yes",
    );
    assert_eq!(by_address("let-go", "unmanaged").findings(), []);
    Head::new("ifupdown")
        .with("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n")
        .has_finding("gateway-port-managed", "ifupdown", "/etc/network/interfaces");
}

/// By Debian's settings, also when it does not run yet.
#[test]
fn network_manager_leaves_ifupdowns_interfaces_alone() {
    const DEBIAN: &str = "[main]\nplugins=ifupdown,keyfile\n\n[ifupdown]\nmanaged=false\n";
    let head = |name: &str, conf: &str, interfaces: &str| {
        Head::new(name)
            .with("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "")
            .with("/etc/NetworkManager/NetworkManager.conf", conf)
            .with("/etc/network/interfaces", interfaces)
    };
    let (dhcp, manual) = ("iface eth0 inet dhcp\n", "iface eth0 inet manual\n");
    head("spared", DEBIAN, dhcp).has_finding("gateway-port-managed", "ifupdown", "sed");
    assert_eq!(head("manual", DEBIAN, manual).findings(), []);
    let managed = DEBIAN.replace("false", "true");
    for (name, conf, interfaces) in [
        ("another", DEBIAN, "iface eth1 inet dhcp\n"),
        ("managed", &managed, manual),
        ("keyfile", "[main]\nplugins=keyfile\n", manual),
    ] {
        head(name, conf, interfaces).has_finding("gateway-port-managed", "NetworkManager", "nmcli");
    }
}

#[test]
fn an_sshd_behind_a_closed_port_is_reported() {
    let settings = "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\n\
                    lcd.bus = \"off\"\nled.device = \"off\"\nuplink.allow = [";
    let with = |name: &str, allow: &str| {
        let head = Head::new(name).set(&format!("{settings}{allow}]"));
        head.with(
            "/etc/ssh/sshd_config.d/port.conf",
            "port = 2222\nListenAddress 0.0.0.0:2200\nListenAddress ::\n",
        )
    };
    assert_eq!(with("ssh1", "\"ssh\"").findings(), []);
    assert_eq!(with("ssh2", "\"tcp:2200-2222\"").findings(), []);
    with("ssh3", "\"icmp\", 2200").has_finding("host-ssh-closed", "port 2222", "add \"ssh\"");
    let socket = "[Socket]\nListenStream=\nListenStream=0.0.0.0:2022\n";
    let head = Head::new("ssh4")
        .with("/usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n")
        .with("/etc/systemd/system/sockets.target.wants/ssh.socket", "")
        .with("/etc/systemd/system/ssh.socket.d/override.conf", socket)
        .set(&format!("{settings}22]"));
    head.has_finding("host-ssh-closed", "port 2022", "add \"ssh\"");
}

#[test]
fn an_sshd_that_the_loaded_rules_do_not_accept_is_reported() {
    let listing = |ports: &str| {
        format!(
            "table inet bramblegate {{\n\tchain from_uplink {{\n\t\ttcp dport {ports} counter \
             packets 0 bytes 0 accept\n\t}}\n}}\n"
        )
    };
    let with = |name: &str, ports: &str| {
        let listing: &'static str = listing(ports).leak();
        let head = Head::new(name).answer("nft list chain inet bramblegate from_uplink", listing);
        head.with("/etc/ssh/sshd_config", "Port 2222\n")
    };
    assert_eq!(with("shut1", "2222").findings(), []);
    assert_eq!(with("shut2", "2000-3000").findings(), []);
    with("shut3", "22").has_finding(
        "host-ssh-closed",
        "port 2222, which uplink.allow covers",
        "reload",
    );
}

#[test]
fn a_running_sshd_on_an_unconfigured_port_is_reported() {
    // 0.0.0.0:2222, held by process 612
    let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
               timeout inode\n   \
               0: 00000000:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     \
               0        0 4711 1 0 100 0 0 10 0\n";
    Head::new("running")
        .with("/proc/net/tcp", tcp)
        .with("/proc/612/comm", "sshd\n")
        .link("/proc/612/fd/3", "socket:[4711]")
        .has_finding("host-ssh-closed", "port 2222", "add 2222 to uplink.allow");
}

#[test]
fn the_program_on_port_53_is_named_but_not_our_own_server() {
    let udp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
               timeout inode ref pointer drops\n  \
               10: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     \
               0        0 4712 2 0 0\n  \
               11: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   \
               102        0 4713 2 0 0\n";
    let head = |name: &str| {
        let head = Head::new(name);
        let serving = format!("{}cluster.dhcp.enabled = true\n", head.settings);
        head.set(&serving)
            .with("/usr/sbin/dnsmasq", "")
            .with("/proc/net/udp", udp)
            .with("/proc/77/comm", "dnsmasq\n")
            .link("/proc/77/fd/4", "socket:[4712]")
    };
    head("port53").has_finding(
        "host-port-53",
        "dnsmasq (77) has port 53 on 0.0.0.0",
        "`sudo kill 77`, and take it out",
    );
    for (number, (group, remedy)) in [
        ("0::/system.slice/dnsmasq.service", "`sudo systemctl disable --now dnsmasq.service`"),
        (
            "0::/system.slice/system-x.slice/x@a.service",
            "`sudo systemctl disable --now x@a.service`",
        ),
        ("0::/user.slice/user-0.slice/user@0.service", "`sudo kill 77`"),
        ("0::/system.slice/a;reboot.service", "`sudo kill 77`"),
    ]
    .into_iter()
    .enumerate()
    {
        let head = head(&format!("port53-{number}")).with("/proc/77/cgroup", &format!("{group}\n"));
        head.has_finding("host-port-53", "dnsmasq (77) has port 53", remedy);
    }
    let ours = head("ours53")
        .with("/proc/77/status", "Name:\tdnsmasq\nPPid:\t5\n")
        .with("/proc/5/comm", "bramblegate\n");
    assert_eq!(ours.findings(), []);
    let serves_nothing = Head::new("port53-off").with("/proc/net/udp", udp);
    assert_eq!(serves_nothing.findings(), [], "the port does not matter while we serve nothing");
}

#[test]
fn services_and_rules_of_an_older_gateway_are_reported_one_by_one() {
    Head::new("isc")
        .with("/etc/systemd/system/multi-user.target.wants/isc-dhcp-server.service", "")
        .has_finding(
            "gateway-dhcp-other",
            "isc-dhcp-server",
            "systemctl disable --now isc-dhcp-server",
        );
    Head::new("rules")
        .with(
            "/etc/iptables/rules.v4",
            "*nat\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
             -A POSTROUTING -o wlan0 -j MASQUERADE\n",
        )
        .has_finding("gateway-masquerade-saved", "/etc/iptables/rules.v4:3", "remove it from");
    Head::new("kernel")
        .answer("iptables-nft-save -t nat", "*nat\n-A POSTROUTING -o wlan0 -j MASQUERADE\nCOMMIT\n")
        .has_finding(
            "gateway-masquerade-old",
            "-o wlan0",
            "iptables-nft -t nat -D POSTROUTING -o wlan0 -j MASQUERADE",
        );
    Head::new("rc")
        .with(
            "/etc/rc.local",
            "#!/bin/sh\n# iptables is fine in a comment\n\
             sudo iptables-restore < /etc/iptables.ipv4.nat\nexit 0\n",
        )
        .has_finding("gateway-leftover", "/etc/rc.local:3", "take that line out");
    Head::new("cron")
        .with("/var/spool/cron/crontabs/pi", "@reboot python /home/pi/lcd_ip.py\n")
        .has_finding("lcd-leftover", "lcd_ip.py", "take that line out");
}

#[test]
fn a_saved_copy_of_our_table_is_reported() {
    Head::new("saved")
        .with(
            "/etc/nftables.conf",
            "flush ruleset\ntable inet bramblegate {\n  chain x {\n    masquerade\n  }\n}\n",
        )
        .has_finding("gateway-table-saved", "/etc/nftables.conf", "take that table out");
}

#[test]
fn a_display_without_a_bus_or_without_rights_is_reported() {
    let settings =
        "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\nled.device = \"off\"\n";
    Head::new("nobus").set(settings).has_finding("lcd-absent", "there is no /dev/i2c-1", "do_i2c");
    Head::new("norights").set(settings).with("/dev/i2c-1", "").has_finding(
        "lcd-denied",
        "/dev/i2c-1 has group",
        "udev",
    );
}

#[test]
fn a_stick_without_udev_rule_and_its_holder_are_reported() {
    let settings =
        "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\nlcd.bus = \"off\"\n";
    let head = Head::new("stick")
        .set(settings)
        .with(
            "/sys/class/hidraw/hidraw0/device/uevent",
            "DRIVER=hid-generic\nHID_ID=0003:000020A0:000041E5\n",
        )
        .with("/sys/class/hidraw/hidraw1/device/uevent", "HID_ID=0003:0000046D:0000C52B\n")
        .with("/dev/hidraw0", "")
        .with("/dev/hidraw1", "")
        .with("/proc/99/comm", "python3\n")
        .with("/proc/99/cmdline", "python3\0/home/pi/blink.py\0")
        .link("/proc/99/fd/3", "/dev/hidraw0");
    let codes: Vec<_> =
        head.findings().into_iter().map(|finding| (finding.code.name(), finding.text)).collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    assert_eq!((codes[0].0, codes[1].0), ("led-denied", "led-held"));
    assert!(
        codes[1].1.contains("python3 (99) has /dev/hidraw0 open: python3 /home/pi/blink.py"),
        "{codes:?}"
    );
}

/// A hint for a journal on a card, as in Raspberry Pi OS, but not for one in memory or on a disk.
#[test]
fn a_journal_on_a_card_is_hinted_at() {
    let kept = |device: &str| {
        Head::new("journal")
            .with("/etc/machine-id", "0123\n")
            .with("/var/log/journal/0123/system.journal", "")
            .with("/proc/mounts", &format!("{device} / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"))
    };
    let named = |head: Head| head.hints().iter().any(|f| f.code.name() == "host-journal-on-card");
    assert!(named(kept("/dev/mmcblk0p2")));
    assert!(!named(kept("/dev/sda2")));
    let conf = |name: &str, value: &str| {
        kept("/dev/mmcblk0p2").with(name, &format!("[Journal]\n#Storage=none\nStorage={value}\n"))
    };
    assert!(!named(conf("/etc/systemd/journald.conf.d/90-volatile.conf", "volatile")));
    // A file of the same name below /etc counts in its place.
    let over = conf("/usr/lib/systemd/journald.conf.d/40-rpi.conf", "volatile");
    assert!(named(over.with("/etc/systemd/journald.conf.d/40-rpi.conf", "[Journal]\n")));
    let log2ram = "/dev/mmcblk0p2 / ext4 rw 0 0\nlog2ram /var/log tmpfs rw 0 0\n";
    assert!(!named(kept("").with("/proc/mounts", log2ram)));
}

#[test]
fn a_full_table_an_overlap_and_an_overlay_are_reported() {
    Head::new("full")
        .with("/proc/sys/net/netfilter/nf_conntrack_count", "7000\n")
        .with("/proc/sys/net/netfilter/nf_conntrack_max", "8192\n")
        .has_finding("gateway-conntrack", "7000 of 8192", "nf_conntrack_max=16384");
    let entry = "192.168.50.9 0x1 0x0 00:00:00:00:00:00 * eth0\n";
    Head::new("neighbours")
        .with("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n")
        .with("/proc/net/arp", &format!("IP address\n{}", entry.repeat(1000)))
        .has_finding(
            "gateway-neighbours",
            "1024 neighbours at most; it has 1000",
            "gc_thresh3=2048",
        );
    Head::new("overlay").with("/proc/mounts", "overlay / overlay rw 0 0\n").has_finding(
        "host-overlay-root",
        "overlay in memory",
        "disable_overlayfs",
    );
    let net = u32::from_ne_bytes([192, 168, 50, 0]);
    let mask = u32::from_ne_bytes([255, 255, 255, 0]);
    let routes = format!(
        "Iface\tDestination\nwlan0\t{net:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n\
         eth0\t{net:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n"
    );
    Head::new("overlap").with("/proc/net/route", &routes).has_finding(
        "gateway-overlap",
        "wlan0 leads to 192.168.50.0/24",
        "policy routing",
    );
    let route = "Iface\tDestination\neth0\t00000000\tFE32A8C0\t0003\t0\t0\t5\t00000000\t0\t0\t0\n";
    Head::new("back").with("/proc/net/route", route).has_finding(
        "uplink-exit-by",
        "cluster interface eth0",
        "del default dev eth0",
    );
}

#[test]
fn patterns_match_as_in_a_shell() {
    for (pattern, name, expected) in [
        ("usb*", "usb0", true),
        ("usb*", "eth0", false),
        ("eth?", "eth1", true),
        ("eth?", "eth", false),
        ("eth[0-2]", "eth2", true),
        ("eth[0-2]", "eth3", false),
        ("eth[!0]", "eth1", true),
        ("*", "", true),
        ("e*0", "enp1s0", true),
        ("eth[", "eth[", false),
        ("eth[]]", "eth]", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_gateway_that_may_not_send_its_probes() {
    let status = |capabilities: &str| {
        format!("Gid:\t997\t997\t997\t997\nGroups:\t27\nCapEff:\t{capabilities}\n")
    };
    let head = |name: &str, probes: &str, status: &str| {
        let head =
            Head::new(name).with("/run/bramblegate/lock", "4711").with("/proc/4711/status", status);
        let node =
            format!("[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\nprobe = {probes}\n");
        let settings = format!("{}{node}", head.settings);
        head.set(&settings)
    };
    let without = status("0000000000001400");
    let sick = head("no-raw", "[\"icmp\", \"arp\"]", &without);
    let finding = sick.has_finding("host-no-net-raw", "ICMP and ARP", "systemctl");
    assert!(finding.rank == Rank::Finding && finding.text.contains("4711"));
    assert_eq!(head("raw", "\"icmp\"", &status("0000000000003400")).findings(), []);
    assert_eq!(head("tcp", "\"tcp:22\"", &without).findings(), []);
    let everybody = head("pings", "[\"icmp\", \"arp\"]", &without);
    let everybody = everybody.with("/proc/sys/net/ipv4/ping_group_range", "0\t2147483647");
    everybody.has_finding("host-no-net-raw", "probe by ARP", "tcp");
    let dead = head("dead", "\"icmp\"", &without).with("/run/bramblegate/lock", "4712");
    assert_eq!(dead.findings(), [], "it does not run");
}

const WIRED: &str = "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n\
                     lcd.bus = \"off\"\nled.device = \"off\"\n\
    [[node]]\nname = \"rpi1\"\nmac = \"b8:27:eb:00:00:01\"\n[[node]]\nname = \"rpi2\"\n\
    address = \"192.168.50.12\"\n";

fn wired(name: &str) -> Head {
    Head::new(name).set(WIRED).with("/sys/class/net/eth1/address", "02:00:00:00:00:02\n")
}
const ARP: &str =
    "IP address       HW type     Flags       HW address            Mask     Device\n";
const REFUSED: &str = r#"{"alerts":[{"severity":"fault","code":"gateway-foreign-dhcp","text":
    "another DHCP server, 10.0.0.1, answers on the cluster interface eth0, so Bramblegate serves no addresses there: if"}],
    "uplinks":[{"interface":"eth1","state":"no-dhcp"}]}"#;

#[test]
fn a_forward_that_leads_ssh_away_from_the_head_is_reported() {
    let forward =
        |listen: &str| format!("{WIRED}[[forward]]\nlisten = {listen}\nto = \"rpi1:22\"\n");
    let hidden = wired("ssh-away").set(&forward("22"));
    hidden.has_finding("node-forward-hides", "tcp:22 leads to rpi1:22 for the venue", "as 2201");
    let not_allowed = wired("no-ssh").set(&format!("uplink.allow = [\"icmp\"]\n{}", forward("22")));
    assert!(
        !not_allowed.findings().iter().any(|finding| finding.code.name() == "node-forward-hides")
    );
    let elsewhere = wired("ssh-stays").set(&forward("2201"));
    assert!(
        !elsewhere.findings().iter().any(|finding| finding.code.name() == "node-forward-hides")
    );
}

#[test]
fn a_program_behind_a_forwarded_port_is_reported() {
    let forward = format!("{WIRED}[[forward]]\nlisten = 2201\nto = \"rpi1:22\"\n");
    let listens = |address: &str| {
        format!("sl local rem st\n 0: {address}:0899 00000000:0000 0A 0:0 0:0 0 0 0 77 1 0\n")
    };
    let open = wired("hides").set(&forward).with("/proc/net/tcp", &listens("00000000"));
    open.has_finding(
        "node-forward-hides",
        "tcp:2201 of the head, but for the venue that port leads to rpi1:22",
        "another",
    );
    let local = wired("local").set(&forward).with("/proc/net/tcp", &listens("0100007F"));
    assert_eq!(local.findings(), []);
}

/// A process can set its name to anything (prctl(2), PR_SET_NAME), also with a line break.
#[test]
fn a_finding_is_one_line_whatever_others_call_themselves() {
    let raw = "\u{1b}[2J\nBLOCKED  host-x: pay here\u{9b}m";
    let text = report(&[Finding::new(FindingCode::HostSettings, raw, raw)], "1 check");
    assert_eq!(text.lines().count(), 3, "{text:?}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn drops_of_our_own_rules_are_only_hints() {
    let head = wired("drops").answer(
        "drops",
        "3 bramblegate: not from an address of the cluster\n70 bramblegate: the rest\n",
    );
    assert_eq!(head.findings(), []);
    let hints = head.hints();
    let finding = hints.iter().find(|hint| hint.code.name() == "gateway-drops").unwrap();
    assert_eq!(finding.rank, Rank::Hint, "{finding:?}");
    assert!(
        finding.text.ends_with("3 (not from an address of the cluster), 70 (the rest)"),
        "{}",
        finding.text
    );
}

/// The guide shows the output for a machine without problems.
#[test]
fn the_guide_has_the_number_of_checks() {
    let guide = include_str!("../../../docs/guide/getting-started.md");
    let wanted = format!("\n{} checks, nothing is in the way.\n", count());
    assert!(guide.contains(&wanted), "docs/guide/getting-started.md lacks {wanted:?}");
}
