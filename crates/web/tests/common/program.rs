//! The program `bramblegate-web`, without settings.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::get;

/// The running program; dropping this ends it.
pub struct Program {
    child: Child,
    pub at: SocketAddr,
}

/// The password of the page.
pub const PASSWORD: &str = "bramble berry";

impl Program {
    /// Starts the program at a free port of `address`, for the sockets in `folder`, with more
    /// arguments.
    pub fn start(folder: &Path, address: &str, arguments: &[&str]) -> Self {
        Self::start_at(folder, &format!("{address}:0"), arguments)
    }

    /// Starts the program at an address and port.
    pub fn start_at(folder: &Path, at: &str, arguments: &[&str]) -> Self {
        let password = folder.join("password");
        std::fs::write(&password, bramblegate_web::login::hash(PASSWORD).unwrap()).unwrap();
        let mut child = Command::new(beside("bramblegate-web"))
            .args(["--listen", at])
            .arg("--status")
            .arg(folder.join("status.sock"))
            .arg("--control")
            .arg(folder.join("control.sock"))
            .arg("--password")
            .arg(&password)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("the status page is at port ");
        let port = port.unwrap_or_else(|| panic!("it has not started: {line}"));
        let address = at.rsplit_once(':').map_or(at, |(address, _)| address);
        let at = format!("{address}:{port}").parse().unwrap();
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::stderr()));
        let program = Self { child, at };
        until("it follows the daemon", || get(at, "/healthz").is_ok_and(|a| a.status == 200));
        program
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Returns the program's proportional set size, in kB (proc(5), smaps_rollup).
    pub fn pss(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Returns the path of a program of this build, relative to that of the test.
pub fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join(name)
}

/// Waits for a condition, 10 s at most; returns how long it took.
pub fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    begin.elapsed()
}
