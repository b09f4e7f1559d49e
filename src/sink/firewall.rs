//! The firewall: one transaction that takes the table away and puts the new one in its place, over one socket that stays
//! open for the daemon's life (with the flag owner, the table is that socket's).

mod encode;
mod expr;
mod look;
mod transact;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use tokio::sync::Notify;

use crate::event::{Applied, ApplyError, ApplyErrorKind, Output};
use crate::policy::FirewallPlan;
use crate::policy::ruleset::{Action, Rule, Ruleset, TABLE};
use crate::sink::Sink;
use crate::source::nfnetlink::Socket;

pub use encode::{Encoded, Form, Label, Removal, encode, encode_removal};
pub use look::{Seen, look};
pub use transact::{Refusal, transact};

/// Each try learns one thing about the kernel or the table; there is no more to learn than this.
const TRIES: usize = 8;
/// See [`FirewallSink::restore`].
const RESTORE_INTERVAL: Duration = Duration::from_millis(50);

/// Puts the rule set into the kernel.
#[derive(Debug, Default)]
pub struct FirewallSink {
    socket: Option<Socket>,
    known: Known,
    /// the transaction sent last: to put the same rules back, it is only sent again
    sent: Option<Sent>,
    /// rings when somebody else touches our table
    alarm: Arc<Notify>,
    last_restored: Option<Instant>,
    /// put back without having been told to
    restored: Option<(FirewallPlan, Applied)>,
    /// this process has loaded the table before
    loaded: bool,
    /// what was found at the first look was of an earlier run
    adopted: bool,
}

/// A transaction, and what it was made from.
#[derive(Debug)]
struct Sent {
    ruleset: Ruleset,
    form: Form,
    encoded: Encoded,
}

/// What was learnt of this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// `NFT_MSG_DESTROYTABLE` (≥ 6.3)
    destroy: bool,
    /// the flags owner and persist (≥ 6.9)
    persist: bool,
    flow_table: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { destroy: true, persist: true, flow_table: true }
    }
}

impl Sink for FirewallSink {
    type Desired = FirewallPlan;
    const OUTPUT: Output = Output::Firewall;

    /// The kernel answers within the system call: some 0.2 ms, or 10 ms where it has to wait for RCU.
    async fn apply(&mut self, desired: &FirewallPlan) -> Result<Applied, ApplyError> {
        // Done already, in haste: what is in the kernel is the same but for the number of the order.
        match self.restored.take() {
            Some((plan, applied)) if FirewallPlan { revision: plan.revision, ..desired.clone() } == plan => Ok(applied),
            _ => self.load(&desired.ruleset, desired.protect),
        }
    }

    async fn undone(&mut self) {
        self.alarm.notified().await;
    }

    /// Not more often than somebody else could want in earnest: with one who takes the rules away again and again, the
    /// usual way remains.
    fn restore(&mut self, desired: &FirewallPlan) {
        let now = Instant::now();
        self.restored = None;
        if self.last_restored.is_some_and(|last| now.duration_since(last) < RESTORE_INTERVAL) {
            return;
        }
        self.last_restored = Some(now);
        self.restored = self.load(&desired.ruleset, desired.protect).ok().map(|applied| (desired.clone(), applied));
    }
}

impl FirewallSink {
    /// A sink whose socket is opened by the first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sink that puts its rules back when `alarm` rings, before it is told to.
    pub fn with_alarm(alarm: Arc<Notify>) -> Self {
        let mut sink = Self::new();
        sink.alarm = alarm;
        sink
    }

    /// Opens the socket, if it is not, and tells its port: changes that carry it are our own.
    pub fn port(&mut self) -> Result<u32, ApplyError> {
        Ok(self.socket()?.port())
    }

    fn socket(&mut self) -> Result<&mut Socket, ApplyError> {
        match self.socket {
            Some(ref mut socket) => Ok(socket),
            None => Ok(self.socket.insert(Socket::open(0).map_err(|errno| refused(errno, "nfnetlink"))?)),
        }
    }

    /// Replaces the table by `ruleset` and reads back what is there.
    pub fn load(&mut self, ruleset: &Ruleset, protect: bool) -> Result<Applied, ApplyError> {
        if !self.loaded && self.known.flow_table && ruleset.flow_table.is_some() {
            // A kernel without flow tables refuses the whole, and takes its time over it (a grace period of RCU, some
            // 10 ms): until that is known, the rules first.
            self.replace(&ruleset.without_flow_table(), protect)?;
        }
        self.replace(ruleset, protect)
    }

    fn replace(&mut self, ruleset: &Ruleset, protect: bool) -> Result<Applied, ApplyError> {
        let mut known = self.known;
        let (loaded, adopted) = (self.loaded, self.adopted);
        let mut sent = self.sent.take();
        let socket = self.socket()?;
        // To put our rules back it does not matter what is there, and haste does: see docs/decisions/haste.md.
        let before = match loaded && known.destroy {
            true => None,
            false => look(socket).map_err(|errno| refused(errno, "listing of tables"))?,
        };
        let plain = (ruleset.flow_table.is_some() && !known.flow_table).then(|| ruleset.without_flow_table());
        let mut ruleset = plain.as_ref().unwrap_or(ruleset).clone();
        let mut seen = before.clone();
        for _ in 0..TRIES {
            let removal = match (known.destroy, &seen) {
                (true, _) => Removal::Destroy,
                (false, Some(_)) => Removal::Delete,
                (false, None) => Removal::Nothing,
            };
            let form = Form { removal, owned: protect && known.persist };
            let again = sent.take().filter(|sent| sent.form == form && sent.ruleset == ruleset);
            let ready =
                again.unwrap_or_else(|| Sent { ruleset: ruleset.clone(), form, encoded: encode(&ruleset, &form) });
            let result = transact(socket, &ready.encoded);
            let Err(refusal) = result else {
                sent = Some(ready);
                break;
            };
            seen = look(socket).map_err(|errno| refused(errno, "listing of tables"))?;
            if !learn(&mut known, &mut ruleset, &refusal, &form) {
                return Err(explain(&refusal, &ruleset, seen.as_ref(), socket.port()));
            }
        }
        let after = look(socket).map_err(|errno| refused(errno, "listing of tables"))?;
        let Some(after) = after else {
            return Err(failed("the rule set was accepted, but is not in the kernel".into()));
        };
        let masquerade = look::masquerades(socket).map_err(|errno| refused(errno, "listing of rules"))?;
        let adopted = if loaded { adopted } else { before.is_some_and(|table| table.ours) };
        let owned = after.owner == Some(socket.port());
        self.known = known;
        self.sent = sent;
        self.adopted = adopted;
        self.loaded = true;
        Ok(Applied::Firewall { masquerade, owned, flow_table: ruleset.flow_table.is_some(), adopted })
    }

