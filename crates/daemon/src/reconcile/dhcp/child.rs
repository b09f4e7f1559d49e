//! The dnsmasq child process and its log.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::oneshot::OneShot;
use crate::pace::Pace;
use crate::supervise::{Child, ExitCause};
use crate::watch::dhcp::Questions;

/// Directories of administration programs, which `PATH` may lack.
const FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];
/// Time between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longer lines are truncated, bytes.
const LONGEST: usize = 4096;
/// Rate limit on forwarded lines: burst and interval. A thousand nodes that boot together cause
/// 4,000 lines, most of them routine.
const LINES: u32 = 2000;
const LINE_INTERVAL: Duration = Duration::from_micros(500);
/// Size of the pipe and of a read, bytes: the limit for unprivileged users (pipe(7)). A full pipe
/// blocks dnsmasq, and with it all nodes.
const PIPE: usize = 1 << 20;
/// Rate limit on reads of the pipe: burst and interval. At 10,000 requests a second an interval
/// fills a fifth of the pipe.
const READS: u32 = 32;
const READ_INTERVAL: Duration = Duration::from_millis(200);
/// Rate limit on forwarded lines of routine: burst and interval.
const ROUTINE: u32 = 64;
const ROUTINE_INTERVAL: Duration = Duration::from_millis(500);

/// Returns the path of dnsmasq, if it is installed.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from)).collect();
    folders.into_iter().map(|folder| folder.join("dnsmasq")).find(|file| file.is_file())
}

/// A running dnsmasq.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Unread,
}

/// The unread part of the log.
#[derive(Debug, Clone, Default)]
pub struct Unread(Option<Arc<OwnedFd>>);

impl Unread {
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().map(rustix::io::ioctl_fionread).is_none_or(|bytes| bytes == Ok(0))
    }
}

impl Running {
    /// Starts dnsmasq, which ends with the daemon. `questions` is reset whenever it logs a request.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(program: &Path, config: &Path, questions: Questions) -> io::Result<Self> {
        let mut command = std::process::Command::new(program);
        command
            .arg(format!("--conf-file={}", config.display()))
            .args(["--log-facility=-", "--pid-file="]);
        command
            .args(foreground())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.env_clear();
        let mut child = Child::start(command)?;
        let (sender, lines) = mpsc::channel(256);
        let mut log = Unread::default();
        if let Some(stderr) = child.take_stderr() {
            let stderr = stderr.into_owned_fd()?;
            rustix::io::ioctl_fionbio(&stderr, true)?;
            let stderr = OneShot::new(stderr);
            log = Unread(Some(stderr.share()));
            tokio::spawn(forward_log(stderr, sender, questions));
        }
        Ok(Self { child, lines, log })
    }

    /// Returns the next line of the log, or after the last one the exit status.
    pub async fn next(&mut self) -> Result<String, io::Result<ExitStatus>> {
        tokio::select! {
            biased;
            Some(line) = self.lines.recv() => Ok(line),
            status = self.child.wait() => match timeout(Duration::from_millis(20), self.lines.recv()).await {
                Ok(Some(line)) => Ok(line),
                _ => Err(status),
            },
        }
    }

    /// Returns a handle to the unread part of the log.
    pub fn unread(&self) -> Unread {
        self.log.clone()
    }

    pub const fn id(&self) -> Option<Pid> {
        self.child.id()
    }

    /// Makes dnsmasq read all its files again except the main one.
    pub fn reload(&self) {
        self.child.signal(Signal::HUP);
    }

    /// Ends dnsmasq and its children, which serve TCP connections.
    pub async fn end(self) {
        self.child.end(PATIENCE).await;
    }

    /// Kills a hanging dnsmasq and its children.
    pub async fn kill(self) {
        self.child.kill().await;
    }

    /// Classifies its exit.
    pub fn cause(&self, status: ExitStatus) -> ExitCause {
        self.child.cause(status)
    }

    /// Kills the children that it left behind.
    pub fn sweep(&self) {
        self.child.sweep();
    }
}

/// Returns the options to stay in the foreground under our own user. Run by root, dnsmasq would
/// change to a user that cannot read our files. Where setgroups(2) is denied (an unprivileged user
/// namespace) only the debugging mode avoids a change of user.
fn foreground() -> &'static [&'static str] {
    if !rustix::process::geteuid().is_root() {
        return &["--keep-in-foreground"];
    }
    match std::fs::read_to_string("/proc/self/setgroups") {
        Ok(text) if text.trim() == "deny" => &["--no-daemon"],
        _ => &["--keep-in-foreground", "--user=root", "--group=root"],
    }
}

