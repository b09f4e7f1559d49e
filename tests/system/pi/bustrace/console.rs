//! The guest's output: `=== WORD WHAT`, and at the end its kernel's trace, whose lines are `===
//! trace TASK-PID [CPU] FLAGS SECONDS: EVENT: TEXT`. The script's own marks are included.

use std::time::Duration;

use serde_json::Value;

use crate::trace::{Transfer, seconds, take};

/// A mark of the script.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The guest's clock, since its kernel started.
    pub at: Duration,
    pub word: String,
    /// The text after the word.
    pub rest: String,
}

#[derive(Debug)]
pub struct Console {
    marks: Vec<Mark>,
    /// Words without a time, and the text after them.
    facts: Vec<(String, String)>,
    pub transfers: Vec<Transfer>,
    /// Kernel modules that the kernel requested from user space because the gateway used something.
    requests: Vec<(Duration, String)>,
}

/// What the gateway claimed to show.
#[derive(Debug)]
pub struct Claim {
    /// The times of the request and the answer.
    pub asked: Duration,
    pub answered: Duration,
    pub lines: Vec<String>,
    /// The uplink's address, without its prefix length.
    pub address: Option<String>,
}

impl Console {
    /// Parses the output; ignores other lines, such as the kernel's.
    ///
    /// # Errors
    /// A line of the trace is malformed.
    pub fn read(text: &str) -> Result<Self, String> {
        let (mut marks, mut facts) = (Vec::new(), Vec::new());
        let (mut transfers, mut requests) = (Vec::new(), Vec::new());
        for (_, words) in text.lines().filter_map(|line| line.split_once("=== ")) {
            let (word, rest) = split(words);
            if word != "trace" {
                facts.push((word, rest));
                continue;
            }
            let (at, event, text) = traced(&rest).ok_or_else(|| format!("not a trace: {rest}"))?;
            if event == "tracing_mark_write" {
                let (word, rest) = split(text);
                marks.push(Mark { at, word, rest });
            } else if event == "module_request" {
                if rest.trim_start().starts_with("bramblegate") {
                    requests.push((at, split(text).0));
                }
            } else {
                take(&mut transfers, at, event, text);
            }
        }
        Ok(Self { marks, facts, transfers, requests })
    }

    /// Returns all marks with this word.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Mark> {
        self.marks.iter().filter(move |mark| mark.word == word)
    }

    /// Returns the first one.
    ///
    /// # Errors
    /// There is none.
    pub fn first(&self, word: &str) -> Result<&Mark, String> {
        let found = self.marks.iter().find(|mark| mark.word == word);
        found.ok_or_else(|| format!("the guest has no moment \"{word}\""))
    }

    /// Returns what was printed after this word, line by line.
    pub fn facts<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.facts.iter().filter(move |(name, _)| name == word).map(|(_, rest)| rest.as_str())
    }

    /// Returns the kernel modules requested between two times.
    pub fn requests(&self, from: Duration, to: Duration) -> impl Iterator<Item = &str> {
        let within = self.requests.iter().filter(move |(at, _)| (from..=to).contains(at));
        within.map(|(_, name)| name.as_str())
    }

    /// # Errors
    /// An answer is not a status, or has no request.
    pub fn claims(&self) -> Result<Vec<Claim>, String> {
        let (asked, answered) = (self.all("ask"), self.all("answered"));
        let claims = self.facts("claim").zip(asked.zip(answered));
        let claims: Vec<Claim> = claims
            .map(|(json, (ask, end))| claim(json, ask.at, end.at))
            .collect::<Result<_, _>>()?;
        let asked = self.all("ask").count();
        if claims.len() == asked {
            Ok(claims)
        } else {
            Err(format!("{} answers to {asked} questions", claims.len()))
        }
    }
}

fn split(words: &str) -> (String, String) {
    let (word, rest) = words.trim().split_once(' ').unwrap_or((words.trim(), ""));
    (word.to_owned(), rest.to_owned())
}

fn traced(line: &str) -> Option<(Duration, &str, &str)> {
    let (head, rest) = line.split_once(": ")?;
    let (event, text) = rest.split_once(": ")?;
    Some((seconds(head.split_whitespace().last()?)?, event, text))
}

fn claim(json: &str, asked: Duration, answered: Duration) -> Result<Claim, String> {
    let wrong = |what: &str| format!("the status {what}: {json}");
    let status: Value = serde_json::from_str(json).map_err(|error| wrong(&error.to_string()))?;
    let lines = status.pointer("/panel/lcd/lines").and_then(Value::as_array);
    let lines = lines.ok_or_else(|| wrong("has no lines of a display"))?;
    let address = status.pointer("/uplink/address").and_then(Value::as_str);
    Ok(Claim {
        asked,
        answered,
        lines: lines.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        address: address.and_then(|cidr| cidr.split('/').next()).map(str::to_owned),
    })
}
