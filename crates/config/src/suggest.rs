//! "Did you mean …?"

use super::keys;

/// Returns what to do about a key that is not known in `table`.
pub(super) fn remedy(table: &str, unknown: &str) -> String {
    let names = keys::names_in(table);
    let lower = unknown.to_ascii_lowercase().replace('-', "_");
    let near = names.iter().map(|name| (strsim::levenshtein(&lower, name), *name)).min();
    if let Some((distance, name)) = near {
        let close = distance <= 2.max(name.len() / 3) && distance < name.len();
        let part = lower.len() >= 4
            && (name.starts_with(&lower) || lower.starts_with(name) && name.len() >= 4);
        if close || part {
            return format!("did you mean \"{name}\"?");
        }
    }
    if let Some(home) = elsewhere(&lower) {
        return format!("it belongs in [{home}]");
    }
    format!("known here are {}", names.join(", "))
}

/// Returns the one table that has a key of this name.
fn elsewhere(name: &str) -> Option<&'static str> {
    let mut homes = keys::all()
        .filter_map(|key| key.path.rsplit_once('.'))
        .filter(|(home, last)| *last == name && *home != "lcd.pins");
    let (home, _) = homes.next()?;
    homes.next().is_none().then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_put_right() {
        assert_eq!(remedy("uplink", "interface"), "did you mean \"interfaces\"?");
        assert_eq!(remedy("", "upling"), "did you mean \"uplink\"?");
        assert_eq!(remedy("gateway", "on-stop"), "did you mean \"on_stop\"?");
        assert_eq!(remedy("led", "backlight"), "it belongs in [lcd]");
        assert_eq!(remedy("status", "colour"), "known here are socket");
        assert_eq!(remedy("cluster", "brightness"), "it belongs in [led]");
    }
}
