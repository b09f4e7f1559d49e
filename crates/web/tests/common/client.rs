//! A plain client that sends requests byte by byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A received answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// The deadline of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests a path like an ordinary client.
pub fn get(at: SocketAddr, path: &str) -> io::Result<Answer> {
    get_with(at, path, "")
}

/// Requests a path with further header lines.
pub fn get_with(at: SocketAddr, path: &str, headers: &str) -> io::Result<Answer> {
    ask(at, format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}\r\n"))
}

/// Sends a form with further header lines.
pub fn post(at: SocketAddr, path: &str, headers: &str, form: &str) -> io::Result<Answer> {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let length = form.len();
    ask(
        at,
        format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{kind}\r\nContent-Length: \
             {length}\r\n{headers}\r\n{form}"
        ),
    )
}

/// Sends bytes and reads the answer, up to the end of the connection.
pub fn ask(at: SocketAddr, request: impl AsRef<[u8]>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A server that refuses need not read all of it.
    let _ = stream.write_all(request.as_ref());
    read(&mut stream)
}

/// Reads an answer up to the end of the connection.
pub fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // Bytes received before a reset count.
        Err(error) if bytes.is_empty() => return Err(error),
        _ => {}
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("the connection ended without an answer"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = bytes[end + 4..].to_vec();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok(Answer { status, head, body: if chunked { unchunk(&body) } else { body } })
}

/// Removes the chunked coding (RFC 9112, section 7.1).
fn unchunk(mut left: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = left.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&left[..end]).unwrap_or_default();
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        let Some(chunk) = left.get(end + 2..end + 2 + length) else { break };
        body.extend_from_slice(chunk);
        left = left.get(end + 4 + length..).unwrap_or_default();
    }
    body
}
