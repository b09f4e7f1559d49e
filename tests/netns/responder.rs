//! Thousands of nodes in one process: answers pings to any address that is routed to its cable,
//! like the node would. The number of a node determines whether it is dead, slow, flapping or
//! wandering, so that a test can compute it.

// Packets are indexed after a check of their length.
#![allow(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bramblegate_lab::{Error, Result};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, recvfrom, sendto};
use socket2::{Domain, Protocol, Socket, Type};

/// `ETH_P_IP`, in network byte order for packet(7).
const ETH_P_IP: i32 = 0x0800_u16.to_be() as i32;
/// Longer than `health.degraded_rtt`, shorter than `health.timeout`.
const SLOW: Duration = Duration::from_millis(70);
/// The nice value of the process that answers for the nodes.
const PRIORITY: i32 = -19;
/// The minimum time that a wandering node stays in its state.
pub const STAY: u64 = 30_000;

/// The behaviour of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Healthy,
    Dead,
    Slow,
    Flapping,
    /// Comes and goes.
    Wandering,
}

/// A cluster whose nodes have the addresses 10.21.GROUP.SLOT.
#[derive(Debug, Clone, Copy)]
pub struct Cluster {
    pub groups: u32,
    pub slots: u32,
    /// Of a flapping node: milliseconds of silence, and of answers, in turn.
    pub flap: (u64, u64),
    /// Two of a hundred nodes come and go, and a fiftieth of all pings is lost.
    pub wandering: bool,
}

impl Cluster {
    /// Of a hundred nodes one is dead, one slow, five flap.
    pub fn nature(self, group: u32, slot: u32) -> Nature {
        match ((group - 1) * self.slots + slot) % 100 {
            1 => Nature::Dead,
            2 => Nature::Slow,
            3..=7 => Nature::Flapping,
            8..=9 if self.wandering => Nature::Wandering,
            _ => Nature::Healthy,
        }
    }

    /// Returns whether the node answers at `now` (milliseconds of CLOCK_REALTIME).
    pub fn answers(self, group: u32, slot: u32, now: u64) -> bool {
        let (silent, answers) = self.flap;
        let number = u64::from(group * 1000 + slot);
        match self.nature(group, slot) {
            Nature::Dead => false,
            Nature::Flapping => (now + number * 137) % (silent + answers) >= silent,
            Nature::Wandering => scramble((number << 32) | (now / STAY)) % 2 == 0,
            Nature::Healthy | Nature::Slow => true,
        }
    }

    /// Returns the arguments of the process that emulates it.
    pub fn arguments(self, port: &str) -> Vec<String> {
        let numbers = [
            u64::from(self.groups),
            u64::from(self.slots),
            self.flap.0,
            self.flap.1,
            self.wandering.into(),
        ];
        let numbers = numbers.iter().map(ToString::to_string);
        ["--respond".to_owned(), port.to_owned()].into_iter().chain(numbers).collect()
    }
}

/// Returns milliseconds of CLOCK_REALTIME.
pub fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// splitmix64.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Emulates the cluster of [`Cluster::arguments`] until it is killed; returns for other arguments.
pub fn helper(arguments: &[String]) -> Option<ExitCode> {
    let [flag, port, numbers @ ..] = arguments else { return None };
    let numbers: Vec<u64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let ("--respond", [groups, slots, silent, answers, wandering]) =
        (flag.as_str(), numbers.as_slice())
    else {
        return None;
    };
    let cluster = Cluster {
        groups: *groups as u32,
        slots: *slots as u32,
        flap: (*silent, *answers),
        wandering: *wandering == 1,
    };
    let error = play(cluster, port).err()?;
    eprintln!("{error}");
    Some(ExitCode::FAILURE)
}

fn play(cluster: Cluster, port: &str) -> Result<()> {
    let trouble = |error: std::io::Error| Error(format!("responder on {port}: {error}"));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(ETH_P_IP)))
        .map_err(trouble)?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 32 << 20)
        .map_err(|error| trouble(error.into()))?;
    socket.set_read_timeout(Some(Duration::from_millis(2))).map_err(trouble)?;
    // The nodes are machines of their own, which nothing on this one delays. Without the right the
    // process stays as it is.
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    println!("ready");
    let mut late: VecDeque<(Instant, Vec<u8>, SocketAddrAny)> = VecDeque::new();
    let mut count = 0_u64;
    loop {
        let mut buffer = [0; 256];
        if let Ok((length, _, Some(from))) = recvfrom(&socket, &mut buffer, RecvFlags::empty()) {
            count += 1;
            let lost = cluster.wandering && scramble(count) % 50 == 0;
            if let Some((reply, group, slot)) = reply(buffer[..length].to_vec()).filter(|_| !lost) {
                let known =
                    (1..=cluster.groups).contains(&group) && (1..=cluster.slots).contains(&slot);
                if known && cluster.answers(group, slot, clock()) {
                    match cluster.nature(group, slot) {
                        Nature::Slow => late.push_back((Instant::now() + SLOW, reply, from)),
                        _ => drop(sendto(&socket, &reply, SendFlags::empty(), &from)),
                    }
                }
            }
        }
        while late.front().is_some_and(|(at, _, _)| *at <= Instant::now()) {
            let Some((_, reply, from)) = late.pop_front() else { break };
            let _ = sendto(&socket, &reply, SendFlags::empty(), &from);
        }
    }
}

/// Returns the answer to a ping, and the node that it went to.
fn reply(mut packet: Vec<u8>) -> Option<(Vec<u8>, u32, u32)> {
    // IPv4 without options, ICMP, an echo request to 10.21.GROUP.SLOT.
    if packet.len() < 28
        || packet[0] != 0x45
        || packet[9] != 1
        || packet[20] != 8
        || packet[16..18] != [10, 21]
    {
        return None;
    }
    let (group, slot) = (packet[18].into(), packet[19].into());
    for at in 12..16 {
        packet.swap(at, at + 4);
    }
    packet[20] = 0;
    // The one's complement checksum grows by what the sum lost: 8 in the high byte.
    let sum = u32::from(u16::from_be_bytes([packet[22], packet[23]])) + 0x0800;
    let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
    Some((packet, group, slot))
}
