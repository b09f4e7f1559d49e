//! Access rights: folders that the service's user owns, a lock and sockets that other users try to
//! use, settings that never end.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{must, run, spawn, within};
use bramblegate_lab::watch::{Watch, snapshot};
use bramblegate_lab::{Error, Result, World};
use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid};

use super::scene::{PLAIN, STOP, before_start, ensure, leased, online, same, until};

/// A user without rights, who owns the folders like the service's user.
const STRANGER: u32 = 65534;
const CANARY: &str = "root's own\n";

fn io<T>(what: impl std::fmt::Display, result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| Error(format!("{what}: {error}")))
}

/// What may be at a path where root expects a file of its own.
const KINDS: [&str; 5] = ["link", "hard link", "link to nowhere", "FIFO", "folder"];

/// Every name that is used in the state folder, the run folder, dnsmasq's folder and beside the
/// settings.
const STATE: [&str; 8] = [
    "previous.json",
    "previous.json.new",
    "acknowledged",
    "acknowledged.new",
    "drained",
    "drained.new",
    "dnsmasq.leases",
    "dnsmasq.leases.new",
];
const RUN: [&str; 6] =
    ["lock", "lock.new", "dhcp-alone", "dhcp-alone.new", "power-off", "control.sock"];
const DNSMASQ: [&str; 9] =
    ["main", "new", "main.new", "options", "servers", "hosts", "names", "leases", "leases.new"];
const SETTINGS: [&str; 1] = ["60-nodes.toml.new"];

/// Folders with something planted at every name, owned by the stranger, and its target.
struct Planted {
    canary: PathBuf,
    nowhere: PathBuf,
    folders: [PathBuf; 3],
}

impl Planted {
    fn plant(kind: &str) -> Result<Self> {
        let home = Path::new(HOME);
        let planted = Self {
            canary: home.join("canary"),
            nowhere: home.join("comes-about"),
            folders: [home.join("state"), home.join("run"), home.join("bramblegate.toml.d")],
        };
        let _ = fs::remove_file(&planted.nowhere);
        for path in planted.folders.iter().chain([&home.join("canaries")]) {
            let _ = fs::remove_dir_all(path);
            io(path.display(), fs::create_dir_all(path))?;
        }
        io("canary", fs::write(&planted.canary, CANARY))?;
        io("canary", fs::set_permissions(&planted.canary, Permissions::from_mode(0o640)))?;
        io("canary", fs::write(home.join("canaries/leases"), CANARY))?;
        let [state, run, drop_ins] = &planted.folders;
        io("dnsmasq", fs::create_dir(run.join("dnsmasq")))?;
        let places =
            STATE.iter().map(|name| state.join(name)).chain(RUN.iter().map(|name| run.join(name)));
        let places = places.chain(DNSMASQ.iter().map(|name| run.join("dnsmasq").join(name)));
        for place in places.chain(SETTINGS.iter().map(|name| drop_ins.join(name))) {
            io(place.display(), planted.put(kind, &place))?;
        }
        if kind == "link" {
            io("dnsmasq", fs::remove_dir_all(run.join("dnsmasq")))?;
            io("dnsmasq", symlink(home.join("canaries"), run.join("dnsmasq")))?;
        }
        for folder in &planted.folders {
            must(
                "head",
                &format!(
                    "chown -h {STRANGER}:{STRANGER} {0} && find {0} ! -links +1 -exec chown -h \
                     {STRANGER}:{STRANGER} {{}} +",
                    folder.display()
                ),
            )?;
        }
        Ok(planted)
    }

    fn put(&self, kind: &str, place: &Path) -> std::io::Result<()> {
        match kind {
            "link" => symlink(&self.canary, place),
            "hard link" => fs::hard_link(&self.canary, place),
            "link to nowhere" => symlink(&self.nowhere, place),
            "FIFO" => {
                run("mkfifo", &[&place.to_string_lossy()]).map(drop).map_err(std::io::Error::other)
            }
            _ => fs::create_dir(place).and_then(|()| fs::write(place.join("full"), "")),
        }
    }

    /// Returns the state of root's files after a verb.
    fn unharmed(&self, what: &str) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let data = io(what, fs::symlink_metadata(&self.canary))?;
        ensure(
            &format!("{what}: root's file keeps mode and owner"),
            (data.mode() & 0o777, data.uid()) == (0o640, 0),
        )?;
        for path in [self.canary.clone(), Path::new(HOME).join("canaries/leases")] {
            let text = io(what, fs::read_to_string(path))?;
            ensure(&format!("{what}: root's file holds {text:?}"), text == CANARY)?;
        }
        let others = io(what, fs::read_dir(Path::new(HOME).join("canaries")))?.count();
        ensure(&format!("{what}: root's folder holds its one file, not {others}"), others == 1)?;
        ensure(
            &format!("{what}: nothing comes about behind a link"),
            fs::symlink_metadata(&self.nowhere).is_err(),
        )
    }
}

