//! What must be seen: on the LCD, in the status, and from the places of the world.

use std::str::FromStr;
use std::time::Duration;

use glob::Pattern;

use super::WordError;

/// One `[[expect]]`: everything named in it must be true at the same time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// What has been seen, for users.
    pub say: Option<String>,
    /// The LCD's first row, without the blanks at its end; a glob.
    pub row1: Option<String>,
    /// Any row of the LCD; a glob.
    pub panel: Option<String>,
    /// Dotted paths in the status and the values there; a string is a glob, "null" is null.
    pub status: Vec<(String, String)>,
    /// Codes of alerts that stand; globs.
    pub alerts: Vec<String>,
    /// Codes of alerts that do not; globs.
    pub no_alerts: Vec<String>,
    /// What works, and what does not, from which place: (namespace, works, what).
    pub checks: Vec<(String, bool, Check)>,
    /// Must come true within this time.
    pub within: Duration,
    /// And stay so for this long.
    pub hold: Duration,
}

/// Something to try in one of the namespaces. `HEAD` in a target stands for the head's address in
/// the venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An ICMP echo is answered.
    Ping(String),
    /// A TCP connection opens: `HOST:PORT`, a name as the place's own resolver has it.
    Tcp(String),
    /// This status comes back.
    Http(String, u16),
    /// The head answers ARP for this address (others on the wire may).
    Arp(String),
    /// The name has an address, says the place's own resolver.
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
    /// Writes what must be so as a list, for users.
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

/// Returns what works or fails, and from which place.
pub fn attempt_in_words((place, works, check): &(String, bool, Check)) -> String {
    format!("{check} {} from {place}", if *works { "works" } else { "fails" })
}

/// Returns whether `text` matches `pattern`, where `*` stands for any run of characters, `?` for
/// one, `|` between alternatives. A bracket is just that.
pub fn glob(pattern: &str, text: &str) -> bool {
    let literal = pattern.replace('[', "[[]");
    literal.split('|').any(|glob| Pattern::new(glob).is_ok_and(|glob| glob.matches(text)))
}
