//! The topics of a page, and their layout in slots.

use super::room::Slot;
use super::split;

/// One thing to show. Topics share a screen if there is room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// Wordings from longest to shortest; omitted if none fits.
    Wordings(Vec<String>),
    /// A name, truncated at the front if necessary because names often differ at their end only,
    /// and a value. Omitted if not even one character of the name fits.
    Tail { name: String, value: String },
    /// Never truncated; wrapped between words if necessary.
    Text(String),
    /// Independent cells, on as many rows as they need; omitted if they exceed one screen.
    Cells(String),
    /// An address other than that of row 1, with the name of its port. Never truncated.
    Address { port: String, address: String },
}

impl Topic {
    /// Returns a topic that shows the first of `wordings` that fits.
    pub fn wordings<S: Into<String>>(wordings: impl IntoIterator<Item = S>) -> Self {
        Self::Wordings(wordings.into_iter().map(Into::into).collect())
    }

    /// Returns the lines for these slots, in groups that stay on one screen. No group has more
    /// lines than there are slots.
    pub fn groups(&self, slots: &[Slot]) -> Vec<Vec<String>> {
        let width = slots.iter().map(|slot| slot.width).min().unwrap_or(0);
        match self {
            Self::Wordings(wordings) => {
                let fitting = wordings.iter().find(|wording| wording.chars().count() <= width);
                fitting.map(|wording| vec![wording.clone()]).into_iter().collect()
            }
            Self::Tail { name, value } => {
                let whole = name.chars().count();
                let room = width.saturating_sub(value.chars().count() + 1).min(whole);
                let tail: String = name.chars().skip(whole - room).collect();
                if tail.is_empty() { Vec::new() } else { vec![vec![format!("{tail} {value}")]] }
            }
            Self::Cells(cells) => {
                let cells: Vec<char> = cells.chars().collect();
                let rows: Vec<String> =
                    cells.chunks(width.max(1)).map(|row| row.iter().collect()).collect();
                if rows.len() <= slots.len() { vec![rows] } else { Vec::new() }
            }
            Self::Text(text) => {
                let lines = wrap(text, width);
                if lines.len() <= slots.len() {
                    return vec![lines];
                }
                lines.chunks(slots.len().max(1)).map(<[String]>::to_vec).collect()
            }
            Self::Address { port, address } => address_groups(port, address, slots, width),
        }
    }
}

/// Returns the topics' lines on as many screens as they need, each with at most one line per slot.
pub fn pack(topics: &[Topic], slots: &[Slot]) -> Vec<Vec<String>> {
    pack_placed(topics, slots).0
}

/// Returns the screens as [`pack`] does, and for each topic the index of its first screen.
pub fn pack_placed(topics: &[Topic], slots: &[Slot]) -> (Vec<Vec<String>>, Vec<usize>) {
    let mut screens: Vec<Vec<String>> = Vec::new();
    let mut firsts = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut first = None;
        for group in topic.groups(slots) {
            match screens.last_mut() {
                Some(screen) if screen.len() + group.len() <= slots.len() => screen.extend(group),
                _ => screens.push(group),
            }
            first.get_or_insert(screens.len() - 1);
        }
        firsts.push(first.unwrap_or(0));
    }
    (screens, firsts)
}

/// Returns the lines for an address. Each screen has the port's name, so that the address cannot be
/// mistaken for that of row 1.
fn address_groups(port: &str, address: &str, slots: &[Slot], width: usize) -> Vec<Vec<String>> {
    let together = format!("{port} {address}");
    if together.chars().count() <= width {
        return vec![vec![together]];
    }
    let label = label(port);
    let beside = slots.len().saturating_sub(1);
    if beside > 0 {
        let name = if port.chars().count() < width { port } else { &label };
        let title = format!("{name}:");
        let rows = split::all_rows(address, width);
        let screens = rows.chunks(beside);
        return screens
            .map(|rows| std::iter::once(title.clone()).chain(rows.iter().cloned()).collect())
            .collect();
    }
    let under_row_1 = slots.first().is_some_and(|slot| slot.row > 0);
    if under_row_1 && address.chars().count() <= width {
        // Row 1 holds the head's address, so this one may fill a row by itself, after its port's
        // name.
        return vec![wrap(&format!("{port}:"), width), vec![address.to_owned()]];
    }
    let rest = width.saturating_sub(label.chars().count() + 1);
    split::all_rows(address, rest).into_iter().map(|row| vec![format!("{label} {row}")]).collect()
}

