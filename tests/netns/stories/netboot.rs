//! Nodes that boot from the head.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, must, spawn, within};
use bramblegate_lab::{Error, Result};

use super::client::{Client, ask, inside};
use super::inventory::succeed;
use super::remedies::command_of;
use super::scene::{PLAIN, alert, before_start, ensure, is, reload, until};
use super::service::serving;
use crate::dhcp::{ARCHITECTURE, Answer, BOOT_FILE, DISCOVER, VENDOR_CLASS, WANTED, message};

/// The request of a Raspberry Pi 3's boot ROM, from captures in raspberrypi/firmware#1265 and #871.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let serial = [0x44, 0x33, 0x22, 0x11];
    let mut bytes = vec![1, 1, 6, 0, 0x26, 0xf3, 0x03, 0x39];
    bytes.resize(28, 0);
    bytes.extend(mac);
    bytes.resize(236, 0);
    bytes.extend([
        99, 130, 83, 99, 53, 1, 1, 55, 12, 43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66,
    ]);
    bytes.extend([93, 2, 0, 0, 94, 3, 1, 2, 1, 97, 17, 0]);
    bytes.extend(serial.repeat(4));
    bytes.extend([60, 32]);
    bytes.extend(b"PXEClient:Arch:00000:UNDI:002001");
    bytes.push(255);
    bytes
}

pub fn raspberry_pi_boots() -> Result<()> {
    let root = format!("{HOME}/tftp");
    let settings =
        format!("[cluster.dhcp]\n[cluster.netboot]\nroot = \"{root}\"\nfolders = \"mac\"\n");
    before_start(PLAIN, |world| {
        for (file, text) in [
            ("bootcode.bin", "shared"),
            ("b8-27-eb-00-00-02/bootcode.bin", "of rpi2 alone"),
            ("b8-27-eb-00-00-02/start.elf", "of rpi2 alone"),
            ("11223344/start.elf", "by serial"),
        ] {
            let path = PathBuf::from(format!("{root}/{file}"));
            fs::create_dir_all(path.parent().unwrap_or(&path))
                .map_err(|error| Error(error.to_string()))?;
            fs::write(&path, text.repeat(4000)).map_err(|error| Error(error.to_string()))?;
        }
        world.set_settings(&settings);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        let log = PathBuf::from(format!("{HOME}/boot.tcpdump"));
        let mut tcpdump = within("rpi2", "tcpdump");
        let _listener =
            spawn(tcpdump.args(["-l", "-n", "-A", "-vv", "-i", "eth0", "udp port 68"]), &log)?;
        let heard = || {
            fs::read(&log)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        until("tcpdump listens", || heard().contains("listening"))?;
        let question = discover([0xb8, 0x27, 0xeb, 0, 0, 2]);
        ensure("as long as the captured one", question.len() == 320)?;
        must("rpi2", "ip -4 addr flush dev eth0; ip route add 255.255.255.255 dev eth0")?;
        inside("rpi2", move || {
            let socket = UdpSocket::bind("0.0.0.0:68")?;
            socket.set_broadcast(true)?;
            socket.send_to(&question, "255.255.255.255:67")
        })?;
        until("an offer", || heard().contains("Offer"))?;
        std::thread::sleep(Duration::from_millis(200));
        let offer = heard();
        for reported in [
            "Raspberry Pi Boot   ",
            "\"PXEClient\"",
            "BF (67)",
            "bootcode.bin",
            "TFTP (66)",
            "GUID (97)",
            "Server-IP 192.168.50.1",
        ] {
            ensure(&format!("the offer has {reported}:\n{offer}"), offer.contains(reported))?;
        }
        // As silent as a boot ROM.
        must("rpi2", "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all")?;
        must("rpi2", "ip addr add 192.168.50.12/24 dev eth0; ip link set eth0 mtu 1500")?;
        for (node, file, wanted) in [
            ("rpi2", "bootcode.bin", "of rpi2 alone"),
            ("rpi1", "bootcode.bin", "shared"),
            ("rpi1", "11223344/start.elf", "by serial"),
        ] {
            must(node, &format!("cd {HOME} && busybox tftp -g -r {file} -l loaded 192.168.50.1"))?;
            let loaded = fs::read_to_string(format!("{HOME}/loaded")).unwrap_or_default();
            ensure(&format!("{node} loads {file} whole"), loaded == wanted.repeat(4000))?;
        }
        let nodes = || succeed(world, &["nodes", "list"]);
        until("it is seen how far rpi2 has come", || {
            nodes().is_ok_and(|text| text.contains("booting b8-27-eb-00-00-02/bootcode.bin"))
        })?;
        must("rpi2", &format!("cd {HOME} && busybox tftp -g -r start.elf -l loaded 192.168.50.1"))?;
        until("and that it goes on", || {
            nodes().is_ok_and(|text| text.contains("00-00-02/start.elf"))
        })?;
        must("rpi2", "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_all")?;
        until("until it answers", || nodes().is_ok_and(|text| !text.contains("booting")))?;
        let (code, _) = exec(
            "laptop",
            &format!("cd {HOME} && busybox tftp -g -r bootcode.bin -l stolen 10.99.0.126"),
        )?;
        ensure("the venue loads nothing", code != 0)?;
        let begun = inside("rpi1", || transfers(80))?;
        ensure(&format!("80 files are loaded at a time, not {begun}"), begun == 80)
    })
}

/// Begins this many transfers at once (RFC 1350) and acknowledges none. Returns how many of them
/// the head has begun.
fn transfers(count: usize) -> std::io::Result<usize> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(700)))?;
        socket.send_to(b"\0\x01bootcode.bin\0octet\0", "192.168.50.1:69")?;
        sockets.push(socket);
    }
    let began = |socket: &UdpSocket| socket.recv(&mut [0; 600]).is_ok_and(|length| length == 516);
    Ok(sockets.iter().take_while(|socket| began(socket)).count())
}

