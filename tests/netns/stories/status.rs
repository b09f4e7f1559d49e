//! The status socket and the verb that reads it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bramblegate::api::client::{Received, StatusClient};
use bramblegate::api::status::{Line, NodeHealth, Snapshot};
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{ip, must, within};
use bramblegate_lab::watch::{Watch, snapshot};
use bramblegate_lab::{Error, Result};

use super::scene::{PLAIN, STOP, alert, ensure, is, online, reload, reported, try_from, until};

/// Neither silent nor busy clients can block the daemon or make it grow.
pub fn many_clients_are_served() -> Result<()> {
    online(PLAIN, |world| {
        let socket = world.socket();
        let silent: Vec<UnixStream> = (0..40).flat_map(|_| UnixStream::connect(&socket)).collect();
        let mut talkative: Vec<UnixStream> =
            (0..10).flat_map(|_| UnixStream::connect(&socket)).collect();
        for stream in &mut talkative {
            let _ = stream.set_nonblocking(true);
            let _ = stream.write(&[b'x'; 65536]);
        }
        let start = Instant::now();
        let mut watches: Vec<Watch> = Vec::new();
        for _ in 0..10 {
            watches.push(Watch::open(&socket)?);
        }
        for watch in &mut watches {
            let line =
                watch.next_line()?.ok_or_else(|| Error("a client got no snapshot".into()))?;
            ensure("it is a snapshot", matches!(line, Line::Snapshot(_)))?;
        }
        ensure(
            &format!("at once, not {:?}", start.elapsed()),
            start.elapsed() < Duration::from_secs(1),
        )?;
        ensure("the gateway works on", try_from(world, "rpi1", "ping 203.0.113.80").is_ok())?;
        drop((silent, talkative));
        world.pull_cable("eth1")?;
        until("the panel works on", || world.glass().concat().contains("NO CABLE")).map(drop)
    })
}

/// `status.socket` is applied at a reload; if the new one cannot be created, the old one stays, and
/// that is reported.
pub fn socket_moves_at_a_reload() -> Result<()> {
    online(PLAIN, |world| {
        let (old, new) = (world.socket(), Path::new(HOME).join("moved/status.sock"));
        let settings = |path: &Path| format!("[sockets]\nstatus = \"{}\"\n", path.display());
        let mut watch = Watch::open(&old)?;
        watch.next_line()?;
        reload(world, &settings(&new))?;
        until("the new one answers", || snapshot(&new).is_ok())?;
        until("the old one is gone", || !old.exists())?;
        world.pull_cable("eth1")?;
        ensure("who was connected still hears", watch.next_line()?.is_some())?;
        world.plug_cable("eth1")?;
        reload(world, &settings(Path::new("/proc/status.sock")))?;
        until("that it cannot be made is said", || {
            world.journal().contains("status socket: /proc/status.sock cannot be made: ")
        })?;
        let stands =
            |status: Snapshot| status.alerts.iter().any(|alert| alert.code == "host-status-socket");
        until("it stands as an alert", || snapshot(&new).is_ok_and(stands))?;
        reload(world, "")?;
        until("it is where it was", || is(world, "uplink.interface", "eth1"))?;
        ensure("the alert is over", alert(world, "host-status-socket").is_none())?;
        ensure("the other one is gone", !new.exists())?;
        // A user deletes the socket by mistake.
        let control = Path::new("/run/bramblegate/control.sock");
        for path in [&*old, control] {
            std::fs::remove_file(path)
                .map_err(|error| Error(format!("{}: {error}", path.display())))?;
        }
        reload(world, "")?;
        until("both are there again", || {
            snapshot(&old).is_ok() && UnixStream::connect(control).is_ok()
        })
        .map(drop)
    })
}

