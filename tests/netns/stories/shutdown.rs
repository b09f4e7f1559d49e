//! The shutdown of the nodes: with the real ssh client and real servers, and nodes that power off,
//! refuse the key, or hang.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, run, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::inventory::{STRANGER, stranger_appears};
use super::scene::{PLAIN, alert, ensure, is, online, until};
use super::ssh::{become_pi, sshd_with};

/// The boot ID of an earlier boot (`random(4)`).
const ANOTHER_BOOT: &str = "6c1d1f5e-9a3f-4b53-8f37-2f1f6d0c9a11";

/// What a node runs instead of `systemctl poweroff`, by the key's forced command, as in the guide:
/// a node without power has no link. By the address that was used.
const POWER_OFF: &str = "#!/bin/sh
set -- $SSH_CONNECTION
echo \"$SSH_ORIGINAL_COMMAND\" >HOME/asked-$3
case $3 in
*.11) off=eth0 after=0 ;;
*.12) off=eth0 after=1 ;;
*.13) [ ! -e HOME/hang ] || exec sleep 60
    off=eth0 after=4 ;;
*.77) off=stranger after=0 ;;
esac
(sleep $after; ip link set $off down) >/dev/null 2>&1 &
";

fn write(path: &str, text: &str, mode: u32) -> Result<()> {
    let written =
        fs::write(path, text.replace("HOME", HOME)).and_then(|()| set_mode(Path::new(path), mode));
    written.map_err(|error| Error(format!("{path}: {error}")))
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("{HOME}/{name}")).unwrap_or_default()
}

/// A cluster whose nodes run ssh servers, `refusing` those that refuse the key; the machine's own
/// `systemctl` and `wall` are unreachable.
fn packing(
    refusing: &[&str],
    story: impl FnOnce(&mut World, &mut Vec<Running>) -> Result<()>,
) -> Result<()> {
    let settings = format!(
        "[sockets]\ncontrol = \"{HOME}/control.sock\"\n[health]\nboot_grace = \"3s\"\n\
         [shutdown]\nuser = \"pi\"\nkey = \"{HOME}/pi/.ssh/id_ed25519\"\ntimeout = \"14s\"\n"
    );
    online(&format!("settings = '''\n{settings}'''\n{PLAIN}"), |world| {
        let home = become_pi()?;
        write(&format!("{HOME}/power-off"), POWER_OFF, 0o755)?;
        let key = read("pi/.ssh/id_ed25519.pub");
        let line = format!("restrict,command=\"{HOME}/power-off\" {key}");
        write(&format!("{home}/.ssh/authorized_keys"), &line, 0o600)?;
        run("mkdir", &[&format!("{HOME}/bin")])?;
        for program in ["systemctl", "wall"] {
            let text = format!("#!/bin/sh\necho \"$*\" >>HOME/{program}.log\n");
            write(&format!("{HOME}/bin/{program}"), &text, 0o755)?;
        }
        let mut servers = Vec::new();
        for node in ["rpi1", "rpi2", "rpi3"] {
            // Every user here has the rights of root, who may not log in by -w.
            let options: &[&str] = if refusing.contains(&node) { &["-w"] } else { &[] };
            servers.push(sshd_with(node, "22", options)?);
        }
        story(world, &mut servers)
    })
}

fn verb(world: &World, words: &[&str]) -> Command {
    let mut command = world.gateway_command("shutdown");
    let path = std::env::var("PATH").unwrap_or_default();
    let socket = world.socket();
    command.env("PATH", format!("{HOME}/bin:{path}")).arg("--socket").arg(socket).args(words);
    command
}

