//! `bramblegate panel-message`: shows a last message when the daemon is gone. For hooks of the
//! service manager: hidden from help.

use std::process::ExitCode;

use super::settings::{self, ConfigArg};
use super::{exit, output};
use crate::config::{self, Lcd, Led, Merged};
use crate::event::{ApplyError, ApplyErrorKind};
use crate::panel::Frame;
use crate::reconcile::panel::{display, indicator};

const EXAMPLES: &str = "\
Examples:
  bramblegate panel-message \"SAFE TO UNPLUG\"    what the hook at power-off does";

/// Write a text on the display, lit, and darken the LED; not while the daemon runs
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Words; they are spread over the rows
    text: String,
    #[command(flatten)]
    config: ConfigArg,
}

/// Shows a message on the panel. Exits with 0 also without a display or LED; with 71 if a device
/// that is there fails.
pub fn main(args: Args) -> ExitCode {
    // Without settings, the board alone determines the panel.
    let files = settings::read_files(&args.config.config).0;
    let Some(merged) = panel_settings(&files) else { return ExitCode::SUCCESS };
    let shown = show(&merged.settings.lcd, &args.text);
    let darkened = darken(&merged.settings.led);
    let mut code = ExitCode::SUCCESS;
    let errors = [shown, darkened].into_iter().filter_map(Result::err);
    for error in errors.filter(|error| error.kind != ApplyErrorKind::Absent) {
        let help = "`sudo bramblegate doctor` checks display and LED";
        output::failure("panel-message", &error.message, help);
        code = ExitCode::from(exit::CANNOT_CREATE);
    }
    code
}

fn show(settings: &Lcd, text: &str) -> Result<(), ApplyError> {
    let Some(mut connect) = display::connector(settings) else { return Ok(()) };
    // The frame cuts what does not fit.
    let rows = output::filled(text, settings.geometry.columns.into());
    connect()?.show(&Frame::from_lines(settings.geometry, &rows), true)?;
    Ok(())
}

fn darken(settings: &Led) -> Result<(), ApplyError> {
    let Some(mut connect) = indicator::connector(settings) else { return Ok(()) };
    connect()?.set(&[])?;
    Ok(())
}

/// Returns the settings of the panel also if others are wrong: the message may be about those.
/// Leaves out more and more tables until the others are valid.
fn panel_settings(files: &[(String, String)]) -> Option<Merged> {
    let attempts: [&[&str]; 4] = [&[], &["lcd", "gpio", "led"], &["lcd", "gpio"], &["board"]];
    attempts.into_iter().find_map(|tables| {
        let reduced: Vec<(String, String)> = if tables.is_empty() {
            files.to_vec()
        } else {
            let least =
                "uplink.interfaces = [\"uplink\"]\ncluster.interface = \"cluster\"\n".to_owned();
            let kept = files.iter().map(|(path, text)| (path.clone(), only_tables(text, tables)));
            kept.chain([("least".to_owned(), least)]).collect()
        };
        config::resolve(&reduced, &settings::boards(), settings::compatible().as_deref(), None).ok()
    })
}

/// Returns only the lines of these tables, and the name of the board.
fn only_tables(text: &str, tables: &[&str]) -> String {
    let mut table = "";
    let mut kept = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(header) = trimmed.strip_prefix('[') {
            table = header.split([']', '.']).next().unwrap_or_default().trim();
        }
        let names_board =
            table.is_empty() && trimmed.split('=').next().is_some_and(|key| key.trim() == "board");
        if names_board || tables.contains(&table) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LcdBus, LedDevice};

    const GOOD: &str = "board = \"emulated\"\n[uplink]\ninterfaces = [\"eth1\"]\n[cluster]\n\
                        interface = \"eth0\"\n\
                        [lcd]\nbus = \"/dev/i2c-7\"\nsize = \"8x2\"\n[led]\n\
                        device = \"blinkstick\"\n";

    fn panel(text: &str) -> (LcdBus, LedDevice) {
        let settings = panel_settings(&[("file".to_owned(), text.to_owned())]).unwrap().settings;
        (settings.lcd.bus, settings.led.device)
    }

    #[test]
    fn words_are_distributed_over_the_rows() {
        let spread = |columns| output::filled("SAFE TO UNPLUG", columns);
        assert_eq!(spread(16), ["SAFE TO UNPLUG"]);
        assert_eq!(spread(8), ["SAFE TO", "UNPLUG"]);
    }

    #[test]
    fn wrong_settings_elsewhere_leave_the_panel_reachable() {
        let whole = panel(GOOD);
        assert!(
            matches!(&whole.0, LcdBus::I2c { device, .. } if device.ends_with("i2c-7")),
            "{whole:?}"
        );
        assert_eq!(panel(&GOOD.replace("eth1", "")), whole);
        assert_eq!(panel(&format!("nonsense = 1\n{GOOD}")), whole);
        // A fault in [led] costs the LED's settings only, one in [lcd] both: then the board
        // decides.
        assert_eq!(panel(&format!("{GOOD}nonsense = 1\n")).0, whole.0);
        let lost = panel(&GOOD.replace("8x2", "7x9"));
        assert!(matches!(lost.0, LcdBus::Emulator { .. }), "{lost:?}");
    }
}
