//! The picture of the panel in README.md: the display at the end of the story `arrive`, dot by dot
//! from the character ROM.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bramblegate::cli::panel::{Depth, Style, draw};
use bramblegate::decide::alert::Severity;
use bramblegate::panel::charset::HEARTBEAT;
use bramblegate::panel::{Charset, Frame, Signal};
use libtest_mimic::Failed;

use crate::file::Case;
use crate::simulation::Simulation;
use crate::updating;

const BEGIN: &str = "<!-- picture: begin";
const END: &str = "<!-- picture: end -->";

/// Compares the README's picture with the one drawn now, or replaces it.
pub fn compare() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let case = Case::read(&fs::read_to_string(root.join("tests/cases/arrive.toml"))?)?;
    let mut sim = Simulation::begin(&case)?;
    for moment in &case.moments {
        sim.play(moment)?;
    }
    let (mut frame, light, severity) = sim.face();
    let geometry = frame.geometry();
    frame.set(usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1, HEARTBEAT);
    let drawn = format!("```text\n{}```\n", picture(&frame, light, severity));

    let path = root.join("README.md");
    let readme = fs::read_to_string(&path)?;
    let (before, rest) =
        readme.split_once(BEGIN).ok_or("README.md has lost its mark of the picture's begin")?;
    let (mark, rest) = rest.split_once('\n').ok_or("nothing follows the mark")?;
    let (known, after) =
        rest.split_once(END).ok_or("README.md has lost its mark of the picture's end")?;
    if known == drawn {
        return Ok(());
    }
    if updating() {
        fs::write(&path, format!("{before}{BEGIN}{mark}\n{drawn}{END}{after}"))?;
        return Ok(());
    }
    Err(format!("README.md: the panel looks like this now; UPDATE=1 writes it there\n{drawn}")
        .into())
}

/// Returns what `bramblegate panel` draws, without colours.
fn picture(frame: &Frame, light: Signal, severity: Severity) -> String {
    let style = Style { columns: 100, rows: 24, depth: Depth::None, big: false };
    // A moment at which the heart is visible and the light is bright.
    let drawn =
        draw(&frame.lines(), frame.geometry(), Charset::A00, light, Duration::from_secs(2), style);
    format!("{}    {severity}\n", drawn.join("\n"))
}