/// Runs the verb to its end; returns exit code and all output.
fn shut_down(world: &World, words: &[&str]) -> Result<(i32, String)> {
    let output = verb(world, words).output().map_err(|error| Error(error.to_string()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("shutdown {words:?}: {:?}\n{text}", output.status.code());
    Ok((output.status.code().unwrap_or(-1), text))
}

/// Returns the output of a dry run for a user who is not root.
fn plan_for_a_user(world: &World) -> Result<String> {
    let io = |error: std::io::Error| Error(error.to_string());
    // The build folder may be inaccessible to the user.
    let copy = format!("{HOME}/bramblegate");
    fs::copy(crate::program(), &copy).map_err(io)?;
    must("head", &format!("chmod 0755 {HOME} {HOME}/pi {HOME}/pi/.ssh {copy}"))?;
    let command = verb(world, &["--all", "--dry-run"]);
    let words = command.get_args().skip_while(|word| *word != "shutdown");
    let mut user = within("head", "setpriv");
    user.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", &copy]).args(words);
    let output = user.output().map_err(io)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("as a user: {text}");
    Ok(text)
}

fn is_away(world: &World, node: &str) -> bool {
    is(world, &format!("nodes.{node}.health"), "maintenance")
}

pub fn nodes_are_off_and_a_straggler_is_named() -> Result<()> {
    packing(&["rpi2"], |world, _| {
        write(&format!("{HOME}/hang"), "", 0o600)?;
        let log = PathBuf::from(format!("{HOME}/shutdown.log"));
        let mut running = spawn(&mut verb(world, &["--all", "--yes"]), &log)?;
        until("the panel names who hangs, and counts", || {
            world.glass().get(1).is_some_and(|row| row.contains("rpi3 STILL UP "))
        })?;
        until("and who refuses", || {
            world.glass().get(1).is_some_and(|row| row.contains("rpi2 STILL UP "))
        })?;
        until("the status too", || is(world, "shutdown.waiting_total", "2"))?;
        ensure("the head is to follow", is(world, "shutdown.head", "true"))?;
        let start = Instant::now();
        let code = loop {
            if let Some(code) = running.ended() {
                break code;
            }
            ensure("it ends in time", start.elapsed() < Duration::from_secs(25))?;
            std::thread::sleep(Duration::from_millis(50));
        };
        let text = read("shutdown.log");
        println!("{text}");
        ensure(&format!("1, not {code}"), code == 1)?;
        ensure(
            "the first is off",
            text.contains("rpi1: powers off\n") && text.contains("rpi1: off\n"),
        )?;
        ensure(
            "why not the second",
            text.contains("rpi2: still up: ") && text.contains("Permission denied"),
        )?;
        ensure("who is up", text.contains("still up: rpi2, rpi3, so this machine stays on"))?;
        ensure("the head stays on", read("systemctl.log").is_empty())?;
        ensure("sessions were warned", read("wall.log").contains("the nodes are shut down now"))?;
        let asked = read("asked-192.168.50.11");
        ensure(&format!("the command: {asked}"), asked == "sudo -n systemctl poweroff\n")?;
        let keys = read("pi/.ssh/id_ed25519.known_hosts");
        ensure(&format!("keys by name: {keys}"), keys.contains("rpi1.bramble "))?;
        until("the panel goes on", || {
            world.glass().get(1).is_some_and(|row| !row.contains("STILL UP"))
        })?;
        ensure(
            "who is off raises no alarm",
            is_away(world, "rpi1") && alert(world, "node-*").is_none(),
        )?;
        let journal = world.journal();
        ensure(&format!("it was not missed: {journal}"), !journal.contains("rpi1 is down"))?;
        ensure("the journal has it", journal.contains("shutting down 3 nodes, then the head"))?;
        ensure("and who is up", journal.contains("still up after the shutdown: rpi2, rpi3"))
    })
}

pub fn four_nodes_take_no_longer_than_the_slowest() -> Result<()> {
    packing(&[], |world, _| {
        stranger_appears()?;
        let found = "nodes.node-00-00-77.health";
        until("the fourth is up", || is(world, found, "up"))?;
        let (code, plan) = shut_down(world, &["--all", "--dry-run"])?;
        ensure("a plan", code == 0 && plan.contains(&format!(" -l pi {STRANGER} sudo -n ")))?;
        ensure("four lines and the head", plan.lines().count() == 5)?;
        ensure("a user who may not read the key sees the same", plan_for_a_user(world)? == plan)?;
        let asked = || {
            fs::read_dir(HOME).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| {
                        entry.file_name().to_string_lossy().starts_with("asked-")
                    })
                })
            })
        };
        std::thread::sleep(Duration::from_secs(1));
        ensure("nothing was asked, nothing is off", !asked() && is(world, "cluster.up", "4"))?;
        let start = Instant::now();
        let (code, text) = shut_down(world, &["--all", "--yes"])?;
        let took = start.elapsed();
        ensure("all are off", code == 0 && text.contains("4 of 4 nodes are off"))?;
        // The slowest takes four seconds.
        ensure(&format!("{took:?}"), took < Duration::from_secs(4 + 15))?;
        println!("four nodes: {took:?}");
        ensure("then the head", read("systemctl.log") == "--no-block poweroff\n")?;
        until("the panel knows", || {
            world.glass().get(1).is_some_and(|row| row.contains("POWERING OFF"))
        })?;
        let kept = fs::read_to_string(format!("{HOME}/state/shut-down")).unwrap_or_default();
        ensure(&format!("kept: {kept}"), kept.lines().count() == 4)?;
        ensure("no alarm", alert(world, "node-*").is_none())?;
        // In the morning, after the head's boot: the state is of another boot.
        let other: String = kept
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, key)| format!("{ANOTHER_BOOT} {key}\n"))
            .collect();
        world.stop_gateway("TERM", super::scene::STOP)?;
        fs::write(format!("{HOME}/state/shut-down"), other)
            .map_err(|error| Error(error.to_string()))?;
        must("rpi1", "ip link set eth0 up")?;
        must("rpi2", "ip link set eth0 up")?;
        world.start_gateway()?;
        until("two are back", || is(world, "cluster.up", "2"))?;
        until("who is not is named", || {
            alert(world, "node-down").is_some_and(|text| text.contains("rpi3"))
        })?;
        until("in the journal too", || {
            world.journal().contains("shut down before, and not back with the others: ")
        })?;
        until("nothing is kept", || {
            fs::read_to_string(format!("{HOME}/state/shut-down")).is_ok_and(|text| text.is_empty())
        })
        .map(drop)
    })
}

