//! The firewall reconciler. Replaces the table in one transaction, over a socket that stays open
//! for the daemon's life: with the flag `owner` the table belongs to that socket.

pub mod conntrack;
mod elements;
mod encode;
mod error;
mod expr;
mod guard;
mod look;
mod raw;
mod sets;
mod transact;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::thread;

use bramblegate_netlink::{Protocol, Socket};
use ipnet::IpNet;
use rustix::io::Errno;
use tokio::task::yield_now;
use tracing::debug;

use crate::decide::FirewallPlan;
use crate::decide::firewall::{Action, ForwardedPort, Rule, Ruleset, Set, SetUpdate, TABLE};
use crate::event::{Applied, ApplyError, Output};
use crate::reconcile::Reconciler;

pub use encode::{Encoded, Label, encode, encode_removal, encode_updates};
pub use error::FirewallError;
use error::LISTING;
pub use look::{Seen, look};
pub use transact::{Refusal, transact};

use elements::Element;
use guard::{Guard, Shared};

/// Limit on attempts: each failure reveals one missing feature of the kernel, and there are fewer.
const ATTEMPTS: usize = 8;

/// Brings the table to the rule set.
#[derive(Debug, Default)]
pub struct FirewallReconciler {
    shared: Option<Shared>,
    /// Restores a table that the kernel does not protect.
    guarding: bool,
    guard: Option<Guard>,
    features: Features,
    /// What this process loaded last.
    loaded: Option<Loaded>,
    /// The table found at the start was from an earlier run.
    adopted: bool,
    /// Another program may have changed the table since the last apply.
    touched: bool,
}

/// A loaded rule set.
#[derive(Debug)]
struct Loaded {
    ruleset: Ruleset,
    protect: bool,
    optional: Optional,
    /// It was read back, and nothing has failed since.
    certain: bool,
}

/// Whether optional parts of a rule set were loaded; `None` if the rule set has no such part.
#[derive(Debug, Clone, Copy)]
struct Optional {
    flow_table: Option<bool>,
    rejects: Option<bool>,
}

/// Features of this kernel, assumed present until it refuses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Features {
    /// The table flags owner and persist (since Linux 6.9).
    persist: bool,
    flow_table: bool,
    /// `nft_reject_inet`
    rejects: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { persist: true, flow_table: true, rejects: true }
    }
}

impl Reconciler for FirewallReconciler {
    type Desired = FirewallPlan;
    const OUTPUT: Output = Output::Firewall;

    fn resync(&mut self) {
        self.touched = true;
    }

    /// Loads the rules. The kernel replies within the system call, after some 0.2 ms, or 10 ms if
    /// it has to wait for RCU.
    async fn apply(&mut self, desired: &FirewallPlan) -> Result<Applied, ApplyError> {
        let applied = match self.confirm_restored(desired).or_else(|| self.update(desired)) {
            Some(applied) => applied,
            None => {
                if self.load_first(&desired.ruleset, desired.protect)? {
                    // The rules are in place, so other tasks may run before the slower second step.
                    yield_now().await;
                }
                self.replace(&desired.ruleset, desired.protect)?
            }
        };
        self.touched = false;
        Ok(applied)
    }
}

impl FirewallReconciler {
    /// Returns a reconciler that opens its socket at the first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a reconciler that restores its table immediately after another program removes it,
    /// if the kernel does not protect it.
    pub fn guarding() -> Self {
        let mut reconciler = Self::new();
        reconciler.guarding = true;
        reconciler
    }

    /// Returns the netlink port ID of the socket, which marks our own changes.
    pub fn port(&mut self) -> Result<u32, FirewallError> {
        Ok(self.shared()?.port())
    }

    /// Returns the state shared with the guard, and opens the socket at the first use.
    fn shared(&mut self) -> Result<Shared, FirewallError> {
        match &self.shared {
            Some(shared) => Ok(shared.clone()),
            None => {
                let socket = Socket::open(Protocol::Netfilter, &[])
                    .map_err(|error| FirewallError::refused(error.into(), "nfnetlink"))?;
                Ok(self.shared.insert(Shared::new(socket)).clone())
            }
        }
    }

    /// Replaces the table by `ruleset` and reads it back.
    pub fn load(&mut self, ruleset: &Ruleset, protect: bool) -> Result<Applied, FirewallError> {
        self.load_first(ruleset, protect)?;
        self.replace(ruleset, protect)
    }

