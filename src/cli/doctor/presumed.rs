//! Settings for a machine that has none yet, so that what stands in the way is found before
//! `setup`.

use crate::cli::detect::decide::decide;
use crate::cli::detect::look::{Found, ports};
use crate::cli::machine::Machine;
use crate::cli::settings::{COMPATIBLE, boards};
use crate::config::{self, Settings};

/// As `detect` would propose them; but it asks no bus for a panel.
pub fn settings(machine: &Machine) -> Option<Settings> {
    let compatible = machine.bytes(COMPATIBLE);
    let board = boards().resolve("auto", compatible.as_deref()).ok()?;
    let found = Found {
        device_tree: compatible.is_some(),
        ports: ports(machine, &board),
        default_route: machine.default_route(),
        subnets: machine.routes().into_iter().filter(|(net, _)| net.prefix_len() > 0).collect(),
        ..Found::default()
    };
    let values = decide(&found, &board).values;
    let text: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    config::load(&[("detect", text)], &board).ok()
}
