//! Discovered nodes, orders about nodes, and the verbs for both.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bramblegate::api::status::{Node, Origin};
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, alert, ensure, online, until};

/// The control socket and the folders, as in [`World::gateway_command`].
pub const SETTINGS: &str =
    "[sockets]\ncontrol = \"HOME/control.sock\"\n[health]\nboot_grace = \"2s\"\n";
/// A board without a name.
pub const STRANGER: &str = "192.168.50.77";

/// A plain venue with a gateway that accepts orders.
fn gateway(story: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    let settings = SETTINGS.replace("HOME", HOME);
    online(&format!("settings = '''\n{settings}'''\n{PLAIN}"), story)
}

/// Returns the first matching node of the status.
fn node(world: &World, is_meant: impl Fn(&Node) -> bool) -> Option<Node> {
    world.status().ok()?.nodes.into_iter().find(is_meant)
}

fn named(world: &World, name: &str) -> Option<Node> {
    node(world, |node| node.name == *name)
}

/// Returns the board without a name.
fn stranger(world: &World) -> Option<Node> {
    node(world, |node| node.address.is_some_and(|address| address.to_string() == STRANGER))
}

fn health(world: &World, name: &str) -> String {
    named(world, name).map(|node| node.health.to_string()).unwrap_or_default()
}

