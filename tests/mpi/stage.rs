//! A gateway that is online, and computers with a Debian of their own: the head and three nodes,
//! with one user and one key pair on all of them, as in the guide.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, run, spawn, within};
use bramblegate_lab::{Error, Result, Venue, World, client, server, watch, wiring};

use crate::job::failed;

/// `/srv/job` on all computers: the shared disk of a cluster.
pub fn job() -> String {
    format!("{HOME}/job")
}

/// The computer from which the cluster is used.
pub const HEAD: &str = "head";

/// The world's own servers use 22.
const PORT: &str = "2222";

/// Enters a computer: its name, its view of its network namespace, its files, its user.
const ENTER: &str = r#"
root=$1 name=$2 user=$3 line=$4
echo "$name" >/proc/sys/kernel/hostname
mount -t sysfs sysfs "$root/sys"
as= home=/root
[ "$user" = root ] || { as="setpriv --reuid 1000 --regid 1000 --clear-groups" home=/home/$user; }
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$home" USER="$user" LC_ALL=C.UTF-8 \
    $as sh -c "cd; exec 2>&1; $line"
"#;

/// The files of a computer, in a root of its own over that of the release.
const FURNISH: &str = r#"
base=$1 own=$2 name=$3 job=$4 keys=$5
mkdir -p "$own/upper" "$own/work" "$own/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$own/upper,workdir=$own/work" "$own/root"
cd "$own/root"
mount -t proc proc proc
mount --rbind /dev dev
for folder in dev/shm run tmp; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
mkdir -p run/sshd srv/job home/pi/.ssh
mount --bind "$job" srv/job
echo "$name" >etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >etc/hosts
echo 'pi:x:1000:1000::/home/pi:/bin/sh' >>etc/passwd
echo 'pi:*:20000:0:99999:7:::' >>etc/shadow
echo 'pi:x:1000:' >>etc/group
rm -f etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f etc/ssh/ssh_host_ed25519_key
cp "$keys"/* home/pi/.ssh/
chown -R 1000:1000 home/pi
chmod 700 home/pi/.ssh
"#;

/// One computer.
pub struct Machine {
    place: String,
    root: PathBuf,
    /// Its ssh server; dropping this ends it.
    _server: Running,
}

impl Machine {
    fn new(release: &str, place: &str, resolver: &str) -> Result<Self> {
        let base = crate::roots().join(release);
        if !base.is_dir() {
            return Err(Error(format!("there is no {}: run `make mpi-test`", base.display())));
        }
        let own = PathBuf::from(format!("{HOME}/machines/{place}"));
        let (base, folder) = (base.to_string_lossy(), own.to_string_lossy());
        let keys = keys(if place == HEAD { HEAD } else { "node" });
        run("sh", &["-euc", FURNISH, "furnish", &base, &folder, place, &job(), &keys])?;
        let root = own.join("root");
        fs::write(root.join("etc/resolv.conf"), resolver).map_err(failed)?;
        let sshd = format!("exec /usr/sbin/sshd -D -e -p {PORT} -o UsePAM=no");
        let log = own.join("sshd.log");
        let server = spawn(&mut enter(place, &root, "root", &sshd), &log)?;
        server::wait_for(&log, "Server listening")?;
        Ok(Self { place: place.to_owned(), root, _server: server })
    }

    /// Runs a line of shell as pi; returns its output.
    ///
    /// # Errors
    /// The command fails.
    pub fn run(&self, line: &str) -> Result<String> {
        let output = enter(&self.place, &self.root, "pi", line)
            .stdin(Stdio::null())
            .output()
            .map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let failure = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error(format!("on {}: {line}: {}\n{text}{failure}", self.place, output.status)))
    }
}

fn enter(place: &str, root: &std::path::Path, user: &str, line: &str) -> Command {
    let mut command = within(place, "unshare");
    command.args(["--mount", "--uts", "sh", "-euc", ENTER, "enter"]);
    command.arg(root).args([place, user, line]);
    command
}

/// The user's initial `~/.ssh`, on the head and on each node.
fn keys(of: &str) -> String {
    format!("{HOME}/keys/{of}")
}

/// The world and its computers.
pub struct Stage {
    world: World,
    machines: Vec<Machine>,
}

impl Stage {
    /// Builds everything and waits until the gateway is online and the nodes have their leases.
    ///
    /// # Errors
    /// A part cannot be built, or does not come up.
    pub fn new(release: &str, venue: &str, cluster_port_last: bool) -> Result<Self> {
        let mut world = World::build(&Venue::parse("mpi", venue)?, &crate::program())?;
        if cluster_port_last {
            wiring::renew_cluster_port()?;
        }
        let is_last = index("eth0")? > index("eth1")?;
        assert_eq!(is_last, cluster_port_last, "the order of the ports");
        world.start_gateway()?;
        let mut stage = Self { world, machines: Vec::new() };
        let built = stage.furnish(release);
        if built.is_err() {
            println!("{}", stage.world.story());
        }
        built.map(|()| stage)
    }

    fn furnish(&mut self, release: &str) -> Result<()> {
        self.until("online", || self.is("uplink.state", "online") && self.is("cluster.up", "3"))?;
        make_keys()?;
        let job = job();
        run("mkdir", &["-p", &job])?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mpi/merge_sort.py");
        run("cp", &[script, &job])?;
        run("chown", &["-R", "1000:1000", &job])?;
        let resolvers = fs::read_to_string(format!("{HOME}/resolv.conf")).map_err(failed)?;
        self.machines.push(Machine::new(release, HEAD, &resolvers)?);
        for node in ["rpi1", "rpi2", "rpi3"] {
            self.machines.push(Machine::new(release, node, &leased(node)?)?);
        }
        // The head reaches nodes by the written ssh settings, nodes each other by DNS.
        let known = self.print("ssh-config", &["--direct", "--user", "pi"])?;
        let head = self.machine(HEAD);
        fs::write(head.root.join("home/pi/.ssh/bramble"), known).map_err(failed)?;
        head.run(&guide()?).map(drop)
    }

    /// Returns the host file as printed for users.
    ///
    /// # Errors
    /// The verb fails.
    pub fn host_file(&self) -> Result<String> {
        let socket = self.world.socket();
        let socket = socket.to_string_lossy();
        let words = ["--socket", &socket, "--format", "hostfile", "--health", "up", "--slots", "1"];
        self.print("nodes", &words)
    }

    fn print(&self, verb: &str, words: &[&str]) -> Result<String> {
        let output = self.world.gateway_command(verb).args(words).output().map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let failure = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error(format!("{verb} {words:?}: {}: {failure}", output.status)))
    }

    pub fn machine(&self, place: &str) -> &Machine {
        self.machines.iter().find(|machine| machine.place == place).unwrap()
    }

    /// Waits until the gateway detects that the venue uses the cluster's subnet.
    ///
    /// # Errors
    /// The gateway does not detect it.
    pub fn sees_overlap(&self) -> Result<()> {
        self.until("the overlap is seen", || self.is("gateway.overlap", "routed"))
    }

    fn is(&self, path: &str, value: &str) -> bool {
        self.world.status().is_ok_and(|status| watch::at(&status, path) == value)
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_so() {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(Error(format!("not within 30 s: {what}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Makes the key pair on the head, and installs it on the nodes like `ssh-copy-id`, which would
/// prompt for a password.
fn make_keys() -> Result<()> {
    let (head, node) = (keys(HEAD), keys("node"));
    run("mkdir", &["-p", &head, &node])?;
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &format!("{head}/id_ed25519")])?;
    for folder in [&head, &node] {
        run("cp", &[&format!("{head}/id_ed25519.pub"), &format!("{folder}/authorized_keys")])?;
    }
    let everywhere = format!("Host *\n    Port {PORT}\n");
    fs::write(format!("{node}/config"), &everywhere).map_err(failed)?;
    let head_config =
        format!("Include bramble\n{everywhere}    StrictHostKeyChecking accept-new\n");
    fs::write(format!("{head}/config"), head_config).map_err(failed)
}

/// Returns the loop of `docs/guide/nodes.md` that installs the key pair on all nodes, without the
/// password prompt; with the nodes' names from the host file.
fn guide() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/nodes.md");
    let text = fs::read_to_string(path).map_err(failed)?;
    let start = text.find("for node in $(bramblegate nodes --format hostfile); do");
    let steps = start.and_then(|at| text.get(at..)?.split_once("done\n"));
    let (steps, _) = steps.ok_or_else(|| Error(format!("{path} has no such loop")))?;
    let lines = steps.lines().filter(|line| !line.contains("ssh-copy-id"));
    let kept = lines.collect::<Vec<_>>().join("\n");
    Ok(kept.replace("$(bramblegate nodes --format hostfile)", "rpi1 rpi2 rpi3") + "\ndone")
}

/// Returns a node's resolver and domain, like its DHCP client sets them.
fn leased(node: &str) -> Result<String> {
    let log = fs::read_to_string(client::log(node)).map_err(failed)?;
    let lease = log.lines().rfind(|line| line.starts_with("bound ") || line.starts_with("renew "));
    let lease = lease.ok_or_else(|| Error(format!("{node} has no lease: {log}")))?;
    let value = |key: &str| {
        let words = lease.split(' ').find_map(|word| word.strip_prefix(key));
        words.filter(|value| !value.is_empty()).ok_or_else(|| Error(format!("no {key} in {lease}")))
    };
    Ok(format!("nameserver {}\nsearch {}\n", value("dns=")?, value("domain=")?))
}

/// Returns the kernel's index of an interface of the head.
fn index(port: &str) -> Result<u32> {
    let line = format!("cat /sys/class/net/{port}/ifindex");
    bramblegate_lab::shell::must("head", &line)?.trim().parse().map_err(failed)
}
