//! Vitals of the head, judged against their limits.

pub mod power;
pub mod shutdown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::context::Context;
use crate::config::VitalLimits;
use crate::event::{Conflict, Event, Head, Instant, LinkIndex, Probe, Vital};

/// How long under-voltage and throttling are reported after they were last observed, as they recur.
pub const SAG_TIME: Duration = Duration::from_secs(60);
/// Hysteresis of the temperature, in degrees Celsius.
const TEMPERATURE_HYSTERESIS: i32 = 5;
/// Hysteresis of all other vitals, in percent.
const PERCENT_HYSTERESIS: u8 = 3;

/// Holds the last reported vitals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Number of entries in the connection tracking table, and its limit.
    pub conntrack: Option<(u32, u32)>,
    /// Number of entries in the IPv4 neighbour table, and its limit; `None` unless nearly full.
    pub neighbours: Option<(u32, u32)>,
    /// By interface; 0 is the machine.
    pub resolvers: BTreeMap<LinkIndex, Vec<IpAddr>>,
    /// Kinds of probes for which a capability is missing.
    pub denied_probes: BTreeSet<String>,
    pub host_name: String,
    /// Multicast DNS announces the name.
    pub announced: bool,
    pub ssh_ports: Vec<u16>,
    pub time: TimeFacts,
    /// Addresses of the head that other boards use too.
    pub conflicts: Vec<Conflict>,
    /// Failed transfers to a present display, since the start.
    pub display_errors: u64,
    /// The last sensor readings; `None` before the first.
    pub head: Option<Head>,
    pub trouble: Trouble,
    /// Names of the sensors whose read has not returned.
    pub hanging: Vec<&'static str>,
    /// Why the boot file folder cannot be used.
    pub boot_folder: Option<String>,
    /// Boot files that the TFTP server may not read, in words.
    pub boot_files: Option<String>,
    /// When under-voltage was last observed.
    pub(super) sagged: Option<Instant>,
    /// When throttling was last observed.
    pub(super) slowed: Option<Instant>,
}

/// Holds the head's role in time synchronisation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeFacts {
    /// A synchronised NTP server of the head answers the nodes.
    pub served: bool,
    /// The head's own time sources.
    pub servers: Vec<Ipv4Addr>,
}

/// Lists the vitals beyond their limits, each with hysteresis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trouble {
    pub hot: bool,
    pub under_voltage: bool,
    pub throttled: bool,
    pub memory: bool,
    pub disk: bool,
    pub inodes: bool,
    /// Of processor, memory and disk.
    pub pressure: [bool; 3],
    pub read_only: bool,
    pub clock_unset: bool,
}

impl Vitals {
    pub(super) fn new() -> Self {
        Self { ssh_ports: vec![22], ..Self::default() }
    }

    pub(super) fn handle(&mut self, event: &Event, context: Context<'_>) {
        match event {
            Event::Vital(vital) => self.handle_vital(vital, context),
            Event::Probe(Probe::Denied { probe, denied }) => self.probe_denied(probe, *denied),
            _ => {}
        }
    }

    fn handle_vital(&mut self, vital: &Vital, context: Context<'_>) {
        match vital {
            Vital::Conntrack { count, max } => self.conntrack = Some((*count, *max)),
            Vital::Neighbours { count, max } => self.count_neighbours(*count, *max),
            Vital::Resolvers { index, servers } if servers.is_empty() => {
                self.resolvers.remove(index);
            }
            Vital::Resolvers { index, servers } => {
                self.resolvers.insert(*index, servers.clone());
            }
            Vital::Conflicts(conflicts) => self.conflicts.clone_from(conflicts),
            Vital::Time { served, servers } => {
                self.time = TimeFacts { served: *served, servers: servers.clone() };
            }
            Vital::Host { name, ssh_ports, announced } => {
                self.announced = *announced;
                self.host_name.clone_from(name);
                self.ssh_ports.clone_from(ssh_ports);
            }
            Vital::DisplayErrors(count) => self.display_errors = *count,
            Vital::Hanging(what) => self.hanging.clone_from(what),
            Vital::BootFolder(why) => self.boot_folder.clone_from(why),
            Vital::BootFiles(closed) => self.boot_files.clone_from(closed),
            Vital::Head(head) => self.judge(head, &context.settings.vitals, context.now),
            // Processed by `Links`, `Routing` and `Cluster`.
            Vital::Egress { .. }
            | Vital::Astray(_)
            | Vital::Added(_)
            | Vital::Opened(_)
            | Vital::Ipv6 { .. } => {}
        }
    }

