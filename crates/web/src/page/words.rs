//! The languages of the page, one file each.

mod de;
mod en;

use bramblegate_api::Word;

use super::colour::Colour;
use super::shares::State;

pub use en::Words;

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    German,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Returns the language's tag (RFC 5646).
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &en::WORDS,
            Self::German => &de::WORDS,
        }
    }

    /// Returns the best language for `Accept-Language` (RFC 9110, section 12.5.4), or else English.
    pub fn accepted(header: &str) -> Self {
        let mut best = (Self::English, 0.0);
        for range in header.split(',') {
            let mut fields = range.split(';').map(str::trim);
            let tag = fields.next().unwrap_or_default().to_ascii_lowercase();
            let quality = fields
                .find_map(|field| field.strip_prefix("q="))
                .map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
            let primary = tag.split('-').next().unwrap_or_default();
            let language = Self::ALL.into_iter().find(|language| language.code() == primary);
            if let Some(language) = language.filter(|_| quality > best.1) {
                best = (language, quality);
            }
        }
        best.0
    }
}

impl Words {
    /// Returns a number with the language's decimal separator.
    pub(super) fn number(&self, text: &str) -> String {
        text.replace('.', self.point)
    }

    /// Returns the texts with which a form is refused.
    pub(super) const fn refusals(&self) -> [&'static str; 4] {
        [self.no_password, self.too_many_tries, self.wrong_password, self.logged_out]
    }
}

/// Returns the text of a word; the word itself if it is unknown.
pub(super) fn text<T: Copy>(word: &Word<T>, texts: fn(T) -> &'static str) -> &str {
    match word {
        Word::Known(word) => texts(*word),
        Word::Other(word) => word,
    }
}
