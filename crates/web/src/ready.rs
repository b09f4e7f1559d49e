//! Cached answers, which all clients share: a flood of requests costs little, and a thousand slow
//! readers of a long answer share its memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The minimum size to compress, in bytes: anything shorter fits into one segment.
const SHORT: usize = 1400;

/// An answer, plain and compressed (RFC 1952).
#[derive(Debug, Clone, Default)]
pub struct Answer {
    plain: Bytes,
    gzip: Option<Bytes>,
}

impl Answer {
    /// Returns an answer that is not compressed.
    pub fn plain(text: impl Into<Bytes>) -> Self {
        Self { plain: text.into(), gzip: None }
    }

    /// Returns an answer that is compressed for clients that accept it.
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

    /// Returns the response to a request with these headers.
    pub fn respond(&self, content_type: &'static str, headers: &HeaderMap) -> Response {
        self.respond_by(content_type, headers, Body::from)
    }

    /// Returns the response to a request with these headers, with the body that `body` makes.
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
    /// Returns whether both share their memory.
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

/// The version of the state that an answer was made from: equal versions make equal answers.
pub type StateVersion = (u64, u64);

/// A cache of one answer.
#[derive(Debug, Default)]
pub struct Ready(Option<(StateVersion, Answer)>);

impl Ready {
    /// Returns the answer for a version, from the cache or else from `make`.
    pub fn get(&mut self, version: StateVersion, make: impl FnOnce() -> String) -> Answer {
        if let Some((_, answer)) = self.0.as_ref().filter(|(cached, _)| *cached == version) {
            return answer.clone();
        }
        let answer = Answer::compressed(make());
        self.0 = Some((version, answer.clone()));
        answer
    }
}

/// A cache of answers by key, all for the same version.
#[derive(Debug)]
pub struct Answers<K> {
    version: StateVersion,
    answers: HashMap<K, Answer>,
}

impl<K> Default for Answers<K> {
    fn default() -> Self {
        Self { version: (0, 0), answers: HashMap::new() }
    }
}

impl<K: Eq + Hash> Answers<K> {
    /// Returns the answer for a key, from the cache or else from `make`.
    pub fn get(&mut self, version: StateVersion, key: K, make: impl FnOnce() -> Bytes) -> Answer {
        match self.find(version, &key) {
            Some(answer) => answer,
            None => self.put(key, Answer::compressed(make())),
        }
    }

    /// Returns the cached answer for a key; empties the cache if the version is a new one.
    pub fn find(&mut self, version: StateVersion, key: &K) -> Option<Answer> {
        if self.version != version {
            self.answers.clear();
            self.version = version;
        }
        self.answers.get(key).cloned()
    }

    /// Returns the number of cached answers.
    pub fn count(&self) -> usize {
        self.answers.len()
    }

    /// Caches an answer for the version of the last [`Self::find`].
    pub fn put(&mut self, key: K, answer: Answer) -> Answer {
        self.answers.insert(key, answer.clone());
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
        for version in [(1, 0), (1, 0), (2, 0), (2, 1), (2, 1)] {
            ready.get(version, || {
                made += 1;
                String::new()
            });
        }
        assert_eq!(made, 3);
        let mut answers = Answers::default();
        let mut made = Vec::new();
        for (version, key) in [(1, "a"), (1, "b"), (1, "a"), (2, "a")] {
            answers.get((version, 0), key, || {
                made.push((version, key));
                Bytes::new()
            });
        }
        assert_eq!(made, [(1, "a"), (1, "b"), (2, "a")]);
    }
}
