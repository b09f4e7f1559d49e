//! Names of many nodes in one word, as Slurm's hostlists and ClusterShell's node sets fold them:
//! `rpi[1-3]`, `rpi[01-16,20]`, `rack[1-2]-slot[1-4]`, `rpi1,rpi2`.

use std::collections::{BTreeMap, BTreeSet};

/// Limit on names; more is taken for a typing error.
pub const MAX_NAMES: usize = 10_000;
/// Limit on the digits of a number in brackets, so that it fits 32 bits.
const DIGITS: usize = 9;

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    #[error("\"{word}\": {mistake}")]
    Syntax { word: String, mistake: Mistake },
    #[error("\"{0}\" would be more than {MAX_NAMES} nodes")]
    TooMany(String),
    #[error("\"{word}\" means {count} nodes, and --mac and --address are those of one")]
    Several { word: String, count: usize },
}

impl FoldError {
    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Syntax { .. } => {
                "write names like rpi[1-3], rpi[01-16,20] or rack[1-2]-slot[1-4]".to_owned()
            }
            Self::TooMany(_) => "name fewer".to_owned(),
            Self::Several { .. } => "name one node, or leave both options out".to_owned(),
        }
    }
}

/// What is wrong with the brackets of a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    #[error("a bracket stands in another")]
    Nested,
    #[error("a bracket is closed that was not opened")]
    NotOpened,
    #[error("a bracket is not closed")]
    NotClosed,
    #[error("a name is empty")]
    Empty,
    #[error("{0} is more than {1}")]
    Backwards(String, String),
    #[error("\"{0}\" is not a number of at most {DIGITS} digits")]
    NoNumber(String),
}

impl Mistake {
    fn of(self, word: &str) -> FoldError {
        FoldError::Syntax { word: word.to_owned(), mistake: self }
    }
}

/// Expands the words into names, in order, without duplicates.
///
/// # Errors
/// A word with wrong syntax, or more than [`MAX_NAMES`] names.
pub fn unfold(words: &[String]) -> Result<Vec<String>, FoldError> {
    let mut names: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for word in words {
        for part in split_commas(word)? {
            names.extend(expand(part)?.into_iter().filter(|name| known.insert(name.clone())));
            if names.len() > MAX_NAMES {
                return Err(FoldError::TooMany(part.to_owned()));
            }
        }
    }
    Ok(names)
}

/// Expands a word that means one name.
///
/// # Errors
/// It means several names, or has wrong syntax.
pub fn unfold_one(word: &str) -> Result<String, FoldError> {
    let mut names = unfold(&[word.to_owned()])?;
    match (names.pop(), names.len()) {
        (Some(name), 0) => Ok(name),
        (_, more) => Err(FoldError::Several { word: word.to_owned(), count: more + 1 }),
    }
}

/// Splits a word at the commas outside of brackets.
fn split_commas(word: &str) -> Result<Vec<&str>, FoldError> {
    let (mut parts, mut from, mut inside) = (Vec::new(), 0, false);
    for (at, c) in word.char_indices() {
        match c {
            '[' if inside => return Err(Mistake::Nested.of(word)),
            ']' if !inside => return Err(Mistake::NotOpened.of(word)),
            '[' => inside = true,
            ']' => inside = false,
            ',' if !inside => {
                parts.push(word.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(Mistake::NotClosed.of(word));
    }
    parts.push(word.get(from..).unwrap_or_default());
    if parts.iter().any(|part| part.is_empty()) {
        return Err(Mistake::Empty.of(word));
    }
    Ok(parts)
}

/// Expands one part into at most [`MAX_NAMES`] names.
fn expand(part: &str) -> Result<Vec<String>, FoldError> {
    let mut names = vec![String::new()];
    let mut rest = part;
    while let Some((before, folded)) = rest.split_once('[') {
        let (ranges, after) = folded.split_once(']').ok_or_else(|| Mistake::NotClosed.of(part))?;
        let numbers = numbers(part, ranges, MAX_NAMES / names.len().max(1))?;
        let with = |name: &String| -> Vec<String> {
            numbers.iter().map(|number| format!("{name}{before}{number}")).collect()
        };
        names = names.iter().flat_map(with).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// Expands `1-3,07,10-12` into at most `limit` numbers without duplicates, padded to the width of a
/// first number that begins with 0.
fn numbers(part: &str, ranges: &str, limit: usize) -> Result<Vec<String>, FoldError> {
    let mut numbers = Vec::new();
    let mut known = BTreeSet::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (low, high) = (number(part, first)?, number(part, last)?);
        if low > high {
            return Err(Mistake::Backwards(first.to_owned(), last.to_owned()).of(part));
        }
        // Checked before they are made: a huge range would take all memory.
        if high - low >= limit {
            return Err(FoldError::TooMany(part.to_owned()));
        }
        let width = if first.starts_with('0') { first.len() } else { 0 };
        let range = (low..=high).map(|number| format!("{number:0width$}"));
        numbers.extend(range.filter(|number| known.insert(number.clone())));
        if numbers.len() > limit {
            return Err(FoldError::TooMany(part.to_owned()));
        }
    }
    Ok(numbers)
}

fn number(part: &str, text: &str) -> Result<usize, FoldError> {
    let digits =
        !text.is_empty() && text.len() <= DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Mistake::NoNumber(text.to_owned()).of(part))
}

/// Folds names at the number at their end: `rpi1 rpi2 rpi10` is `rpi[1-2,10]`. Slurm, pdsh and
/// ClusterShell all read that. Sorted, without duplicates.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let pieces = names.into_iter().map(|name| match split(name) {
        Some((_, _, after)) if !after.is_empty() => Piece::whole(name),
        _ => Piece { head: name.to_owned(), tail: String::new() },
    });
    fold_once(pieces.collect()).into_iter().map(Piece::text).collect()
}

