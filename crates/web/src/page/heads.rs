//! Other heads, a card each.

use maud::{Markup, html};

use super::head::{class, moment};
use super::words::{Words, text};
use crate::heads::Head;

/// Draws the heads; nothing without other heads.
pub(super) fn draw(heads: &[Head], words: &Words) -> Markup {
    if heads.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { (words.heads) }
            ul.grid.cards { @for head in heads { (card(head, words)) } }
        }
    }
}

fn card(head: &Head, words: &Words) -> Markup {
    let name = head.url.trim_start_matches("http://");
    html! {
        li.node.gone[head.lost.is_some()] data-head=(name) {
            b { a href=(head.url) rel="noreferrer noopener" { (name) } }
            @if let Some(report) = &head.last {
                " " span class={ "severity " (class(&report.severity)) } { (text(&report.severity, words.severity)) }
                br; (report.up) "/" (report.total) " " (words.up_of)
                @if let Some(address) = &report.address { br; code { (address) } }
                @if report.alerts > 0 { br; (words.alerts) ": " (report.alerts) }
            }
            @if let Some((why, since)) = &head.lost {
                p.lost { (words.lost_head) " " (moment(*since)) br; small { (why) } }
            }
        }
    }
}
