//! Plain messages for the errors of the TOML parser.

use toml_span::ErrorKind;

use super::fault::ValueError;
use super::lines::Lines;
use super::print::quote;

/// Quotes that word processors and web pages put in place of `"` and `'`.
const TYPOGRAPHIC: [char; 9] = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»'];

/// Returns offset and message of the parser's error; it stops at the first.
pub(super) fn value_error(error: &toml_span::Error, lines: &Lines<'_>) -> (usize, ValueError) {
    let start = error.span.start;
    if let Some((at, found)) = typographic_quote(error, lines) {
        let message = format!("{found} is a typographic quote");
        return (at, ValueError::new(message, "use straight quotes (\")"));
    }
    let line = |span: &toml_span::Span| lines.position(span.start).0;
    let (message, remedy) = match &error.kind {
        ErrorKind::DuplicateKey { key, first } => (
            format!("\"{key}\" is set a second time"),
            format!("keep one of them, the first is on line {}", line(first)),
        ),
        ErrorKind::DuplicateTable { name, first } => (
            format!("the table [{name}] begins a second time"),
            format!("join it with the first on line {}", line(first)),
        ),
        ErrorKind::UnquotedString => (
            "this is not a TOML value".to_owned(),
            format!("put strings in quotes, such as {}", quote(word(lines, start))),
        ),
        ErrorKind::UnterminatedString => {
            ("this string has no end".to_owned(), "close it with the same quote".to_owned())
        }
        ErrorKind::RedefineAsArray => (
            "this table is defined already".to_owned(),
            "write all tables of this name with [[…]], or a single one with […]".to_owned(),
        ),
        ErrorKind::InvalidNumber => (
            "this is not a TOML number".to_owned(),
            format!("put strings in quotes, such as {}", quote(word(lines, start))),
        ),
        _ => {
            (format!("this is not TOML: {error}"), "see https://toml.io for the syntax".to_owned())
        }
    };
    (start, ValueError { message, remedy })
}

/// Returns the first typographic quote of the line in which the parser stopped.
fn typographic_quote(error: &toml_span::Error, lines: &Lines<'_>) -> Option<(usize, char)> {
    if matches!(error.kind, ErrorKind::DuplicateKey { .. } | ErrorKind::DuplicateTable { .. }) {
        return None;
    }
    let (begin, line) = lines.line(error.span.start);
    line.char_indices()
        .find(|(_, c)| TYPOGRAPHIC.contains(c))
        .map(|(at, found)| (begin + at, found))
}

/// Returns what was meant as a value: the rest of the line up to a delimiter.
fn word<'a>(lines: &Lines<'a>, offset: usize) -> &'a str {
    let (begin, line) = lines.line(offset);
    let rest = line.get(offset.saturating_sub(begin)..).unwrap_or("");
    rest.split([',', ']', '}', '#', ' ', '\t', '\r', '"', '\'']).next().unwrap_or("")
}
