//! What the network behind each uplink offers, from router advertisements, its resolvers and
//! probes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

use bramblegate_clat::Prefix;

use super::link::Links;
use super::uplink::{RENEWAL_GRACE, leads_by_translator, primary};
use crate::event::{Event, Instant, LinkIndex, Path, Probe, Reachability, RouterOffer, VenueNews};

/// Limit on stored routers per link: a venue has one or two, and any host may pose as one.
const MOST_ROUTERS: usize = 8;
/// Limit on stored NAT64 prefixes per router.
const MOST_PREFIXES: usize = 4;
/// Number of queries in a row without a synthesised prefix, after which a known one has ended.
const MAX_UNANSWERED: u8 = 3;
/// Time for which a NAT64 prefix that did not answer is left alone, while another one is known.
const NAT64_RETRY: Duration = Duration::from_secs(60);
/// Time after the start within which the first advertisement may still arrive: three solicitations,
/// 4 s apart (RFC 4861, section 10).
pub(super) const LISTENING_TIME: Duration = Duration::from_secs(12);

/// Names the source of a NAT64 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat64Source {
    /// A router advertisement (RFC 8781).
    Advertised,
    /// Addresses of `ipv4only.arpa` (RFC 7050).
    Synthesised,
}

/// Holds the venues of all uplinks.
#[derive(Debug, Clone, Default)]
pub struct Venues(BTreeMap<LinkIndex, VenueMemory>);

/// Holds the state of one uplink's venue, until the carrier is lost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VenueMemory {
    routers: BTreeMap<Ipv6Addr, Router>,
    /// `None`: its resolvers have not replied yet, not even with an empty answer.
    synthesised: Option<Vec<Prefix>>,
    /// Queries in a row that found none, while one is known.
    unanswered: u8,
    answers: BTreeMap<Path, Reachability>,
    /// NAT64 prefixes that did not answer the last probe.
    failed: BTreeMap<Prefix, Failure>,
    /// The prefix in use, after the first one did not answer.
    instead: Option<Prefix>,
    ipv4: Family,
    ipv6: Family,
}

/// Describes a NAT64 prefix that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    /// Time of the last probe without an answer.
    at: Instant,
    /// The probe before was not answered either: a single one may be a lost packet.
    again: bool,
}

/// Tracks whether an uplink has an address and a default route of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Family {
    #[default]
    Missing,
    Present,
    /// Lost within [`RENEWAL_GRACE`]: it may be a renewal.
    LostAt(Instant),
}

impl Family {
    fn refresh(&mut self, present: bool, now: Instant) {
        *self = match *self {
            _ if present => Self::Present,
            Self::Present => Self::LostAt(now),
            Self::LostAt(at) if now.saturating_since(at) >= RENEWAL_GRACE => Self::Missing,
            same => same,
        };
    }

    fn deadline(self) -> Option<Instant> {
        if let Self::LostAt(at) = self { Some(at + RENEWAL_GRACE) } else { None }
    }
}

/// Holds one router's offer, with expiry times instead of lifetimes.
#[derive(Debug, Clone, PartialEq)]
struct Router {
    /// Time of its first advertisement.
    since: Instant,
    /// When its lifetime as a default router expires.
    until: Instant,
    /// The last advertisement; its lifetime is set to 0 when that expires.
    offer: RouterOffer,
    nat64: Vec<Nat64>,
}

/// Holds a NAT64 prefix that a router advertised; sorted by age, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Nat64 {
    since: Instant,
    prefix: Prefix,
    until: Instant,
}

