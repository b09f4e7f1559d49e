//! `bramblegate wifi`: joins a wireless network through NetworkManager, or prints how to do it
//! without. `nmcli --ask` asks for the password: it never passes through this program.

use std::process::{Command, ExitCode, Stdio};

use super::doctor::cluster;
use super::machine::Machine;
use super::{exit, output};
use crate::event::printable_line;
use crate::watch::uplink::clients::Manager;

const EXAMPLES: &str = "\
Examples:
  bramblegate wifi                         list the networks
  sudo bramblegate wifi \"Conference WiFi\"  join one; asks for its password";

/// Longest name of a network, octets (IEEE 802.11, 9.4.2.2).
const MAX_SSID: usize = 32;
/// Remedy if NetworkManager's program fails.
const NO_NMCLI: &str = "check that NetworkManager runs, and that nmcli is installed";
/// Remedy if NetworkManager does not treat the interface as wireless.
const NO_LIST: &str = "check that NetworkManager runs, and that wpasupplicant is installed";
/// Remedy if a network was not joined.
const NOT_JOINED: &str =
    "check the name and the password; without a name, the networks in reach are listed";
/// The same for a user that polkit may refuse.
const NOT_ROOT: &str = "try it with sudo, and check the name and the password; without a name, the \
                        networks in reach are listed";

/// List wireless networks, or join one
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The network to join; without it they are listed
    #[arg(value_name = "SSID")]
    pub ssid: Option<String>,
    /// The wireless interface, if there are several
    #[arg(short, long, value_name = "IF")]
    pub interface: Option<String>,
}

