//! Why are we being stopped? systemd knows: its list of jobs names the target it is on its way to.
//!
//! One question over the system bus, in the few bytes of D-Bus that takes (D-Bus specification 0.42: authentication,
//! message format); a bus library would be larger than this program's other needs. Without a bus: the file that
//! `shutdown(8)` leaves.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::event::Stop;

const BUS: &str = "/run/dbus/system_bus_socket";
const SCHEDULED: &str = "/run/systemd/shutdown/scheduled";
const UNIT: &[u8] = b"bramblegate.service\0";
/// systemd waits for our end; the answer is there within a few milliseconds or not at all.
const PATIENCE: Duration = Duration::from_millis(250);
/// More jobs than any shutdown has.
const LONGEST: usize = 256 * 1024;

/// Path, interface and bus name.
type Object = (&'static str, &'static str, &'static str);
const BROKER: Object = ("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus");
const MANAGER: Object = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "org.freedesktop.systemd1");

/// The reason of a SIGTERM.
pub async fn reason() -> Stop {
    if !Path::new("/run/systemd/system").exists() {
        return Stop::Terminated;
    }
    match timeout(PATIENCE, ask(Path::new(BUS), MANAGER, "ListJobs")).await {
        Ok(Ok(jobs)) => reason_of(&jobs),
        _ => std::fs::read(SCHEDULED).map_or(Stop::Terminated, |text| reason_of_file(&text)),
    }
}

/// From the bytes of `ListJobs`'s reply: each job names its unit, its type and its state.
fn reason_of(jobs: &[u8]) -> Stop {
    let has = |unit: &[u8]| jobs.windows(unit.len()).any(|window| window == unit);
    if has(b"reboot.target\0") || has(b"kexec.target\0") || has(b"soft-reboot.target\0") {
        Stop::Reboot
    } else if has(b"poweroff.target\0") || has(b"halt.target\0") {
        Stop::PowerOff
    } else if restarts(jobs) {
        Stop::Restart
    } else {
        Stop::Terminated
    }
}

/// Is there a job "restart" of our unit? Its type follows its unit's name: padding to four bytes, length, text.
fn restarts(jobs: &[u8]) -> bool {
    const RESTART: &[u8] = b"\x07\0\0\0restart\0";
    let mut ends =
        jobs.windows(UNIT.len()).enumerate().filter(|(_, window)| *window == UNIT).map(|(at, _)| at + UNIT.len());
    ends.any(|end| {
        jobs.get(end..).is_some_and(|rest| (0..4).any(|pad| rest.get(pad..).is_some_and(|r| r.starts_with(RESTART))))
    })
}

/// `MODE=poweroff` or `MODE=reboot`.
fn reason_of_file(text: &[u8]) -> Stop {
    let has = |mode: &[u8]| text.split(|&byte| byte == b'\n').any(|line| line == mode);
    if has(b"MODE=reboot") || has(b"MODE=kexec") {
        Stop::Reboot
    } else if has(b"MODE=poweroff") || has(b"MODE=halt") {
        Stop::PowerOff
    } else {
        Stop::Terminated
    }
}

