//! Boot ROMs and loaders, each with its options: what the real server offers to which, and when.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result};

use super::client::{ask_within, inside};
use super::scene::{PLAIN, alert, ensure, reload, until};
use super::service::serving;
use crate::dhcp::{
    ARCHITECTURE, Answer, BOOT_FILE, DISCOVER, USER_CLASS, VENDOR_CLASS, WANTED, message,
};

/// Encapsulated options of iPXE (`IPXE_ENCAP`), and those of RFC 4578: interface and machine
/// identifier.
const IPXE_FEATURES: u8 = 175;
const INTERFACE: u8 = 94;
const MACHINE: u8 = 97;

/// The first three bytes of hardware addresses: a Raspberry Pi 1 to 3, a 4, a 5, other hardware.
const PI_3: [u8; 3] = [0xb8, 0x27, 0xeb];
const PI_4: [u8; 3] = [0xdc, 0xa6, 0x32];
const PI_5: [u8; 3] = [0x2c, 0xcf, 0x67];
const PC: [u8; 3] = [0x52, 0x54, 0x00];

/// A client that requests its boot file.
struct Kind {
    name: &'static str,
    vendor: [u8; 3],
    class: &'static str,
    architecture: Option<u8>,
    /// Option 97 after its first byte.
    machine: &'static [u8; 4],
    ipxe: Ipxe,
    /// The offered file; empty for none.
    file: &'static str,
    delayed: bool,
}

/// How a client identifies itself as iPXE.
#[derive(Clone, Copy, PartialEq)]
enum Ipxe {
    No,
    /// By its user class (RFC 3004) as counted strings, as plain text, or by option 175.
    Counted,
    Plain,
    Features,
}

const ROM: &str = "PXEClient:Arch:00000:UNDI:002001";
const SCRIPT: &str = "http://192.168.50.1/boot.ipxe";

const fn kind(
    name: &'static str,
    vendor: [u8; 3],
    class: &'static str,
    file: &'static str,
) -> Kind {
    Kind {
        name,
        vendor,
        class,
        architecture: None,
        machine: &[1, 2, 3, 4],
        ipxe: Ipxe::No,
        file,
        delayed: false,
    }
}

/// Every kind of client that boots from, or only uses DHCP on, such a network. Architectures: RFC
/// 4578 2.1 and IANA's list.
fn kinds() -> [Kind; 20] {
    let arch = |architecture| Some(architecture);
    let serial = &[0x44, 0x33, 0x22, 0x11];
    [
        Kind {
            architecture: arch(0),
            machine: serial,
            delayed: true,
            ..kind("Pi 3's ROM", PI_3, ROM, "bootcode.bin")
        },
        Kind {
            architecture: arch(0),
            machine: b"RPi4",
            ..kind("Pi 4's EEPROM", PI_4, ROM, "bootcode.bin")
        },
        Kind {
            architecture: arch(0),
            machine: b"RPi5",
            ..kind("Pi 5's EEPROM", PI_5, ROM, "bootcode.bin")
        },
        Kind {
            architecture: arch(0),
            machine: b"RPi5",
            ..kind("module of a maker", PC, ROM, "bootcode.bin")
        },
        Kind { architecture: arch(0), ..kind("PC with a BIOS", PC, ROM, "undionly.kpxe") },
        Kind {
            architecture: arch(7),
            ..kind("PC with UEFI", PC, "PXEClient:Arch:00007:UNDI:003016", "grubx64.efi")
        },
        Kind {
            architecture: arch(9),
            ..kind("PC, byte code", PC, "PXEClient:Arch:00009:UNDI:003016", "grubx64.efi")
        },
        Kind { architecture: arch(11), ..kind("ARM", PC, "PXEClient:Arch:00011:UNDI:003016", "") },
        Kind {
            architecture: arch(11),
            ..kind("Pi 4 with UEFI", PI_4, "PXEClient:Arch:00011:UNDI:003000", "")
        },
        Kind {
            architecture: arch(16),
            ..kind("PC by HTTP", PC, "HTTPClient:Arch:00016:UNDI:003001", "")
        },
        Kind {
            architecture: arch(19),
            ..kind(
                "ARM by HTTP",
                PC,
                "HTTPClient:Arch:00019:UNDI:003001",
                "http://192.168.50.1/grubaa64.efi",
            )
        },
        Kind { architecture: arch(0), ipxe: Ipxe::Counted, ..kind("iPXE", PC, ROM, SCRIPT) },
        Kind { architecture: arch(0), ipxe: Ipxe::Plain, ..kind("iPXE, plain", PC, ROM, SCRIPT) },
        Kind {
            architecture: arch(0),
            ipxe: Ipxe::Features,
            ..kind("iPXE without a class", PC, ROM, SCRIPT)
        },
        Kind {
            architecture: arch(7),
            ipxe: Ipxe::Counted,
            ..kind("iPXE on UEFI", PC, "PXEClient:Arch:00007:UNDI:003010", SCRIPT)
        },
        Kind {
            architecture: arch(11),
            ipxe: Ipxe::Counted,
            ..kind("iPXE on a Pi 4", PI_4, "PXEClient:Arch:00011:UNDI:003010", SCRIPT)
        },
        Kind { architecture: arch(21), ..kind("U-Boot on a Pi 2", PI_3, "U-Boot.armv7", "") },
        Kind {
            architecture: arch(22),
            machine: b"RPi4",
            ..kind("U-Boot on a Pi 4", PI_4, "U-Boot.armv8", "")
        },
        kind("U-Boot without an architecture", PI_3, "U-Boot.arm", ""),
        kind("dhcpcd", PI_3, "dhcpcd-9.4.1:Linux-6.1.21-v7+:armv7l:BCM2835", ""),
    ]
}