/// A laptop in the cluster's network that refuses the key: it delays neither nodes nor head. One
/// that the settings exclude gets no request.
pub fn laptop_in_the_cluster_is_left_out() -> Result<()> {
    packing(&[], |world, servers| {
        stranger_appears()?;
        until("it is up", || is(world, "nodes.node-00-00-77.health", "up"))?;
        // It is behind the third node's cable: each has its own server now.
        servers.pop();
        for (address, options) in [("192.168.50.13", &[][..]), (STRANGER, &["-w"][..])] {
            run("rm", &["-f", &format!("{HOME}/key-rpi3"), &format!("{HOME}/sshd-rpi3.pid")])?;
            servers.push(sshd_with("rpi3", &format!("{address}:22"), options)?);
        }
        let drop_in = format!("{HOME}/bramblegate.toml.d/50-venue.toml");
        let plain = read("bramblegate.toml.d/50-venue.toml");
        write(&drop_in, &format!("{plain}except = [\"NODE-*\"]\n"), 0o644)?;
        let (code, plan) = shut_down(world, &["--all", "--dry-run"])?;
        ensure("it is spared", code == 0 && plan.lines().count() == 4 && !plan.contains(STRANGER))?;
        write(&drop_in, &plain, 0o644)?;
        let (code, text) = shut_down(world, &["--all", "--yes"])?;
        let left_out = "node-00-00-77: not in the settings, so it is left out: ";
        ensure(
            "why it is left out",
            text.contains(left_out) && text.contains("Permission denied"),
        )?;
        ensure("all nodes are off", code == 0 && text.contains("3 of 3 nodes are off"))?;
        ensure("then the head", read("systemctl.log") == "--no-block poweroff\n")?;
        ensure("the journal names no one", !world.journal().contains("still up after"))
    })
}

