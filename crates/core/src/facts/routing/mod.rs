//! Whether the nodes have a way out at all, by which uplink, and whether packets go the ways that
//! have been promised.

pub(crate) mod detour;

use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use super::link::Links;
use super::output::Outputs;
use super::resync::Resyncs;
use super::uplink::{Uplinks, ipv4_source};
use crate::event::{ApplyReport, Astray, Event, Instant, LinkIndex, Output, Vital};
use detour::Detour;

/// A refusal is reported after this long: in between routes, rules and forwarding come and go one
/// after the other.
const REFUSED_TIME: Duration = Duration::from_secs(2);

/// Holds by which ways packets leave.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// The port by which the kernel would send the nodes' packets without our rules; `None`: not
    /// asked yet, `Some(None)`: by none.
    egress: Option<Option<LinkIndex>>,
    /// Ways that packets would not go as they have to, each with since when without a break.
    astray: Vec<(Astray, Instant)>,
    /// Since when the kernel refuses what the nodes send to the internet, though an uplink has a
    /// default route and all is set.
    refused_since: Option<Instant>,
    detour: Detour,
    /// The uplink that the nodes' new IPv4 connections leave by, and the address that they get
    /// there.
    masquerade: Option<(LinkIndex, IpAddr)>,
    stale_sources: Vec<IpAddr>,
    /// An order that waited may be carried out now, or is new.
    resyncs: Resyncs,
}

impl Routing {
    /// Takes in what the kernel answered about ways, and reports of the reconcilers.
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
            // The address that it waits for may be there now.
            Event::Applied(ApplyReport { output: Output::Link, result: Ok(_) })
                if outputs.is_waiting(Output::Routing) =>
            {
                self.resyncs.note(Output::Routing);
            }
            Event::Applied(ApplyReport { output: Output::Routing, result: Ok(_) }) => {
                let cut = self.detour.takes_the_cut();
                if cut {
                    self.resyncs.note(Output::Conntrack);
                }
            }
            _ => {}
        }
    }

    /// Brings up to date what follows from links, uplinks and time.
    pub(super) fn refresh(&mut self, context: Context<'_>, links: &Links, uplinks: &Uplinks) {
        self.detour.refresh(context, links, uplinks, self.main_egress(links));
        self.refresh_masquerade(links);
        let refused = self.egress == Some(None) && links.is_forwarding_by_all() && may_leave(links);
        self.refused_since = refused.then(|| self.refused_since.unwrap_or(context.now));
    }

    /// Returns the next moment after `now` at which time alone changes something.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let astray = self.astray.iter().map(|(_, since)| *since);
        let since = self.refused_since.into_iter().chain(astray);
        let settled = since.map(|since| since + REFUSED_TIME);
        settled.chain(self.detour.deadlines()).filter(|at| *at > now).min()
    }

    /// Orders that connections are deleted which are stuck: the best IPv4 default route has moved
    /// to another uplink, and the one before keeps the address that they are translated to.
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
            self.detour.cut_again();
        }
    }

    /// Returns the port by which the kernel would send the nodes' packets to the internet without
    /// our rules; `None`: not asked yet, `Some(None)`: it would refuse them.
    pub fn egress(&self) -> Option<Option<LinkIndex>> {
        self.egress
    }

    /// Returns the uplink that the nodes' traffic would leave by without our rules, if it leaves by
    /// one.
    pub(super) fn main_egress(&self, links: &Links) -> Option<LinkIndex> {
        self.egress.flatten().filter(|index| links.roles().uplinks.contains(index))
    }

    /// Returns by which uplink the nodes leave where it is not the main table's.
    pub fn detour(&self) -> &Detour {
        &self.detour
    }

    /// Returns translated sources whose connections are stuck, or were: their reconciler is rung
    /// for each order to delete those.
    pub fn stale_sources(&self) -> &[IpAddr] {
        &self.stale_sources
    }

    /// Returns whether the kernel refuses what the nodes send to the internet, for longer than a
    /// change of venue takes.
    pub(super) fn is_without_exit(&self, now: Instant) -> bool {
        self.refused_since.is_some_and(|since| now.saturating_since(since) >= REFUSED_TIME)
    }

    /// Returns the ways that packets would not go as they have to, for longer than it takes to put
    /// our own rules there.
    pub(super) fn astray(&self, now: Instant) -> impl Iterator<Item = &Astray> {
        let settled = move |since| now.saturating_since(since) >= REFUSED_TIME;
        self.astray.iter().filter(move |(_, since)| settled(*since)).map(|(astray, _)| astray)
    }

    /// Returns once what is to be done again.
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

/// Returns whether there is a port that nodes are behind, with its address, and an uplink with an
/// IPv4 default route.
fn may_leave(links: &Links) -> bool {
    let kernel = links.kernel();
    let cluster = links.cluster_port().filter(|port| port.up && port.carrier);
    let addressed = cluster.is_some_and(|port| {
        kernel.addresses(port.index).iter().any(|h| h.address.addr().is_ipv4())
    });
    let leads =
        |index| kernel.default_route(index).is_some_and(|route| route.destination.addr().is_ipv4());
    let carrying = |index| kernel.link(index).is_some_and(|link| link.up && link.carrier);
    addressed && links.roles().uplinks.iter().any(|index| carrying(*index) && leads(*index))
}
