//! Edits the text of the drop-in; everything else in it is kept.

use crate::config::quote;

/// Header of a new drop-in.
const HEAD: &str = "# Nodes of the cluster, written by `bramblegate nodes`. You may edit it: \
                    other lines are kept.\n";

/// A node to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    pub name: String,
    pub mac: Option<String>,
    pub address: Option<String>,
    pub probes: Vec<String>,
}

/// Returns the text with one more node.
pub fn with(text: &str, entry: &Entry) -> String {
    let mut text = if text.trim().is_empty() { HEAD.to_owned() } else { text.to_owned() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("\n[[node]]\nname = {}\n", quote(&entry.name));
    for (key, value) in [("mac", &entry.mac), ("address", &entry.address)] {
        if let Some(value) = value {
            text += &format!("{key} = {}\n", quote(value));
        }
    }
    if !entry.probes.is_empty() {
        let probes: Vec<String> = entry.probes.iter().map(|probe| quote(probe)).collect();
        text += &format!("probe = [{}]\n", probes.join(", "));
    }
    text
}

/// Returns the text without a node; `None` if it is not there.
pub fn without(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (first, end, _) = find(&lines, name)?;
    // Remove a blank line before it as well.
    let first = if first > 0 && lines.get(first - 1).is_some_and(|line| line.trim().is_empty()) {
        first - 1
    } else {
        first
    };
    let kept = lines.iter().take(first).chain(lines.iter().skip(end));
    Some(kept.copied().collect())
}

/// Returns the text with a node under another name; `None` if it is not there.
pub fn renamed(text: &str, from: &str, to: &str) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (_, _, place) = find(&lines, from)?;
    let line = format!("name = {}\n", quote(to));
    let changed = lines
        .iter()
        .enumerate()
        .map(|(number, old)| if number == place { line.as_str() } else { old });
    Some(changed.collect())
}

/// Finds the table of a node: its first line, the line after its last, and the line of its name.
fn find(lines: &[&str], name: &str) -> Option<(usize, usize, usize)> {
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let is_node =
        |line: &&str| line.split('#').next().is_some_and(|line| line.trim() == "[[node]]");
    let starts =
        lines.iter().enumerate().filter(|(_, line)| is_node(line)).map(|(number, _)| number);
    starts.into_iter().find_map(|first| {
        let body = lines.get(first + 1..)?;
        let next = body.iter().position(is_header).map_or(lines.len(), |length| first + 1 + length);
        // Comments right before the next table belong to that one.
        let about_next = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
        let tail =
            lines.get(first + 1..next)?.iter().rev().take_while(|line| about_next(line)).count();
        let end = if next == lines.len() { next } else { next - tail };
        // Names ignore case, as in the settings.
        let is_it =
            |line: &&str| name_in(line).is_some_and(|known| known.eq_ignore_ascii_case(name));
        let place = (first + 1..end).find(|number| lines.get(*number).is_some_and(is_it))?;
        Some((first, end, place))
    })
}

/// Parses the value of a line `name = "…"`.
fn name_in(line: &str) -> Option<&str> {
    let value =
        line.trim_start().strip_prefix("name")?.trim_start().strip_prefix('=')?.trim_start();
    let mark = value.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    value.get(1..)?.split(mark).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\n[health]\ninterval = \"1s\"\n\n[[node]]  # by the window\n\
                        name = \"rpi1\"\nmac = \"b8:27:eb:00:00:01\"\n\n# the old one\n[[node]]\n\
                        address = \"192.168.50.12\"\nname = 'rpi2' # twice\n";

    #[test]
    fn a_node_is_appended() {
        let entry = Entry {
            name: "rpi3".into(),
            mac: Some("b8:27:eb:00:00:03".into()),
            address: None,
            probes: vec!["icmp".into(), "tcp:22".into()],
        };
        let text = with(TEXT, &entry);
        assert!(text.starts_with(TEXT));
        assert!(text.ends_with(
            "\n[[node]]\nname = \"rpi3\"\nmac = \"b8:27:eb:00:00:03\"\n\
                 probe = [\"icmp\", \"tcp:22\"]\n"
        ));
        assert!(with("", &entry).starts_with("# Nodes of the cluster"));
    }

    #[test]
    fn a_removed_node_leaves_other_lines_unchanged() {
        let text = without(TEXT, "rpi1").unwrap();
        assert_eq!(
            text,
            "# mine\n[health]\ninterval = \"1s\"\n\n# the old one\n[[node]]\n\
             address = \"192.168.50.12\"\nname = 'rpi2' # twice\n"
        );
        assert_eq!(
            without(&text, "rpi2").unwrap(),
            "# mine\n[health]\ninterval = \"1s\"\n\n# the old one\n"
        );
        assert_eq!(without(TEXT, "rpi9"), None);
    }

    #[test]
    fn removing_an_added_node_restores_the_text() {
        let entry = Entry { name: "rpi3".into(), ..Entry::default() };
        assert_eq!(without(&with(TEXT, &entry), "rpi3").as_deref(), Some(TEXT));
    }

    #[test]
    fn only_the_name_changes() {
        let text = renamed(TEXT, "rpi1", "window").unwrap();
        assert_eq!(text, TEXT.replace("name = \"rpi1\"", "name = \"window\""));
        assert_eq!(renamed(TEXT, "rpi9", "x"), None);
        assert_eq!(renamed(TEXT, "RPI1", "window"), Some(text), "upper and lower case are one");
    }
}
