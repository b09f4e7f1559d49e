//! The first start of a head: without settings, or with wrong ones on the boot partition.

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, spawn, within};
use bramblegate_lab::{Error, Result};

use super::scene::{PLAIN, STOP, before_start, ensure, leased, network_of_head, same, until};

/// The status socket without settings.
const SOCKET: &str = "/run/bramblegate/status.sock";

/// The settings of an image, and the machine's own.
const BOOT: &str = "/boot/firmware/bramblegate.toml";
const OWN: &str = "/etc/bramblegate/bramblegate.toml";

/// Starts the daemon like the package's unit, on a head with this text in one of the files.
fn start(file: Option<(&str, &str)>) -> Result<Running> {
    let file = file.map_or_else(String::new, |(path, text)| format!("printf '{text}' > {path};"));
    let script = format!(
        "set -e; mount -t tmpfs tmpfs /etc; mount -t tmpfs tmpfs /boot; mkdir -p /boot/firmware \
         /etc/bramblegate /run/bramblegate {HOME}/state; {file} exec {} run",
        crate::program().display()
    );
    let mut command = within("head", "unshare");
    command
        .args(["--mount", "sh", "-c", &script])
        .env("RUNTIME_DIRECTORY", "/run/bramblegate")
        .env("STATE_DIRECTORY", format!("{HOME}/state"))
        .env_remove("BRAMBLEGATE_CONFIG")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM");
    spawn(&mut command, format!("{HOME}/first-start.log").as_ref())
}

fn status() -> String {
    let program = crate::program();
    must("head", &format!("{} status --json --socket {SOCKET} || true", program.display()))
        .unwrap_or_default()
}

/// Stops the daemon like the service manager.
fn stop(daemon: &mut Running) -> Result<()> {
    daemon.signal("TERM")?;
    let mut code = None;
    until("its end", || {
        code = daemon.ended();
        code.is_some()
    })?;
    ensure(&format!("it stops cleanly within {STOP:?}: {code:?}"), code == Some(0))
}

pub fn a_head_without_settings_only_shows() -> Result<()> {
    before_start(PLAIN, |_| {
        leased()?;
        let before = network_of_head()?;
        let mut daemon = start(None)?;
        until("the address", || status().contains("10.99.0.126"))?;
        let text = status();
        ensure(&format!("what to do: {text}"), text.contains("\"code\":\"host-not-set-up\""))?;
        ensure("it sends no probe", text.contains("\"state\":\"addressed\""))?;
        same("nothing in the network is changed", &before, &network_of_head()?)?;
        stop(&mut daemon)?;
        same("nor at its end", &before, &network_of_head()?)
    })
}

pub fn a_wrong_boot_file_is_named_and_the_head_only_shows() -> Result<()> {
    before_start(PLAIN, |_| {
        leased()?;
        let before = network_of_head()?;
        let wrong = r#"uplink.interfaces = ["eth1"]\nclsuter.interface = "eth0"\n"#;
        let mut daemon = start(Some((BOOT, wrong)))?;
        until("the address", || status().contains("10.99.0.126"))?;
        let text = status();
        let named = text.contains("\"code\":\"host-boot-file\"")
            && text.contains("/boot/firmware/bramblegate.toml:2:1: error:");
        ensure(&format!("the error with its place: {text}"), named)?;
        same("nothing in the network is changed", &before, &network_of_head()?)?;
        stop(&mut daemon)
    })
}

/// A reload after the settings were deleted by mistake takes nothing from the nodes. Once restored,
/// they are read.
pub fn settings_that_vanish_stay_in_force() -> Result<()> {
    before_start(PLAIN, |_| {
        leased()?;
        let text =
            r#"uplink.interfaces = "eth1"\nuplink.check = false\ncluster.interface = "eth0"\n"#;
        let mut daemon = start(Some((OWN, text)))?;
        let table = || must("head", "nft list table inet bramblegate").is_ok();
        until("the rules", table)?;
        let inside = format!("nsenter -m -t {}", daemon.id());
        must("head", &format!("{inside} rm {OWN}"))?;
        let log = || std::fs::read_to_string(format!("{HOME}/first-start.log")).unwrap_or_default();
        daemon.signal("HUP")?;
        until("the error", || log().contains("bramblegate.toml:1:1: error: no such file"))?;
        ensure("the rules stay", table())?;
        ensure("it is set up", !status().contains("host-not-set-up"))?;
        stop(&mut daemon)
    })
}

/// A file named on the command line is required, whatever else exists.
pub fn settings_that_were_named_are_missed() -> Result<()> {
    before_start(PLAIN, |_| {
        let line = format!("{} run -c /nonexistent/b.toml 2>&1", crate::program().display());
        let (code, text) = bramblegate_lab::shell::exec("head", &line)?;
        let text = text.trim().to_owned();
        if code == 78 && text.contains("/nonexistent/b.toml:1:1: error: no such file") {
            return Ok(());
        }
        Err(Error(format!("exit {code}: {text}")))
    })
}
