//! Nodes that boot from the head.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use bramblegate::venue::inside::HOME;
use bramblegate::venue::shell::{exec, must, spawn, within};
use bramblegate::venue::{Error, Result};

use super::client::inside;
use super::scene::{PLAIN, before_start, ensure, is, until};

/// The question of a Raspberry Pi 3's boot ROM, as captures in raspberrypi/firmware#1265 and #871 show it.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let serial = [0x44, 0x33, 0x22, 0x11];
    let mut bytes = vec![1, 1, 6, 0, 0x26, 0xf3, 0x03, 0x39];
    bytes.resize(28, 0);
    bytes.extend(mac);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, 1, 55, 12, 43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66]);
    bytes.extend([93, 2, 0, 0, 94, 3, 1, 2, 1, 97, 17, 0]);
    bytes.extend(serial.repeat(4));
    bytes.extend([60, 32]);
    bytes.extend(b"PXEClient:Arch:00000:UNDI:002001");
    bytes.push(255);
    bytes
}

pub fn raspberry_pi_boots() -> Result<()> {
    let root = format!("{HOME}/tftp");
    let settings = format!("[cluster.dhcp]\n[cluster.netboot]\nroot = \"{root}\"\nfolders = \"mac\"\n");
    before_start(PLAIN, |world| {
        for (file, text) in [
            ("bootcode.bin", "shared"),
            ("b8-27-eb-00-00-02/bootcode.bin", "of rpi2 alone"),
            ("11223344/start.elf", "by serial"),
        ] {
            let path = PathBuf::from(format!("{root}/{file}"));
            fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(|error| Error(error.to_string()))?;
            fs::write(&path, text.repeat(4000)).map_err(|error| Error(error.to_string()))?;
        }
        world.set_settings(&settings);
        world.start_gateway()?;
        until("it serves", || is(world, "cluster.dhcp", "serving"))?;
        let log = PathBuf::from(format!("{HOME}/boot.tcpdump"));
        let mut tcpdump = within("rpi2", "tcpdump");
        let _listener = spawn(tcpdump.args(["-l", "-n", "-A", "-vv", "-i", "eth0", "udp port 68"]), &log)?;
        let heard = || fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
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
        for told in [
            "Raspberry Pi Boot   ",
            "\"PXEClient\"",
            "BF (67)",
            "bootcode.bin",
            "TFTP (66)",
            "GUID (97)",
            "Server-IP 192.168.50.1",
        ] {
            ensure(&format!("the offer has {told}:\n{offer}"), offer.contains(told))?;
        }
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
        let (code, _) = exec("laptop", &format!("cd {HOME} && busybox tftp -g -r bootcode.bin -l stolen 10.99.0.126"))?;
        ensure("the venue loads nothing", code != 0)?;
        Ok(())
    })
}
