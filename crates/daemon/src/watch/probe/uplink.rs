//! Is the internet behind an uplink? At once when its address or route changes, then ever more
//! seldom while the answer stays the same.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::echo::Echo;
use super::tcp::connect;
use super::{UplinkProbePlan, UplinkTarget, dns, http};
use crate::config::{HttpExpectation, UplinkProbe};
use crate::event::{Event, PortalSource, PortalUrl, Probe, Reachability, UplinkNews, VenueNews};
use crate::supervise::{Backoff, Task};
use crate::sync::{Closed, readable};
use crate::watch::emit;

/// One try takes no longer.
const TRY: Duration = Duration::from_secs(5);
/// Nothing answers only if nothing did for so long: a renewal puts the address back before its
/// routes, and a venue's router may need a moment for a newcomer.
const DOUBT: Duration = Duration::from_millis(1500);
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// The longest pause between rounds.
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Pauses between rounds with the same answer.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), LAST_PAUSE);
/// The longest pause where another uplink could stand in for this one.
const LAST_PAUSE_OF_SEVERAL: Duration = Duration::from_secs(15);
/// An unanswered ping is followed by another after this.
const PING_AGAIN: Duration = Duration::from_millis(1200);

/// Probes the plan's uplinks side by side and reports each answer.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<UplinkProbePlan>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut running: Vec<(UplinkTarget, Task)> = Vec::new();
    let mut probe = UplinkProbe::Off;
    let rights = Rights::default();
    let several = Arc::new(AtomicBool::new(false));
    loop {
        let wanted = plan.borrow_and_update().clone();
        several.store(wanted.targets.len() > 1, Ordering::Relaxed);
        if wanted.probe != probe {
            running.clear();
            probe = wanted.probe;
            rights.report(&events, false).await?;
        }
        running.retain(|(target, _)| wanted.targets.contains(target));
        if probe != UplinkProbe::Off {
            for target in wanted.targets {
                if !running.iter().any(|(known, _)| *known == target) {
                    let (rights, several) = (rights.clone(), Arc::clone(&several));
                    let watch = watch_uplink(
                        target.clone(),
                        probe.clone(),
                        rights,
                        several,
                        events.clone(),
                    );
                    running.push((target, Task::spawn(watch)));
                }
            }
        }
        tokio::select! {
            changed = plan.changed() => changed.map_err(|_| Closed)?,
            () = events.closed() => return Err(Closed.into()),
        }
    }
}

/// Holds what one round found; of a portal also where it is.
type Answer = (Reachability, Option<PortalUrl>);

async fn watch_uplink(
    target: UplinkTarget,
    probe: UplinkProbe,
    rights: Rights,
    several: Arc<AtomicBool>,
    events: mpsc::Sender<Event>,
) {
    let mut known: Option<Answer> = None;
    let mut pauses = PAUSES;
    loop {
        let found = ask(&target, &probe, known.as_ref().map(|(known, _)| *known)).await;
        if rights.report(&events, found.is_none()).await.is_err() {
            return;
        }
        let Some((reachability, portal)) = found else {
            sleep(LAST_PAUSE).await;
            continue;
        };
        if emit(&events, found_by(&target, reachability)).await.is_err() {
            return;
        }
        let answer = (reachability, portal);
        // Another page of the same portal: some put a new token into each redirect, and one is as
        // good as the other.
        let moved = known
            .as_ref()
            .is_none_or(|known| known.0 != answer.0 || known.1.is_none() && answer.1.is_some());
        if moved && reachability == Reachability::Portal && target.path.is_none() {
            let (index, url) = (target.index, answer.1.clone());
            let news = Event::Uplink(UplinkNews::Portal { index, by: PortalSource::Probe, url });
            if events.send(news).await.is_err() {
                return;
            }
        }
        if known.as_ref().is_some_and(|known| known.0 != reachability) {
            pauses.reset();
        }
        if moved {
            known = Some(answer);
        }
        let longest =
            if several.load(Ordering::Relaxed) { LAST_PAUSE_OF_SEVERAL } else { LAST_PAUSE };
        sleep(pauses.pause_within(longest)).await;
    }
}

/// Returns the event of an answer: the uplink's, or that of one path.
fn found_by(target: &UplinkTarget, reachability: Reachability) -> Event {
    let index = target.index;
    match target.path {
        None => Event::Probe(Probe::Uplink { index, reachability }),
        Some(path) => Event::Venue(VenueNews::Answers { index, path, reachability }),
    }
}

