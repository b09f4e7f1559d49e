//! Lines for the journal, which reads standard error.

use std::fmt;
use std::io::Write;

/// Writes a line. Where it has no reader it is lost: that ends nothing.
pub fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