    /// Takes the table away, with all rules.
    ///
    /// # Errors
    /// If a process that lives owns it, or the capability is missing. That it is not there is no error.
    pub fn remove(&mut self) -> Result<(), ApplyError> {
        let socket = self.socket()?;
        let Some(seen) = look(socket).map_err(|errno| refused(errno, "listing of tables"))? else { return Ok(()) };
        match transact(socket, &encode_removal(Removal::Delete)) {
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
        if let Some(socket) = self.socket.take() {
            drop(thread::Builder::new().name("nft-close".into()).spawn(move || drop(socket)));
        }
    }
}

/// Takes the table of an earlier run away, also when no daemon lives: for `off`.
///
/// # Errors
/// See [`FirewallSink::remove`].
pub fn remove() -> Result<(), ApplyError> {
    FirewallSink::new().remove()
}

/// Takes a refusal as news of what the kernel cannot do. False: it is no such news, trying again is of no use.
fn learn(known: &mut Known, ruleset: &mut Ruleset, refusal: &Refusal, form: &Form) -> bool {
    let cannot = matches!(refusal.errno, Errno::OPNOTSUPP | Errno::INVAL);
    match refusal.label {
        Label::Removal if form.removal == Removal::Destroy && cannot => known.destroy = false,
        // Somebody was faster: look again.
        Label::Removal if refusal.errno == Errno::NOENT => {}
        Label::Table if cannot && form.owned => known.persist = false,
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

/// Names the message that was refused, and why.
fn explain(refusal: &Refusal, ruleset: &Ruleset, seen: Option<&Seen>, port: u32) -> ApplyError {
    let subject = match refusal.label {
        Label::Batch => "the rule set".into(),
        Label::Removal => format!("taking table inet {TABLE} away"),
        Label::Table => format!("table inet {TABLE}"),
        Label::FlowTable => "the flow table".into(),
        Label::Chain(index) => format!("chain {}", ruleset.chains.get(index).map_or("?", |chain| chain.name)),
        Label::Rule(chain, rule) => {
            rule_at(ruleset, chain, rule).map_or_else(|| "a rule".into(), |rule| format!("rule `{rule}`"))
        }
    };
    match (refusal.errno, seen.and_then(|seen| seen.owner)) {
        (Errno::PERM, Some(owner)) if owner != port && has_net_admin() => {
            failed(format!("table inet {TABLE} belongs to another process that lives (netlink port {owner}); stop it"))
        }
        (Errno::NOENT, _) if matches!(refusal.label, Label::Chain(_) | Label::Rule(..)) => ApplyError {
            kind: ApplyErrorKind::Unsupported,
            message: format!("the kernel lacks what {subject} needs (a module nft_*)"),
        },
        _ => refused(refusal.errno, &subject),
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
        Errno::OPNOTSUPP if matches!(subject, "the rule set" | "listing of tables") => {
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
        let form = Form { removal: Removal::Destroy, owned: true };
        let again = learn(&mut known, &mut ruleset, &Refusal { label, errno }, &form);
        (again, known, ruleset)
    }

    #[test]
    fn an_old_kernel_is_learnt_step_by_step() {
        let (again, known, _) = told(Label::Removal, Errno::INVAL);
        assert!(again && !known.destroy && known.persist, "before 6.3");
        let (again, known, _) = told(Label::Table, Errno::OPNOTSUPP);
        assert!(again && !known.persist && known.destroy, "before 6.9");
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
    fn what_teaches_nothing_is_not_tried_again() {
        assert!(!told(Label::Removal, Errno::PERM).0);
        assert!(!told(Label::Chain(0), Errno::NOENT).0);
        assert!(!told(Label::Rule(1, 0), Errno::INVAL).0);
        assert!(told(Label::Batch, Errno::INTR).0);
    }

    #[test]
    fn a_transaction_asks_for_one_answer_and_labels_every_message() {
        use crate::source::nfnetlink::messages;
        let encoded = encode(&fast(), &Form { removal: Removal::Destroy, owned: true });
        let read: Vec<_> = messages(&encoded.bytes).collect();
        assert_eq!(read.len(), encoded.labels.len());
        assert!(read.iter().zip(1..).all(|(message, number)| message.sequence == number));
        let asking: Vec<usize> = (0..read.len()).filter(|index| read[*index].flags & 4 != 0).collect();
        assert_eq!(asking, [read.len() - 2]);
        assert_eq!(encoded.labels[1..4], [Label::Removal, Label::Table, Label::FlowTable]);
        let rules = encoded.labels.iter().filter(|label| matches!(label, Label::Rule(..))).count();
        assert_eq!(rules, fast().len() + 2, "the set of ICMPv6 types and its elements belong to a rule");
    }
}