/// Forwards dnsmasq's log line by line. Nodes can cause any number of lines, so they are
/// rate-limited and the surplus is read and dropped. Lines of routine serve as signs of life.
async fn forward_log(
    mut stderr: OneShot<OwnedFd>,
    lines: mpsc::Sender<String>,
    questions: Questions,
) {
    // Fails if the user's limit on pipe buffers is reached; then the pipe keeps its default size.
    let _ = rustix::pipe::fcntl_setpipe_size(stderr.get_ref(), PIPE);
    let (mut pending, begin) = (Vec::with_capacity(PIPE), Instant::now());
    let mut limits = Limits {
        routine: Pace::new(ROUTINE, ROUTINE_INTERVAL, begin),
        all: Pace::new(LINES, LINE_INTERVAL, begin),
    };
    let mut reads = Pace::new(READS, READ_INTERVAL, begin);
    loop {
        tokio::time::sleep_until(reads.next(Instant::now())).await;
        let is_end = !matches!(read(&mut stderr, &mut pending).await, Ok(1..));
        for line in take_lines(&mut pending, is_end, &mut limits, &questions) {
            if lines.send(line).await.is_err() {
                return;
            }
        }
        if is_end {
            return;
        }
    }
}

/// Rate limits on forwarded lines.
struct Limits {
    routine: Pace,
    all: Pace,
}

impl Limits {
    fn permit(&mut self, line: &[u8], now: Instant) -> bool {
        (!is_routine(line) || self.routine.try_take(now)) && self.all.try_take(now)
    }
}

/// Waits for data and appends it. Returns the number of bytes, 0 at the end.
async fn read(stderr: &mut OneShot<OwnedFd>, pending: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stderr.readable().await?;
        pending.reserve(PIPE);
        match rustix::io::read(stderr.get_ref(), rustix::buffer::spare_capacity(pending)) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}

/// Removes the complete lines from `pending`, at the end also the rest. Returns those to forward.
fn take_lines(
    pending: &mut Vec<u8>,
    is_end: bool,
    limits: &mut Limits,
    questions: &Questions,
) -> Vec<String> {
    let complete = if is_end || pending.len() >= PIPE {
        pending.len()
    } else {
        pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    };
    let (mut permitted, mut about_dhcp, now) = (Vec::new(), false, Instant::now());
    for line in pending.drain(..complete).as_slice().split(|byte| *byte == b'\n') {
        let line = line.get(..LONGEST).unwrap_or(line).trim_ascii_end();
        about_dhcp = about_dhcp || is_about_dhcp(line);
        if !line.is_empty() && limits.permit(line, now) {
            permitted.push(String::from_utf8_lossy(line).into_owned());
        }
    }
    // Dropped lines count too.
    if about_dhcp {
        questions.heard();
    }
    permitted
}

/// Returns whether a line shows that dnsmasq received a request: `dnsmasq-dhcp[7]:
/// DHCPDISCOVER(eth0) …`, `… BOOTP(eth0) …`, `… no address range available for DHCP request via
/// eth0`.
fn is_about_dhcp(line: &[u8]) -> bool {
    without_date(line).starts_with(b"dnsmasq-dhcp")
        && [b"DHCP".as_slice(), b"BOOTP("].iter().any(|word| find(word, line).is_some())
}

/// Strips the date that dnsmasq (2.90, `log.c`) writes in its debugging mode: `Nov 30 13:10:43
/// dnsmasq-dhcp[7]: …`.
fn without_date(line: &[u8]) -> &[u8] {
    find(b"dnsmasq", line).and_then(|at| line.get(at..)).unwrap_or_default()
}

fn find(word: &[u8], line: &[u8]) -> Option<usize> {
    line.windows(word.len()).position(|part| part == word)
}

