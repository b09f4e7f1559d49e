//! Translation at work: a device, an address, programs, a route. All of it ends when the session is
//! dropped.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bramblegate_api::clat::Mode;
use bramblegate_clat::Translator;
use bramblegate_netlink::packet::address::AddressFlags;
use rustix::io::Errno;

use crate::kernel::{Attach, Programs, Settings};
use crate::network::{Address, METRIC, Network};
use crate::plan::{Base, Plan, TRIES, is_own, next_hop, own_address};
use crate::refusal::Refusal;
use crate::sysctl::Sysctls;
use crate::tun::Tun;
use crate::worker::Worker;

/// The IPv4 address of the head behind the translator (RFC 7335).
pub const CLAT4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// How much longer a header of IPv6 is, in octets.
const LONGER: u32 = 20;
/// How long the kernel may take to look for a duplicate: a second at most before, one to wait
/// (RFC 4862, sections 5.4.2 and 5.4.5), and some more.
const DAD: Duration = Duration::from_secs(5);

/// Holds what is the same for all sessions of a process.
#[derive(Debug, Clone)]
pub struct Ways {
    pub device: String,
    pub attach: Option<Attach>,
    pub object: Option<PathBuf>,
    /// Where settings of the kernel that are changed are written down.
    pub record: Option<PathBuf>,
}

/// Translation at work.
#[derive(Debug)]
pub struct Session {
    pub plan: Plan,
    pub address: Ipv6Addr,
    pub mode: Mode,
    /// Why without BPF, where it was to be tried.
    pub refusal: Option<Refusal>,
    pub attach: Option<Attach>,
    // In the order in which they end: no program without its settings, no address without a program.
    programs: Option<Programs>,
    _worker: Worker,
    claim: Claim,
    _sysctls: Option<Sysctls>,
}

impl Session {
    /// Begins. Addresses of `taken` are not tried: other hosts have them.
    ///
    /// # Errors
    /// What is in the way; nothing is left behind then.
    pub fn start(plan: Plan, ways: &Ways, taken: &mut Vec<Ipv6Addr>) -> Result<Self, Refusal> {
        let mut network = Network::open().map_err(|error| error.to_string())?;
        // First of all: the kernel looks for duplicates of it while everything else is made ready.
        let mut claim = Claim::new(&mut network, &plan, ways.record.as_deref(), taken)?;
        let device = &ways.device;
        let tun = Tun::open(device).map_err(|error| format!("{device}: {error}"))?;
        let link = network.link(device).map_err(|error| format!("{device}: {error}"))?;
        let index = link.ok_or_else(|| format!("{device} is not there"))?.index;
        let refused = |error| format!("{device}: {error}");
        network.prepare(index, plan.mtu.into()).map_err(refused)?;
        let translator = Translator {
            clat4: CLAT4,
            clat6: claim.address,
            prefix: plan.order.prefix,
            mtu: plan.mtu,
            ..Translator::default()
        };
        let (programs, refusal) = load(&plan, ways, &translator, index)?;
        claim.wait(&mut network, programs.is_some(), taken)?;
        let mut sysctls = None;
        if programs.is_none() {
            let led = claim.lead_to(&mut network, &plan, index, ways.record.as_deref());
            sysctls = Some(led.map_err(|reason| besides(reason, refusal.clone()))?);
        }
        let worker = Worker::start(tun, translator).map_err(|error| error.to_string())?;
        network.add_v4(index, CLAT4).map_err(refused)?;
        network
            .add_default(index, CLAT4, u32::from(plan.mtu) - LONGER)
            .map_err(|error| format!("{device}: no default route of metric {METRIC}: {error}"))?;
        Ok(Self {
            plan,
            address: claim.address,
            mode: if programs.is_some() { Mode::Bpf } else { Mode::Tun },
            refusal,
            attach: programs.as_ref().map(|programs| programs.attach),
            programs,
            _worker: worker,
            claim,
            _sysctls: sysctls,
        })
    }

    /// Returns whether the uplink has lost the address, as which it has `held`: another host has it,
    /// as the kernel found, or another program took it away.
    pub fn has_lost(&self, held: Option<Address>) -> bool {
        self.claim.added && held.is_none_or(|held| held.is_duplicate())
    }

    /// Returns whether the head itself uses the address too.
    pub fn is_shared(&self) -> bool {
        matches!(self.plan.base, Base::Shared(_))
    }

    /// Leads what BPF translates to the router behind which the NAT64 lies.
    ///
    /// # Errors
    /// The kernel does not list its routes, or takes no settings.
    pub fn lead(&mut self, network: &mut Network) -> Result<(), String> {
        let Some(programs) = &mut self.programs else { return Ok(()) };
        let routes = network.routes().map_err(|error| error.to_string())?;
        let prefix = &self.plan.order.prefix;
        programs.lead(next_hop(&routes, self.plan.uplink.index, prefix))
    }

    /// Returns what becomes readable when the session has broken, for example with its device.
    pub fn ended(&self) -> impl AsFd + '_ {
        self._worker.ended()
    }
}

/// Loads the programs, unless the mode rules that out; returns why not, where that is no error.
fn load(
    plan: &Plan,
    ways: &Ways,
    translator: &Translator,
    device: u32,
) -> Result<(Option<Programs>, Option<Refusal>), Refusal> {
    let mode = plan.order.mode;
    if mode == Mode::Tun {
        return Ok((None, None));
    }
    let settings = Settings {
        prefix: translator.prefix,
        clat4: translator.clat4,
        clat6: translator.clat6,
        shared: matches!(plan.base, Base::Shared(_)),
        only_global: translator.only_global,
        uplink: plan.uplink.index,
        device,
        mtu: plan.mtu,
        next_hop: None,
    };
    let uplink = &plan.order.uplink;
    let started = if plan.uplink.ethernet {
        let object = ways.object.as_deref();
        Programs::start(settings, &ways.device, uplink, ways.attach, object)
    } else {
        Err(format!("{uplink} is not Ethernet or Wi-Fi").into())
    };
    match started {
        Ok(programs) => Ok((Some(programs), None)),
        Err(refusal) if mode == Mode::Auto => Ok((None, Some(refusal))),
        Err(refusal) => Err(refusal.preceded_by("BPF: ")),
    }
}

