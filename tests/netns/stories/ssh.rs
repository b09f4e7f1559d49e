//! The generated ssh settings, used by a real client with real servers.

use std::fs;
use std::path::PathBuf;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, run, spawn, within};
use bramblegate_lab::{Error, Result};

use super::inventory::{SETTINGS, succeed, verb};
use super::scene::{PLAIN, STOP, ensure, is, online, until};

/// The head's, where the world's own server has 22.
const HEAD_PORT: &str = "2222";

/// Every user in this world is pi, whose home only this test sees: on the laptop, on the head and
/// on the nodes.
pub fn become_pi() -> Result<String> {
    let (home, users) = (format!("{HOME}/pi"), format!("{HOME}/passwd"));
    let before = fs::read_to_string("/etc/passwd").unwrap_or_default();
    fs::write(&users, format!("pi:x:0:0::{home}:/bin/sh\n{before}"))
        .map_err(|error| Error(error.to_string()))?;
    run("mount", &["--bind", &users, "/etc/passwd"])?;
    run("mkdir", &["-m", "700", &home, &format!("{home}/.ssh")])?;
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &format!("{home}/.ssh/id_ed25519")],
    )?;
    must("head", &format!("cd {home}/.ssh && cp id_ed25519.pub authorized_keys && touch bramble"))?;
    let config = "Include bramble\n\
                  Host *\n    BatchMode yes\n    ConnectTimeout 5\n    StrictHostKeyChecking \
                  accept-new\n    HashKnownHosts no\n";
    fs::write(format!("{home}/.ssh/config"), config).map_err(|error| Error(error.to_string()))?;
    Ok(home)
}

/// An ssh server with a key of its own.
fn sshd(place: &str, port: &str) -> Result<Running> {
    sshd_with(place, port, &[])
}

/// Starts it with more options.
pub fn sshd_with(place: &str, port: &str, options: &[&str]) -> Result<Running> {
    let (key, pid) = (format!("{HOME}/key-{place}"), format!("{HOME}/sshd-{place}.pid"));
    run("dropbearkey", &["-t", "ed25519", "-f", &key])?;
    let mut command = within(place, "dropbear");
    command.args(["-F", "-E", "-s", "-r", &key, "-p", port, "-P", &pid]).args(options);
    let server = spawn(&mut command, &PathBuf::from(format!("{HOME}/sshd-{place}.log")))?;
    until(&format!("an ssh server on {place}"), || {
        fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty())
    })?;
    Ok(server)
}

/// Runs the client as typed by pi; it finds included files by this variable, all others by the user
/// database.
fn ssh() -> String {
    format!("HOME={HOME}/pi ssh")
}

/// Returns where the server sees the client, and itself.
fn arrives(from: &str, node: &str) -> Result<String> {
    let text = must(from, &format!("{} {node} 'echo arrived $SSH_CONNECTION'", ssh()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("arrived "));
    line.map(str::to_owned).ok_or_else(|| Error(format!("from {from} to {node}: {text}")))
}

/// As in the README: the settings are fetched by ssh, and `ssh rpi1` works, through the head, as
/// the user who fetched them.
pub fn ssh_by_name_works_from_the_laptop_and_from_the_head() -> Result<()> {
    let settings =
        format!("uplink.allow = [\"ssh\", {HEAD_PORT}]\n{}", SETTINGS.replace("HOME", HOME));
    online(&format!("settings = '''\n{settings}'''\n{PLAIN}"), |world| {
        let home = become_pi()?;
        let _servers = [sshd("head", HEAD_PORT)?, sshd("rpi1", "22")?, sshd("rpi2", "22")?];
        let fetch = format!(
            "ssh -p {HEAD_PORT} pi@10.99.0.126 '{} ssh-config --user pi -c \
             {HOME}/bramblegate.toml' > {home}/.ssh/bramble",
            crate::program().display()
        );
        must("laptop", &fetch)?;
        let reported = fs::read_to_string(format!("{home}/.ssh/bramble")).unwrap_or_default();
        ensure(
            &format!("back the way they came: {reported}"),
            reported.contains("    HostName 10.99.0.126\n")
                && reported.contains("    Port 2222\n    User pi\n"),
        )?;
        let head = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .split('.')
            .next()
            .unwrap_or_default()
            .to_lowercase();
        ensure(
            &format!("nodes are behind {head}: {reported}"),
            reported.contains(&format!("    ProxyJump {head}\n")),
        )?;
        for (name, address) in [("rpi1", "192.168.50.11"), ("rpi2.bramble", "192.168.50.12")] {
            let seen = arrives("laptop", name)?;
            let through =
                seen.starts_with("192.168.50.1 ") && seen.ends_with(&format!(" {address} 22"));
            ensure(&format!("{name} through the head: {seen}"), through)?;
        }
        let keys = fs::read_to_string(format!("{home}/.ssh/known_hosts")).unwrap_or_default();
        ensure(
            &format!("keys go by the name: {keys}"),
            keys.contains("rpi1.bramble ") && !keys.contains("192.168."),
        )?;
        ensure(&format!("the head's too: {keys}"), keys.contains(&format!("{head}.bramble ")))?;
        // Another venue: the head has another address, and there is no new prompt.
        must("head", "ip addr add 10.99.0.200/24 dev eth1")?;
        let moved =
            succeed(world, &["ssh-config", "--via", "pi@10.99.0.200:2222", "--user", "pi"])?;
        fs::write(format!("{home}/.ssh/bramble"), moved)
            .map_err(|error| Error(error.to_string()))?;
        let known = |host: &str| {
            must("laptop", &format!("{} -o StrictHostKeyChecking=yes {host} true", ssh()))
        };
        for host in ["rpi1", &head, &format!("{head}.bramble")] {
            known(host)?;
        }
        let after = fs::read_to_string(format!("{home}/.ssh/known_hosts")).unwrap_or_default();
        ensure(&format!("no key is asked for anew: {after}"), after == keys)?;
        succeed(world, &["nodes", "drain", "rpi[1-2]"])?;
        until("both are worked on", || {
            is(world, "nodes.rpi1.health", "maintenance")
                && is(world, "nodes.rpi2.health", "maintenance")
        })?;
        succeed(world, &["nodes", "resume", "rpi[1-2]"])?;
        let direct = succeed(world, &["ssh-config", "--direct"])?;
        fs::write(format!("{home}/.ssh/bramble"), &direct)
            .map_err(|error| Error(error.to_string()))?;
        let seen = arrives("head", "rpi2")?;
        ensure(&format!("from the head itself: {seen}"), seen.ends_with(" 192.168.50.12 22"))?;
        world.stop_gateway("TERM", STOP)?;
        let alone = succeed(world, &["ssh-config", "--via", "pi@head.local"])?;
        ensure(
            "the settings do where no daemon answers",
            alone.contains("HostName 192.168.50.12"),
        )?;
        let (code, _, error) = verb(world, &["nodes", "drain", "rpi1"])?;
        ensure("3 without a daemon", code == 3 && error.contains("systemctl start"))
    })
}
