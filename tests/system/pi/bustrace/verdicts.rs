//! The verdicts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::EXPANDER;
use crate::console::Console;
use crate::glass::Glass;
use crate::shares::{MOST, Shares};
use crate::trace::Message;

/// A picture in progress when the status is requested is complete within this time.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// The driver of this board's I²C controllers.
const ADAPTER: &str = "i2c-bcm2835";

struct Verdicts {
    passed: usize,
    failed: usize,
}

impl Verdicts {
    fn expect(&mut self, what: &str, is: bool, seen: &str) {
        let word = if is { "PASS" } else { "FAIL" };
        *(if is { &mut self.passed } else { &mut self.failed }) += 1;
        println!("{word}  {what}{}{seen}", if seen.is_empty() { "" } else { ": " });
    }
}

/// Prints all verdicts, and returns whether all are good. `at_most`: the limit of this build's time to
/// the first text, as a fraction of another build's.
///
/// # Errors
/// Trace or console are not those of a whole run.
pub fn all(
    console: &Console,
    messages: &[Message],
    glass: &Glass,
    shares: &Shares,
    at_most: Option<f64>,
) -> Result<bool, String> {
    let mut verdicts = Verdicts { passed: 0, failed: 0 };
    let troubles: Vec<&str> = console.facts("failed:").collect();
    verdicts.expect("the story got to its end", troubles.is_empty(), &troubles.join("; "));
    board(&mut verdicts, console, messages)?;
    claims(&mut verdicts, console, glass)?;
    ends(&mut verdicts, console, glass)?;
    let violations = glass.violations.first().map_or("", String::as_str);
    let what = format!("the display is driven by its datasheet, {} octets", glass.bytes);
    verdicts.expect(&what, glass.violations.is_empty() && glass.bytes > 0, violations);
    let read = format!("{} times, {} times something else", glass.read, glass.read_wrong);
    let is = glass.read > 0 && glass.read_wrong == 0;
    verdicts.expect("the gateway reads back what it wrote", is, &read);
    let ours = format!("{:.3} s of {} s", shares.ours().as_secs_f64(), MOST.as_secs());
    verdicts.expect("our share of boot to address", shares.ours() <= MOST, &ours);
    if let Some(at_most) = at_most {
        let ratio = shares.ratio();
        let seen = ratio.map_or("no other build was started".to_owned(), |ratio| {
            format!("{ratio:.2} of its time, at most {at_most}")
        });
        let is = ratio.is_some_and(|ratio| ratio <= at_most);
        verdicts.expect("the first text beside another build's", is, &seen);
    }
    println!("pi-test: {} passed, {} failed", verdicts.passed, verdicts.failed);
    Ok(verdicts.failed == 0)
}

/// The board by the device tree, its own I²C controller, and the single display on it.
fn board(verdicts: &mut Verdicts, console: &Console, messages: &[Message]) -> Result<(), String> {
    let fact = |word| console.facts(word).next().unwrap_or("not known");
    let model = fact("board");
    let found: Vec<&str> = console.facts("detect").collect();
    let begins = |start: &str| found.iter().copied().find(|line| line.starts_with(start));
    let board = begins("board: ").unwrap_or("no line about the board");
    let is = board.starts_with("board: raspberry-pi-3 ") && board.contains("by the device tree");
    verdicts.expect(&format!("detect finds the board, a {model}"), is, board);
    let adapter = fact("adapter");
    verdicts.expect("its I2C bus is driven by the real driver", adapter.contains(ADAPTER), adapter);

    let (from, to) = (console.first("detecting")?.at, console.first("detected")?.at);
    let asked = messages.iter().filter(|message| message.began >= from && message.ended <= to);
    let answered: BTreeSet<u8> =
        asked.filter(|message| !message.read.is_empty()).map(|message| message.address).collect();
    let seen = format!("{answered:#04x?}").replace('\n', "");
    let only = answered.iter().eq([&EXPANDER]);
    verdicts.expect("its look at the bus reads the display alone", only, &seen);
    for wanted in ["address = 0x27", "bus = \"/dev/i2c-1\""] {
        let line = found.iter().copied().find(|line| line.trim_start_matches('#') == wanted);
        verdicts.expect("detect's settings", line.is_some(), line.unwrap_or(wanted));
    }
    Ok(())
}

/// Each claim is on the display, and so is the address in the status.
fn claims(verdicts: &mut Verdicts, console: &Console, glass: &Glass) -> Result<(), String> {
    let claims = console.claims()?;
    let (mut wrong, mut addresses) = (Vec::new(), BTreeSet::new());
    for claim in &claims {
        let seen: Vec<_> = glass.between(claim.asked, claim.answered + ON_ITS_WAY).collect();
        let lines: Vec<String> = claim.lines.iter().map(|line| without_heart(line)).collect();
        let is_shown = seen.iter().any(|picture| {
            picture.rows.iter().map(|row| without_heart(row)).eq(lines.iter().cloned())
        });
        let address = claim.address.as_deref();
        let has_address = address.is_none_or(|address| lines.iter().any(|line| line == address));
        if !is_shown || !has_address {
            let shown: Vec<_> = seen.iter().map(|picture| &picture.rows).collect();
            wrong.push(format!("claimed {address:?} and {:?}, shown {shown:?}", claim.lines));
        }
        addresses.insert(address.unwrap_or("none").to_owned());
    }
    let what = format!("status and glass agree, {} times", claims.len());
    verdicts.expect(&what, wrong.is_empty() && claims.len() >= 10, &wrong.join("; "));
    let names: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let lease = console.first("lease")?.rest.as_str();
    let is = ["none", lease, "10.0.2.77"].iter().all(|name| names.contains(name));
    verdicts.expect("with a lease, without and with another address", is, &names.join(", "));
    Ok(())
}

/// The heart in the corner beats on the display; the status always includes it.
fn without_heart(row: &str) -> String {
    row.trim_end().trim_end_matches('♥').trim_end().to_owned()
}

/// A stopped gateway exits successfully and leaves a text on the display.
fn ends(verdicts: &mut Verdicts, console: &Console, glass: &Glass) -> Result<(), String> {
    let mark = console.first("stopped")?;
    verdicts.expect("it stops when asked", mark.rest == "0", &format!("exit {}", mark.rest));
    let rows = glass.between(mark.at, mark.at).last().map(|picture| picture.rows.join(" | "));
    let rows = rows.unwrap_or_default();
    verdicts.expect("and leaves the word on the glass", rows.contains("STOPPED"), &rows);
    Ok(())
}