impl Venues {
    /// Processes observations of a venue, and results of probes.
    pub(super) fn handle(&mut self, event: &Event, now: Instant, links: &Links) {
        match event {
            Event::Venue(VenueNews::Advertised { index, router, offer }) => {
                if let Some(memory) = self.memory(*index, links) {
                    memory.advertised(*router, offer, now);
                }
            }
            Event::Venue(VenueNews::Synthesised { index, prefixes }) => {
                if let Some(memory) = self.memory(*index, links) {
                    memory.synthesised(prefixes, now);
                }
            }
            Event::Venue(VenueNews::Answers { index, path, reachability }) => {
                if let Some(memory) = self.memory(*index, links) {
                    memory.answered(*path, *reachability, now);
                }
            }
            Event::Probe(Probe::Uplink { index, reachability }) => {
                let family = primary(links.kernel(), *index).map(|held| held.address);
                let path =
                    family.map(|net| if net.addr().is_ipv4() { Path::Ipv4 } else { Path::Ipv6 });
                if let (Some(memory), Some(path)) = (self.memory(*index, links), path) {
                    memory.answers.insert(path, *reachability);
                }
            }
            _ => {}
        }
    }

    /// Returns the state of an uplink that has a carrier.
    fn memory(&mut self, index: LinkIndex, links: &Links) -> Option<&mut VenueMemory> {
        (links.roles().uplinks.contains(&index) && links.kernel().is_running(index))
            .then(|| self.0.entry(index).or_default())
    }

    /// Follows addresses and routes; removes what has expired, and uplinks without a carrier.
    pub(super) fn refresh(&mut self, now: Instant, links: &Links) {
        self.0.retain(|index, _| {
            links.roles().uplinks.contains(index) && links.kernel().is_running(*index)
        });
        for index in links.roles().uplinks.iter().filter(|index| links.kernel().is_running(**index))
        {
            self.0.entry(*index).or_default();
        }
        for (index, memory) in &mut self.0 {
            memory.expire(now);
            let known: BTreeSet<Prefix> = memory.known_nat64().map(|(prefix, _)| prefix).collect();
            let kernel = links.kernel();
            let held = kernel.addresses(*index).iter();
            let held = held.filter(|held| {
                let translators = held.is_translators() || held.is_translators_ipv6();
                held.is_usable() && !held.ours && !translators
            });
            let leads = |ipv4: bool| {
                held.clone().any(|held| held.address.addr().is_ipv4() == ipv4)
                    && kernel.has_default_route(*index, ipv4)
            };
            memory.ipv4.refresh(leads(true), now);
            memory.ipv6.refresh(leads(false), now);
            let (ipv4, ipv6) = (memory.has_ipv4(), memory.has_ipv6());
            let translator = leads_by_translator(kernel, *index);
            memory.answers.retain(|path, _| match path {
                Path::Ipv4 => ipv4,
                Path::Ipv6 => ipv6,
                Path::Nat64(asked) => ipv6 && known.contains(asked),
                Path::Translator => translator,
            });
            memory.failed.retain(|prefix, _| ipv6 && known.contains(prefix));
            memory.instead = memory.instead.filter(|prefix| ipv6 && known.contains(prefix));
        }
    }

    /// Returns the next time after `now` at which the state changes without an event.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let families = self.0.values().flat_map(|memory| [memory.ipv4, memory.ipv6]);
        let routers = self.0.values().flat_map(|memory| memory.routers.values());
        let ends = routers
            .flat_map(|router| router.nat64.iter().map(|known| known.until).chain([router.until]));
        ends.chain(families.filter_map(Family::deadline)).filter(|at| *at > now).min()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &VenueMemory> {
        self.0.values()
    }

    /// Returns the state of an uplink's venue.
    pub fn get(&self, index: LinkIndex) -> Option<&VenueMemory> {
        self.0.get(&index)
    }
}

