//! Suggestions for unknown names: "Did you mean …?"

use super::keys;
use super::print::quote;

/// The remedy for an unknown name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    pub remedy: String,
    /// The name that was probably meant, in the same table.
    pub meant: Option<String>,
}

/// Names of the ends of a range in other programs, where these are two keys.
const ENDS: [(&str, &str); 4] = [
    ("start", "end"),
    ("first", "last"),
    ("range_start", "range_end"),
    ("start_address", "end_address"),
];

/// Returns the remedy for a key or table that `table` does not have. `text` returns the strings of
/// its siblings.
pub(super) fn suggest(
    table: &str,
    unknown: &str,
    is_table: bool,
    text: &dyn Fn(&str) -> Option<String>,
) -> Suggestion {
    let lower = unknown.to_ascii_lowercase().replace('-', "_");
    if let Some((start, end)) = ENDS
        .iter()
        .find(|(start, end)| table == "cluster.dhcp" && [*start, *end].contains(&&*lower))
    {
        let ends = text(start).zip(text(end)).map(|(start, end)| format!("{start}-{end}"));
        let range = ends.unwrap_or_else(|| "192.168.50.100-192.168.50.199".to_owned());
        return Suggestion {
            remedy: format!("write both as range = {}", quote(&range)),
            meant: Some("range".to_owned()),
        };
    }
    if let Some(name) = closest(table, &lower) {
        let path = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
        let shown = if is_table && keys::identity_key(&path).is_some() {
            format!("[[{path}]]")
        } else if is_table && keys::is_table(&path) {
            format!("[{path}]")
        } else {
            format!("\"{name}\"")
        };
        return Suggestion {
            remedy: format!("did you mean {shown}?"),
            meant: Some(name.to_owned()),
        };
    }
    let remedy = if let Some(home) = inner_table(&lower).filter(|_| is_table) {
        format!("did you mean [{home}]?")
    } else if let Some(home) = only_table_with(&lower) {
        format!("it belongs in [{home}]")
    } else {
        format!("the names here are {}", keys::names_in(table).join(", "))
    };
    Suggestion { remedy, meant: None }
}

/// Returns the board that was probably meant by a name such as "pi4", "rpi4" or "RaspberryPi 4B".
pub(super) fn board<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    let mut wanted = normalized(unknown);
    for (short, long) in [("rpi", "raspberrypi"), ("pi", "raspberrypi"), ("cm", "computemodule")] {
        if let Some(rest) = wanted.strip_prefix(short) {
            wanted = format!("{long}{rest}");
            break;
        }
    }
    let model = wanted.trim_end_matches("b").trim_end_matches("model").to_owned();
    let distance = |name: &String| strsim::levenshtein(&model, &normalized(name));
    let mut near: Vec<_> = known.iter().map(|name| (distance(name), name)).collect();
    near.sort();
    match near.as_slice() {
        [(0, name), ..] => Some(name),
        // Another digit means another board, not a typing error.
        [(first @ 1..=2, name), (second, _), ..] if first < second && !ends_in_digit(&model) => {
            Some(name)
        }
        _ => None,
    }
}

/// Returns only the letters and digits of a name, in lower case.
fn normalized(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn ends_in_digit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

/// Returns the name in the table that is closest to an unknown one, if it is close enough.
fn closest(table: &str, unknown: &str) -> Option<&'static str> {
    let names = keys::names_in(table);
    let (distance, name) =
        names.iter().map(|name| (strsim::levenshtein(unknown, name), *name)).min()?;
    let close = distance <= 2.max(name.len() / 3) && distance < name.len();
    let part = unknown.len() >= 4
        && (name.starts_with(unknown) || unknown.starts_with(name) && name.len() >= 4);
    // Short names such as "dns" and "led" are close to each other by chance.
    let exact_elsewhere = table.is_empty() && inner_table(unknown).is_some();
    ((close && !exact_elsewhere) || part).then_some(name)
}

/// Returns the path of the first table of this name within another.
fn inner_table(name: &str) -> Option<&'static str> {
    let tables = keys::all().filter_map(|key| key.path.rsplit_once('.')).map(|(home, _)| home);
    let mut tables = tables.filter(|home| home.rsplit_once('.').is_some_and(|(_, n)| n == name));
    tables.next()
}

/// Returns the only table that has a key of this name.
fn only_table_with(name: &str) -> Option<&'static str> {
    let mut homes = keys::all()
        .filter_map(|key| key.path.rsplit_once('.'))
        .filter(|(home, last)| *last == name && *home != "lcd.pins");
    let (home, _) = homes.next()?;
    homes.next().is_none().then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(table: &str, unknown: &str) -> String {
        suggest(table, unknown, false, &|_| None).remedy
    }

    #[test]
    fn a_typing_error_gets_a_suggestion() {
        assert_eq!(remedy("uplink", "interfacs"), "did you mean \"interfaces\"?");
        assert_eq!(remedy("", "upling"), "did you mean \"uplink\"?");
        assert_eq!(remedy("gateway", "on-stop"), "did you mean \"on_stop\"?");
        assert_eq!(remedy("led", "backlight"), "it belongs in [lcd]");
        assert_eq!(remedy("sockets", "colour"), "the names here are status, control");
        assert_eq!(remedy("cluster", "brightness"), "it belongs in [led]");
    }

    #[test]
    fn a_misplaced_table_gets_its_place() {
        for (unknown, wanted) in [
            ("dhcp", "did you mean [cluster.dhcp]?"),
            ("dns", "did you mean [cluster.dns]?"),
            ("netboot", "did you mean [cluster.netboot]?"),
            ("uplinks", "did you mean [uplink]?"),
            ("nodes", "did you mean [[node]]?"),
        ] {
            assert_eq!(suggest("", unknown, true, &|_| None).remedy, wanted);
        }
    }
}
