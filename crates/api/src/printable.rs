//! The filter for all text to a terminal, a log or the journal: untrusted parts (names of
//! processes, hosts, interfaces and files, texts of servers) must not control the terminal or hide
//! anything.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes every control and invisible character (`\u{1b}`): C0 except line feed and tab, DEL, C1,
/// and Unicode's controls of direction and format (UAX #9, general category Cf).
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), in_braces)
}

/// Escapes as [`printable`] does, and line feeds too, so that the text stays on one line.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t', in_braces)
}

/// Returns equivalent JSON in which these characters are JSON escapes (RFC 8259 section 7).
pub fn printable_json(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t' | '\r'), escape)
}

/// Escapes a scalar as JSON does: one or two UTF-16 units.
fn escape(out: &mut String, c: char) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Writes a character as `\u{1b}`.
fn in_braces(out: &mut String, c: char) {
    out.extend(c.escape_unicode());
}

/// Returns whether the character controls a terminal or is invisible.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

fn escaped(
    text: &str,
    stays: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    // The common case.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let is_escaped = |c: char| is_hidden(c) && !stays(c);
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_escaped_and_the_rest_stays() {
        for (text, shown) in [
            ("rpi1 ♥ 310 µs\n\tzwei", "rpi1 ♥ 310 µs\n\tzwei"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\rb\u{7f}\u{9b}31m", "a\\u{d}b\\u{7f}\\u{9b}31m"),
            ("\u{202e}txt.exe\u{200b}", "\\u{202e}txt.exe\\u{200b}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_line("up\nBLOCKED"), "up\\u{a}BLOCKED");
        assert_eq!(printable_json("\"\u{9b}\u{e0001}\"\n"), "\"\\u009b\\udb40\\udc01\"\n");
    }

    proptest! {
        #[test]
        fn no_control_character_is_left_and_json_is_equivalent(text: String) {
            prop_assert!(!printable_line(&text).chars().any(|c| is_hidden(c) && c != '\t'));
            prop_assert!(!printable(&text).chars().any(|c| is_hidden(c) && !matches!(c, '\n' | '\t')));
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&printable_json(&json)).unwrap(), text);
        }
    }
}
