//! Expectations: of the LCD, the status, and checks from the places of the world.

use std::str::FromStr;
use std::time::Duration;

use glob::Pattern;

use super::WordError;

/// One `[[expect]]`, all parts of which must be met at the same time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// A caption for users.
    pub say: Option<String>,
    /// The LCD's first row, without the blanks at its end; a glob.
    pub row1: Option<String>,
    /// Any row of the LCD; a glob.
    pub panel: Option<String>,
    /// Dotted paths in the status with their values; a string is a glob, "null" is null.
    pub status: Vec<(String, String)>,
    /// Codes of alerts that must be raised; globs.
    pub alerts: Vec<String>,
    /// Codes of alerts that must not be raised; globs.
    pub no_alerts: Vec<String>,
    /// Checks that must succeed or fail: (namespace, succeeds, check).
    pub checks: Vec<(String, bool, Check)>,
    /// Must be met within this time.
    pub within: Duration,
    /// Must then remain met for this time.
    pub hold: Duration,
}

/// A check in one of the namespaces. `HEAD` in a target stands for the head's address in the venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An ICMP echo request is answered.
    Ping(String),
    /// A TCP connection to `HOST:PORT` opens; names are resolved by the place's own resolver.
    Tcp(String),
    /// An HTTP request returns this status.
    Http(String, u16),
    /// The head replies to ARP requests for this address (and others may).
    Arp(String),
    /// The place's own resolver resolves the name.
    Name(String),
}

impl FromStr for Check {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["ping", host] => Ok(Self::Ping((*host).to_owned())),
            ["tcp", target] if target.contains(':') => Ok(Self::Tcp((*target).to_owned())),
            ["http", url] if url.starts_with("http://") => Ok(Self::Http((*url).to_owned(), 200)),
            ["http", url, status] if url.starts_with("http://") => {
                let status = status.parse().map_err(|_| WordError::Status((*status).to_owned()))?;
                Ok(Self::Http((*url).to_owned(), status))
            }
            ["arp", address] => Ok(Self::Arp((*address).to_owned())),
            ["name", name] => Ok(Self::Name((*name).to_owned())),
            _ => Err(WordError::Check(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ping(host) => write!(f, "ping {host}"),
            Self::Tcp(target) => write!(f, "tcp {target}"),
            Self::Http(url, status) => write!(f, "http {url} {status}"),
            Self::Arp(address) => write!(f, "arp {address}"),
            Self::Name(name) => write!(f, "name {name}"),
        }
    }
}

impl std::fmt::Display for Expect {
    /// Formats all parts as a list for users.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words = Vec::new();
        words.extend(self.row1.iter().map(|row| format!("\"{row}\" on the LCD")));
        words.extend(self.status.iter().map(|(path, value)| format!("{path} {value}")));
        words.extend(self.panel.iter().map(|row| format!("\"{row}\" on the LCD")));
        words.extend(self.alerts.iter().map(|code| format!("the alert {code}")));
        words.extend(self.no_alerts.iter().map(|code| format!("no alert {code}")));
        words.extend(self.checks.iter().map(attempt_in_words));
        f.write_str(&words.join(", "))
    }
}

/// Describes a check with its place and its expected result.
pub fn attempt_in_words((place, works, check): &(String, bool, Check)) -> String {
    format!("{check} {} from {place}", if *works { "works" } else { "fails" })
}

/// Returns whether `text` matches `pattern`, in which `*` stands for any run of characters, `?` for
/// one, `|` separates alternatives, and brackets are literal.
pub fn glob(pattern: &str, text: &str) -> bool {
    let literal = pattern.replace('[', "[[]");
    literal.split('|').any(|glob| Pattern::new(glob).is_ok_and(|glob| glob.matches(text)))
}
