//! Answers that are made once and given to all who ask: a flood of requests costs little, and a
//! thousand slow readers of a long answer share its memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// What is shorter is not compressed, bytes: it fits into one segment.
const SHORT: usize = 1400;

/// An answer, and the same compressed (RFC 1952).
#[derive(Debug, Clone, Default)]
pub struct Answer {
    plain: Bytes,
    gzip: Option<Bytes>,
}

impl Answer {
    /// Returns an answer that is sent as it is.
    pub fn plain(text: impl Into<Bytes>) -> Self {
        Self { plain: text.into(), gzip: None }
    }

    /// Returns an answer that is compressed for those who take it.
    pub fn compressed(text: impl Into<Bytes>) -> Self {
        let plain: Bytes = text.into();
        if plain.len() < SHORT {
            return Self { plain, gzip: None };
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing into memory does not fail.
        let gzip = encoder.write_all(&plain).and_then(|()| encoder.finish()).ok();
        Self { plain, gzip: gzip.map(Bytes::from) }
    }

    /// Returns it as one who sends these headers takes it.
    pub fn respond(&self, content_type: &'static str, headers: &HeaderMap) -> Response {
        self.respond_by(content_type, headers, Body::from)
    }

    /// Returns it as one who sends these headers takes it, in the body that `body` makes.
    pub fn respond_by(
        &self,
        content_type: &'static str,
        headers: &HeaderMap,
        body: impl FnOnce(Bytes) -> Body,
    ) -> Response {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        match self.gzip.clone().filter(|_| takes_gzip(headers)) {
            Some(gzip) => {
                let coding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                ([kind, coding], body(gzip)).into_response()
            }
            None => ([kind], body(self.plain.clone())).into_response(),
        }
    }
}

#[cfg(test)]
impl Answer {
    /// Returns whether it is the very same answer, not one that was made again.
    pub fn is_same(&self, other: &Self) -> bool {
        self.plain.as_ptr() == other.plain.as_ptr()
    }
}

/// Returns whether `Accept-Encoding` has gzip with a weight other than zero (RFC 9110, section
/// 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    codings.unwrap_or_default().split(',').any(|coding| {
        let mut fields = coding.split(';').map(str::trim);
        let named = fields.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !fields.any(|field| matches!(field, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// What an answer was made of: of the same state the same answer is made.
pub type State = (u64, u64);

/// The last answer to one question.
#[derive(Debug, Default)]
pub struct Ready(Option<(State, Answer)>);

impl Ready {
    /// Returns the answer of a state; `make` makes it unless it is there.
    pub fn get(&mut self, state: State, make: impl FnOnce() -> String) -> Answer {
        if let Some((_, answer)) = self.0.as_ref().filter(|(known, _)| *known == state) {
            return answer.clone();
        }
        let answer = Answer::compressed(make());
        self.0 = Some((state, answer.clone()));
        answer
    }
}

/// The last answers to a few questions, all of the same state.
#[derive(Debug)]
pub struct Answers<Q> {
    state: State,
    known: HashMap<Q, Answer>,
}

impl<Q> Default for Answers<Q> {
    fn default() -> Self {
        Self { state: (0, 0), known: HashMap::new() }
    }
}

impl<Q: Eq + Hash> Answers<Q> {
    /// Returns the answer to a question; `make` makes it unless it is there.
    pub fn get(&mut self, state: State, question: Q, make: impl FnOnce() -> Bytes) -> Answer {
        match self.find(state, &question) {
            Some(answer) => answer,
            None => self.put(question, Answer::compressed(make())),
        }
    }

    /// Returns the answer to a question where it was made of this state.
    pub fn find(&mut self, state: State, question: &Q) -> Option<Answer> {
        if self.state != state {
            self.known.clear();
            self.state = state;
        }
        self.known.get(question).cloned()
    }

    /// Returns how many are kept.
    pub fn kept(&self) -> usize {
        self.known.len()
    }

    /// Keeps an answer of the state that was last asked for.
    pub fn put(&mut self, question: Q, answer: Answer) -> Answer {
        self.known.insert(question, answer.clone());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(coding))])
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (coding, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, br", false),
            ("identity", false),
            ("xgzip", false),
        ] {
            assert_eq!(takes_gzip(&asks(coding)), takes, "{coding}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn an_answer_is_made_once_for_each_state() {
        let mut ready = Ready::default();
        let mut made = 0;
        for state in [(1, 0), (1, 0), (2, 0), (2, 1), (2, 1)] {
            ready.get(state, || {
                made += 1;
                String::new()
            });
        }
        assert_eq!(made, 3);
        let mut answers = Answers::default();
        let mut made = Vec::new();
        for (state, question) in [(1, "a"), (1, "b"), (1, "a"), (2, "a")] {
            answers.get((state, 0), question, || {
                made.push((state, question));
                Bytes::new()
            });
        }
        assert_eq!(made, [(1, "a"), (1, "b"), (2, "a")]);
    }
}