/// Every verb that root may run, with everything planted: root's own files do not change, and
/// nothing blocks.
pub fn root_is_led_nowhere_by_the_owner_of_the_folders() -> Result<()> {
    before_start(PLAIN, |world| {
        let verbs: [(&str, &[&str]); 8] = [
            ("off", &[]),
            ("check", &[]),
            ("doctor", &[]),
            ("print", &["ruleset"]),
            ("nodes", &["add", "rpi9", "--address", "192.168.50.19"]),
            ("nodes", &["rename", "rpi9", "rpi7"]),
            ("nodes", &["forget", "rpi8"]),
            ("run", &[]),
        ];
        let mut harm = Vec::new();
        for kind in KINDS {
            for (verb, words) in verbs {
                let planted = Planted::plant(kind)?;
                world.write_settings()?;
                if let [change @ ("rename" | "forget"), name, ..] = words {
                    let text =
                        format!("[[node]]\nname = \"{name}\"\naddress = \"192.168.50.19\"\n");
                    io(
                        change,
                        fs::write(Path::new(HOME).join("bramblegate.toml.d/60-nodes.toml"), text),
                    )?;
                }
                let what = format!("{kind}: {verb} {}", words.join(" "));
                let start = Instant::now();
                let code = attempt(world, verb, words)?;
                println!("{what}: exit {code} after {:?}", start.elapsed());
                let waited = start.elapsed() > Duration::from_secs(8);
                harm.extend(planted.unharmed(&what).err().map(|error| error.to_string()));
                harm.extend(waited.then(|| format!("{what}: hangs")));
            }
        }
        // If only the state folder belongs to another user, root's gateway runs, and restores at
        // its end what it has changed.
        world.set_settings("gateway.on_stop = \"remove\"\n");
        for kind in KINDS {
            let planted = Planted::plant(kind)?;
            world.write_settings()?;
            must("head", &format!("rm -rf {HOME}/run && mkdir {HOME}/run"))?;
            let code = attempt(world, "run", &[])?;
            println!("{kind}: run with a run folder of its own: exit {code}");
            harm.extend((code != 124).then(|| {
                format!("{kind}: it did not run until it was stopped, but ended with {code}")
            }));
            harm.extend(
                planted
                    .unharmed(&format!("{kind}: run of its own"))
                    .err()
                    .map(|error| error.to_string()),
            );
        }
        ensure(&harm.join("\n"), harm.is_empty())
    })
}

/// Returns a verb's exit code; `run` is stopped after a second.
fn attempt(world: &World, verb: &str, words: &[&str]) -> Result<i32> {
    let command = world.gateway_command(verb);
    let mut limited = within("head", "timeout");
    limited.args(["-k", "1", if verb == "run" { "1" } else { "9" }]);
    // `ip netns exec head PROGRAM VERB -c FILE`: the program after the namespace, and the words
    // after the verb.
    let arguments: Vec<_> = command.get_args().skip(3).collect();
    let (before, after) = arguments.split_at(2.min(arguments.len()));
    limited.args(before).args(words).args(after);
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = io(verb, limited.output())?;
    print!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.status.code().unwrap_or(-1))
}

/// A lock that an older `off` has left readable, held by a user without any rights.
pub fn lock_held_by_another_user_does_not_block_start() -> Result<()> {
    before_start(PLAIN, |world| {
        let lock = Path::new(HOME).join("run/lock");
        io("run", fs::create_dir_all(Path::new(HOME).join("run")))?;
        io("run", fs::set_permissions(HOME, Permissions::from_mode(0o755)))?;
        io("lock", fs::write(&lock, "1"))?;
        io("lock", fs::set_permissions(&lock, Permissions::from_mode(0o644)))?;
        let held = format!("{HOME}/held");
        let mut stranger = within("head", "setpriv");
        let user = STRANGER.to_string();
        stranger.args([
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "flock",
            &lock.to_string_lossy(),
        ]);
        let mut stranger =
            spawn(stranger.args(["sh", "-c", "echo held; exec sleep 60"]), Path::new(&held))?;
        until("the stranger holds it", || {
            fs::read_to_string(&held).is_ok_and(|text| text.contains("held"))
        })?;
        world.start_gateway()?;
        until("the gateway runs all the same", || snapshot(&world.socket()).is_ok())?;
        let mode = || fs::metadata(&lock).map_or(0, |data| data.permissions().mode() & 0o777);
        ensure(&format!("no other user can open it: {:o}", mode()), mode() == 0o600)?;
        let second = attempt(world, "run", &[])?;
        ensure(&format!("and it is held: {second}"), second == 75)?;
        world.stop_gateway("TERM", STOP)?;
        stranger.kill();
        // An `off` whose caller has no umask, where no file exists yet.
        io("lock", fs::remove_file(&lock))?;
        let mut off = within("head", "sh");
        off.args(["-c", "umask 0; exec \"$0\" off"]).arg(crate::program());
        off.env("RUNTIME_DIRECTORY", format!("{HOME}/run"))
            .env("STATE_DIRECTORY", format!("{HOME}/state"));
        let output = io("off", off.output())?;
        ensure(
            &format!("off: {}", String::from_utf8_lossy(&output.stderr)),
            output.status.success(),
        )?;
        ensure(&format!("no other user can open what it leaves: {:o}", mode()), mode() == 0o600)
    })
}

