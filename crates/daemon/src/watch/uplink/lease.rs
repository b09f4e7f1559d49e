//! Tracks the DHCP exchange on an uplink that has no IPv4 address yet, by capturing messages of
//! both client and server. Nothing is sent.
//!
//! A socket filter passes DHCP only, and an uplink with an address is not captured at all, so
//! ordinary traffic costs nothing.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use socket2::{Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

pub use crate::event::ListeningPlan;
use crate::event::{Acquisition, Event, Mac, PortalSource, PortalUrl, UplinkNews};
use crate::packet;
use crate::sync::{Closed, next_aligned, readable};
use crate::watch::dhcp::message::{self, Answer, Question};
use crate::watch::dhcp::{FRAME, filter};
use crate::watch::emit;
use crate::watch::uplink::clients::{self, Manager};

/// When to look first for a client that sends nothing: by then any client has sent several
/// requests.
const FIRST_CHECK: Duration = Duration::from_secs(9);
/// Interval of the checks after that.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Pause before a vanished interface is tried again; netlink reports its end as well.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Captures on the plan's interfaces. Reports [`UplinkNews::Acquisition`] when it changes, and a
/// captive portal that a reply names.
///
/// # Errors
/// A channel is closed (`Closed`), or a packet socket cannot be opened (`CAP_NET_RAW`).
pub async fn run(
    mut plan: watch::Receiver<Vec<ListeningPlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut tasks = JoinSet::new();
    let mut running: Vec<(ListeningPlan, AbortHandle)> = Vec::new();
    loop {
        let ports = plan.borrow_and_update().clone();
        running.retain(|(port, task)| {
            let wanted = ports.contains(port);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for port in ports {
            if !running.iter().any(|(known, _)| *known == port) {
                let task = tasks.spawn(listen(port.clone(), events.clone()));
                running.push((port, task));
            }
        }
        tokio::select! {
            changed = plan.changed() => changed.map_err(|_| Closed)?,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok(Err(error)) = ended {
                    return Err(error);
                }
                // One that panicked is started again; one that was aborted is not in the list.
                running.retain(|(_, task)| !task.is_finished());
                if ended.is_err_and(|error| error.is_panic()) {
                    sleep(REOPEN_PAUSE).await;
                }
            }
        }
    }
}

/// Captures on one interface, and resumes when it reappears.
async fn listen(port: ListeningPlan, events: mpsc::Sender<Event>) -> io::Result<()> {
    loop {
        match capture(&port, &events).await {
            Err(error) if packet::is_port_gone(&error) => {
                debug!(port = %port.name, %error, "the port is not heard for now");
                sleep(REOPEN_PAUSE).await;
            }
            Err(error) => return Err(error),
            Ok(never) => match never {},
        }
    }
}

async fn capture(port: &ListeningPlan, events: &mpsc::Sender<Event>) -> io::Result<Infallible> {
    let wire =
        readable(packet::open(Type::RAW, packet::ETHERTYPE_ALL, port.index, &filter::both())?)?;
    let mut frame = [0; FRAME];
    let mut exchange = Exchange::default();
    let (mut reported, mut portal) = (None, None);
    let mut check_at = Instant::now() + FIRST_CHECK;
    loop {
        tokio::select! {
            length = packet::receive(&wire, &mut frame) => {
                exchange.take(frame.get(..length?).unwrap_or_default(), port.mac);
            }
            () = sleep_until(check_at) => {
                check_at = next_aligned(CHECK_INTERVAL);
                exchange.client = Some(is_client_running(Path::new("/"), port, &wire));
            }
        }
        if portal != exchange.portal {
            portal.clone_from(&exchange.portal);
            let (index, by, url) = (port.index, PortalSource::Lease, portal.clone());
            emit(events, Event::Uplink(UplinkNews::Portal { index, by, url })).await?;
        }
        let state = exchange.acquisition();
        if state != reported {
            reported = state;
            let news = UplinkNews::Acquisition { index: port.index, state };
            emit(events, Event::Uplink(news)).await?;
        }
    }
}

/// Returns whether a client has a packet socket on the interface, or a manager's files say that it
/// requests an address there. `ours` is our own packet socket.
fn is_client_running(root: &Path, port: &ListeningPlan, ours: &AsyncFd<Socket>) -> bool {
    let ours = rustix::fs::fstat(ours.get_ref().as_fd())
        .map(|stat| stat.st_ino.to_string())
        .unwrap_or_default();
    let sockets = clients::packet_sockets(root);
    let listens = sockets.iter().any(|socket| socket.index == port.index && socket.inode != ours);
    listens || Manager::ALL.into_iter().any(|manager| manager.asks(root, port.index, &port.name))
}

/// Holds the state of the DHCP exchange. Pure.
#[derive(Debug, Default)]
struct Exchange {
    heard: Option<Acquisition>,
    /// The client's last message requests the option IPv6-only preferred.
    asked_for_ipv6_only: bool,
    portal: Option<PortalUrl>,
    /// A client runs on this machine; `None` before the first check.
    client: Option<bool>,
}

impl Exchange {
    /// Processes a frame of this machine's client (`ours`) or of a server.
    fn take(&mut self, frame: &[u8], ours: Mac) {
        if let Some(Question { kind, ipv6_only, .. }) =
            message::question(frame).filter(|asked| asked.mac == ours)
        {
            match kind {
                message::DECLINE => self.heard = Some(Acquisition::Declined),
                message::DISCOVER | message::REQUEST => {
                    self.asked_for_ipv6_only = ipv6_only;
                    // A retransmission does not undo a server's reply.
                    self.heard = self.heard.or(Some(Acquisition::Unanswered));
                }
                _ => {}
            }
        }
        let Some(Answer { kind, server, ipv6_only, portal, .. }) = message::answer(frame, ours)
        else {
            return;
        };
        self.portal = portal.or_else(|| self.portal.take());
        self.heard = match kind {
            message::NAK => Some(Acquisition::Refused { server }),
            message::OFFER if ipv6_only && self.asked_for_ipv6_only => {
                Some(Acquisition::Ipv6Only { server })
            }
            message::OFFER | message::ACK => Some(Acquisition::Offered { server }),
            _ => self.heard,
        };
    }

    fn acquisition(&self) -> Option<Acquisition> {
        let silent = |there| if there { Acquisition::Waiting } else { Acquisition::NoClient };
        self.heard.or_else(|| self.client.map(silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::dhcp::message::tests::{OURS, answer, question};

    const SERVER: [u8; 6] = [54, 4, 192, 168, 1, 1];

    /// Returns the state after each frame.
    fn heard(frames: &[Vec<u8>]) -> Vec<Option<Acquisition>> {
        let mut exchange = Exchange::default();
        let known = frames.iter().map(|frame| {
            exchange.take(frame, OURS);
            exchange.acquisition()
        });
        known.collect()
    }

    #[test]
    fn messages_of_both_client_and_server_count() {
        let server = [192, 168, 1, 1].into();
        let discover = question(message::DISCOVER, &[55, 2, 1, 3]);
        let wants = question(message::DISCOVER, &[55, 3, 1, 3, 108]);
        let offer = answer(message::OFFER, [192, 168, 1, 20], &SERVER);
        let ipv6_only = answer(
            message::OFFER,
            [192, 168, 1, 20],
            &[&SERVER[..], &[108, 4, 0, 0, 1, 44]].concat(),
        );
        let nak = answer(message::NAK, [0; 4], &SERVER);
        let decline = question(message::DECLINE, &[]);
        let table = [
            (vec![discover.clone()], Acquisition::Unanswered),
            (vec![discover.clone(), offer.clone()], Acquisition::Offered { server }),
            (vec![discover.clone(), ipv6_only.clone()], Acquisition::Offered { server }),
            (vec![wants.clone(), ipv6_only.clone()], Acquisition::Ipv6Only { server }),
            (
                vec![wants.clone(), ipv6_only.clone(), wants.clone()],
                Acquisition::Ipv6Only { server },
            ),
            (vec![wants.clone(), offer.clone()], Acquisition::Offered { server }),
            (vec![question(message::REQUEST, &[]), nak], Acquisition::Refused { server }),
            (vec![discover.clone(), offer, decline], Acquisition::Declined),
        ];
        for (frames, expected) in table {
            assert_eq!(heard(&frames).last().copied().flatten(), Some(expected));
        }
        // Messages of another board, and replies to it, do not count.
        let mut others = discover;
        others[70..76].fill(7);
        let mut to_others = ipv6_only;
        to_others[70..76].fill(7);
        assert_eq!(heard(&[others, to_others]), [None, None]);
    }

    #[test]
    fn a_silent_uplink_has_a_waiting_client_or_none() {
        let with = |client| Exchange { client, ..Exchange::default() }.acquisition();
        assert_eq!(with(None), None);
        assert_eq!(with(Some(true)), Some(Acquisition::Waiting));
        assert_eq!(with(Some(false)), Some(Acquisition::NoClient));
    }
}
