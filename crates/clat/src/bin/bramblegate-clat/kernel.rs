//! The BPF programs of `crates/clat/bpf`: loaded, given their settings, attached.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use aya::maps::Array;
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact, qdisc_detach_program};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use bramblegate_clat::Prefix;

use crate::refusal::{Refusal, chain};

/// Made of clat.bpf.c by build.sh beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/clat.bpf.o");

/// Octets of `struct settings`.
const SETTINGS: usize = 80;
const SHARED: u32 = 1;
const ONLY_GLOBAL: u32 = 2;
const LED: u32 = 4;
/// `AF_INET6`
const INET6: u32 = 10;

/// Holds what the programs go by: `struct settings` of clat.bpf.c.
#[derive(Debug, Clone)]
pub struct Settings {
    pub prefix: Prefix,
    pub clat4: Ipv4Addr,
    pub clat6: Ipv6Addr,
    /// The address is the head's own as well.
    pub shared: bool,
    pub only_global: bool,
    pub uplink: u32,
    pub device: u32,
    pub mtu: u16,
    /// The router behind which the whole prefix lies; `None`: the kernel looks at its routes.
    pub next_hop: Option<Ipv6Addr>,
}

impl Settings {
    fn to_bytes(&self) -> [u8; SETTINGS] {
        let prefix = self.prefix.address().to_bits();
        let halves = [(prefix >> 64) as u64, prefix as u64].map(u64::to_ne_bytes);
        let only_global = self.only_global && self.prefix == Prefix::WELL_KNOWN;
        let all =
            [(self.shared, SHARED), (only_global, ONLY_GLOBAL), (self.next_hop.is_some(), LED)];
        let flags = all.iter().filter(|(is_so, _)| *is_so).fold(0, |flags, (_, flag)| flags | flag);
        let next_hop = self.next_hop.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
        let numbers = [
            u32::from_ne_bytes(self.clat4.octets()),
            self.prefix.length().into(),
            self.uplink,
            self.device,
            self.mtu.into(),
            flags,
            INET6,
        ]
        .map(u32::to_ne_bytes);
        let parts =
            [halves.as_flattened(), &self.clat6.octets(), numbers.as_flattened(), &next_hop];
        let mut bytes = [0; SETTINGS];
        bytes.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
        bytes
    }
}

/// Names how programs are attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Attach {
    /// Links of the kernel, which end with their process (since 6.6)
    Tcx,
    /// Filters of the qdisc clsact
    Clsact,
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Tcx { "tcx" } else { "clsact" })
    }
}

/// The programs at work; they are detached when this is dropped.
#[derive(Debug)]
pub struct Programs {
    loaded: Ebpf,
    settings: Settings,
    pub attach: Attach,
}

impl Programs {
    /// Loads and attaches: by tcx, or where the kernel does not know that by clsact. `object` is
    /// tried instead of the one that is built in.
    ///
    /// # Errors
    /// What the kernel refused and why.
    pub fn start(
        settings: Settings,
        device: &str,
        uplink: &str,
        attach: Option<Attach>,
        object: Option<&Path>,
    ) -> Result<Self, Refusal> {
        let read = object.map(std::fs::read).transpose().map_err(|error| error.to_string())?;
        // The object needs none of the kernel's types, of which there are some megabytes to read.
        let mut loader = EbpfLoader::new();
        let mut loaded = loader.btf(None).load(read.as_deref().unwrap_or(OBJECT)).map_err(chain)?;
        write(&mut loaded, &settings)?;
        // The uplink last: nothing is sent to a device that does not translate yet.
        let places = [
            ("clat_returned", device, TcAttachType::Ingress),
            ("clat_outward", device, TcAttachType::Egress),
            ("clat_inward", uplink, TcAttachType::Ingress),
        ];
        remove_left_over(uplink);
        let mut used = attach;
        for (name, interface, side) in places {
            let program = loaded.program_mut(name).ok_or_else(|| lacks(name))?;
            let program: &mut SchedClassifier = program.try_into().map_err(chain)?;
            program.load().map_err(|error| refused(name, error))?;
            used = Some(attach_at(program, interface, side, used)?);
        }
        Ok(Self { loaded, settings, attach: used.unwrap_or(Attach::Tcx) })
    }

    /// Leads packets to a router; `None`: as the kernel's routes have it.
    ///
    /// # Errors
    /// The kernel does not take the settings; then those of before may hold.
    pub fn lead(&mut self, next_hop: Option<Ipv6Addr>) -> Result<(), String> {
        if self.settings.next_hop == next_hop {
            return Ok(());
        }
        // Programs read while this writes: none is to meet a half of either router's address.
        for next_hop in [None, next_hop] {
            write(&mut self.loaded, &Settings { next_hop, ..self.settings.clone() })?;
        }
        self.settings.next_hop = next_hop;
        Ok(())
    }
}

/// Gives the programs their settings.
fn write(loaded: &mut Ebpf, settings: &Settings) -> Result<(), String> {
    let map = loaded.map_mut("SETTINGS").ok_or_else(|| lacks("SETTINGS"))?;
    let mut map: Array<_, [u8; SETTINGS]> = Array::try_from(map).map_err(chain)?;
    map.set(0, settings.to_bytes(), 0).map_err(chain)
}

/// Takes away filters of a process that was killed: unlike links they outlive it.
fn remove_left_over(uplink: &str) {
    // That there are none is the rule.
    let _ = qdisc_detach_program(uplink, TcAttachType::Ingress, "clat_inward");
}

fn attach_at(
    program: &mut SchedClassifier,
    interface: &str,
    side: TcAttachType,
    attach: Option<Attach>,
) -> Result<Attach, String> {
    if attach != Some(Attach::Clsact) {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        match program.attach_with_options(interface, side, options) {
            Ok(_) => return Ok(Attach::Tcx),
            Err(error) if attach.is_some() => return Err(format!("{interface}: {}", chain(error))),
            // A kernel before 6.6, or without CONFIG_NET_XGRESS.
            Err(_) => {}
        }
    }
    match qdisc_add_clsact(interface) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(format!("{interface}: clsact: {error}"));
        }
        _ => {}
    }
    let options = TcAttachOptions::Netlink(NlOptions::default());
    program
        .attach_with_options(interface, side, options)
        .map_err(|error| format!("{interface}: {}", chain(error)))?;
    Ok(Attach::Clsact)
}

fn lacks(name: &str) -> String {
    format!("the object lacks {name}")
}

/// Returns why the kernel did not load a program, with what its verifier found.
fn refused(name: &str, error: ProgramError) -> Refusal {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            Refusal::by_verifier(name, &io_error, &verifier_log.to_string())
        }
        other => format!("{name}: {}", chain(other)).into(),
    }
}
