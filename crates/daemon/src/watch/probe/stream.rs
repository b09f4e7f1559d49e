//! Probes that need a connection. Each request is a task, and their number is limited, so that ten
//! thousand nodes do not need ten thousand sockets at once.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Answer, Probe, Question};
use crate::config::NodeProbe;

/// Maximum number of open sockets for each kind of probe.
const MAX_IN_FLIGHT: usize = 256;

/// Probes the node at an address once. Returns whether it is healthy.
pub type Check = fn(IpAddr, NodeProbe) -> BoxFuture<'static, bool>;

/// Holds the requests in flight.
#[derive(Debug)]
pub struct Streams {
    check: Check,
    in_flight: JoinSet<Option<Answer>>,
}

impl Streams {
    pub fn new(check: Check) -> Self {
        Self { check, in_flight: JoinSet::new() }
    }
}

impl Probe for Streams {
    fn ask(&mut self, questions: &[Question<'_>], _port: &str) -> usize {
        let accepted = MAX_IN_FLIGHT.saturating_sub(self.in_flight.len()).min(questions.len());
        for question in questions.iter().take(accepted) {
            let check = (self.check)(question.address, question.probe.clone());
            let (key, within) = (question.key, question.within);
            self.in_flight.spawn(async move {
                let begin = Instant::now();
                let healthy = timeout(within, check).await.unwrap_or(false);
                healthy.then(|| Answer { key, rtt: Some(begin.elapsed()), from: None })
            });
        }
        accepted
    }

    fn answers(&mut self, answered: &mut Vec<Answer>) {
        while let Some(ended) = self.in_flight.try_join_next() {
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
    async fn requests_beyond_the_limit_are_accepted_later() {
        let slow: Check = |_, _| {
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
        assert_eq!(streams.ask(&questions, "eth0"), MAX_IN_FLIGHT);
        assert_eq!(streams.ask(&questions[MAX_IN_FLIGHT..], "eth0"), 0, "no room");
        let mut answered = Vec::new();
        streams.answers(&mut answered);
        assert!(answered.is_empty(), "no node has answered yet");
        tokio::time::sleep(Duration::from_millis(60)).await;
        streams.answers(&mut answered);
        assert_eq!(answered.len(), MAX_IN_FLIGHT);
        assert!(answered.iter().all(|answer| answer.rtt >= Some(Duration::from_millis(20))));
        assert_eq!(
            streams.ask(&questions[MAX_IN_FLIGHT..], "eth0"),
            MAX_IN_FLIGHT,
            "there is room again"
        );
    }
}
