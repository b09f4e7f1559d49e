//! Timed faults from a text file.
//!
//! One fault per line: `AT_MS FAULT [ARGUMENT…]`; `#` begins a comment. Times count from the start
//! of the emulator.
//!
//! | fault | effect |
//! |---|---|
//! | `nack [COUNT [BYTES]]` | the next COUNT writes (1) fail (NACK) after BYTES bytes (0) |
//! | `glitch [NIBBLE]` | a spurious pulse on E latches the data lines, or this hexadecimal digit |
//! | `unplug` | the device is removed |
//! | `plug` | it is back, just powered on |
//! | `power` | a brief power loss between two transfers |
//! | `stuck MS` | the next write hangs this long, then times out |

use std::collections::VecDeque;
use std::time::Duration;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `count` writes are refused after `bytes` bytes.
    Nack {
        count: u32,
        bytes: usize,
    },
    /// A spurious pulse on E; `None` latches the data lines.
    Glitch(Option<u8>),
    Unplug,
    Plug,
    /// The device restarts, and no transfer fails.
    Power,
    /// The next write takes this long, then fails.
    Stuck(Duration),
}

/// Faults ordered by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    faults: VecDeque<(Duration, Fault)>,
}

impl Script {
    /// Parses a script; the error has the line number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut faults = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let fault = parse_line(line).ok_or_else(|| {
                let known = "nack [COUNT [BYTES]], glitch [NIBBLE], unplug, plug, power, stuck MS";
                format!("line {}: not `AT_MS FAULT` with one of {known}: {line}", number + 1)
            })?;
            faults.push(fault);
        }
        faults.sort_by_key(|(at, _)| *at);
        Ok(Self { faults: faults.into() })
    }

    /// Returns the next fault that is due.
    pub fn due(&mut self, now: Duration) -> Option<Fault> {
        let (at, _) = self.faults.front()?;
        if *at > now {
            return None;
        }
        self.faults.pop_front().map(|(_, fault)| fault)
    }
}

fn parse_line(line: &str) -> Option<(Duration, Fault)> {
    let mut words = line.split_whitespace();
    let at = Duration::from_millis(words.next()?.parse().ok()?);
    let name = words.next()?;
    let first = words.next();
    let second = words.next();
    if words.next().is_some() {
        return None;
    }
    let number =
        |word: Option<&str>, default: u32| word.map_or(Some(default), |word| word.parse().ok());
    let fault = match (name, first, second) {
        ("nack", count, bytes) => Fault::Nack {
            count: number(count, 1)?,
            bytes: usize::try_from(number(bytes, 0)?).ok()?,
        },
        ("glitch", None, None) => Fault::Glitch(None),
        ("glitch", Some(digit), None) => {
            Fault::Glitch(Some(u8::from_str_radix(digit, 16).ok().filter(|n| *n < 16)?))
        }
        ("unplug", None, None) => Fault::Unplug,
        ("plug", None, None) => Fault::Plug,
        ("power", None, None) => Fault::Power,
        ("stuck", Some(time), None) => Fault::Stuck(Duration::from_millis(time.parse().ok()?)),
        _ => return None,
    };
    Some((at, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_ordered_by_time() {
        let mut script = Script::parse(
            "# a story\n200 unplug\n100 nack 3 7 # refused\n\n900 plug\n950 glitch f\n990 power\n",
        )
        .unwrap();
        assert_eq!(script.due(Duration::from_millis(99)), None);
        assert_eq!(
            script.due(Duration::from_millis(250)),
            Some(Fault::Nack { count: 3, bytes: 7 })
        );
        assert_eq!(script.due(Duration::from_millis(250)), Some(Fault::Unplug));
        assert_eq!(script.due(Duration::from_millis(250)), None);
        assert_eq!(script.due(Duration::from_secs(1)), Some(Fault::Plug));
        assert_eq!(script.due(Duration::from_secs(1)), Some(Fault::Glitch(Some(15))));
        assert_eq!(script.due(Duration::from_secs(1)), Some(Fault::Power));
    }

    #[test]
    fn errors_have_the_line_number() {
        for wrong in ["5 explode", "nack", "5 stuck", "5 glitch 10", "5 unplug now", "-5 plug"] {
            let error = Script::parse(&format!("1 plug\n{wrong}")).unwrap_err();
            assert!(error.starts_with("line 2:"), "{error}");
        }
    }
}
