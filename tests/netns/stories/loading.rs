//! A node that is loading a file while something else changes.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::{Error, Result, Venue};

use super::client::{Client, inside};
use super::scene::{PLAIN, before_start, ensure, is, reload, until};
use super::service::{another_board, dnsmasq_of_ours};

/// Blocks of 512 bytes (RFC 1350).
const BLOCKS: usize = 600;
const BLOCK: usize = 512;
/// `OPCODE`s of a request to read, of data and of an acknowledgement.
const READ: u8 = 1;
const DATA: u8 = 3;
const ACKNOWLEDGED: u8 = 4;

/// A slow loader, like a boot ROM; returns the number of bytes received. It gives up after three
/// seconds of silence.
fn load(pause: Duration) -> io::Result<usize> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let question = [&[0, READ][..], b"kernel.img\0octet\0"].concat();
    socket.send_to(&question, "192.168.50.1:69")?;
    let (mut buffer, mut loaded, mut next) = ([0; 4 + BLOCK], 0, 1_u16);
    loop {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(loaded),
            received => received?,
        };
        let [0, DATA, high, low] = [buffer[0], buffer[1], buffer[2], buffer[3]] else {
            return Ok(loaded);
        };
        let number = u16::from_be_bytes([high, low]);
        std::thread::sleep(pause);
        socket.send_to(&[0, ACKNOWLEDGED, high, low], from)?;
        if number == next {
            loaded += length - 4;
            next += 1;
            if length < 4 + BLOCK {
                return Ok(loaded);
            }
        }
    }
}

fn loads(pause: Duration) -> JoinHandle<Result<usize>> {
    std::thread::spawn(move || inside("rpi1", move || load(pause)))
}

fn whole(loading: JoinHandle<Result<usize>>) -> Result<()> {
    let loaded = loading.join().map_err(|_| Error("the loader died".into()))??;
    ensure(
        &format!("it is loaded whole: {} of {BLOCKS} blocks", loaded / BLOCK),
        loaded == BLOCKS * BLOCK + 100,
    )
}

pub fn change_waits_for_a_node_that_is_loading() -> Result<()> {
    let settings =
        |more: &str| format!("[cluster.dhcp]\n{more}[cluster.netboot]\nroot = \"{HOME}/tftp\"\n");
    before_start(PLAIN, |world| {
        let file = PathBuf::from(format!("{HOME}/tftp/kernel.img"));
        fs::create_dir_all(format!("{HOME}/tftp")).map_err(|error| Error(error.to_string()))?;
        fs::write(&file, vec![7; BLOCKS * BLOCK + 100])
            .map_err(|error| Error(error.to_string()))?;
        world.set_settings(&settings(""));
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving") && dnsmasq_of_ours().is_some())?;
        let server = dnsmasq_of_ours();

        // The next venue uses the cluster's subnet: leases become short.
        let loading = loads(Duration::from_millis(6));
        std::thread::sleep(Duration::from_millis(300));
        let overlap = PLAIN
            .replace("10.99.0.", "192.168.50.")
            .replace("192.168.50.1/24", "192.168.50.254/24");
        world.move_to(&Venue::parse("overlap", &overlap)?)?;
        until("the overlap is seen", || is(world, "gateway.overlap", "routed"))?;
        ensure("while it loads", !loading.is_finished())?;
        another_board("rpi2")?;
        let client = Client::udhcpc("rpi2", "worker")?;
        client.wait()?;
        ensure(
            "leases are short",
            client.lease().is_some_and(|lease| lease.contains("lease=120")),
        )?;
        whole(loading)?;
        ensure("by the same server", dnsmasq_of_ours() == server && server.is_some())?;

        // A change that needs another server process.
        let main = || fs::read_to_string(format!("{HOME}/run/dnsmasq/main")).unwrap_or_default();
        let loading = loads(Duration::from_millis(3));
        std::thread::sleep(Duration::from_millis(300));
        reload(world, &settings("lease_time = \"2h\"\n"))?;
        whole(loading)?;
        let loaded = Instant::now();
        until("then another serves", || {
            main().contains(",7200") && dnsmasq_of_ours().is_some_and(|now| Some(now) != server)
        })?;
        ensure(
            "after the pause in which a node asks for its next file",
            loaded.elapsed() < Duration::from_secs(5),
        )?;
        let begin = Instant::now();
        reload(world, &settings("lease_time = \"3h\"\n"))?;
        until("and at once if no node loads", || main().contains(",10800"))?;
        ensure(&format!("at once: {:?}", begin.elapsed()), begin.elapsed() < Duration::from_secs(1))
    })
}
