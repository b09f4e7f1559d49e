//! How keys are written down.

use std::time::Duration;

use super::{Key, Kind, Preset};
use crate::fault::Complaint;
use crate::grammar;
use crate::tree::Scalar;

macro_rules! text {
    ($form:expr, $parse:path) => {
        Kind::Text($form, |value| match value {
            Scalar::Text(text) => $parse(text).map(drop),
            Scalar::Integer(number) => {
                Err(Complaint::new(format!("{number} is not a text"), "put it in quotes"))
            }
        })
    };
}

macro_rules! scalar {
    ($form:expr, $parse:path) => {
        Kind::Scalar($form, |value| $parse(value).map(drop))
    };
}

pub(super) const fn key(path: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Key {
    Key { path, kind, default, doc }
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What nodes can be asked.
pub(super) const fn probes() -> Kind {
    Kind::List {
        form: "\"icmp\", \"arp\", \"tcp:22\", \"http://:80/healthz\"",
        integers: false,
        lone: true,
        empty: true,
        check: |value| match value {
            Scalar::Text(text) => grammar::node_probe(text).map(drop),
            Scalar::Integer(_) => Err(Complaint::new("a number is no probe", "write \"tcp:22\"")),
        },
    }
}

pub(super) const PORT: &str = "name, glob (* ? […]), or \"mac:aa:bb:cc:dd:ee:ff\"";
pub(super) const PIN: Kind = Kind::Integer(0, 511);
pub(super) const DAY: u64 = 86_400;

pub(super) use {scalar, text};
