//! Disks that the nodes use by NFS: this kernel may lack the server, but it has the port, the
//! gateway's rules, and mounts.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{must, run, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, alert, ensure, is, online, try_from, until};

/// A program on the NFS port of the head, by IPv4 and IPv6: nodes reach it, the venue does not, not
/// even at the head's address in the cluster.
pub fn nfs_is_for_nodes_alone() -> Result<()> {
    online(PLAIN, |world| {
        let _server = world.serve("head", "banner", "[::]:2049")?;
        let _allowed = world.serve("head", "banner", "[::]:22")?;
        must(
            "head",
            "ip addr add 2001:db8:7::2/64 dev eth1 nodad; ip addr add 2001:db8:c1::1/64 dev eth0 \
             nodad",
        )?;
        must("laptop", "ip addr add 2001:db8:7::20/64 dev eth0 nodad")?;
        must(
            "laptop",
            "ip route add 192.168.50.0/24 via 10.99.0.126; ip route add 2001:db8:c1::/64 via \
             2001:db8:7::2",
        )?;
        must("rpi1", "ip addr add 2001:db8:c1::11/64 dev eth0 nodad")?;
        for (head, cluster) in
            [("10.99.0.126", "192.168.50.1"), ("[2001:db8:7::2]", "[2001:db8:c1::1]")]
        {
            let ssh = try_from(world, "laptop", &format!("tcp {head}:22"));
            ensure(&format!("ssh at {head}: {ssh:?}"), ssh.is_ok())?;
            for address in [head, cluster] {
                let nfs = format!("tcp {address}:2049");
                ensure(&format!("{nfs} by the venue"), try_from(world, "laptop", &nfs).is_err())?;
            }
            let nfs = format!("tcp {cluster}:2049");
            let reached = try_from(world, "rpi1", &nfs);
            ensure(&format!("{nfs} by a node: {reached:?}"), reached.is_ok())?;
        }
        Ok(())
    })
}

/// The mount, and the records of the NFS server, in the mount namespace of the gateway alone. The
/// disk is in memory; the kernel's list of disks is hidden, so that it can be plugged and
/// unplugged.
const PREPARE: &str = "
mount -t tmpfs tmpfs /mnt && mkdir /mnt/usb
mount -t tmpfs tmpfs /sys/class/block
mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/nfs
echo '/dev/stick1 /mnt/usb tmpfs size=4m 0 0' >HOME/fstab
mount --bind HOME/fstab /etc/fstab
";
const EXPORTED: &str = "printf '/mnt/usb\\t192.168.50.0/24(rw)\\n' >/var/lib/nfs/etab";

/// The polling interval: mounts cause events, an unplugged disk does not.
const LOOKED_AT: Duration = Duration::from_secs(17);

/// Runs a line of shell as root of the head, in the gateway's mount namespace.
fn at_head(world: &mut World, line: &str) -> Result<String> {
    let gateway = world.gateway().ok_or_else(|| Error("no gateway".into()))?.id().to_string();
    let line = line.replace("HOME", HOME);
    run("nsenter", &["-t", &gateway, "--mount", "--net", "sh", "-euc", &line])
}

/// Returns what root's unit writes for the NFS server, when started now.
fn exports(world: &mut World) -> Result<String> {
    let program = crate::program().display().to_string();
    at_head(world, &format!("{program} share-apply --root HOME/etc -c HOME/bramblegate.toml"))?;
    let file = format!("{HOME}/etc/etc/exports.d/bramblegate.exports");
    Ok(fs::read_to_string(file).unwrap_or_default())
}

