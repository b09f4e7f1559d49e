//! One node: powered off through the system's ssh client, and observed until it is silent.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// A node that has confirmed and is silent for this long is off. Its network ends before its file
/// systems do, for which a Raspberry Pi needs about two seconds.
const QUIET: Duration = Duration::from_secs(8);
/// Interval and timeout of checks that it still answers.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of the ssh client.
const SSH_TIMEOUT: Duration = Duration::from_secs(30);
const SSH: u16 = 22;

/// Messages of ssh after a log-in (clientloop.c of OpenSSH), if network or server end before the
/// command, as on a node that powers off.
const DISCONNECTED: [&str; 4] =
    ["closed by remote host", "Timeout, server", "Read from remote host", "client_loop:"];

/// A node, and how ssh reaches it.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub address: IpAddr,
    /// Its probes are answered now.
    pub is_up: bool,
    /// It is a node of the cluster, whether or not it accepts the key.
    pub counts: bool,
    /// Name of its host key.
    pub alias: String,
    pub user: String,
    pub key: PathBuf,
}

/// Progress of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// ssh runs, or waits for its turn.
    Asked,
    /// It has confirmed, and still answers.
    Going,
    Off,
    /// It does not power off; why.
    Refused(String),
    /// It does not power off, and need not be a node of the cluster; why.
    LeftOut(String),
    /// It does not answer at all.
    Silent,
}

impl Target {
    /// Returns the command line of ssh, which ignores root's own settings.
    pub fn command(&self) -> Vec<String> {
        let key = self.key.display();
        let mut line: Vec<String> = ["ssh", "-F", "none", "-n", "-T", "-i"].map(Into::into).into();
        line.push(key.to_string());
        for option in [
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "ConnectTimeout=5".to_owned(),
            "ServerAliveInterval=1".to_owned(),
            "ServerAliveCountMax=2".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("HostKeyAlias={}", self.alias),
            format!("UserKnownHostsFile=\"{key}.known_hosts\""),
        ] {
            line.extend(["-o".to_owned(), option]);
        }
        line.extend(["-l".to_owned(), self.user.clone(), self.address.to_string()]);
        let power_off = "systemctl poweroff";
        let sudo = if self.user == "root" { "" } else { "sudo -n " };
        line.push(format!("{sudo}{power_off}"));
        line
    }

    /// Powers it off through ssh; returns [`Stage::Going`], or why not.
    pub async fn power_off(&self) -> Stage {
        match self.run_ssh().await {
            Stage::Refused(why) if !self.counts => Stage::LeftOut(why),
            stage => stage,
        }
    }

    async fn run_ssh(&self) -> Stage {
        let line = self.command();
        let (program, arguments) = line.split_at(1);
        let mut command = Command::new(program.concat());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.kill_on_drop(true).output();
        match timeout(SSH_TIMEOUT, output).await {
            Ok(Ok(output)) => match classify(&output) {
                Stage::Silent if self.is_up => Stage::Refused("ssh does not answer".to_owned()),
                stage => stage,
            },
            Ok(Err(error)) => Stage::Refused(format!("ssh cannot be started: {error}")),
            Err(_) => {
                Stage::Refused(format!("no answer by ssh within {} s", SSH_TIMEOUT.as_secs()))
            }
        }
    }

    /// Waits until it has been silent for [`QUIET`], or the cluster interface has no carrier.
    pub async fn wait_until_off(&self, interface: Option<&str>) {
        let mut heard = Instant::now();
        while heard.elapsed() < QUIET && !has_no_carrier(interface) {
            let tick = Instant::now();
            if self.answers().await {
                heard = Instant::now();
            }
            sleep(PROBE_INTERVAL.saturating_sub(tick.elapsed())).await;
        }
    }

    /// Returns whether its kernel answers, with or without an ssh server.
    async fn answers(&self) -> bool {
        let at = SocketAddr::new(self.address, SSH);
        match timeout(PROBE_INTERVAL, TcpStream::connect(at)).await {
            Err(_) => false,
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                !matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::TimedOut)
            }
        }
    }
}

/// Returns whether the interface has no carrier.
fn has_no_carrier(interface: Option<&str>) -> bool {
    let carrier = |name| std::fs::read_to_string(format!("/sys/class/net/{name}/carrier"));
    interface.is_some_and(|name| carrier(name).is_ok_and(|text| text.trim() == "0"))
}

fn classify(output: &Output) -> Stage {
    let words = String::from_utf8_lossy(&output.stderr);
    let is_disconnected = || DISCONNECTED.iter().any(|sign| words.contains(sign));
    match output.status.code() {
        Some(0) => Stage::Going,
        Some(255) if is_disconnected() => Stage::Going,
        Some(255) if ["timed out", "No route to host"].iter().any(|sign| words.contains(sign)) => {
            Stage::Silent
        }
        Some(255) if words.contains("HOST IDENTIFICATION HAS CHANGED") => Stage::Refused(
            "its host key is not the one of before: after a reflash, forget the old key with \
             ssh-keygen -R"
                .to_owned(),
        ),
        Some(code) => {
            let last = words.lines().rfind(|line| !line.trim().is_empty());
            Stage::Refused(last.map_or_else(|| format!("exit code {code}"), str::to_owned))
        }
        None => Stage::Refused(format!("ssh was killed: {:?}", output.status.signal())),
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn stage(code: i32, stderr: &str) -> Stage {
        classify(&Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: stderr.into(),
        })
    }

    #[test]
    fn a_connection_closed_after_the_log_in_is_a_confirmation() {
        for (code, words) in [
            (0, ""),
            (255, "Connection to 192.168.50.11 closed by remote host.\r\n"),
            (255, "Timeout, server 192.168.50.11 not responding.\r\n"),
        ] {
            assert_eq!(stage(code, words), Stage::Going, "{words}");
        }
        for words in [
            "pi@192.168.50.11: Permission denied (publickey).\r\n",
            "Connection closed by 192.168.50.11 port 22\r\n",
            "ssh: connect to host 192.168.50.11 port 22: Connection refused\r\n",
        ] {
            assert_eq!(stage(255, words), Stage::Refused(words.trim_end().to_owned()));
        }
        let away = "ssh: connect to host 192.168.50.11 port 22: No route to host\r\n";
        assert_eq!(stage(255, away), Stage::Silent);
        let sudo = "sudo: a password is required\n";
        assert_eq!(stage(1, sudo), Stage::Refused("sudo: a password is required".to_owned()));
    }

    #[test]
    fn users_but_root_need_sudo() {
        let target = |user: &str| Target {
            name: "rpi1".to_owned(),
            address: IpAddr::from([192, 168, 50, 11]),
            is_up: true,
            counts: true,
            alias: "rpi1.bramble".to_owned(),
            user: user.to_owned(),
            key: "/etc/bramblegate/shutdown_key".into(),
        };
        let last = |user| target(user).command().pop();
        assert_eq!(last("pi").as_deref(), Some("sudo -n systemctl poweroff"));
        assert_eq!(last("root").as_deref(), Some("systemctl poweroff"));
        let line = target("pi").command().join(" ");
        assert!(line.contains("-o HostKeyAlias=rpi1.bramble "), "{line}");
    }
}
