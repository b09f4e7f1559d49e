//! The files of the stories.

use std::time::Duration;

use toml_span::value::Table;
use toml_span::{Value, parse};

/// One story.
pub struct Case {
    pub board: String,
    pub settings: String,
    /// Why the head is not set up; empty without a file.
    pub unset: Option<String>,
    /// Events before the first moment, covered by another story, without expectations.
    pub begin: String,
    /// The first moment shows the whole rule set, not only later changes.
    pub whole_rules: bool,
    pub moments: Vec<Moment>,
    text: String,
}

/// A moment: its events, and the outputs after them.
pub struct Moment {
    /// As written in the file.
    pub at: String,
    /// Since the start.
    pub time: Duration,
    pub say: String,
    /// One event per line.
    pub events: String,
    /// New settings for the event `reload`.
    pub settings: Option<String>,
    pub expect: Option<String>,
}

const MOMENT: &str = "[[moment]]";
const OPENING: &str = "expect = '''\n";
const CLOSING: &str = "'''\n";

impl Case {
    /// Parses a story.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut root = parse(text).map_err(|error| error.to_string())?;
        let table = root.as_table().ok_or("no table")?;
        let known = ["purpose", "board", "settings", "unset", "begin", "whole_rules", "moment"];
        only(table, &known)?;
        word(table, "purpose").ok_or("purpose is missing: one sentence")?;
        let moments = root
            .pointer_mut("/moment")
            .and_then(|value| Some(value.as_array()?.iter().map(moment).collect()));
        let case = Self {
            board: root.pointer("/board").and_then(Value::as_str).unwrap_or("emulated").to_owned(),
            settings: root
                .pointer("/settings")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            unset: root.pointer("/unset").and_then(Value::as_str).map(str::to_owned),
            begin: root.pointer("/begin").and_then(Value::as_str).unwrap_or_default().to_owned(),
            whole_rules: root.pointer("/whole_rules").and_then(Value::as_bool).unwrap_or_default(),
            moments: moments.unwrap_or_else(|| Err("no [[moment]]".to_owned()))?,
            text: text.to_owned(),
        };
        let times: Vec<Duration> = case.moments.iter().map(|moment| moment.time).collect();
        if times.is_sorted() {
            Ok(case)
        } else {
            Err("the moments are not in their order".to_owned())
        }
    }

    /// Returns the file with the actual outputs instead of the expected ones.
    pub fn with_expectations(&self, seen: &[String]) -> String {
        let mut parts = self.text.split(MOMENT);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for (part, seen) in parts.zip(seen) {
            let before = part.split(OPENING).next().unwrap_or_default();
            let after = part
                .split_once(OPENING)
                .and_then(|(_, rest)| rest.split_once(CLOSING))
                .map_or("", |(_, rest)| rest);
            text += &format!(
                "{MOMENT}{}\n{OPENING}{seen}{CLOSING}\n{}",
                before.trim_end(),
                after.trim_start()
            );
        }
        format!("{}\n", text.trim_end())
    }
}

fn moment(value: &Value<'_>) -> Result<Moment, String> {
    let table = value.as_table().ok_or("a moment is a table")?;
    only(table, &["at", "say", "events", "settings", "expect"])?;
    let at = word(table, "at").ok_or("at is missing")?;
    Ok(Moment {
        time: duration(&at)?,
        at,
        say: word(table, "say").ok_or("say is missing: what happens, for a reader")?,
        events: word(table, "events").unwrap_or_default(),
        settings: word(table, "settings"),
        expect: word(table, "expect"),
    })
}

fn word(table: &Table<'_>, key: &str) -> Option<String> {
    table.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn only(table: &Table<'_>, known: &[&str]) -> Result<(), String> {
    match table.keys().find(|key| !known.contains(&key.name.as_ref())) {
        Some(key) => Err(format!("{:?} is not known, only {known:?}", key.name)),
        None => Ok(()),
    }
}

/// Parses an integer with a unit: `250ms`, `3s`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits =
        text.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| format!("{text:?} has no unit"))?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no duration"))?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        "h" => Ok(Duration::from_secs(3600 * number)),
        _ => Err(format!("{text:?} is no duration: us ms s m h")),
    }
}
