//! Settings of a head that is not set up. It shows addresses and its own state, and changes nothing
//! in the network, until `bramblegate setup` writes settings.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::cli::detect::decide::decide;
use crate::cli::detect::look::{Found, i2c_buses};
use crate::cli::machine::Machine;
use crate::cli::settings::{self, DEFAULT_FILE};
use crate::config::{self, Fault, Settings, Unset};
use crate::files::reading;

/// Settings of an image for its first start, on the partition that any computer can write.
/// `bramblegate-setup.service` takes them over.
pub const BOOT_FILE: &str = "/boot/firmware/bramblegate.toml";
/// Timeout of the search for a display: on a bus that hangs the kernel gives each address up to a
/// second.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Factory addresses of backpacks (PCF8574 and PCF8574A). An expander at another address may switch
/// something else, and the user has not been asked.
const FACTORY_ADDRESSES: [&str; 2] = ["0x27", "0x3f"];
/// Any interface may lead to the venue, none is the cluster's, and nothing is sent.
pub const SHOW_ONLY: &str = "\
uplink.interfaces = [\"en*\", \"eth*\", \"wl*\", \"usb*\", \"ww*\"]
uplink.check = false
gateway.enabled = false
cluster.interface = \"none\"
";

/// Returns whether the head is not set up: `path` is the machine's own file and does not exist.
/// Another file that is missing is an error.
pub fn is_unset(path: &Path) -> bool {
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    path == Path::new(DEFAULT_FILE) && path.symlink_metadata().is_err_and(|error| missing(&error))
}

/// Returns the settings of a head that is not set up.
///
/// # Errors
/// A board file of this machine is wrong.
pub fn settings() -> Result<Settings, Vec<Fault>> {
    let panel = reading::within(SEARCH_TIMEOUT, panel).unwrap_or_default();
    let text = format!("{SHOW_ONLY}{panel}");
    let boards = settings::boards();
    let compatible = settings::compatible();
    let files = [("first start", text)];
    let mut settings = config::resolve(&files, &boards, compatible.as_deref(), None)?.settings;
    settings.unset = Some(reason(Path::new(BOOT_FILE)));
    Ok(settings)
}

/// Returns the settings of the display, if a device answers that surely is one.
fn panel() -> String {
    let machine = Machine::real();
    let compatible = settings::compatible();
    let Ok(board) = settings::boards().resolve("auto", compatible.as_deref()) else {
        return String::new();
    };
    display_values(
        &decide(&Found { buses: i2c_buses(&machine), ..Found::default() }, &board).values,
    )
}

/// Returns the values of a display: an OLED, which identifies itself, or a backpack at its factory
/// address.
fn display_values(values: &[(&str, String)]) -> String {
    let value = |key: &str| values.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
    let is_factory =
        value("lcd.address").is_some_and(|address| FACTORY_ADDRESSES.contains(&address.as_str()));
    let lines = values.iter().filter(|(key, _)| key.starts_with("lcd."));
    let lines = lines.filter(|_| is_factory || value("lcd.size").is_some());
    lines.map(|(key, value)| format!("{key} = {value}\n")).collect()
}

/// Returns why the head is not set up.
fn reason(boot_file: &Path) -> Unset {
    if boot_file.symlink_metadata().is_err() {
        return Unset::NoFile;
    }
    match settings::load(boot_file) {
        Err(faults) => Unset::BootFile(faults.first().map(Fault::on_one_line).unwrap_or_default()),
        Ok(_) => Unset::BootFile(format!(
            "{} was not taken over: the journal of bramblegate-setup.service shows why",
            boot_file.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::cli::detect::look::Bus;

    fn found(address: u8, byte: u8) -> Vec<(&'static str, String)> {
        let bus = Bus {
            device: "/dev/i2c-1".to_owned(),
            name: "bcm2835 (i2c@7e804000)".to_owned(),
            answers: Ok(vec![(address, byte)]),
            held: Vec::new(),
        };
        let board = Board::built_in("raspberry-pi-4").unwrap();
        decide(&Found { buses: vec![bus], ..Found::default() }, &board).values
    }

    #[test]
    fn only_a_certain_display_is_driven_without_settings() {
        assert!(display_values(&found(0x27, 0x08)).contains("lcd.address = 0x27"));
        assert!(display_values(&found(0x3f, 0xff)).contains("lcd.address = 0x3f"));
        // Relays on an expander: a wrong bit switches something.
        assert_eq!(display_values(&found(0x20, 0x00)), "");
        // The status byte of an SSD1306 (datasheet 8.1.5): display off, D6 set.
        let oled = display_values(&found(0x3c, 0x43));
        assert!(oled.contains("lcd.size = "), "{oled}");
    }

    #[test]
    fn a_head_without_settings_only_shows() {
        let boards = settings::boards();
        let merged = config::resolve(&[("first start", SHOW_ONLY)], &boards, None, None).unwrap();
        assert!(!merged.settings.gateway.enabled);
        assert_eq!(merged.settings.uplink.probe, config::UplinkProbe::Off);
        assert!(merged.settings.cluster.dhcp.is_none() && merged.settings.forwards.is_empty());
    }

    /// The first fault of the boot file is shown with its place; a file that was named is missed.
    #[test]
    fn a_wrong_boot_file_is_reported_with_its_position() {
        let held = tempfile::tempdir().unwrap();
        let file = held.path().join("bramblegate.toml");
        assert_eq!(reason(&file), Unset::NoFile);
        std::fs::write(&file, "uplink.interfaces = [\"eth1\"]\nclsuter.interface = \"eth0\"\n")
            .unwrap();
        let Unset::BootFile(text) = reason(&file) else { panic!("it is wrong") };
        assert!(text.contains("bramblegate.toml:2:1: error: "), "{text}");
        std::fs::write(&file, "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n")
            .unwrap();
        let Unset::BootFile(text) = reason(&file) else { panic!("it is not in use") };
        assert!(text.contains("bramblegate-setup.service"), "{text}");
        assert!(!is_unset(&held.path().join("missing.toml")));
    }
}