/// Returns a port's name in at most six characters. The end is kept because names derived from
/// hardware addresses differ there.
fn label(port: &str) -> String {
    let scalars: Vec<char> = port.chars().collect();
    match scalars.as_slice() {
        [first, second, .., a, b, c] if scalars.len() > 6 => {
            [*first, *second, '.', *a, *b, *c].iter().collect()
        }
        _ => port.to_owned(),
    }
}

/// Returns the text wrapped to lines of at most `width`. Dropping the spaces before numbers is
/// tried first; words that are too long are split after a separator, or anywhere.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = text.trim();
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let squeezed = squeeze(text);
    if squeezed.chars().count() <= width {
        return vec![squeezed];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.extend(split_word(word, width.max(1))),
        }
    }
    lines
}

/// Returns the text without spaces before digits.
fn squeeze(text: &str) -> String {
    let next = text.chars().skip(1).chain(std::iter::once('\0'));
    text.chars()
        .zip(next)
        .filter(|(this, next)| *this != ' ' || !next.is_ascii_digit())
        .map(|(this, _)| this)
        .collect()
}

/// Returns a word in parts of at most `width`.
fn split_word(word: &str, width: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest: Vec<char> = word.chars().collect();
    while rest.len() > width {
        let head = rest.get(..width).unwrap_or_default();
        let separator = head.iter().rposition(|scalar| matches!(scalar, '.' | ':' | '-' | '_'));
        let at = separator.map_or(width, |at| at + 1);
        parts.push(rest.drain(..at).collect());
    }
    parts.push(rest.into_iter().collect());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::panel::page::room;

    #[test]
    fn a_number_is_never_cut() {
        assert_eq!(wrap("CLASH 192.168.50", 15), ["CLASH192.168.50"]);
        assert_eq!(wrap("CLASH 192.168.50", 19), ["CLASH 192.168.50"]);
        assert_eq!(wrap("CLASH 192.168.50", 7), ["CLASH", "192.", "168.50"]);
        assert_eq!(wrap("no internet", 7), ["no", "interne", "t"]);
    }

    fn slots(size: &str, first_row: usize) -> Vec<Slot> {
        room::slots(size.parse().unwrap(), first_row)
    }

    #[test]
    fn the_longest_wording_that_fits_is_taken() {
        let topic = Topic::wordings(["gateway 10.99.0.1", "gw 10.99.0.1", "gw .1"]);
        assert_eq!(topic.groups(&slots("20x4", 1)), [["gateway 10.99.0.1"]]);
        assert_eq!(topic.groups(&slots("16x2", 1)), [["gw 10.99.0.1"]]);
        assert_eq!(topic.groups(&slots("8x2", 0)), [["gw .1"]]);
        assert!(Topic::wordings(["too long for it"]).groups(&slots("8x2", 0)).is_empty());
    }

    #[test]
    fn cells_are_split_anywhere_and_shown_completely_or_not_at_all() {
        let groups =
            |count: usize, size: &str| Topic::Cells("x".repeat(count)).groups(&slots(size, 1));
        assert_eq!(groups(15, "16x2"), [["x".repeat(15)]]);
        assert!(groups(16, "16x2").is_empty());
        assert_eq!(groups(40, "20x4"), [["x".repeat(19), "x".repeat(19), "xx".to_owned()]]);
        assert!(groups(58, "20x4").is_empty());
    }

    #[test]
    fn another_ports_address_is_complete_with_its_name() {
        let groups = |port: &str, size: &str, first_row| {
            let address = "192.168.178.123".to_owned();
            Topic::Address { port: port.to_owned(), address }.groups(&slots(size, first_row))
        };
        assert_eq!(groups("wlan0", "20x4", 1), [["wlan0:", "192.168.178.123"]]);
        assert_eq!(groups("wlan0", "16x2", 1), [["wlan0:"], ["192.168.178.123"]]);
        assert_eq!(groups("wlan0", "16x1", 0), [["wlan0 192.168."], ["wlan0 178.123"]]);
        assert_eq!(groups("enx001122334455", "16x1", 0), [["en.455 192.168."], ["en.455 178.123"]]);
        assert_eq!(
            groups("wlan0", "8x2", 0),
            [["wlan0:", "192."], ["wlan0:", "168."], ["wlan0:", "178.123"]]
        );
    }

    #[test]
    fn groups_stay_on_one_screen() {
        let topics = [
            Topic::Text("one".into()),
            Topic::Text("two".into()),
            Topic::Address { port: "wlan0".into(), address: "192.168.178.123".into() },
        ];
        let screens = pack(&topics, &slots("16x4", 1));
        assert_eq!(screens, [vec!["one", "two"], vec!["wlan0:", "192.168.178.123"]]);
    }
}
