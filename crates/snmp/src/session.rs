//! One session with snmpd: open, register, answer, notify (RFC 2741).

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentx::encodings::{ID, Value, VarBind, VarBindList};
use agentx::pdu::{
    Get, GetBulk, GetNext, Header, Notify, Open, Register, ResError, Response, TestSet, Type,
};
use bramblegate_api::Text;
use bramblegate_api::status::{Node, Snapshot};

use crate::follow::{Follower, Known};
use crate::mib::{self, ROOT, Tree};

/// The answer to what opens a session comes within this time.
const ANSWER: Duration = Duration::from_secs(5);
/// snmpd waits so long for each of our answers.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of a header (RFC 2741, section 6.1), bytes.
const HEADER: usize = 20;
/// No message is longer, bytes.
const LONGEST: u32 = 1 << 20;
/// Answers of one GetBulk, whatever it asks for.
const BULK: usize = 1000;
/// Notifications of nodes that one change may cause; more are the severity's.
const NODES_TOLD: usize = 50;
/// The notifier looks at least so often whether its session is still there.
const LOOK: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("snmpd refused to {what}: error {code} (RFC 2741, section 6.2.16)")]
    Refused { what: &'static str, code: u16 },
    #[error("snmpd sent a message of {0} bytes")]
    TooLong(u32),
    #[error("snmpd ended the session")]
    Ended,
}

/// Speaks with the snmpd behind `socket` until the session ends.
///
/// # Errors
/// Always: there is no other end.
pub fn run(socket: &Path, follower: &Follower) -> Result<std::convert::Infallible, Error> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let session = open(&stream, &mut reader)?;
    // From here on snmpd asks when it likes.
    stream.set_read_timeout(None)?;
    let writer = Arc::new(Mutex::new(stream));
    let alive = Arc::new(());
    let watch = Arc::downgrade(&alive);
    let (notifier, state) = (Arc::clone(&writer), follower.clone());
    std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
        let mut before = state.known();
        while watch.upgrade().is_some() {
            let now = state.wait(before.generation, LOOK);
            for mut notify in notifications(&before, &now, session) {
                let sent = notify.to_bytes().and_then(|bytes| write(&notifier, &bytes));
                if sent.is_err() {
                    return;
                }
            }
            before = now;
        }
    })?;
    let answered = answer(&mut reader, &writer, follower);
    drop(alive);
    answered
}

/// Opens a session and registers the tree; returns the session's number.
fn open(mut stream: &UnixStream, reader: &mut impl Read) -> Result<u32, Error> {
    let mut open = Open::new(mib::id(&ROOT).unwrap_or_default(), "Bramblegate");
    open.timeout = TIMEOUT;
    stream.write_all(&open.to_bytes()?)?;
    let (header, _) = answered(reader, "open a session")?;
    let mut register = Register::new(mib::id(&ROOT).unwrap_or_default());
    register.header.session_id = header.session_id;
    register.header.packet_id = 1;
    stream.write_all(&register.to_bytes()?)?;
    answered(reader, "register the tree")?;
    Ok(header.session_id)
}

/// Reads the answer to a message of ours.
fn answered(reader: &mut impl Read, what: &'static str) -> Result<(Header, Vec<u8>), Error> {
    let (header, message) = read(reader)?;
    // sysUpTime, then the error; in the byte order of the header.
    let field = message.get(HEADER + 4..HEADER + 6).and_then(|field| field.try_into().ok());
    let field: [u8; 2] = field.ok_or(Error::Ended)?;
    let big = header.flags & (1 << agentx::pdu::NETWORK_BYTE_ORDER) != 0;
    let code = if big { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) };
    if header.ty != Type::Response || code != 0 {
        return Err(Error::Refused { what, code });
    }
    Ok((header, message))
}

/// Reads one message, with its header.
fn read(reader: &mut impl Read) -> Result<(Header, Vec<u8>), Error> {
    let mut message = vec![0; HEADER];
    reader.read_exact(&mut message).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Ended,
        _ => Error::Io(error),
    })?;
    let header = Header::from_bytes(&message)?;
    if header.payload_length > LONGEST {
        return Err(Error::TooLong(header.payload_length));
    }
    let length = usize::try_from(header.payload_length).unwrap_or(0);
    message.resize(HEADER + length, 0);
    reader.read_exact(message.get_mut(HEADER..).unwrap_or_default())?;
    Ok((header, message))
}

fn write(stream: &Mutex<UnixStream>, bytes: &[u8]) -> io::Result<()> {
    stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
}

