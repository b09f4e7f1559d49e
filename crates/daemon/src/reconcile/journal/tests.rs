use std::fs::File;
use std::io::{IoSliceMut, Read, Seek};
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;
use crate::event::Stop;
use crate::view::journal::stopping;

/// A journal's socket.
pub struct Fake {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Fake {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(name).tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { folder, socket }
    }

    pub fn journal(&self) -> Journal {
        Journal {
            target: native_target(&self.folder.path().join("socket")).unwrap(),
            is_quiet: false,
            dropped: AtomicU64::new(0),
            limit: Mutex::default(),
            nodes: AtomicU32::new(1_000_000),
        }
    }

    /// Drains the socket. Returns whether it was empty.
    pub fn is_empty(&self) -> bool {
        self.socket.recv(&mut [0; 16]).is_err()
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut text = vec![0; 65536];
        let length = self.socket.recv(&mut text).unwrap();
        text.truncate(length);
        text
    }
}

/// Reads fields the way journald does.
pub fn decode(mut text: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while !text.is_empty() {
        let line_end = text.iter().position(|b| *b == b'\n').unwrap();
        let line = &text[..line_end];
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if let Some(equals) = line.iter().position(|b| *b == b'=') {
            fields.push((string(&line[..equals]), string(&line[equals + 1..])));
            text = &text[line_end + 1..];
        } else {
            let length =
                u64::from_le_bytes(text[line_end + 1..line_end + 9].try_into().unwrap()) as usize;
            let value = &text[line_end + 9..line_end + 9 + length];
            assert_eq!(text[line_end + 9 + length], b'\n');
            fields.push((string(line), string(value)));
            text = &text[line_end + 10 + length..];
        }
    }
    fields
}

pub fn value(fields: &[(String, String)], name: &str) -> String {
    fields
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

#[test]
fn a_record_is_received_with_its_fields() {
    let fake = Fake::new("fields");
    let mut record = stopping(Stop::Reboot);
    record.fields.push(("NODE", "rpi1".to_owned()));
    fake.journal().write(&record);
    let fields = decode(&fake.receive());
    assert_eq!(value(&fields, "MESSAGE"), "stopping: the machine restarts");
    assert_eq!(value(&fields, "MESSAGE_ID"), record.kind.id());
    assert_eq!(value(&fields, "PRIORITY"), "6");
    assert_eq!(value(&fields, "NODE"), "rpi1");
    assert_eq!(value(&fields, "DROPPED"), "");
}

/// Text from outside (a host name, a file's fault) cannot smuggle a field in.
#[test]
fn line_breaks_cannot_inject_fields() {
    let fake = Fake::new("breaks");
    let mut record = stopping(Stop::Restart);
    record.message = "one\nPRIORITY=0\ntwo = 2\n".to_owned();
    fake.journal().write(&record);
    let fields = decode(&fake.receive());
    assert_eq!(value(&fields, "MESSAGE"), record.message);
    assert_eq!(fields.iter().filter(|(name, _)| name == "PRIORITY").count(), 1);
}

#[test]
fn a_record_too_long_for_a_datagram_is_sent_as_a_sealed_file() {
    let fake = Fake::new("long");
    let mut record = stopping(Stop::Restart);
    record.message = "rule\n".repeat(200_000);
    let journal = fake.journal();
    journal.write(&record);
    assert_eq!(journal.dropped(), 0);
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut none = [0; 16];
    let got = recvmsg(
        &fake.socket,
        &mut [IoSliceMut::new(&mut none)],
        &mut ancillary,
        RecvFlags::empty(),
    )
    .unwrap();
    assert_eq!(got.bytes, 0);
    let mut files: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    let mut file = File::from(files.pop().unwrap());
    let mut text = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut text).unwrap();
    assert_eq!(value(&decode(&text), "MESSAGE"), record.message);
    assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(rustix::fs::SealFlags::WRITE));
}

/// The next record reports how many were dropped.
#[test]
fn a_journal_that_does_not_read_blocks_nothing() {
    let fake = Fake::new("full");
    let journal = fake.journal();
    let record = stopping(Stop::Restart);
    let start = std::time::Instant::now();
    for _ in 0..5000 {
        journal.write(&record);
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(2));
    let dropped = journal.dropped();
    assert!(dropped > 1000, "{dropped}");
    while fake.socket.recv(&mut [0; 4096]).is_ok() {}
    journal.write(&record);
    assert_eq!(value(&decode(&fake.receive()), "DROPPED"), dropped.to_string());
    assert_eq!(journal.dropped(), 0);
}

#[test]
fn without_a_journal_records_are_lines() {
    let mut record = stopping(Stop::Terminated);
    assert_eq!(line(&record, false), "bramblegate: stopping\n");
    record.priority = Priority::Error;
    assert_eq!(line(&record, true), "bramblegate: \x1b[1;31mstopping\x1b[0m\n");
}

/// Clear screen, another line, the 8-bit form of an escape sequence, text that runs backwards.
const RAW: &str = "\u{1b}[2J\nbramblegate: all is well\u{9b}31m\u{202e}x";

/// In the native protocol and in lines.
#[test]
fn control_characters_from_outside_are_escaped() {
    use crate::event::{ApplyError, ApplyErrorKind};
    use crate::view::journal::{not_put_back, not_written, settings_refused, source_failed};
    let failed = ApplyError { kind: ApplyErrorKind::Failed, message: RAW.to_owned() };
    let mut records = vec![
        not_written(RAW),
        settings_refused(RAW),
        source_failed("a source", RAW),
        not_put_back(&failed),
    ];
    let fields = ["UPLINK", "NODE", "ADDRESS"].map(|name| (name, RAW.to_owned()));
    records.iter_mut().for_each(|record| record.fields.extend(fields.clone()));
    let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for record in &records {
        let line = line(record, false);
        assert!(!line.contains(raw) && line.lines().count() == 1, "{line:?}");
        for (name, value) in decode(&native::encode(record, 0)) {
            assert!(!value.contains(raw), "{name}: {value:?}");
        }
    }
}

/// `run -q`: warnings and worse come out, nothing else does.
#[test]
fn a_quiet_journal_has_warnings_and_errors_only() {
    let fake = Fake::new("quiet");
    let journal = Journal { is_quiet: true, ..fake.journal() };
    let write =
        |priority| journal.write(&crate::view::journal::detail(priority, "test", "x".to_owned()));
    [Priority::Debug, Priority::Info, Priority::Notice].into_iter().for_each(write);
    assert!(fake.is_empty());
    for priority in [Priority::Warning, Priority::Error] {
        write(priority);
        assert!(!fake.is_empty(), "{priority:?}");
    }
}