/// Runs a verb of the program in the head; returns exit code, output, errors.
pub fn verb(world: &World, words: &[&str]) -> Result<(i32, String, String)> {
    let (first, rest) = words.split_first().ok_or_else(|| Error("no verb".into()))?;
    // `-c FILE` is an option of the innermost verb.
    let mut command = world.gateway_command(first);
    let arguments: Vec<std::ffi::OsString> = command.get_args().map(ToOwned::to_owned).collect();
    let program = command.get_program().to_owned();
    let environment: Vec<_> =
        command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    command = std::process::Command::new(program);
    let at = arguments.iter().position(|word| word == "-c").unwrap_or(arguments.len());
    command.args(arguments.iter().take(at)).args(rest).args(arguments.iter().skip(at));
    for (key, value) in environment {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let output = command.output().map_err(|error| Error(format!("the verb: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}

/// Runs a printed command, "bramblegate nodes …", with more words.
pub fn carry_out(world: &World, command: &str, more: &[&str]) -> Result<String> {
    let words = command.strip_prefix("bramblegate ");
    let words = words.ok_or_else(|| Error(format!("no verb: {command:?}")))?;
    println!("{command} {more:?}");
    succeed(world, &[&words.split(' ').collect::<Vec<_>>(), more].concat())
}

/// Returns the command of the journal's catalog with this beginning.
fn explained(beginning: &str) -> Result<String> {
    // Its long lines are wrapped.
    let catalog = bramblegate::view::journal::catalog();
    let catalog = catalog.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut commands = catalog.split('`').skip(1).step_by(2);
    let command = commands.find(|command| command.starts_with(beginning)).map(str::to_owned);
    command.ok_or_else(|| Error(format!("the catalog has no {beginning}")))
}

/// Returns the output of a verb that succeeds.
pub fn succeed(world: &World, words: &[&str]) -> Result<String> {
    match verb(world, words)? {
        (0, out, _) => Ok(out),
        (code, out, err) => {
            Err(Error(format!("{}: exit code {code}\n{out}{err}", words.join(" "))))
        }
    }
}

/// To the head, a second address on a node's interface is a board with two addresses; a macvlan is
/// a board of its own.
pub fn stranger_appears() -> Result<()> {
    must("rpi3", "ip link add stranger link eth0 type macvlan mode bridge")?;
    must("rpi3", "ip link set stranger address b8:27:eb:00:00:77 up")?;
    must("rpi3", &format!("ip addr add {STRANGER}/24 dev stranger"))?;
    must("rpi3", "sysctl -qw net.ipv4.conf.all.arp_ignore=1")?;
    let _ = must("rpi3", "ping -c 1 -W 1 -I stranger 192.168.50.1");
    Ok(())
}

pub fn static_node_is_found_and_adopted() -> Result<()> {
    gateway(|world| {
        stranger_appears()?;
        until("the stranger is listed", || stranger(world).is_some())?;
        until("it is probed", || health(world, "node-00-00-77") == "up")?;
        let found =
            named(world, "node-00-00-77").ok_or_else(|| Error("not named by its board".into()))?;
        ensure("it was found", found.origin == Origin::Found)?;
        ensure("its board is known", found.mac.as_deref() == Some("b8:27:eb:00:00:77"))?;
        ensure(
            "the journal tells",
            world.journal().contains("node-00-00-77 (b8:27:eb:00:00:77) was found"),
        )?;

        let settled =
            |name: &str| named(world, name).is_some_and(|node| node.origin == Origin::Settings);
        let command = explained("bramblegate nodes adopt")?;
        carry_out(world, &command.replace("@NODE@", "node-00-00-77"), &[])?;
        until("it is of the settings", || settled("node-00-00-77"))?;
        succeed(world, &["nodes", "rename", "node-00-00-77", "window"])?;
        until("by another name", || settled("window"))?;
        ensure("it is not there twice", named(world, "node-00-00-77").is_none())?;
        ensure("its health went on", health(world, "window") == "up")?;
        let text = fs::read_to_string(format!("{HOME}/bramblegate.toml.d/60-nodes.toml"))
            .unwrap_or_default();
        ensure("the drop-in has its board", text.contains("mac = \"b8:27:eb:00:00:77\""))?;

        let (code, _, error) = verb(world, &["nodes", "add", "other", "--address", STRANGER])?;
        ensure(
            "an address is not given twice",
            code == 78 && error.contains("nothing was changed"),
        )?;
        succeed(world, &["nodes", "forget", "window"])?;
        until("it is a found node again", || {
            stranger(world).is_some_and(|node| node.origin == Origin::Found)
        })?;
        succeed(world, &["nodes", "adopt", "node-00-00-77", "--as", "window"])?;
        until("adopted under another name", || settled("window")).map(drop)
    })
}

pub fn two_boards_with_one_address_are_reported() -> Result<()> {
    gateway(|world| {
        stranger_appears()?;
        until("the stranger is listed", || stranger(world).is_some())?;
        must("rpi2", &format!("ip addr add {STRANGER}/32 dev eth0"))?;
        // Each sends ARP requests for the head now and then, and so is seen.
        for _ in 0..6 {
            for (place, from) in [("rpi2", STRANGER), ("rpi3", "stranger")] {
                let _ = must(place, "ip neigh flush all");
                let _ = must(place, &format!("ping -c 1 -W 1 -I {from} 192.168.50.1"));
                std::thread::sleep(Duration::from_millis(1100));
            }
            if alert(world, "node-duplicate-address").is_some() {
                break;
            }
        }
        let text = alert(world, "node-duplicate-address")
            .ok_or_else(|| Error("nothing was reported".into()))?;
        ensure(
            "the alert names the address and a board",
            text.contains(STRANGER) && text.contains("b8:27:eb:00:00:77"),
        )
    })
}

pub fn swapped_boards_are_reported() -> Result<()> {
    gateway(|world| {
        let settings = SETTINGS.replace("HOME", HOME);
        let mac = |place: &str| -> Result<String> {
            Ok(must(place, "cat /sys/class/net/eth0/address")?.trim().to_owned())
        };
        let (one, two) = (mac("rpi1")?, mac("rpi2")?);
        // As the user would have written them before the boards changed places.
        world.set_settings(&format!(
            "{settings}[[node]]\nname = \"rpi1\"\nmac = \"{two}\"\n[[node]]\nname = \"rpi2\"\n\
             mac = \"{one}\"\n"
        ));
        world.write_settings()?;
        world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal("HUP")?;
        until("the swap is reported", || alert(world, "node-swapped").is_some())?;
        let text = alert(world, "node-swapped").unwrap_or_default();
        ensure(
            "both are named",
            text.contains("rpi1") && text.contains("rpi2") && text.contains("swapped"),
        )
    })
}

pub fn drained_node_raises_no_alarm_and_stays_drained() -> Result<()> {
    gateway(|world| {
        carry_out(world, &explained("bramblegate nodes drain")?, &["rpi2"])?;
        until("it is worked on", || health(world, "rpi2") == "maintenance")?;
        must("rpi2", "ip link set eth0 down")?;
        std::thread::sleep(Duration::from_secs(3));
        ensure("nothing is alarmed", alert(world, "node-down").is_none())?;
        world.stop_gateway("TERM", Duration::from_secs(10))?;
        world.start_gateway()?;
        until("it is so after a restart", || health(world, "rpi2") == "maintenance")?;
        let list = succeed(world, &["nodes"])?;
        ensure(
            "it is listed so",
            list.lines().any(|line| line.starts_with("rpi2 ") && line.contains("maintenance")),
        )?;
        succeed(world, &["nodes", "resume", "rpi2"])?;
        until("it is down", || health(world, "rpi2") == "down")?;
        until("and alarmed", || alert(world, "node-down").is_some())?;
        succeed(world, &["nodes", "drain", "rpi[1-3]"])?;
        until("folded names are each of them", || {
            ["rpi1", "rpi2", "rpi3"].iter().all(|name| health(world, name) == "maintenance")
        })?;
        succeed(world, &["nodes", "resume", "rpi[1,3]"])?;
        until("two are back", || health(world, "rpi1") == "up" && health(world, "rpi3") == "up")?;
        ensure("and one is not", health(world, "rpi2") == "maintenance")?;
        let (code, _, error) = verb(world, &["nodes", "drain", "rpi9"])?;
        ensure(
            "a node that is not there is refused",
            code == 1 && error.contains("there is no node rpi9"),
        )
    })
}

pub fn control_socket_refuses_strangers_and_rubbish() -> Result<()> {
    gateway(|world| {
        let socket = PathBuf::from(format!("{HOME}/control.sock"));
        until("the socket is there", || socket.exists())?;
        let say = |line: &str, wrapper: &str| {
            must(
                "head",
                &format!("printf '{line}' | {wrapper} nc -NU {} 2>&1 || true", socket.display()),
            )
        };
        let answer = say("rubbish\\n", "")?;
        ensure(
            "rubbish is explained",
            answer.contains("\"ok\":false") && answer.contains("no order"),
        )?;
        let long = format!(
            "head -c 9000 /dev/zero | tr '\\\\0' x | nc -NU {} 2>&1 || true",
            socket.display()
        );
        ensure("an endless line is ended", must("head", &long)?.contains("no order is longer"))?;
        let order = "{\"schema\":1,\"order\":\"drain\",\"node\":\"rpi1\"}\\n";
        let stranger = say(order, "setpriv --reuid 65534 --regid 65534 --clear-groups")?;
        ensure("the file's mode keeps a stranger out", !stranger.contains("\"ok\":true"))?;
        // Even if another user made the file readable for all.
        must("head", &format!("chmod 0666 {}", socket.display()))?;
        must("head", &format!("chmod 0755 {HOME}"))?;
        let stranger = say(order, "setpriv --reuid 65534 --regid 65534 --clear-groups")?;
        println!("stranger: {stranger}");
        ensure("the kernel's word on the peer does too", stranger.contains("you may not"))?;
        ensure("nothing was drained", health(world, "rpi1") == "up")?;
        ensure("root may", say(order, "")?.contains("\"ok\":true"))?;
        until("it is done", || health(world, "rpi1") == "maintenance").map(drop)
    })
}

pub fn changes_at_once_are_all_written() -> Result<()> {
    gateway(|world| {
        let command = |words: &str| {
            format!(
                "RUNTIME_DIRECTORY={HOME}/run {} nodes {words} -c {HOME}/bramblegate.toml",
                crate::program().display()
            )
        };
        let adds: Vec<String> = (31..39)
            .map(|number| command(&format!("add n{number} --address 192.168.50.{number}")))
            .collect();
        let all = must("head", &format!("({} & wait) 2>&1", adds.join(" & ")))?;
        let text = fs::read_to_string(format!("{HOME}/bramblegate.toml.d/60-nodes.toml"))
            .unwrap_or_default();
        for number in 31..39 {
            ensure(
                &format!("n{number} is written: {all}\n{text}"),
                text.contains(&format!("\"n{number}\"")),
            )?;
        }
        until("the daemon knows it", || named(world, "n31").is_some())?;
        succeed(world, &["nodes", "drain", "n31"])?;
        succeed(world, &["nodes", "rename", "N31", "window"])?;
        until("it is worked on under its next name", || health(world, "window") == "maintenance")?;
        until("and that is kept", || {
            fs::read_to_string(format!("{HOME}/state/drained")).is_ok_and(|text| text == "window\n")
        })?;
        for refused in [
            "add two words --address 192.168.50.40",
            "add 'two words'",
            "add x --mac b8:27",
            "add WINDOW",
        ] {
            let (code, logged) = bramblegate_lab::shell::exec("head", &command(refused))?;
            ensure(&format!("{refused} is refused ({code}): {logged}"), code != 0)?;
        }
        // A disk that accepts no more data.
        let folder = format!("{HOME}/bramblegate.toml.d");
        let before = fs::read_to_string(format!("{folder}/60-nodes.toml")).unwrap_or_default();
        let full = command("add big --address 192.168.50.40");
        let logged = must(
            "head",
            &format!(
                "cp {folder}/60-nodes.toml {HOME}/kept; mount -t tmpfs -o size=8k tmpfs {folder}; \
                 cp {HOME}/kept {folder}/60-nodes.toml; dd if=/dev/zero of={folder}/filler bs=1k \
                 count=8 2>&1; \
                 {full} 2>&1; echo code $?; ls -A {folder}; cat {folder}/60-nodes.toml"
            ),
        )?;
        ensure(&format!("it is said and nothing is left behind: {logged}"), {
            logged.contains("code 71") && logged.contains(&before) && !logged.contains(".new")
        })
    })
}

pub fn control_socket_moves_at_a_reload() -> Result<()> {
    gateway(|world| {
        let settings = SETTINGS.replace("HOME", HOME);
        super::scene::reload(world, &settings.replace("control.sock", "orders.sock"))?;
        until("orders are taken where the settings say now", || {
            verb(world, &["nodes", "drain", "rpi1"]).is_ok_and(|(code, _, _)| code == 0)
        })?;
        ensure("the other one is gone", !PathBuf::from(format!("{HOME}/control.sock")).exists())
    })
}
