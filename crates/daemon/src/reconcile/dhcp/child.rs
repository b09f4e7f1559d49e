//! dnsmasq as a child of ours: found, started, listened to, ended.

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

/// Folders of administrators' programs, which a `PATH` may lack.
const FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];
/// It is asked to end for so long before it is made to.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longer lines are cut.
const LONGEST: usize = 4096;
/// Bounds the lines that are forwarded in a row, and one more in each interval; a thousand nodes
/// that come at once cause 4,000, most of them routine.
const LINES: u32 = 2000;
const LINE_INTERVAL: Duration = Duration::from_micros(500);
/// Bytes of the pipe, and what is read at a time: what an ordinary user may have (pipe(7)). Where
/// it is full dnsmasq waits, and with it all nodes.
const PIPE: usize = 1 << 20;
/// The pipe is read at once so many times in a row, and then once in each interval; at 10,000
/// requests a second what gathers meanwhile fills a fifth of it.
const READINGS: u32 = 32;
const READING_INTERVAL: Duration = Duration::from_millis(200);
/// Lines of routine that are forwarded in a row, and one more in each interval.
const ROUTINE: u32 = 64;
const ROUTINE_INTERVAL: Duration = Duration::from_millis(500);

/// Returns where dnsmasq is, if it is installed.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from)).collect();
    folders.into_iter().map(|folder| folder.join("dnsmasq")).find(|file| file.is_file())
}

/// A dnsmasq that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Unread,
}

/// What it has logged and was not read yet.
#[derive(Debug, Clone, Default)]
pub struct Unread(Option<Arc<OwnedFd>>);

impl Unread {
    /// Returns whether all that it has logged was read.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().map(rustix::io::ioctl_fionread).is_none_or(|bytes| bytes == Ok(0))
    }
}

impl Running {
    /// Starts it. It ends when we do, however that happens. `asked` learns what it heard of that.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, config: &Path, asked: Questions) -> io::Result<Self> {
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
            tokio::spawn(listen(stderr, sender, asked));
        }
        Ok(Self { child, lines, log })
    }

    /// Returns the next line of its log, or how it ended once its log is read to the end.
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

    /// Returns what of its log was not read yet, now and later.
    pub fn unread(&self) -> Unread {
        self.log.clone()
    }

    /// Returns its process number.
    pub const fn id(&self) -> Option<Pid> {
        self.child.id()
    }

    /// Lets it read its files again, all but the main one.
    pub fn reload(&self) {
        self.child.signal(Signal::HUP);
    }

    /// Ends it, and what it has started for connections by TCP.
    pub async fn end(self) {
        self.child.end(PATIENCE).await;
    }

    /// Ends it without a word: one that does not answer does not hear one either.
    pub async fn kill(self) {
        self.child.kill().await;
    }

    /// Returns who brought its end about.
    pub fn cause(&self, status: ExitStatus) -> ExitCause {
        self.child.cause(status)
    }

    /// Ends those that it started and left behind.
    pub fn sweep(&self) {
        self.child.sweep();
    }
}

/// Returns the options for the foreground and the user that we are. An ordinary user's dnsmasq
/// keeps its user; root's would change to a user who may not read our files. Where no groups can be
/// set (an unprivileged user namespace) only the debugging mode changes nothing.
fn foreground() -> &'static [&'static str] {
    if !rustix::process::geteuid().is_root() {
        return &["--keep-in-foreground"];
    }
    match std::fs::read_to_string("/proc/self/setgroups") {
        Ok(text) if text.trim() == "deny" => &["--no-daemon"],
        _ => &["--keep-in-foreground", "--user=root", "--group=root"],
    }
}

/// Forwards what dnsmasq writes, line by line. How many lines there are the nodes decide: of a
/// flood only some are forwarded, of routine as signs of life. The rest is read and passed over.
async fn listen(mut stderr: OneShot<OwnedFd>, lines: mpsc::Sender<String>, asked: Questions) {
    // A user who has many large pipes already keeps this one as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(stderr.get_ref(), PIPE);
    let (mut pending, begin) = (Vec::with_capacity(PIPE), Instant::now());
    let mut limits = Limits {
        routine: Pace::new(ROUTINE, ROUTINE_INTERVAL, begin),
        all: Pace::new(LINES, LINE_INTERVAL, begin),
    };
    let mut readings = Pace::new(READINGS, READING_INTERVAL, begin);
    loop {
        tokio::time::sleep_until(readings.next(Instant::now())).await;
        let is_end = !matches!(read(&mut stderr, &mut pending).await, Ok(1..));
        for line in take_lines(&mut pending, is_end, &mut limits, &asked) {
            if lines.send(line).await.is_err() {
                return;
            }
        }
        if is_end {
            return;
        }
    }
}

/// How many lines are forwarded.
struct Limits {
    routine: Pace,
    all: Pace,
}

impl Limits {
    fn pass(&mut self, line: &[u8], now: Instant) -> bool {
        (!is_routine(line) || self.routine.try_take(now)) && self.all.try_take(now)
    }
}

/// Waits for something to read, and appends it. Returns how many bytes; 0 at the end.
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