/// Returns why it does not go without BPF, and why not with it, where that was tried.
fn besides(reason: String, refusal: Option<Refusal>) -> Refusal {
    match refusal {
        Some(refusal) => refusal.preceded_by(&format!("{reason}; BPF: ")),
        None => reason.into(),
    }
}

/// The IPv6 address, as long as it is held.
#[derive(Debug)]
struct Claim {
    address: Ipv6Addr,
    uplink: u32,
    /// It was made of the venue's /64.
    made: bool,
    /// It was added to the uplink.
    added: bool,
    /// It is answered for at the uplink.
    proxied: bool,
}

impl Claim {
    /// Takes an address, of which the kernel begins to look for duplicates.
    fn new(
        network: &mut Network,
        plan: &Plan,
        record: Option<&Path>,
        taken: &[Ipv6Addr],
    ) -> Result<Self, String> {
        let uplink = plan.uplink.index;
        let (address, made) = match plan.base {
            Base::Shared(address) => {
                return Ok(Self { address, uplink, made: false, added: false, proxied: false });
            }
            Base::Given(address) => (address, false),
            Base::Network(prefix) => {
                let secret = secret();
                let mut all = (0..TRIES).map(|attempt| own_address(prefix, &secret, attempt));
                let free = all.find(|address| !taken.contains(address));
                (free.ok_or("other hosts of the venue have all addresses that were tried")?, true)
            }
        };
        // One that was made is a duplicate so seldom that packets need not wait for the answer
        // (RFC 4429, section 3.1).
        let optimistic = made.then(|| Sysctls::optimistic(&plan.order.uplink, record));
        match network.add_v6(uplink, address, optimistic.is_some()) {
            // Left by a process that was killed.
            Err(error) if error.errno() == Some(Errno::EXIST) => {}
            other => other.map_err(|error| format!("{address}: {error}"))?,
        }
        Ok(Self { address, uplink, made, added: true, proxied: false })
    }

    /// Waits until the address may be used: at once where the kernel answers for it before it knows
    /// that no other host has it, and `optimistic` use is enough.
    ///
    /// # Errors
    /// Another host has it, which then stands in `taken` too.
    fn wait(
        &self,
        network: &mut Network,
        optimistic: bool,
        taken: &mut Vec<Ipv6Addr>,
    ) -> Result<(), String> {
        let patience = Instant::now() + DAD;
        if !self.added {
            return Ok(());
        }
        loop {
            let all = network.addresses(self.uplink).map_err(|error| error.to_string())?;
            let Some(held) = all.iter().find(|one| one.address == self.address) else {
                return Err(format!("{} is gone again", self.address));
            };
            if held.is_duplicate() {
                taken.extend(self.made.then_some(self.address));
                return Err(format!("another host of the venue has {}", self.address));
            }
            let enough = optimistic && held.flags.contains(AddressFlags::Optimistic);
            if enough || !held.flags.contains(AddressFlags::Tentative) {
                return Ok(());
            }
            if Instant::now() > patience {
                let seconds = DAD.as_secs();
                return Err(format!("{} did not become usable in {seconds} s", self.address));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Leads what comes for the address to the TUN device, without BPF: the kernel forwards it there
    /// and answers for it, as it would for a node.
    fn lead_to(
        &mut self,
        network: &mut Network,
        plan: &Plan,
        device: u32,
        record: Option<&Path>,
    ) -> Result<Sysctls, String> {
        if !self.added {
            return Err(format!(
                "{} is the only address that the venue gives, and sharing it takes BPF",
                self.address
            ));
        }
        let sysctls = Sysctls::forward(&plan.order.uplink, record).map_err(|e| e.to_string())?;
        let refused = |error| format!("{}: {error}", self.address);
        network.delete_v6(self.uplink, self.address).map_err(refused)?;
        self.added = false;
        network.add_route(device, self.address).map_err(refused)?;
        network.set_proxy(self.uplink, self.address, true).map_err(refused)?;
        self.proxied = true;
        Ok(sysctls)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Ok(mut network) = Network::open() else { return };
        // The uplink may be gone, and all of it with it.
        if self.added {
            let _ = network.delete_v6(self.uplink, self.address);
        }
        if self.proxied {
            let _ = network.set_proxy(self.uplink, self.address, false);
        }
    }
}

/// Takes away addresses that a process left which was killed, but for the one that is `held`. Where
/// the order or the venue has changed since, no session would.
pub fn remove_left_over(network: &mut Network, held: Option<Ipv6Addr>) {
    let (secret, all) = (secret(), network.all_addresses().unwrap_or_default());
    let is_left = |address: &Address| Some(address.address) != held && is_own(address, &secret);
    for (index, left) in all.iter().filter(|(_, address)| is_left(address)) {
        if network.delete_v6(*index, left.address).is_ok() {
            eprintln!("bramblegate-clat: {} was left over, and is removed", left.address);
        }
    }
}

/// Returns what is known on this machine alone (machine-id(5)).
fn secret() -> String {
    fs::read_to_string("/etc/machine-id").unwrap_or_default()
}