/// Runs the command of a help line as printed, but without `sudo`. A program answers ssh-keygen's
/// prompt for the passphrase.
fn remedy(text: &str) -> Result<String> {
    let command = text.split_once("sudo ").map(|(_, rest)| rest.lines().next().unwrap_or_default());
    let command = command.unwrap_or_default().replace("sudo ", "");
    println!("{command}");
    let asker = format!("{HOME}/asker");
    write(&asker, "#!/bin/sh\necho secret\n", 0o755)?;
    let line = format!("export SSH_ASKPASS={asker} SSH_ASKPASS_REQUIRE=force; {command}");
    run("sh", &["-ec", &line])
}

pub fn a_key_that_is_not_right_stops_it_before_anything_happens() -> Result<()> {
    packing(&[], |world, _| {
        let key = format!("{HOME}/pi/.ssh/id_ed25519");
        let refused = |why: &str| -> Result<String> {
            let (code, text) = shut_down(world, &["--all", "--yes"])?;
            ensure(&format!("78, {why}: {code} {text}"), code == 78 && text.contains(why))?;
            Ok(text)
        };
        run("chmod", &["644", &key])?;
        remedy(&refused("is open to other users (mode 644)")?)?;
        run("ssh-keygen", &["-q", "-p", "-N", "secret", "-P", "", "-f", &key])?;
        remedy(&refused("has a passphrase")?)?;
        run("mv", &[&key, &format!("{key}.away")])?;
        let missing = refused("there is no ")?;
        let (code, text) = {
            let output = world
                .gateway_command("check")
                .output()
                .map_err(|error| Error(error.to_string()))?;
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        ensure(
            &format!("check notes it: {text}"),
            code == Some(0) && text.contains("ssh-keygen -t ed25519"),
        )?;
        remedy(&missing)?;
        ensure("there is a key", Path::new(&key).exists())?;
        let (code, text) = shut_down(world, &["--all", "--dry-run"])?;
        ensure(&format!("it is right: {code} {text}"), code == 0)?;
        ensure("no node was asked", !Path::new(&format!("{HOME}/asked-192.168.50.11")).exists())?;
        ensure("the head stays on", read("systemctl.log").is_empty())?;
        ensure("all are up", is(world, "cluster.up", "3"))
    })
}

pub fn button_leaves_word_of_a_node_that_is_still_up() -> Result<()> {
    packing(&["rpi2"], |world, _| {
        let word = "/run/bramblegate-shutdown/still-up";
        let (code, _) = shut_down(world, &["--button"])?;
        ensure(
            "the head goes in any case",
            code == 0 && read("systemctl.log") == "--no-block poweroff\n",
        )?;
        let text = fs::read_to_string(word).unwrap_or_default();
        ensure(&format!("the glass is to name it: {text}"), text == "rpi2 STILL UP\n")?;
        // The effect of the machine's last script.
        let hook = fs::read_to_string("systemd/system-shutdown")
            .map_err(|error| Error(error.to_string()))?;
        let shown = hook.replace("timeout 5 /usr/bin/bramblegate panel-message", "echo");
        let show = || run("sh", &["-c", &shown, "hook", "poweroff"]);
        let last = show()?;
        ensure(&format!("and does: {last}"), last.trim() == "rpi2 STILL UP")?;
        fs::remove_file(word).map_err(|error| Error(error.to_string()))?;
        let last = show()?;
        ensure(&format!("else: {last}"), last.trim() == "SAFE TO UNPLUG")
    })
}
