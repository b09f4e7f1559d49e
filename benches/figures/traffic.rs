//! Traffic of a node through a head to a venue, in bursts: TCP up and down, small packets. The caller
//! makes the namespaces, and the head's routes between them.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bramblegate_lab::{Error, Result};
use rustix::io::Errno;

use crate::lab::{Namespace, fail};

pub const BURST: Duration = Duration::from_millis(150);
/// A pause, so that packets in flight do not count in the next burst.
const PAUSE: Duration = Duration::from_millis(15);
/// The venue's address, as the node sees it.
pub const VENUE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 60, 0, 1));
const UP: u16 = 5001;
/// Accepts connections, sends an octet on each, and closes it.
pub const SHORT: u16 = 5002;
const DOWN: u16 = 5003;

#[derive(Debug)]
pub struct Traffic {
    name: &'static str,
    /// The venue's address.
    pub at: IpAddr,
    pub node: Namespace,
    pub venue: Namespace,
    up: TcpStream,
    /// TCP bytes received, at the venue and at the node.
    received: Arc<[AtomicU64; 2]>,
    /// Whether the venue sends.
    sends: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    /// Begins to listen in the venue, and connects.
    pub fn new(name: &'static str, node: Namespace, venue: Namespace, at: IpAddr) -> Result<Self> {
        // Small packets are counted on arrival, and go no further.
        venue.nft(
            "table inet sink {\n\tchain prerouting {\n\t\ttype filter hook prerouting priority -300;\n\
             \t\tudp dport 9 drop\n\t}\n}\n",
        )?;
        let received: Arc<[AtomicU64; 2]> = Arc::default();
        let (sends, stop): (Arc<AtomicBool>, Arc<AtomicBool>) = (Arc::default(), Arc::default());
        serve(&venue, received.clone(), sends.clone(), stop.clone())?;
        let connect = |port| node.on(move || TcpStream::connect(SocketAddr::from((at, port))));
        let up = connect(UP)?.map_err(fail(name))?;
        let mut down = connect(DOWN)?.map_err(fail(name))?;
        let counts = received.clone();
        node.thread(move || swallow(&mut down, &counts[1]))?;
        Ok(Self { name, at, node, venue, up, received, sends, stop })
    }

    /// Returns the bits that arrive at the venue in a second.
    pub fn up(&mut self) -> Result<f64> {
        let block = vec![0; 128 * 1024];
        let (before, begin) = (self.received[0].load(Ordering::Relaxed), Instant::now());
        while begin.elapsed() < BURST {
            self.up.write_all(&block).map_err(fail(self.name))?;
        }
        let bits = (self.received[0].load(Ordering::Relaxed) - before) as f64 * 8.0;
        let rate = bits / begin.elapsed().as_secs_f64();
        std::thread::sleep(PAUSE);
        Ok(rate)
    }

    /// Returns the bits that arrive at the node in a second.
    pub fn down(&self) -> Result<f64> {
        let (before, begin) = (self.received[1].load(Ordering::Relaxed), Instant::now());
        self.sends.store(true, Ordering::Relaxed);
        std::thread::sleep(BURST);
        let bits = (self.received[1].load(Ordering::Relaxed) - before) as f64 * 8.0;
        let rate = bits / begin.elapsed().as_secs_f64();
        self.sends.store(false, Ordering::Relaxed);
        std::thread::sleep(PAUSE);
        if bits > 0.0 { Ok(rate) } else { Err(Error(format!("{}: nothing arrived", self.name))) }
    }

    /// Returns all TCP bits received so far.
    pub fn bits(&self) -> f64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>() as f64 * 8.0
    }

    /// Returns the packets of 18 bytes of one flow that arrive in a second.
    pub fn packets(&self) -> Result<f64> {
        self.packets_of(1).map(|(rate, _)| rate)
    }

    /// Returns the packets of 18 bytes that arrive, in a second and in total, while as many threads
    /// send as fast as they can, each a flow of its own.
    pub fn packets_of(&self, senders: u16) -> Result<(f64, f64)> {
        let before = self.arrived()?;
        let begin = Instant::now();
        let threads: Result<Vec<_>> =
            (0..senders).map(|sender| self.send(40_000 + sender)).collect();
        for thread in threads? {
            let sent = thread.join().map_err(|_| Error("a sender panicked".into()))?;
            sent.map_err(fail(self.name))?;
        }
        let time = begin.elapsed().as_secs_f64();
        std::thread::sleep(PAUSE);
        let arrived = (self.arrived()? - before) as f64;
        Ok((arrived / time, arrived))
    }

    /// Sends packets for the duration of a burst.
    fn send(&self, port: u16) -> Result<JoinHandle<std::io::Result<()>>> {
        let at = self.at;
        let any: IpAddr = match at {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.node.thread(move || -> std::io::Result<()> {
            let socket = UdpSocket::bind((any, port))?;
            socket.connect((at, 9))?;
            let begin = Instant::now();
            while begin.elapsed() < BURST {
                (0..64).try_for_each(|_| match socket.send(&[0; 18]) {
                    // The queue is full: do not count the packet.
                    Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                        Ok(())
                    }
                    sent => sent.map(drop),
                })?;
            }
            Ok(())
        })
    }

    fn arrived(&self) -> Result<u64> {
        let text = self
            .venue
            .on(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?
            .map_err(fail("net/dev"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("v0:"));
        let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        count.ok_or_else(|| Error("no packet counter of v0".into()))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn swallow(stream: &mut TcpStream, count: &AtomicU64) -> std::io::Result<()> {
    let mut block = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(()),
            octets => count.fetch_add(octets as u64, Ordering::Relaxed),
        };
    }
}

/// Starts the servers of the venue: one port discards, one accepts connections, one sends on
/// demand. Their threads end with the benchmark.
fn serve(
    venue: &Namespace,
    received: Arc<[AtomicU64; 2]>,
    sends: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> Result<()> {
    let listen = |port: u16| {
        let listener = venue.on(move || TcpListener::bind(("::", port)))?;
        listener.map_err(fail("a listener"))
    };
    let (up, short, down) = (listen(UP)?, listen(SHORT)?, listen(DOWN)?);
    venue.thread(move || swallow(&mut up.accept()?.0, &received[0]))?;
    let stopped = stop.clone();
    venue.thread(move || {
        for stream in short.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(&[1]));
            if stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    })?;
    venue.thread(move || -> std::io::Result<()> {
        let (mut stream, _) = down.accept()?;
        let block = vec![0; 128 * 1024];
        while !stop.load(Ordering::Relaxed) {
            if sends.load(Ordering::Relaxed) {
                stream.write_all(&block)?;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    })?;
    Ok(())
}
