//! Prometheus' blackbox exporter, which takes an HTTP request per node and round.

use std::path::Path;

use bramblegate_lab::Result;
use bramblegate_lab::shell::{Running, spawn, within};

use super::Room;
use crate::lab::write;

/// The program's name in Debian. Its package starts a service, so nothing installs it for this
/// benchmark.
pub const PROGRAM: &str = "prometheus-blackbox-exporter";
const PORT: &str = "9115";
const MODULES: &str = "modules:\n  node:\n    prober: icmp\n    timeout: 500ms\n    icmp:\n      preferred_ip_protocol: ip4\n";

/// Returns whether the program is available.
pub fn is_here() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file());
    if !here {
        eprintln!("sweep: {PROGRAM} is not in PATH and is not compared");
    }
    here
}

/// The exporter, and its client. Only the exporter's cost counts.
pub fn start(room: &Room, list: &str) -> Result<(Running, Running)> {
    let modules = write("blackbox.yml", MODULES)?;
    let (config, listen) = (
        format!("--config.file={}", modules.display()),
        format!("--web.listen-address=127.0.0.1:{PORT}"),
    );
    room.head.ip("link set lo up")?;
    let exporter = room.other(PROGRAM, &[&config, &listen])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/blackbox.py");
    let mut asker = within(&room.head.0, "python3");
    let asker = spawn(
        asker.args([script.as_os_str(), PORT.as_ref(), list.as_ref()]),
        Path::new("/dev/null"),
    )?;
    Ok((exporter, asker))
}