/// The body of the reply to a method without arguments, as it comes.
async fn ask(bus: &Path, object: Object, method: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(bus).await?;
    let user: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes()).await?;
    let mut line = [0; 256];
    let length = stream.read(&mut line).await?;
    if !line.get(..length).unwrap_or_default().starts_with(b"OK ") {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.write_all(b"BEGIN\r\n").await?;
    stream.write_all(&call(1, BROKER, "Hello")).await?;
    stream.write_all(&call(2, object, method)).await?;
    let mut bytes = Vec::new();
    loop {
        if let Some(body) = reply_to(&bytes, 2) {
            return Ok(body.to_vec());
        }
        if bytes.len() > LONGEST || stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A method call without arguments, little-endian.
fn call(serial: u32, (path, interface, destination): Object, member: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (code, kind, text) in [(1_u8, b'o', path), (2, b's', interface), (3, b's', member), (6, b's', destination)] {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1, kind, 0]);
        fields.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        fields.extend(text.as_bytes());
        fields.push(0);
    }
    let mut message = vec![b'l', 1, 0, 1];
    message.extend(0_u32.to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend(u32::try_from(fields.len()).unwrap_or(0).to_le_bytes());
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message
}

/// The body of the method return with this reply serial, once all of it is there.
fn reply_to(mut bytes: &[u8], serial: u32) -> Option<&[u8]> {
    const METHOD_RETURN: u8 = 2;
    const REPLY_SERIAL: [u8; 4] = [5, 1, b'u', 0];
    let number = |bytes: &[u8], at: usize| -> Option<u32> {
        let four = *bytes.get(at..)?.first_chunk()?;
        Some(if bytes.first() == Some(&b'B') { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    };
    loop {
        let body = usize::try_from(number(bytes, 4)?).ok()?;
        let fields = usize::try_from(number(bytes, 12)?).ok()?;
        let start = 16_usize.checked_add(fields)?.checked_next_multiple_of(8)?;
        let end = start.checked_add(body)?;
        let message = bytes.get(..end)?;
        let header = message.get(16..start)?;
        let mut marks = (0..header.len()).step_by(8).filter(|&at| header.get(at..at + 4) == Some(&REPLY_SERIAL));
        let answers = marks.any(|at| number(message, 16 + at + 4) == Some(serial));
        if answers {
            return message.get(start..).filter(|_| message.get(1) == Some(&METHOD_RETURN));
        }
        bytes = bytes.get(end..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(serial: u32, body: &[u8]) -> Vec<u8> {
        let mut message = vec![b'l', 2, 1, 1];
        message.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        message.extend(9_u32.to_le_bytes());
        message.extend(8_u32.to_le_bytes());
        message.extend([5, 1, b'u', 0]);
        message.extend(serial.to_le_bytes());
        message.extend(body);
        message
    }

    #[test]
    fn the_target_that_systemd_is_on_its_way_to_is_the_reason() {
        assert_eq!(reason_of(b"\x0e\0\0\0reboot.target\0\x05\0\0\0start\0"), Stop::Reboot);
        assert_eq!(reason_of(b"\x0f\0\0\0poweroff.target\0"), Stop::PowerOff);
        assert_eq!(reason_of(b"\x13\0\0\0bramblegate.service\0\x07\0\0\0restart\0"), Stop::Restart);
        assert_eq!(reason_of(b"\x13\0\0\0bramblegate.service\0\x04\0\0\0stop\0"), Stop::Terminated);
        assert_eq!(
            reason_of(b"bramblegate.service\0\x04\0\0\0stop\0other.service\0\0\0\x07\0\0\0restart\0"),
            Stop::Terminated
        );
        let rebooting = b"\x13\0\0\0bramblegate.service\0\x07\0\0\0restart\0reboot.target\0";
        assert_eq!(reason_of(rebooting), Stop::Reboot);
        assert_eq!(reason_of_file(b"USEC=1\nWARN_WALL=1\nMODE=reboot\n"), Stop::Reboot);
    }

    #[test]
    fn the_answer_is_found_behind_that_to_hello_and_only_when_it_is_whole() {
        let all = [reply(1, b"\x05\0\0\0:1.42\0"), reply(2, b"jobs")].concat();
        // The first message's body has a length that is no multiple of eight; messages follow without padding.
        assert_eq!(reply_to(&all, 2), Some(&b"jobs"[..]));
        assert_eq!(reply_to(&all[..all.len() - 1], 2), None);
    }

    #[test]
    fn a_call_has_the_lengths_that_the_bus_checks() {
        let message = call(1, ("/a", "b.c", "d.e"), "Hello");
        let fields = u32::from_le_bytes(message[12..16].try_into().unwrap());
        assert_eq!((16 + usize::try_from(fields).unwrap()).next_multiple_of(8), message.len());
    }

    proptest! {
        #[test]
        fn arbitrary_replies_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            reply_to(&bytes, 2);
        }
    }
}
