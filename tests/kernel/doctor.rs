//! `bramblegate doctor` and `detect`, the real program, on a network of its own.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::frame::Trial;
use crate::lab::{Namespace, sh, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial(
            "doctor::a_foreign_drop_blocks_until_it_is_gone",
            a_foreign_drop_blocks_until_it_is_gone,
        ),
        trial("doctor::who_has_port_53_is_named", who_has_port_53_is_named),
        trial(
            "doctor::it_asks_the_venues_servers_and_our_own",
            it_asks_the_venues_servers_and_our_own,
        ),
        trial("doctor::a_server_that_is_silent_is_reported", a_server_that_is_silent_is_reported),
        trial("doctor::every_remedy_helps", every_remedy_helps),
        trial(
            "doctor::what_is_mounted_read_only_is_named_and_made_writable",
            what_is_mounted_read_only_is_named_and_made_writable,
        ),
        trial("doctor::a_port_without_a_role_is_named", a_port_without_a_role_is_named),
        trial("doctor::a_rule_that_takes_the_clusters_subnet_is_named", rule_takes_the_subnet),
        trial(
            "detect::the_way_to_the_internet_stays_an_uplink",
            the_way_to_the_internet_stays_an_uplink,
        ),
    ]
}

const SETTINGS: &str = "uplink.interfaces = [\"up0\"]\ncluster.interface = \"down0\"\nlcd.bus = \"off\"\nled.device = \"off\"\n";

/// Runs the program where `/sys` shows this network; returns exit code and both outputs.
fn run(arguments: &str) -> (i32, String) {
    run_with("true", arguments)
}

/// Does the same as [`run`], after a line of shell.
fn run_with(before: &str, arguments: &str) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_bramblegate");
    let script = format!("mount -t sysfs sysfs /sys && {before} && exec {program} {arguments}");
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// The head's two interfaces, and a settings file that names them.
fn head(name: &str) -> String {
    sh(
        "ip link add up0 type veth peer name up1 && ip link add down0 type veth peer name down1 && ip link set up0 up",
    );
    let file = std::env::temp_dir().join(format!("bramblegate-{name}-{}.toml", std::process::id()));
    std::fs::write(&file, SETTINGS).unwrap();
    file.display().to_string()
}

/// Only the file system of the settings is read-only, itself or by a second mount; the root is not.
fn what_is_mounted_read_only_is_named_and_made_writable() {
    let program = env!("CARGO_BIN_EXE_bramblegate");
    for mount in [
        "mount -t tmpfs tmpfs $place; settings; mount -o remount,ro $place",
        "mount --bind $place $place; settings; mount -o remount,bind,ro $place",
    ] {
        let script = format!(
            "place=/run/read-only; mkdir $place
             settings() {{ printf '{SETTINGS}' > $place/b.toml; }}
             {mount}
             add() {{ {program} nodes add nas --address 192.168.50.30 -c $place/b.toml 2>&1; }}
             text=$(add) && exit 1
             echo \"$text\"
             command=$(echo \"$text\" | sed -n 's/.*(sudo \\(mount [^)]*\\)).*/\\1/p')
             test \"$command\" = \"mount -o remount,rw $place\"
             $command
             add"
        );
        let output = Command::new("unshare").args(["--mount", "sh", "-ec", &script]).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{mount}: {text}{:?}", output.stderr);
        sh("rm -rf /run/read-only");
    }
}

fn a_foreign_drop_blocks_until_it_is_gone() {
    let file = head("drop");
    let (before, text) = run(&format!("doctor -c {file}"));
    assert!(before != 2 && !text.contains("gateway-blocked"), "{before}: {text}");
    sh(
        "nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    let (dropped, text) = run(&format!("doctor -c {file}"));
    assert_eq!(dropped, 2, "{text}");
    assert!(
        text.contains("table ip filter, chain FORWARD")
            && text.contains("iptables -I FORWARD -i down0"),
        "{text}"
    );
    sh("nft insert rule ip filter FORWARD accept; iptables-legacy -P INPUT DROP");
    let (deaf, text) = run(&format!("doctor -c {file}"));
    assert!(
        deaf != 2 && text.contains("chain INPUT drops tcp 22 from the venue"),
        "{deaf}: {text}"
    );
    std::fs::write(&file, format!("{SETTINGS}[cluster.dhcp]\nenabled = true\n")).unwrap();
    let (deaf, text) = run(&format!("doctor -c {file}"));
    let named =
        "table ip filter (legacy), chain INPUT drops the nodes' requests for addresses (DHCP)";
    assert!(deaf == 2 && text.contains(named), "{deaf}: {text}");
    assert!(text.contains("as root: iptables-legacy -I INPUT -i down0 -j ACCEPT"), "{text}");
    std::fs::write(&file, SETTINGS).unwrap();
    sh("iptables-legacy -P INPUT ACCEPT");
    let (after, text) = run(&format!("doctor -c {file}"));
    assert_eq!(after, before, "{text}");
    std::fs::remove_file(file).unwrap();
}

fn who_has_port_53_is_named() {
    let file = head("port");
    std::fs::write(&file, format!("{SETTINGS}[cluster.dhcp]\nenabled = true\n")).unwrap();
    let _socket = UdpSocket::bind("0.0.0.0:53").unwrap();
    let (code, text) = run(&format!("doctor -c {file}"));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("host-port-53: kernel"), "{text}");
    std::fs::remove_file(file).unwrap();
}

fn the_way_to_the_internet_stays_an_uplink() {
    std::fs::remove_file(head("detect")).unwrap();
    sh(
        "ip link set up1 up && ip addr add 192.168.50.77/24 dev up0 && ip route add default via 192.168.50.1",
    );
    let (code, text) = run("detect");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("interfaces = [\"up0\", "), "{text}");
    assert!(
        text.contains("interface = \"down0\"\n") && text.contains("address = \"10.213.50.1/24\""),
        "{text}"
    );
}

