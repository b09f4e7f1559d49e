//! Extracts the texts that a Rust source prints: its string literals, without those of its tests.

#[path = "rust_files.rs"]
mod files;

use std::path::Path;

use files::rust_files;

/// Returns the string literals of a source, without comments.
pub fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => {
                for c in rest.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            '\'' => {
                // A character, or a lifetime, which has no closing quote.
                let ahead: Vec<char> = rest.clone().take(3).collect();
                match ahead.as_slice() {
                    ['\\', _, '\''] => drop(rest.by_ref().take(3).count()),
                    [_, '\'', ..] => drop(rest.by_ref().take(2).count()),
                    _ => {}
                }
            }
            '"' => found.push(literal(&mut rest, before == 'r' || before == '#')),
            _ => {}
        }
        before = c;
    }
    found
}

/// Parses a literal up to its end; raw literals of these sources have at most one `#`.
fn literal(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, raw: bool) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' if !raw || rest.peek() == Some(&'#') || !text.contains('"') => break,
            '\\' if !raw => match rest.next() {
                Some('\n') => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                Some('n') => text.push_str("\\n"),
                Some('t') => text.push_str("\\t"),
                Some(c) => text.push(c),
                None => break,
            },
            c => text.push(c),
        }
    }
    text
}

/// Replaces each `{…}` by `{}`, since values differ from machine to machine.
pub fn without_values(text: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '{' => {
                inside = true;
                plain.push_str("{}");
            }
            '}' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// Returns the source before its tests.
pub fn product_code(text: &str) -> &str {
    text.find("mod tests {").and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Returns the Rust files below `root/folder` without tests, with their path from the root and
/// their text, sorted.
pub fn product_files(root: &Path, folder: &str) -> Vec<(String, String)> {
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    rust_files(root, folder).into_iter().filter(|(path, _)| !is_test(path)).collect()
}
