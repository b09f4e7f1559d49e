//! The firewall: one transaction that takes the table away and puts the new one in its place, over one socket that stays
//! open for the daemon's life (with the flag owner, the table is that socket's).

mod encode;
mod expr;
mod guard;
mod look;
mod transact;

use std::fs;
use std::thread;

use bramblegate_netlink::{Protocol, Socket};
use ipnet::Ipv4Net;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use tokio::task::yield_now;

use crate::event::{Applied, ApplyError, ApplyErrorKind, Output};
use crate::policy::FirewallPlan;
use crate::policy::ruleset::{Action, ForwardedPort, Rule, Ruleset, TABLE};
use crate::sink::{Sink, conntrack};

pub use encode::{Encoded, Label, encode, encode_removal};
pub use look::{Seen, look};
pub use transact::{Refusal, transact};

use guard::{Guard, Hold};

/// Each try learns one thing about the kernel or the table; there is no more to learn than this.
const TRIES: usize = 8;
/// This program's name as the kernel has it (`/proc/PID/comm`).
const PROGRAM: &str = "bramblegate";
/// What is asked before and after, in messages.
const LISTING: &str = "listing of tables";

/// Puts the rule set into the kernel.
#[derive(Debug, Default)]
pub struct FirewallSink {
    hold: Option<Hold>,
    /// puts a table back that the kernel does not protect
    guarding: bool,
    guard: Option<Guard>,
    known: Known,
    /// what this process has put there last
    loaded: Option<Loaded>,
    /// what was found at the first look was of an earlier run
    adopted: bool,
}

/// An order that was carried out.
#[derive(Debug)]
struct Loaded {
    ruleset: Ruleset,
    protect: bool,
    had: Had,
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

impl Sink for FirewallSink {
    type Desired = FirewallPlan;
    const OUTPUT: Output = Output::Firewall;

    /// The kernel answers within the system call: some 0.2 ms, or 10 ms where it has to wait for RCU.
    async fn apply(&mut self, desired: &FirewallPlan) -> Result<Applied, ApplyError> {
        if let Some(applied) = self.put_back(desired) {
            return Ok(applied);
        }
        if self.load_first(&desired.ruleset, desired.protect)? {
            // The rules are in place: others have their turn before the kernel is asked for more.
            yield_now().await;
        }
        self.replace(&desired.ruleset, desired.protect)
    }
}

impl FirewallSink {
    /// A sink whose socket is opened by the first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sink that puts its table back by itself, in the moment somebody else takes it away, where the kernel does not
    /// protect it.
    pub fn guarding() -> Self {
        let mut sink = Self::new();
        sink.guarding = true;
        sink
    }

    /// Opens the socket, if it is not, and tells its port: changes that carry it are our own.
    pub fn port(&mut self) -> Result<u32, ApplyError> {
        Ok(self.hold()?.port())
    }

    /// What is shared with the guard.
    fn hold(&mut self) -> Result<Hold, ApplyError> {
        match &self.hold {
            Some(hold) => Ok(hold.clone()),
            None => {
                let socket =
                    Socket::open(Protocol::Netfilter, &[]).map_err(|error| refused(error.into(), "nfnetlink"))?;
                Ok(self.hold.insert(Hold::new(socket)).clone())
            }
        }
    }

    /// Replaces the table by `ruleset` and reads back what is there.
    pub fn load(&mut self, ruleset: &Ruleset, protect: bool) -> Result<Applied, ApplyError> {
        self.load_first(ruleset, protect)?;
        self.replace(ruleset, protect)
    }

    /// The rules without their flow table, if they have one and none was loaded before. A kernel without flow tables refuses
    /// the whole, and takes its time over it (a grace period of RCU, some 10 ms).
    fn load_first(&mut self, ruleset: &Ruleset, protect: bool) -> Result<bool, ApplyError> {
        let first = self.loaded.is_none() && self.known.flow_table && ruleset.flow_table.is_some();
        if first {
            self.replace(&ruleset.without_flow_table(), protect)?;
        }
        Ok(first)
    }