    /// Loads the rules without their flow table if nothing was loaded before, since a kernel
    /// without flow tables needs an RCU grace period (some 10 ms) to refuse them. Returns whether
    /// it did.
    fn load_first(&mut self, ruleset: &Ruleset, protect: bool) -> Result<bool, FirewallError> {
        let first =
            self.loaded.is_none() && self.features.flow_table && ruleset.flow_table.is_some();
        if first {
            self.replace(&ruleset.without_flow_table(), protect)?;
        }
        Ok(first)
    }

    fn replace(&mut self, wanted: &Ruleset, protect: bool) -> Result<Applied, FirewallError> {
        let shared = self.shared()?;
        let mut state = shared.lock();
        state.disarm();
        if let Some(loaded) = &mut self.loaded {
            loaded.certain = false;
        }
        let socket = state.socket();
        if self.loaded.is_none() {
            let before = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))?;
            self.adopted = before.is_some_and(|table| table.ours);
        }
        let mut ruleset = self.features.supported(wanted);
        let sent = send(socket, &mut self.features, &mut ruleset, protect)?;
        let optional = Optional {
            flow_table: wanted.flow_table.as_ref().map(|_| ruleset.flow_table.is_some()),
            rejects: wanted.rejects().then(|| ruleset.rejects()),
        };
        let (applied, owned) = read_back(socket, optional, self.adopted)?;
        if let Some(set) = wanted
            .sets
            .iter()
            .filter(|set| !set.elements.is_empty())
            .find(|set| !holds(socket, set))
        {
            return Err(FirewallError::OtherElements { set: set.name.to_string() });
        }
        let loaded = Loaded { ruleset: wanted.clone(), protect, optional, certain: true };
        let before = self.loaded.replace(loaded);
        forget_connections(before.as_ref().map(|before| &before.ruleset), wanted);
        if self.guarding && !owned {
            state.arm(sent);
            if self.guard.is_none() {
                self.guard = Guard::start(shared.clone());
            }
        } else {
            self.guard = None;
        }
        Ok(applied)
    }

    /// Reads back the table if the guard has already restored it; otherwise returns `None`.
    fn confirm_restored(&mut self, desired: &FirewallPlan) -> Option<Applied> {
        let loaded = self
            .loaded
            .as_ref()
            .filter(|l| l.ruleset == desired.ruleset && l.protect == desired.protect)?;
        let mut state = self.shared.as_ref()?.lock();
        if !state.take_restored() {
            return None;
        }
        read_back(state.socket(), loaded.optional, self.adopted).ok().map(|(applied, _)| applied)
    }

    /// Changes only elements of sets, so that rules keep their counters. Returns `None` if the
    /// table has to be replaced: more differs, another program has changed the table, or the kernel
    /// refused the update.
    fn update(&mut self, desired: &FirewallPlan) -> Option<Applied> {
        let certain = |loaded: &Loaded| loaded.certain && !self.touched;
        let loaded = self.loaded.as_mut().filter(|l| certain(l) && l.protect == desired.protect)?;
        let mut updates =
            desired.ruleset.updates_from(&loaded.ruleset).filter(|updates| !updates.is_empty())?;
        loaded.certain = false;
        let mut state = self.shared.as_ref()?.lock();
        state.disarm();
        let socket = state.socket();
        let set_of =
            |update: &SetUpdate| desired.ruleset.sets.iter().find(|set| set.name == update.set);
        for update in updates
            .iter_mut()
            .filter(|update| set_of(update).is_some_and(|set| set.timeout.is_some()))
        {
            omit_expired(socket, update);
        }
        transact(socket, &encode_updates(&updates)).ok()?;
        let (applied, owned) = read_back(socket, loaded.optional, self.adopted).ok()?;
        if !updates.iter().filter_map(set_of).all(|set| holds(socket, set)) {
            return None;
        }
        loaded.ruleset = desired.ruleset.clone();
        loaded.certain = true;
        if self.guarding && !owned {
            state.arm(encode(
                &self.features.supported(&desired.ruleset),
                desired.protect && self.features.persist,
            ));
        }
        Some(applied)
    }

    /// Removes the table, if there is one.
    ///
    /// # Errors
    /// Another running process owns it, or the capability is missing.
    pub fn remove(&mut self) -> Result<(), FirewallError> {
        self.guard = None;
        self.touched = true;
        let shared = self.shared()?;
        let mut state = shared.lock();
        state.disarm();
        let socket = state.socket();
        let Some(seen) = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))?
        else {
            return Ok(());
        };
        match transact(socket, &encode_removal()) {
            Err(refusal) if refusal.errno != Errno::NOENT => {
                Err(explain(&refusal, &Ruleset::default(), Some(&seen), socket.port()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for FirewallReconciler {
    /// Closes the socket on another thread: close(2) takes some 15 ms, which would block the
    /// runtime.
    fn drop(&mut self) {
        self.guard = None;
        if let Some(shared) = self.shared.take() {
            drop(thread::Builder::new().name("nft-close".into()).spawn(move || drop(shared)));
        }
    }
}

impl Features {
    /// Returns the part of a rule set that this kernel supports, as far as is known.
    fn supported(self, wanted: &Ruleset) -> Ruleset {
        let mut ruleset = wanted.clone();
        if !self.flow_table {
            ruleset = ruleset.without_flow_table();
        }
        if !self.rejects {
            ruleset = ruleset.without_rejects();
        }
        ruleset
    }
}

/// Omits from an update the removal of elements that have expired, which the kernel would refuse.
fn omit_expired(socket: &mut Socket, update: &mut SetUpdate) {
    let Ok(present) = elements::read(socket, &update.set) else { return };
    let keys: BTreeSet<&[u8]> = present.iter().map(|element| element.key.as_slice()).collect();
    let is_present = |element: &Element| keys.contains(element.key.as_slice());
    update.remove.retain(|key| elements::of_key(key, update.interval, None).iter().all(is_present));
}

/// Returns whether the kernel's set has exactly the plan's elements. A set whose elements expire or
/// are added by rules is not checked.
fn holds(socket: &mut Socket, set: &Set) -> bool {
    let changes_by_itself = set.timeout.is_some() || set.dynamic;
    changes_by_itself
        || elements::read(socket, &set.name)
            .is_ok_and(|present| present == elements::elements(&set.elements, set.interval))
}

/// Deletes conntrack entries that bypass the new rules: those of forwarded ports that lead
/// elsewhere now, and those of nodes from before their addresses were masqueraded. Runs after the
/// rules are loaded, since the next packet would recreate an entry by the old ones, and on another
/// thread, since the dump of a full table takes long. An entry that cannot be deleted ends after
/// half a minute without packets.
fn forget_connections(before: Option<&Ruleset>, now: &Ruleset) {
    let current: Vec<ForwardedPort> = now.forwarded(false).collect();
    let previous = before.into_iter().flat_map(|before| before.forwarded(false));
    let gone: Vec<ForwardedPort> = previous.filter(|port| !current.contains(port)).collect();
    let (hidden_before, ports_before) = before.map(Ruleset::hidden).unwrap_or_default();
    let (hidden, ports) = now.hidden();
    let hides_more =
        !ports.is_empty() && (!hidden.is_subset(&hidden_before) || !ports.is_subset(&ports_before));
    let bare: Vec<IpNet> = hidden.into_iter().filter(|_| hides_more).collect();
    if gone.is_empty() && bare.is_empty() {
        return;
    }
    let forget = move || {
        let results = [conntrack::delete_forwarded(&gone), conntrack::delete_bare(&bare)];
        for error in results.into_iter().filter_map(Result::err) {
            debug!(%error, "connections were not forgotten");
        }
    };
    if let Err(error) = thread::Builder::new().name("ct-forget".into()).spawn(forget) {
        debug!(%error, "no thread to forget connections");
    }
}

/// Removes the table of an earlier run, for `off`.
///
/// # Errors
/// See [`FirewallReconciler::remove`].
pub fn remove() -> Result<(), FirewallError> {
    FirewallReconciler::new().remove()
}

/// Returns an error that names the running process that owns the table, which no other can remove.
pub fn owner() -> Option<FirewallError> {
    let mut socket = Socket::open(Protocol::Netfilter, &[]).ok()?;
    look(&mut socket).ok()??.owner.map(FirewallError::belongs_to)
}

/// Sends `ruleset` until the kernel accepts it, and drops features that it refuses. Returns the
/// accepted transaction.
fn send(
    socket: &mut Socket,
    features: &mut Features,
    ruleset: &mut Ruleset,
    protect: bool,
) -> Result<Encoded, FirewallError> {
    let mut attempts = 1;
    loop {
        let owned = protect && features.persist;
        let encoded = encode(ruleset, owned);
        let Err(refusal) = transact(socket, &encoded) else { return Ok(encoded) };
        let retry = learn(features, ruleset, &refusal, owned, &*socket);
        if !retry || attempts == ATTEMPTS {
            let seen = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))?;
            return Err(explain(&refusal, ruleset, seen.as_ref(), socket.port()));
        }
        attempts += 1;
    }
}

/// Reads back the table. Returns the result, and whether this process owns the table.
fn read_back(
    socket: &mut Socket,
    optional: Optional,
    adopted: bool,
) -> Result<(Applied, bool), FirewallError> {
    let Some(seen) = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))? else {
        return Err(FirewallError::Vanished);
    };
    let masquerade = look::masquerades(socket)
        .map_err(|errno| FirewallError::refused(errno, "listing of rules"))?;
    let owned = seen.owner == Some(socket.port());
    let Optional { flow_table, rejects } = optional;
    Ok((Applied::Firewall { masquerade, owned, flow_table, rejects, adopted }, owned))
}

