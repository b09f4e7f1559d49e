//! The journal's native protocol: a datagram for each record, or a sealed memory file if a datagram
//! is too small. <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. Implemented here because the crates
//! for it block while the journal's socket is full (docs/decisions/service-manager.md).

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};

use crate::event::printable;
use crate::view::journal::Record;

/// Encodes a record, with the number of records dropped before it.
pub fn encode(record: &Record, dropped: u64) -> Vec<u8> {
    let mut text = Vec::new();
    field(&mut text, "MESSAGE", &record.message);
    field(&mut text, "MESSAGE_ID", record.kind.id());
    field(&mut text, "PRIORITY", &(record.priority as u8).to_string());
    field(&mut text, "SYSLOG_IDENTIFIER", "bramblegate");
    if dropped > 0 {
        field(&mut text, "DROPPED", &dropped.to_string());
    }
    for (name, value) in &record.fields {
        field(&mut text, name, value);
    }
    text
}

/// Encodes `NAME=value` or, if the value has line breaks, the name, a line break, the length as
/// 64-bit little-endian number, and the value.
fn field(text: &mut Vec<u8>, name: &str, value: &str) {
    let value = &*printable(value);
    text.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        text.push(b'\n');
        text.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        text.push(b'=');
    }
    text.extend_from_slice(value.as_bytes());
    text.push(b'\n');
}

/// Sends without blocking. Resolves the path each time, so that a restarted journal is found.
///
/// # Errors
/// The socket is full, or no journal is running.
pub fn send(socket: &UnixDatagram, path: &Path, text: &[u8]) -> io::Result<()> {
    match socket.send_to(text, path) {
        Ok(_) => Ok(()),
        // The text exceeds the size of a datagram or of the socket's buffer.
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::MSGSIZE | Errno::NOBUFS)) =>
        {
            send_file(socket, path, text)
        }
        Err(error) => Err(error),
    }
}

fn send_file(socket: &UnixDatagram, path: &Path, text: &[u8]) -> io::Result<()> {
    let file = memfd_create("journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(text)?;
    fcntl_add_seals(
        &file,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let address = SocketAddrUnix::new(path)?;
    sendmsg_addr(
        socket,
        &address,
        &[IoSlice::new(&[])],
        &mut ancillary,
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
