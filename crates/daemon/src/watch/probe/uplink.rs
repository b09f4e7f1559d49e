//! Probes internet access through each uplink: at once when its address or route changes, then at
//! growing intervals while the result stays the same.

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
use crate::watch::{emit, sync_tasks};

/// Timeout of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// A first failure is reported only after retries for this long: a lease renewal restores the
/// address before its routes, and a venue's router may be slow with a new client.
const RETRY_PERIOD: Duration = Duration::from_millis(1500);
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum pause between rounds.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Pauses between rounds with the same result.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), MAX_PAUSE);
/// Maximum pause if there are several uplinks, so that failover is quick.
const MAX_PAUSE_OF_SEVERAL: Duration = Duration::from_secs(15);
/// Interval between pings without reply.
const PING_INTERVAL: Duration = Duration::from_millis(1200);

/// Probes the planned uplinks concurrently and reports each result.
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
        let targets = if probe == UplinkProbe::Off { Vec::new() } else { wanted.targets };
        sync_tasks(&mut running, targets, |target| {
            let (rights, several) = (rights.clone(), Arc::clone(&several));
            let (target, probe, events) = (target.clone(), probe.clone(), events.clone());
            Task::spawn(watch_uplink(target, probe, rights, several, events))
        });
        tokio::select! {
            changed = plan.changed() => changed.map_err(|_| Closed)?,
            () = events.closed() => return Err(Closed.into()),
        }
    }
}

/// The result of a round; for a portal with its URL, if known.
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
        let found = probe_round(&target, &probe, known.as_ref().map(|(known, _)| *known)).await;
        if rights.report(&events, found.is_none()).await.is_err() {
            return;
        }
        let Some((reachability, portal)) = found else {
            sleep(MAX_PAUSE).await;
            continue;
        };
        if emit(&events, result_event(&target, reachability)).await.is_err() {
            return;
        }
        let answer = (reachability, portal);
        // A new URL of the same portal is no change: some put a fresh token into each redirect.
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
        let max = if several.load(Ordering::Relaxed) { MAX_PAUSE_OF_SEVERAL } else { MAX_PAUSE };
        sleep(pauses.pause_within(max)).await;
    }
}

/// Returns the event for a result: about the uplink, or about one path of it.
fn result_event(target: &UplinkTarget, reachability: Reachability) -> Event {
    let index = target.index;
    match target.path {
        None => Event::Probe(Probe::Uplink { index, reachability }),
        Some(path) => Event::Venue(VenueNews::Answers { index, path, reachability }),
    }
}

/// Holds whether missing permission to ping was reported, for all uplinks together.
#[derive(Debug, Clone, Default)]
struct Rights(Arc<AtomicBool>);

impl Rights {
    /// Reports a change.
    async fn report(&self, events: &mpsc::Sender<Event>, denied: bool) -> io::Result<()> {
        if self.0.swap(denied, Ordering::Relaxed) == denied {
            return Ok(());
        }
        let probe = "ping".to_owned();
        Ok(emit(events, Event::Probe(Probe::Denied { probe, denied })).await?)
    }
}

/// Probes once, or several times before a failure is reported for the first time. Returns `None` if
/// permission is missing.
async fn probe_round(
    target: &UplinkTarget,
    probe: &UplinkProbe,
    known: Option<Reachability>,
) -> Option<Answer> {
    let start = Instant::now();
    loop {
        let found = timeout(TRY_TIMEOUT, try_once(target, probe))
            .await
            .unwrap_or(Some((Reachability::Nothing, None)))?;
        let is_first_failure = found.0 == Reachability::Nothing && known != Some(found.0);
        if !is_first_failure || start.elapsed() >= RETRY_PERIOD {
            return Some(found);
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// Probes once. Has no timeout of its own.
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

/// Maps an IPv4 address to the IPv6 address of the target's NAT64, if it has one.
fn by_nat64(target: &UplinkTarget, address: IpAddr) -> IpAddr {
    match (address, target.nat64) {
        (IpAddr::V4(address), Some(prefix)) => prefix.embed(address).into(),
        _ => address,
    }
}

/// Sends the HTTP request to each address of the host in turn, until one answers.
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
    let share = TRY_TIMEOUT / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
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

/// Pings a host until it answers.
async fn ping(echo: Echo, host: IpAddr) -> io::Result<Reachability> {
    let mut echo = readable(echo)?;
    loop {
        // A full queue or a missing route may be temporary.
        if let Err(error) = echo.get_mut().send(SocketAddr::new(host, 0)) {
            debug!(%host, %error, "a ping was not sent");
        }
        let answered = timeout(PING_INTERVAL, async {
            let receive = |echo: &Echo| echo.receive().ok_or(io::ErrorKind::WouldBlock.into());
            while echo.async_io(Interest::READABLE, receive).await?.from != host {}
            io::Result::Ok(())
        });
        if let Ok(answered) = answered.await {
            return answered.map(|()| Reachability::Online);
        }
    }
}
