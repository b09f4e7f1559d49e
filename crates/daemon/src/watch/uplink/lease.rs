//! Finds out how far the DHCP client of an uplink has come that has no IPv4 address. Heard on the
//! wire, from both ends; nothing is sent.
//!
//! A filter in the kernel picks DHCP out, and an uplink with an address is not listened to: traffic
//! costs nothing there.

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

/// A client asks several times in this time after the carrier came.
const FIRST_LOOK: Duration = Duration::from_secs(9);
/// After that the machine is looked at again this often for a client that does not ask.
const LOOK: Duration = Duration::from_secs(60);
/// A port that went away is reported by netlink too; until then.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens to the ports of the plan; reports [`UplinkNews::Acquisition`] when it is another, and a
/// portal that an answer names.
///
/// # Errors
/// A channel is closed (`Closed`), or no packet socket is to be had (`CAP_NET_RAW`).
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
            }
        }
    }
}

/// Listens to one port for as long as it is there.
async fn listen(port: ListeningPlan, events: mpsc::Sender<Event>) -> io::Result<()> {
    loop {
        match hear(&port, &events).await {
            Err(error) if packet::is_port_gone(&error) => {
                debug!(port = %port.name, %error, "the port is not heard for now");
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
            Ok(never) => match never {},
        }
    }
}

async fn hear(port: &ListeningPlan, events: &mpsc::Sender<Event>) -> io::Result<Infallible> {
    let wire =
        readable(packet::open(Type::RAW, packet::ETHERTYPE_ALL, port.index, &filter::both())?)?;
    let mut frame = [0; FRAME];
    let mut talk = Talk::default();
    let (mut known, mut portal) = (None, None);
    let mut look = Instant::now() + FIRST_LOOK;
    loop {
        tokio::select! {
            length = packet::receive(&wire, &mut frame) => {
                talk.take(frame.get(..length?).unwrap_or_default(), port.mac);
            }
            () = sleep_until(look) => {
                look = next_aligned(LOOK);
                talk.client = Some(is_client_there(Path::new("/"), port, &wire));
            }
        }
        if portal != talk.portal {
            portal.clone_from(&talk.portal);
            let (index, by, url) = (port.index, PortalSource::Lease, portal.clone());
            emit(events, Event::Uplink(UplinkNews::Portal { index, by, url })).await?;
        }
        let state = talk.acquisition();
        if state != known {
            known = state;
            let news = UplinkNews::Acquisition { index: port.index, state };
            emit(events, Event::Uplink(news)).await?;
        }
    }
}

/// Returns whether a client has a socket on the port, or a manager's files say that it asks there.
fn is_client_there(root: &Path, port: &ListeningPlan, ours: &AsyncFd<Socket>) -> bool {
    let ours = rustix::fs::fstat(ours.get_ref().as_fd())
        .map(|stat| stat.st_ino.to_string())
        .unwrap_or_default();
    let sockets = clients::packet_sockets(root);
    let listens = sockets.iter().any(|socket| socket.index == port.index && socket.inode != ours);
    listens || Manager::ALL.into_iter().any(|manager| manager.asks(root, port.index, &port.name))
}

/// Holds what was heard so far. Pure.
#[derive(Debug, Default)]
struct Talk {
    heard: Option<Acquisition>,
    /// the client's last question asks whether IPv6 only is preferred here
    asked_for_ipv6_only: bool,
    portal: Option<PortalUrl>,
    /// a client is on this machine; `None`: not looked yet
    client: Option<bool>,
}

impl Talk {
    /// Takes a frame in, of this machine's client or of a server.
    fn take(&mut self, frame: &[u8], ours: Mac) {
        if let Some(Question { mac, kind, ipv6_only }) =
            message::question(frame).filter(|asked| asked.mac == ours)
        {
            debug_assert_eq!(mac, ours);
            match kind {
                message::DECLINE => self.heard = Some(Acquisition::Declined),
                message::DISCOVER | message::REQUEST => {
                    self.asked_for_ipv6_only = ipv6_only;
                    // A question that is put again does not undo what a server has answered.
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

    /// Frames one after the other, and what is known after each.
    fn heard(frames: &[Vec<u8>]) -> Vec<Option<Acquisition>> {
        let mut talk = Talk::default();
        let known = frames.iter().map(|frame| {
            talk.take(frame, OURS);
            talk.acquisition()
        });
        known.collect()
    }

    #[test]
    fn each_side_of_the_talk_is_heard() {
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
        // Another board's talk, and a server's to it, are none of ours.
        let mut others = discover;
        others[70..76].fill(7);
        let mut to_others = ipv6_only;
        to_others[70..76].fill(7);
        assert_eq!(heard(&[others, to_others]), [None, None]);
    }

    #[test]
    fn who_reports_nothing_is_there_or_not() {
        let with = |client| Talk { client, ..Talk::default() }.acquisition();
        assert_eq!(with(None), None);
        assert_eq!(with(Some(true)), Some(Acquisition::Waiting));
        assert_eq!(with(Some(false)), Some(Acquisition::NoClient));
    }
}
