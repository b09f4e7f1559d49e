//! A pseudo-terminal for a program, with input and output by the test.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A timeout for slow machines.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(10);

/// A program on a terminal; dropping this ends it.
pub struct Terminal {
    child: Child,
    master: File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Ends once no program has the terminal open.
    reader: JoinHandle<()>,
    /// The length of the output that was waited for already.
    seen: usize,
}

impl Terminal {
    /// Starts a program with this terminal as its controlling one.
    pub fn start(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(i32::try_from(OFlags::NOCTTY.bits()).unwrap())
            .open(name.to_str().unwrap())
            .unwrap();
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", program])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .unwrap();
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut from, into) = (master.try_clone().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal whose last program has ended returns an error, not an end of file.
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        Self { child, master, shown, reader, seen: 0 }
    }

    /// Returns the whole output.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Waits for these words in the output, after those that were waited for before.
    #[track_caller]
    pub fn until(&mut self, words: &str) {
        let start = Instant::now();
        loop {
            let text = self.text();
            if let Some(at) = text.get(self.seen..).and_then(|new| new.find(words)) {
                self.seen += at + words.len();
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{words:?} does not come: {text}");
            std::thread::sleep(STEP);
        }
    }

    /// Types a text; a line ends with "\r" or "\n".
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The last output may still be in flight. A program left in the background would
                // keep the terminal open.
                let last = Instant::now();
                while !self.reader.is_finished() && last.elapsed() < PATIENCE / 10 {
                    std::thread::sleep(STEP);
                }
                return (status, self.text());
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {}", self.text());
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
