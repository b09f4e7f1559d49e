//! A new node's first lease and its name, compared with dnsmasq's default, which first checks
//! whether the address is in use.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use bramblegate_lab::shell::{Running, spawn, within};
use bramblegate_lab::{Error, Result};

use crate::dhcp::{ACK, Answer, DISCOVER, HOST_NAME, REQUEST, REQUESTED_ADDRESS, SERVER, message};
use crate::lab::{Head, Namespace, cable, fail, file, median, ms, write};
use crate::table::Row;

const ROUNDS: u8 = 9;
/// Milliseconds.
const LIMIT: f64 = 300.0;
const PATIENCE: Duration = Duration::from_secs(10);
const SERVE: &str =
    "[cluster.dhcp]\nenabled = true\n[lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n";

/// The times that a node waits, in milliseconds.
struct Waited {
    /// From its first message to the acknowledgement of its address.
    lease: f64,
    /// From that to the first correct answer about its name.
    name: f64,
}

pub fn measure() -> Result<Vec<Row>> {
    let head = Head::new("lease")?;
    let _gateway = head.start(SERVE)?;
    let (plain, _plain_head, _dnsmasq) = debian()?;
    // The gateway first checks for other servers.
    for nodes in [&head.nodes, &plain] {
        let begin = Instant::now();
        while arrive(nodes, 0).is_err() {
            if begin.elapsed() > 2 * PATIENCE {
                return Err(Error(format!("no lease in {}", nodes.0)));
            }
        }
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        ours.push(arrive(&head.nodes, round)?);
        theirs.push(arrive(&plain, round)?);
    }
    let middle = |waits: &[Waited], which: fn(&Waited) -> f64| {
        median(&waits.iter().map(which).collect::<Vec<_>>())
    };
    let (lease, name) = (middle(&ours, |wait| wait.lease), middle(&ours, |wait| wait.name));
    Ok(vec![
        Row::new("new node to its lease", lease, "ms")
            .against("dnsmasq as it comes", middle(&theirs, |wait| wait.lease))
            .target("<= 300 ms", lease <= LIMIT),
        Row::new("lease to its name", name, "ms")
            .against("dnsmasq as it comes", middle(&theirs, |wait| wait.name)),
    ])
}

/// A server with the settings that common guides show, and the namespace of its nodes.
fn debian() -> Result<(Namespace, Namespace, Running)> {
    let (head, nodes) = (Namespace::new("debian")?, Namespace::new("debian-nodes")?);
    cable(&head, "eth0", &nodes, "n0")?;
    head.ip("addr add 192.168.50.1/24 dev eth0")?;
    nodes.ip("addr add 192.168.50.11/24 dev n0")?;
    let leases = file("debian.leases");
    let text = format!(
        "interface=eth0\nexcept-interface=lo\nbind-interfaces\nno-resolv\nno-hosts\ndomain=bramble\nlocal=/bramble/\n\
         expand-hosts\ndhcp-range=192.168.50.100,192.168.50.199,1h\ndhcp-leasefile={}\n",
        leases.display()
    );
    let config = write("debian.conf", &text)?;
    let mut command = within(&head.0, "dnsmasq");
    // Like in an unprivileged user namespace: no change of user.
    command.args(["--no-daemon", "--pid-file=", &format!("--conf-file={}", config.display())]);
    let running = spawn(&mut command, &file("debian.log"))?;
    Ok((nodes, head, running))
}

/// A new node requests an address, and its name is looked up.
fn arrive(nodes: &Namespace, number: u8) -> Result<Waited> {
    nodes.on(move || first_lease(number))?.map_err(fail("a new node"))
}

fn first_lease(number: u8) -> std::io::Result<Waited> {
    let (mac, nowhere) = ([2, 0, 0, 0, 1, number], Ipv4Addr::UNSPECIFIED);
    let name = format!("new{number}");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.bind_device(Some(b"n0"))?;
    socket.bind(&std::net::SocketAddr::from((nowhere, 68)).into())?;
    let socket = UdpSocket::from(socket);
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let ask = |kind: u8, options: &[(u8, &[u8])]| -> std::io::Result<Answer> {
        socket.send_to(&message(kind, mac, nowhere, options), "255.255.255.255:67")?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer)?;
        Answer::read(&buffer[..length]).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
    };
    let begin = Instant::now();
    let offer = ask(DISCOVER, &[(HOST_NAME, name.as_bytes())])?;
    let address = offer.address.unwrap_or(nowhere);
    let server = offer.option(SERVER).unwrap_or_default();
    let wanted = [
        (REQUESTED_ADDRESS, &address.octets()[..]),
        (SERVER, server),
        (HOST_NAME, name.as_bytes()),
    ];
    let answer = ask(REQUEST, &wanted)?;
    let lease = begin.elapsed();
    if answer.kind != ACK {
        return Err(std::io::Error::other(format!("{answer:?}")));
    }
    let begin = Instant::now();
    while look_up(&name)? != Some(address) {
        if begin.elapsed() > PATIENCE {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
    }
    Ok(Waited { lease: ms(lease), name: ms(begin.elapsed()) })
}

/// Returns the address of a name of the cluster from the head's answer (RFC 1035, 4.1), which ends
/// with it.
fn look_up(name: &str) -> std::io::Result<Option<Ipv4Addr>> {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [name, "bramble"] {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send_to(&question, "192.168.50.1:53")?;
    let mut buffer = [0; 512];
    let Ok(length) = socket.recv(&mut buffer) else { return Ok(None) };
    let good = buffer[3] & 0x0f == 0 && buffer[7] == 1;
    let last = buffer[..length].last_chunk::<4>().filter(|_| good);
    Ok(last.map(|bytes| Ipv4Addr::from(*bytes)))
}
