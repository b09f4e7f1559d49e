//! The time from a change of one octet of an address until it can be read on the LCD, bus time
//! included.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bramblegate::event::{Change, Event};
use bramblegate::netlink::rtnetlink::{REPLACE, group, kind};
use bramblegate::netlink::{NetlinkError, Protocol, Request, Socket, messages};
use bramblegate::panel::Geometry;
use bramblegate::watch::link::parse;
use bramblegate_lab::shell::{Running, run, spawn, within};
use bramblegate_lab::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};

use crate::glass::{Seen, bus_ms, shows, when};
use crate::lab::{Head, fail, file, median, stamp};
use crate::table::Row;

const ROUNDS: usize = 3;
const CHANGES: usize = 7;
const GEOMETRY: Geometry = Geometry { columns: 16, rows: 2 };

/// A program that shows the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Ours,
    Floor,
    Monitor,
    Poll,
}

const ALL: [Contender; 4] =
    [Contender::Ours, Contender::Floor, Contender::Monitor, Contender::Poll];

pub fn measure() -> Result<Vec<Row>> {
    let head = Head::new("address")?;
    let floor = compile()?;
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut pulled: [Vec<(f64, f64)>; 4] = Default::default();
    let mut stale = Vec::new();
    let mut last = 126;
    for _ in 0..ROUNDS {
        for (contender, times, pulled) in
            ALL.iter().zip(&mut times).zip(&mut pulled).map(|((a, b), c)| (*a, b, c))
        {
            let log = file("bus.log");
            let _ = std::fs::remove_file(&log);
            let _running = start(&head, contender, &log, &floor)?;
            std::thread::sleep(Duration::from_millis(1200));
            // Polling is slow: make fewer changes, and not in step with it.
            let changes = if contender == Contender::Poll { 3 } else { CHANGES };
            for change in 0..changes {
                let before = last;
                last = 120 + (last + 7) % 80;
                times.push(replace(&head, before, last, &log)?);
                std::thread::sleep(Duration::from_millis(180 + 97 * change as u64));
            }
            if matches!(contender, Contender::Ours | Contender::Floor) {
                for _ in 0..2 {
                    last = 120 + (last + 7) % 80;
                    pulled.push(replug(&head, last, &log)?);
                    std::thread::sleep(Duration::from_millis(300));
                }
            }
            if contender == Contender::Ours {
                stale.push(taken_away(&head, last, &log)?);
                stale.push(unplugged(&head, last, &log)?);
            }
        }
    }
    head.namespace.ip("addr flush dev eth1")?;
    let [ours, floor, monitor, poll] = times.map(|times| median(&times));
    let bus = bus_ms(14);
    let name = "new address, one octet: to the glass";
    let time = |all: &[(f64, f64)]| median(&all.iter().map(|(time, _)| *time).collect::<Vec<_>>());
    let [replugged, floor_replugged, ..] = &pulled;
    let sent = median(&replugged.iter().map(|(_, bus)| *bus).collect::<Vec<_>>());
    let beyond = median(&replugged.iter().map(|(time, bus)| time - bus).collect::<Vec<_>>());
    let longest = stale.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Row::new(name, ours, "ms")
            .against("C, one transaction", floor)
            .limit("the bus", bus)
            .target("<= 2x C", ours <= 2.0 * floor),
        Row::new(name, ours, "ms")
            .against("ip monitor + Python", monitor)
            .target(">= 15x faster", monitor / ours >= 15.0),
        Row::new(name, ours, "ms").against("Python, polling 1 s", poll),
        Row::new("address after a carrier loss", time(replugged), "ms")
            .against("C, one transaction", time(floor_replugged))
            .limit("the bytes it sent, on the bus", sent),
        Row::new("the same, without the bus", beyond, "ms").target("<= 1.5 ms", beyond <= 1.5),
        Row::new("a number that is no longer ours, longest", longest, "ms")
            .target("<= 250 ms", longest <= 250.0),
    ])
}

/// Compiles the C program.
fn compile() -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/floor.c");
    let program = file("floor");
    run("cc", &["-O2", "-o", &program.to_string_lossy(), &source.to_string_lossy()])?;
    Ok(program)
}

fn start(head: &Head, contender: Contender, log: &Path, floor: &Path) -> Result<Running> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/lcd.py");
    let logged = file("contender.log");
    let mut command: Command;
    match contender {
        Contender::Ours => {
            let log = log.display();
            return head.start(&format!(
                "[lcd]\nbus = \"emulator:{log}\"\nheartbeat = false\npage_time = \"3600s\"\n[led]\ndevice = \"off\"\n"
            ));
        }
        Contender::Floor => {
            command = within(&head.namespace.0, &floor.to_string_lossy());
            command.arg(log);
        }
        Contender::Monitor | Contender::Poll => {
            command = within(&head.namespace.0, "python3");
            command.arg(script).arg(log).arg("eth1");
            command.args(if contender == Contender::Poll {
                &["poll", "1"][..]
            } else {
                &["monitor"]
            });
        }
    }
    spawn(&mut command, &logged)
}

/// Returns the address 10.99.0.LAST.
fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, last)
}

/// Returns the milliseconds from a change of the address in the kernel until it is on the display.
/// Like a DHCP client, it removes the old address, adds the new one, then the route.
pub fn replace(head: &Head, before: u8, after: u8, log: &Path) -> Result<f64> {
    let since = head.namespace.on(move || -> Result<u128> {
        let mut kernel = Socket::open(Protocol::Route, &[]).map_err(fail("rtnetlink"))?;
        let index = index_of("eth1")?;
        let refused = || fail("the kernel");
        send(&mut kernel, kind::DEL_ADDRESS, address_message(index, address(before)))
            .map_err(refused())?;
        let since = stamp();
        send(&mut kernel, kind::NEW_ADDRESS, address_message(index, address(after)))
            .map_err(refused())?;
        send(&mut kernel, kind::NEW_ROUTE, default_route(index)).map_err(refused())?;
        Ok(since)
    })??;
    Ok(milliseconds(see(log, since, shows(&address(after).to_string()))?, since))
}