/// Takes the whole lines out of `pending`, and what is left at the end. Returns those worth
/// forwarding.
fn take_lines(
    pending: &mut Vec<u8>,
    is_end: bool,
    limits: &mut Limits,
    asked: &Questions,
) -> Vec<String> {
    let whole = if is_end || pending.len() >= PIPE {
        pending.len()
    } else {
        pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    };
    let (mut worth, mut about_dhcp, now) = (Vec::new(), false, Instant::now());
    for line in pending.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
        let line = line.get(..LONGEST).unwrap_or(line).trim_ascii_end();
        about_dhcp = about_dhcp || is_about_dhcp(line);
        if !line.is_empty() && limits.pass(line, now) {
            worth.push(String::from_utf8_lossy(line).into_owned());
        }
    }
    // Also by those lines of which too many come to be forwarded.
    if about_dhcp {
        asked.heard();
    }
    worth
}

/// Returns whether a line says that it heard a client: `dnsmasq-dhcp[7]: DHCPDISCOVER(eth0) …`,
/// `… BOOTP(eth0) …`, `… no address range available for DHCP request via eth0`.
fn is_about_dhcp(line: &[u8]) -> bool {
    without_date(line).starts_with(b"dnsmasq-dhcp")
        && [b"DHCP".as_slice(), b"BOOTP("].iter().any(|word| place_of(word, line).is_some())
}

/// Returns a line from the program's name on. In its debugging mode dnsmasq (2.90, `log.c`) writes
/// the date before it: `Nov 30 13:10:43 dnsmasq-dhcp[7]: …`.
fn without_date(line: &[u8]) -> &[u8] {
    place_of(b"dnsmasq", line).and_then(|at| line.get(at..)).unwrap_or_default()
}

fn place_of(word: &[u8], line: &[u8]) -> Option<usize> {
    line.windows(word.len()).position(|part| part == word)
}

/// Returns whether a line only says that a client was served, and nothing of what it lacks ("no
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

    /// A machine that boots takes a second from the start of a program to its first line.
    #[tokio::test]
    async fn a_word_that_comes_before_dnsmasq_listens_does_not_end_it() {
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

    /// With the date as in the debugging mode, which is used in a user namespace without rights.
    #[test]
    fn what_it_hears_of_nodes_is_known_in_either_mode() {
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
            let asked = Questions::default();
            let mut pending = line("dnsmasq-dhcp[90]: DHCPOFFER(eth0) 192.168.50.11 b8\n");
            let begin = Instant::now();
            let mut limits = Limits {
                routine: Pace::new(ROUTINE, ROUTINE_INTERVAL, begin),
                all: Pace::new(LINES, LINE_INTERVAL, begin),
            };
            take_lines(&mut pending, false, &mut limits, &asked);
            assert_eq!(asked.unheard().lines, 1, "{date}");
        }
    }

    /// A pipe into which this text is written before it is closed.
    fn pipe(text: String) -> OneShot<OwnedFd> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        std::thread::spawn(move || {
            std::io::Write::write_all(&mut fs::File::from(writer), text.as_bytes())
        });
        OneShot::new(reader)
    }

    #[test]
    fn what_was_not_read_yet_is_seen() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let log = Unread(Some(Arc::new(reader)));
        assert!(log.is_empty());
        rustix::io::write(&writer, b"dnsmasq-dhcp[7]: DHCPDISCOVER(eth0)\n").unwrap();
        assert!(!log.is_empty());
    }

    #[tokio::test]
    async fn routine_is_forwarded_as_a_sign_of_life_and_complaints_always() {
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
        let asked = Questions::default();
        let count = asked.clone();
        let listening = tokio::spawn(async move { listen(pipe(text), sender, count).await });
        let (mut routine, mut complaints) = (0, 0);
        while let Some(line) = lines.recv().await {
            *if line.contains("no address") { &mut complaints } else { &mut routine } += 1;
        }
        listening.await.unwrap();
        assert_eq!(complaints, 30, "none is lost");
        assert!(asked.unheard().lines > 0, "that it spoke was noted");
        assert!((1..=ROUTINE + 8).contains(&routine), "{routine} of 3000");
    }

    /// One node can have it say thousands of lines a second: while its log waits to be read it
    /// serves no node.
    #[tokio::test]
    async fn it_never_waits_until_a_flood_has_been_listened_to() {
        let line = "dnsmasq-dhcp[7]: DHCPDISCOVER(eth0) b8:27:eb:00:00:09 no address available\n";
        let (sender, mut lines) = mpsc::channel(256);
        let (begin, text) = (Instant::now(), line.repeat(10 * LINES as usize));
        let listening =
            tokio::spawn(async move { listen(pipe(text), sender, Questions::default()).await });
        let mut forwarded = 0;
        while lines.recv().await.is_some() {
            forwarded += 1;
        }
        listening.await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(2), "after {:?}", begin.elapsed());
        let most = begin.elapsed().div_duration_f64(LINE_INTERVAL) as u32 + LINES + 1;
        assert!((LINES..=most).contains(&forwarded), "{forwarded} lines");
    }
}