/// Holds what was reported of the right to ping; one for all uplinks.
#[derive(Debug, Clone, Default)]
struct Rights(Arc<AtomicBool>);

impl Rights {
    /// Reports that it is missing, or no longer missing, if that is news.
    async fn report(&self, events: &mpsc::Sender<Event>, denied: bool) -> io::Result<()> {
        if self.0.swap(denied, Ordering::Relaxed) == denied {
            return Ok(());
        }
        report(events, Probe::Denied { probe: "ping".to_owned(), denied }).await
    }
}

async fn report(events: &mpsc::Sender<Event>, probe: Probe) -> io::Result<()> {
    Ok(emit(events, Event::Probe(probe)).await?)
}

/// Asks one round: a single try, or several before it reports for the first time that nothing
/// answers. `None`: it may not be sent.
async fn ask(
    target: &UplinkTarget,
    probe: &UplinkProbe,
    known: Option<Reachability>,
) -> Option<Answer> {
    let start = Instant::now();
    loop {
        let found = timeout(TRY, try_once(target, probe))
            .await
            .unwrap_or(Some((Reachability::Nothing, None)))?;
        let news = found.0 == Reachability::Nothing && known != Some(found.0);
        if !news || start.elapsed() >= DOUBT {
            return Some(found);
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Tries once, for as long as it is let.
async fn try_once(target: &UplinkTarget, probe: &UplinkProbe) -> Option<Answer> {
    match probe {
        UplinkProbe::Http { host, port, path, expect } => {
            Some(fetch(target, host, *port, path, expect).await)
        }
        UplinkProbe::Ping { host } => {
            let host = &by_nat64(target, *host);
            match Echo::open(host.is_ipv6(), Some(&target.name), Some(target.source)) {
                Ok(echo) => Some((ping(echo, *host).await.unwrap_or(Reachability::Nothing), None)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
                Err(_) => Some((Reachability::Nothing, None)),
            }
        }
        UplinkProbe::Off => Some((Reachability::Nothing, None)),
    }
}

/// Returns the address that stands for an IPv4 address, where it is tried by a NAT64.
fn by_nat64(target: &UplinkTarget, address: IpAddr) -> IpAddr {
    match (address, target.nat64) {
        (IpAddr::V4(address), Some(prefix)) => prefix.embed(address).into(),
        _ => address,
    }
}

/// Asks every address of the host in turn, until one answers.
async fn fetch(
    target: &UplinkTarget,
    host: &str,
    port: u16,
    path: &str,
    expect: &HttpExpectation,
) -> Answer {
    let addresses = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => dns::resolve(target, host).await.unwrap_or_default(),
    };
    let page = (host.trim_matches(['[', ']']), port, path);
    let share = TRY / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
    for address in addresses.into_iter().map(|address| by_nat64(target, address)) {
        let once = async {
            let to = SocketAddr::new(address, port);
            let stream = connect(to, Some(&target.name), Some(target.source)).await?;
            io::Result::Ok(http::probe(stream, page, expect).await)
        };
        match timeout(share, once).await {
            Ok(Ok((Reachability::Nothing, _))) => {
                debug!(port = %target.name, %address, "no answer of HTTP")
            }
            Ok(Err(error)) => debug!(port = %target.name, %address, %error, "no answer"),
            Err(_) => debug!(port = %target.name, %address, ?share, "no answer in time"),
            Ok(Ok(found)) => return found,
        }
    }
    (Reachability::Nothing, None)
}

async fn ping(echo: Echo, host: IpAddr) -> io::Result<Reachability> {
    let mut echo = readable(echo)?;
    loop {
        // A full queue or a missing route may be gone with the next.
        if let Err(error) = echo.get_mut().send(SocketAddr::new(host, 0)) {
            debug!(%host, %error, "a ping was not sent");
        }
        let answered = timeout(PING_AGAIN, async {
            let receive = |echo: &Echo| echo.receive().ok_or(io::ErrorKind::WouldBlock.into());
            while echo.async_io(Interest::READABLE, receive).await?.from != host {}
            io::Result::Ok(())
        });
        match answered.await {
            Ok(answered) => return answered.map(|()| Reachability::Online),
            Err(_) => continue,
        }
    }
}
