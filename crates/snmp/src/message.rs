//! AgentX messages (RFC 2741): requests and answers. Requests are untrusted.
//!
//! The crate `agentx` builds messages and parses headers. Payloads are parsed here: an identifier
//! of more than 255 numbers makes the crate panic when it is written back, and the crate lacks the
//! error codes of SNMP (docs/decisions/snmp.md).

use std::io;
use std::time::Duration;

use agentx::encodings::{ID, Value, VarBind, VarBindList};
use agentx::pdu::{
    Header, NETWORK_BYTE_ORDER, NON_DEFAULT_CONTEXT, Notify, Open, Ping, Register, ResError,
    Response, Type,
};

use crate::mib::{self, ROOT, Tree};

/// The length of a header, in bytes (section 6.1).
pub const HEADER: usize = 20;
/// The maximum payload of a message, in bytes: an SNMP packet over UDP has at most 64 KiB.
const LONGEST: u32 = 1 << 18;
/// The limit of values in one answer to a GetBulk.
const BULK: usize = 1000;
/// The limit of numbers in an identifier (RFC 2578, section 3.5).
const NUMBERS: usize = 128;

/// The error for a TestSet (section 7.2.4.1).
const NOT_WRITABLE: u16 = 17;
/// The errors for a CommitSet or UndoSet after that (sections 7.2.4.2 and 7.2.4.3).
const COMMIT_FAILED: u16 = 14;
const UNDO_FAILED: u16 = 15;

/// Why a session cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("it sent what is no message of AgentX")]
    NoMessage,
    #[error("it sent a message of {0} bytes")]
    TooLong(u32),
    #[error("it ended the session")]
    Closed,
    #[error("it does not know the session any more")]
    Unknown,
}

/// Removes and returns the first message of `inbox`; `None` while it is incomplete.
///
/// # Errors
/// It is not a valid message, so the beginning of the next one is unknown.
pub fn take(inbox: &mut Vec<u8>) -> Result<Option<(Header, Vec<u8>)>, Broken> {
    if inbox.len() < HEADER {
        return Ok(None);
    }
    let header = Header::from_bytes(inbox).map_err(|_| Broken::NoMessage)?;
    if header.version != 1 || header.payload_length % 4 != 0 {
        return Err(Broken::NoMessage);
    }
    if header.payload_length > LONGEST {
        return Err(Broken::TooLong(header.payload_length));
    }
    let length = HEADER + header.payload_length as usize;
    if inbox.len() < length {
        return Ok(None);
    }
    let rest = inbox.split_off(length);
    let mut message = std::mem::replace(inbox, rest);
    message.drain(..HEADER);
    Ok(Some((header, message)))
}

/// Returns the serialized answer to a message; `None` if none is due.
///
/// # Errors
/// snmpd has closed this session, or does not know it.
pub fn answer(
    header: &Header,
    payload: &[u8],
    session: u32,
    tree: &Tree,
) -> Result<Option<Vec<u8>>, Broken> {
    match header.ty {
        Type::Close => return Err(Broken::Closed),
        Type::CleanupSet => return Ok(None),
        // The answer to a notification or a ping.
        Type::Response => {
            let gone = error_of(header, payload) == Some(code(&ResError::NotOpen));
            return if gone { Err(Broken::Unknown) } else { Ok(None) };
        }
        _ => {}
    }
    let mut response = Response::from_header(header);
    let mut error = 0;
    match values(header, payload, session, tree) {
        Ok(values) => response.vb = Some(VarBindList(values)),
        Err((code, index)) => (error, response.res_index) = (code, index),
    }
    let mut bytes = response.to_bytes().map_err(|_| Broken::NoMessage)?;
    // After the header and sysUpTime (section 6.2.16); the crate writes in little-endian order.
    bytes.iter_mut().skip(HEADER + 4).zip(error.to_le_bytes()).for_each(|(at, byte)| *at = byte);
    Ok(Some(bytes))
}