/// Joins a network or lists those in reach. Exits with 0 if joined or listed; with 1 if not joined,
/// 64 if the name is invalid, 69 without an interface or if NetworkManager does not manage it.
pub fn main(args: Args) -> ExitCode {
    if args.ssid.as_ref().is_some_and(|ssid| ssid.is_empty() || ssid.len() > MAX_SSID) {
        output::error(
            "wifi: this is not the name of a network",
            "give a name of 1 to 32 octets; without one, the networks are listed",
        );
        return ExitCode::from(exit::USAGE);
    }
    let machine = Machine::real();
    let interface = match interface(&machine, args.interface.as_deref()) {
        Ok(interface) => interface,
        Err((message, help)) => {
            output::error(&format!("wifi: {message}"), &help);
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    let manages = cluster::managed_by(&machine, &interface).contains(&Manager::NetworkManager);
    // `managed_by` also names one that is enabled and does not run yet.
    if !manages || !runs(&machine) {
        output::error(
            &format!("wifi: NetworkManager does not manage {interface}"),
            &manual_command(&machine, &interface, args.ssid.as_deref()),
        );
        return ExitCode::from(exit::UNAVAILABLE);
    }
    match args.ssid {
        Some(ssid) => join(&interface, &ssid),
        None => list(&interface),
    }
}

/// Returns the wireless interface: the one that is named, else the only one.
///
/// # Errors
/// Message and remedy.
fn interface(machine: &Machine, named: Option<&str>) -> Result<String, (String, String)> {
    let mut all = machine.list("/sys/class/net");
    all.retain(|name: &String| is_wireless(machine, name));
    match (named, all.as_slice()) {
        (_, []) => Err((
            "there is no wireless interface in this machine".to_owned(),
            "plug in a Wi-Fi adapter, or use a cable".to_owned(),
        )),
        (Some(named), all) => match all.iter().find(|name| *name == named) {
            Some(name) => Ok(name.clone()),
            None => Err((
                format!("{named} is not a wireless interface"),
                format!("name {}", all.join(" or ")),
            )),
        },
        (None, [one]) => Ok(one.clone()),
        (None, all) => Err((
            "there are several wireless interfaces".to_owned(),
            format!("name one with --interface: {}", all.join(" or ")),
        )),
    }
}

/// Returns whether an interface is wireless.
fn is_wireless(machine: &Machine, name: &str) -> bool {
    let folder = format!("/sys/class/net/{name}");
    machine.exists(&format!("{folder}/wireless")) || machine.exists(&format!("{folder}/phy80211"))
}

/// Joins a network. nmcli(1) itself asks for the password on the terminal.
fn join(interface: &str, ssid: &str) -> ExitCode {
    let joined = Command::new("nmcli")
        .args(["--ask", "device", "wifi", "connect", ssid, "ifname", interface])
        .stdin(Stdio::inherit())
        .status();
    match joined {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => {
            output::error(
                &format!("wifi: {interface} has not joined {}", printable_line(ssid)),
                if rustix::process::geteuid().is_root() { NOT_JOINED } else { NOT_ROOT },
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            output::error(&format!("wifi: nmcli: {error}"), NO_NMCLI);
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn list(interface: &str) -> ExitCode {
    let fields = ["-t", "-f", "IN-USE,SIGNAL,SECURITY,SSID", "device", "wifi", "list", "ifname"];
    let arguments: Vec<&str> = fields.into_iter().chain([interface]).collect();
    // nmcli reports errors itself.
    let listed = Command::new("nmcli").args(&arguments).stderr(Stdio::inherit()).output();
    match listed {
        Ok(listed) if listed.status.success() => {
            let text = String::from_utf8_lossy(&listed.stdout);
            ExitCode::from(output::deliver(&table(&networks(&text))))
        }
        _ => {
            let message = format!("wifi: nmcli does not list the networks of {interface}");
            output::error(&message, NO_LIST);
            ExitCode::FAILURE
        }
    }
}

/// A network, as nmcli lists it.
#[derive(Debug, PartialEq, Eq)]
struct Network {
    in_use: bool,
    signal: String,
    security: String,
    ssid: String,
}

/// Parses a list of nmcli: fields between colons, in which a colon and a backslash are escaped by a
/// backslash (nmcli(1), --escape). Of several access points of one network the first is the
/// strongest.
fn networks(text: &str) -> Vec<Network> {
    let mut all: Vec<Network> = Vec::new();
    for line in text.lines() {
        let mut fields = vec![String::new()];
        let mut rest = line.chars();
        while let Some(c) = rest.next() {
            match (c, fields.last_mut()) {
                (':', _) => fields.push(String::new()),
                ('\\', Some(field)) => field.extend(rest.next()),
                (c, Some(field)) => field.push(c),
                (_, None) => {}
            }
        }
        let [in_use, signal, security, ssid] = fields.as_slice() else { continue };
        // A hidden network has no name to join by.
        if ssid.is_empty() || all.iter().any(|network| network.ssid == *ssid) {
            continue;
        }
        let in_use = in_use.trim() == "*";
        let (signal, security, ssid) = (signal.clone(), security.clone(), ssid.clone());
        all.push(Network { in_use, signal, security, ssid });
    }
    all
}

fn table(networks: &[Network]) -> String {
    if networks.is_empty() {
        return "no networks are in reach\n".to_owned();
    }
    let mut text = "   SIGNAL  SECURITY      SSID\n".to_owned();
    for Network { in_use, signal, security, ssid } in networks {
        let mark = if *in_use { "*" } else { " " };
        let security = if security.is_empty() { "none" } else { security };
        text += &format!("{mark}  {signal:>4} %  {security:<12}  {}\n", printable_line(ssid));
    }
    text
}

/// Returns whether NetworkManager runs.
fn runs(machine: &Machine) -> bool {
    let state = machine.run("nmcli", &["-t", "-f", "RUNNING", "general"]);
    state.is_some_and(|state| state.trim() == "running")
}

/// Returns how to join a network if NetworkManager does not manage the interface.
fn manual_command(machine: &Machine, interface: &str, ssid: Option<&str>) -> String {
    // Quoted as one word of a shell.
    let ssid = format!("'{}'", ssid.unwrap_or("SSID").replace('\'', "'\\''"));
    // NetworkManager uses wpa_supplicant too; by itself that has a settings file.
    let own = format!("/etc/wpa_supplicant/wpa_supplicant-{interface}.conf");
    let common = "/etc/wpa_supplicant/wpa_supplicant.conf".to_owned();
    let by_file = [own, common].into_iter().find(|file| machine.is_file(file));
    let command = if machine.has_program("iwctl") {
        format!("iwctl station {interface} connect {ssid}")
    } else if let Some(file) = by_file.filter(|_| machine.has_program("wpa_passphrase")) {
        format!(
            "wpa_passphrase {ssid} | grep -v '^[[:space:]]*#' | sudo tee -a {file} > /dev/null && sudo \
             wpa_cli -i {interface} reconfigure"
        )
    } else if machine.has_program("nmcli") {
        if !runs(machine) {
            return "NetworkManager is installed and does not run: start it, then try again".into();
        }
        let command = format!("sudo nmcli device set {interface} managed yes");
        return format!("run `{command}`, then try again");
    } else if machine.has_program("raspi-config") {
        "sudo raspi-config".to_owned()
    } else {
        "sudo apt install network-manager".to_owned()
    };
    let password = if command.starts_with("wpa_passphrase") {
        "; it reads the password from the terminal, which shows it"
    } else {
        ""
    };
    format!("run `{command}`{password}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_nmcli_writes_them() {
        let text = "*:94:WPA2:Home\\: upstairs\n :80:WPA1 WPA2:back\\\\slash\n :70:WPA2:Home\\: upstairs\n \
                    :60::free\n :50:WPA3:\nnonsense\n";
        let network = |in_use, signal: &str, security: &str, ssid: &str| Network {
            in_use,
            signal: signal.into(),
            security: security.into(),
            ssid: ssid.into(),
        };
        let found = networks(text);
        assert_eq!(
            found,
            [
                network(true, "94", "WPA2", "Home: upstairs"),
                network(false, "80", "WPA1 WPA2", "back\\slash"),
                network(false, "60", "", "free"),
            ]
        );
        assert_eq!(table(&found).lines().next_back(), Some("     60 %  none          free"));
    }

    #[test]
    fn the_interface_is_the_only_one_or_the_one_that_is_named() {
        let held = tempfile::tempdir().unwrap();
        let machine = Machine::pretend(held.path(), &[]);
        let make = |path: &str| {
            std::fs::create_dir_all(held.path().join("sys/class/net").join(path)).unwrap();
        };
        make("eth0");
        assert!(interface(&machine, None).unwrap_err().0.contains("no wireless interface"));
        make("wlan0/phy80211");
        assert_eq!(interface(&machine, None).as_deref(), Ok("wlan0"));
        assert_eq!(interface(&machine, Some("eth0")).unwrap_err().1, "name wlan0");
        make("wlan1/wireless");
        assert!(interface(&machine, None).unwrap_err().1.contains("wlan0 or wlan1"));
        assert_eq!(interface(&machine, Some("wlan1")).as_deref(), Ok("wlan1"));
    }

    #[test]
    fn without_network_manager_the_command_is_printed_as_one_word_of_a_shell() {
        let held = tempfile::tempdir().unwrap();
        let machine = Machine::pretend(held.path(), &[]);
        let printed = |ssid| manual_command(&machine, "wlan0", ssid);
        assert_eq!(printed(None), "run `sudo apt install network-manager`");
        machine.write("/usr/bin/wpa_passphrase", b"").unwrap();
        assert_eq!(printed(None), "run `sudo apt install network-manager`", "it has no file");
        machine.write("/usr/bin/nmcli", b"").unwrap();
        assert!(printed(None).contains("does not run"), "{}", printed(None));
        let answers = [("nmcli -t -f RUNNING general", "running\n")];
        let running = Machine::pretend(held.path(), &answers);
        let text = manual_command(&running, "wlan0", None);
        assert_eq!(text, "run `sudo nmcli device set wlan0 managed yes`, then try again");
        machine.write("/etc/wpa_supplicant/wpa_supplicant.conf", b"").unwrap();
        let text = printed(Some("Bob's; rm -rf /"));
        assert!(text.contains("wpa_passphrase 'Bob'\\''s; rm -rf /' | "), "{text}");
        machine.write("/usr/bin/iwctl", b"").unwrap();
        assert_eq!(printed(Some("x")), "run `iwctl station wlan0 connect 'x'`");
    }
}
