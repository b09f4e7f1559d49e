//! Helpers for most stories: a plain venue, a gateway that is online, waiting.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bramblegate_lab::file::{Check, glob};
use bramblegate_lab::inside::HOME;
use bramblegate_lab::play::attempt;
use bramblegate_lab::shell::{Running, must, spawn, within};
use bramblegate_lab::{Error, Result, Venue, World, watch};

/// A home router.
pub const PLAIN: &str = r#"
purpose = "A home router"
[[network]]
address = "10.99.0.1/24"
laptop = "10.99.0.20/24"
[network.dhcp]
address = "10.99.0.126"
"#;

/// A cable and a radio in separate networks.
pub const TWO: &str = r#"
purpose = "Two uplinks"
[[network]]
port = "eth1"
address = "10.99.0.1/24"
laptop = "10.99.0.20/24"
[network.dhcp]
address = "10.99.0.126"
[[network]]
port = "wlan0"
address = "172.20.5.1/24"
[network.dhcp]
address = "172.20.5.77"
"#;

/// Runs a story in a world of `venue` before the gateway is started; on failure, prints the whole
/// state of the world.
pub fn before_start(venue: &str, story: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    let mut world = World::build(&Venue::parse("story", venue)?, &crate::program())?;
    let result = story(&mut world);
    if result.is_err() {
        println!("{}", world.story());
    }
    result
}

/// Does the same with a gateway that is online, all nodes up.
pub fn online(venue: &str, story: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    before_start(venue, |world| {
        world.start_gateway()?;
        wait_online(world)?;
        story(world)
    })
}

/// Waits until the head's DHCP client has finished: the default route comes last.
pub fn leased() -> Result<()> {
    until("a lease", || must("head", "ip -4 route").is_ok_and(|text| text.contains("default via")))
        .map(drop)
}

