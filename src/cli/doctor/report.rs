//! The output of `doctor`: text, with a line for each check if wanted, and JSON.

use serde_json::{Value, json};

use super::{CHECKS, CheckResult, Finding, Rank};
use crate::cli::output;
use crate::event::printable_line;

/// Version of the JSON format.
const SCHEMA: u32 = 1;
const GREEN: &str = "\x1b[32m";
const AMBER: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// Returns the number of checks: [`CHECKS`], that of the settings, and that of the translator.
pub fn count() -> usize {
    CHECKS.len() + 2
}

/// Returns the number of checks and queries: "32 checks and 2 questions". With errors in the
/// settings, most checks are not run.
fn tally(checks: &[CheckResult]) -> String {
    let all = count();
    let asked = checks.iter().filter(|checked| checked.is_query).count();
    let made = checks.len() - asked;
    let mut text = match made {
        made if made < all => format!("{made} of {all} checks"),
        made => format!("{made} checks"),
    };
    match asked {
        0 => {}
        1 => text += " and 1 question",
        asked => text += &format!(" and {asked} questions"),
    }
    text
}

/// Returns notes and findings as text, with a line for each check if `is_verbose`.
pub fn text(checks: &[CheckResult], findings: &[Finding], is_verbose: bool) -> String {
    let notes = checks.iter().flat_map(|checked| &checked.notes);
    let notes: String = notes.map(|note| format!("well     {}\n", printable_line(note))).collect();
    let report = report(findings, &tally(checks));
    if !is_verbose {
        return notes + &report;
    }
    let last = report.lines().last().unwrap_or_default();
    format!("{notes}{}{last}\n", check_lines(checks, output::colours()))
}

/// Returns the findings as text, each with its remedy, and a last line that begins with the
/// tally.
pub fn report(findings: &[Finding], tally: &str) -> String {
    let text: String = findings.iter().map(entry).collect();
    text + &match findings.iter().filter(|finding| finding.rank > Rank::Hint).count() {
        0 => format!("{tally}, nothing is in the way.\n"),
        1 => format!("{tally}, 1 finding.\n"),
        count => format!("{tally}, {count} findings.\n"),
    }
}

/// Returns a finding and its remedy.
pub fn entry(finding: &Finding) -> String {
    let mark = finding.rank.mark();
    let (what, remedy) = (printable_line(&finding.text), printable_line(&finding.remedy));
    format!("{mark}  {}: {what}\n         remedy: {remedy}\n", finding.code)
}

/// Returns a line for each check that was made, and below it what it found.
fn check_lines(checks: &[CheckResult], colours: bool) -> String {
    let mut text = String::new();
    for checked in checks {
        let (mark, colour) = match checked.rank() {
            None => ("✓", GREEN),
            Some(Rank::Hint) => ("!", AMBER),
            Some(Rank::Finding | Rank::Blocked) => ("✗", RED),
        };
        let mark = if colours { format!("{colour}{mark}{RESET}") } else { mark.to_owned() };
        text += &format!("{mark} {}\n", printable_line(&checked.name));
        text.extend(checked.findings.iter().map(entry));
    }
    text
}

/// Returns all checks as JSON, as bramblegate(1) describes it.
pub fn as_json(checks: &[CheckResult], settings: &str, is_root: bool) -> Value {
    let worst = checks.iter().filter_map(CheckResult::rank).max();
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "settings": settings,
        "root": is_root,
        "result": rank_word(worst),
        "checks": checks.iter().map(check_as_json).collect::<Vec<_>>(),
    })
}

fn check_as_json(checked: &CheckResult) -> Value {
    json!({
        "check": checked.name,
        "result": rank_word(checked.rank()),
        "notes": checked.notes,
        "findings": checked.findings.iter().map(finding_as_json).collect::<Vec<_>>(),
    })
}

fn finding_as_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code.name(),
        "rank": rank_word(Some(finding.rank)),
        "text": finding.text,
        "remedy": finding.remedy,
    })
}

/// Returns the JSON word for a check's highest rank.
fn rank_word(rank: Option<Rank>) -> &'static str {
    match rank {
        None => "ok",
        Some(Rank::Hint) => "hint",
        Some(Rank::Finding) => "finding",
        Some(Rank::Blocked) => "blocked",
    }
}
