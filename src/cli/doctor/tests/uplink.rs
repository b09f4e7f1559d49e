use super::*;

/// Returns a head whose uplink wlan0 (index 3) has a carrier, and no address without an answer to
/// `addresses wlan0`.
fn linked(name: &str) -> Head {
    Head::new(name)
        .with("/sys/class/net/wlan0/carrier", "1\n")
        .with("/sys/class/net/wlan0/ifindex", "3\n")
}

const LEASED: (&str, &str) = ("addresses wlan0", "10.99.0.126/24 fe80::1/64");

/// Adds a client to a head.
type With = fn(Head) -> Head;

impl Head {
    fn process(self, id: &str, name: &str, command: &str) -> Self {
        let (comm, line) = (format!("{name}\n"), command.replace(' ', "\0"));
        self.with(&format!("/proc/{id}/comm"), &comm).with(&format!("/proc/{id}/cmdline"), &line)
    }

    fn network_manager(self) -> Self {
        self.process("101", "NetworkManager", "/usr/sbin/NetworkManager")
            .with("/run/NetworkManager/devices/3", "[device]\nmanaged=true\n")
    }

    fn networkd(self) -> Self {
        self.process("102", "systemd-network", "/lib/systemd/systemd-networkd")
            .with(
                "/run/systemd/netif/links/3",
                "ADMIN_STATE=configuring\nNETWORK_FILE=/etc/systemd/network/w.network\n",
            )
            .with("/etc/systemd/network/w.network", "[Match]\nName=wl*\n[Network]\nDHCP=yes\n")
    }

    fn dhcpcd(self) -> Self {
        self.process("103", "dhcpcd", "dhcpcd: [master] [ip4] [ip6]")
            .with("/run/dhcpcd/pid", "103\n")
    }
}

#[test]
fn an_uplink_with_one_client_and_an_address_is_well() {
    for (name, head) in [
        ("one-nm", linked("one-nm").network_manager()),
        ("one-networkd", linked("one-networkd").networkd()),
        ("one-dhcpcd", linked("one-dhcpcd").dhcpcd()),
        ("one-alone", linked("one-alone").process("104", "dhclient", "/sbin/dhclient -v wlan0")),
    ] {
        let head = head.answer(LEASED.0, LEASED.1);
        assert_eq!(head.findings(), [], "{name}");
        assert_eq!(head.hints(), [], "{name}");
    }
}

/// Each pair is named, with the client to switch off, and the command for it.
#[test]
fn two_clients_on_an_uplink_are_named_with_the_one_to_switch_off() {
    let pairs: [(&str, &str, &str, Head); 6] = [
        (
            "NetworkManager",
            "dhcpcd",
            "denyinterfaces wlan0",
            linked("two-1").network_manager().dhcpcd(),
        ),
        (
            "NetworkManager",
            "systemd-networkd",
            "Unmanaged=yes",
            linked("two-2").network_manager().networkd(),
        ),
        ("systemd-networkd", "dhcpcd", "denyinterfaces wlan0", linked("two-3").networkd().dhcpcd()),
        (
            "NetworkManager",
            "udhcpc (105)",
            "sudo kill 105",
            linked("two-4").network_manager().process("105", "udhcpc", "udhcpc -i wlan0"),
        ),
        (
            "dhcpcd",
            "busybox (106)",
            "sudo kill 106",
            linked("two-5").dhcpcd().process("106", "busybox", "busybox udhcpc -f -i wlan0"),
        ),
        (
            "NetworkManager",
            "dhclient (107)",
            "sudo kill 107",
            // Found by its socket alone: its command line does not name the port.
            linked("two-6")
                .network_manager()
                .process("107", "dhclient", "/sbin/dhclient")
                .link("/proc/107/fd/5", "socket:[4711]")
                .with("/proc/thread-self/net/packet", "sk\n0 3 3 0003 3 1 0 0 4711\n"),
        ),
    ];
    for (stays, goes, command, head) in pairs {
        let head = head.answer(LEASED.0, LEASED.1);
        let finding = head.has_finding(
            "uplink-two-clients",
            &format!("{stays} and {goes} both ask"),
            command,
        );
        assert!(finding.text.contains(&format!("use {stays} only")), "{finding:?}");
    }
}

