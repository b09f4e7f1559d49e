//! DHCP clients on the nodes: real ones, and one that sends what a test needs.

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, spawn, within};
use bramblegate_lab::{Error, Result};

use super::scene::until;
use crate::dhcp::Answer;

/// The script of a node's client; it does not touch the resolver's file, which is the head's.
const SCRIPT: &str = r#"#!/bin/sh
case "$1$reason" in
deconfig) ip -4 addr flush dev eth0 ;;
bound|renew|BOUND|RENEW|REBIND|REBOOT)
    ip -4 addr flush dev eth0
    ip addr add "${ip:-$new_ip_address}/${mask:-$new_subnet_cidr}" dev eth0
    ip route replace default via "${router:-$new_routers}" ;;
esac
echo "$1$reason ip=$ip$new_ip_address router=$router$new_routers dns=$dns$new_domain_name_servers domain=$domain$new_domain_name ntp=$ntpsrv$new_ntp_servers lease=$lease$new_dhcp_lease_time v6only=$opt108"
"#;

/// A node that requests an address.
pub struct Client {
    pub running: Running,
    pub log: PathBuf,
    pub node: String,
}

impl Client {
    /// Starts busybox's client, with this host name.
    pub fn udhcpc(node: &str, name: &str) -> Result<Self> {
        Self::udhcpc_with(node, name, &[])
    }

    /// Starts it with more options.
    pub fn udhcpc_with(node: &str, name: &str, more: &[&str]) -> Result<Self> {
        let (script, name) = (script()?, format!("hostname:{name}"));
        let plain = [
            "udhcpc", "-f", "-i", "eth0", "-t", "9", "-T", "1", "-A", "1", "-O", "ntpsrv", "-s",
            &script,
        ];
        Self::start(node, "busybox", &[plain.as_slice(), &["-x", &name], more].concat())
    }

    /// Starts the client of Raspberry Pi OS (and of all BSDs).
    pub fn dhcpcd(node: &str, name: &str) -> Result<Self> {
        let script = script()?;
        // Its database belongs to the machine.
        must(node, "mkdir -p /var/lib/dhcpcd /run/dhcpcd")?;
        Self::start(
            node,
            "sh",
            &[
                "-c",
                &format!(
                    "mount -t tmpfs tmpfs /var/lib/dhcpcd && exec dhcpcd -4 -B -L -A -f /dev/null \
                     -o ntp_servers -o domain_name_servers -o routers -o domain_name -h {name} -c \
                     {script} eth0"
                ),
            ],
        )
    }

    fn start(node: &str, program: &str, arguments: &[&str]) -> Result<Self> {
        must(node, "ip -4 addr flush dev eth0")?;
        let log = PathBuf::from(format!("{HOME}/client-{node}.log"));
        let _ = fs::remove_file(&log);
        let running = spawn(within(node, program).args(arguments), &log)?;
        Ok(Self { running, log, node: node.to_owned() })
    }

    /// Returns the last variables that the script got with a lease.
    pub fn lease(&self) -> Option<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let known = ["bound ", "renew ", "BOUND ", "RENEW ", "REBIND ", "REBOOT "];
        text.lines()
            .rev()
            .find(|line| known.iter().any(|word| line.starts_with(word)))
            .map(str::to_owned)
    }

    pub fn address(&self) -> Option<String> {
        Some(self.lease()?.split("ip=").nth(1)?.split_whitespace().next()?.to_owned())
    }

    pub fn wait(&self) -> Result<(String, Duration)> {
        let took = until(&format!("a lease for {}", self.node), || self.address().is_some())?;
        Ok((self.address().unwrap_or_default(), took))
    }
}

fn script() -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let path = format!("{HOME}/node-dhcp.sh");
    fs::write(&path, SCRIPT).map_err(|error| Error(error.to_string()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|error| Error(error.to_string()))?;
    Ok(path)
}

/// Broadcasts a message; returns the first answer within a second.
pub fn ask(node: &str, message: Vec<u8>) -> Result<Option<Answer>> {
    ask_within(node, message, Duration::from_secs(1))
}

/// Broadcasts a message; returns the first answer within this time.
pub fn ask_within(node: &str, message: Vec<u8>, wait: Duration) -> Result<Option<Answer>> {
    must(node, "ip route replace 255.255.255.255 dev eth0")?;
    inside(node, move || {
        let socket = UdpSocket::bind("0.0.0.0:68")?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(wait))?;
        socket.send_to(&message, "255.255.255.255:67")?;
        let mut buffer = [0; 1500];
        match socket.recv(&mut buffer) {
            Ok(length) => Ok(buffer.get(..length).and_then(Answer::read)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    })
}

/// Runs a function in a namespace of the world, in a thread of its own.
pub fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let path = format!("/run/netns/{namespace}");
    let thread = std::thread::spawn(move || {
        let file = fs::File::open(path)?;
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )?;
        work()
    });
    let result = thread.join().map_err(|_| Error("the thread died".into()))?;
    result.map_err(|error| Error(error.to_string()))
}