/// A Compute Module of a maker with its own hardware addresses; and a PC in the same place.
pub fn raspberry_pi_is_known_by_its_identifier() -> Result<()> {
    serving(PLAIN, "[cluster.dhcp]\n[cluster.netboot]\n", |_| {
        must("rpi3", "ip -4 addr flush dev eth0")?;
        let menu = |identifier: &[u8; 4]| -> Result<String> {
            let identifier = [&[0], &identifier.repeat(4)[..]].concat();
            let options: [(u8, &[u8]); 4] = [
                (WANTED, &[43, VENDOR_CLASS, 66, BOOT_FILE]),
                (ARCHITECTURE, &[0, 0]),
                (97, &identifier),
                (VENDOR_CLASS, b"PXEClient:Arch:00000:UNDI:002001"),
            ];
            let answer = ask(
                "rpi3",
                message(DISCOVER, [6, 0, 0, 0, 0, 3], Ipv4Addr::UNSPECIFIED, &options),
            )?;
            let answer = answer.ok_or_else(|| Error("no offer".into()))?;
            Ok(String::from_utf8_lossy(answer.option(43).unwrap_or_default()).into_owned())
        };
        for known in [b"RPi4", b"RPi5"] {
            let menu = menu(known)?;
            ensure(
                &format!("a Raspberry Pi takes the offer: {menu:?}"),
                menu.contains("Raspberry Pi Boot   "),
            )?;
        }
        let menu = menu(b"DELL")?;
        ensure(&format!("a PC is none: {menu:?}"), !menu.contains("Raspberry"))
    })
}

/// Returns the offer to a PC or server with UEFI (RFC 4578 2.1 and IANA's list of architectures),
/// and its file.
fn offer(class: &str, architecture: u8) -> Result<(Answer, String)> {
    let class = format!("{class}:Arch:000{architecture:02}:UNDI:003016");
    // What the firmware requests: mask, router, class, server and boot file.
    let options: [(u8, &[u8]); 3] = [
        (WANTED, &[1, 3, VENDOR_CLASS, 66, BOOT_FILE]),
        (ARCHITECTURE, &[0, architecture]),
        (VENDOR_CLASS, class.as_bytes()),
    ];
    let question =
        message(DISCOVER, [2, 0, 0, 0, 0, architecture], Ipv4Addr::UNSPECIFIED, &options);
    let answer = ask("rpi1", question)?.ok_or_else(|| Error(format!("no answer to {class}")))?;
    let text = answer
        .option(BOOT_FILE)
        .map(|file| String::from_utf8_lossy(file).trim_end_matches('\0').to_owned());
    let file = text.unwrap_or_else(|| answer.file.clone());
    Ok((answer, file))
}

pub fn uefi_boots_by_tftp_or_http() -> Result<()> {
    const URL: &str = "http://192.168.50.1/grub.efi";
    let settings = |x86: &str, arm64: &str| {
        format!(
            "[cluster.dhcp]\n[cluster.netboot]\nroot = \"{HOME}\"\nuefi_x86 = \"{x86}\"\n\
             uefi_arm64 = \"{arm64}\"\n"
        )
    };
    let by_tftp = |architecture: u8, wanted: &str| -> Result<()> {
        let (answer, file) = offer("PXEClient", architecture)?;
        let head = Some(Ipv4Addr::new(192, 168, 50, 1));
        ensure(
            &format!("architecture {architecture} is sent to {wanted} on the head: {answer:?}"),
            file == wanted && answer.next_server == head,
        )
    };
    let by_http = |architecture: u8| -> Result<()> {
        let (answer, file) = offer("HTTPClient", architecture)?;
        let class = answer.option(VENDOR_CLASS) == Some(b"HTTPClient");
        ensure(
            &format!("architecture {architecture} is sent to {URL}: {answer:?}"),
            file == URL && class,
        )
    };
    serving(PLAIN, &settings("grubx64.efi", URL), |world| {
        by_tftp(7, "grubx64.efi")?;
        by_tftp(9, "grubx64.efi")?;
        by_http(19)?;
        ensure(
            "who boots by TFTP is not sent to a web server",
            offer("PXEClient", 11)?.1.is_empty(),
        )?;
        ensure("nor the other way round", offer("HTTPClient", 16)?.1.is_empty())?;
        reload(world, &settings(URL, "grubaa64.efi"))?;
        until("the other way round", || {
            offer("HTTPClient", 16).is_ok_and(|(_, file)| file == URL)
        })?;
        by_http(16)?;
        by_tftp(11, "grubaa64.efi")
    })
}

