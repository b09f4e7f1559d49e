//! The lines of the control socket: orders and answers.

use serde::{Deserialize, Serialize};

use crate::word::words;
use crate::{SCHEMA, Schema, Word};

/// An order to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Request")]
pub enum Order {
    /// Puts a node into maintenance: no alert, whatever its probes report.
    Drain(String),
    /// Ends the maintenance of a node.
    Resume(String),
    /// Removes a discovered node, or the lease of one.
    Forget(String),
    /// Acknowledges all current alerts.
    Acknowledge,
    /// Turns the display to its next page, like its button.
    NextPage,
    /// Reports the progress of a shutdown of the nodes.
    Shutdown(Shutdown),
}

/// The progress of a shutdown of the nodes. `bramblegate shutdown` reports it about once a second
/// until `ended`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// No further report follows.
    pub ended: bool,
    /// Nodes that were asked to power off since the last report: they raise no alert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub going: Vec<String>,
    /// The head powers off afterwards.
    pub head: bool,
    /// The remaining time to wait for nodes, in seconds.
    pub left_s: u64,
    /// Nodes that were asked before, and stay up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub staying: Vec<String>,
    /// The first of the nodes that are not off yet.
    pub waiting: Vec<String>,
    /// The number of nodes that are not off yet.
    pub waiting_total: usize,
}

words! {
    /// The verb of an order.
    Verb {
        Drain = "drain",
        Resume = "resume",
        Forget = "forget",
        Acknowledge = "acknowledge",
        NextPage = "next-page",
        Shutdown = "shutdown",
    }
}

/// An order on the wire. The daemon refuses unknown fields, since an order must not be carried out
/// in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub order: Word<Verb>,
    pub schema: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
}

impl From<Order> for Request {
    fn from(order: Order) -> Self {
        let (verb, node, shutdown) = match order {
            Order::Drain(node) => (Verb::Drain, Some(node), None),
            Order::Resume(node) => (Verb::Resume, Some(node), None),
            Order::Forget(node) => (Verb::Forget, Some(node), None),
            Order::Acknowledge => (Verb::Acknowledge, None, None),
            Order::NextPage => (Verb::NextPage, None, None),
            Order::Shutdown(report) => (Verb::Shutdown, None, Some(report)),
        };
        Self { node, order: verb.into(), schema: Schema::default(), shutdown }
    }
}

impl Verb {
    /// Returns whether the verb needs the name of a node.
    pub const fn has_node(self) -> bool {
        matches!(self, Self::Drain | Self::Resume | Self::Forget)
    }
}

impl Order {
    /// Returns the order of a verb; `None` where a node is missing or not allowed, and for
    /// [`Verb::Shutdown`].
    pub fn new(verb: Verb, node: Option<String>) -> Option<Self> {
        match (verb, node) {
            (Verb::Drain, Some(node)) => Some(Self::Drain(node)),
            (Verb::Resume, Some(node)) => Some(Self::Resume(node)),
            (Verb::Forget, Some(node)) => Some(Self::Forget(node)),
            (Verb::Acknowledge, None) => Some(Self::Acknowledge),
            (Verb::NextPage, None) => Some(Self::NextPage),
            _ => None,
        }
    }

    /// Parses an order from one line.
    ///
    /// # Errors
    /// What is wrong with the line, as a text for its author.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let request: Request = serde_json::from_slice(line).map_err(|error| {
            format!("this is no order: {error}; write {{\"schema\":{SCHEMA},\"order\":\"drain\",\"node\":\"rpi1\"}}")
        })?;
        if request.schema != Schema::default() {
            return Err(format!("schema {} is not known here: write {SCHEMA}", request.schema.0));
        }
        let verb = request.order.known().ok_or(
            "the orders are \"drain\", \"resume\", \"forget\", \"acknowledge\", \"next-page\" and \"shutdown\"",
        )?;
        if let (Verb::Shutdown, None, Some(report)) = (verb, &request.node, &request.shutdown) {
            return Ok(Self::Shutdown(report.clone()));
        }
        let node = request.node.filter(|_| request.shutdown.is_none());
        Self::new(verb, node).ok_or_else(|| match verb {
            Verb::Shutdown => "\"shutdown\" needs a report, and has no node".to_owned(),
            Verb::Acknowledge => {
                "\"acknowledge\" is for all that stands, not for one node".to_owned()
            }
            Verb::NextPage => "\"next-page\" is for the display, not for one node".to_owned(),
            _ => format!("\"{verb}\" needs the name of a node"),
        })
    }
}