/// Folds names at each of their numbers, as ClusterShell does: `rack[1-2]-slot[1-4]`.
pub fn fold_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let piece = |name: &str| Piece { head: name.to_owned(), tail: String::new() };
    let mut pieces: Vec<Piece> = names.into_iter().map(piece).collect();
    while pieces.iter().any(|piece| split(&piece.head).is_some()) {
        pieces = fold_once(pieces);
    }
    pieces.into_iter().map(Piece::text).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A name that is partly folded: `head` may have numbers that are not folded yet, `tail` has none.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    head: String,
    tail: String,
}

impl Piece {
    fn whole(name: &str) -> Self {
        Self { head: String::new(), tail: name.to_owned() }
    }

    fn text(self) -> String {
        self.head + &self.tail
    }
}

/// Folds the last number of each head, where all else is equal.
fn fold_once(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut alike: BTreeMap<(String, String), BTreeSet<(usize, usize)>> = BTreeMap::new();
    let mut folded = BTreeSet::new();
    for Piece { head, tail } in pieces {
        match split(&head) {
            Some((before, digits, after)) => {
                let number = digits.parse().unwrap_or_default();
                let key = (before.to_owned(), format!("{after}{tail}"));
                alike.entry(key).or_default().insert((number, digits.len()));
            }
            None => {
                folded.insert(Piece { head: String::new(), tail: head + &tail });
            }
        }
    }
    for ((head, after), numbers) in alike {
        folded.insert(Piece { head, tail: format!("{}{after}", ranges(&numbers)) });
    }
    folded.into_iter().collect()
}

/// Splits a name at its last number, if that can be folded: text before it, digits, text after it.
fn split(name: &str) -> Option<(&str, &str, &str)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (numbered, after) = name.split_at_checked(end)?;
    let before = numbered.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = numbered.strip_prefix(before)?;
    (digits.len() <= DIGITS).then_some((before, digits, after))
}

