//! A running Prometheus, queried by its HTTP API.

use std::fs;
use std::path::Path;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, run, spawn, within};
use bramblegate_lab::{Error, Result};
use serde_json::Value;

use super::{get, until};

/// A server in a namespace of the world; dropping this ends it.
#[derive(Debug)]
pub struct Prometheus {
    namespace: String,
    port: u16,
    log: String,
    _running: Running,
}

impl Prometheus {
    /// Starts a server with these settings, after `promtool` has checked them, and waits until it
    /// is ready.
    pub fn start(namespace: &str, port: u16, settings: &str) -> Result<Self> {
        let folder = format!("{HOME}/prometheus-{port}");
        let (file, log) = (format!("{folder}/prometheus.yml"), format!("{folder}/log"));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, settings));
        written.map_err(|error| Error(format!("{file}: {error}")))?;
        run("promtool", &["check", "config", &file])?;
        let mut command = within(namespace, "prometheus");
        command
            .args([&format!("--config.file={file}"), &format!("--storage.tsdb.path={folder}/data")])
            .arg(format!("--web.listen-address=0.0.0.0:{port}"))
            .env("GOMAXPROCS", "1");
        let running = spawn(&mut command, Path::new(&log))?;
        let server = Self { namespace: namespace.to_owned(), port, log, _running: running };
        until("Prometheus is ready", || server.fetch("/-/ready").is_ok())
            .map_err(|error| server.explain(&error))?;
        Ok(server)
    }

    fn fetch(&self, path: &str) -> Result<String> {
        get(&self.namespace, &format!("http://127.0.0.1:{}{path}", self.port))
    }

    /// Returns the `data` of a response of the API.
    pub fn api(&self, path: &str) -> Result<Value> {
        let text = self.fetch(&format!("/api/v1/{path}"))?;
        let mut answer: Value =
            serde_json::from_str(&text).map_err(|error| Error(format!("{path}: {error}")))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(Error(format!("{path}: {text}"))),
        }
    }

    /// Returns the samples of an expression: labels with their value.
    pub fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.api(&format!("query?query={encoded}"))?;
        let samples = data["result"].as_array().cloned().unwrap_or_default();
        let sample = |sample: Value| {
            let value = sample["value"][1].as_str()?.parse().ok()?;
            Some((sample["metric"].clone(), value))
        };
        Ok(samples.into_iter().filter_map(sample).collect())
    }

    /// Returns the single value of an expression; `None` for none or several.
    pub fn value(&self, expression: &str) -> Option<f64> {
        match self.query(expression).ok()?.as_slice() {
            [(_, value)] => Some(*value),
            _ => None,
        }
    }

    /// Waits until an expression has this single value.
    pub fn await_value(&self, expression: &str, wanted: f64) -> Result<()> {
        until(&format!("{expression} is {wanted}"), || self.value(expression) == Some(wanted))
            .map_err(|error| {
                self.explain(&Error(format!("{error}; it is {:?}", self.query(expression))))
            })
    }

    /// Returns the firing alerts, by name and node.
    pub fn firing(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let samples = self.query("ALERTS{alertstate=\"firing\"}").unwrap_or_default();
        samples
            .iter()
            .map(|(labels, _)| (text(&labels["alertname"]), text(&labels["node"])))
            .collect()
    }

    /// Adds the server's log and the state of its targets.
    fn explain(&self, error: &Error) -> Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let targets = self.fetch("/api/v1/targets").unwrap_or_default();
        Error(format!("{error}\n{log}\n{targets}"))
    }
}

/// Writes the shipped rules with durations short enough for a test, and returns the file's name.
pub fn quick_rules() -> Result<String> {
    let shipped = super::shipped("alerts.yml");
    let text =
        fs::read_to_string(&shipped).map_err(|error| Error(format!("{shipped}: {error}")))?;
    let mut quick = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("for: ") {
            quick += &format!("{}for: 1s\n", " ".repeat(indent));
        } else {
            quick += &format!("{line}\n");
        }
    }
    let file = format!("{HOME}/alerts.yml");
    fs::write(&file, quick).map_err(|error| Error(format!("{file}: {error}")))?;
    must("head", &format!("promtool check rules {file}"))?;
    Ok(file)
}