/// Derives from a refusal which feature the kernel lacks. Returns whether a retry is useful.
fn learn(
    features: &mut Features,
    ruleset: &mut Ruleset,
    refusal: &Refusal,
    owned: bool,
    socket: impl AsFd + Copy,
) -> bool {
    let unsupported = matches!(refusal.errno, Errno::OPNOTSUPP | Errno::INVAL);
    match refusal.label {
        Label::Table if unsupported && owned => features.persist = false,
        Label::Table if matches!(refusal.errno, Errno::EXIST | Errno::OPNOTSUPP) => {}
        Label::FlowTable if refusal.errno != Errno::PERM => {
            // If a device has just gone, the feature itself is not missing.
            features.flow_table =
                refusal.errno == Errno::BUSY || transact::devices_missing(ruleset, socket);
            *ruleset = ruleset.without_flow_table();
        }
        Label::Rule(chain, rule) if offloads(ruleset, chain, rule) => {
            features.flow_table = false;
            *ruleset = ruleset.without_flow_table();
        }
        Label::Rule(chain, rule)
            if cannot_reject(refusal.errno) && rejects(ruleset, chain, rule) =>
        {
            features.rejects = false;
            *ruleset = ruleset.without_rejects();
        }
        _ => return matches!(refusal.errno, Errno::INTR | Errno::AGAIN),
    }
    true
}

