//! The firewall: one transaction that takes the table away and puts the new one in its place, over
//! one socket that stays open for the daemon's life (with the flag owner, the table is that
//! socket's).

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
use guard::{Guard, Hold};

/// Each try learns one thing about the kernel or the table; there is no more to learn than this.
const TRIES: usize = 8;

/// Puts the rule set into the kernel.
#[derive(Debug, Default)]
pub struct FirewallReconciler {
    hold: Option<Hold>,
    /// puts a table back that the kernel does not protect
    guarding: bool,
    guard: Option<Guard>,
    known: Known,
    /// what this process has put there last
    loaded: Option<Loaded>,
    /// what was found at the first look was of an earlier run
    adopted: bool,
    /// another program may have touched the table since the last plan was carried out
    touched: bool,
}

/// An order that was carried out.
#[derive(Debug)]
struct Loaded {
    ruleset: Ruleset,
    protect: bool,
    had: Had,
    /// it was read back, and nothing has failed since
    certain: bool,
}

/// What a rule set kept of what not every kernel has; `None`: that was not wanted.
#[derive(Debug, Clone, Copy)]
struct Had {
    flow_table: Option<bool>,
    rejects: Option<bool>,
}

/// What was learnt of this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// the flags owner and persist (≥ 6.9)
    persist: bool,
    flow_table: bool,
    /// `nft_reject_inet`
    rejects: bool,
}

impl Default for Known {
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

