//! The files between the daemon and `bramblegate-clat`: the order, which the daemon writes, and the
//! state, which the program writes. Each is one JSON object, replaced atomically.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::word::words;
use crate::{Schema, Text, Word};

/// The default path of the [`Order`].
pub const ORDER: &str = "/run/bramblegate/clat.json";
/// Its name in the daemon's run folder.
pub const ORDER_FILE: &str = "clat.json";
/// The TUN device that the program creates, with the IPv4 default route.
pub const DEVICE: &str = "clat0";
/// The path of the [`State`].
pub const STATE: &str = "/run/bramblegate-clat/state.json";
/// The path of the list of changed sysctls: a line for each, with its name below
/// `/proc/sys/net/ipv6`, a space, and the previous value.
pub const SYSCTLS: &str = "/run/bramblegate-clat/sysctls";
/// Its name beside the state.
pub const SYSCTLS_FILE: &str = "sysctls";

words! {
    /// The kind of translator.
    Mode {
        Auto = "auto",
        Bpf = "bpf",
        Tun = "tun",
    }
}

/// What to translate. Without the file, nothing is translated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    #[serde(default)]
    pub schema: Schema,
    /// The interface that leads to the NAT64.
    pub uplink: String,
    /// The NAT64 prefix, of 32, 40, 48, 56, 64 or 96 bits.
    pub prefix: Ipv6Net,
    /// Auto: BPF, or a TUN device alone where the kernel refuses BPF.
    #[serde(default = "auto")]
    pub mode: Word<Mode>,
    /// The CLAT's address; without it, one generated in the uplink's /64, or the uplink's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv6Addr>,
    /// The uplink's IPv6 MTU in octets; without it, the kernel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

fn auto() -> Word<Mode> {
    Mode::Auto.into()
}

/// What is translated now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub schema: Schema,
    /// The interface with IPv4; without it, nothing is translated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Ipv6Net>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Word<Mode>>,
    /// The CLAT's IPv6 address, which the venue sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv6Addr>,
    /// Whether the head itself uses that address too.
    pub shared: bool,
    /// Why nothing is translated, or why BPF is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

impl Order {
    /// Parses the file.
    ///
    /// # Errors
    /// What is wrong with the file, as a text for the log.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let order: Self = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        if order.schema != Schema::default() {
            return Err(format!("schema {} is not known here", order.schema.0));
        }
        Ok(order)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn parses_an_order_with_and_without_optional_fields() {
        let short = br#"{"uplink": "eth1", "prefix": "64:ff9b::/96", "later": true}"#;
        let order = Order::parse(short).unwrap();
        assert_eq!((order.mode.clone(), order.address, order.mtu), (Mode::Auto.into(), None, None));
        assert_eq!(Order::parse(&crate::line(&order)).unwrap(), order);
        let long = br#"{"schema": 1, "uplink": "eth1", "prefix": "2001:db8::/32", "mode": "tun",
                        "address": "2001:db8::1", "mtu": 1280}"#;
        let order = Order::parse(long).unwrap();
        assert_eq!(order.mode, Mode::Tun);
        assert_eq!(order.mtu, Some(1280));
    }

    #[test]
    fn refuses_an_invalid_order() {
        for wrong in [
            &br#"{"uplink": "eth1"}"#[..],
            br#"{"uplink": "eth1", "prefix": "64:ff9b::"}"#,
            br#"{"schema": 2, "uplink": "eth1", "prefix": "64:ff9b::/96"}"#,
            b"",
        ] {
            assert!(Order::parse(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn a_state_omits_absent_values() {
        let state = State { reason: Some("eth1 is not there".into()), ..State::default() };
        let line = crate::line(&state);
        let text = String::from_utf8(line.clone()).unwrap();
        assert_eq!(text.trim(), r#"{"schema":1,"shared":false,"reason":"eth1 is not there"}"#);
        assert_eq!(serde_json::from_slice::<State>(&line).unwrap(), state);
    }
}
