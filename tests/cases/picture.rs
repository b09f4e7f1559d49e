//! The picture of the panel in README.md: what the story `arrive` leaves on the glass, dot by dot, as the character ROM has it.

use std::fs;
use std::path::Path;

use bramblegate::panel::charset::HEARTBEAT;
use bramblegate::panel::{Charset, Frame};
use libtest_mimic::Failed;

use crate::evening::Evening;
use crate::file::Case;
use crate::updating;

const BEGIN: &str = "<!-- picture: begin";
const END: &str = "<!-- picture: end -->";

/// Compares the README's picture with the one drawn now, or puts that in its place.
pub fn compare() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let case = Case::read(&fs::read_to_string(root.join("tests/cases/arrive.toml"))?)?;
    let mut evening = Evening::begin(&case)?;
    for moment in &case.moments {
        evening.play(moment)?;
    }
    let (mut frame, light) = evening.face();
    let geometry = frame.geometry();
    frame.set(usize::from(geometry.rows) - 1, usize::from(geometry.columns) - 1, HEARTBEAT);
    let drawn = format!("```text\n{}```\n", picture(&frame, &light));

    let path = root.join("README.md");
    let readme = fs::read_to_string(&path)?;
    let (before, rest) = readme.split_once(BEGIN).ok_or("README.md has lost its mark of the picture's begin")?;
    let (mark, rest) = rest.split_once('\n').ok_or("nothing follows the mark")?;
    let (known, after) = rest.split_once(END).ok_or("README.md has lost its mark of the picture's end")?;
    if known == drawn {
        return Ok(());
    }
    if updating() {
        fs::write(&path, format!("{before}{BEGIN}{mark}\n{drawn}{END}{after}"))?;
        return Ok(());
    }
    Err(format!("README.md: the panel looks like this now; UPDATE=1 writes it there\n{drawn}").into())
}

/// Dots of the whole display, two rows of them in a line of half blocks; a cell is five by eight dots and a gap of one.
fn picture(frame: &Frame, light: &str) -> String {
    let geometry = frame.geometry();
    let (width, height) = (usize::from(geometry.columns) * 6 - 1, usize::from(geometry.rows) * 9 - 1);
    let is_lit = |x: usize, y: usize| {
        let dots = Charset::A00.dots(frame.get(y / 9, x / 6));
        y < height && x % 6 < 5 && y % 9 < 8 && dots[y % 9] & (0x10 >> (x % 6)) != 0
    };
    let edge = "─".repeat(width + 2);
    let mut text = format!("┌{edge}┐\n");
    for top in (0..height).step_by(2) {
        let cells = (0..width).map(|x| match (is_lit(x, top), is_lit(x, top + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        text += &format!("│ {} │\n", cells.collect::<String>());
    }
    format!("{text}└{edge}┘\n  ● {light}\n")
}