/// Returns whether a line logs a normal exchange with a client, and no lack of an address ("no
/// address available").
fn is_routine(line: &[u8]) -> bool {
    const VERBS: [&[u8]; 5] =
        [b"DHCPDISCOVER(", b"DHCPOFFER(", b"DHCPREQUEST(", b"DHCPACK(", b"DHCPINFORM("];
    const LACK: &[u8] = b" available";
    // "dnsmasq-dhcp[4711]: DHCPREQUEST(eth0) 192.168.50.11 b8:27:eb:00:00:01"
    let line = without_date(line);
    let text = line
        .iter()
        .position(|byte| *byte == b' ')
        .and_then(|at| line.get(at + 1..))
        .unwrap_or_default();
    VERBS.iter().any(|verb| text.starts_with(verb)) && !line.ends_with(LACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// While the head boots, a program takes a second until its first line.
    #[tokio::test]
    async fn an_early_reload_does_not_end_dnsmasq() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let slow = folder.join("dnsmasq");
        fs::write(&slow, "#!/bin/sh\nsleep 0.3\necho started >&2\nexec sleep 60\n").unwrap();
        fs::set_permissions(&slow, Permissions::from_mode(0o755)).unwrap();
        let mut running =
            Running::start(&slow, &folder.join("main"), Questions::default()).unwrap();
        running.reload();
        let logged = running.next().await;
        running.end().await;
        assert_eq!(logged.unwrap(), "started");
    }

    /// With and without the date of the debugging mode, which an unprivileged user namespace needs.
    #[test]
    fn requests_are_recognised_in_both_log_formats() {
        for date in ["", "Nov 30 13:10:43 "] {
            let line = |text: &str| format!("{date}{text}").into_bytes();
            for about in [
                "dnsmasq-dhcp[90]: DHCPDISCOVER(eth0) b8:27:eb:00:00:01 ",
                "dnsmasq-dhcp[90]: BOOTP(eth0) 192.168.50.101 b8:27:eb:00:00:01 ",
                "dnsmasq-dhcp[90]: no address range available for DHCP request via eth0",
            ] {
                assert!(is_about_dhcp(&line(about)), "{date}{about}");
            }
            for other in [
                "dnsmasq-dhcp[90]: read /run/bramblegate/dnsmasq/hosts",
                "dnsmasq[90]: using nameserver 10.99.0.1#53",
            ] {
                assert!(!is_about_dhcp(&line(other)), "{date}{other}");
            }
            assert!(is_routine(&line("dnsmasq-dhcp[90]: DHCPACK(eth0) 192.168.50.11 b8 rpi1")));
            let lacks = "dnsmasq-dhcp[90]: DHCPDISCOVER(eth0) b8 no address available";
            assert!(!is_routine(&line(lacks)));
            let questions = Questions::default();
            let mut pending = line("dnsmasq-dhcp[90]: DHCPOFFER(eth0) 192.168.50.11 b8\n");
            let begin = Instant::now();
            let mut limits = Limits {
                routine: Pace::new(ROUTINE, ROUTINE_INTERVAL, begin),
                all: Pace::new(LINES, LINE_INTERVAL, begin),
            };
            take_lines(&mut pending, false, &mut limits, &questions);
            assert_eq!(questions.unheard().lines, 1, "{date}");
        }
    }

    /// Returns a pipe that yields this text.
    fn pipe(text: String) -> OneShot<OwnedFd> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        std::thread::spawn(move || {
            std::io::Write::write_all(&mut fs::File::from(writer), text.as_bytes())
        });
        OneShot::new(reader)
    }

    #[test]
    fn unread_data_is_detected() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let log = Unread(Some(Arc::new(reader)));
        assert!(log.is_empty());
        rustix::io::write(&writer, b"dnsmasq-dhcp[7]: DHCPDISCOVER(eth0)\n").unwrap();
        assert!(!log.is_empty());
    }

    #[tokio::test]
    async fn routine_is_rate_limited_and_complaints_are_not() {
        let mut text = String::new();
        for number in 0..3000_u32 {
            text += &format!(
                "dnsmasq-dhcp[7]: DHCPREQUEST(eth0) 192.168.50.{} b8:27:eb:00:00:01\n",
                number % 250
            );
            if number % 100 == 0 {
                text +=
                    "dnsmasq-dhcp[7]: DHCPDISCOVER(eth0) b8:27:eb:00:00:09 no address available\n";
            }
        }
        let (sender, mut lines) = mpsc::channel(256);
        let questions = Questions::default();
        let count = questions.clone();
        let task = tokio::spawn(async move { forward_log(pipe(text), sender, count).await });
        let (mut routine, mut complaints) = (0, 0);
        while let Some(line) = lines.recv().await {
            *if line.contains("no address") { &mut complaints } else { &mut routine } += 1;
        }
        task.await.unwrap();
        assert_eq!(complaints, 30, "none is lost");
        assert!(questions.unheard().lines > 0, "the requests were counted");
        assert!((1..=ROUTINE + 8).contains(&routine), "{routine} of 3000");
    }

    /// A node can cause thousands of lines a second, and dnsmasq serves no node while the pipe is
    /// full.
    #[tokio::test]
    async fn a_flood_of_lines_does_not_block_dnsmasq() {
        let line = "dnsmasq-dhcp[7]: DHCPDISCOVER(eth0) b8:27:eb:00:00:09 no address available\n";
        let (sender, mut lines) = mpsc::channel(256);
        let (begin, text) = (Instant::now(), line.repeat(10 * LINES as usize));
        let task = tokio::spawn(async move {
            forward_log(pipe(text), sender, Questions::default()).await;
        });
        let mut forwarded = 0;
        while lines.recv().await.is_some() {
            forwarded += 1;
        }
        task.await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(2), "after {:?}", begin.elapsed());
        let most = begin.elapsed().div_duration_f64(LINE_INTERVAL) as u32 + LINES + 1;
        assert!((LINES..=most).contains(&forwarded), "{forwarded} lines");
    }
}
