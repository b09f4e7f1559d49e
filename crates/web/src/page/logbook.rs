//! The journal's latest lines.

use maud::{Markup, html};

use super::head::{DAEMON, moment};
use super::words::Words;
use crate::logbook::Entry;

/// The syslog priority of a warning; lower ones are more urgent.
const WARNING: u8 = 4;

/// Draws the lines, newest first; nothing without lines.
pub(super) fn draw(entries: &[Entry], words: &Words) -> Markup {
    if entries.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { (words.log) }
            ol reversed lang=(DAEMON) {
                @for entry in entries.iter().rev() {
                    li.urgent[entry.priority <= WARNING] {
                        small { (moment(entry.at)) } " " (entry.text)
                    }
                }
            }
        }
    }
}