    fn probe_denied(&mut self, probe: &str, denied: bool) {
        if denied {
            self.denied_probes.insert(probe.to_owned());
        } else {
            self.denied_probes.remove(probe);
        }
    }

    /// Compares sensor readings with their limits.
    fn judge(&mut self, head: &Head, limits: &VitalLimits, now: Instant) {
        let known = self.head.replace(*head).unwrap_or_default();
        // A condition that has just ended lasted until now.
        let seen = |flag: fn(&Head) -> Option<bool>, before: Option<Instant>| {
            if flag(head) == Some(true) || flag(&known) == Some(true) { Some(now) } else { before }
        };
        self.sagged = seen(|head| head.under_voltage, self.sagged);
        self.slowed = seen(|head| head.throttled, self.slowed);
        let was = self.trouble;
        let waits = [head.pressure.processor, head.pressure.memory, head.pressure.disk];
        let mut pressure = [false; 3];
        for ((stands, was), wait) in pressure.iter_mut().zip(was.pressure).zip(waits) {
            *stands = above(was, wait, limits.pressure);
        }
        self.trouble = Trouble {
            hot: head.temperature.is_some_and(|now| {
                now >= limits.temperature_above
                    - if was.hot { TEMPERATURE_HYSTERESIS - 1 } else { 0 }
            }),
            memory: below(was.memory, head.memory, limits.memory_free_below),
            disk: below(was.disk, head.disk, limits.disk_free_below),
            inodes: below(was.inodes, head.inodes, limits.disk_free_below),
            pressure,
            read_only: head.read_only == Some(true),
            clock_unset: head.clock_set == Some(false),
            ..was
        };
        self.refresh(now);
    }

    /// Compares the number of neighbours with the kernel's limit: nearly full from 90 % on until
    /// below 80 %, as garbage collection frees entries in batches.
    fn count_neighbours(&mut self, count: u32, max: u32) {
        let limit = if self.neighbours.is_some() { 80 } else { 90 };
        let full = max > 0 && u64::from(count) * 100 >= u64::from(max) * limit;
        self.neighbours = full.then_some((count, max));
    }

    /// Processes the deadlines that have passed.
    pub(super) fn refresh(&mut self, now: Instant) {
        let lately = |seen: Option<Instant>| seen.filter(|at| now.saturating_since(*at) < SAG_TIME);
        let still =
            |flag: fn(&Head) -> Option<bool>| self.head.as_ref().and_then(flag) == Some(true);
        let (sags, slow) = (still(|head| head.under_voltage), still(|head| head.throttled));
        (self.sagged, self.slowed) = (lately(self.sagged), lately(self.slowed));
        self.trouble.under_voltage = sags || self.sagged.is_some();
        self.trouble.throttled = slow || self.slowed.is_some();
    }

    /// Returns when under-voltage or throttling is no longer reported.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.sagged.into_iter().chain(self.slowed).map(|at| at + SAG_TIME).min()
    }
}

/// Returns whether a value is below its limit, with hysteresis. `was`: the previous result.
pub(super) fn below(was: bool, value: Option<u8>, limit: Option<u8>) -> bool {
    let (Some(value), Some(limit)) = (value, limit) else { return false };
    value < limit.saturating_add(if was { PERCENT_HYSTERESIS } else { 0 })
}

