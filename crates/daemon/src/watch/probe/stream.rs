//! Probes that need a connection. Each request is a task, and their number is limited, so that ten
//! thousand nodes do not need ten thousand sockets at once.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Probe, Reply, Request};
use crate::config::NodeProbe;

/// Maximum number of open sockets for each kind of probe.
const MAX_IN_FLIGHT: usize = 256;

/// Probes the node at an address once. Returns whether it is healthy.
pub type Check = fn(IpAddr, NodeProbe) -> BoxFuture<'static, bool>;

/// Holds the requests in flight.
#[derive(Debug)]
pub struct Streams {
    check: Check,
    in_flight: JoinSet<Option<Reply>>,
}

impl Streams {
    pub fn new(check: Check) -> Self {
        Self { check, in_flight: JoinSet::new() }
    }
}

impl Probe for Streams {
    fn send(&mut self, requests: &[Request<'_>], _port: &str) -> usize {
        let accepted = MAX_IN_FLIGHT.saturating_sub(self.in_flight.len()).min(requests.len());
        for request in requests.iter().take(accepted) {
            let check = (self.check)(request.address, request.probe.clone());
            let (key, within) = (request.key, request.within);
            self.in_flight.spawn(async move {
                let begin = Instant::now();
                let healthy = timeout(within, check).await.unwrap_or(false);
                healthy.then(|| Reply { key, rtt: Some(begin.elapsed()), from: None })
            });
        }
        accepted
    }

    fn receive(&mut self, replies: &mut Vec<Reply>) {
        while let Some(ended) = self.in_flight.try_join_next() {
            replies.extend(ended.ok().flatten());
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
        let request = |slot| Request {
            key: key(slot),
            address: [127, 0, 0, 1].into(),
            mac: None,
            probe: &probe,
            within: Duration::from_secs(1),
        };
        let requests: Vec<_> = (0..1000).map(request).collect();
        assert_eq!(streams.send(&requests, "eth0"), MAX_IN_FLIGHT);
        assert_eq!(streams.send(&requests[MAX_IN_FLIGHT..], "eth0"), 0, "no room");
        let mut answered = Vec::new();
        streams.receive(&mut answered);
        assert!(answered.is_empty(), "no node has answered yet");
        tokio::time::sleep(Duration::from_millis(60)).await;
        streams.receive(&mut answered);
        assert_eq!(answered.len(), MAX_IN_FLIGHT);
        assert!(answered.iter().all(|answer| answer.rtt >= Some(Duration::from_millis(20))));
        assert_eq!(
            streams.send(&requests[MAX_IN_FLIGHT..], "eth0"),
            MAX_IN_FLIGHT,
            "there is room again"
        );
    }
}
