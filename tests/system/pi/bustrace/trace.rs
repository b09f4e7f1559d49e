//! What passed the emulated machine's I²C bus, by QEMU's trace (`-trace i2c_* -msg timestamp=on`).
//!
//! A line is `PID@SECONDS.MICROSECONDS:EVENT TEXT` (QEMU `scripts/tracetool/backend/log.py`,
//! `hw/i2c/trace-events`).

use std::time::Duration;

/// From start to stop, or to the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// of the host's clock, since 1970
    pub began: Duration,
    pub ended: Duration,
    pub address: u8,
    pub written: Vec<u8>,
    pub read: Vec<u8>,
}

/// Reads all messages that a device acknowledged.
///
/// # Errors
/// Names the first line that is none of this kind.
pub fn messages(text: &str) -> Result<Vec<Message>, String> {
    let mut messages: Vec<Message> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let event = Event::parse(line)
            .ok_or_else(|| format!("line {} of the trace is not understood: {line}", number + 1))?;
        match event.kind {
            Kind::Start => messages.push(Message {
                began: event.at,
                ended: event.at,
                address: event.address,
                written: Vec::new(),
                read: Vec::new(),
            }),
            _ => {
                let message = messages
                    .last_mut()
                    .filter(|message| message.address == event.address)
                    .ok_or_else(|| format!("line {}: no message has begun", number + 1))?;
                message.ended = event.at;
                match event.kind {
                    Kind::Sent(byte) => message.written.push(byte),
                    Kind::Received(byte) => message.read.push(byte),
                    Kind::Start | Kind::Other => {}
                }
            }
        }
    }
    Ok(messages)
}

struct Event {
    at: Duration,
    address: u8,
    kind: Kind,
}

enum Kind {
    Start,
    Sent(u8),
    Received(u8),
    /// a stop, or a byte that was not acknowledged
    Other,
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let (head, rest) = line.split_once(':')?;
        let (_, at) = head.split_once('@')?;
        let (name, text) = rest.split_once(' ')?;
        let address = hexadecimal(text, "addr:0x")?;
        let kind = match name {
            "i2c_event" if text.starts_with("start") => Kind::Start,
            "i2c_event" => Kind::Other,
            "i2c_send" => Kind::Sent(hexadecimal(text, "data:0x")?),
            "i2c_recv" => Kind::Received(hexadecimal(text, "data:0x")?),
            _ => return None,
        };
        Some(Self { at: seconds(at)?, address, kind })
    }
}

fn hexadecimal(text: &str, label: &str) -> Option<u8> {
    let (_, digits) = text.split_once(label)?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u8::from_str_radix(digits.get(..end)?, 16).ok()
}

/// Returns the time in `SECONDS.MICROSECONDS`.
pub fn seconds(text: &str) -> Option<Duration> {
    let (whole, micros) = text.split_once('.')?;
    let micros: u64 = (micros.len() == 6).then(|| micros.parse().ok()).flatten()?;
    Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
7@12.000100:i2c_event start(addr:0x27)
7@12.000200:i2c_send send(addr:0x27) data:0x0c
7@12.000300:i2c_send send(addr:0x27) data:0x8
7@12.000400:i2c_event finish(addr:0x27)
7@13.000000:i2c_event start_async(addr:0x27)
7@13.000001:i2c_recv recv(addr:0x27) data:0x08
";

    #[test]
    fn messages_with_their_octets_and_times() {
        let messages = messages(TRACE).unwrap_or_default();
        assert_eq!(messages.len(), 2);
        let [write, read] = messages.as_slice() else { return };
        assert_eq!((write.address, write.written.as_slice()), (0x27, [0x0c, 8].as_slice()));
        assert_eq!((write.began, write.ended), (micros(12_000_100), micros(12_000_400)));
        assert_eq!((read.read.as_slice(), read.ended), ([8].as_slice(), micros(13_000_001)));
    }

    #[test]
    fn another_form_is_refused() {
        for line in
            ["i2c_send send(addr:0x27) data:0x0c", "7@1.5:i2c_send send(addr:0x27)", "hello"]
        {
            assert!(messages(line).is_err(), "{line}");
        }
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }
}
