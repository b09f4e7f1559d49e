//! The order for the program that translates IPv4 to IPv6 (`bramblegate-clat`): a file in the
//! daemon's run folder, there while a translator is wanted.

use serde::{Deserialize, Serialize};

use crate::word::words;
use crate::{Text, Word};

words! {
    /// Why a translator is wanted.
    ClatMode {
        /// the venue needs it
        Auto = "auto",
        /// the settings ask for it
        On = "on",
    }
}

/// Names what is to be translated, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClatOrder {
    pub mode: Word<ClatMode>,
    /// the venue's NAT64 prefix, in CIDR text: "64:ff9b::/96"
    pub prefix: Text,
    /// the port that leads to the venue
    pub uplink: Text,
}

impl ClatOrder {
    /// The file's name in the daemon's run folder.
    pub const FILE: &str = "clat.json";
    /// The name of the port that the translator brings: IPv4's way out is by it.
    pub const PORT: &str = "clat0";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_line_of_json() {
        let order = ClatOrder {
            mode: ClatMode::Auto.into(),
            prefix: "64:ff9b::/96".into(),
            uplink: "eth1".into(),
        };
        let line = crate::line(&order);
        let text = r#"{"mode":"auto","prefix":"64:ff9b::/96","uplink":"eth1"}"#;
        assert_eq!(String::from_utf8(line.clone()).unwrap().trim_end(), text);
        assert_eq!(serde_json::from_slice::<ClatOrder>(&line).unwrap(), order);
    }
}
