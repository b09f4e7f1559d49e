//! Current facts take precedence over old ones: a spare board over a dead one's lease, a current
//! answer over a portal's.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bramblegate::dns;
use bramblegate_lab::file::Internet;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::client::{ask, inside};
use super::inventory::succeed;
use super::scene::{PLAIN, STOP, alert, ensure, is, reload, until};
use super::service::{look_up, serving};
use crate::dhcp::{
    ACK, DISCOVER, HOST_NAME, NAK, RELEASE, REQUEST, REQUESTED_ADDRESS, SERVER, message,
};

const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// A board that dies or has to move, and its replacement.
const OLD: u8 = 0xd1;
const NEW: u8 = 0x51;

fn board(number: u8) -> [u8; 6] {
    [0xb8, 0x27, 0xeb, 0, 7, number]
}

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 50, last)
}

/// A board requests an address, `wish` if it has one, and accepts the offer.
fn come(number: u8, wish: Option<Ipv4Addr>, name: &str) -> Result<Option<Ipv4Addr>> {
    let name = (HOST_NAME, name.as_bytes());
    let wish = wish.map(|wish| wish.octets());
    let wished = wish.as_ref().map(|wish| (REQUESTED_ADDRESS, wish.as_slice()));
    let question: Vec<_> =
        [name].into_iter().filter(|(_, name)| !name.is_empty()).chain(wished).collect();
    let Some(offer) = ask("rpi2", message(DISCOVER, board(number), NOWHERE, &question))? else {
        return Ok(None);
    };
    let address = offer.address.unwrap_or(NOWHERE).octets();
    let mut chosen = vec![
        (REQUESTED_ADDRESS, address.as_slice()),
        (SERVER, offer.option(SERVER).unwrap_or_default()),
    ];
    chosen.extend([name].into_iter().filter(|(_, name)| !name.is_empty()));
    let answer = ask("rpi2", message(REQUEST, board(number), NOWHERE, &chosen))?;
    Ok(answer.filter(|answer| answer.kind == ACK).and_then(|answer| answer.address))
}

fn takes(number: u8, wanted: Ipv4Addr) -> Result<()> {
    let given = come(number, None, "")?;
    ensure(&format!("{number:02x} has {wanted}, not {given:?}"), given == Some(wanted))
}

/// Returns the answer to a board that renews its lease.
fn renews(number: u8, address: Ipv4Addr) -> Result<Option<u8>> {
    Ok(ask("rpi2", message(REQUEST, board(number), address, &[]))?.map(|answer| answer.kind))
}

fn gives_back(number: u8, address: Ipv4Addr) -> Result<()> {
    let server = at(1).octets();
    let release = message(RELEASE, board(number), address, &[(SERVER, &server)]);
    inside("rpi2", move || {
        UdpSocket::bind("0.0.0.0:68")?.send_to(&release, "192.168.50.1:67").map(drop)
    })?;
    let text = format!("{} ", address);
    until(&format!("{address} is given back"), || !leases().contains(&text)).map(drop)
}

fn leases() -> String {
    fs::read_to_string(format!("{HOME}/run/dnsmasq/leases")).unwrap_or_default()
}

fn node(name: &str, number: u8, last: u8) -> String {
    let [a, b, c, d, e, f] = board(number);
    format!(
        "[[node]]\nname = \"{name}\"\nmac = \"{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}\"\n\
         address = \"{}\"\n",
        at(last)
    )
}

