//! The states, as stories that hold for every client.

use std::time::{Duration, Instant};

use crate::delegation::Delegation;
use crate::stage::{Kind, Seen, Stage};

type Story = fn(&mut Stage);

pub const STATES: &[(&str, Story)] = &[
    ("leased", leased),
    ("not-renewed-then-expired", not_renewed),
    ("renumbered", renumbered),
    ("mtu", mtu),
    ("no-server", no_server),
    ("ipv6-by-router", ipv6_by_router),
    ("option-108-without-ipv6", option_108_without_ipv6),
    ("option-108-with-ipv6", option_108_with_ipv6),
    ("delegated-prefix", delegated_prefix),
    ("portal", portal),
    ("two-clients", two_clients),
    ("no-client", no_client),
    ("switched-off", switched_off),
    ("cluster-port", cluster_port),
    ("packages", packages),
    ("time", time),
    ("netplan", netplan),
    ("ifupdown", ifupdown),
    ("no-client-but-udhcpc", no_client_but_udhcpc),
    ("forms", forms),
    ("wifi", wifi),
];

const GREEN: &str = "#00ff00 breathe";
const AMBER: &str = "#ffa000 double-blink";
const SERVER: &str = "--dhcp-range=10.99.0.162,10.99.0.162,2m";

fn is_leased(seen: &Seen) -> bool {
    seen.row1() == "10.99.0.162" && seen.text("/uplink/state") == "addressed"
}

fn leased(stage: &mut Stage) {
    stage.dnsmasq(SERVER);
    stage.start_client(false, false);
    stage.start_gateway();
    let seen = stage.until("a lease", 40, |seen| is_leased(seen) && seen.led() == GREEN);
    assert_eq!(seen.text("/uplink/dhcp"), "null");
    assert_eq!(seen.text("/uplink/not_renewed_s"), "null");
    let doctor = stage.doctor();
    assert!(!doctor.contains("uplink-"), "{doctor}");
}

