//! A minimal subagent of snmpd: it answers GetNext from a precomputed list, and ignores everything
//! else (RFC 2741). Its cost is the cost of AgentX itself.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bramblegate_lab::{Error, Result};

use super::lab::fail;

/// Types of messages (section 6.1).
const OPEN: u8 = 1;
const REGISTER: u8 = 3;
const GET_NEXT: u8 = 6;
const RESPONSE: u8 = 18;
/// The length of a header, in bytes.
const HEADER: usize = 20;

/// A table of integers below `root`.
pub struct Table {
    root: Vec<u32>,
    /// The instance after each identifier, serialized.
    next: HashMap<Vec<u32>, Vec<u8>>,
}

impl Table {
    /// Returns a table of so many columns and rows.
    pub fn new(root: &[u32], columns: u32, rows: u32) -> Self {
        let (mut next, mut before) = (HashMap::new(), root.to_vec());
        for column in 1..=columns {
            for row in 1..=rows {
                let name = [root, &[column, row]].concat();
                let mut bytes = vec![2, 0, 0, 0];
                bytes.extend(identifier(&name));
                bytes.extend(row.to_le_bytes());
                next.insert(std::mem::replace(&mut before, name), bytes);
            }
        }
        Self { root: root.to_vec(), next }
    }

    /// Registers with the snmpd behind `socket`, and answers in a thread until the bench ends.
    pub fn serve(self, socket: &Path) -> Result<()> {
        let mut stream = UnixStream::connect(socket).map_err(fail("snmpd's socket"))?;
        let mut open = vec![5, 0, 0, 0];
        open.extend(identifier(&[]));
        open.extend([0; 4]);
        let session = ask(&mut stream, OPEN, [0; 4], &open)?;
        let mut register = vec![5, 127, 0, 0];
        register.extend(identifier(&self.root));
        ask(&mut stream, REGISTER, session, &register)?;
        std::thread::spawn(move || while self.answer(&mut stream).is_some() {});
        Ok(())
    }

    fn answer(&self, stream: &mut UnixStream) -> Option<()> {
        let (header, payload) = receive(stream).ok()?;
        let mut body = vec![0; 8];
        if header[1] == GET_NEXT {
            let asked = read_identifier(&payload)?;
            match self.next.get(&asked) {
                Some(instance) => body.extend(instance),
                // endOfMibView.
                None => {
                    body.extend([130, 0, 0, 0]);
                    body.extend(identifier(&asked));
                }
            }
        }
        let mut answer = message(RESPONSE, &body);
        // Session, transaction and packet are copied from the request.
        answer[4..16].copy_from_slice(&header[4..16]);
        stream.write_all(&answer).ok()
    }
}

/// Sends a message; returns the session of its answer.
fn ask(stream: &mut UnixStream, kind: u8, session: [u8; 4], payload: &[u8]) -> Result<[u8; 4]> {
    let mut bytes = message(kind, payload);
    bytes[4..8].copy_from_slice(&session);
    stream.write_all(&bytes).map_err(fail("snmpd"))?;
    let (header, payload) = receive(stream).map_err(fail("snmpd"))?;
    match payload.get(4..6) {
        Some([0, 0]) => Ok([header[4], header[5], header[6], header[7]]),
        _ => Err(Error(format!("snmpd refuses message {kind}: {payload:?}"))),
    }
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, kind, 0, 0];
    bytes.extend([0; 12]);
    bytes.extend(u32::try_from(payload.len()).unwrap_or(0).to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn receive(stream: &mut UnixStream) -> std::io::Result<([u8; HEADER], Vec<u8>)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let length = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((header, payload))
}

/// Returns a serialized identifier, without the short form of its prefix (section 5.1).
fn identifier(numbers: &[u32]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(numbers.len()).unwrap_or(0), 0, 0, 0];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// Parses the identifier at the beginning of a payload; snmpd answers in the byte order of the
/// session.
fn read_identifier(payload: &[u8]) -> Option<Vec<u32>> {
    let [count, prefix, ..] = *payload.first_chunk::<4>()?;
    let numbers = payload.get(4..4 + usize::from(count) * 4)?;
    let short = [1, 3, 6, 1, u32::from(prefix)];
    let begin = if prefix == 0 { &[][..] } else { &short };
    let numbers = numbers
        .chunks_exact(4)
        .map(|number| number.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)));
    Some(begin.iter().copied().chain(numbers).collect())
}