/// Applies new settings and waits until dnsmasq has them: its file of hosts has all their nodes.
fn settle(world: &mut World, settings: &str) -> Result<()> {
    reload(world, &format!("{SERVE}{settings}"))?;
    until("dnsmasq has the new settings", || {
        let hosts = fs::read_to_string(format!("{HOME}/run/dnsmasq/hosts")).unwrap_or_default();
        let wanted: Vec<&str> =
            settings.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
        wanted.iter().all(|name| hosts.contains(&format!(",{}\n", name.trim_matches('"'))))
    })?;
    // The signal, and the message in the dead board's name, take effect within milliseconds.
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

const SERVE: &str = "[cluster.dhcp]\nrange = \"192.168.50.150-192.168.50.179\"\n";

/// Old facts, and where they are stored; the new fact applies at once in each case.
pub fn settings_go_before_everything_that_was_leased() -> Result<()> {
    serving(PLAIN, &format!("{SERVE}{}", node("spare", OLD, 21)), |world| {
        takes(OLD, at(21))?;
        until("it is heard of", || leases().contains("192.168.50.21"))?;
        // The kernel remembers the dead board too.
        let [a, b, c, d, e, f] = board(OLD);
        let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        must(
            "head",
            &format!("ip neigh replace 192.168.50.21 lladdr {mac} nud reachable dev eth0"),
        )?;
        let neighbours = || must("head", "ip -4 neigh show dev eth0").unwrap_or_default();
        ensure("it is a neighbour", neighbours().contains(&mac))?;

        println!("another board in its place");
        settle(world, &node("spare", NEW, 21))?;
        takes(NEW, at(21))?;
        ensure(
            &format!("the dead one is no neighbour: {}", neighbours()),
            !neighbours().contains(&mac),
        )?;
        ensure(
            "no node is blamed",
            alert(world, "node-*").is_none_or(|text| !text.contains(&mac)),
        )?;
        ensure("the dead one, should it live, is refused", renews(OLD, at(21))? == Some(NAK))?;

        println!("another node has its address, and it has none");
        settle(world, &node("other", OLD, 21))?;
        takes(OLD, at(21))?;
        ensure("who had it is refused", renews(NEW, at(21))? == Some(NAK))?;

        println!("another name, the same board and address");
        settle(world, &node("renamed", OLD, 21))?;
        // An ACK goes to the address itself.
        ensure("it keeps its address", renews(OLD, at(21))? != Some(NAK))?;
        until("the name leads to it", || {
            look_up("rpi2", "renamed.bramble").contains("192.168.50.21")
        })?;
        ensure(
            "the earlier one to none",
            !look_up("rpi2", "other.bramble").contains("192.168.50.21"),
        )?;

        println!("another address, the same board");
        settle(world, &node("renamed", OLD, 22))?;
        ensure("it has to move", renews(OLD, at(21))? == Some(NAK))?;
        takes(OLD, at(22))?;

        println!("two boards change places");
        settle(world, &(node("left", OLD, 22) + &node("right", NEW, 23)))?;
        takes(NEW, at(23))?;
        settle(world, &(node("first", OLD, 23) + &node("second", NEW, 22)))?;
        takes(NEW, at(22))?;
        takes(OLD, at(23))?;

        println!("a found board has what the settings give, and the name");
        let found = come(0xf0, None, "late")?.ok_or_else(|| Error("no address".into()))?;
        until("its name is known", || {
            look_up("rpi2", "late.bramble").contains(&found.to_string())
        })?;
        settle(world, &node("late", NEW, found.octets()[3]))?;
        ensure("the found one is refused", renews(0xf0, found)? == Some(NAK))?;
        takes(NEW, found)?;
        let elsewhere = come(0xf0, Some(found), "late")?;
        ensure(
            &format!("and gets another: {elsewhere:?}"),
            elsewhere.is_some_and(|address| address != found),
        )?;
        until("the name is the node's", || {
            look_up("rpi2", "late.bramble").contains(&found.to_string())
        })?;

        println!("its card was put into another board, which the settings know by its name alone");
        let by_name = "[[node]]\nname = \"card\"\naddress = \"192.168.50.24\"\n";
        reload(world, &format!("{SERVE}{by_name}"))?;
        until("it is expected", || {
            fs::read_to_string(format!("{HOME}/run/dnsmasq/hosts"))
                .is_ok_and(|hosts| hosts.contains("card,192.168.50.24"))
        })?;
        std::thread::sleep(Duration::from_millis(50));
        ensure("it is here", come(0xc1, None, "card")? == Some(at(24)))?;
        let first = come(0xc2, None, "card")?.ok_or_else(|| Error("no address".into()))?;
        until("the dead board's lease is taken back", || !leases().contains("192.168.50.24 "))?;
        let renewal = message(REQUEST, board(0xc2), first, &[(HOST_NAME, b"card")]);
        let answer = ask("rpi2", renewal)?.map(|answer| answer.kind);
        ensure(&format!("the living one is sent there: {answer:?}"), answer == Some(NAK))?;
        ensure("and takes it", come(0xc2, None, "card")? == Some(at(24)))?;

        println!("while the daemon was stopped");
        world.stop_gateway("TERM", STOP)?;
        world.set_settings(&format!("{SERVE}{}", node("late", OLD, found.octets()[3])));
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        takes(OLD, found)
    })
}

/// A board that was off keeps its address beyond its lease, unless a present board finds no other.
pub fn found_boards_keep_their_addresses_beyond_their_leases() -> Result<()> {
    let four = "[cluster.dhcp]\nrange = \"192.168.50.150-192.168.50.153\"\n";
    serving(PLAIN, four, |world| {
        let first = come(1, None, "")?.ok_or_else(|| Error("no address".into()))?;
        let second = come(2, None, "")?.ok_or_else(|| Error("no address".into()))?;
        until("they are heard of", || leases().lines().count() == 2)?;
        std::thread::sleep(Duration::from_millis(100));
        gives_back(1, first)?;
        gives_back(2, second)?;
        let reserved = |address: Ipv4Addr| {
            let hosts = fs::read_to_string(format!("{HOME}/run/dnsmasq/hosts")).unwrap_or_default();
            hosts.contains(&format!(",{address}\n"))
        };
        until("their addresses are kept", || reserved(first) && reserved(second))?;
        // Like after a week: the head was off, and its former lease file is gone.
        world.stop_gateway("TERM", STOP)?;
        must("head", &format!("rm -rf {HOME}/run/dnsmasq {HOME}/state/dnsmasq.leases"))?;
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        let third = come(3, Some(first), "")?;
        ensure(
            &format!("a new board does not get it: {third:?}"),
            third.is_some() && third != Some(first),
        )?;
        let fourth = come(4, Some(second), "")?;
        ensure(&format!("nor another: {fourth:?}"), fourth.is_some() && fourth != Some(second))?;
        takes(2, second)?;
        until("one more is here", || leases().lines().count() == 3)?;
        // The lease file is read twice a second at most: a board that leaves at once is not
        // noticed.
        std::thread::sleep(Duration::from_millis(600));
        // A board that does not return is forgotten, by its hardware address if it is not a node
        // any more.
        gives_back(4, fourth.unwrap_or(NOWHERE))?;
        until("its address is kept", || reserved(fourth.unwrap_or(NOWHERE)))?;
        succeed(world, &["nodes", "forget", "b8:27:eb:00:07:04"])?;
        until("and is free", || !reserved(fourth.unwrap_or(NOWHERE)))?;
        let seventh = come(7, fourth, "")?;
        ensure(&format!("for any board that asks: {seventh:?}"), seventh == fourth)?;
        // All others are assigned: the present board needs it.
        let mut given = None;
        until("a fifth board gets the last one", || {
            given = come(5, None, "").ok().flatten();
            given.is_some()
        })?;
        ensure(&format!("that of the one that is away: {given:?}"), given == Some(first))
    })
}

/// A board without settings belongs to the current range: outside it, its renewal is refused, and
/// it keeps its host part if that is in the range.
pub fn found_boards_come_into_another_range() -> Result<()> {
    let range = |length: u8, first: u8, last: u8| {
        format!(
            "[cluster]\naddress = \"192.168.50.1/{length}\"\n\
             [cluster.dhcp]\nrange = \"192.168.50.{first}-192.168.50.{last}\"\n"
        )
    };
    serving(PLAIN, &range(24, 150, 179), |world| {
        let mut places = Vec::new();
        for number in [1, 2, 3, 4] {
            places.push(come(number, Some(at(150 + 7 * number)), "")?.unwrap_or(NOWHERE));
        }
        ensure(&format!("{places:?}"), places == [at(157), at(164), at(171), at(178)])?;
        until("they are heard of", || leases().lines().count() == 4)?;
        std::thread::sleep(Duration::from_millis(600));
        println!("another range");
        reload(world, &range(24, 168, 199))?;
        let main = || fs::read_to_string(format!("{HOME}/run/dnsmasq/main")).unwrap_or_default();
        until("dnsmasq is configured so", || main().contains("dhcp-range=192.168.50.168,"))?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("who is outside has to move", || {
            renews(1, at(157)).is_ok_and(|kind| kind == Some(NAK))
        })?;
        ensure("who is inside stays", renews(4, at(178))? != Some(NAK))?;
        let inside = |place: Option<Ipv4Addr>, last: RangeInclusive<u8>| {
            place.is_some_and(|place| last.contains(&place.octets()[3]))
        };
        for wish in [Some(at(157)), None] {
            let place = come(1, wish, "")?;
            ensure(&format!("into the range: {place:?}"), inside(place, 168..=199))?;
        }
        println!("another network and another range");
        reload(world, &range(26, 40, 60))?;
        until("dnsmasq is configured so", || main().contains("dhcp-range=192.168.50.40,"))?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        // 171 is 43 there, and 164 is 36.
        until("a place in the range is kept", || {
            come(3, None, "").is_ok_and(|place| place == Some(at(43)))
        })?;
        let place = come(2, None, "")?;
        ensure(&format!("all others come into the range: {place:?}"), inside(place, 40..=60))
    })
}

/// Returns the addresses that the head answers for a name, and the first answer's TTL (seconds).
fn resolve(name: &'static str) -> Result<(Vec<std::net::IpAddr>, u32)> {
    inside("rpi2", move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(400)))?;
        let question = dns::query(7, name, false).unwrap_or_default();
        socket.send_to(&question, "192.168.50.1:53")?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer)?;
        let answer = buffer.get(..length).unwrap_or_default();
        // The first answer's TTL follows the question and its own name (a pointer), type and class
        // (RFC 1035 4.1).
        let place = 12 + name.len() + 2 + 4 + 6;
        let bytes = answer.get(place..place + 4).and_then(|bytes| bytes.try_into().ok());
        Ok((
            dns::addresses(answer, &question).unwrap_or_default(),
            bytes.map_or(0, u32::from_be_bytes),
        ))
    })
}