fn rule_at(ruleset: &Ruleset, chain: usize, rule: usize) -> Option<&Rule> {
    ruleset.chains.get(chain)?.rules.get(rule)
}

fn offloads(ruleset: &Ruleset, chain: usize, rule: usize) -> bool {
    rule_at(ruleset, chain, rule).is_some_and(|rule| matches!(rule.action, Action::Offload(_)))
}

/// Returns whether the kernel lacks the reject expression for the family inet
/// (`nft_expr_type_get`).
fn cannot_reject(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::OPNOTSUPP)
}

fn rejects(ruleset: &Ruleset, chain: usize, rule: usize) -> bool {
    rule_at(ruleset, chain, rule).is_some_and(Rule::rejects)
}

/// Converts a refusal to an error that names the refused message.
fn explain(refusal: &Refusal, ruleset: &Ruleset, seen: Option<&Seen>, port: u32) -> FirewallError {
    let subject = match refusal.label {
        Label::Batch => "the rule set".into(),
        Label::Removal => format!("taking table inet {TABLE} away"),
        Label::Table => format!("table inet {TABLE}"),
        Label::FlowTable => "the flow table".into(),
        Label::Set(index) => {
            format!("set {}", ruleset.sets.get(index).map_or("?", |set| &set.name))
        }
        Label::Chain(index) => {
            format!("chain {}", ruleset.chains.get(index).map_or("?", |chain| chain.name))
        }
        Label::Rule(chain, rule) => rule_at(ruleset, chain, rule)
            .map_or_else(|| "a rule".into(), |rule| format!("rule `{rule}`")),
    };
    match (refusal.errno, seen.and_then(|seen| seen.owner)) {
        (Errno::PERM, Some(owner)) if owner != port && error::has_net_admin() => {
            FirewallError::belongs_to(owner)
        }
        (Errno::NOENT, _) if matches!(refusal.label, Label::Chain(_) | Label::Rule(..)) => {
            FirewallError::NoModule { subject }
        }
        _ => FirewallError::refused(refusal.errno, &subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::firewall::{RulesetInput, build};

    fn fast() -> Ruleset {
        let devices = ["lo", "no-such-port"].map(String::from).to_vec();
        build(&RulesetInput {
            cluster_port: Some("lo".into()),
            flow_table_devices: devices,
            ..RulesetInput::default()
        })
    }

    /// Ports can be looked up through any socket.
    fn any_socket() -> std::net::UdpSocket {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn learned(label: Label, errno: Errno) -> (bool, Features, Ruleset) {
        let (mut features, mut ruleset) = (Features::default(), fast());
        let refusal = Refusal { label, errno };
        let retry = learn(&mut features, &mut ruleset, &refusal, true, &any_socket());
        (retry, features, ruleset)
    }

    #[test]
    fn protection_is_dropped_on_a_kernel_that_refuses_it() {
        let (retry, features, _) = learned(Label::Table, Errno::OPNOTSUPP);
        assert!(retry && !features.persist && features.flow_table, "before 6.9");
    }

    #[test]
    fn the_flow_table_is_dropped_on_a_kernel_that_refuses_it() {
        let (retry, features, ruleset) = learned(Label::FlowTable, Errno::OPNOTSUPP);
        // The missing device may be the reason as well, so the feature is tried again later.
        assert!(retry && features.flow_table && ruleset == fast().without_flow_table());
        let rule = Label::Rule(0, 0);
        assert!(matches!(
            fast().chains.first().unwrap().rules.first().unwrap().action,
            Action::Offload(_)
        ));
        let (retry, features, ruleset) = learned(rule, Errno::NOENT);
        assert!(retry && !features.flow_table && ruleset.flow_table.is_none());
    }

    #[test]
    fn reject_becomes_drop_on_a_kernel_that_refuses_it() {
        use crate::decide::firewall::Transport;
        let down = ForwardedPort {
            transport: Transport::Tcp,
            listen: 80,
            to: [192, 168, 50, 11].into(),
            port: 80,
        };
        let dead = build(&RulesetInput {
            cluster_port: Some("lo".into()),
            forwards: vec![down],
            dead: vec![down],
            ..RulesetInput::default()
        });
        let chain =
            dead.chains.iter().position(|chain| chain.rules.iter().any(Rule::rejects)).unwrap();
        let (mut features, mut ruleset) = (Features::default(), dead.clone());
        let refusal = Refusal { label: Label::Rule(chain, 0), errno: Errno::NOENT };
        assert!(learn(&mut features, &mut ruleset, &refusal, true, &any_socket()));
        assert!(!features.rejects && features.flow_table && dead.rejects() && !ruleset.rejects());
        assert_eq!(ruleset.len(), dead.len());
    }

    #[test]
    fn other_refusals_are_not_retried() {
        assert!(!learned(Label::Removal, Errno::PERM).0);
        assert!(!learned(Label::Chain(0), Errno::NOENT).0);
        assert!(!learned(Label::Rule(1, 0), Errno::INVAL).0);
        assert!(learned(Label::Batch, Errno::INTR).0);
    }

    #[test]
    fn a_transaction_requests_one_acknowledgement_and_labels_each_message() {
        use bramblegate_netlink::messages;
        let encoded = encode(&fast(), true);
        let read: Vec<_> = messages(&encoded.bytes).collect();
        assert_eq!(read.len(), encoded.labels.len());
        assert!(read.iter().zip(1..).all(|(message, number)| message.sequence == number));
        let acknowledged: Vec<usize> =
            (0..read.len()).filter(|index| read[*index].flags & 4 != 0).collect();
        assert_eq!(acknowledged, [read.len() - 2]);
        assert_eq!(
            encoded.labels[1..5],
            [Label::Removal, Label::Removal, Label::Table, Label::FlowTable]
        );
        let rules = encoded.labels.iter().filter(|label| matches!(label, Label::Rule(..))).count();
        assert_eq!(
            rules,
            fast().len() + 4,
            "two sets of ICMPv6 types and their elements belong to rules"
        );
    }
}
