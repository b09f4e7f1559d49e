//! The egress of the nodes' traffic, and flows that the kernel would misroute.

pub(crate) mod detour;

use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use super::link::Links;
use super::output::Outputs;
use super::resync::Resyncs;
use super::uplink::{Uplinks, ipv4_source};
use super::venue::Venues;
use crate::event::{ApplyReport, Astray, Event, Instant, LinkIndex, Output, Vital};
use detour::Detour;

/// Delay before a refused or misrouted flow is reported, since routes, rules and forwarding change
/// one after the other.
const REFUSED_TIME: Duration = Duration::from_secs(2);

/// Holds the routes that packets take.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Egress port of the nodes' packets without our rules; `None`: not looked up yet,
    /// `Some(None)`: unreachable.
    egress: Option<Option<LinkIndex>>,
    /// Misrouted flows, each with the start of the uninterrupted time.
    astray: Vec<(Astray, Instant)>,
    /// Since when the kernel rejects the nodes' traffic to the internet, although an uplink has a
    /// default route and everything is configured.
    refused_since: Option<Instant>,
    detour: Detour,
    /// Egress uplink of the nodes' new IPv4 connections, and their translated source address.
    masquerade: Option<(LinkIndex, IpAddr)>,
    stale_sources: Vec<IpAddr>,
    resyncs: Resyncs,
}

impl Routing {
    /// Processes results of route lookups, and reports of the reconcilers.
    pub(super) fn handle(&mut self, event: &Event, context: Context<'_>, outputs: &Outputs) {
        match event {
            Event::Vital(Vital::Egress { index }) => self.egress = Some(*index),
            Event::Vital(Vital::Astray(ways)) => {
                let known = std::mem::take(&mut self.astray);
                let since = |astray: &Astray| {
                    let known = known.iter().find(|(known, _)| known.way == astray.way);
                    known.map_or(context.now, |(_, since)| *since)
                };
                self.astray = ways.iter().map(|astray| (*astray, since(astray))).collect();
            }
            // The address that routing waits for may exist now.
            Event::Applied(ApplyReport { output: Output::Link, result: Ok(_) })
                if outputs.is_waiting(Output::Routing) =>
            {
                self.resyncs.note(Output::Routing);
            }
            Event::Applied(ApplyReport { output: Output::Routing, result: Ok(_) }) => {
                let flush = self.detour.take_flush();
                if flush {
                    self.resyncs.note(Output::Conntrack);
                }
            }
            _ => {}
        }
    }

    /// Recomputes what depends on links, uplinks and time.
    pub(super) fn refresh(
        &mut self,
        context: Context<'_>,
        links: &Links,
        uplinks: &Uplinks,
        venues: &Venues,
    ) {
        let main = self.main_egress(links);
        self.detour.refresh(context, links, uplinks, main);
        self.detour.refresh_translation(context, links, venues, main);
        self.refresh_masquerade(links);
        let refused =
            self.egress == Some(None) && links.is_forwarding_by_all() && has_exit_route(links);
        self.refused_since = refused.then(|| self.refused_since.unwrap_or(context.now));
    }

    /// Returns the next time after `now` at which the state changes without an event.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let astray = self.astray.iter().map(|(_, since)| *since);
        let since = self.refused_since.into_iter().chain(astray);
        let settled = since.map(|since| since + REFUSED_TIME);
        settled.chain(self.detour.deadlines()).filter(|at| *at > now).min()
    }

    /// Requests deletion of stale connections: the egress has moved to another uplink while the
    /// previous one keeps the address to which they are translated.
    fn refresh_masquerade(&mut self, links: &Links) {
        let Some(index) = self.detour.by().or_else(|| best_egress(links)) else { return };
        let Some(address) = ipv4_source(links.kernel(), index).map(IpAddr::V4) else { return };
        let Some((old_index, old_address)) = self.masquerade.replace((index, address)) else {
            return;
        };
        let mut held = links.kernel().addresses(old_index).iter();
        let kept = held.any(|h| h.address.addr() == old_address);
        if old_index != index && kept {
            self.stale_sources = vec![old_address];
            self.resyncs.note(Output::Conntrack);
            self.detour.flush_again();
        }
    }

    /// Returns the egress port of the nodes' packets without our rules; `None`: not looked up yet,
    /// `Some(None)`: unreachable.
    pub fn egress(&self) -> Option<Option<LinkIndex>> {
        self.egress
    }

    /// Returns the uplink by which the nodes' traffic would leave without our rules, if any.
    pub(super) fn main_egress(&self, links: &Links) -> Option<LinkIndex> {
        self.egress.flatten().filter(|index| links.roles().uplinks.contains(index))
    }

    pub fn detour(&self) -> &Detour {
        &self.detour
    }

    /// Returns the translated source addresses whose connections are stale. A resync of conntrack
    /// deletes them.
    pub fn stale_sources(&self) -> &[IpAddr] {
        &self.stale_sources
    }

    /// Returns whether the kernel rejects the nodes' traffic for at least [`REFUSED_TIME`].
    pub(super) fn is_without_exit(&self, now: Instant) -> bool {
        self.refused_since.is_some_and(|since| now.saturating_since(since) >= REFUSED_TIME)
    }

    /// Returns the flows that are misrouted for at least [`REFUSED_TIME`].
    pub(super) fn astray(&self, now: Instant) -> impl Iterator<Item = &Astray> {
        let settled = move |since| now.saturating_since(since) >= REFUSED_TIME;
        self.astray.iter().filter(move |(_, since)| settled(*since)).map(|(astray, _)| astray)
    }

    pub(super) fn take_resyncs(&mut self) -> Resyncs {
        std::mem::take(&mut self.resyncs)
    }
}

/// Returns the uplink with the best IPv4 default route of the main table.
fn best_egress(links: &Links) -> Option<LinkIndex> {
    let carries = |index| links.kernel().link(index).is_some_and(|link| link.carrier);
    let exits = links.kernel().default_routes().filter(|route| {
        route.destination.addr().is_ipv4()
            && links.roles().uplinks.contains(&route.index)
            && carries(route.index)
    });
    exits.min_by_key(|route| route.metric).map(|route| route.index)
}

/// Returns whether the cluster port has an IPv4 address and an uplink has an IPv4 default route.
fn has_exit_route(links: &Links) -> bool {
    let kernel = links.kernel();
    let cluster = links.cluster_port().filter(|port| port.up && port.carrier);
    let addressed = cluster.is_some_and(|port| {
        kernel.addresses(port.index).iter().any(|h| h.address.addr().is_ipv4())
    });
    let mut uplinks = links.roles().uplinks.iter();
    addressed
        && uplinks.any(|index| kernel.is_running(*index) && kernel.has_default_route(*index, true))
}
