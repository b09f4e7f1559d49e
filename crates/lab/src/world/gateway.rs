//! The gateway under test: its settings, its process, and its observable state.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bramblegate_api::status::Snapshot;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::file::Network;
use super::super::inside::HOME;
use super::super::shell::{self, Running, must, spawn, within};
use super::super::{Error, Result, client, glass, watch, while_doing, wiring};
use super::World;

/// Duration of a short button press.
const TOUCH: Duration = Duration::from_millis(100);

/// The buttons of the world, by their GPIO lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Next = 17,
    Acknowledge = 27,
    Power = 22,
}

impl World {
    /// Writes the gateway's settings and starts it in the head.
    pub fn start_gateway(&mut self) -> Result<()> {
        self.start_gateway_by(&[], &[])
    }

    /// Starts the gateway as [`World::start_gateway`] does, by a wrapper (`setpriv …`) and with
    /// additional environment variables.
    pub fn start_gateway_by(
        &mut self,
        wrapper: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<()> {
        self.write_settings()?;
        // The gateway may run as any user.
        let fifo = format!("{HOME}/buttons");
        let _ = mknodat(CWD, &fifo, FileType::Fifo, Mode::empty(), 0);
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666))
            .map_err(while_doing(&fifo))?;
        let log = self.journal_file();
        let mut command = self.command_by(wrapper, "run");
        command.envs(environment.iter().copied());
        self.gateway = Some(spawn(&mut command, &log)?);
        Ok(())
    }

    /// Returns the command that runs the gateway's `verb` in the head, with the world's settings.
    pub fn gateway_command(&self, verb: &str) -> std::process::Command {
        self.command_by(&[], verb)
    }

    fn command_by(&self, wrapper: &[&str], verb: &str) -> std::process::Command {
        let program = self.program.to_string_lossy();
        let mut words = wrapper.iter().copied().chain([&*program]);
        let mut command = within("head", words.next().unwrap_or(&program));
        command.args(words);
        for folder in ["state", "run"] {
            let _ = fs::create_dir_all(format!("{HOME}/{folder}"));
        }
        command
            .args([verb, "-c", &format!("{HOME}/bramblegate.toml")])
            .env("STATE_DIRECTORY", format!("{HOME}/state"))
            .env("RUNTIME_DIRECTORY", format!("{HOME}/run"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM");
        command
    }

    /// Replaces the venue's drop-in of the settings; takes effect with [`World::write_settings`].
    pub fn set_settings(&mut self, text: &str) {
        text.clone_into(&mut self.settings);
    }

    /// Writes the settings and the venue's drop-in.
    pub fn write_settings(&self) -> Result<()> {
        let main = format!("{HOME}/bramblegate.toml");
        fs::write(&main, self.settings_text()).map_err(while_doing(&main))?;
        let folder = format!("{main}.d");
        fs::create_dir_all(&folder).map_err(while_doing(&folder))?;
        let drop_in = format!("{folder}/50-venue.toml");
        fs::write(&drop_in, &self.settings).map_err(while_doing(&drop_in))
    }

    /// Returns the world's settings. Limits of vitals are off, as these are those of the machine on
    /// which the world runs.
    fn settings_text(&self) -> String {
        let ports: Vec<String> =
            self.networks.iter().map(|network| format!("\"{}\"", network.port)).collect();
        let mut text = format!(
            "board = \"emulated\"\n[uplink]\ninterfaces = [{}]\n\
             check.url = \"http://connectivity.example/generate_204\"\n\
             [cluster]\ninterface = \"eth0\"\n\
             [lcd]\nbus = \"emulator:{HOME}/lcd.log\"\n[led]\n\
             device = \"emulator:{HOME}/led.log\"\n\
             [vitals]\ntemperature_above = 120\nmemory_free_below = \"off\"\ndisk_free_below = \"off\"\npressure = \"off\"\n\
             [gpio]\nchip = \"emulator:{HOME}/buttons\"\n[buttons]\nnext = {}\nacknowledge = {}\n\
             power = {}\n\
             [sockets]\nstatus = \"{HOME}/status.sock\"\n\
             [web]\nport_file = \"{HOME}/web/port\"\n",
            ports.join(", "),
            Input::Next as u32,
            Input::Acknowledge as u32,
            Input::Power as u32,
        );
        for number in 1..=wiring::NODES {
            let address = wiring::node_address(number);
            text += &format!(
                "[[node]]\nname = \"rpi{number}\"\naddress = \"{address}\"\nprobe = \"icmp\"\n"
            );
            if !self.clients.is_empty() {
                text += &format!("mac = \"{}\"\n", wiring::node_mac(number));
            }
        }
        if !self.clients.is_empty() {
            text += "[cluster.dhcp]\n";
        }
        text
    }

    /// Presses a button for the time `hold`; if that is zero, returns at once.
    pub fn press(&self, input: Input, hold: Duration) -> Result<()> {
        let file = format!("{HOME}/buttons");
        // Opened for reading too, so that it does not block if no gateway reads.
        let mut fifo = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&file)
            .map_err(while_doing(&file))?;
        let line = input as u32;
        // Active low. A short press is written at once, with the timestamps that it would have had.
        let mut edge = |at: Duration, level: u8| {
            fifo.write_all(format!("{} {line} {level}\n", at.as_nanos()).as_bytes())
                .map_err(while_doing(&file))
        };
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        edge(start, 0)?;
        sleep(hold);
        edge(start + hold.max(TOUCH), 1)
    }

    /// Returns the gateway, if it was started.
    pub fn gateway(&mut self) -> Option<&mut Running> {
        self.gateway.as_mut()
    }

    /// Sends the gateway a signal and waits for its end, at most `patience`. Returns its exit code.
    pub fn stop_gateway(&mut self, signal: &str, patience: Duration) -> Result<i32> {
        let gateway =
            self.gateway.as_mut().ok_or_else(|| Error("the gateway does not run".into()))?;
        gateway.signal(signal)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(code) = gateway.ended() {
                self.gateway = None;
                return Ok(code);
            }
            sleep(Duration::from_millis(5));
        }
        Err(Error(format!("the gateway still runs {patience:?} after {signal}")))
    }

    /// Returns the daemon's status, from its socket.
    pub fn status(&self) -> Result<Snapshot> {
        watch::snapshot(&self.socket())
    }

    /// Returns the path of the status socket.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("{HOME}/status.sock"))
    }

    /// Returns the LCD's rows from the status.
    pub fn lcd(&self) -> Result<Vec<String>> {
        self.status().map(|status| watch::lcd(&status))
    }

    /// Returns the LCD's rows, decoded from the bytes on the emulated bus.
    pub fn glass(&self) -> Vec<String> {
        let log = fs::read_to_string(format!("{HOME}/lcd.log")).unwrap_or_default();
        glass::decode(&log)
    }

    /// Returns the daemon's log.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.journal_file()).unwrap_or_default()
    }

    fn journal_file(&self) -> PathBuf {
        PathBuf::from(format!("{HOME}/journal.log"))
    }

    /// Returns the head's IPv4 address on the first uplink that has one in the kernel, or else its
    /// IPv6 address.
    pub fn head_address(&self) -> Option<String> {
        let held = |family: &str, network: &Network| {
            let line =
                format!("ip {family} -o addr show dev {} scope global -deprecated", network.port);
            let text = must("head", &line).ok()?;
            let address = text.split_whitespace().nth(3)?;
            Some(address.split('/').next().unwrap_or(address).to_owned())
        };
        ["-4", "-6"]
            .into_iter()
            .find_map(|family| self.networks.iter().find_map(|network| held(family, network)))
    }

    /// Returns whether the venue has a computer besides the router.
    pub fn has_laptop(&self) -> bool {
        self.networks.first().is_some_and(|network| network.laptop.is_some())
    }

    /// Returns the resolver of a place; empty for the head, which uses its resolver file.
    pub fn resolver_of(&self, place: &str) -> String {
        if place == "head" {
            return String::new();
        }
        let router = self.networks.first().and_then(|network| network.address.first());
        match router {
            Some(router) if !place.starts_with("rpi") => router.addr().to_string(),
            _ if !self.clients.is_empty() => "192.168.50.1".to_owned(),
            _ => wiring::DNS.to_owned(),
        }
    }

    /// Returns a report for the analysis of an unmet expectation: status, LCD, network state, logs.
    pub fn story(&self) -> String {
        let mut story = String::new();
        let status = self.status().map_or_else(
            |error| error.to_string(),
            |status| String::from_utf8_lossy(&bramblegate_api::line(&status)).into_owned(),
        );
        story += &format!("== status\n{status}\n== glass\n{}\n", self.glass().join("\n"));
        for line in [
            "ip -br link",
            "ip -br addr",
            "ip -4 neigh",
            "ip -6 route",
            "ip rule",
            "ip route show table all type unicast",
            "nft list ruleset",
        ] {
            let text =
                shell::exec("head", line).map_or_else(|error| error.to_string(), |(_, text)| text);
            story += &format!("== head: {line}\n{text}");
        }
        let mut logs = vec![("journal".to_owned(), self.journal_file())];
        for network in &self.networks {
            logs.push((format!("DHCP client of {}", network.port), client::log(&network.port)));
        }
        logs.push(("translator".to_owned(), super::clat::log()));
        logs.push(("DHCP server".to_owned(), PathBuf::from(format!("{HOME}/venue.dnsmasq.log"))));
        for (name, file) in logs {
            let text = fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
            story += &format!("== {name}\n{}\n", last.join("\n"));
        }
        story
    }
}