/// A child; dropping this ends it.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(line: &str) -> Program {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = Command::new(words[0]);
    Program(
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// A venue at the other end of `up0`, with its router's address; the head has an address too.
fn venue() -> Namespace {
    let far = Namespace::new("venue");
    sh(&format!("ip link set up1 netns {}; ip addr add 10.99.0.5/24 dev up0", far.name()));
    far.sh("ip link set up1 up; ip addr add 10.99.0.1/24 dev up1");
    far
}

const TRY_SETTINGS: &str =
    "uplink.check.url = \"http://probe.example/generate_204\"\n[cluster.dhcp]\nenabled = true\n";

/// Runs `doctor --try` where the machine's resolver is the venue's.
fn try_it(file: &str) -> (i32, String) {
    sh("printf 'nameserver 10.99.0.1\\n' > /run/resolv.conf");
    run_with("mount --bind /run/resolv.conf /etc/resolv.conf", &format!("doctor --try -c {file}"))
}

fn it_asks_the_venues_servers_and_our_own() {
    let file = head("try");
    std::fs::write(&file, format!("{SETTINGS}{TRY_SETTINGS}")).unwrap();
    let far = venue();
    sh("ip addr add 192.168.50.1/24 dev down0; ip link set down0 up; ip link set down1 up");
    let options = "--no-resolv --no-hosts --conf-file=/dev/null --user=root --pid-file --address=/#/203.0.113.80 -k --bind-interfaces";
    let _server = start(&format!(
        "ip netns exec {} dnsmasq {options} --interface=up1 --dhcp-range=10.99.0.50,10.99.0.59,2m --no-ping --dhcp-leasefile=/run/v.leases --dhcp-option=108,300i --dhcp-option=114,http://login.hotel/",
        far.name()
    ));
    let _own =
        start(&format!("dnsmasq {options} --listen-address=192.168.50.1 --except-interface=lo"));
    std::thread::sleep(Duration::from_millis(500));
    let (_, text) = try_it(&file);
    for logged in [
        "Asking on up0 for a DHCP server (a DISCOVER; the offer is not taken)",
        "up0: the DHCP server 10.99.0.1 offers 10.99.0.5",
        "and asks for IPv6 only (option 108), with a captive portal at http://login.hotel/",
        "the resolver 10.99.0.1 resolves probe.example (addresses: 1)",
        "the head's dnsmasq resolves probe.example (addresses: 1)",
    ] {
        assert!(text.contains(logged), "{logged:?} is not in\n{text}");
    }
    let leases = std::fs::read_to_string("/run/v.leases").unwrap_or_default();
    assert!(leases.trim().is_empty(), "nothing was taken: {leases}");
    std::fs::remove_file(file).unwrap();
}

fn a_server_that_is_silent_is_reported() {
    let file = head("silent");
    std::fs::write(&file, format!("{SETTINGS}{TRY_SETTINGS}")).unwrap();
    let _far = venue();
    sh("ip addr add 192.168.50.1/24 dev down0; ip link set down0 up; ip link set down1 up");
    let (code, text) = try_it(&file);
    assert_eq!(code, 1, "{text}");
    for code in [
        "uplink-no-dhcp: no DHCP server answers a question on up0",
        "uplink-resolver:",
        "gateway-dnsmasq-failed:",
    ] {
        assert!(text.contains(code), "{code:?} is not in\n{text}");
    }
    std::fs::remove_file(file).unwrap();
}

/// What causes a finding, on a machine with its own `/etc`, `/run` and `/sys/bus`, and the state of
/// the kernel after the remedy.
const AILMENTS: &[(&str, &str, &str)] = &[
    (
        "host-journal-on-card",
        "echo 0123 > /etc/machine-id; mount -t tmpfs /dev/mmcblk0p2 /var/log; mkdir -p /var/log/journal/0123; touch /var/log/journal/0123/system.journal",
        "",
    ),
    (
        "gateway-port-cloud-init",
        "mkdir -p /etc/cloud/cloud.cfg.d /run/boot; touch /etc/cloud/cloud.cfg; mount --bind /run/boot /boot; printf 'ethernets:\\n  down0:\\n    dhcp4: true\\n' > /boot/network-config",
        "",
    ),
    (
        "lcd-held",
        "mkdir -p /sys/bus/i2c/devices/1-0027 /sys/bus/i2c/drivers/hd44780; ln -s ../../drivers/hd44780 /sys/bus/i2c/devices/1-0027/driver",
        "grep -qx 1-0027 /sys/bus/i2c/drivers/hd44780/unbind && rm /sys/bus/i2c/devices/1-0027/driver",
    ),
    (
        "led-detached",
        "d=/sys/bus/usb/devices/1-1; mkdir -p $d/1-1:1.0 /sys/bus/usb/drivers/usbhid; echo 20a0 > $d/idVendor; echo 41e5 > $d/idProduct; echo 1 > $d/busnum; echo 5 > $d/devnum",
        "grep -qx 1-1:1.0 /sys/bus/usb/drivers/usbhid/bind && ln -s ../../../drivers/usbhid /sys/bus/usb/devices/1-1/1-1:1.0/driver",
    ),
    (
        "uplink-two-clients",
        "mkdir -p /run/dhcpcd; busybox udhcpc -f -i up0 -s /bin/true >/dev/null 2>&1& printf 'noipv6\\nnohook resolv.conf\\n' > /etc/dhcpcd.conf; dhcpcd -B -c /bin/true up0 >/dev/null 2>&1 & \n sleep 2",
        "sleep 0.5",
    ),
    // Two without a keeper: one ends, the other requests again.
    (
        "uplink-two-clients",
        "ln -s $(command -v busybox) /run/bin/udhcpc; /run/bin/udhcpc -f -i up0 -s /bin/true >/run/one 2>&1 & busybox udhcpc -f -i up0 -s /bin/true >/run/two 2>&1 & \n sleep 0.5",
        "sleep 0.5; grep -q 'performing DHCP renew' /run/one /run/two",
    ),
    ("uplink-no-client", "true", "sleep 1"),
    ("uplink-off", "ip link set up0 down", "ip link show up0 | grep -q ,UP"),
    (
        "uplink-exit-by",
        "ip link set down0 up; ip addr add 192.168.50.1/24 dev down0; ip route add default via 192.168.50.9 dev down0",
        "! ip route | grep -q default",
    ),
    (
        "gateway-masquerade-old",
        "iptables-nft -t nat -A POSTROUTING -s 192.168.50.0/24 -o up0 -j MASQUERADE",
        "! iptables-nft-save | grep -q MASQUERADE",
    ),
    // The kernel's limits belong to the whole machine, so files replace them.
    (
        "gateway-conntrack",
        "for name in count max; do echo 100 > /run/$name; mount --bind /run/$name /proc/sys/net/netfilter/nf_conntrack_$name; done",
        "grep -qx 200 /run/max",
    ),
    (
        "gateway-neighbours",
        "echo 0 > /run/limit; mount -t tmpfs tmpfs /proc/sys/net/ipv4/neigh; mkdir /proc/sys/net/ipv4/neigh/default; touch /proc/sys/net/ipv4/neigh/default/gc_thresh3; mount --bind /run/limit /proc/sys/net/ipv4/neigh/default/gc_thresh3",
        "grep -qx '[1-9]' /run/limit",
    ),
    ("gateway-netboot", "SERVING", "test -d /run/tftp"),
    (
        "gateway-netboot",
        "SERVING mkdir -p /run/tftp; chmod 700 /run/tftp",
        "setpriv --reuid 990 --clear-groups test -x /run/tftp",
    ),
    (
        "gateway-netboot",
        "SERVING mkdir -p /run/tftp/1; touch /run/tftp/1/start.elf; chmod 700 /run/tftp/1",
        "setpriv --reuid 990 --clear-groups test -r /run/tftp/1/start.elf",
    ),
    // In this view of control groups, the process with the port belongs to no unit.
    (
        "host-port-67",
        "SERVING dnsmasq -k -C /dev/null --port=0 --interface=lo --pid-file --user=root --group=root --dhcp-range=10.77.0.5,10.77.0.9 --dhcp-leasefile=/run/other.leases & \n sleep 0.5",
        "sleep 0.5",
    ),
    ("host-web-stopped", "page_is_enabled", ""),
    ("host-web-silent", "page_is_enabled; page; kill -STOP $(cat /run/web.pid)", ""),
    // The page moves back when it restarts.
    (
        "host-web-port",
        "ip link set lo up; busybox nc -l -p 80 >/dev/null </dev/null & \n sleep 0.3; page",
        "page",
    ),
    (
        "host-web-not-allowed",
        "page; mkdir -p /etc/bramblegate/bramblegate.toml.d $FILE.d; mount --bind /etc/bramblegate/bramblegate.toml.d $FILE.d",
        "bramblegate print settings -c $FILE | grep -q '^allow = .*\"web\"'",
    ),
    // A unit of Debian; here `systemctl` removes its link.
    (
        "gateway-dhcp-other",
        "mkdir -p /etc/systemd/system/multi-user.target.wants; touch /etc/systemd/system/multi-user.target.wants/udhcpd.service",
        "",
    ),
];

/// Replacements for programs that would act on the machine: `systemctl` changes `/etc` like the
/// real one.
const PROGRAMS: &str = r#"
printf '#!/bin/sh\nexec "$@"\n' > /run/bin/sudo
cat > /run/bin/systemctl <<'END'
#!/bin/sh
case "$*" in
"disable --now "*) rm /etc/systemd/system/multi-user.target.wants/$3 ;;
"enable --now bramblegate-web" | "restart bramblegate-web") exec page ;;
"reload bramblegate" | "restart systemd-journald") ;;
*) exit 1 ;;
esac
END
cat > /run/bin/page <<'END'
#!/bin/sh
ip link set lo up
mkdir -p /run/bramblegate-web
[ ! -e /run/web.pid ] || { kill -KILL $(cat /run/web.pid); rm -f /run/bramblegate-web/port; }
setsid $WEB -c $FILE </dev/null >/dev/null 2>&1 &
echo $! > /run/web.pid
for try in $(seq 50); do [ -s /run/bramblegate-web/port ] && exit 0; sleep 0.1; done
exit 1
END
chmod +x /run/bin/*
page_is_enabled() { mkdir -p /etc/systemd/system/multi-user.target.wants; touch /etc/systemd/system/multi-user.target.wants/bramblegate-web.service; }
bramblegate() { $PROGRAM "$@"; }
"#;

/// The command of each remedy is run as printed; afterwards its finding is gone.
fn every_remedy_helps() {
    let file = head("remedies");
    sh("ip link set up1 up");
    let settings = "uplink.interfaces = [\"up0\"]\ncluster.interface = \"down0\"\nboard = \"raspberry-pi-4\"\n";
    for (code, ail, after) in AILMENTS {
        let (more, ail) = match ail.strip_prefix("SERVING") {
            Some(ail) => {
                ("[cluster.dhcp]\nntp = \"off\"\n[cluster.netboot]\nroot = \"/run/tftp\"\n", ail)
            }
            None => ("", *ail),
        };
        std::fs::write(&file, format!("{settings}{more}")).unwrap();
        let program = env!("CARGO_BIN_EXE_bramblegate");
        // A PID namespace of its own, so that everything it started ends with it.
        let script = format!(
            r#"mount -t sysfs sysfs /sys; mount -t proc proc /proc
            mount -t tmpfs tmpfs /etc; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /sys/bus; mkdir -p /run/bin
            mount -t tmpfs tmpfs /var/lib/dhcpcd
            export PROGRAM={program} WEB=$(dirname {program})/bramblegate-web FILE={file}
            {PROGRAMS}
            PATH=/run/bin:$PATH
            printf 'root:x:0:0::/:/bin/sh\nbramblegate:x:990:990::/:/bin/sh\n' > /etc/passwd
            printf 'root:x:0:\nbramblegate:x:990:\n' > /etc/group
            {ail}
            finding() {{ {program} doctor -c {file} | grep -A1 -E '(finding|BLOCKED|hint) *{code}:'; }}
            found=$(finding) || {{ echo "{code} is not found"; {program} doctor -c {file}; exit 1; }}
            remedy=$(printf '%s\n' "$found" | sed -n 's/.*remedy: [^`]*`\([^`]*\)`.*/\1/p' | head -n 1)
            [ -n "$remedy" ] || {{ echo "no command in: $found"; exit 1; }}
            echo "$remedy"
            sh -ec "$remedy" </dev/null || exit 1
            {after}
            if left=$(finding); then echo "still: $left"; exit 1; fi"#
        );
        let output = Command::new("unshare")
            .args(["--mount", "--pid", "--cgroup", "--fork", "--kill-child", "sh", "-c", &script])
            .output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{code}: {text}");
    }
    std::fs::remove_dir(format!("{file}.d")).unwrap();
    std::fs::remove_file(file).unwrap();
}