/// Returns whether a value is above its limit, with hysteresis. `was`: the previous result.
fn above(was: bool, value: Option<u8>, limit: Option<u8>) -> bool {
    let (Some(value), Some(limit)) = (value, limit) else { return false };
    value > limit.saturating_sub(if was { PERCENT_HYSTERESIS } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Pressure;
    use proptest::prelude::*;

    const LIMITS: VitalLimits = VitalLimits {
        temperature_above: 80,
        memory_free_below: Some(10),
        disk_free_below: Some(10),
        pressure: Some(80),
    };

    fn at(seconds: u64) -> Instant {
        Instant::from_boot(Duration::from_secs(seconds))
    }

    fn after(looks: &[Head]) -> Trouble {
        let mut vitals = Vitals::default();
        (0..).zip(looks).for_each(|(second, head)| vitals.judge(head, &LIMITS, at(second)));
        vitals.trouble
    }

    #[test]
    fn heat_has_hysteresis() {
        let warm = |temperature| Head { temperature: Some(temperature), ..Head::default() };
        assert!(!after(&[warm(79)]).hot);
        assert!(after(&[warm(80)]).hot);
        assert!(after(&[warm(80), warm(76)]).hot);
        assert!(!after(&[warm(80), warm(75)]).hot);
        assert!(!after(&[warm(80), warm(75), warm(79)]).hot);
    }

    #[test]
    fn a_limit_can_be_switched_off() {
        let head = Head { memory: Some(0), ..Head::default() };
        let mut vitals = Vitals::default();
        vitals.judge(&head, &VitalLimits { memory_free_below: None, ..LIMITS }, at(0));
        assert!(!vitals.trouble.memory);
        assert!(after(&[head]).memory);
    }

    #[test]
    fn under_voltage_is_reported_for_a_minute_after_it_has_ended() {
        let mut vitals = Vitals::default();
        vitals.judge(&Head { under_voltage: Some(true), ..Head::default() }, &LIMITS, at(0));
        vitals.refresh(at(500));
        assert!(vitals.trouble.under_voltage, "it still sags");
        vitals.judge(&Head { under_voltage: Some(false), ..Head::default() }, &LIMITS, at(500));
        assert_eq!(vitals.next_deadline(), Some(at(560)));
        vitals.refresh(at(559));
        assert!(vitals.trouble.under_voltage);
        vitals.refresh(at(560));
        assert!(!vitals.trouble.under_voltage);
        assert_eq!(vitals.next_deadline(), None);
    }

    #[test]
    fn resolvers_of_a_vanished_interface_are_removed() {
        let settings = crate::facts::tests::settings();
        let context = Context { settings: &settings, now: at(0), stopping: false };
        let mut vitals = Vitals::new();
        let mut known_after = |index, servers: &[&str]| {
            let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
            vitals.handle(&Event::Vital(Vital::Resolvers { index, servers }), context);
            vitals.resolvers.len()
        };
        assert_eq!(known_after(0, &["10.99.0.1"]), 1);
        for index in 7..70 {
            assert_eq!(known_after(index, &["10.98.0.1"]), 2);
            assert_eq!(known_after(index, &[]), 1, "interface {index}");
        }
    }

    proptest! {
        #[test]
        fn within_the_hysteresis_nothing_changes(values in proptest::collection::vec(10_u8..13, 0..20), first in 0_u8..30) {
            let look = |free: u8| Head {
                memory: Some(free),
                // From 80 down to 78.
                pressure: Pressure { processor: Some(90 - free), ..Pressure::default() },
                ..Head::default()
            };
            let before = after(&[look(first)]);
            let looks: Vec<Head> = std::iter::once(first).chain(values).map(look).collect();
            let now = after(&looks);
            prop_assert_eq!((now.memory, now.pressure), (before.memory, before.pressure));
        }
    }
}