/// Pulls the cable and plugs it into another venue: returns the milliseconds from the new address
/// to the display, and how many of them the bytes sent meanwhile take.
fn replug(head: &Head, after: u8, log: &Path) -> Result<(f64, f64)> {
    head.venue.ip("link set v0 down")?;
    head.namespace.ip("addr flush dev eth1")?;
    std::thread::sleep(Duration::from_millis(400));
    head.venue.ip("link set v0 up")?;
    std::thread::sleep(Duration::from_millis(200));
    let since = head.namespace.on(move || -> Result<u128> {
        let mut kernel = Socket::open(Protocol::Route, &[]).map_err(fail("rtnetlink"))?;
        let index = index_of("eth1")?;
        let refused = || fail("the kernel");
        let since = stamp();
        send(&mut kernel, kind::NEW_ADDRESS, address_message(index, address(after)))
            .map_err(refused())?;
        send(&mut kernel, kind::NEW_ROUTE, default_route(index)).map_err(refused())?;
        Ok(since)
    })??;
    let seen = see(log, since, shows(&address(after).to_string()))?;
    Ok((milliseconds(seen, since), seen.bus))
}

/// Removes the address without a new one: returns the milliseconds until the display does not show
/// it any more. Restores it in the end.
fn taken_away(head: &Head, last: u8, log: &Path) -> Result<f64> {
    let address = address(last);
    let since = stamp();
    head.namespace.ip(&format!("addr del {address}/24 dev eth1"))?;
    let gone = see(log, since, without(address))?;
    head.namespace
        .ip(&format!("addr add {address}/24 dev eth1\nroute add default via 10.99.0.1"))?;
    see(log, gone.at, shows(&address.to_string()))?;
    Ok(milliseconds(gone, since))
}

/// Pulls the cable: returns the milliseconds from the kernel's event (which it may delay for a
/// second: `net/core/link_watch.c`) until the display does not show the address any more. Plugs it
/// in again in the end.
fn unplugged(head: &Head, last: u8, log: &Path) -> Result<f64> {
    let mut kernel = head.namespace.on(|| Socket::open(Protocol::Route, &[group::LINK]))?;
    let kernel = kernel.as_mut().map_err(|error| Error(format!("rtnetlink: {error}")))?;
    head.venue.ip("link set v0 down")?;
    let since = loop {
        poll(&mut [PollFd::new(kernel, PollFlags::IN)], None).map_err(fail("poll"))?;
        let Some(bytes) = kernel.receive().map_err(fail("rtnetlink"))? else { continue };
        let mut events = Vec::new();
        messages(bytes).for_each(|message| {
            parse(&message, &mut events);
        });
        let lost = |event: &Event| matches!(event, Event::Link(Change::Present(link)) if link.name == "eth1" && !link.carrier);
        if events.iter().any(lost) {
            break stamp();
        }
    };
    let gone = see(log, since, without(address(last)))?;
    head.venue.ip("link set v0 up")?;
    see(log, gone.at, shows(&address(last).to_string()))?;
    Ok(milliseconds(gone, since))
}

fn without(address: Ipv4Addr) -> impl Fn(&[String]) -> bool {
    let text = address.to_string();
    move |rows| !rows.iter().any(|row| row.contains(&text))
}

fn milliseconds(seen: Seen, since: u128) -> f64 {
    (seen.at - since) as f64 / 1e6
}

fn see(log: &Path, since: u128, wanted: impl Fn(&[String]) -> bool) -> Result<Seen> {
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(50));
        if let Some(seen) = when(log, GEOMETRY, since, &wanted) {
            return Ok(seen);
        }
    }
    let logged = std::fs::read_to_string(file("address.journal")).unwrap_or_default();
    Err(Error(format!("the glass was not as wanted in 3 s; the gateway's journal:\n{logged}")))
}

/// By the list of interfaces that are up, since `/sys` shows those of another namespace here.
fn index_of(port: &str) -> Result<u32> {
    let path = "/proc/thread-self/net/igmp";
    let text = std::fs::read_to_string(path).map_err(fail(path))?;
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(port));
    let index = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    index.ok_or_else(|| Error(format!("there is no port {port}")))
}

/// Sends a request that creates, or deletes.
fn send(kernel: &mut Socket, kind: u16, body: Vec<u8>) -> std::result::Result<(), NetlinkError> {
    let flags = if kind == kind::DEL_ADDRESS { 0 } else { REPLACE };
    kernel.request(&Request::raw(kind, body).flags(flags), |_| {})
}

/// `struct ifaddrmsg`, `IFA_LOCAL`, `IFA_ADDRESS`.
fn address_message(index: u32, address: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![2, 24, 0, 0];
    body.extend(index.to_ne_bytes());
    for kind in [2_u16, 1] {
        attribute(&mut body, kind, address.octets());
    }
    body
}

/// `struct rtmsg` of the main table, `RTA_GATEWAY`, `RTA_OIF`.
fn default_route(index: u32) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0, 254, 16, 0, 1, 0, 0, 0, 0];
    attribute(&mut body, 5, [10, 99, 0, 1]);
    attribute(&mut body, 4, index.to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: [u8; 4]) {
    body.extend(8_u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}