/// Returns the error code of a response.
pub fn error_of(header: &Header, payload: &[u8]) -> Option<u16> {
    let field = payload.get(4..6)?.try_into().ok()?;
    Some(if is_big(header) { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
}

fn is_big(header: &Header) -> bool {
    header.flags & (1 << NETWORK_BYTE_ORDER) != 0
}

/// Returns the code of an error (section 6.2.16).
fn code(error: &ResError) -> u16 {
    u16::from_le_bytes(error.to_bytes(&agentx::ByteOrder::LittleEndian))
}

/// Returns the requested values; or an error code, and the index of the value concerned, 0 for the
/// whole request.
fn values(
    header: &Header,
    payload: &[u8],
    session: u32,
    tree: &Tree,
) -> Result<Vec<VarBind>, (u16, u16)> {
    let whole = |error: ResError| (code(&error), 0);
    if header.session_id != session {
        return Err(whole(ResError::NotOpen));
    }
    if header.flags & (1 << NON_DEFAULT_CONTEXT) != 0 {
        return Err(whole(ResError::UnsupportedContext));
    }
    let mut reader = Reader { rest: payload, big: is_big(header) };
    let parse = || whole(ResError::ParseError);
    match header.ty {
        Type::Get => {
            let ranges = reader.ranges().ok_or_else(parse)?;
            Ok(ranges.into_iter().map(|range| tree.get(range.start)).collect())
        }
        Type::GetNext => {
            let ranges = reader.ranges().ok_or_else(parse)?;
            Ok(ranges.into_iter().map(|range| next(tree, &range)).collect())
        }
        Type::GetBulk => {
            let once = reader.short().ok_or_else(parse)?;
            let repetitions = reader.short().ok_or_else(parse)?;
            let ranges = reader.ranges().ok_or_else(parse)?;
            Ok(bulk(tree, ranges, once.into(), repetitions.into()))
        }
        Type::TestSet => Err((NOT_WRITABLE, 1)),
        Type::CommitSet => Err((COMMIT_FAILED, 1)),
        Type::UndoSet => Err((UNDO_FAILED, 1)),
        Type::Ping => Ok(Vec::new()),
        _ => Err(whole(ResError::ProcessingError)),
    }
}

/// Returns the first instance in a range.
fn next(tree: &Tree, range: &Range) -> VarBind {
    let found = tree.next(&range.start, range.include, &range.end);
    found.cloned().unwrap_or_else(|| VarBind::new(range.start.clone(), Value::EndOfMibView))
}

/// Returns the values for a GetBulk (section 7.2.3.3): one of each of the first `once` ranges, then
/// of the others in turn. Returns at most [`BULK`], and only whole turns after the first.
fn bulk(tree: &Tree, mut ranges: Vec<Range>, once: usize, repetitions: usize) -> Vec<VarBind> {
    let mut repeated = ranges.split_off(once.min(ranges.len()));
    let mut values: Vec<VarBind> =
        ranges.iter().take(BULK).map(|range| next(tree, range)).collect();
    repeated.truncate(BULK - values.len());
    for turn in 0..repetitions {
        let full = turn > 0 && values.len() + repeated.len() > BULK;
        if repeated.is_empty() || full {
            break;
        }
        let mut over = true;
        for range in &mut repeated {
            let found = next(tree, range);
            over &= found.data == Value::EndOfMibView;
            range.start = found.name.clone();
            range.include = false;
            values.push(found);
        }
        if over {
            break;
        }
    }
    values
}

/// A search range: from `start`, which is excluded unless `include`, up to `end`, which is
/// excluded; a null `end` is unbounded (section 5.2).
struct Range {
    start: ID,
    include: bool,
    end: ID,
}

/// Parses a payload, in the byte order of its header.
struct Reader<'a> {
    rest: &'a [u8],
    big: bool,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn short(&mut self) -> Option<u16> {
        let bytes = self.bytes()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.bytes()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Parses an identifier and its include flag (section 5.1).
    fn identifier(&mut self) -> Option<(ID, bool)> {
        let [count, prefix, include, _] = self.bytes()?;
        let mut numbers = Vec::with_capacity(NUMBERS);
        if prefix != 0 {
            numbers.extend([1, 3, 6, 1, u32::from(prefix)]);
        }
        for _ in 0..count {
            numbers.push(self.number()?);
        }
        if numbers.len() > NUMBERS {
            return None;
        }
        Some((mib::id(&numbers)?, include != 0))
    }

    /// Parses ranges up to the end of the payload.
    fn ranges(&mut self) -> Option<Vec<Range>> {
        let mut ranges = Vec::new();
        while !self.rest.is_empty() {
            let (start, include) = self.identifier()?;
            let (end, _) = self.identifier()?;
            ranges.push(Range { start, include, end });
        }
        Some(ranges)
    }
}

/// Returns the message that opens a session; `timeout` is for answers of the subagent.
///
/// # Errors
/// Never, with a timeout of less than 256 s.
pub fn open(timeout: Duration) -> io::Result<Vec<u8>> {
    let mut open = Open::new(mib::id(&ROOT).unwrap_or_default(), "Bramblegate");
    open.timeout = timeout;
    open.to_bytes()
}

/// Returns the message that registers the tree.
///
/// # Errors
/// Never.
pub fn register(session: u32, packet: u32) -> io::Result<Vec<u8>> {
    let mut register = Register::new(mib::id(&ROOT).unwrap_or_default());
    (register.header.session_id, register.header.packet_id) = (session, packet);
    // The default (section 6.2.3).
    register.priority = 127;
    register.to_bytes()
}

/// Returns a notification of these objects.
///
/// # Errors
/// Never.
pub fn notify(session: u32, packet: u32, values: Vec<VarBind>) -> io::Result<Vec<u8>> {
    let mut notify = Notify::new(VarBindList(values));
    (notify.header.session_id, notify.header.packet_id) = (session, packet);
    notify.to_bytes()
}

/// Returns a ping.
///
/// # Errors
/// Never.
pub fn ping(session: u32, packet: u32) -> io::Result<Vec<u8>> {
    let mut ping = Ping::new();
    (ping.header.session_id, ping.header.packet_id) = (session, packet);
    ping.to_bytes()
}

#[cfg(test)]
mod tests;