/// The answer to an order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The order was carried out.
    pub ok: bool,
    pub schema: Schema,
}

impl From<Result<(), String>> for Answer {
    fn from(result: Result<(), String>) -> Self {
        Self { ok: result.is_ok(), error: result.err(), schema: Schema::default() }
    }
}

impl From<Answer> for Result<(), String> {
    fn from(answer: Answer) -> Self {
        if answer.ok { Ok(()) } else { Err(answer.error.unwrap_or_else(|| "refused".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_parsed_and_errors_are_explained() {
        assert_eq!(
            Order::parse(br#"{"schema":1,"order":"drain","node":"rpi2"}"#),
            Ok(Order::Drain("rpi2".into()))
        );
        assert_eq!(Order::parse(br#"{"schema":1,"order":"acknowledge"}"#), Ok(Order::Acknowledge));
        for (line, word) in [
            (&b"drain rpi2"[..], "no order"),
            (br#"{"schema":2,"order":"drain","node":"rpi2"}"#, "schema 2"),
            (br#"{"schema":1,"order":"drain"}"#, "needs the name"),
            (br#"{"schema":1,"order":"acknowledge","node":"rpi2"}"#, "not for one node"),
            (br#"{"schema":1,"order":"next-page","node":"rpi2"}"#, "not for one node"),
            (br#"{"schema":1,"order":"shutdown"}"#, "needs a report"),
            (br#"{"schema":1,"order":"drain","node":"a","shutdown":{}}"#, "needs the name"),
            (br#"{"schema":1,"order":"explode"}"#, "the orders are"),
            (br#"{"schema":1,"order":"drain","node":"rpi2","force":true}"#, "unknown field"),
        ] {
            let error = Order::parse(line).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    /// Recorded orders and answers, from before the types existed.
    #[test]
    fn orders_and_answers_stay_as_they_are_on_the_wire() {
        for (order, line) in [
            (Order::Drain("rpi1".into()), r#"{"node":"rpi1","order":"drain","schema":1}"#),
            (Order::Resume("rpi1".into()), r#"{"node":"rpi1","order":"resume","schema":1}"#),
            (Order::Forget("a".into()), r#"{"node":"a","order":"forget","schema":1}"#),
            (Order::Acknowledge, r#"{"order":"acknowledge","schema":1}"#),
            (Order::NextPage, r#"{"order":"next-page","schema":1}"#),
            (
                Order::Shutdown(Shutdown { going: vec!["a".into()], ..Shutdown::default() }),
                r#"{"order":"shutdown","schema":1,"shutdown":{"ended":false,"going":["a"],"head":false,"left_s":0,"waiting":[],"waiting_total":0}}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(crate::line(&order)).unwrap(), format!("{line}\n"));
            assert_eq!(Order::parse(line.as_bytes()), Ok(order));
        }
        for (result, line) in [
            (Ok(()), r#"{"ok":true,"schema":1}"#),
            (Err("no such node".to_owned()), r#"{"error":"no such node","ok":false,"schema":1}"#),
        ] {
            let answer = Answer::from(result.clone());
            assert_eq!(serde_json::to_string(&answer).unwrap(), line);
            let read: Answer = serde_json::from_str(line).unwrap();
            assert_eq!(Result::from(read), result);
        }
        let newer: Answer = serde_json::from_str(r#"{"schema":1,"ok":false,"hint":"x"}"#).unwrap();
        assert_eq!(Result::from(newer), Err("refused".to_owned()));
    }
}
