//! The head with a client of a release on its uplink `eth1`, and the venue at the other end of the
//! cable.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a client is started and configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dhcpcd,
    Networkd,
    NetworkManager,
}

/// A client of a release.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub kind: Kind,
    pub release: &'static str,
    /// It can be configured to honour option 108.
    pub heeds_108: bool,
    /// It can be configured to request option 114, and records or reports its value.
    pub asks_114: bool,
}

/// All clients: dhcpcd 9.4.1 and 10.1, networkd 252 and 257, NetworkManager 1.42 and 1.52.
pub const CLIENTS: &[Client] = &[
    Client {
        name: "dhcpcd-12",
        kind: Kind::Dhcpcd,
        release: "bookworm",
        heeds_108: true,
        asks_114: false,
    },
    Client {
        name: "dhcpcd-13",
        kind: Kind::Dhcpcd,
        release: "trixie",
        heeds_108: true,
        asks_114: true,
    },
    Client {
        name: "networkd-12",
        kind: Kind::Networkd,
        release: "bookworm",
        heeds_108: false,
        asks_114: false,
    },
    Client {
        name: "networkd-13",
        kind: Kind::Networkd,
        release: "trixie",
        heeds_108: true,
        asks_114: true,
    },
    Client {
        name: "nm-12",
        kind: Kind::NetworkManager,
        release: "bookworm",
        heeds_108: false,
        asks_114: false,
    },
    Client {
        name: "nm-13",
        kind: Kind::NetworkManager,
        release: "trixie",
        heeds_108: true,
        asks_114: false,
    },
];

/// A process; dropping this ends it.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Stage {
    pub client: &'static Client,
    /// The client manages the cluster interface too.
    pub everywhere: bool,
    root: PathBuf,
    running: Vec<(String, Running)>,
}

/// The vitals are those of the machine that runs the test, however busy: not part of the story.
const SETTINGS: &str = r#"
board = "emulated"
uplink.interfaces = ["eth1"]
uplink.check.method = "off"
cluster.interface = "eth0"
lcd.bus = "emulator"
led.device = "emulator"
vitals.temperature_above = 120
vitals.memory_free_below = "off"
vitals.disk_free_below = "off"
vitals.pressure = "off"
"#;

/// Replacements for `systemctl` and `sudo` without a service manager: the stage starts what a
/// remedy restarts.
const SYSTEMCTL: &str = "#!/bin/sh\n[ \"$1\" = restart ] && { kill $(pidof $2) 2>/dev/null; sleep 1; sh /run/start-$2 </dev/null >/run/restarted.log 2>&1 & }\nexit 0\n";

pub fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "failed: {script}\n{text}");
    text
}

impl Stage {
    pub fn new(client: &'static Client) -> Self {
        let base = crate::roots().join(client.release);
        assert!(base.is_dir(), "there is no {}: run `make clients-test`", base.display());
        sh(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/o/upper /run/o/work /run/root && ip link set lo up",
        );
        sh("ip netns add venue; ip netns add nodes
            ip link add eth1 address 02:bb:00:00:e1:01 type veth peer name lan0 netns venue
            ip link add eth0 address 02:bb:00:00:c0:00 type veth peer name n0 netns nodes
            ip -n venue link set lan0 up; ip -n venue addr add 10.99.0.1/24 dev lan0; ip -n nodes link set n0 up
            ip link set eth1 up; ip link set eth0 up");
        let root = PathBuf::from("/run/root");
        sh(&format!(
            "mount -t overlay overlay -o lowerdir={},upperdir=/run/o/upper,workdir=/run/o/work /run/root
             cd /run/root; mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount --rbind /dev dev
             mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp; mount -t tmpfs tmpfs var/lib/dhcpcd
             mkdir -p run/dbus run/bramblegate var/lib/bramblegate run/systemd/netif/links run/systemd/netif/leases run/dhcpcd etc/bramblegate
             chroot . chown -R systemd-network run/systemd/netif || true
             rm -f etc/resolv.conf; echo nameserver 10.99.0.1 > etc/resolv.conf; echo head > etc/hostname
             rm -f etc/dhcpcd.conf; echo 0123456789abcdef0123456789abcdef > etc/machine-id",
            base.display()
        ));
        let stage = Self { client, everywhere: false, root, running: Vec::new() };
        fs::copy(env!("CARGO_BIN_EXE_bramblegate"), stage.path("usr/bin/bramblegate")).unwrap();
        stage.write("etc/bramblegate/bramblegate.toml", SETTINGS);
        for (name, text) in [("sudo", "#!/bin/sh\nexec \"$@\"\n"), ("systemctl", SYSTEMCTL)] {
            stage.write(&format!("usr/local/bin/{name}"), text);
            sh(&format!("chmod 755 {}", stage.path(&format!("usr/local/bin/{name}")).display()));
        }
        stage
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn log(name: &str) -> PathBuf {
        PathBuf::from(format!("/run/{name}.log"))
    }

    fn spawn(&mut self, name: &str, command: &mut Command) {
        let log = fs::File::create(Self::log(name)).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push((name.to_owned(), Running(child)));
    }

    fn inside(&self, line: &str) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.root)
            .args(["sh", "-c", line])
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        // networkctl and other tools do nothing in a chroot, unless an option orders it.
        command.env("SYSTEMD_IGNORE_CHROOT", "1");
        command
    }

