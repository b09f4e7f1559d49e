//! A translation session: device, address, BPF programs and route. Dropping the session removes all
//! of it.

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
use crate::plan::{Base, Plan, TRIES, is_generated, next_hop, stable_address};
use crate::refusal::Refusal;
use crate::sysctl::Sysctls;
use crate::tun::Tun;
use crate::worker::Worker;

/// The head's IPv4 address on the IPv4 side (RFC 7335).
pub const CLAT4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// How much longer an IPv6 header is than an IPv4 header, in octets.
const GROWTH: u32 = 20;
/// The deadline of duplicate address detection (DAD): a random delay of up to 1 s, 1 s of waiting
/// (RFC 4862, sections 5.4.2 and 5.4.5), and reserve.
const DAD: Duration = Duration::from_secs(5);

/// What is the same for all sessions of a process.
#[derive(Debug, Clone)]
pub struct Options {
    pub device: String,
    pub attach: Option<Attach>,
    pub object: Option<PathBuf>,
    /// The file that records changed sysctls.
    pub record: Option<PathBuf>,
}

/// A running translation.
#[derive(Debug)]
pub struct Session {
    pub plan: Plan,
    pub address: Ipv6Addr,
    pub mode: Mode,
    /// Why BPF is not used, where the mode allows it.
    pub refusal: Option<Refusal>,
    pub attach: Option<Attach>,
    // The order is that of dropping: the programs before the device, the address after both.
    programs: Option<Programs>,
    worker: Worker,
    claim: Claim,
    sysctls: Option<Sysctls>,
}

impl Session {
    /// Starts a session. Skips the addresses in `taken`, which other hosts have.
    ///
    /// # Errors
    /// A step failed; everything before it is undone.
    pub fn start(
        plan: Plan,
        options: &Options,
        taken: &mut Vec<Ipv6Addr>,
    ) -> Result<Self, Refusal> {
        let mut network = Network::open().map_err(|error| error.to_string())?;
        // First, so that DAD runs while the rest is prepared.
        let mut claim = Claim::new(&mut network, &plan, options.record.as_deref(), taken)?;
        let device = &options.device;
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
        let (programs, refusal) = load(&plan, options, &translator, index)?;
        claim.wait(&mut network, programs.is_some(), taken)?;
        let mut sysctls = None;
        if programs.is_none() {
            let changed = claim.forward_to(&mut network, &plan, index, options.record.as_deref());
            sysctls = Some(changed.map_err(|reason| with_refusal(reason, refusal.clone()))?);
        }
        let worker = Worker::start(tun, translator).map_err(|error| error.to_string())?;
        network.add_v4(index, CLAT4).map_err(refused)?;
        network
            .add_default(index, CLAT4, u32::from(plan.mtu) - GROWTH)
            .map_err(|error| format!("{device}: no default route of metric {METRIC}: {error}"))?;
        Ok(Self {
            plan,
            address: claim.address,
            mode: if programs.is_some() { Mode::Bpf } else { Mode::Tun },
            refusal,
            attach: programs.as_ref().map(|programs| programs.attach),
            programs,
            worker,
            claim,
            sysctls,
        })
    }

    /// Returns whether the session has lost its address: DAD failed, or another program removed it.
    /// `held` is the address as the uplink has it.
    pub fn has_lost(&self, held: Option<Address>) -> bool {
        self.claim.added && held.is_none_or(|held| held.is_duplicate())
    }

    /// Returns whether the head itself uses the address too.
    pub fn is_shared(&self) -> bool {
        matches!(self.plan.base, Base::Shared(_))
    }

    /// Sets the router for packets that BPF translates, from the current routes.
    ///
    /// # Errors
    /// The kernel does not list its routes, or refuses the settings.
    pub fn set_next_hop(&mut self, network: &mut Network) -> Result<(), String> {
        let Some(programs) = &mut self.programs else { return Ok(()) };
        let routes = network.routes().map_err(|error| error.to_string())?;
        let prefix = &self.plan.order.prefix;
        programs.set_next_hop(next_hop(&routes, self.plan.uplink.index, prefix))
    }

    /// Keeps the kernel forwarding for the TUN device.
    ///
    /// # Errors
    /// A sysctl cannot be read or changed.
    pub fn keep_forwarding(&mut self) -> Result<(), String> {
        let uplink = &self.plan.order.uplink;
        let kept = self.sysctls.as_mut().map(|sysctls| sysctls.keep_forwarding(uplink));
        kept.unwrap_or(Ok(())).map_err(|error| error.to_string())
    }

    /// Returns a file descriptor that is readable when the session has failed, for example because
    /// its device was removed.
    pub fn ended(&self) -> impl AsFd + '_ {
        self.worker.ended()
    }
}

