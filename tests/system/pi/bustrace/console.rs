//! What the guest printed, each line with the host's time: `SECONDS.MICROSECONDS === WORDS`.

use std::time::Duration;

use serde_json::Value;

use crate::trace::seconds;

/// A line that the guest's script printed.
#[derive(Debug, Clone)]
pub struct Mark {
    pub at: Duration,
    pub word: String,
    /// what follows the word
    pub rest: String,
}

#[derive(Debug)]
pub struct Console {
    marks: Vec<Mark>,
}

/// What the gateway claimed to show.
#[derive(Debug)]
pub struct Claim {
    /// when it was asked, and when the answer was there
    pub asked: Duration,
    pub answered: Duration,
    pub lines: Vec<String>,
    /// the uplink's address, without its prefix length
    pub address: Option<String>,
}

impl Console {
    /// Other lines, as of the kernel, are left out.
    pub fn read(text: &str) -> Self {
        let marks = text.lines().filter_map(|line| {
            let (at, rest) = line.split_once(' ')?;
            let (_, words) = rest.split_once("=== ")?;
            let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
            Some(Mark { at: seconds(at)?, word: word.to_owned(), rest: rest.to_owned() })
        });
        Self { marks: marks.collect() }
    }

    /// All marks with this word.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Mark> {
        self.marks.iter().filter(move |mark| mark.word == word)
    }

    /// The first one.
    ///
    /// # Errors
    /// There is none.
    pub fn first(&self, word: &str) -> Result<&Mark, String> {
        self.marks
            .iter()
            .find(|mark| mark.word == word)
            .ok_or_else(|| format!("the guest printed no \"{word}\""))
    }

    /// # Errors
    /// An answer is not the status.
    pub fn claims(&self) -> Result<Vec<Claim>, String> {
        let mut asked = Duration::ZERO;
        let mut claims = Vec::new();
        for mark in &self.marks {
            match mark.word.as_str() {
                "ask" => asked = mark.at,
                "claim" => claims.push(claim(asked, mark)?),
                _ => {}
            }
        }
        Ok(claims)
    }
}

fn claim(asked: Duration, mark: &Mark) -> Result<Claim, String> {
    let wrong = |what: &str| format!("the status {what}: {}", mark.rest);
    let status: Value = serde_json::from_str(&mark.rest).map_err(|e| wrong(&e.to_string()))?;
    let lines = status.pointer("/panel/lcd/lines").and_then(Value::as_array);
    let lines = lines.ok_or_else(|| wrong("has no lines of a display"))?;
    let address = status.pointer("/uplink/address").and_then(Value::as_str);
    Ok(Claim {
        asked,
        answered: mark.at,
        lines: lines.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        address: address.and_then(|cidr| cidr.split('/').next()).map(str::to_owned),
    })
}
