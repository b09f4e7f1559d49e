//! The program `bramblegate-clat`: translates what comes out of a TUN device and puts it back in.

mod tun;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use bramblegate_clat::{DropReason, Offload, Prefix, Translator};
use clap::Parser;
use tun::Tun;

/// From which errors come that the translator sends itself to the one behind (RFC 7600, section 4.8).
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Translates between IPv4 and IPv6 at a TUN device (464XLAT, RFC 6877). Sets no address and no route.
#[derive(Debug, Parser)]
#[command(name = "bramblegate-clat", version)]
struct Args {
    /// The TUN device: one that is there, or a new one, which needs CAP_NET_ADMIN
    #[arg(long, value_name = "NAME", default_value = "clat0")]
    device: String,
    /// The IPv4 address behind the translator
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.0.1")]
    clat4: Ipv4Addr,
    /// The IPv6 address that stands for it
    #[arg(long, value_name = "ADDRESS")]
    clat6: Ipv6Addr,
    /// The venue's NAT64 prefix
    #[arg(long, value_name = "PREFIX", default_value_t = Prefix::WELL_KNOWN)]
    prefix: Prefix,
    /// The uplink's MTU, in octets
    #[arg(long, value_name = "OCTETS", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: u16,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let translator = Translator {
        clat4: args.clat4,
        clat6: args.clat6,
        prefix: args.prefix,
        mtu: args.mtu,
        ..Translator::default()
    };
    let result = Tun::open(&args.device).and_then(|tun| run(&tun, &translator));
    let Err(error) = result;
    eprintln!("bramblegate-clat: {}: {error}", args.device);
    ExitCode::from(71)
}

/// Translates without end.
fn run(tun: &Tun, translator: &Translator) -> std::io::Result<std::convert::Infallible> {
    let mut buffer = vec![0; Offload::LENGTH + usize::from(u16::MAX)];
    let mut head = Vec::with_capacity(2048);
    let mut identification: u16 = 0;
    loop {
        let length = tun.read(&mut buffer)?;
        let Some((offload, packet)) = buffer.get(..length).and_then(<[u8]>::split_first_chunk)
        else {
            continue;
        };
        let six = packet.first().is_some_and(|first| first >> 4 == 6);
        identification = identification.wrapping_add(1);
        if let Err(reason) = pass(tun, translator, offload, packet, identification, &mut head) {
            let from: IpAddr = if six { translator.clat6.into() } else { ROUTER.into() };
            if let Some(answer) = translator.answer(packet, reason, from) {
                tun.write(&Offload::default(), &answer, &[]);
            }
        }
    }
}

/// Translates one packet and sends what comes of it.
fn pass(
    tun: &Tun,
    translator: &Translator,
    offload: &[u8; Offload::LENGTH],
    packet: &[u8],
    identification: u16,
    head: &mut Vec<u8>,
) -> Result<(), DropReason> {
    let offload = Offload::from_bytes(offload)?;
    let translated = if packet.first().is_some_and(|first| first >> 4 == 6) {
        translator.to_v4(packet, offload, identification, head)?
    } else {
        translator.to_v6(packet, offload, head)?
    };
    translated.for_each(|offload, head, body| tun.write(offload, head, body))
}
