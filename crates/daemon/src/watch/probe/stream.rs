//! Probes that need a connection: each question is a task of its own, and only so many at a time,
//! so that ten thousand nodes do not open ten thousand sockets at once.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Answer, Probe, Question};
use crate::config::NodeProbe;

/// Sockets open at once, for each kind of probe.
const MOST: usize = 256;

/// Asks one node once: (its address, what to ask); whether it is well.
pub type AskOne = fn(IpAddr, NodeProbe) -> BoxFuture<'static, bool>;

/// Holds the questions underway.
#[derive(Debug)]
pub struct Streams {
    ask: AskOne,
    underway: JoinSet<Option<Answer>>,
}

impl Streams {
    pub fn new(ask: AskOne) -> Self {
        Self { ask, underway: JoinSet::new() }
    }
}

impl Probe for Streams {
    fn ask(&mut self, questions: &[Question<'_>], _port: &str) -> usize {
        let room = MOST.saturating_sub(self.underway.len()).min(questions.len());
        for question in questions.iter().take(room) {
            let asked = (self.ask)(question.address, question.probe.clone());
            let (key, within) = (question.key, question.within);
            self.underway.spawn(async move {
                let begin = Instant::now();
                let well = timeout(within, asked).await.unwrap_or(false);
                well.then(|| Answer { key, rtt: Some(begin.elapsed()), from: None })
            });
        }
        room
    }

    fn answers(&mut self, answered: &mut Vec<Answer>) {
        while let Some(ended) = self.underway.try_join_next() {
            answered.extend(ended.ok().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::NodeId;
    use crate::watch::probe::Key;

    #[tokio::test]
    async fn no_more_than_the_limit_are_open_and_the_rest_comes_later() {
        let slow: AskOne = |_, _| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                true
            })
        };
        let mut streams = Streams::new(slow);
        let probe = NodeProbe::Tcp(22);
        let key = |slot| Key { node: NodeId { slot, generation: 0 }, turn: 1, probe: 0, nth: 0 };
        let question = |slot| Question {
            key: key(slot),
            address: [127, 0, 0, 1].into(),
            mac: None,
            probe: &probe,
            within: Duration::from_secs(1),
        };
        let questions: Vec<_> = (0..1000).map(question).collect();
        assert_eq!(streams.ask(&questions, "eth0"), MOST);
        assert_eq!(streams.ask(&questions[MOST..], "eth0"), 0, "no room");
        let mut answered = Vec::new();
        streams.answers(&mut answered);
        assert!(answered.is_empty(), "no node has answered yet");
        tokio::time::sleep(Duration::from_millis(60)).await;
        streams.answers(&mut answered);
        assert_eq!(answered.len(), MOST);
        assert!(answered.iter().all(|answer| answer.rtt >= Some(Duration::from_millis(20))));
        assert_eq!(streams.ask(&questions[MOST..], "eth0"), MOST, "there is room again");
    }
}
