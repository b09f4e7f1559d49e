//! Log lines on standard error, which the journal reads.

use std::fmt;
use std::io::Write;

/// Writes a line; ignores errors, such as a closed standard error.
pub fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