    /// Runs a line of shell in the head; returns whether it succeeded, and its output.
    pub fn run(&self, line: &str) -> (bool, String) {
        let output = self.inside(line).stdin(Stdio::null()).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// Ends what was started by this name.
    pub fn stop(&mut self, name: &str) {
        self.running.retain(|(known, _)| known != name);
    }

    /// Starts a server with leases as short as wanted, in the subnet `10.NET.0.0/24`.
    pub fn udhcpd(&mut self, net: u8, lease: u32) {
        self.stop("server");
        sh(&format!(
            "ip -n venue addr flush dev lan0; ip -n venue addr add 10.{net}.0.1/24 dev lan0; rm -f /run/udhcpd.leases; touch /run/udhcpd.leases"
        ));
        let text = format!(
            "interface lan0\nstart 10.{net}.0.162\nend 10.{net}.0.162\nmin_lease 5\noffer_time 5\nlease_file /run/udhcpd.leases\npidfile /run/udhcpd.pid\noption lease {lease}\noption subnet 255.255.255.0\noption router 10.{net}.0.1\n"
        );
        fs::write("/run/udhcpd.conf", text).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "venue", "busybox", "udhcpd", "-f", "/run/udhcpd.conf"]);
        self.spawn("server", &mut command);
    }

    /// Starts dnsmasq with these options; each is a word.
    pub fn dnsmasq(&mut self, options: &str) {
        self.stop("server");
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            "venue",
            "dnsmasq",
            "-k",
            "--conf-file=/dev/null",
            "--user=root",
            "--port=0",
            "--pid-file",
        ]);
        command.args([
            "--interface=lan0",
            "--no-ping",
            "--dhcp-leasefile=/run/dnsmasq.leases",
            "--dhcp-authoritative",
        ]);
        command.args(options.split_whitespace());
        self.spawn("server", &mut command);
    }

    /// Advertises an IPv6 prefix, besides the options.
    pub fn router(&mut self, options: &str) {
        sh("ip -n venue addr add 2001:db8:9::1/64 dev lan0 nodad");
        self.dnsmasq(&format!(
            "--enable-ra --dhcp-range=::,constructor:lan0,ra-only,64,1h {options}"
        ));
    }

    /// Starts the case's client; `heed` makes it honour option 108, `portal` request option 114.
    pub fn start_client(&mut self, heed: bool, portal: bool) {
        self.start(self.client.kind, heed, portal);
    }

    /// Starts the case's client, and has it request a prefix if it can.
    pub fn start_delegated(&mut self) {
        let text = match self.client.kind {
            Kind::NetworkManager => return self.start_client(false, false),
            Kind::Dhcpcd => {
                "allowinterfaces eth1\nnohook resolv.conf, hostname\nnodev\nduid\nslaac \
                 private\ninterface eth1\nia_na 1\nia_pd 2 -\n"
            }
            Kind::Networkd => {
                "[Match]\nName=eth1\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\n[IPv6AcceptRA]\n\
                 DHCPv6Client=always\n"
            }
        };
        if self.client.kind == Kind::Dhcpcd {
            self.write("etc/dhcpcd.conf", text);
            let mut command = self.inside("exec dhcpcd -B");
            self.spawn("dhcpcd", &mut command);
        } else {
            self.write("etc/systemd/network/20-eth1.network", text);
            // A DUID is derived from it.
            self.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
            self.bus();
            let mut command = self.inside("exec /lib/systemd/systemd-networkd");
            self.spawn("networkd", &mut command);
        }
    }

    pub fn start(&mut self, kind: Kind, heed: bool, portal: bool) {
        match kind {
            Kind::Dhcpcd => {
                let heed = if heed { "option ipv6_only_preferred\n" } else { "" };
                let portal = if portal { "option captive_portal_uri\n" } else { "" };
                let ports = if self.everywhere { "eth*" } else { "eth1" };
                self.write(
                    "etc/dhcpcd.conf",
                    &format!(
                        "allowinterfaces {ports}\nnohook resolv.conf, hostname\nnodev\nslaac private\n{heed}{portal}"
                    ),
                );
                self.write("run/start-dhcpcd", "exec dhcpcd -B\n");
                let mut command = self.inside("exec dhcpcd -B");
                self.spawn("dhcpcd", &mut command);
            }
            Kind::Networkd => {
                let heed = if heed { "IPv6OnlyMode=yes\n" } else { "" };
                let ports = if self.everywhere { "eth*" } else { "eth1" };
                let text = format!(
                    "[Match]\nName={ports}\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=yes\nLinkLocalAddressing=yes\n[DHCPv4]\n{heed}"
                );
                self.write("etc/systemd/network/20-eth1.network", &text);
                self.bus();
                let mut command = self.inside("exec /lib/systemd/systemd-networkd");
                self.spawn("networkd", &mut command);
            }
            Kind::NetworkManager => {
                let heed = if heed { "dhcp-ipv6-only-preferred=1\n" } else { "" };
                let text = format!(
                    "[connection]\nid=eth1\nuuid=6f3e3c0e-0000-4000-8000-000000000001\ntype=ethernet\ninterface-name=eth1\n[ipv4]\nmethod=auto\nmay-fail=true\n{heed}[ipv6]\nmethod=auto\nmay-fail=true\naddr-gen-mode=eui64\n"
                );
                self.write("etc/NetworkManager/system-connections/eth1.nmconnection", &text);
                sh(&format!(
                    "chmod 600 {}",
                    self.path("etc/NetworkManager/system-connections/eth1.nmconnection").display()
                ));
                // The interfaces were renamed before.
                let left_alone = if self.everywhere { "docker0" } else { "eth0" };
                self.write(
                    "etc/NetworkManager/conf.d/10-test.conf",
                    &format!(
                        "[main]\ndns=none\nno-auto-default=*\n[keyfile]\nunmanaged-devices=interface-name:{left_alone}\n[device]\nmatch-device=*\nmanaged=1\n"
                    ),
                );
                self.bus();
                let mut command = self.inside("exec NetworkManager -n");
                self.spawn("nm", &mut command);
            }
        }
    }

    /// Starts a message bus for the head.
    fn bus(&mut self) {
        if !self.running.iter().any(|(name, _)| name == "dbus") {
            let mut command = self.inside("exec dbus-daemon --system --nofork --nopidfile");
            self.spawn("dbus", &mut command);
            sleep(Duration::from_millis(500));
        }
    }

    pub fn start_gateway(&mut self) {
        let mut command = self.inside("exec bramblegate run");
        command
            .env("STATE_DIRECTORY", "/var/lib/bramblegate")
            .env("RUNTIME_DIRECTORY", "/run/bramblegate");
        self.spawn("bramblegate", &mut command);
    }

    pub fn status(&self) -> Option<Value> {
        let output = self.inside("bramblegate status --json").output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until the status matches, and returns it.
    pub fn until(&self, what: &str, within: u64, holds: impl Fn(&Seen) -> bool) -> Seen {
        let begin = Instant::now();
        let mut last = None;
        while begin.elapsed() < Duration::from_secs(within) {
            if let Some(status) = self.status() {
                let seen = Seen(status);
                if holds(&seen) {
                    println!("{what}: after {:.1} s", begin.elapsed().as_secs_f32());
                    return seen;
                }
                last = Some(seen);
            }
            sleep(Duration::from_millis(200));
        }
        panic!("not within {within} s: {what}; {:#}", last.map_or(Value::Null, |seen| seen.0));
    }

    /// Returns the output of `doctor`.
    pub fn doctor(&self) -> String {
        self.run("bramblegate doctor").1
    }

    /// Runs the first command of a finding's remedy, as printed.
    pub fn cure(&self, code: &str) {
        let doctor = self.doctor();
        let mut lines = doctor.lines();
        lines
            .find(|line| line.contains(&format!("{code}:")))
            .unwrap_or_else(|| panic!("no {code} in\n{doctor}"));
        let remedy = lines.next().unwrap_or_default();
        let command = remedy.split('`').nth(1).unwrap_or_else(|| panic!("no command in {remedy}"));
        let (well, text) = self.run(command);
        assert!(well, "{command}\n{text}");
        println!("done: {command}");
    }

    /// Returns the uplink's IPv4 addresses in the kernel.
    pub fn held(&self) -> String {
        sh(
            "ip -4 -br addr show dev eth1; ip -4 addr show dev eth1 | grep -o deprecated | head -1; true",
        )
    }

    /// Returns the whole state, for a failed case.
    pub fn story(&self) -> String {
        let mut text = sh("ip addr show dev eth1; ip route; ip -6 route; cat /proc/net/packet");
        text += &self.doctor();
        for (name, _) in &self.running {
            let log = fs::read_to_string(Self::log(name)).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            text +=
                &format!("--- {name}\n{}\n", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        text
    }
}

/// A snapshot of the status.
pub struct Seen(pub Value);

impl Seen {
    pub fn text(&self, path: &str) -> String {
        match self.0.pointer(path) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// Returns all rows of the display together, without the heart.
    pub fn glass(&self) -> String {
        let rows =
            self.0.pointer("/panel/lcd/lines").and_then(Value::as_array).into_iter().flatten();
        rows.filter_map(Value::as_str)
            .map(|row| row.replace('♥', " ").trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("|")
    }

    pub fn row1(&self) -> String {
        self.text("/panel/lcd/lines/0").trim().to_owned()
    }

    pub fn led(&self) -> String {
        format!("{} {}", self.text("/panel/led/colour"), self.text("/panel/led/pattern"))
    }

    pub fn alert(&self, code: &str) -> Option<String> {
        let alerts = self.0.pointer("/alerts")?.as_array()?;
        let found =
            alerts.iter().find(|alert| alert.get("code").and_then(Value::as_str) == Some(code))?;
        found.get("text")?.as_str().map(str::to_owned)
    }
}