    fn replace(&mut self, wanted: &Ruleset, protect: bool) -> Result<Applied, ApplyError> {
        let hold = self.hold()?;
        let mut held = hold.lock();
        held.disarm();
        let socket = held.socket();
        if self.loaded.is_none() {
            let before = look(socket).map_err(|errno| refused(errno, LISTING))?;
            self.adopted = before.is_some_and(|table| table.ours);
        }
        let mut ruleset = wanted.clone();
        if !self.known.flow_table {
            ruleset = ruleset.without_flow_table();
        }
        if !self.known.rejects {
            ruleset = ruleset.without_rejects();
        }
        let sent = send(socket, &mut self.known, &mut ruleset, protect)?;
        let had = Had {
            flow_table: wanted.flow_table.as_ref().map(|_| ruleset.flow_table.is_some()),
            rejects: wanted.rejects().then(|| ruleset.rejects()),
        };
        let (applied, owned) = read_back(socket, had, self.adopted)?;
        let before = self.loaded.replace(Loaded { ruleset: wanted.clone(), protect, had });
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

    /// What is there, if the guard was faster than this order.
    fn put_back(&mut self, desired: &FirewallPlan) -> Option<Applied> {
        let loaded = self.loaded.as_ref().filter(|l| l.ruleset == desired.ruleset && l.protect == desired.protect)?;
        let mut held = self.hold.as_ref()?.lock();
        if !held.take_restored() {
            return None;
        }
        read_back(held.socket(), loaded.had, self.adopted).ok().map(|(applied, _)| applied)
    }

    /// Takes the table away, with all rules.
    ///
    /// # Errors
    /// If a process that lives owns it, or the capability is missing. That it is not there is no error.
    pub fn remove(&mut self) -> Result<(), ApplyError> {
        self.guard = None;
        let hold = self.hold()?;
        let mut held = hold.lock();
        held.disarm();
        let socket = held.socket();
        let Some(seen) = look(socket).map_err(|errno| refused(errno, LISTING))? else { return Ok(()) };
        match transact(socket, &encode_removal()) {
            Err(refusal) if refusal.errno != Errno::NOENT => {
                Err(explain(&refusal, &Ruleset::default(), Some(&seen), socket.port()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for FirewallSink {
    /// Closing the socket waits for the kernel to tidy up (some 15 ms): not on the thread that runs the daemon.
    fn drop(&mut self) {
        self.guard = None;
        if let Some(hold) = self.hold.take() {
            drop(thread::Builder::new().name("nft-close".into()).spawn(move || drop(hold)));
        }
    }
}

/// Connections that the new rules judge otherwise than those before are asked anew where they are to go: what a port led to a
/// node until now, and what a node sent out before its address was hidden. After the new rules are there, else the next packet
/// would be led by the old. A full table takes long to list: not on the thread that runs the daemon. What cannot be deleted
/// ends when nothing is sent for half a minute.
fn forget_connections(before: Option<&Ruleset>, now: &Ruleset) {
    let stay: Vec<ForwardedPort> = now.forwarded(false).collect();
    let led = before.into_iter().flat_map(|before| before.forwarded(false));
    let gone: Vec<ForwardedPort> = led.filter(|port| !stay.contains(port)).collect();
    let (hidden_before, ports_before) = before.map(Ruleset::hidden).unwrap_or_default();
    let (hidden, ports) = now.hidden();
    let more = !ports.is_empty() && (!hidden.is_subset(&hidden_before) || !ports.is_subset(&ports_before));
    let bare: Vec<Ipv4Net> = hidden.into_iter().filter(|_| more).collect();
    if gone.is_empty() && bare.is_empty() {
        return;
    }
    let forget = move || {
        let _ = conntrack::delete_forwarded(&gone);
        let _ = conntrack::delete_bare(&bare);
    };
    drop(thread::Builder::new().name("ct-forget".into()).spawn(forget));
}

/// Takes the table of an earlier run away, also when no daemon lives: for `off`.
///
/// # Errors
/// See [`FirewallSink::remove`].
pub fn remove() -> Result<(), ApplyError> {
    FirewallSink::new().remove()
}

/// Who lives and owns the table; nobody else can take it away.
pub fn owner() -> Option<ApplyError> {
    let mut socket = Socket::open(Protocol::Netfilter, &[]).ok()?;
    look(&mut socket).ok()??.owner.map(belongs_to)
}

/// Sends `ruleset` until the kernel takes it, without what this kernel turns out not to have. The transaction that was taken.
fn send(socket: &mut Socket, known: &mut Known, ruleset: &mut Ruleset, protect: bool) -> Result<Encoded, ApplyError> {
    let mut tries = 1;
    loop {
        let owned = protect && known.persist;
        let encoded = encode(ruleset, owned);
        let Err(refusal) = transact(socket, &encoded) else { return Ok(encoded) };
        let news = learn(known, ruleset, &refusal, owned);
        if !news || tries == TRIES {
            let seen = look(socket).map_err(|errno| refused(errno, LISTING))?;
            return Err(explain(&refusal, ruleset, seen.as_ref(), socket.port()));
        }
        tries += 1;
    }
}

/// What is in the kernel, and whether it protects it.
fn read_back(socket: &mut Socket, had: Had, adopted: bool) -> Result<(Applied, bool), ApplyError> {
    let Some(seen) = look(socket).map_err(|errno| refused(errno, LISTING))? else {
        return Err(failed("the rule set was accepted, but is not in the kernel".into()));
    };
    let masquerade = look::masquerades(socket).map_err(|errno| refused(errno, "listing of rules"))?;
    let owned = seen.owner == Some(socket.port());
    let Had { flow_table, rejects } = had;
    Ok((Applied::Firewall { masquerade, owned, flow_table, rejects, adopted }, owned))
}

/// Takes a refusal as news of what the kernel cannot do. False: it is no such news, trying again is of no use.
fn learn(known: &mut Known, ruleset: &mut Ruleset, refusal: &Refusal, owned: bool) -> bool {
    let cannot = matches!(refusal.errno, Errno::OPNOTSUPP | Errno::INVAL);
    match refusal.label {
        Label::Table if cannot && owned => known.persist = false,
        Label::Table if matches!(refusal.errno, Errno::EXIST | Errno::OPNOTSUPP) => {}
        Label::FlowTable if refusal.errno != Errno::PERM => {
            // A device that has just gone is no reason to do without for ever.
            known.flow_table = refusal.errno == Errno::BUSY || transact::devices_missing(ruleset);
            *ruleset = ruleset.without_flow_table();
        }
        Label::Rule(chain, rule) if offloads(ruleset, chain, rule) => {
            known.flow_table = false;
            *ruleset = ruleset.without_flow_table();
        }
        Label::Rule(chain, rule) if cannot_reject(refusal.errno) && rejects(ruleset, chain, rule) => {
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

/// There is no such expression for the family inet (`nft_expr_type_get`).
fn cannot_reject(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::OPNOTSUPP)
}

fn rejects(ruleset: &Ruleset, chain: usize, rule: usize) -> bool {
    rule_at(ruleset, chain, rule).is_some_and(Rule::rejects)
}

/// Names the message that was refused, and why.
fn explain(refusal: &Refusal, ruleset: &Ruleset, seen: Option<&Seen>, port: u32) -> ApplyError {
    let subject = match refusal.label {
        Label::Batch => "the rule set".into(),
        Label::Removal => format!("taking table inet {TABLE} away"),
        Label::Table => format!("table inet {TABLE}"),
        Label::FlowTable => "the flow table".into(),
        Label::Samples => "a set of the latest sources".into(),
        Label::Chain(index) => format!("chain {}", ruleset.chains.get(index).map_or("?", |chain| chain.name)),
        Label::Rule(chain, rule) => {
            rule_at(ruleset, chain, rule).map_or_else(|| "a rule".into(), |rule| format!("rule `{rule}`"))
        }
    };
    match (refusal.errno, seen.and_then(|seen| seen.owner)) {
        (Errno::PERM, Some(owner)) if owner != port && has_net_admin() => belongs_to(owner),
        (Errno::NOENT, _) if matches!(refusal.label, Label::Chain(_) | Label::Rule(..)) => ApplyError {
            kind: ApplyErrorKind::Unsupported,
            message: format!("the kernel lacks what {subject} needs (a module nft_*)"),
        },
        _ => refused(refusal.errno, &subject),
    }
}

/// Who owns the table. The port of a process's first netlink socket is its number (netlink(7)), as seen from its own PID
/// namespace: only the name that it has there makes it certain.
fn belongs_to(owner: u32) -> ApplyError {
    let name = fs::read_to_string(format!("/proc/{owner}/comm")).unwrap_or_default();
    match name.trim() {
        PROGRAM => {
            let message = format!(
                "another instance runs: process {owner} ({PROGRAM}) owns table inet {TABLE}; stop it first (sudo systemctl stop bramblegate)"
            );
            ApplyError { kind: ApplyErrorKind::Held, message }
        }
        _ => {
            failed(format!("table inet {TABLE} belongs to another process that lives (netlink port {owner}); stop it"))
        }
    }
}

/// What an error number of nfnetlink means to the user.
fn refused(errno: Errno, subject: &str) -> ApplyError {
    let unsupported = |what: &str| ApplyError { kind: ApplyErrorKind::Unsupported, message: what.into() };
    match errno {
        Errno::PERM | Errno::ACCESS if !has_net_admin() => ApplyError {
            kind: ApplyErrorKind::Denied,
            message: format!("the capability CAP_NET_ADMIN is missing: the kernel refused {subject}"),
        },
        Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => {
            unsupported("the kernel has no nfnetlink (CONFIG_NETFILTER_NETLINK)")
        }
        Errno::OPNOTSUPP if matches!(subject, "the rule set" | LISTING) => {
            unsupported("the kernel has no nf_tables (CONFIG_NF_TABLES, module nf_tables)")
        }
        _ => failed(format!("the kernel refused {subject}: {errno}")),
    }
}

fn failed(message: String) -> ApplyError {
    ApplyError { kind: ApplyErrorKind::Failed, message }
}

fn has_net_admin() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ruleset::{RulesetInput, build};

    fn fast() -> Ruleset {
        let devices = ["lo", "no-such-port"].map(String::from).to_vec();
        build(&RulesetInput { cluster_port: Some("lo".into()), flow_table_devices: devices, ..RulesetInput::default() })
    }

    fn told(label: Label, errno: Errno) -> (bool, Known, Ruleset) {
        let (mut known, mut ruleset) = (Known::default(), fast());
        let again = learn(&mut known, &mut ruleset, &Refusal { label, errno }, true);
        (again, known, ruleset)
    }

    #[test]
    fn an_old_kernel_is_not_asked_for_protection_again() {
        let (again, known, _) = told(Label::Table, Errno::OPNOTSUPP);
        assert!(again && !known.persist && known.flow_table, "before 6.9");
    }

    #[test]
    fn a_kernel_without_flow_tables_is_asked_once() {
        let (again, known, ruleset) = told(Label::FlowTable, Errno::OPNOTSUPP);
        // One of the devices does not exist, which may be the reason as well: that is asked again next time.
        assert!(again && known.flow_table && ruleset == fast().without_flow_table());
        let rule = Label::Rule(0, 0);
        assert!(matches!(fast().chains.first().unwrap().rules.first().unwrap().action, Action::Offload(_)));
        let (again, known, ruleset) = told(rule, Errno::NOENT);
        assert!(again && !known.flow_table && ruleset.flow_table.is_none());
    }

    #[test]
    fn a_kernel_that_cannot_reject_drops_and_takes_all_other_rules() {
        use crate::policy::ruleset::Transport;
        let down = ForwardedPort { transport: Transport::Tcp, listen: 80, to: [192, 168, 50, 11].into(), port: 80 };
        let dead = build(&RulesetInput {
            cluster_port: Some("lo".into()),
            forwards: vec![down],
            dead: vec![down],
            ..RulesetInput::default()
        });
        let chain = dead.chains.iter().position(|chain| chain.rules.iter().any(Rule::rejects)).unwrap();
        let (mut known, mut ruleset) = (Known::default(), dead.clone());
        let refusal = Refusal { label: Label::Rule(chain, 0), errno: Errno::NOENT };
        assert!(learn(&mut known, &mut ruleset, &refusal, true));
        assert!(!known.rejects && known.flow_table && dead.rejects() && !ruleset.rejects());
        assert_eq!(ruleset.len(), dead.len());
    }

    #[test]
    fn what_teaches_nothing_is_not_tried_again() {
        assert!(!told(Label::Removal, Errno::PERM).0);
        assert!(!told(Label::Chain(0), Errno::NOENT).0);
        assert!(!told(Label::Rule(1, 0), Errno::INVAL).0);
        assert!(told(Label::Batch, Errno::INTR).0);
    }

    #[test]
    fn a_transaction_asks_for_one_answer_and_labels_every_message() {
        use bramblegate_netlink::messages;
        let encoded = encode(&fast(), true);
        let read: Vec<_> = messages(&encoded.bytes).collect();
        assert_eq!(read.len(), encoded.labels.len());
        assert!(read.iter().zip(1..).all(|(message, number)| message.sequence == number));
        let asking: Vec<usize> = (0..read.len()).filter(|index| read[*index].flags & 4 != 0).collect();
        assert_eq!(asking, [read.len() - 2]);
        assert_eq!(encoded.labels[1..5], [Label::Removal, Label::Removal, Label::Table, Label::FlowTable]);
        let rules = encoded.labels.iter().filter(|label| matches!(label, Label::Rule(..))).count();
        assert_eq!(rules, fast().len() + 4, "two sets of ICMPv6 types and their elements belong to rules");
    }
}