impl Kind {
    fn discover(&self, number: u8) -> Vec<u8> {
        let [a, b, c] = self.vendor;
        let machine = [&[0][..], &self.machine.repeat(4)].concat();
        let wanted =
            [1, 3, 12, 43, VENDOR_CLASS, 66, BOOT_FILE, 128, 129, 130, 131, 132, 133, 134, 135];
        let architecture = [0, self.architecture.unwrap_or(0)];
        let features: &[u8] = &[0xb1, 5, 1, 0x80, 0x86, 0x10, 0x0e, 0xeb, 3, 1, 0, 0, 0x17, 1, 1];
        let mut options: Vec<(u8, &[u8])> =
            vec![(VENDOR_CLASS, self.class.as_bytes()), (WANTED, &wanted)];
        if self.architecture.is_some() {
            options.extend([
                (ARCHITECTURE, &architecture[..]),
                (INTERFACE, &[1, 2, 1]),
                (MACHINE, &machine),
            ]);
        }
        match self.ipxe {
            Ipxe::No => {}
            Ipxe::Counted => {
                options.extend([(USER_CLASS, &b"\x04iPXE"[..]), (IPXE_FEATURES, features)])
            }
            Ipxe::Plain => options.push((USER_CLASS, b"iPXE")),
            Ipxe::Features => options.push((IPXE_FEATURES, features)),
        }
        message(DISCOVER, [a, b, c, 0x77, 0, number], Ipv4Addr::UNSPECIFIED, &options)
    }

    fn offer(&self, number: u8) -> Result<(Answer, Duration)> {
        let begin = Instant::now();
        let answer = ask_within("rpi3", self.discover(number), Duration::from_secs(4))?;
        let answer = answer.ok_or_else(|| Error(format!("{}: no offer", self.name)))?;
        Ok((answer, begin.elapsed()))
    }
}

