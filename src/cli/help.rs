//! Help: `help` before any verb, and lines that fit the terminal.

use std::ffi::OsString;

use super::{demo, output};

/// Additional indent of a continued line in an example, columns.
const CONTINUATION: usize = 6;

/// Returns the command line for the forms of `help` that clap does not handle: for the demo, which
/// is another program, and for `help` itself.
pub fn rewritten(line: Vec<OsString>) -> Vec<OsString> {
    let words: Vec<&str> = line.iter().filter_map(|word| word.to_str()).collect();
    let rest = match words.as_slice() {
        [_, "help", "-h" | "--help", ..] => vec!["--help"],
        [_, "help", "demo", more @ ..] if demo::program().is_some() => {
            [&["demo"], more, &["--help"]].concat()
        }
        _ => return line,
    };
    let rest: Vec<OsString> = rest.into_iter().map(OsString::from).collect();
    line.into_iter().take(1).chain(rest).collect()
}

/// Wraps the text into lines of at most `columns`. The description of an example goes below its
/// command if both do not fit.
pub fn wrapped(text: &str, columns: usize) -> String {
    text.lines().map(|line| format!("{}\n", folded(line, columns))).collect()
}

fn folded(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let body = line.trim_start();
    let indent = line.len() - body.len();
    match body.split_once("  ") {
        Some((command, meaning)) => {
            let meaning = filled(meaning.trim_start(), indent + CONTINUATION, columns);
            format!("{}\n{meaning}", &line[..indent + command.len()])
        }
        None => filled(body, indent, columns),
    }
}

/// Fills indented lines with words.
fn filled(text: &str, indent: usize, columns: usize) -> String {
    let lines = output::filled(text, columns.saturating_sub(indent));
    let lines: Vec<String> = lines.iter().map(|line| format!("{:indent$}{line}", "")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_cut() {
        let text = "Usage: x\n\n      --try\n          Also ask the servers of the venue and the head\n\n\
                    Examples:\n  sudo x setup --from FILE --yes    with settings that are written already\n";
        let wanted = "Usage: x\n\n      --try\n          Also ask the servers of\n          the venue and the head\n\n\
                      Examples:\n  sudo x setup --from FILE --yes\n        with settings that are\n        written already\n";
        assert_eq!(wrapped(text, 34), wanted);
        assert_eq!(wrapped(text, 80), text);
        assert_eq!(
            wrapped("averyveryverylongword and more\n", 10),
            "averyveryverylongword\nand more\n"
        );
    }

    #[test]
    fn help_itself_has_help() {
        let line = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(rewritten(line("bramblegate help --help")), line("bramblegate --help"));
        assert_eq!(rewritten(line("bramblegate help -h")), line("bramblegate --help"));
        assert_eq!(
            rewritten(line("bramblegate help nodes drain")),
            line("bramblegate help nodes drain")
        );
        assert_eq!(rewritten(line("bramblegate demo")), line("bramblegate demo"));
    }
}
