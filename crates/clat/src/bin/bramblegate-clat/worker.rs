//! The thread that reads packets from the TUN device and writes them back translated: all packets,
//! or, with BPF, those that need more than new headers.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use bramblegate_clat::{DropReason, Offload, Translator};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::tun::Tun;

/// The source of ICMP errors that the translator sends to the IPv4 side (RFC 7600, section 4.8).
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// The running thread; dropping this ends it, and with it the device.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<()>>,
    /// Closing this end of a pipe stops the thread.
    stopper: Option<OwnedFd>,
    /// The thread holds the other end of this pipe, and closes it when it ends.
    ended: OwnedFd,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread or a pipe.
    pub fn start(tun: Tun, translator: Translator) -> io::Result<Self> {
        let (stop, stopper) = pipe_with(PipeFlags::CLOEXEC)?;
        let (ended, alive) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new().name("translator".into()).spawn(move || {
            if let Err(error) = translate(&tun, &translator, &stop) {
                eprintln!("bramblegate-clat: the TUN device: {error}");
            }
            drop(alive);
        })?;
        Ok(Self { thread: Some(thread), stopper: Some(stopper), ended })
    }

    /// Returns a file descriptor that is readable when the thread has ended, for example because
    /// its device was removed.
    pub fn ended(&self) -> impl AsFd + '_ {
        self.ended.as_fd()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stopper = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Translates packets until the other end of `stop` is closed.
fn translate(tun: &Tun, translator: &Translator, stop: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; Offload::LENGTH + usize::from(u16::MAX)];
    let mut headers = Vec::with_capacity(2048);
    let mut identification: u16 = 0;
    loop {
        let Some(length) = tun.read(&mut buffer)? else {
            let mut fds = [PollFd::new(tun, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            let _ = poll(&mut fds, None);
            let [_, stop] = fds;
            if !stop.revents().is_empty() {
                return Ok(());
            }
            continue;
        };
        let Some((offload, packet)) = buffer.get(..length).and_then(<[u8]>::split_first_chunk)
        else {
            continue;
        };
        identification = identification.wrapping_add(1);
        if let Err(reason) = forward(tun, translator, offload, packet, identification, &mut headers)
        {
            let from: IpAddr = if is_v6(packet) { translator.clat6.into() } else { ROUTER.into() };
            if let Some(answer) = translator.answer(packet, reason, from) {
                tun.write(&Offload::default(), &answer, &[]);
            }
        }
    }
}

fn is_v6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

/// Translates one packet and sends the result.
fn forward(
    tun: &Tun,
    translator: &Translator,
    offload: &[u8; Offload::LENGTH],
    packet: &[u8],
    identification: u16,
    headers: &mut Vec<u8>,
) -> Result<(), DropReason> {
    let offload = Offload::from_bytes(offload)?;
    let translated = if is_v6(packet) {
        translator.to_v4(packet, offload, identification, headers)?
    } else {
        translator.to_v6(packet, offload, headers)?
    };
    translated.for_each(|offload, headers, body| tun.write(offload, headers, body))
}