/// Answers every request until the session ends.
fn answer(
    reader: &mut impl Read,
    writer: &Mutex<UnixStream>,
    follower: &Follower,
) -> Result<std::convert::Infallible, Error> {
    let mut laid_out = (u64::MAX, Tree::default());
    loop {
        let (header, message) = read(reader)?;
        if header.ty == Type::Close {
            return Err(Error::Ended);
        }
        if matches!(header.ty, Type::Response | Type::CleanupSet) {
            continue;
        }
        let known = follower.known();
        if laid_out.0 != known.generation {
            laid_out = (known.generation, Tree::new(known.snapshot.as_deref()));
        }
        let mut response = Response::from_header(&header);
        match reply(&header, &message, &laid_out.1) {
            Ok(values) => response.vb = Some(values),
            Err(error) => (response.res_error, response.res_index) = (error, 1),
        }
        write(writer, &response.to_bytes()?)?;
    }
}

/// Returns what one request asks for.
fn reply(header: &Header, message: &[u8], tree: &Tree) -> Result<VarBindList, ResError> {
    let wrong = |_| ResError::ParseError;
    match header.ty {
        Type::Get => {
            let ranges = Get::from_bytes(message).map_err(wrong)?.sr.0;
            let values = ranges.into_iter().map(|range| {
                let value = tree.get(&mib::numbers(&range.start));
                VarBind::new(range.start, value)
            });
            Ok(VarBindList(values.collect()))
        }
        Type::GetNext => {
            let ranges = GetNext::from_bytes(message).map_err(wrong)?.sr.0;
            Ok(VarBindList(
                ranges.iter().map(|range| next(tree, &range.start, &range.end)).collect(),
            ))
        }
        Type::GetBulk => {
            let bulk = GetBulk::from_bytes(message).map_err(wrong)?;
            Ok(VarBindList(many(tree, &bulk)))
        }
        Type::TestSet => {
            // Nothing here can be written.
            TestSet::from_bytes(message).map_err(wrong)?;
            Err(ResError::RequestDenied)
        }
        Type::Ping => Ok(VarBindList::default()),
        _ => Err(ResError::ProcessingError),
    }
}

/// Returns the instance after `start` and before `end`.
fn next(tree: &Tree, start: &ID, end: &ID) -> VarBind {
    let found = tree.next(&mib::numbers(start), start.include != 0, &mib::numbers(end));
    let found = found.and_then(|(name, value)| Some(VarBind::new(mib::id(name)?, value.clone())));
    found.unwrap_or_else(|| VarBind::new(start.clone(), Value::EndOfMibView))
}

/// Returns the answer to a GetBulk (RFC 2741, section 7.2.3.3): each of the first ranges once, the
/// others in turns.
fn many(tree: &Tree, bulk: &GetBulk) -> Vec<VarBind> {
    let once = usize::from(bulk.non_repeaters).min(bulk.sr.0.len());
    let (once, repeated) = bulk.sr.0.split_at(once);
    let mut values: Vec<VarBind> =
        once.iter().map(|range| next(tree, &range.start, &range.end)).collect();
    let mut places: Vec<_> =
        repeated.iter().map(|range| (range.start.clone(), &range.end)).collect();
    for _ in 0..bulk.max_repetitions {
        if places.is_empty() || values.len() + places.len() > BULK {
            break;
        }
        let mut over = true;
        for (start, end) in &mut places {
            let found = next(tree, start, end);
            over &= found.data == Value::EndOfMibView;
            *start = found.name.clone();
            values.push(found);
        }
        if over {
            break;
        }
    }
    values
}

/// Returns a notification for each change that somebody wants to know at once.
fn notifications(before: &Known, now: &Known, session: u32) -> Vec<Notify> {
    let (Some(old), Some(new)) = (&before.snapshot, &now.snapshot) else { return Vec::new() };
    let mut sent = Vec::new();
    if old.severity != new.severity {
        let value = Value::Integer(mib::severity(&new.severity));
        sent.extend(notify(session, &mib::SEVERITY_CHANGED, &mib::scalar(1), value));
    }
    for node in changed_nodes(old, new).take(NODES_TOLD) {
        let Some(name) = mib::node_health(&node.name) else { continue };
        let value = Value::Integer(mib::health(&node.health));
        sent.extend(notify(session, &mib::NODE_CHANGED, &name, value));
    }
    sent
}

/// Returns the nodes whose health has changed.
fn changed_nodes<'a>(old: &Snapshot, new: &'a Snapshot) -> impl Iterator<Item = &'a Node> {
    let before: std::collections::HashMap<Text, _> =
        old.nodes.iter().map(|node| (node.name.clone(), node.health.clone())).collect();
    new.nodes
        .iter()
        .filter(move |node| before.get(&node.name).is_some_and(|health| *health != node.health))
}

fn notify(session: u32, what: &[u32; 2], name: &[u32], value: Value) -> Option<Notify> {
    let trap = [ROOT.as_slice(), what].concat();
    let values = vec![
        VarBind::new(mib::id(&mib::TRAP_OID)?, Value::ObjectIdentifier(mib::id(&trap)?)),
        VarBind::new(mib::id(name)?, value),
    ];
    let mut notify = Notify::new(VarBindList(values));
    notify.header.session_id = session;
    Some(notify)
}