/// Waits until the display shows a page that takes turns with all others.
fn in_its_turn(world: &World, text: &str) -> Result<()> {
    let start = Instant::now();
    while !shows(world, text) {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(Error(format!("not within a minute on the display: {text}")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("on the display, in its turn: after {:?}", start.elapsed());
    Ok(())
}

fn soon(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > LOOKED_AT {
            return Err(Error(format!("not within {LOOKED_AT:?}: {what}")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{what}: after {:?}", start.elapsed());
    Ok(())
}

fn shows(world: &World, words: &str) -> bool {
    world.glass().concat().contains(words)
}

/// The order for root's unit, which a path unit waits for.
fn order() -> String {
    fs::read_to_string(format!("{HOME}/run/share")).unwrap_or_default()
}

/// A disk is missing, mounted, used, full, read-only, unplugged and back, with real mounts: each
/// state is on the display and in the alerts, it is exported only while it is mounted, and the
/// remedies help.
pub fn disk_comes_fills_and_is_pulled() -> Result<()> {
    // At the default of 10 %, the disk of a machine that builds this may raise an alert too.
    let settings =
        "[vitals]\ndisk_free_below = \"1%\"\n[[share]]\npath = \"/mnt/usb\"\nname = \"usb\"\n";
    online(&format!("settings = '''\n{settings}'''\n{PLAIN}"), |world| {
        at_head(world, PREPARE)?;
        until("it is missing", || alert(world, "share-missing").is_some())?;
        until("on the display", || shows(world, "usb MISSING"))?;
        ensure("the folder is not exported", exports(world)?.is_empty())?;

        at_head(world, "mkdir /sys/class/block/stick1")?;
        carry_out(world, "share-missing")?;
        until("it is mounted", || is(world, "shares.usb.mounted", "true"))?;
        until("no alert", || alert(world, "share-*").is_none())?;
        ensure(&order(), order().contains("/mnt/usb rw true\n192.168.50.0/24\n"))?;
        let to_cluster = "/mnt/usb 192.168.50.0/24(rw,";
        ensure("exported to the cluster", exports(world)?.contains(to_cluster))?;

        // A connected node, in the kernel's own list of connections.
        let log = PathBuf::from(format!("{HOME}/nfs.log"));
        let _server = spawn(within("head", "nc").args(["-lk", "2049"]), &log)?;
        let listens = "ss -Hltn 'sport = 2049'";
        until("a server", || must("head", listens).is_ok_and(|sockets| !sockets.is_empty()))?;
        let _node =
            spawn(within("rpi1", "sh").args(["-c", "sleep 120 | nc 192.168.50.1 2049"]), &log)?;
        at_head(world, EXPORTED)?;
        soon("who uses it", || is(world, "shares.usb.clients", "[\"rpi1\"]"))?;
        ensure("it is exported", is(world, "shares.usb.exported", "true"))?;
        in_its_turn(world, "usb 100% 1 node")?;

        at_head(world, "head -c 4080k /dev/zero >/mnt/usb/filler")?;
        soon("it is full", || alert(world, "share-full").is_some())?;
        until("on the display", || shows(world, "usb FULL"))?;
        ensure("the remedy names what", carry_out(world, "share-full")?.contains("/mnt/usb"))?;
        at_head(world, "rm /mnt/usb/filler; mount -o remount,ro /mnt/usb")?;
        soon("it is read-only", || alert(world, "share-read-only").is_some())?;
        until("on the display", || shows(world, "usb READONLY"))?;
        at_head(world, "mount -o remount,rw /mnt/usb")?;
        soon("no alert", || alert(world, "share-*").is_none())?;

        at_head(world, "rmdir /sys/class/block/stick1")?;
        soon("it was pulled", || {
            alert(world, "share-missing").is_some_and(|text| text.contains("was pulled"))
        })?;
        until("on the display", || shows(world, "usb MISSING"))?;
        ensure(&order(), order().contains("/mnt/usb rw false\n"))?;
        ensure("it is withdrawn", exports(world)?.is_empty())?;
        at_head(world, "mkdir /sys/class/block/stick1")?;
        carry_out(world, "share-missing")?;
        until("it is back", || alert(world, "share-*").is_none())?;
        ensure("and exported", exports(world)?.contains(to_cluster))
    })
}

/// Runs the command at the end of an alert, without `sudo`.
fn carry_out(world: &mut World, code: &str) -> Result<String> {
    let text = alert(world, code).ok_or_else(|| Error(format!("no alert {code}")))?;
    let command = text.split_once(": sudo ").map(|(_, command)| command.replace("sudo ", ""));
    let command = command.ok_or_else(|| Error(format!("no command in {text}")))?;
    println!("{command}");
    at_head(world, &command)
}