#[test]
fn a_managers_client_or_one_on_another_port_is_no_second_client() {
    let own =
        linked("own-dhclient").network_manager().process("108", "dhclient", "/sbin/dhclient wlan0");
    let own =
        own.with("/proc/108/status", "Name:\tdhclient\nPPid:\t101\n").answer(LEASED.0, LEASED.1);
    assert_eq!(own.findings(), []);
    let other = linked("other-port").network_manager().process("109", "udhcpc", "udhcpc -i usb0");
    assert_eq!(other.answer(LEASED.0, LEASED.1).findings(), []);
    // By the name alone: any process can set its own.
    let namesake = linked("namesake").network_manager().process("110", "udhcpc", "udhcpc wlan0");
    let namesake =
        namesake.with("/proc/110/status", "Name:\tudhcpc\nPPid:\t1\nCapEff:\t0000000000000400\n");
    assert_eq!(
        namesake.answer(LEASED.0, LEASED.1).findings(),
        [],
        "without the right to a packet socket"
    );
    for space in ["net", "user"] {
        let inside = linked(&format!("inside-{space}")).network_manager().process(
            "111",
            "udhcpc",
            "udhcpc wlan0",
        );
        let inside = inside
            .link(&format!("/proc/self/ns/{space}"), &format!("{space}:[1]"))
            .link(&format!("/proc/111/ns/{space}"), &format!("{space}:[2]"));
        assert_eq!(inside.answer(LEASED.0, LEASED.1).findings(), [], "in a container");
    }
    let denied = linked("denied")
        .network_manager()
        .dhcpcd()
        .with("/etc/dhcpcd.conf", "denyinterfaces wlan*\n");
    assert_eq!(denied.answer(LEASED.0, LEASED.1).findings(), []);
    let dead =
        linked("dead").networkd().with("/run/dhcpcd/pid", "999\n").answer(LEASED.0, LEASED.1);
    assert_eq!(dead.findings(), [], "what a client left behind is no client");
}

/// Each state of an uplink without an address, and each client, with one command that helps.
#[test]
fn an_uplink_without_an_address_is_explained() {
    let status = |dhcp: &str| -> &'static str {
        let dhcp = if dhcp == "null" { dhcp.to_owned() } else { format!("\"{dhcp}\"") };
        format!(r#"{{"uplinks":[{{"interface":"wlan0","state":"no-dhcp","dhcp":{dhcp},"portal_url":null}}]}}"#).leak()
    };
    let states = [
        ("null", "uplink-no-address", "doctor --try"),
        ("unanswered", "uplink-no-dhcp", "doctor --try"),
        ("offered", "uplink-not-taken", "journalctl"),
        ("refused", "uplink-refused", "ask again"),
        ("declined", "uplink-refused", "ask again"),
        ("waiting", "uplink-waiting", "ask again"),
        ("ipv6-only", "uplink-ipv6-only", "`"),
    ];
    for (place, (dhcp, code, remedy)) in states.into_iter().enumerate() {
        let clients: [(&str, With); 3] = [
            ("NetworkManager", Head::network_manager),
            ("systemd-networkd", Head::networkd),
            ("dhcpcd", Head::dhcpcd),
        ];
        for (client, with) in clients {
            for (which, held) in
                ["", "169.254.3.4/16 fe80::1/64 192.0.0.5/32"].into_iter().enumerate()
            {
                let head = with(linked(&format!("none-{place}-{which}-{client}")))
                    .answer("status", status(dhcp));
                let finding =
                    head.answer("addresses wlan0", held).has_finding(code, client, remedy);
                assert!(finding.remedy.contains('`'), "a command: {finding:?}");
            }
        }
    }
    // With IPv6 it is a hint: only the nodes have no way out.
    let ipv6 = linked("none-ipv6")
        .networkd()
        .answer("status", status("ipv6-only"))
        .answer("addresses wlan0", "2001:db8::7/64");
    assert_eq!(ipv6.findings(), []);
    assert_eq!(
        ipv6.hints().iter().map(|hint| hint.code.name()).collect::<Vec<_>>(),
        ["uplink-ipv6-only"]
    );
}