fn rule_takes_the_subnet() {
    let file = head("rule");
    sh("ip link set down0 up; ip link set down1 up; ip addr add 192.168.50.1/24 dev down0
        for i in $(seq 30); do ip link show down0 | grep -q 'state UP' && break; sleep 0.1; done");
    let doctor = || run(&format!("doctor -c {file}")).1;
    assert!(!doctor().contains("gateway-rule"), "{}", doctor());
    // Like VPNs: all private networks into the tunnel, before the gateway's rules.
    sh("ip link add tun0 type veth peer name tun1 && ip link set tun0 up && ip route add 192.168.0.0/16 dev tun0 table 77
        ip rule add preference 50 to 192.168.0.0/16 lookup 77");
    let text = doctor();
    let named = "gateway-rule: another program's routing rule 50 (table 77) takes traffic to the nodes' network 192.168.50.0/24 and sends it through tun0";
    assert!(text.contains(named) && text.contains("give it a preference above 5199"), "{text}");
    sh("ip rule del preference 50");
    assert!(!doctor().contains("gateway-rule"));
    // Or a part of what the nodes send, whatever the rule's priority.
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; ip link set up1 up; ip addr add 10.9.0.2/24 dev up0
        ip route add default via 10.9.0.1; ip route add default dev tun0 table 77
        ip rule add preference 5300 iif lo ipproto tcp dport 443 lookup 77");
    assert!(!doctor().contains("gateway-rule"), "the head's own: {}", doctor());
    sh("ip rule add preference 5301 ipproto tcp dport 443 lookup 77");
    let text = doctor();
    assert!(text.contains("rule 5301 (table 77) sends a part of what the nodes send (ipproto tcp dport 443) by tun0"), "{text}");
    sh("ip rule add preference 5300 iif down0 ipproto tcp dport 443 lookup main");
    assert!(!doctor().contains("gateway-rule"), "what it printed helps: {}", doctor());
    std::fs::remove_file(file).unwrap();
}

fn a_port_without_a_role_is_named() {
    let file = head("roles");
    sh("ip link add up9 type veth peer name up8 && ip link set up9 up
        ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up");
    let (before, text) = run(&format!("doctor -c {file}"));
    assert!(
        !text.contains("gateway-unknown-port"),
        "without an address nothing comes of it: {text}"
    );
    sh("ip addr add 172.22.0.1/24 dev up9");
    let (after, text) = run(&format!("doctor -c {file}"));
    assert!(text.contains("gateway-unknown-port: up9 has the address 172.22.0.1/24"), "{text}");
    assert!(after >= 1 && after >= before, "a finding: {text}");
    std::fs::write(&file, format!("{SETTINGS}gateway.trust = [\"up9\"]\n")).unwrap();
    let (_, text) = run(&format!("doctor -c {file}"));
    assert!(!text.contains("gateway-unknown-port"), "{text}");
    std::fs::remove_file(file).unwrap();
}
