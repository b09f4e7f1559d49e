//! Line offsets of a text, to find positions quickly in long files.

use super::fault::Origin;

pub(super) struct Lines<'a> {
    pub text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Returns the offset and the text of the line that contains `offset`, without its line end.
    pub fn line(&self, offset: usize) -> (usize, &'a str) {
        let (_, start) = self.number_and_start(offset);
        (start, self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or(""))
    }

    /// Returns line and column (in characters), both from 1.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let (line, start) = self.number_and_start(offset);
        let mut end = offset.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(start..end).unwrap_or("").trim_start_matches('\u{feff}');
        (
            u32::try_from(line).unwrap_or(u32::MAX),
            u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        )
    }

    /// Returns the number (from 1) and the offset of the line that contains `offset`.
    fn number_and_start(&self, offset: usize) -> (usize, usize) {
        let number = self.starts.partition_point(|start| *start <= offset).max(1);
        (number, self.starts.get(number - 1).copied().unwrap_or(0))
    }

    pub fn origin(&self, source: usize, offset: usize) -> Origin {
        let (line, column) = self.position(offset);
        Origin { source, line, column, was: None }
    }
}
