//! The files between the daemon and `bramblegate-clat`: what it is to do, written by the daemon, and
//! what it does, written by itself. Each is one object of JSON, replaced as a whole.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::word::words;
use crate::{Schema, Text, Word};

/// Where the daemon writes the [`Order`], unless its folder is elsewhere.
pub const ORDER: &str = "/run/bramblegate/clat.json";
/// Its name in the daemon's run folder.
pub const ORDER_FILE: &str = "clat.json";
/// The interface that the program makes: IPv4's way out is by it.
pub const DEVICE: &str = "clat0";
/// Where the program writes its [`State`].
pub const STATE: &str = "/run/bramblegate-clat/state.json";
/// Where it writes, without BPF, which settings of the kernel it changed: a line for each, with its name
/// below `/proc/sys/net/ipv6`, a blank, and its value before.
pub const SYSCTLS: &str = "/run/bramblegate-clat/sysctls";
/// Its name beside the state.
pub const SYSCTLS_FILE: &str = "sysctls";

words! {
    /// What translates.
    Mode {
        Auto = "auto",
        Bpf = "bpf",
        Tun = "tun",
    }
}

/// What is to be translated. While there is no such file nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    #[serde(default)]
    pub schema: Schema,
    /// the interface that leads to the NAT64
    pub uplink: String,
    /// the NAT64 prefix, of 32, 40, 48, 56, 64 or 96 bits
    pub prefix: Ipv6Net,
    /// auto: BPF, and where the kernel refuses it a TUN device alone
    #[serde(default = "auto")]
    pub mode: Word<Mode>,
    /// the address to translate with; without it one of the uplink's /64, or the uplink's own
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv6Addr>,
    /// the uplink's IPv6 MTU in octets; without it the kernel's
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
    /// the interface with IPv4; without it nothing is translated
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Ipv6Net>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Word<Mode>>,
    /// the IPv6 address that the nodes are seen with
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv6Addr>,
    /// whether the head itself uses that address too
    pub shared: bool,
    /// why nothing is translated, or why without BPF
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

impl Order {
    /// Reads the file.
    ///
    /// # Errors
    /// It holds something else; what is wrong with it.
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
    fn reads_an_order_with_and_without_what_may_be_left_out() {
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
    fn refuses_what_is_no_order() {
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
    fn a_state_holds_only_what_there_is() {
        let state = State { reason: Some("eth1 is not there".into()), ..State::default() };
        let line = crate::line(&state);
        let text = String::from_utf8(line.clone()).unwrap();
        assert_eq!(text.trim(), r#"{"schema":1,"shared":false,"reason":"eth1 is not there"}"#);
        assert_eq!(serde_json::from_slice::<State>(&line).unwrap(), state);
    }
}
