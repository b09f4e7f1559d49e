//! The shares: disks of the head that the nodes use.

use bramblegate_api::status::{Share, Snapshot};
use maud::{Markup, html};

use super::words::Words;

/// The state of a share, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    NotExported,
    ReadOnly,
    Served,
}

impl State {
    fn of(share: &Share) -> Self {
        // A share with access "ro" may well be read-only.
        let writable = &*share.access != "ro";
        match share {
            Share { mounted: false, .. } => Self::Missing,
            Share { exported: false, .. } => Self::NotExported,
            Share { read_only: Some(true), .. } if writable => Self::ReadOnly,
            _ => Self::Served,
        }
    }
}

/// Draws the shares as a section; nothing without shares.
pub(super) fn draw(snapshot: &Snapshot, words: &Words) -> Markup {
    if snapshot.shares.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { (words.shares) }
            ul { @for share in &snapshot.shares { (one_share(share, words)) } }
        }
    }
}

fn one_share(share: &Share, words: &Words) -> Markup {
    let state = State::of(share);
    let access = if &*share.access == "ro" { words.read_access } else { words.write_access };
    html! {
        li.active[state == State::Served] data-share=(share.name) {
            b { (share.name) } " "
            span.health.bad[state != State::Served] { ((words.share)(state)) }
            br; code { (share.path) } " " (access)
            @if let Some(free) = share.free_percent { br; (free) " % " (words.free) }
            @if let Some(errors) = share.errors.filter(|errors| *errors > 0) {
                br; span.bad { (words.errors) ": " (errors) }
            }
            @if !share.clients.is_empty() {
                br; (words.used_by) " " (share.clients.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_shown() {
        let share = |access: &str, mounted, exported, read_only| {
            State::of(&Share {
                access: access.into(),
                mounted,
                exported,
                read_only,
                ..Share::default()
            })
        };
        assert_eq!(share("rw", false, true, Some(true)), State::Missing);
        assert_eq!(share("rw", true, false, Some(true)), State::NotExported);
        assert_eq!(share("rw", true, true, Some(true)), State::ReadOnly);
        assert_eq!(share("ro", true, true, Some(true)), State::Served);
        assert_eq!(share("rw", true, true, None), State::Served);
    }
}