#[test]
fn a_port_without_a_client_gets_the_command_to_start_one() {
    let starts = |head: Head, command: &str| {
        head.has_finding("uplink-no-client", "nothing on this machine asks", command)
    };
    let unmanaged = ("nmcli -t -f DEVICE,STATE device", "wlan0:unmanaged\neth0:unmanaged\n");
    starts(
        linked("start-nm").network_manager().answer(unmanaged.0, unmanaged.1),
        "nmcli device set wlan0 managed yes",
    );
    // As setup wrote it when this was the cluster's port: it would hold after the next start, too.
    let left = |name: &str, list: &str| {
        let text = format!("[keyfile]\n{list}\n");
        linked(name)
            .network_manager()
            .answer(unmanaged.0, unmanaged.1)
            .with("/etc/NetworkManager/conf.d/50-own.conf", &text)
    };
    for list in [
        "unmanaged-devices+=interface-name:wlan0",
        "unmanaged-devices=mac:02:00:00:00:00:01;interface-name:wlan0",
    ] {
        starts(
            left("start-nm-left", list),
            "unmanaged-devices-=interface-name:wlan0\\n' | sudo tee \
             /etc/NetworkManager/conf.d/90-wlan0.conf && sudo nmcli general reload && sudo nmcli \
             device set wlan0 managed yes",
        );
    }
    let other = left("start-nm-other", "unmanaged-devices+=interface-name:wlan01");
    starts(other, "`sudo nmcli device set wlan0 managed yes");
    let networkd = |name: &str| linked(name).process("102", "systemd-network", "networkd");
    let command = "/etc/systemd/network/00-wlan0.network && sudo networkctl reload && sudo \
                   networkctl reconfigure wlan0";
    // Only netplan starts it, at whose end it would not be there after the next start.
    starts(
        networkd("start-networkd"),
        &format!("{command} && sudo systemctl enable systemd-networkd`"),
    );
    let enabled = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
    starts(networkd("start-enabled").with(enabled, ""), &format!("{command}`"));
    starts(linked("start-dhcpcd").with("/usr/sbin/dhcpcd", ""), "`sudo dhcpcd wlan0`");
    starts(linked("start-udhcpc").with("/usr/sbin/udhcpc", ""), "`sudo udhcpc -b -i wlan0`");
    starts(linked("start-none"), "install dhcpcd-base");
    let no_cable = linked("start-cable").with("/sys/class/net/wlan0/carrier", "0\n");
    assert_eq!(no_cable.findings(), [], "without a cable no client asks");
}

/// NetworkManager takes a port down when it releases it.
#[test]
fn a_port_that_is_off_gets_a_client_where_network_manager_leaves_it() {
    let off = |name: &str| {
        linked(name)
            .network_manager()
            .with("/sys/class/net/wlan0/flags", "0x1002\n")
            .with("/sys/class/net/wlan0/carrier", "")
    };
    let unmanaged = |head: Head| {
        head.answer("nmcli -t -f DEVICE,STATE device", "wlan0:unmanaged\neth0:unmanaged\n")
    };
    let file = "/etc/NetworkManager/conf.d/50-own.conf";
    let left = "[keyfile]\nunmanaged-devices+=interface-name:wlan0\n";
    unmanaged(off("off-released").with(file, left)).has_finding(
        "uplink-no-client",
        "switched off (administratively down), and NetworkManager is set to leave it alone",
        "unmanaged-devices-=interface-name:wlan0",
    );
    // It asks as soon as the port is on; or it is not known why it leaves the port.
    for head in [off("off-managed").with(file, "[keyfile]\n"), unmanaged(off("off-else"))] {
        head.has_finding("uplink-off", "so it sees no cable", "ip link set wlan0 up");
    }
}

#[test]
fn a_lease_that_is_not_renewed_and_a_portal_are_found() {
    let late = r#"{"uplinks":[{"interface":"wlan0","state":"online","address":"10.99.0.126/24","dhcp":null,"not_renewed_s":40,"lease_left_s":80}]}"#;
    let head = linked("late").dhcpcd().answer(LEASED.0, LEASED.1).answer("status", late);
    head.has_finding(
        "uplink-lease-not-renewed",
        "not been renewed for 40 s: it ends in 80 s",
        "doctor --try",
    );
    let portal = r#"{"uplinks":[{"interface":"wlan0","state":"portal","portal_url":"http://login.hotel/"}]}"#;
    let head = linked("portal").dhcpcd().answer(LEASED.0, LEASED.1).answer("status", portal);
    head.has_finding("uplink-portal", "http://login.hotel/", "open http://login.hotel/");
    let lease = linked("portal-lease").dhcpcd().answer(LEASED.0, LEASED.1);
    let lease = lease.answer(
        "dhcpcd -4 -U wlan0",
        "ip_address=10.99.0.126\ncaptive_portal_uri=https://login.hotel/api\n",
    );
    lease.has_finding("uplink-portal", "https://login.hotel/api", "open https://login.hotel/api");
    let hostile = linked("portal-hostile").dhcpcd().answer(LEASED.0, LEASED.1);
    let hostile = hostile.answer("dhcpcd -4 -U wlan0", "captive_portal_uri=http://a/\u{1b}[2J\n");
    assert_eq!(hostile.findings(), []);
}

