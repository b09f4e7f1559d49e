//! Loads, configures and attaches the BPF programs of `crates/clat/bpf`.

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

/// Built from clat.bpf.c by build.sh beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/clat.bpf.o");

/// The size of `struct settings`, in octets, and its flags.
const SETTINGS: usize = 80;
const SHARED: u32 = 1;
const ONLY_GLOBAL: u32 = 2;
const LED: u32 = 4;
/// `AF_INET6`
const INET6: u32 = 10;

/// The programs' configuration: `struct settings` of clat.bpf.c.
#[derive(Debug, Clone)]
pub struct Settings {
    pub prefix: Prefix,
    pub clat4: Ipv4Addr,
    pub clat6: Ipv6Addr,
    /// The head itself uses the address too.
    pub shared: bool,
    pub only_global: bool,
    pub uplink: u32,
    pub device: u32,
    pub mtu: u16,
    /// The router for the whole prefix; `None`: the kernel looks up its routes for each packet.
    pub next_hop: Option<Ipv6Addr>,
}

impl Settings {
    fn to_bytes(&self) -> [u8; SETTINGS] {
        let prefix = self.prefix.address().to_bits();
        let halves = [(prefix >> 64) as u64, prefix as u64].map(u64::to_ne_bytes);
        let only_global = self.only_global && self.prefix == Prefix::WELL_KNOWN;
        let all =
            [(self.shared, SHARED), (only_global, ONLY_GLOBAL), (self.next_hop.is_some(), LED)];
        let flags = all.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag);
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

/// How programs are attached to an interface.
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

/// The attached programs; dropping this detaches them.
#[derive(Debug)]
pub struct Programs {
    loaded: Ebpf,
    settings: Settings,
    pub attach: Attach,
}

impl Programs {
    /// Loads and attaches the programs, by tcx, or by clsact where the kernel lacks tcx, unless
    /// `attach` fixes it. `object` replaces the built-in BPF object.
    ///
    /// # Errors
    /// The kernel refused a program, with the reason.
    pub fn start(
        settings: Settings,
        device: &str,
        uplink: &str,
        attach: Option<Attach>,
        object: Option<&Path>,
    ) -> Result<Self, Refusal> {
        let read = object.map(std::fs::read).transpose().map_err(|error| error.to_string())?;
        // The object needs no kernel types, so spare parsing some megabytes of BTF.
        let mut loader = EbpfLoader::new();
        let mut loaded = loader.btf(None).load(read.as_deref().unwrap_or(OBJECT)).map_err(chain)?;
        write(&mut loaded, &settings)?;
        // The uplink last, so that no packet goes to a device that does not translate yet.
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

    /// Sets the router to send packets to; `None`: the kernel looks up its routes for each packet.
    ///
    /// # Errors
    /// The kernel refuses the settings; the previous ones may still apply.
    pub fn set_next_hop(&mut self, next_hop: Option<Ipv6Addr>) -> Result<(), String> {
        if self.settings.next_hop == next_hop {
            return Ok(());
        }
        // Programs read concurrently: clear the flag first, so that none sees a half-written
        // address.
        for next_hop in [None, next_hop] {
            write(&mut self.loaded, &Settings { next_hop, ..self.settings.clone() })?;
        }
        self.settings.next_hop = next_hop;
        Ok(())
    }
}

/// Writes the programs' settings map.
fn write(loaded: &mut Ebpf, settings: &Settings) -> Result<(), String> {
    let map = loaded.map_mut("SETTINGS").ok_or_else(|| lacks("SETTINGS"))?;
    let mut map: Array<_, [u8; SETTINGS]> = Array::try_from(map).map_err(chain)?;
    map.set(0, settings.to_bytes(), 0).map_err(chain)
}

/// Removes filters of a killed process: unlike links, they outlive it.
fn remove_left_over(uplink: &str) {
    // Usually there are none.
    let _ = qdisc_detach_program(uplink, TcAttachType::Ingress, "clat_inward");
}

/// Attaches a program to one side of an interface; `attach` fixes how.
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
            // Fall back: the kernel is older than 6.6, or lacks CONFIG_NET_XGRESS.
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

/// Returns why the kernel did not load a program, with the verifier's log.
fn refused(name: &str, error: ProgramError) -> Refusal {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            Refusal::by_verifier(name, &io_error, &verifier_log.to_string())
        }
        other => format!("{name}: {}", chain(other)).into(),
    }
}