/// A client that does not read is closed once 256 KiB are pending; the daemon does not grow, and
/// others get every line.
pub fn client_that_never_reads_is_closed() -> Result<()> {
    online(PLAIN, |world| {
        // Many addresses make long lines.
        let many: Vec<String> =
            (0..400).map(|n| format!("addr add 2001:db8:7::a:{n:x}/64 dev eth1 nodad\n")).collect();
        ip("head", &many.concat())?;
        until("they are reported", || {
            reported(world, "uplink.addresses").matches("2001:db8").count() == 400
        })?;
        let gateway = world.gateway().map(|gateway| gateway.id()).unwrap_or_default();
        let memory = || -> Result<u64> {
            let text =
                std::fs::read_to_string(format!("/proc/{gateway}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| Error("the gateway's memory cannot be read".into()))
        };
        let mut silent =
            UnixStream::connect(world.socket()).map_err(|error| Error(error.to_string()))?;
        let mut reader = Watch::open(&world.socket())?;
        reader.patience(Duration::from_millis(120));
        reader.next_line()?;
        let before = memory()?;
        let (start, mut lines, mut last) = (Instant::now(), 0, None);
        while start.elapsed() < Duration::from_secs(8) {
            let action = if lines % 2 == 0 { "add" } else { "del" };
            must(
                "head",
                &format!("ip addr {action} 2001:db8:7::b/64 dev eth1 nodad 2>/dev/null; true"),
            )?;
            let Some(Line::Change(change)) = reader.next_line()? else { continue };
            ensure("numbers rise by one", last.is_none_or(|last| change.seq == last + 1))?;
            (last, lines) = (Some(change.seq), lines + 1);
        }
        println!("{lines} lines; memory {before} kB, then {} kB", memory()?);
        ensure(&format!("others hear all: {lines} lines"), lines >= 30)?;
        ensure("the daemon did not grow", memory()? < before + 4096)?;
        silent
            .set_read_timeout(Some(Duration::from_secs(1)))
            .map_err(|error| Error(error.to_string()))?;
        let mut held = Vec::new();
        let end = std::io::Read::read_to_end(&mut silent, &mut held);
        ensure(
            &format!("the silent one was closed after {} bytes: {end:?}", held.len()),
            end.is_ok(),
        )?;
        ensure("the gateway works on", try_from(world, "rpi1", "ping 203.0.113.80").is_ok())
    })
}

/// The shipped schema, with the same check as in the unit tests.
#[path = "../../../crates/core/src/view/status/tests/schema.rs"]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code)]
mod schema;

/// The line as received: the types would ignore what the schema does not name.
fn as_documented(client: &mut StatusClient) -> Result<Option<Line>> {
    let received = client.next_line().map_err(|error| Error(error.to_string()))?;
    let Some(Received { text, line }) = received else { return Ok(None) };
    let value = serde_json::from_str(&text).map_err(|error| Error(error.to_string()))?;
    schema::Schema::shipped().check(&value).map_err(|fault| Error(format!("{fault} in {text}")))?;
    Ok(Some(line))
}

/// First the snapshot, then each changed object as a whole, numbered, and never more than ten lines
/// a second.
pub fn changes_arrive_as_lines() -> Result<()> {
    online(PLAIN, |world| {
        let mut client =
            StatusClient::connect(&world.socket()).map_err(|error| Error(error.to_string()))?;
        client.set_timeout(Some(Duration::from_millis(50)));
        ensure(
            "first the snapshot",
            matches!(as_documented(&mut client)?, Some(Line::Snapshot(_))),
        )?;
        world.node_down("rpi2")?;
        let (start, mut sequence, mut lines, mut seen) = (Instant::now(), None, 0, false);
        while start.elapsed() < Duration::from_secs(4) {
            let Some(line) = as_documented(&mut client)? else { continue };
            lines += 1;
            let Line::Change(change) = line else {
                return Err(Error(format!("no change: {line:?}")));
            };
            ensure("numbers rise by one", sequence.is_none_or(|last| change.seq == last + 1))?;
            sequence = Some(change.seq);
            seen |= change
                .nodes
                .iter()
                .any(|node| node.name == "rpi2" && node.health == NodeHealth::Down);
            ensure(
                "other nodes are not sent again",
                change.nodes.iter().all(|node| node.name != "rpi3"),
            )?;
        }
        ensure("the node's end was sent", seen)?;
        ensure(&format!("at most ten lines a second: {lines} in 4 s"), lines <= 44)
    })
}

pub fn status_verb_reports_by_its_exit_code() -> Result<()> {
    online(PLAIN, |world| {
        until("severity is ok", || is(world, "severity", "ok"))?;
        let socket = world.socket();
        let ask = |more: &[&str]| {
            let mut command = within("head", &crate::program().to_string_lossy());
            let output =
                command.args(["status", "--socket", &socket.to_string_lossy()]).args(more).output();
            output.map_err(|error| Error(error.to_string()))
        };
        let reported = ask(&[])?;
        let text = String::from_utf8_lossy(&reported.stdout).into_owned();
        ensure(
            &format!("exit 0 and the address: {text}"),
            reported.status.success() && text.contains("10.99.0.126"),
        )?;
        let json = ask(&["--json"])?;
        let line =
            Line::parse(&json.stdout).map_err(|error| Error(format!("status --json: {error}")))?;
        ensure("it is the snapshot", matches!(line, Line::Snapshot(_)))?;
        world.internet("eth1", bramblegate_lab::file::Internet::Dead)?;
        world.pull_cable("eth1")?;
        world.node_down("rpi1")?;
        until("a warning or a fault", || is(world, "severity", "warning|fault"))?;
        let wanted = if is(world, "severity", "warning") { 1 } else { 2 };
        let code = ask(&[])?.status.code();
        ensure(&format!("exit {wanted}, not {code:?}"), code == Some(wanted))?;
        world.stop_gateway("KILL", STOP)?;
        let code = ask(&[])?.status.code();
        ensure(&format!("exit 3 when dead, not {code:?}"), code == Some(3))
    })
}