/// Row 1 is the address for as long as the kernel has it; a client that lets the preferred lifetime
/// end before that is reported.
fn not_renewed(stage: &mut Stage) {
    stage.udhcpd(99, 24);
    stage.start_client(false, false);
    stage.start_gateway();
    stage.until("a lease", 40, is_leased);
    stage.stop("server");
    let begin = Instant::now();
    let (mut deprecated, mut logged) = (None, None);
    loop {
        assert!(begin.elapsed() < Duration::from_secs(100), "the lease of 24 s does not end");
        let before = stage.held();
        let seen = Seen(stage.status().unwrap());
        let after = stage.held();
        if !before.contains("10.99.0.162") {
            break;
        }
        // A state that changes during the check is checked again.
        if before != after {
            continue;
        }
        assert_eq!(seen.row1(), "10.99.0.162", "{before}");
        if before.contains("deprecated") {
            deprecated.get_or_insert(begin.elapsed());
        }
        if let Some(text) = seen.alert("uplink-lease-not-renewed") {
            assert!(text.contains("10.99.0.162"), "{text}");
            assert_eq!(seen.led(), AMBER);
            let doctor = stage.doctor();
            // The lease may end while the doctor runs.
            if !stage.held().contains("10.99.0.162") {
                continue;
            }
            assert!(
                doctor
                    .contains("uplink-lease-not-renewed: the lease of 10.99.0.162/24 on eth1 has not been renewed for"),
                "{doctor}"
            );
            logged.get_or_insert(begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(
        deprecated.is_some(),
        logged.is_some(),
        "deprecated {deprecated:?}, logged {logged:?}"
    );
    if stage.client.kind == Kind::Dhcpcd {
        assert!(logged.is_some(), "dhcpcd prefers an address until T2");
    }
    println!("deprecated {deprecated:?}, gone {:?} after the server", begin.elapsed());
    let seen = stage.until("no server answers", 30, |seen| {
        seen.row1() == "NO DHCP" && seen.text("/uplink/dhcp") == "unanswered"
    });
    let text = seen.alert("uplink-none").unwrap();
    assert!(
        ["no DHCP server has answered yet", "no DHCP server answers"]
            .iter()
            .any(|logged| text.starts_with(logged)),
        "{text}"
    );
}

/// The venue assigns another subnet: the old address is removed, and row 1 follows.
fn renumbered(stage: &mut Stage) {
    stage.udhcpd(99, 24);
    stage.start_client(false, false);
    stage.start_gateway();
    stage.until("a lease", 40, is_leased);
    stage.udhcpd(98, 24);
    let seen = stage
        .until("the other subnet", 90, |seen| seen.row1() == "10.98.0.162" && seen.led() == GREEN);
    assert_eq!(seen.text("/uplink/address"), "10.98.0.162/24");
}

/// A venue with a smaller MTU (option 26). dhcpcd sets it on its routes, not on the interface: the
/// gateway's copies of these routes have it too.
fn mtu(stage: &mut Stage) {
    stage.dnsmasq(&format!("{SERVER} --dhcp-option=26,1400"));
    stage.start_client(false, false);
    stage.start_gateway();
    stage.until("a lease", 40, is_leased);
    let limit = |stage: &Stage, way: &str| {
        let (_, text) =
            stage.run(&format!("ip route get 203.0.113.80 {way}; cat /sys/class/net/eth1/mtu"));
        let of_route =
            text.split_once(" mtu ").and_then(|(_, rest)| rest.split_whitespace().next());
        of_route.or(text.lines().last()).unwrap_or_default().to_owned()
    };
    let heeded = limit(stage, "");
    let expected = if stage.client.kind == Kind::Networkd { "1500" } else { "1400" };
    assert_eq!(heeded, expected, "networkd heeds it only with UseMTU=yes");
    let begin = Instant::now();
    while limit(stage, "from 10.99.0.162") != heeded {
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{}",
            stage.run("ip route show table all").1
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn no_server(stage: &mut Stage) {
    stage.start_client(false, false);
    stage.start_gateway();
    let seen = stage.until("it is said", 40, |seen| {
        seen.row1() == "NO DHCP" && seen.text("/uplink/dhcp") == "unanswered"
    });
    let text = seen.alert("uplink-none").unwrap();
    assert!(text.starts_with("no DHCP server has answered yet on eth1"), "{text}");
    let logged = |seen: &Seen| {
        seen.alert("uplink-none").is_some_and(|text| text.starts_with("no DHCP server answers"))
    };
    stage.until("no server is that slow", 40, logged);
    assert_eq!(seen.text("/uplink/address"), "null");
    let doctor = stage.doctor();
    assert!(
        doctor.contains("uplink-no-dhcp:") && doctor.contains("no DHCP server answers"),
        "{doctor}"
    );
    // A link-local address (169.254/16) does not count, and is reported as what it is.
    if stage.client.kind == Kind::Dhcpcd {
        stage.until("its own address", 40, |seen| {
            seen.row1() == "NO DHCP"
                && seen.alert("uplink-none").is_some_and(|text| text.contains("169.254."))
        });
    }
}

fn has_ipv6(seen: &Seen) -> bool {
    seen.glass().replace('|', "").contains("2001:db8:9:")
        && seen.text("/uplink/address").starts_with("2001:db8:9:")
}

fn ipv6_by_router(stage: &mut Stage) {
    stage.router("");
    stage.start_client(false, false);
    stage.start_gateway();
    let seen = stage.until("an address of IPv6", 60, |seen| {
        has_ipv6(seen) && seen.alert("uplink-no-ipv4").is_some()
    });
    assert_eq!(seen.text("/severity"), "notice");
    assert!(!seen.alert("uplink-no-ipv4").unwrap().contains("option 108"));
}

fn option_108_without_ipv6(stage: &mut Stage) {
    stage.dnsmasq(&format!("{SERVER} --dhcp-option=108,300i"));
    let heeds = stage.client.heeds_108;
    // networkd starts first, and is silent when the gateway begins to listen.
    let late = stage.client.kind == Kind::Networkd;
    if !late {
        stage.start_gateway();
    }
    stage.start_client(heeds, false);
    if late {
        std::thread::sleep(Duration::from_secs(4));
        stage.start_gateway();
    }
    if !heeds {
        stage.until("a lease all the same", 40, is_leased);
        return;
    }
    let heard = if late { "waiting" } else { "ipv6-only" };
    let seen = stage.until("it is said", 40, |seen| {
        seen.row1() == "NO DHCP" && seen.text("/uplink/dhcp") == heard
    });
    let text = seen.alert("uplink-none").unwrap();
    assert!(late || text.contains("10.99.0.1 asks for IPv6 only on eth1 (option 108)"), "{text}");
    stage.cure("uplink-ipv6-only");
    stage.until("a lease after the remedy", 60, is_leased);
}

fn option_108_with_ipv6(stage: &mut Stage) {
    stage.router(&format!("{SERVER} --dhcp-option=108,300i"));
    let heeds = stage.client.heeds_108;
    stage.start_gateway();
    stage.start_client(heeds, false);
    if !heeds {
        stage.until("a lease all the same", 40, is_leased);
        return;
    }
    let logged = |seen: &Seen| {
        seen.alert("uplink-no-ipv4")
            .is_some_and(|text| text.contains("asks for IPv6 only (option 108)"))
    };
    stage.until("the reason is said", 60, |seen| has_ipv6(seen) && logged(seen));
    let doctor = stage.doctor();
    assert!(doctor.contains("hint     uplink-ipv6-only:"), "{doctor}");
}

/// A client with a delegated prefix has a route for it, by which the gateway finds it.
/// NetworkManager requests none.
fn delegated_prefix(stage: &mut Stage) {
    let prefix = "2001:db8:100::".parse().unwrap();
    stage.router("");
    let server = Delegation::start(prefix, 56);
    stage.write(
        "etc/bramblegate/bramblegate.toml.d/ipv6.toml",
        "[cluster.dhcp]\n[cluster.ipv6]\nmode = \"auto\"\n",
    );
    stage.start_delegated();
    stage.start_gateway();
    let delegated = |seen: &Seen| seen.text("/cluster/ipv6/delegated");
    stage.until("the uplink's own", 40, |seen| {
        seen.text("/uplink/addresses").contains("2001:db8:9:")
    });
    if stage.client.kind == Kind::NetworkManager {
        std::thread::sleep(Duration::from_secs(5));
        stage.until("nothing is delegated", 1, |seen| delegated(seen) == "null");
        return;
    }
    let seen = stage.until("a prefix", 40, |seen| delegated(seen) == "2001:db8:100:ff::/64");
    assert!(seen.text("/cluster/ipv6/prefix").starts_with("fd"), "beside the one of its own");
    let held = |stage: &Stage| stage.run("ip -6 addr show dev eth0").1;
    assert!(held(stage).contains("2001:db8:100:ff::1/64"), "{}", held(stage));
    // dhcpcd 10.1 keeps the route of an expired lease; all remove it with the carrier.
    crate::stage::sh("ip -n venue link set lan0 down");
    stage.until("it has ended", 30, |seen| delegated(seen) == "null");
    assert!(!held(stage).contains("2001:db8:100:"), "{}", held(stage));
    drop(server);
}

fn portal(stage: &mut Stage) {
    stage.dnsmasq(&format!("{SERVER} --dhcp-option=114,https://login.hotel/api"));
    // The gateway first: it receives the server's messages to the client.
    stage.start_gateway();
    stage.start_client(false, true);
    stage.until("a lease", 40, is_leased);
    if stage.client.asks_114 {
        stage.until("the portal's address", 10, |seen| {
            seen.text("/uplink/portal_url") == "https://login.hotel/api"
        });
        let doctor = stage.doctor();
        assert!(
            doctor.contains(
                "uplink-portal: the venue of eth1 has a captive portal at https://login.hotel/api"
            ),
            "{doctor}"
        );
        // The records of dhcpcd and networkd suffice after a restart.
        stage.stop("bramblegate");
        let doctor = stage.doctor();
        if stage.client.kind == Kind::Dhcpcd {
            assert!(doctor.contains("uplink-portal:"), "{doctor}");
        }
        stage.start_gateway();
        if stage.client.kind == Kind::Networkd {
            stage.until("once more", 20, |seen| {
                seen.text("/uplink/portal_url") == "https://login.hotel/api"
            });
        }
    }
}

fn two_clients(stage: &mut Stage) {
    stage.dnsmasq("--dhcp-range=10.99.0.162,10.99.0.180,2m");
    stage.start_client(false, false);
    stage.start_gateway();
    stage.until("a lease", 40, |seen| seen.row1().starts_with("10.99.0."));
    // The second client that is often installed: dhcpcd beside a manager, and a manual client
    // beside dhcpcd.
    let other = if stage.client.name == "nm-13" {
        stage.start(Kind::Networkd, false, false);
        "systemd-networkd"
    } else if stage.client.kind == Kind::Dhcpcd {
        let (well, text) =
            stage.run("busybox udhcpc -b -i eth1 -s /bin/true || udhcpc -b -i eth1 -s /bin/true");
        assert!(well, "{text}");
        "udhcpc"
    } else {
        stage.start(Kind::Dhcpcd, false, false);
        "dhcpcd"
    };
    std::thread::sleep(Duration::from_secs(6));
    let doctor = stage.doctor();
    let line = doctor
        .lines()
        .find(|line| line.contains("uplink-two-clients:"))
        .unwrap_or_else(|| panic!("{doctor}"));
    let named = line.contains(other) || other == "udhcpc" && line.contains("busybox");
    assert!(named && line.contains("both ask for an address on the uplink eth1"), "{line}");
    stage.cure("uplink-two-clients");
    std::thread::sleep(Duration::from_secs(3));
    let doctor = stage.doctor();
    assert!(!doctor.contains("uplink-two-clients"), "{doctor}");
    stage
        .until("an address", 40, |seen| seen.row1().starts_with("10.99.0.") && seen.led() == GREEN);
}

fn no_client(stage: &mut Stage) {
    stage.dnsmasq(SERVER);
    match stage.client.kind {
        Kind::Dhcpcd => {}
        Kind::Networkd => {
            stage.start(Kind::Networkd, false, false);
            stage.stop("networkd");
            let (well, text) = stage.run("rm -rf /etc/systemd/network/20-eth1.network /run/systemd/netif/links/*; (/lib/systemd/systemd-networkd >/dev/null 2>&1 &) ; sleep 1; ip -4 addr flush dev eth1");
            assert!(well, "{text}");
        }
        Kind::NetworkManager => {
            stage.start(Kind::NetworkManager, false, false);
            let (well, text) = stage.run("for i in 1 2 3 4 5 6 7 8 9; do sleep 1; nmcli device set eth1 managed no && break; done; sleep 1; ip -4 addr flush dev eth1");
            assert!(well, "{text}");
        }
    }
    stage.start_gateway();
    let seen = stage.until("it is said", 40, |seen| {
        seen.row1() == "NO DHCP" && seen.text("/uplink/dhcp") == "no-client"
    });
    let text = seen.alert("uplink-none").unwrap();
    assert!(text.starts_with("nothing on the head asks for an address on eth1"), "{text}");
    stage.cure("uplink-no-client");
    stage.until("a lease after the remedy", 60, is_leased);
}

/// An uplink that was set down is reported, and leased again after the remedy.
fn switched_off(stage: &mut Stage) {
    stage.dnsmasq(SERVER);
    stage.start_client(false, false);
    stage.start_gateway();
    stage.until("a lease", 40, is_leased);
    let (well, text) = stage.run("ip link set eth1 down");
    assert!(well, "{text}");
    let off = |seen: &Seen| {
        seen.alert("uplink-none").is_some_and(|text| text.starts_with("eth1 is switched off"))
    };
    stage.until("it is off", 20, off);
    // Time for what the client does by itself before the remedy.
    std::thread::sleep(Duration::from_secs(3));
    stage.cure("uplink-off");
    let doctor = stage.doctor();
    assert!(!doctor.contains("uplink-off"), "{doctor}");
    stage.until("a lease after the remedy", 60, is_leased);
}

/// The client manages the cluster interface too, until the remedy is run; it keeps the uplink.
fn cluster_port(stage: &mut Stage) {
    stage.everywhere = true;
    let (_, text) = stage.run(
        "mkdir -p /etc/systemd/system/multi-user.target.wants; cd /etc/systemd/system/multi-user.target.wants; rm -f *",
    );
    let unit = match stage.client.kind {
        Kind::Dhcpcd => "dhcpcd.service",
        Kind::Networkd => "systemd-networkd.service",
        Kind::NetworkManager => "NetworkManager.service",
    };
    stage.write(&format!("etc/systemd/system/multi-user.target.wants/{unit}"), &text);
    stage.dnsmasq(SERVER);
    stage.start_client(false, false);
    stage.start_gateway();
    stage.until("a lease", 40, is_leased);
    std::thread::sleep(Duration::from_secs(2));
    stage.cure("gateway-port-managed");
    std::thread::sleep(Duration::from_secs(3));
    let doctor = stage.doctor();
    assert!(!doctor.contains("gateway-port-managed"), "{doctor}");
    match stage.client.kind {
        Kind::NetworkManager => {
            let (_, devices) = stage.run("nmcli -t -f DEVICE,STATE device");
            assert!(
                devices.contains("eth0:unmanaged") && !devices.contains("eth1:unmanaged"),
                "{devices}"
            );
            let (_, settings) = stage.run("NetworkManager --print-config | grep unmanaged-devices");
            assert!(
                settings.contains("docker0") && settings.contains("eth0"),
                "others stay: {settings}"
            );
        }
        Kind::Networkd => {
            let (_, links) = stage.run("networkctl --no-legend --no-pager list");
            let eth0 = links.lines().find(|line| line.contains("eth0")).unwrap_or_default();
            assert!(eth0.contains("unmanaged"), "{links}");
        }
        Kind::Dhcpcd => {
            let (_, files) = stage.run("cat /proc/$(cat /run/dhcpcd/pid)/cmdline; ls /run/dhcpcd");
            let (_, sockets) = stage.run("ip -4 -o addr show dev eth0");
            assert!(!sockets.contains("169.254"), "{sockets} {files}");
        }
    }
    let (_, held) = stage.run("ip -4 -o addr show dev eth0");
    assert!(held.contains("192.168.50.1/24"), "{held}");
    stage.until("the uplink has its address", 40, is_leased);
}

const SERVING: &str = r#"
board = "emulated"
uplink.interfaces = ["eth1"]
uplink.check.method = "off"
cluster.interface = "eth0"
lcd.bus = "emulator"
led.device = "emulator"
[cluster.dhcp]
"#;

/// A package of a name and version, with one program in it.
const MAKE_PACKAGE: &str = r#"
make() {
    rm -rf /run/build; mkdir -p /run/build/DEBIAN /run/build/usr/sbin /run/repo
    printf '#!/bin/sh\n' >/run/build/usr/sbin/dnsmasq; chmod 755 /run/build/usr/sbin/dnsmasq
    printf 'Package: dnsmasq-base\nVersion: %s\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: one\n' "$1" >/run/build/DEBIAN/control
    dpkg-deb --build /run/build "/run/repo/$1.deb"
    cd /run/repo
    for file in *.deb; do
        dpkg-deb --field "$file"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
    done >Packages
    rm -rf /etc/apt/sources.list.d/*
    echo 'deb [trusted=yes] file:/run/repo ./' >/etc/apt/sources.list
}
"#;

/// Installs and upgrades with the real apt, from a small archive. Once per release.
fn packages(stage: &mut Stage) {
    if stage.client.kind != Kind::Dhcpcd {
        return;
    }
    let (old, new) = match stage.client.release {
        "bookworm" => ("2.90-4~deb12u1", "2.90-4~deb12u2"),
        _ => ("2.91-1", "2.91-1+deb13u2"),
    };
    stage.write("etc/bramblegate/bramblegate.toml", SERVING);
    let (well, text) = stage.run(&format!("{MAKE_PACKAGE} make {old} && apt-get update"));
    assert!(well, "{text}");
    stage.cure("gateway-dnsmasq-missing");
    let doctor = stage.doctor();
    assert!(!doctor.contains("gateway-dnsmasq-missing"), "{doctor}");
    let (well, text) = stage.run(&format!("{MAKE_PACKAGE} make {new}"));
    assert!(well, "{text}");
    stage.cure("host-dnsmasq-old");
    let doctor = stage.doctor();
    assert!(!doctor.contains("host-dnsmasq-old"), "{doctor}");
    let (_, version) = stage.run("dpkg-query -W -f '${Version}' dnsmasq-base");
    assert_eq!(version, new);
}

/// The real chrony serves the nodes after the remedy. Once per release.
fn time(stage: &mut Stage) {
    if stage.client.kind != Kind::Dhcpcd {
        return;
    }
    stage.write("etc/bramblegate/bramblegate.toml", SERVING);
    stage.write("run/start-chrony", "exec chronyd -n -x -u root\n");
    let (well, text) = stage.run("ip addr add 192.168.50.1/24 dev eth0");
    assert!(well, "{text}");
    stage.cure("gateway-no-time");
    let begin = Instant::now();
    loop {
        let doctor = stage.doctor();
        if !doctor.contains("gateway-no-time") {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{doctor}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The remedy removes a netplan profile for the cluster interface, with the real netplan, and the
/// generated configuration has none.
fn netplan(stage: &mut Stage) {
    if stage.client.kind != Kind::NetworkManager {
        return;
    }
    let file = "network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    eth0:\n      dhcp4: true\n    eth1:\n      dhcp4: true\n";
    stage.write("etc/netplan/50-eth.yaml", file);
    // There is no udev here to provide names of interfaces.
    stage.write("usr/local/bin/udevadm", "#!/bin/sh\n");
    let (well, text) = stage.run("chmod 755 /usr/local/bin/udevadm");
    assert!(well, "{text}");
    let (well, text) =
        stage.run("chmod 600 /etc/netplan/*.yaml; netplan generate; ls /run/NetworkManager/system-connections");
    assert!(well && text.contains("netplan-eth0"), "{text}");
    stage.start_client(false, false);
    std::thread::sleep(Duration::from_secs(2));
    stage.cure("gateway-port-netplan");
    let doctor = stage.doctor();
    assert!(!doctor.contains("gateway-port-netplan"), "{doctor}");
    let (_, text) = stage.run("netplan generate; ls /run/NetworkManager/system-connections");
    assert!(!text.contains("netplan-eth0") && text.contains("netplan-eth1"), "{text}");
}

/// The lines of ifupdown for the cluster interface; `ifup` does nothing for it after the remedy.
/// Once per release.
fn ifupdown(stage: &mut Stage) {
    if stage.client.kind != Kind::Dhcpcd {
        return;
    }
    stage.write(
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n",
    );
    stage.cure("gateway-port-managed");
    let doctor = stage.doctor();
    assert!(!doctor.contains("gateway-port-managed"), "{doctor}");
    let (well, text) = stage.run("ifup --no-act --verbose eth0 2>&1");
    assert!(well && !text.contains("dhc"), "{text}");
}

/// A head that has only busybox's client. Once per release.
fn no_client_but_udhcpc(stage: &mut Stage) {
    if stage.client.kind != Kind::Dhcpcd {
        return;
    }
    let (well, text) = stage.run("rm -f /usr/sbin/dhcpcd /sbin/dhcpcd");
    assert!(well, "{text}");
    stage.dnsmasq(SERVER);
    stage.start_gateway();
    stage.cure("uplink-no-client");
    stage.until("a lease after the remedy", 60, is_leased);
}

/// The real tools accept the commands that no other case runs, since they need a radio, a screen or
/// the internet. Once per release.
fn forms(stage: &mut Stage) {
    if stage.client.kind != Kind::Dhcpcd {
        return;
    }
    for (form, shows) in [
        // It has no radio to unblock, and accepts the word.
        ("rfkill unblock wifi 2>&1 || true", "rfkill"),
        ("rfkill unblock nonsense 2>&1 || true", "nonsense"),
        ("iotop --help", "-o, --only"),
        ("apt-get --simulate install chrony", "chrony"),
        ("apt-get --simulate install dhcpcd", "dhcpcd"),
        ("apt-get --simulate install network-manager", "network-manager"),
        (
            "/bin/systemctl --root=/ enable dhcpcd 2>&1; ls /etc/systemd/system/multi-user.target.wants",
            "dhcpcd.service",
        ),
        ("du -xh /etc | sort -h | tail", "/etc"),
        ("du --inodes -x /etc | sort -n | tail", "/etc"),
    ] {
        let (well, text) = stage.run(form);
        assert!(well && text.contains(shows), "{form}: {text}");
    }
    let (_, text) = stage.run("rfkill unblock wifi");
    assert!(!text.contains("wifi"), "an unknown kind of radio is named: {text}");
}

/// Makes the machine have a wireless interface, by sysfs.
const WIRELESS: &str = "ip link add wlan0 type veth peer name far && ip link set wlan0 up
    mount -t tmpfs tmpfs /sys/class/net && mkdir -p /sys/class/net/wlan0/phy80211";

/// A NetworkManager whose radio receives two networks: python-dbusmock emulates it, since this
/// kernel has no radio. nmcli is the release's own.
const RADIO: &str = r#"
    python3 -m dbusmock --system --template networkmanager >/run/mock.log 2>&1 &
    manager=/org/freedesktop/NetworkManager
    mock() {
        method=$1; shift
        dbus-send --system --print-reply --dest=org.freedesktop.NetworkManager $manager \
            org.freedesktop.DBus.Mock.$method "$@" >/dev/null
    }
    for try in $(seq 50); do mock AddWiFiDevice string:wlan0 string:wlan0 uint32:100 2>/dev/null && break; sleep 0.1; done
    point() {
        mock AddAccessPoint string:$manager/Devices/wlan0 string:$1 "string:$2" string:$3 uint32:2 \
            uint32:2425 uint32:5400 byte:$4 uint32:$5
    }
    point AP1 'Fair: hall 1' 00:23:F8:7E:12:BB 82 256
    point AP2 free 00:23:F8:7E:12:BC 50 0"#;

fn verb(stage: &Stage, line: &str) -> String {
    stage.run(&format!("bramblegate wifi {line}; echo \"code $?\"")).1
}

/// Repeats a command until its output contains these words; returns the output.
fn until(stage: &Stage, line: &str, words: &str) -> String {
    let begin = Instant::now();
    loop {
        let text = verb(stage, line);
        if text.contains(words) {
            return text;
        }
        assert!(begin.elapsed() < Duration::from_secs(40), "no {words:?} in {text}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// `wifi` with the nmcli of each release: with a real NetworkManager without a radio, and with one
/// that receives networks.
fn wifi(stage: &mut Stage) {
    if stage.client.kind != Kind::NetworkManager {
        return;
    }
    let (well, text) = stage.run(WIRELESS);
    assert!(well, "{text}");
    stage.start_client(false, false);
    // A cable for NetworkManager, whatever sysfs reports.
    let text = until(stage, "", "Device 'wlan0' is not a Wi-Fi device");
    let wanted = "error: wifi: nmcli does not list the networks of wlan0\n    help: ";
    assert!(text.contains(wanted) && text.contains("code 1"), "{text}");
    let text = until(stage, "free", "Device 'wlan0' is not a Wi-Fi device");
    let wanted = "error: wifi: wlan0 has not joined free\n    help: ";
    assert!(text.contains(wanted) && text.contains("code 1"), "{text}");
    let (well, text) = stage.run("nmcli device set wlan0 managed no");
    assert!(well, "{text}");
    let text = until(stage, "free", "NetworkManager does not manage wlan0\n    help: run `");
    let remedy = "sudo nmcli device set wlan0 managed yes";
    assert!(text.contains(remedy) && text.contains("code 69"), "{text}");
    let (well, text) = stage.run(remedy);
    assert!(well, "{text}");
    until(stage, "free", "wifi: wlan0 has not joined free");

    stage.stop("nm");
    until(stage, "free", "help: NetworkManager is installed and does not run");
    let (well, text) = stage.run(RADIO);
    assert!(well, "{text}");
    let text = verb(stage, "");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("Warning")).collect();
    let wanted = [
        "   SIGNAL  SECURITY      SSID",
        "     82 %  WPA1 WPA2     Fair: hall 1",
        "     50 %  none          free",
        "code 0",
    ];
    assert_eq!(lines, wanted, "{text}");
}