pub fn nodes_get_a_time_server() -> Result<()> {
    before_start(PLAIN, |world| {
        // An open port, but no server answers on it.
        let _silent = spawn(
            within("head", "nc").args(["-k", "-l", "-u", "123"]),
            &PathBuf::from(format!("{HOME}/silent.log")),
        )?;
        until("it has the port", || {
            must("head", "ss -lun").is_ok_and(|text| text.contains("0.0.0.0:123"))
        })?;
        world.set_settings("[cluster.dhcp]\n");
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        std::thread::sleep(Duration::from_secs(1));
        let client = Client::udhcpc("rpi2", "worker")?;
        client.wait()?;
        let reported = |server: &str| {
            client.lease().is_some_and(|lease| lease.contains(&format!("ntp={server} ")))
        };
        let lease = client.lease();
        ensure(&format!("an open port is no server: {lease:?}"), !reported("192.168.50.1"))?;
        for server in ["10.99.0.1", "192.168.50.1"] {
            reload(world, &format!("[cluster.dhcp]\nntp = \"{server}\"\n"))?;
            until("option 42 is what the settings say, at the next renewal", || {
                let _ = client.running.signal("USR1");
                std::thread::sleep(Duration::from_millis(200));
                reported(server)
            })?;
        }
        Ok(())
    })
}

/// A file readable by root only, and a folder, for a gateway that runs as another user.
pub fn closed_boot_files_are_an_alert() -> Result<()> {
    let settings =
        |folder: &str| format!("[cluster.dhcp]\n[cluster.netboot]\nroot = \"{HOME}/{folder}\"\n");
    before_start(PLAIN, |world| {
        must(
            "head",
            &format!(
                "mkdir -p {HOME}/state {HOME}/run {HOME}/tftp/11223344 {HOME}/open; chmod 777 \
                 {HOME} {HOME}/state; chown 65534 {HOME}/run"
            ),
        )?;
        must(
            "head",
            &format!(
                "cd {HOME}/tftp && echo all > start.elf && echo mine > 11223344/config.txt && \
                 chmod 600 11223344/config.txt"
            ),
        )?;
        let only = "-all,+net_admin,+net_raw,+net_bind_service";
        let rights = [
            "--bounding-set",
            only,
            "--inh-caps",
            only,
            "--ambient-caps",
            "+net_admin,+net_raw,+net_bind_service",
        ];
        let user =
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
        world.set_settings(&settings("tftp"));
        world.start_gateway_by(&[&user[..], &rights[..]].concat(), &[])?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        // Root's own attempt beside the service is refused for that reason, not for the folder's
        // owner.
        let second =
            world.gateway_command("run").output().map_err(|error| Error(error.to_string()))?;
        let text = String::from_utf8_lossy(&second.stderr).into_owned();
        let refused =
            second.status.code() == Some(75) && text.contains("another instance runs: process ");
        ensure(&format!("a second instance: {:?} {text}", second.status), refused)?;
        let named =
            |what: &str| alert(world, "gateway-netboot").is_some_and(|text| text.contains(what));
        until("the file is named", || named(&format!("{HOME}/tftp/11223344/config.txt")))?;
        let (code, _) = exec(
            "rpi1",
            &format!("cd {HOME} && busybox tftp -g -r 11223344/config.txt -l loaded 192.168.50.1"),
        )?;
        ensure("and true", code != 0)?;
        reload(world, &settings("open"))?;
        until("a folder in which all is open is in order", || {
            alert(world, "gateway-netboot").is_none()
        })?;
        must(
            "head",
            &format!("cd {HOME}/tftp && chmod 644 11223344/config.txt && chmod 700 11223344"),
        )?;
        reload(world, &settings("tftp"))?;
        let named =
            || alert(world, "gateway-netboot").filter(|text| text.contains("/tftp/11223344:"));
        until("so is a folder", || named().is_some())?;
        must("head", &command_of(&named().unwrap_or_default().replace(';', ")"))?)?;
        let load =
            format!("cd {HOME} && busybox tftp -g -r 11223344/config.txt -l loaded 192.168.50.1");
        until("after the remedy it is loaded", || {
            exec("rpi1", &load).is_ok_and(|(code, _)| code == 0)
        })
        .map(drop)
    })
}