    /// Brings the rules to the kernel, which answers within the system call: some 0.2 ms, or 10 ms
    /// where it has to wait for RCU.
    async fn apply(&mut self, desired: &FirewallPlan) -> Result<Applied, ApplyError> {
        let applied = match self.put_back(desired).or_else(|| self.update(desired)) {
            Some(applied) => applied,
            None => {
                if self.load_first(&desired.ruleset, desired.protect)? {
                    // The rules are in place: others have their turn before the kernel is asked for
                    // more.
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
    /// Makes a reconciler whose socket is opened by the first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a reconciler that puts its table back by itself, in the moment another program takes
    /// it away, where the kernel does not protect it.
    pub fn guarding() -> Self {
        let mut reconciler = Self::new();
        reconciler.guarding = true;
        reconciler
    }

    /// Opens the socket, if it is not, and returns its port: changes that carry it are our own.
    pub fn port(&mut self) -> Result<u32, FirewallError> {
        Ok(self.hold()?.port())
    }

    /// Returns what is shared with the guard; opens the socket where there is none yet.
    fn hold(&mut self) -> Result<Hold, FirewallError> {
        match &self.hold {
            Some(hold) => Ok(hold.clone()),
            None => {
                let socket = Socket::open(Protocol::Netfilter, &[])
                    .map_err(|error| FirewallError::refused(error.into(), "nfnetlink"))?;
                Ok(self.hold.insert(Hold::new(socket)).clone())
            }
        }
    }

    /// Replaces the table by `ruleset` and reads back what is there.
    pub fn load(&mut self, ruleset: &Ruleset, protect: bool) -> Result<Applied, FirewallError> {
        self.load_first(ruleset, protect)?;
        self.replace(ruleset, protect)
    }

    /// Loads the rules without their flow table, if they have one and none was loaded before. A
    /// kernel without flow tables refuses the whole, and takes its time over it (a grace period of
    /// RCU, some 10 ms).
    fn load_first(&mut self, ruleset: &Ruleset, protect: bool) -> Result<bool, FirewallError> {
        let first = self.loaded.is_none() && self.known.flow_table && ruleset.flow_table.is_some();
        if first {
            self.replace(&ruleset.without_flow_table(), protect)?;
        }
        Ok(first)
    }

    fn replace(&mut self, wanted: &Ruleset, protect: bool) -> Result<Applied, FirewallError> {
        let hold = self.hold()?;
        let mut held = hold.lock();
        held.disarm();
        if let Some(loaded) = &mut self.loaded {
            loaded.certain = false;
        }
        let socket = held.socket();
        if self.loaded.is_none() {
            let before = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))?;
            self.adopted = before.is_some_and(|table| table.ours);
        }
        let mut ruleset = self.known.possible(wanted);
        let sent = send(socket, &mut self.known, &mut ruleset, protect)?;
        let had = Had {
            flow_table: wanted.flow_table.as_ref().map(|_| ruleset.flow_table.is_some()),
            rejects: wanted.rejects().then(|| ruleset.rejects()),
        };
        let (applied, owned) = read_back(socket, had, self.adopted)?;
        if let Some(set) = wanted
            .sets
            .iter()
            .filter(|set| !set.elements.is_empty())
            .find(|set| !holds(socket, set))
        {
            return Err(FirewallError::OtherElements { set: set.name.to_string() });
        }
        let before =
            self.loaded.replace(Loaded { ruleset: wanted.clone(), protect, had, certain: true });
        forget_connections(before.as_ref().map(|before| &before.ruleset), wanted);
        if self.guarding && !owned {
            held.arm(sent);
            if self.guard.is_none() {
                self.guard = Guard::start(hold.clone());
            }
        } else {
            self.guard = None;
        }
        Ok(applied)
    }

    /// Returns what is there, if the guard was faster than this order.
    fn put_back(&mut self, desired: &FirewallPlan) -> Option<Applied> {
        let loaded = self
            .loaded
            .as_ref()
            .filter(|l| l.ruleset == desired.ruleset && l.protect == desired.protect)?;
        let mut held = self.hold.as_ref()?.lock();
        if !held.take_restored() {
            return None;
        }
        read_back(held.socket(), loaded.had, self.adopted).ok().map(|(applied, _)| applied)
    }

    /// Changes elements where nothing else differs from what was loaded: rules stay, and so do
    /// their counters. `None`: the table has to be replaced, for there is more to do, or another
    /// program has touched it, or the kernel refused.
    fn update(&mut self, desired: &FirewallPlan) -> Option<Applied> {
        let certain = |loaded: &Loaded| loaded.certain && !self.touched;
        let loaded = self.loaded.as_mut().filter(|l| certain(l) && l.protect == desired.protect)?;
        let mut updates =
            desired.ruleset.updates_from(&loaded.ruleset).filter(|updates| !updates.is_empty())?;
        loaded.certain = false;
        let mut held = self.hold.as_ref()?.lock();
        held.disarm();
        let socket = held.socket();
        let set_of =
            |update: &SetUpdate| desired.ruleset.sets.iter().find(|set| set.name == update.set);
        for update in updates
            .iter_mut()
            .filter(|update| set_of(update).is_some_and(|set| set.timeout.is_some()))
        {
            leave_out_expired(socket, update);
        }
        transact(socket, &encode_updates(&updates)).ok()?;
        let (applied, owned) = read_back(socket, loaded.had, self.adopted).ok()?;
        if !updates.iter().filter_map(set_of).all(|set| holds(socket, set)) {
            return None;
        }
        loaded.ruleset = desired.ruleset.clone();
        loaded.certain = true;
        if self.guarding && !owned {
            held.arm(encode(
                &self.known.possible(&desired.ruleset),
                desired.protect && self.known.persist,
            ));
        }
        Some(applied)
    }

    /// Takes the table away, with all rules.
    ///
    /// # Errors
    /// If a process that lives owns it, or the capability is missing. That it is not there is no
    /// error.
    pub fn remove(&mut self) -> Result<(), FirewallError> {
        self.guard = None;
        self.touched = true;
        let hold = self.hold()?;
        let mut held = hold.lock();
        held.disarm();
        let socket = held.socket();
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
    /// Closes the socket on a thread of its own: the kernel tidies up (some 15 ms), which the
    /// thread that runs the daemon must not wait for.
    fn drop(&mut self) {
        self.guard = None;
        if let Some(hold) = self.hold.take() {
            drop(thread::Builder::new().name("nft-close".into()).spawn(move || drop(hold)));
        }
    }
}

impl Known {
    /// Returns what this kernel can have of a rule set, as far as is known.
    fn possible(self, wanted: &Ruleset) -> Ruleset {
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

/// Takes out of a change what the kernel has removed by itself: it would refuse to do it again.
fn leave_out_expired(socket: &mut Socket, update: &mut SetUpdate) {
    let Ok(present) = elements::read(socket, &update.set) else { return };
    let keys: BTreeSet<&[u8]> = present.iter().map(|element| element.key.as_slice()).collect();
    let is_there = |element: &Element| keys.contains(element.key.as_slice());
    update.remove.retain(|key| elements::of_key(key, update.interval, None).iter().all(is_there));
}

/// Returns whether the kernel's set has exactly the plan's elements; where they expire, or rules
/// add some, that is not asked.
fn holds(socket: &mut Socket, set: &Set) -> bool {
    let changes_by_itself = set.timeout.is_some() || set.dynamic;
    changes_by_itself
        || elements::read(socket, &set.name)
            .is_ok_and(|held| held == elements::elements(&set.elements, set.interval))
}

/// Connections that the new rules judge otherwise than those before are asked anew where they are
/// to go: what a port led to a node until now, and what a node sent out before its address was
/// hidden. After the new rules are there, else the next packet would be led by the old. A full
/// table takes long to list: not on the thread that runs the daemon. What cannot be deleted ends
/// when nothing is sent for half a minute.
fn forget_connections(before: Option<&Ruleset>, now: &Ruleset) {
    let stay: Vec<ForwardedPort> = now.forwarded(false).collect();
    let led = before.into_iter().flat_map(|before| before.forwarded(false));
    let gone: Vec<ForwardedPort> = led.filter(|port| !stay.contains(port)).collect();
    let (hidden_before, ports_before) = before.map(Ruleset::hidden).unwrap_or_default();
    let (hidden, ports) = now.hidden();
    let more =
        !ports.is_empty() && (!hidden.is_subset(&hidden_before) || !ports.is_subset(&ports_before));
    let bare: Vec<IpNet> = hidden.into_iter().filter(|_| more).collect();
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

/// Takes the table of an earlier run away, also when no daemon lives: for `off`.
///
/// # Errors
/// See [`FirewallReconciler::remove`].
pub fn remove() -> Result<(), FirewallError> {
    FirewallReconciler::new().remove()
}

/// Returns the live process that owns the table; no other can take it away.
pub fn owner() -> Option<FirewallError> {
    let mut socket = Socket::open(Protocol::Netfilter, &[]).ok()?;
    look(&mut socket).ok()??.owner.map(FirewallError::belongs_to)
}

/// Sends `ruleset` until the kernel takes it, without what this kernel turns out not to have. The
/// transaction that was taken.
fn send(
    socket: &mut Socket,
    known: &mut Known,
    ruleset: &mut Ruleset,
    protect: bool,
) -> Result<Encoded, FirewallError> {
    let mut tries = 1;
    loop {
        let owned = protect && known.persist;
        let encoded = encode(ruleset, owned);
        let Err(refusal) = transact(socket, &encoded) else { return Ok(encoded) };
        let news = learn(known, ruleset, &refusal, owned, &*socket);
        if !news || tries == TRIES {
            let seen = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))?;
            return Err(explain(&refusal, ruleset, seen.as_ref(), socket.port()));
        }
        tries += 1;
    }
}

/// Reads what is in the kernel, and whether it protects it.
fn read_back(
    socket: &mut Socket,
    had: Had,
    adopted: bool,
) -> Result<(Applied, bool), FirewallError> {
    let Some(seen) = look(socket).map_err(|errno| FirewallError::refused(errno, LISTING))? else {
        return Err(FirewallError::Vanished);
    };
    let masquerade = look::masquerades(socket)
        .map_err(|errno| FirewallError::refused(errno, "listing of rules"))?;
    let owned = seen.owner == Some(socket.port());
    let Had { flow_table, rejects } = had;
    Ok((Applied::Firewall { masquerade, owned, flow_table, rejects, adopted }, owned))
}

/// Takes a refusal as news of what the kernel cannot do. False: it is no such news, trying again is
/// of no use.
fn learn(
    known: &mut Known,
    ruleset: &mut Ruleset,
    refusal: &Refusal,
    owned: bool,
    socket: impl AsFd + Copy,
) -> bool {
    let cannot = matches!(refusal.errno, Errno::OPNOTSUPP | Errno::INVAL);
    match refusal.label {
        Label::Table if cannot && owned => known.persist = false,
        Label::Table if matches!(refusal.errno, Errno::EXIST | Errno::OPNOTSUPP) => {}
        Label::FlowTable if refusal.errno != Errno::PERM => {
            // A device that has just gone is no reason to do without for ever.
            known.flow_table =
                refusal.errno == Errno::BUSY || transact::devices_missing(ruleset, socket);
            *ruleset = ruleset.without_flow_table();
        }
        Label::Rule(chain, rule) if offloads(ruleset, chain, rule) => {
            known.flow_table = false;
            *ruleset = ruleset.without_flow_table();
        }
        Label::Rule(chain, rule)
            if cannot_reject(refusal.errno) && rejects(ruleset, chain, rule) =>
        {
            known.rejects = false;
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

/// Returns whether the kernel has no reject expression for the family inet (`nft_expr_type_get`).
fn cannot_reject(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::OPNOTSUPP)
}

fn rejects(ruleset: &Ruleset, chain: usize, rule: usize) -> bool {
    rule_at(ruleset, chain, rule).is_some_and(Rule::rejects)
}

/// Names the message that was refused, and why.
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

    /// Ports can be looked up by any socket.
    fn any_socket() -> std::net::UdpSocket {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn reported(label: Label, errno: Errno) -> (bool, Known, Ruleset) {
        let (mut known, mut ruleset) = (Known::default(), fast());
        let again = learn(&mut known, &mut ruleset, &Refusal { label, errno }, true, &any_socket());
        (again, known, ruleset)
    }

    #[test]
    fn an_old_kernel_is_not_asked_for_protection_again() {
        let (again, known, _) = reported(Label::Table, Errno::OPNOTSUPP);
        assert!(again && !known.persist && known.flow_table, "before 6.9");
    }

    #[test]
    fn a_kernel_without_flow_tables_is_asked_once() {
        let (again, known, ruleset) = reported(Label::FlowTable, Errno::OPNOTSUPP);
        // One of the devices does not exist, which may be the reason as well: that is asked again
        // next time.
        assert!(again && known.flow_table && ruleset == fast().without_flow_table());
        let rule = Label::Rule(0, 0);
        assert!(matches!(
            fast().chains.first().unwrap().rules.first().unwrap().action,
            Action::Offload(_)
        ));
        let (again, known, ruleset) = reported(rule, Errno::NOENT);
        assert!(again && !known.flow_table && ruleset.flow_table.is_none());
    }

    #[test]
    fn a_kernel_that_cannot_reject_drops_and_takes_all_other_rules() {
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
        let (mut known, mut ruleset) = (Known::default(), dead.clone());
        let refusal = Refusal { label: Label::Rule(chain, 0), errno: Errno::NOENT };
        assert!(learn(&mut known, &mut ruleset, &refusal, true, &any_socket()));
        assert!(!known.rejects && known.flow_table && dead.rejects() && !ruleset.rejects());
        assert_eq!(ruleset.len(), dead.len());
    }

    #[test]
    fn what_teaches_nothing_is_not_tried_again() {
        assert!(!reported(Label::Removal, Errno::PERM).0);
        assert!(!reported(Label::Chain(0), Errno::NOENT).0);
        assert!(!reported(Label::Rule(1, 0), Errno::INVAL).0);
        assert!(reported(Label::Batch, Errno::INTR).0);
    }

    #[test]
    fn a_transaction_asks_for_one_answer_and_labels_every_message() {
        use bramblegate_netlink::messages;
        let encoded = encode(&fast(), true);
        let read: Vec<_> = messages(&encoded.bytes).collect();
        assert_eq!(read.len(), encoded.labels.len());
        assert!(read.iter().zip(1..).all(|(message, number)| message.sequence == number));
        let asking: Vec<usize> =
            (0..read.len()).filter(|index| read[*index].flags & 4 != 0).collect();
        assert_eq!(asking, [read.len() - 2]);
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
