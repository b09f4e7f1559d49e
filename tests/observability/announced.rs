//! The page by mDNS: a real avahi-daemon announces it, another one in the venue finds it.

use std::fs;
use std::path::Path;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, exec, must, run, spawn, within};
use bramblegate_lab::{Error, Result, watch};

use super::{ensure, gateway, get, until};

/// The venue may browse for the page, and see it.
const OPEN: &str = "uplink.allow = [\"ssh\", \"icmp\", \"web\", \"mdns\"]\n";
/// The arguments of avahi-browse(1): all services of web pages, resolved, parsable.
const BROWSE: &str = "avahi-browse --resolve --parsable --no-db-lookup --terminate _http._tcp";

/// Starts a system bus (dbus-daemon(1)) for all users.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_type="method_return"/><allow send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="signal"/>
    <allow receive_type="method_return"/><allow receive_type="error"/>
  </policy>
</busconfig>
"#;

/// Both daemons have run folders of their own; only the head's has services.
const DAEMONS: &str = "
mkdir -p /run/dbus /run/avahi-daemon
mount -t tmpfs tmpfs /run/dbus
mount -t tmpfs tmpfs /run/avahi-daemon
[ head = PLACE ] || mount -t tmpfs tmpfs /etc/avahi/services
dbus-daemon --config-file=HOME/bus.conf --nofork --nopidfile &
while [ ! -S /run/dbus/system_bus_socket ]; do sleep 0.05; done
avahi-daemon --file HOME/avahi-PLACE.conf --no-drop-root --no-chroot --no-rlimits --no-proc-title &
exec sleep infinity
";

/// Starts an avahi-daemon and its bus in a namespace, with this host name, on this interface.
fn avahi(place: &str, name: &str, interface: &str) -> Result<Running> {
    let settings = format!(
        "[server]\nhost-name={name}\nuse-ipv6=no\nallow-interfaces={interface}\n\
         [publish]\npublish-workstation=no\n"
    );
    write(&format!("{HOME}/avahi-{place}.conf"), &settings)?;
    write(&format!("{HOME}/bus.conf"), BUS)?;
    let script = DAEMONS.replace("HOME", HOME).replace("PLACE", place);
    let mut command = within(place, "sh");
    command.args(["-ec", &script]);
    let log = format!("{HOME}/avahi-{place}.log");
    let running = spawn(&mut command, Path::new(&log))?;
    let started = || fs::read_to_string(&log).is_ok_and(|text| text.contains("startup complete"));
    until(&format!("{place}: avahi-daemon has started"), started).map_err(|error| {
        Error(format!("{error}\n{}", fs::read_to_string(&log).unwrap_or_default()))
    })?;
    Ok(running)
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error(format!("{path}: {error}")))
}

/// Adds the user of avahi-daemon(8), like its package, to the /etc of this test: it needs the user
/// even if it keeps root's rights.
fn add_user() -> Result<()> {
    for (path, line) in [
        ("/etc/passwd", "avahi:x:64999:64999::/run/avahi-daemon:/usr/sbin/nologin\n"),
        ("/etc/group", "avahi:x:64999:\n"),
    ] {
        let text = fs::read_to_string(path).map_err(|error| Error(format!("{path}: {error}")))?;
        if !text.lines().any(|line| line.starts_with("avahi:")) {
            write(path, &format!("{text}{line}"))?;
        }
    }
    Ok(())
}

/// Browses for web pages, by the running avahi-daemon of a place.
fn browse(place: &str, daemon: &Running) -> String {
    // The bus is in the daemon's mount namespace.
    let line = format!("nsenter --mount=/proc/{}/ns/mnt {BROWSE}", daemon.id());
    exec(place, &line).map(|(_, text)| text).unwrap_or_default()
}

/// Runs the unit's commands for the start and the end of the page.
fn announce(verb: &str) -> Result<()> {
    let systemd = format!("{}/systemd", env!("CARGO_MANIFEST_DIR"));
    let path = format!("{systemd}/announce-web");
    let text = fs::read_to_string(&path).map_err(|error| Error(format!("{path}: {error}")))?;
    let (installed, own) =
        ("/usr/lib/bramblegate/web.avahi", format!("{systemd}/bramblegate.avahi"));
    ensure("the script takes the template from there", text.contains(installed))?;
    let script = format!("{HOME}/announce-web");
    write(&script, &text.replace(installed, &own))?;
    must("head", &format!("sh {script} {verb}")).map(drop)
}

pub fn the_page_is_found_by_mdns() -> Result<()> {
    gateway(&[], OPEN, |world| {
        let services = format!("{HOME}/services");
        // The programs are unpacked, not installed: their files in /etc are mounted over it.
        let (upper, work) = (format!("{HOME}/etc"), format!("{HOME}/etc-work"));
        for folder in [&services, &upper, &work] {
            fs::create_dir_all(folder).map_err(|error| Error(format!("{folder}: {error}")))?;
        }
        let layers = format!("lowerdir=/etc,upperdir={upper},workdir={work}");
        run("mount", &["-t", "overlay", "overlay", "-o", &layers, "/etc"])?;
        add_user()?;
        for folder in ["/etc/avahi/services", "/run/bramblegate-web"] {
            fs::create_dir_all(folder).map_err(|error| Error(format!("{folder}: {error}")))?;
        }
        run("mount", &["--bind", &services, "/etc/avahi/services"])?;
        std::os::unix::fs::symlink(format!("{HOME}/web/port"), "/run/bramblegate-web/port")
            .map_err(|error| Error(error.to_string()))?;
        ensure("the page's program is there", world.start_web(None)?)?;
        until("the daemon knows the page", || {
            world.status().is_ok_and(|status| watch::at(&status, "web.port") == "80")
        })?;
        let _head = avahi("head", "bramble-head", "eth1")?;
        let laptop = avahi("laptop", "laptop", "eth0")?;
        ensure("nothing is announced yet", !browse("laptop", &laptop).contains("Bramblegate"))?;
        announce("start")?;
        let wanted = ";_http._tcp;local;bramble-head.local;10.99.0.126;80;\"path=/\"";
        let mut seen = String::new();
        until("the laptop finds the page", || {
            seen = browse("laptop", &laptop);
            // Spaces and such are decimal escapes there.
            let name = "Bramblegate\\032on\\032bramble-head";
            seen.lines().any(|line| {
                line.starts_with("=;eth0;IPv4;") && line.contains(name) && line.ends_with(wanted)
            })
        })
        .map_err(|error| Error(format!("{error}\n{seen}")))?;
        ensure("the page is there", get("laptop", "http://10.99.0.126:80/healthz")? == "ok\n")?;
        announce("stop")?;
        until("the laptop knows its end", || !browse("laptop", &laptop).contains("Bramblegate"))
    })
}