/// Waits until the gateway is online and all nodes are up.
pub fn wait_online(world: &mut World) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Some(code) = world.gateway().and_then(|gateway| gateway.ended()) {
            return Err(Error(format!("the gateway ended with exit code {code}")));
        }
        if is(world, "uplink.state", "online") && is(world, "cluster.up", "3") {
            println!("online after {:?}", start.elapsed());
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(15) {
            return Err(Error("the gateway is not online within 15 s".into()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the text at a path of the status.
pub fn reported(world: &World, path: &str) -> String {
    world.status().map_or_else(|error| error.to_string(), |status| watch::at(&status, path))
}

/// Returns whether the status has a matching value.
pub fn is(world: &World, path: &str, pattern: &str) -> bool {
    glob(pattern, &reported(world, path))
}

/// Returns the text of an alert whose code matches, if there is one.
pub fn alert(world: &World, pattern: &str) -> Option<String> {
    let alerts = world.status().ok()?.alerts;
    alerts.iter().find(|alert| glob(pattern, &alert.code)).map(|alert| alert.text.to_string())
}

/// Repeats until the answer is yes, ten seconds at most; returns the time it took.
pub fn until(what: &str, mut answer: impl FnMut() -> bool) -> Result<Duration> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if answer() {
            println!("{what}: after {:?}", start.elapsed());
            return Ok(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error(format!("not within 10 s: {what}")))
}

/// Converts a boolean to a result.
pub fn ensure(what: &str, yes: bool) -> Result<()> {
    if yes { Ok(()) } else { Err(Error(format!("not so: {what}"))) }
}

/// The time of a line of shell in a namespace on an idle machine.
const LINE: Duration = Duration::from_millis(5);

/// Checks that something took no longer than documented. On a busy machine everything takes longer,
/// like a line of shell.
pub fn promptly(what: &str, took: Duration, promised: Duration) -> Result<()> {
    if took <= promised {
        return Ok(());
    }
    let begin = Instant::now();
    for _ in 0..5 {
        must("head", "true")?;
    }
    let line = begin.elapsed() / 5;
    let allowed = promised.mul_f64((line.as_secs_f64() / LINE.as_secs_f64()).max(1.0));
    let words = format!("{what}: after {took:?}, {allowed:?} where a line takes {line:?}");
    ensure(&words, took <= allowed)
}

/// Checks that two texts are equal; if not, shows the lines that differ.
pub fn same(what: &str, before: &str, after: &str) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let lost = before.lines().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    let new = after.lines().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    let differing = before.lines().zip(after.lines()).find(|(a, b)| a != b);
    let order = differing.map(|(a, b)| format!("first difference:\n- {a}\n+ {b}"));
    Err(Error(format!(
        "{what} is not the same:\n{}",
        lost.chain(new).chain(order).collect::<Vec<_>>().join("\n")
    )))
}

/// Runs a command at a place of the world: `try_from(world, "rpi1", "ping 203.0.113.80")`.
pub fn try_from(world: &World, place: &str, check: &str) -> Result<()> {
    let check: Check = check.parse().map_err(|error| Error(format!("{error}")))?;
    attempt(world, place, &check).map_err(|error| Error(format!("from {place}: {check}: {error}")))
}

/// The deadline for the gateway's end; its unit allows 15 s, and a kernel under load is slow to end
/// a killed process.
pub const STOP: Duration = Duration::from_secs(10);

/// Writes the gateway other settings and reloads it.
pub fn reload(world: &mut World, settings: &str) -> Result<()> {
    world.set_settings(settings);
    world.write_settings()?;
    world.gateway().ok_or_else(|| Error("no gateway".into()))?.signal("HUP")
}

/// A node that pings the internet fifty times a second.
pub struct Pinger {
    running: Running,
    log: PathBuf,
}

impl Pinger {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let log = PathBuf::from(format!("{HOME}/ping.log"));
        let _ = std::fs::remove_file(&log);
        let running = spawn(
            within("rpi1", "ping").args(["-n", "-i", "0.02", "-W", "1", "203.0.113.80"]),
            &log,
        )?;
        until("the first answer", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("time="))
        })?;
        Ok(Self { running, log })
    }

    /// Stops it; returns packets sent and packets lost.
    pub fn finish(mut self) -> Result<(u32, u32)> {
        self.running.signal("INT")?;
        until("ping ends", || self.running.ended().is_some())?;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last =
            text.lines().find(|line| line.contains("packets transmitted")).unwrap_or_default();
        let number = |place: usize| -> u32 {
            last.split(", ")
                .nth(place)
                .and_then(|part| part.split(' ').next()?.parse().ok())
                .unwrap_or(0)
        };
        println!("{last}");
        // The one in flight at the signal is not lost.
        Ok((number(0), number(0).saturating_sub(number(1)).saturating_sub(1)))
    }
}

/// Returns rules as nft lists them, without counters and owners of tables.
pub fn rules(namespace: &str, what: &str) -> Result<String> {
    let text = must(namespace, &format!("nft -s list {what}"))?;
    let owner = |line: &str| line.is_empty() || line.starts_with("flags") || line.starts_with('#');
    let lines = text.lines().filter(|line| !owner(line.trim()));
    let plain = lines.map(|line| line.split(" # ").next().unwrap_or(line).to_owned() + "\n");
    Ok(plain.collect())
}

/// Returns everything of the head's network that the gateway could have changed, without counters
/// and times.
pub fn network_of_head() -> Result<String> {
    let mut text = rules("head", "ruleset")?;
    text += &must("head", "ip -4 rule; ip -4 route show table all; ip -br link")?;
    text += &must("head", "ip -4 -br addr")?;
    text += &must(
        "head",
        "cd /proc/sys/net/ipv4; for f in ip_forward conf/*/forwarding conf/*/arp_ignore \
         conf/*/arp_announce \
         conf/*/rp_filter conf/*/accept_local conf/*/accept_redirects conf/*/send_redirects \
         conf/*/accept_source_route; do echo $f $(cat $f); done",
    )?;
    Ok(text)
}