/// Connects as a user without rights, in a thread that becomes that user; returns all connections,
/// and the number of refusals.
fn crowd(socket: PathBuf, user: u32, count: usize) -> Result<(Vec<UnixStream>, usize)> {
    let connect = move || -> std::io::Result<(Vec<UnixStream>, usize)> {
        set_thread_groups(&[])?;
        set_thread_gid(Gid::from_raw(user))?;
        set_thread_uid(Uid::from_raw(user))?;
        let (mut streams, mut refused) = (Vec::new(), 0);
        for _ in 0..count {
            let stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line)?;
            refused += usize::from(line.contains("\"refused\""));
            streams.push(stream);
        }
        Ok((streams, refused))
    };
    let thread = std::thread::spawn(connect);
    io(
        format!("user {user}"),
        thread.join().unwrap_or_else(|_| Err(std::io::Error::other("panicked"))),
    )
}

/// One user holds the maximum for one user; root, and the next user, are served.
pub fn one_user_does_not_fill_the_status_socket() -> Result<()> {
    online(PLAIN, |world| {
        io("home", fs::set_permissions(HOME, Permissions::from_mode(0o755)))?;
        let socket = world.socket();
        let mut held = Vec::new();
        let (streams, refused) = crowd(socket.clone(), STRANGER, 150)?;
        println!("of 150 {refused} were refused");
        held.push(streams);
        let status = snapshot(&socket);
        ensure(&format!("root is served: {status:?}"), status.is_ok())?;
        ensure(&format!("one user is refused beyond a share: {refused}"), refused >= 100)?;
        let (streams, refused) = crowd(socket.clone(), STRANGER - 1, 4)?;
        held.push(streams);
        ensure("another user is served", refused == 0)?;
        // A user with many user ids, such as a container's range, cannot lock out root either.
        for user in 100_000..100_040 {
            held.push(crowd(socket.clone(), user, 10)?.0);
        }
        let mut watches = Vec::new();
        for _ in 0..8 {
            let mut watch = Watch::open(&socket)?;
            ensure("root has places of its own", watch.next_line()?.is_some())?;
            watches.push(watch);
        }
        drop(held);
        until("places come back", || {
            crowd(socket.clone(), STRANGER, 4).is_ok_and(|(_, refused)| refused == 0)
        })
        .map(drop)
    })
}

/// Endless data instead of the settings does not block anything, and is reported.
pub fn settings_that_never_end_hold_up_nothing() -> Result<()> {
    online(PLAIN, |world| {
        let main = Path::new(HOME).join("bramblegate.toml");
        let before = io("settings", fs::read(&main))?;
        io("settings", fs::remove_file(&main))?;
        run("mkfifo", &[&main.to_string_lossy()])?;
        world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal("HUP")?;
        until("it is named", || {
            world.journal().contains("bramblegate.toml:1:1: error: cannot be read: it is a FIFO")
        })?;
        world.pull_cable("eth1")?;
        until("the panel works on", || world.glass().concat().contains("NO CABLE"))?;
        io("settings", fs::remove_file(&main))?;
        io("settings", fs::write(&main, before))?;
        // The owner of a folder must not choose what root's reload reads: the verbs test the rest.
        io("settings", chown(&main, Some(0), Some(0)))
    })
}

/// The record of previous interface states is in the service user's folder: it must not make root
/// remove foreign addresses, or change a setting that the gateway never changes.
pub fn forged_record_takes_nothing_of_others_away() -> Result<()> {
    before_start(PLAIN, |_| {
        leased()?;
        let state = Path::new(HOME).join("state");
        io("state", fs::create_dir_all(&state))?;
        let boot = io("boot", fs::read_to_string("/proc/sys/kernel/random/boot_id"))?;
        let port = r#"{"conf":{"rp_filter":9,"arp_ignore":77,"accept_local":1},"added":["10.99.0.126/24","127.0.0.1/8"]}"#;
        let record = format!(
            r#"{{"schema":1,"boot":"{}","ports":{{"eth1":{port},"lo":{port}}}}}"#,
            boot.trim()
        );
        io("record", fs::write(state.join("previous.json"), record))?;
        let all = "ip -4 -br addr; cat /proc/sys/net/ipv4/conf/eth1/rp_filter \
                   /proc/sys/net/ipv4/conf/eth1/arp_ignore \
                   /proc/sys/net/ipv4/conf/lo/accept_local";
        let before = must("head", all)?;
        let mut off = within("head", &crate::program().to_string_lossy());
        off.arg("off")
            .env("RUNTIME_DIRECTORY", format!("{HOME}/run"))
            .env("STATE_DIRECTORY", &state);
        let output = io("off", off.output())?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure(&format!("it ends well: {printed}"), output.status.success())?;
        same("the head", &before, &must("head", all)?)
    })
}