/// Formats numbers, each with its width, as `7` or `[1-3,007]`.
fn ranges(numbers: &BTreeSet<(usize, usize)>) -> String {
    let mut runs: Vec<(String, String)> = Vec::new();
    let mut next = String::new();
    let mut width = 0;
    for (number, digits) in numbers {
        let written = format!("{number:0digits$}");
        if written == next {
            if let Some((_, last)) = runs.last_mut() {
                last.clone_from(&written);
            }
        } else {
            width = if written.starts_with('0') { *digits } else { 0 };
            runs.push((written.clone(), written));
        }
        next = format!("{:0width$}", number + 1);
    }
    match runs.as_slice() {
        [(first, last)] if first == last => first.clone(),
        _ => {
            let run = |(first, last): &(String, String)| {
                if first == last { first.clone() } else { format!("{first}-{last}") }
            };
            format!("[{}]", runs.iter().map(run).collect::<Vec<_>>().join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(word: &str) -> Result<String, FoldError> {
        unfold(&[word.to_owned()]).map(|names| names.join(" "))
    }

    #[test]
    fn folded_names_expand_as_in_slurm_and_clustershell() {
        for (word, expected) in [
            ("rpi1", "rpi1"),
            ("rpi[1-3]", "rpi1 rpi2 rpi3"),
            ("rpi[1-3,10]", "rpi1 rpi2 rpi3 rpi10"),
            ("rpi[01-02]", "rpi01 rpi02"),
            ("rpi[08-11]", "rpi08 rpi09 rpi10 rpi11"),
            ("rpi[9-11,007]", "rpi9 rpi10 rpi11 rpi007"),
            ("rack[1-2]-slot[1-2]", "rack1-slot1 rack1-slot2 rack2-slot1 rack2-slot2"),
            ("n[0]", "n0"),
            ("[1-2]x,rpi[3],nas", "1x 2x rpi3 nas"),
            ("rpi[1-3],rpi2,rpi[2-4]", "rpi1 rpi2 rpi3 rpi4"),
            ("rpi[1-3,2-4,3]", "rpi1 rpi2 rpi3 rpi4"),
        ] {
            assert_eq!(names(word), Ok(expected.to_owned()), "{word}");
        }
        assert_eq!(unfold_one("rpi[4]"), Ok("rpi4".to_owned()));
        assert!(unfold_one("rpi[4-5]").unwrap_err().to_string().contains("means 2 nodes"));
    }

    #[test]
    fn wrong_syntax_of_folded_names_is_explained() {
        for (word, why) in [
            ("rpi[1-3", "not closed"),
            ("rpi1-3]", "not opened"),
            ("rpi[[1]]", "in another"),
            ("rpi[3-1]", "3 is more than 1"),
            ("rpi[]", "is not a number"),
            ("rpi[1-]", "is not a number"),
            ("rpi[-1]", "is not a number"),
            ("rpi[1-2-3]", "is not a number"),
            ("rpi[a-c]", "is not a number"),
            ("rpi[+1]", "is not a number"),
            ("rpi[1-99999999999999999999]", "is not a number"),
            ("rpi1,,rpi2", "is empty"),
            ("", "is empty"),
            ("rpi[1-999999999]", "more than 10000"),
            ("a[1-1000]b[1-1000]c[1-1000]", "more than 10000"),
            ("a[1-9000],b[1-9000]", "more than 10000"),
        ] {
            let error = names(word).unwrap_err().to_string();
            assert!(error.contains(why), "{word}: {error}");
        }
    }

    /// A name twice is one node, as it is in ClusterShell.
    #[test]
    fn duplicates_do_not_count_toward_the_limit() {
        for word in
            ["a[1-9000],a[1-9000]", "a[1-9000,1-9000]", "a[1-10000],a7", "a[1-10000],a[7,9]"]
        {
            let count = unfold(&[word.to_owned()]).map(|names| names.len());
            assert!(matches!(count, Ok(9000 | 10_000)), "{word}: {count:?}");
        }
        assert!(names("a[1-10000],b").is_err());
    }

    #[test]
    fn names_fold_as_in_slurm_and_clustershell() {
        for (names, flat, all) in [
            ("rpi1 rpi2 rpi3", "rpi[1-3]", "rpi[1-3]"),
            ("rpi10 rpi2 rpi1 rpi2", "rpi[1-2,10]", "rpi[1-2,10]"),
            ("rpi9 rpi10 rpi09", "rpi[9,09-10]", "rpi[9,09-10]"),
            ("rpi098 rpi099 rpi100 rpi101", "rpi[098-101]", "rpi[098-101]"),
            ("nas rpi7", "nas,rpi7", "nas,rpi7"),
            ("rpi1-eth0 rpi2-eth0", "rpi1-eth0,rpi2-eth0", "rpi[1-2]-eth0"),
            (
                "rack1-slot1 rack1-slot2 rack2-slot1 rack2-slot2",
                "rack1-slot[1-2],rack2-slot[1-2]",
                "rack[1-2]-slot[1-2]",
            ),
            ("node-1234567890", "node-1234567890", "node-1234567890"),
            ("", "", ""),
        ] {
            let names: Vec<&str> = names.split_whitespace().collect();
            assert_eq!(fold(names.iter().copied()).join(","), flat, "{names:?}");
            assert_eq!(fold_all(names.iter().copied()).join(","), all, "{names:?}");
        }
    }

    proptest! {
        #[test]
        fn folded_names_unfold_to_the_same(names in prop::collection::btree_set("[a-b]{1,2}(0?[0-9]{1,2})?(-[c-d])?([0-9]{1,3})?", 0..40)) {
            for folded in [fold(names.iter().map(String::as_str)), fold_all(names.iter().map(String::as_str))] {
                if names.is_empty() {
                    prop_assert!(folded.is_empty());
                    continue;
                }
                let unfolded: BTreeSet<String> = unfold(&folded).unwrap().into_iter().collect();
                prop_assert_eq!(&unfolded, &names, "{:?}", folded);
            }
        }

        #[test]
        fn any_word_expands_within_the_limit_or_is_an_error(word in "[a-c0-9,\\[\\]-]{0,24}") {
            if let Ok(names) = unfold(&[word]) {
                prop_assert!(names.len() <= MAX_NAMES);
                prop_assert!(names.iter().all(|name| !name.contains(['[', ']', ','])));
            }
        }

        #[test]
        fn a_range_has_all_numbers_between_its_ends(low in 0_usize..2000, more in 0_usize..200, width in 0_usize..5, after in "[a-z]{0,3}") {
            let high = low + more;
            let padded = if width > 0 { format!("{low:0width$}") } else { low.to_string() };
            let zero = if padded.starts_with('0') { padded.len() } else { 0 };
            let expected: Vec<String> = (low..=high).map(|number| format!("n{number:0zero$}{after}")).collect();
            prop_assert_eq!(unfold(&[format!("n[{padded}-{high}]{after}")]).unwrap(), expected);
        }
    }
}