#[test]
fn profiles_restored_at_each_boot_are_found_with_their_line() {
    let yaml = "network:\n  version: 2\n  ethernets:\n    # eth0: in a comment\n    eth0:\n      \
                dhcp4: true\n";
    let head = Head::new("netplan").with("/etc/netplan/10-own.yaml", yaml);
    head.has_finding(
        "gateway-port-netplan",
        "/etc/netplan/10-own.yaml:5",
        "`sudo netplan set ethernets.eth0=null && sudo netplan apply`",
    );
    let cloud = Head::new("netplan-cloud").with("/etc/netplan/50-cloud-init.yaml", yaml);
    cloud.has_finding(
        "gateway-port-netplan",
        "50-cloud-init.yaml:5",
        "/etc/cloud/cloud.cfg.d/99-bramblegate.cfg",
    );
    for (case, text, remedy) in [
        (
            "match",
            "network:\n  ethernets:\n    lan:\n      match: \n        name: \"eth0\"\n      dhcp4: \
             true\n",
            "netplan set ethernets.lan=null",
        ),
        (
            "set-name",
            "network:\n  ethernets:\n    wlan0: {}\n    board:\n      match:\n        macaddress: \
             a\n\n      # b:\n      set-name: eth0\n",
            "netplan set ethernets.board=null",
        ),
        (
            "inline",
            "network:\n  ethernets:\n    eth0: {dhcp4: true}\n",
            "netplan set ethernets.eth0=null",
        ),
        (
            "quoted",
            "network:\n  ethernets:\n    \"eth0\":\n      dhcp4: true\n",
            "netplan set ethernets.eth0=null",
        ),
    ] {
        Head::new(case).with("/etc/netplan/a.yaml", text).has_finding(
            "gateway-port-netplan",
            "a.yaml",
            remedy,
        );
    }
    // A pattern may be the uplink's too, and a bridge would go with its definition.
    for (case, text) in [
        ("pattern", "network:\n  ethernets:\n    all:\n      match:\n        name: e*\n"),
        ("bridge", "network:\n  bridges:\n    eth0:\n      interfaces: [lan0]\n"),
    ] {
        assert_eq!(Head::new(case).with("/etc/netplan/a.yaml", text).findings(), [], "{case}");
    }
    let others = "network:\n  ethernets:\n    wlan0:\n      dhcp4: true\n    eth01: {}\n";
    assert_eq!(Head::new("netplan-other").with("/etc/netplan/a.yaml", others).findings(), []);
    let seeded = |name: &str| {
        Head::new(name)
            .with("/boot/firmware/network-config", yaml)
            .with("/etc/cloud/cloud.cfg", "users: []\n")
    };
    seeded("seed").has_finding(
        "gateway-port-cloud-init",
        "/boot/firmware/network-config:5",
        "99-bramblegate.cfg",
    );
    let off = ("/etc/cloud/cloud.cfg.d/99-bramblegate.cfg", "network: {config: disabled}\n");
    assert_eq!(seeded("seed-off").with(off.0, off.1).findings(), []);
    assert_eq!(seeded("seed-none").with("/etc/cloud/cloud-init.disabled", "").findings(), []);
    let generated = "/run/NetworkManager/system-connections/netplan-eth0.nmconnection";
    let made = |name: &str| {
        Head::new(name).with(generated, "[connection]\nid=netplan-eth0\ninterface-name=eth0\n")
    };
    made("generated").has_finding(
        "gateway-port-netplan",
        generated,
        "unmanaged-devices+=interface-name:eth0",
    );
    let left_alone = made("left-alone").with("/etc/NetworkManager/conf.d/90-eth0.conf", "");
    assert_eq!(left_alone.findings(), [], "the remedy ends it");
}