impl VenueMemory {
    /// Processes a router advertisement. A full table evicts the newest router, so that a flood of
    /// spoofed routers displaces none of the earlier ones.
    fn advertised(&mut self, address: Ipv6Addr, offer: &RouterOffer, now: Instant) {
        if self.routers.len() >= MOST_ROUTERS && !self.routers.contains_key(&address) {
            let latest = self.routers.iter().max_by_key(|(_, router)| router.since);
            if let Some(latest) = latest.map(|(address, _)| *address) {
                self.routers.remove(&latest);
            }
        }
        let before = self.routers.remove(&address);
        let since = before.as_ref().map_or(now, |router| router.since);
        // A prefix that an advertisement omits is not withdrawn (RFC 8781, section 5): it expires
        // with its own lifetime.
        let mut nat64 = before.map(|router| router.nat64).unwrap_or_default();
        for (prefix, lifetime) in &offer.nat64 {
            let until = now + seconds(*lifetime);
            match nat64.iter_mut().find(|known| known.prefix == *prefix) {
                Some(known) => known.until = until,
                None => nat64.push(Nat64 { since: now, prefix: *prefix, until }),
            }
        }
        nat64.retain(|known| known.until > now);
        nat64.sort();
        nat64.truncate(MOST_PREFIXES);
        // The prefixes are stored in `nat64`, with their expiry times.
        let offer = RouterOffer { nat64: Vec::new(), ..offer.clone() };
        let until = now + seconds(offer.lifetime);
        self.routers.insert(address, Router { since, until, offer, nat64 });
        self.replace_dead_nat64(now);
    }

    /// Processes a query of the resolvers. A lost reply looks like a venue without synthesis, so a
    /// known prefix ends only after [`MAX_UNANSWERED`] of them.
    fn synthesised(&mut self, prefixes: &[Prefix], now: Instant) {
        if prefixes.is_empty() && self.dns64().is_some() {
            self.unanswered += 1;
            if self.unanswered < MAX_UNANSWERED {
                return;
            }
        }
        self.unanswered = 0;
        self.synthesised = Some(prefixes.iter().copied().take(MOST_PREFIXES).collect());
        self.replace_dead_nat64(now);
    }

    /// Processes the result of a probe.
    fn answered(&mut self, path: Path, reachability: Reachability, now: Instant) {
        self.answers.insert(path, reachability);
        let Path::Nat64(prefix) = path else { return };
        if reachability == Reachability::Nothing {
            let again = self.failed.contains_key(&prefix);
            self.failed.insert(prefix, Failure { at: now, again });
            self.replace_dead_nat64(now);
        } else {
            self.failed.remove(&prefix);
        }
    }

    /// Replaces a NAT64 prefix that does not answer by another one that did not fail lately: routers
    /// may advertise one that leads nowhere.
    fn replace_dead_nat64(&mut self, now: Instant) {
        let used = self.nat64().and_then(|(used, _)| self.failed.get(&used));
        if !used.is_some_and(|failure| failure.again) {
            return;
        }
        let is_due = |other: &Prefix| {
            let failure = self.failed.get(other);
            failure.is_none_or(|failure| now.saturating_since(failure.at) >= NAT64_RETRY)
        };
        let next = self.known_nat64().map(|(other, _)| other).find(is_due);
        self.instead = next.or(self.instead);
    }

    fn expire(&mut self, now: Instant) {
        for router in self.routers.values_mut() {
            router.nat64.retain(|known| known.until > now);
            if router.until <= now {
                router.offer.lifetime = 0;
            }
        }
        self.routers.retain(|_, router| router.until > now || !router.nat64.is_empty());
    }

    /// Returns the offers of all default routers.
    fn routers(&self) -> impl Iterator<Item = &RouterOffer> {
        self.routers.values().map(|router| &router.offer).filter(|offer| offer.lifetime > 0)
    }

    /// Returns the venue's NAT64 prefix and its source: routers first (RFC 8781, section 5.1), and
    /// the oldest of several, so that a prefix from another host diverts no traffic while the
    /// first is valid and answers.
    pub fn nat64(&self) -> Option<(Prefix, Nat64Source)> {
        let instead = self.known_nat64().find(|(prefix, _)| Some(*prefix) == self.instead);
        instead.or_else(|| self.known_nat64().next())
    }