/// Sends all requests at once, by one socket; returns the time of each answer, by the last byte of
/// the hardware address.
fn at_once(questions: Vec<Vec<u8>>) -> Result<Vec<(u8, Duration)>> {
    must("rpi3", "ip route replace 255.255.255.255 dev eth0")?;
    inside("rpi3", move || {
        let socket = UdpSocket::bind("0.0.0.0:68")?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        let (begin, mut answers) = (Instant::now(), Vec::new());
        for question in &questions {
            socket.send_to(question, "255.255.255.255:67")?;
        }
        while answers.len() < questions.len() {
            let mut buffer = [0; 1500];
            match socket.recv(&mut buffer) {
                Ok(_) => answers.push((buffer[33], begin.elapsed())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    })
}

/// Returns the file of an offer: from its option, else from the field.
fn file(answer: &Answer) -> String {
    let text = answer
        .option(BOOT_FILE)
        .map(|file| String::from_utf8_lossy(file).trim_end_matches('\0').to_owned());
    text.unwrap_or_else(|| answer.file.clone())
}

const SETTINGS: &str = "bios = \"undionly.kpxe\"\nuefi_x86 = \"grubx64.efi\"\n\
                        uefi_arm64 = \"http://192.168.50.1/grubaa64.efi\"\n";

fn boot_folder() -> PathBuf {
    std::env::temp_dir().join(format!("bramblegate-loaders-{}", std::process::id()))
}

/// Makes the empty folder of boot files; returns the settings that name it.
fn settings(more: &str) -> String {
    // Before the world has its own /run. If it cannot be made, an alert reports it, and the story
    // fails.
    let _ = std::fs::create_dir_all(boot_folder());
    format!(
        "[cluster.dhcp]\n[cluster.netboot]\nroot = \"{}\"\n{SETTINGS}{more}",
        boot_folder().display()
    )
}

pub fn each_client_is_offered_what_it_can_start() -> Result<()> {
    serving(PLAIN, &settings(&format!("ipxe = \"{SCRIPT}\"\n")), |world| {
        let mut wrong = Vec::new();
        for (number, kind) in (1..).zip(kinds()) {
            let (answer, took) = kind.offer(number)?;
            let menu = answer
                .option(43)
                .is_some_and(|menu| String::from_utf8_lossy(menu).contains("Raspberry Pi Boot"));
            let http = answer.option(VENDOR_CLASS) == Some(b"HTTPClient");
            let seen = (file(&answer), menu, http);
            let right =
                (kind.file.to_owned(), kind.file == "bootcode.bin", kind.name == "ARM by HTTP");
            println!("{}: {seen:?} after {took:?}", kind.name);
            if seen != right {
                wrong.push(format!("{}: {seen:?}, not {right:?}", kind.name));
            }
            // The maker's advice for the ROM of a Pi 3: 1 to 2 s (raspberrypi/firmware#934).
            let prompt = if kind.delayed {
                (Duration::from_millis(990)..Duration::from_millis(2200)).contains(&took)
            } else {
                took < Duration::from_millis(900)
            };
            if !prompt {
                wrong.push(format!("{}: after {took:?}", kind.name));
            }
        }
        ensure(&wrong.join("\n"), wrong.is_empty())?;
        // Boards that come together wait together, and one that comes meanwhile waits no longer
        // than they.
        let kinds = kinds();
        let (pi, pc) = (&kinds[0], &kinds[5]);
        let crowd: Vec<Vec<u8>> =
            (41..=48).map(|number| pi.discover(number)).chain([pc.discover(49)]).collect();
        let answers = at_once(crowd)?;
        println!("a crowd: {answers:?}");
        let late = answers.iter().any(|(_, took)| *took > Duration::from_millis(2300));
        ensure(
            &format!("all are answered within two seconds: {answers:?}"),
            answers.len() == 9 && !late,
        )?;
        let amiss = alert(world, "gateway-netboot");
        let _ = std::fs::remove_dir(boot_folder());
        ensure(&format!("nothing is amiss: {amiss:?}"), amiss.is_none())?;
        // Without the key, iPXE gets what is not iPXE, and never itself again.
        reload(world, &settings(""))?;
        let of = |name: &str, number| -> Result<String> {
            let kind = kinds.iter().find(|kind| kind.name == name);
            let kind = kind.ok_or_else(|| Error(format!("no {name}")))?;
            Ok(file(&kind.offer(number)?.0))
        };
        until("iPXE is not sent to itself", || of("iPXE", 12).is_ok_and(|file| file.is_empty()))?;
        ensure("but on", of("iPXE on UEFI", 15)? == "grubx64.efi")?;
        ensure("a BIOS still loads it", of("PC with a BIOS", 5)? == "undionly.kpxe")?;
        until("it is reported", || {
            alert(world, "gateway-netboot")
                .is_some_and(|text| text.contains("cluster.netboot.ipxe"))
        })
        .map(drop)
    })
}
