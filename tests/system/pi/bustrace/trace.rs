//! The traffic on the emulated machine's I²C bus, from QEMU's trace (`-trace i2c_*`; QEMU
//! `hw/i2c/trace-events`), and its times, from the guest kernel's (`events/i2c`; Linux
//! `include/trace/events/i2c.h`).

use std::time::Duration;

/// From start to stop, or to the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub address: u8,
    pub written: Vec<u8>,
    pub read: Vec<u8>,
    /// The guest's clock, since its kernel started.
    pub began: Duration,
    pub ended: Duration,
}

/// Parses all messages that a device acknowledged, in QEMU's format and without times.
///
/// # Errors
/// Names the first malformed line.
pub fn messages(text: &str) -> Result<Vec<Message>, String> {
    let mut messages: Vec<Message> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let event = Event::parse(line)
            .ok_or_else(|| format!("line {} of the trace is not understood: {line}", number + 1))?;
        if let Kind::Start = event.kind {
            messages.push(Message {
                address: event.address,
                written: Vec::new(),
                read: Vec::new(),
                began: Duration::ZERO,
                ended: Duration::ZERO,
            });
            continue;
        }
        let message = messages
            .last_mut()
            .filter(|message| message.address == event.address)
            .ok_or_else(|| format!("line {}: no message has begun", number + 1))?;
        match event.kind {
            Kind::Sent(octet) => message.written.push(octet),
            Kind::Received(octet) => message.read.push(octet),
            Kind::Start | Kind::Other => {}
        }
    }
    Ok(messages)
}

struct Event {
    address: u8,
    kind: Kind,
}

enum Kind {
    Start,
    Sent(u8),
    Received(u8),
    /// A stop, or an octet that was not acknowledged.
    Other,
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let (name, text) = line.split_once(' ')?;
        let address = hexadecimal(text, "addr:0x")?;
        let kind = match name {
            "i2c_event" if text.starts_with("start") => Kind::Start,
            "i2c_event" => Kind::Other,
            "i2c_send" => Kind::Sent(hexadecimal(text, "data:0x")?),
            "i2c_recv" => Kind::Received(hexadecimal(text, "data:0x")?),
            _ => return None,
        };
        Some(Self { address, kind })
    }
}

fn hexadecimal(text: &str, label: &str) -> Option<u8> {
    let (_, digits) = text.split_once(label)?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u8::from_str_radix(digits.get(..end)?, 16).ok()
}

/// A transfer in the guest's kernel: the octets to write to an address of the board's display bus,
/// or a read, and the time of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub began: Duration,
    pub ended: Duration,
    pub address: u8,
    pub reads: bool,
    /// At least the first octets.
    pub octets: Vec<u8>,
    pub is_good: bool,
}

/// Processes the next event of the kernel's trace.
pub fn take(transfers: &mut Vec<Transfer>, at: Duration, event: &str, text: &str) {
    if !text.starts_with("i2c-1 ") {
        return;
    }
    match event {
        "i2c_write" | "i2c_read" => {
            if let Some(address) = hexadecimal(text, " a=0") {
                let octets = text.split_once('[').map(|(_, hex)| hex.trim_end_matches(']'));
                let octets = octets.into_iter().flat_map(|hex| hex.split('-'));
                transfers.push(Transfer {
                    began: at,
                    ended: at,
                    address,
                    reads: event == "i2c_read",
                    octets: octets.filter_map(|hex| u8::from_str_radix(hex, 16).ok()).collect(),
                    is_good: false,
                });
            }
        }
        "i2c_result" => {
            if let Some(last) = transfers.last_mut() {
                last.ended = at;
                last.is_good = text.ends_with(" ret=1");
            }
        }
        _ => {}
    }
}

/// Assigns each message its times: those of the successful transfer of the same kind, in their
/// order.
///
/// # Errors
/// The bus traffic differs from the kernel's trace.
pub fn time(messages: &mut [Message], transfers: &[Transfer]) -> Result<(), String> {
    let good: Vec<&Transfer> = transfers.iter().filter(|transfer| transfer.is_good).collect();
    if good.len() != messages.len() || good.is_empty() {
        return Err(format!(
            "the bus carried {} messages, the guest's kernel counts {}",
            messages.len(),
            good.len()
        ));
    }
    for (number, (message, transfer)) in messages.iter_mut().zip(good).enumerate() {
        let is_same = message.address == transfer.address
            && transfer.reads != message.read.is_empty()
            && message.written.starts_with(&transfer.octets);
        if !is_same {
            return Err(format!("message {number}: {message:?} on the bus, sent: {transfer:?}"));
        }
        (message.began, message.ended) = (transfer.began, transfer.ended);
    }
    Ok(())
}

/// Returns the time in `SECONDS.MICROSECONDS`, or with fewer decimals.
pub fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
i2c_event start(addr:0x27)
i2c_send send(addr:0x27) data:0x0c
i2c_send send(addr:0x27) data:0x8
i2c_event finish(addr:0x27)
i2c_event start_async(addr:0x27)
i2c_recv recv(addr:0x27) data:0x08
";

    fn transfers(written: &str) -> Vec<Transfer> {
        let mut transfers = Vec::new();
        let events = [
            ("1.000001", "i2c_write", format!("i2c-1 #0 a=027 f=0000 l=2 [{written}]")),
            ("1.000300", "i2c_result", "i2c-1 n=1 ret=1".to_owned()),
            ("2.0", "i2c_read", "i2c-1 #0 a=03f f=0001 l=1".to_owned()),
            ("2.1", "i2c_result", "i2c-1 n=1 ret=-121".to_owned()),
            ("3.0", "i2c_read", "i2c-1 #0 a=027 f=0001 l=1".to_owned()),
            ("3.1", "i2c_reply", "i2c-1 #0 a=027 f=0001 l=1 [08]".to_owned()),
            ("3.2", "i2c_result", "i2c-1 n=1 ret=1".to_owned()),
            ("4.0", "i2c_read", "i2c-2 #0 a=027 f=0001 l=1".to_owned()),
        ];
        for (at, event, text) in events {
            take(&mut transfers, seconds(at).unwrap_or_default(), event, &text);
        }
        transfers
    }

    #[test]
    fn messages_have_their_octets_and_times() {
        let mut messages = messages(TRACE).unwrap_or_default();
        assert_eq!(time(&mut messages, &transfers("0c-08")), Ok(()));
        let [write, read] = messages.as_slice() else { unreachable!("{messages:?}") };
        assert_eq!((write.address, write.written.as_slice()), (0x27, [0x0c, 8].as_slice()));
        assert_eq!(write.ended.saturating_sub(write.began), Duration::from_micros(299));
        assert_eq!((read.read.as_slice(), read.began), ([8].as_slice(), Duration::from_secs(3)));
    }

    #[test]
    fn a_bus_that_carries_something_else_is_an_error() {
        let mut messages = messages(TRACE).unwrap_or_default();
        assert!(time(&mut messages, &transfers("0c-09")).is_err());
        messages.pop();
        assert!(time(&mut messages, &transfers("0c-08")).is_err());
    }

    #[test]
    fn another_form_is_refused() {
        for line in ["7@1.000001:i2c_send send(addr:0x27) data:0x0c", "i2c_send send(addr:0x27)"] {
            assert!(messages(line).is_err(), "{line}");
        }
    }
}