    /// Returns all known NAT64 prefixes with their sources, the preferred one first.
    fn known_nat64(&self) -> impl Iterator<Item = (Prefix, Nat64Source)> {
        let advertised: BTreeSet<&Nat64> = self.advertised_nat64().collect();
        let advertised =
            advertised.into_iter().map(|known| (known.prefix, Nat64Source::Advertised));
        let dns64 = self.dns64().map(|prefix| (prefix, Nat64Source::Synthesised));
        advertised.chain(dns64)
    }

    /// Returns the number of advertised prefixes beside the one in use.
    pub fn unused_nat64(&self) -> usize {
        let used = self.nat64().map(|(prefix, _)| prefix);
        let all: BTreeSet<Prefix> = self.advertised_nat64().map(|known| known.prefix).collect();
        all.iter().filter(|prefix| Some(**prefix) != used).count()
    }

    /// Returns whether a NAT64 prefix did not answer, in use or not.
    pub fn has_dead_nat64(&self) -> bool {
        !self.failed.is_empty()
    }

    fn advertised_nat64(&self) -> impl Iterator<Item = &Nat64> {
        self.routers.values().flat_map(|router| &router.nat64)
    }

    /// Returns the prefix with which the uplink's resolvers synthesise addresses.
    pub fn dns64(&self) -> Option<Prefix> {
        self.synthesised.iter().flatten().min().copied()
    }

    /// Returns whether a router advertisement arrived, and if resolvers were `asked`, their reply.
    pub fn is_heard(&self, asked: bool) -> bool {
        !self.routers.is_empty() && (!asked || self.synthesised.is_some())
    }

    /// Returns whether the uplink has an IPv4 address of its own and a default route, or had them
    /// within [`RENEWAL_GRACE`], as a renewal removes and restores both.
    pub fn has_ipv4(&self) -> bool {
        self.ipv4 != Family::Missing
    }

    /// Returns the same for IPv6.
    pub fn has_ipv6(&self) -> bool {
        self.ipv6 != Family::Missing
    }

    /// Returns whether addresses are available from DHCPv6 only (no SLAAC).
    pub fn is_managed_alone(&self) -> bool {
        self.routers().any(|offer| offer.managed) && !self.routers().any(|offer| offer.autonomous)
    }

    /// Returns the smallest MTU that a default router advertises, in bytes.
    pub fn mtu(&self) -> Option<u32> {
        self.routers().filter_map(|offer| offer.mtu).min()
    }

    /// Returns whether the last probe by the NAT64 got a reply.
    pub fn is_nat64_online(&self) -> bool {
        let answer = self.nat64().and_then(|(prefix, _)| self.answer(Path::Nat64(prefix)));
        answer == Some(Reachability::Online)
    }

    /// Returns the result of the last probe of a path.
    pub fn answer(&self, path: Path) -> Option<Reachability> {
        self.answers.get(&path).copied()
    }
}