/// The venue's resolver: all names are `address`, for an hour.
fn resolver(address: &str) -> Result<Running> {
    let log = PathBuf::from(format!("{HOME}/portal-names.log"));
    let _ = fs::remove_file(&log);
    let wanted = format!("--address=/#/{address}");
    let arguments = [
        "-d",
        "-C",
        "/dev/null",
        "--port=53",
        "--no-resolv",
        "--no-hosts",
        "--local-ttl=3600",
        &wanted,
    ];
    let running = spawn(within("laptop", "dnsmasq").args(arguments), &log)?;
    until("the venue's resolver", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("started"))
    })
    .map(|_| running)
}

pub fn answers_of_a_portal_end_with_it() -> Result<()> {
    let venue = PLAIN.replace(
        "[network.dhcp]\n",
        "internet = \"portal\"\n[network.dhcp]\nresolver = \"10.99.0.20\"\n",
    );
    let mut names = None;
    super::scene::before_start(&venue, |world| {
        names = Some(resolver("10.99.0.1")?);
        world.set_settings("[cluster.dhcp]\n");
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        until("the portal is seen", || is(world, "uplink.state", "portal"))?;
        for name in ["www.example", "www.example"] {
            let (addresses, seconds) = resolve(name)?;
            ensure(
                &format!("the portal's answer: {addresses:?}"),
                addresses == [Ipv4Addr::new(10, 99, 0, 1)],
            )?;
            ensure(&format!("and nodes remember it for {seconds} s"), (1..=30).contains(&seconds))?;
        }
        drop(names.take());
        names = Some(resolver("203.0.113.80")?);
        world.internet("eth1", Internet::Open)?;
        ensure(
            "until it is seen the answer is remembered",
            resolve("www.example")?.0 == [Ipv4Addr::new(10, 99, 0, 1)],
        )?;
        let start = Instant::now();
        while !is(world, "uplink.state", "online") && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("seen after {:?}", start.elapsed());
        let right = until("the right answer", || {
            resolve("www.example")
                .is_ok_and(|(addresses, _)| addresses == [Ipv4Addr::new(203, 0, 113, 80)])
        })?;
        ensure(&format!("after {right:?}"), right < Duration::from_secs(2))
    })
}
