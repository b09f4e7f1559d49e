//! The thread that translates what comes out of the TUN device and puts it back in: everything, or,
//! beside BPF, what takes more than a new header.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use bramblegate_clat::{DropReason, Offload, Translator};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::tun::Tun;

/// From which errors come that the translator sends itself to the one behind (RFC 7600, section 4.8).
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Translates until it is dropped; the device ends with it.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<()>>,
    /// The thread ends when this does.
    hold: Option<OwnedFd>,
    /// Ends when the thread does.
    alive: OwnedFd,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread or no pipe.
    pub fn start(tun: Tun, translator: Translator) -> io::Result<Self> {
        let (stop, hold) = pipe_with(PipeFlags::CLOEXEC)?;
        let (alive, living) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new().name("translator".into()).spawn(move || {
            let error = translate(&tun, &translator, &stop);
            if let Err(error) = error {
                eprintln!("bramblegate-clat: the TUN device: {error}");
            }
            drop(living);
        })?;
        Ok(Self { thread: Some(thread), hold: Some(hold), alive })
    }

    /// Returns what becomes readable when the thread has ended, for example with its device.
    pub fn ended(&self) -> impl AsFd + '_ {
        self.alive.as_fd()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.hold = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Translates until the other end of `stop` is closed.
fn translate(tun: &Tun, translator: &Translator, stop: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; Offload::LENGTH + usize::from(u16::MAX)];
    let mut head = Vec::with_capacity(2048);
    let mut identification: u16 = 0;
    loop {
        let Some(length) = tun.read(&mut buffer)? else {
            let mut waited = [PollFd::new(tun, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            let _ = poll(&mut waited, None);
            let [_, stop] = waited;
            if !stop.revents().is_empty() {
                return Ok(());
            }
            continue;
        };
        let Some((offload, packet)) = buffer.get(..length).and_then(<[u8]>::split_first_chunk)
        else {
            continue;
        };
        let six = packet.first().is_some_and(|first| first >> 4 == 6);
        identification = identification.wrapping_add(1);
        if let Err(reason) = pass(tun, translator, offload, packet, identification, &mut head) {
            let from: IpAddr = if six { translator.clat6.into() } else { ROUTER.into() };
            if let Some(answer) = translator.answer(packet, reason, from) {
                tun.write(&Offload::default(), &answer, &[]);
            }
        }
    }
}

/// Translates one packet and sends what comes of it.
fn pass(
    tun: &Tun,
    translator: &Translator,
    offload: &[u8; Offload::LENGTH],
    packet: &[u8],
    identification: u16,
    head: &mut Vec<u8>,
) -> Result<(), DropReason> {
    let offload = Offload::from_bytes(offload)?;
    let translated = if packet.first().is_some_and(|first| first >> 4 == 6) {
        translator.to_v4(packet, offload, identification, head)?
    } else {
        translator.to_v6(packet, offload, head)?
    };
    translated.for_each(|offload, head, body| tun.write(offload, head, body))
}