/// Loads the BPF programs, unless the mode excludes that; returns the refusal where a TUN device
/// alone will do.
fn load(
    plan: &Plan,
    options: &Options,
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
        let object = options.object.as_deref();
        Programs::start(settings, &options.device, uplink, options.attach, object)
    } else {
        Err(format!("{uplink} is not Ethernet or Wi-Fi").into())
    };
    match started {
        Ok(programs) => Ok((Some(programs), None)),
        Err(refusal) if mode == Mode::Auto => Ok((None, Some(refusal))),
        Err(refusal) => Err(refusal.prefixed("BPF: ")),
    }
}

/// Returns why the session fails without BPF, and why BPF failed, where it was tried.
fn with_refusal(reason: String, refusal: Option<Refusal>) -> Refusal {
    match refusal {
        Some(refusal) => refusal.prefixed(&format!("{reason}; BPF: ")),
        None => reason.into(),
    }
}

/// The claimed IPv6 address; dropping this gives it up.
#[derive(Debug)]
struct Claim {
    address: Ipv6Addr,
    /// The index of the uplink.
    uplink: u32,
    /// Generated in the venue's /64.
    generated: bool,
    /// Added to the uplink.
    added: bool,
    /// Answered by the NDP proxy on the uplink.
    proxied: bool,
}

impl Claim {
    /// Claims an address, for which the kernel begins DAD.
    fn new(
        network: &mut Network,
        plan: &Plan,
        record: Option<&Path>,
        taken: &[Ipv6Addr],
    ) -> Result<Self, String> {
        let uplink = plan.uplink.index;
        let (address, generated) = match plan.base {
            Base::Shared(address) => {
                return Ok(Self {
                    address,
                    uplink,
                    generated: false,
                    added: false,
                    proxied: false,
                });
            }
            Base::Given(address) => (address, false),
            Base::Network(prefix) => {
                let secret = secret();
                let mut all = (0..TRIES).map(|attempt| stable_address(prefix, &secret, attempt));
                let free = all.find(|address| !taken.contains(address));
                (free.ok_or("other hosts of the venue have all addresses that were tried")?, true)
            }
        };
        // A generated address is so rarely a duplicate that packets need not wait for DAD (RFC
        // 4429, section 3.1).
        let optimistic = generated.then(|| Sysctls::optimistic(&plan.order.uplink, record));
        match network.add_v6(uplink, address, optimistic.is_some()) {
            // Left over from a killed process.
            Err(error) if error.errno() == Some(Errno::EXIST) => {}
            other => other.map_err(|error| format!("{address}: {error}"))?,
        }
        Ok(Self { address, uplink, generated, added: true, proxied: false })
    }

    /// Waits for the end of DAD; with `optimistic`, only until the kernel answers for the address.
    ///
    /// # Errors
    /// Another host has the address, which is then added to `taken`; or DAD did not end.
    fn wait(
        &self,
        network: &mut Network,
        optimistic: bool,
        taken: &mut Vec<Ipv6Addr>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + DAD;
        if !self.added {
            return Ok(());
        }
        loop {
            let all = network.addresses(self.uplink).map_err(|error| error.to_string())?;
            let Some(held) = all.iter().find(|held| held.address == self.address) else {
                return Err(format!("{} is gone again", self.address));
            };
            if held.is_duplicate() {
                taken.extend(self.generated.then_some(self.address));
                return Err(format!("another host of the venue has {}", self.address));
            }
            let enough = optimistic && held.flags.contains(AddressFlags::Optimistic);
            if enough || !held.flags.contains(AddressFlags::Tentative) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = DAD.as_secs();
                return Err(format!("{} did not become usable in {seconds} s", self.address));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the kernel forward packets for the address to the TUN device and answer neighbour
    /// solicitations for it, without BPF.
    fn forward_to(
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
        // Fails, harmlessly, where the uplink is gone.
        if self.added {
            let _ = network.delete_v6(self.uplink, self.address);
        }
        if self.proxied {
            let _ = network.set_proxy(self.uplink, self.address, false);
        }
    }
}

/// Removes generated addresses of a killed process, except the one that is `held`. Sessions replace
/// them only while order and venue stay the same.
pub fn remove_left_over(network: &mut Network, held: Option<Ipv6Addr>) {
    let (secret, all) = (secret(), network.all_addresses().unwrap_or_default());
    let is_left =
        |address: &Address| Some(address.address) != held && is_generated(address, &secret);
    for (index, left) in all.iter().filter(|(_, address)| is_left(address)) {
        if network.delete_v6(*index, left.address).is_ok() {
            eprintln!("bramblegate-clat: {} was left over, and is removed", left.address);
        }
    }
}

/// Returns the machine's secret (machine-id(5)).
fn secret() -> String {
    fs::read_to_string("/etc/machine-id").unwrap_or_default()
}