fn seconds(seconds: u16) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Instant = Instant::from_boot(Duration::from_secs(100));

    fn at(seconds: u64) -> Instant {
        NOW + Duration::from_secs(seconds)
    }

    fn offer(lifetime: u16, nat64: &[(&str, u16)]) -> RouterOffer {
        let nat64 = nat64.iter().map(|(text, seconds)| (text.parse().unwrap(), *seconds)).collect();
        RouterOffer { lifetime, nat64, ..RouterOffer::default() }
    }

    fn router(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number)
    }

    fn known(memory: &VenueMemory) -> Option<String> {
        memory.nat64().map(|(prefix, _)| prefix.to_string())
    }

    #[test]
    fn a_prefix_lasts_as_long_as_its_router_promised() {
        let mut memory = VenueMemory::default();
        memory.advertised(router(1), &offer(1800, &[("64:ff9b::/96", 600)]), NOW);
        assert_eq!(known(&memory).as_deref(), Some("64:ff9b::/96"));
        memory.advertised(router(1), &offer(1800, &[]), at(10));
        memory.expire(at(599));
        assert_eq!(known(&memory).as_deref(), Some("64:ff9b::/96"), "left out is not withdrawn");
        memory.expire(at(600));
        assert_eq!(known(&memory), None);
        memory.advertised(router(1), &offer(1800, &[("64:ff9b::/96", 600)]), at(601));
        memory.advertised(router(1), &offer(1800, &[("64:ff9b::/96", 0)]), at(602));
        assert_eq!(known(&memory), None, "withdrawn");
        memory.synthesised = Some(vec!["2001:db8::/32".parse().unwrap()]);
        assert_eq!(known(&memory).as_deref(), Some("2001:db8::/32"), "the second source");
    }

    #[test]
    fn a_lost_reply_takes_no_prefix() {
        let mut memory = VenueMemory::default();
        let prefix = ["64:ff9b::/96".parse().unwrap()];
        memory.synthesised(&[], NOW);
        assert_eq!((known(&memory), memory.synthesised.is_some()), (None, true), "none is there");
        memory.synthesised(&prefix, NOW);
        for _ in 0..5 {
            memory.synthesised(&[], NOW);
            memory.synthesised(&[], NOW);
            assert!(known(&memory).is_some());
            memory.synthesised(&prefix, NOW);
        }
        memory.synthesised(&["2001:db8:64::/96".parse().unwrap()], NOW);
        assert_eq!(known(&memory).as_deref(), Some("2001:db8:64::/96"), "another one at once");
        (0..MAX_UNANSWERED).for_each(|_| memory.synthesised(&[], NOW));
        assert_eq!(known(&memory), None);
    }

    #[test]
    fn only_default_routers_count_but_for_their_prefixes() {
        let mut memory = VenueMemory::default();
        let mut last = offer(0, &[("64:ff9b::/96", 600)]);
        (last.managed, last.mtu) = (true, Some(1280));
        memory.advertised(router(1), &last, NOW);
        memory.expire(at(1));
        assert!(known(&memory).is_some(), "the lifetimes are independent of one another");
        assert!(!memory.is_managed_alone() && memory.mtu().is_none());
        memory.advertised(router(2), &RouterOffer { lifetime: 9, ..last.clone() }, at(1));
        assert!(memory.is_managed_alone());
        assert_eq!(memory.mtu(), Some(1280));
        let autonomous = RouterOffer { lifetime: 9, autonomous: true, ..RouterOffer::default() };
        memory.advertised(router(3), &autonomous, at(1));
        assert!(!memory.is_managed_alone());
    }

    #[test]
    fn a_router_that_has_ended_is_none_while_its_prefix_lasts() {
        let mut memory = VenueMemory::default();
        let managed =
            RouterOffer { managed: true, mtu: Some(1280), ..offer(60, &[("64:ff9b::/96", 600)]) };
        memory.advertised(router(1), &managed, NOW);
        assert!(memory.is_managed_alone());
        memory.expire(at(60));
        assert!(known(&memory).is_some());
        assert!(!memory.is_managed_alone() && memory.mtu().is_none());
    }

    #[test]
    fn another_prefix_takes_nothing_from_the_one_that_was_first() {
        let mut memory = VenueMemory::default();
        memory.advertised(router(9), &offer(1800, &[("2001:db8:64::/96", 600)]), NOW);
        memory.advertised(router(1), &offer(1800, &[("64:ff9b::/96", 1800)]), at(1));
        assert_eq!(known(&memory).as_deref(), Some("2001:db8:64::/96"));
        assert_eq!(memory.unused_nat64(), 1);
        memory.advertised(router(9), &offer(1800, &[("2001:db8:64::/96", 600)]), at(500));
        memory.expire(at(700));
        assert_eq!(known(&memory).as_deref(), Some("2001:db8:64::/96"), "renewed");
        memory.expire(at(1100));
        assert_eq!(known(&memory).as_deref(), Some("64:ff9b::/96"));
        assert_eq!(memory.unused_nat64(), 0);
    }

    #[test]
    fn a_prefix_that_does_not_answer_gives_way_to_another() {
        let prefix = |text: &str| -> Prefix { text.parse().unwrap() };
        let [first, second, third] =
            ["2001:db8:64::/96", "64:ff9b::/96", "2001:db8:53::/96"].map(prefix);
        let mut memory = VenueMemory::default();
        let used = |memory: &VenueMemory| memory.nat64().unwrap().0;
        let nothing = |memory: &mut VenueMemory, prefix, seconds| {
            memory.answered(Path::Nat64(prefix), Reachability::Nothing, at(seconds));
        };
        memory.advertised(router(1), &offer(1800, &[("2001:db8:64::/96", 1800)]), NOW);
        nothing(&mut memory, first, 1);
        assert_eq!(used(&memory), first, "the only one");
        memory.advertised(router(2), &offer(1800, &[("64:ff9b::/96", 1800)]), at(2));
        memory.synthesised(&[third], NOW);
        assert_eq!(used(&memory), first, "until it is seen again");
        nothing(&mut memory, first, 3);
        assert_eq!((used(&memory), memory.unused_nat64()), (second, 1));
        memory.answered(Path::Nat64(second), Reachability::Online, at(4));
        nothing(&mut memory, first, 70);
        assert_eq!(used(&memory), second, "as long as it answers");
        nothing(&mut memory, second, 71);
        assert_eq!(used(&memory), second, "once may be a lost packet");
        nothing(&mut memory, second, 72);
        assert_eq!(memory.nat64(), Some((third, Nat64Source::Synthesised)));
        assert_eq!(memory.unused_nat64(), 2);
        for seconds in [75, 76, 129] {
            nothing(&mut memory, third, seconds);
            assert_eq!(used(&memory), third, "all have failed lately");
        }
        nothing(&mut memory, third, 130);
        assert_eq!(used(&memory), first, "in turn");
        nothing(&mut memory, first, 131);
        assert_eq!(used(&memory), first);
        nothing(&mut memory, first, 132);
        assert_eq!(used(&memory), second);
    }

    /// A host that sends in the name of ever other routers.
    #[test]
    fn a_flood_displaces_no_router_that_was_there_before() {
        let mut memory = VenueMemory::default();
        memory.advertised(router(1), &offer(1800, &[("2001:db8:64::/96", 1800)]), NOW);
        for number in 2..500 {
            let prefix = format!("2001:db8:{number:x}::/96");
            memory.advertised(router(number), &offer(1800, &[(&prefix, 1800)]), at(number.into()));
        }
        assert_eq!(memory.routers.len(), MOST_ROUTERS);
        assert_eq!(known(&memory).as_deref(), Some("2001:db8:64::/96"));
        assert!(memory.routers.contains_key(&router(499)), "a newcomer has a place");
        let many: Vec<(String, u16)> =
            (0..500).map(|n| (format!("2001:db8:{n:x}::/96"), 9)).collect();
        let many: Vec<(&str, u16)> =
            many.iter().map(|(text, time)| (text.as_str(), *time)).collect();
        memory.advertised(router(499), &offer(1800, &many), at(500));
        assert!(memory.routers.values().all(|router| router.nat64.len() <= MOST_PREFIXES));
        assert!(memory.routers.values().all(|router| router.offer.nat64.is_empty()));
    }

    proptest! {
        #[test]
        fn routers_are_bounded_and_end(
            heard in prop::collection::vec((0u16..40, 0u16..100, 0u16..100, 0u64..50), 0..80),
        ) {
            let mut memory = VenueMemory::default();
            let mut now = NOW;
            for (number, lifetime, nat64, later) in heard {
                now = now + Duration::from_secs(later);
                let prefix = format!("2001:db8:{number:x}::/96");
                memory.advertised(router(number), &offer(lifetime, &[(&prefix, nat64)]), now);
                memory.expire(now);
                prop_assert!(memory.routers.len() <= MOST_ROUTERS);
                prop_assert_eq!(memory.routers.contains_key(&router(number)), lifetime.max(nat64) > 0);
            }
            memory.expire(now + Duration::from_secs(100));
            prop_assert_eq!(memory, VenueMemory::default());
        }
    }
}