#[test]
fn vulnerabilities_of_dnsmasq_are_found_by_release_and_version() {
    let served = |name: &str, release: &str, version: &'static str, older: &[&'static str]| {
        let head = Head::new(name);
        let serving = format!("{}cluster.dhcp.enabled = true\n", head.settings);
        let os = format!("ID=debian\nVERSION_ID=\"{release}\"\n");
        let head = head.set(&serving).with("/usr/sbin/dnsmasq", "").with("/etc/os-release", &os);
        let head = head.answer("dpkg-query -W -f ${Version} dnsmasq-base", version);
        older.iter().fold(head, |head, fixed| {
            head.answer(format!("dpkg --compare-versions {version} lt {fixed}").leak(), "")
        })
    };
    let (u1, u2) = ("2.91-1+deb13u1", "2.91-1+deb13u2");
    let old = served("holes-13", "13", "2.91-1", &[u1, u2]);
    let finding = old.has_finding("host-dnsmasq-old", "2.91-1,", "--only-upgrade dnsmasq-base");
    assert!(
        finding.text.contains("CVE-2026-2291") && finding.text.contains("CVE-2026-12969"),
        "{finding:?}"
    );
    let half = served("holes-13-half", "13", u1, &[u2]).has_finding(
        "host-dnsmasq-old",
        "CVE-2026-12725",
        "upgrade",
    );
    assert!(!half.text.contains("CVE-2026-2291"), "{half:?}");
    assert_eq!(served("holes-13-well", "13", u2, &[]).findings(), []);
    let twelve = served("holes-12", "12", "2.90-4~deb12u2", &[]);
    assert_eq!(twelve.findings(), []);
    let hints = twelve.hints();
    assert!(
        hints.iter().any(|hint| hint.code.name() == "host-dnsmasq-open"
            && hint.text.contains("not fixed there yet")),
        "{hints:?}"
    );
    let stone_age = served("holes-12-old", "12", "2.90-4~deb12u1", &["2.90-4~deb12u2"]);
    stone_age.has_finding("host-dnsmasq-old", "CVE-2026-4890", "upgrade");
    assert_eq!(served("holes-other", "14", "2.93-3", &[]).findings(), []);
}

#[test]
fn a_display_with_a_kernel_driver_and_a_stick_without_one_are_found() {
    let settings = "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\n";
    let lcd = format!("{settings}led.device = \"off\"\nlcd.address = 0x27\n");
    let head = Head::new("uu")
        .set(&lcd)
        .link("/sys/bus/i2c/devices/1-0027/driver", "../../../bus/i2c/drivers/hd44780");
    let head = head.with("/boot/firmware/config.txt", "dtoverlay=hd44780-i2c-lcd\n");
    let held: Vec<Finding> =
        head.findings().into_iter().filter(|finding| finding.code.name() == "lcd-held").collect();
    assert_eq!(held.len(), 1);
    assert!(
        held[0].remedy.contains("dtoverlay=hd44780-i2c-lcd (/boot/firmware/config.txt:1)"),
        "{held:?}"
    );
    let stick = |name: &str| {
        let device = "/sys/bus/usb/devices/1-1.2";
        let files =
            [("idVendor", "20a0\n"), ("idProduct", "41e5\n"), ("busnum", "1\n"), ("devnum", "5\n")];
        let head = Head::new(name).set(&format!("{settings}lcd.bus = \"off\"\n"));
        let head = files
            .iter()
            .fold(head, |head, (file, text)| head.with(&format!("{device}/{file}"), text));
        head.with(&format!("{device}/1-1.2:1.0/bInterfaceClass"), "03\n")
    };
    stick("detached").has_finding(
        "led-detached",
        "driver in the kernel is detached",
        "echo 1-1.2:1.0 | sudo tee",
    );
    let held = stick("detached-held")
        .process("77", "python3", "python3 blink.py")
        .link("/proc/77/fd/9", "/dev/bus/usb/001/005");
    held.has_finding("led-detached", "python3 (77) has it open", "sudo kill 77");
    let driven = stick("driven")
        .link("/sys/bus/usb/devices/1-1.2/1-1.2:1.0/driver", "../../../bus/usb/drivers/usbhid");
    assert_eq!(driven.findings(), []);
}
