//! Namespaces and commands for the tests.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::frame::Trial;

/// Prepares a test with `lo` up and a `/run` of its own.
pub fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::new(name, || {
        sh("mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up");
        test();
    })
}

/// Moves the calling thread, and processes it starts later, into a new network namespace with `lo`
/// up.
pub fn own_network() {
    // SAFETY: only the network namespace changes, and only for this thread; no memory or file table
    // is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
    sh("ip link set lo up");
}

/// Runs a shell script that must succeed; returns its standard output.
pub fn sh(script: &str) -> String {
    let (ok, output) = try_sh(script);
    assert!(ok, "failed: {script}\n{output}");
    output
}

/// Runs a shell script; returns whether it succeeded, its output and errors.
pub fn try_sh(script: &str) -> (bool, String) {
    feed(script, "")
}

/// Runs a shell script with `input` on its standard input.
pub fn feed(script: &str, input: &str) -> (bool, String) {
    let mut child = Command::new("sh")
        .args(["-ec", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh");
    let mut stdin = child.stdin.take().expect("its standard input");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    let _ = writer.join();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// An environment variable that is set in a helper process of this program.
const HELPER: &str = "BRAMBLEGATE_KERNEL_TESTS_HELPER";

/// Returns the name of the helper that this process is, if it is one.
pub fn helper_name() -> Option<String> {
    std::env::var(HELPER).ok()
}

/// Starts this program again in the caller's namespaces, as the helper `name`; returns the first
/// line that it prints. `wrapper` is put before the command (`setpriv …`).
pub fn start_helper(name: &str, wrapper: &[&str]) -> (Child, String) {
    let program = std::env::current_exe().expect("path of this program");
    let mut words = wrapper.iter().map(std::ffi::OsString::from).chain([program.into_os_string()]);
    let mut command = Command::new(words.next().expect("a word"));
    let mut child =
        command.args(words).env(HELPER, name).stdout(Stdio::piped()).spawn().expect("the helper");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    (child, line)
}

/// A named network namespace with `lo` up; dropping this deletes it.
pub struct Namespace(String);

impl Namespace {
    pub fn new(purpose: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{purpose}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        sh(&format!("ip netns add {name}; ip -n {name} link set lo up"));
        Self(name)
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// Runs a shell script in the namespace that must succeed.
    pub fn sh(&self, script: &str) -> String {
        let (ok, output) = self.try_sh(script);
        assert!(ok, "failed in {}: {script}\n{output}", self.0);
        output
    }

    /// Runs a shell script in the namespace.
    pub fn try_sh(&self, script: &str) -> (bool, String) {
        feed(&format!("ip netns exec {} sh -ec \"$(cat)\"", self.0), script)
    }

    /// Runs `work` on a thread in the namespace.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = std::fs::File::open(format!("/run/netns/{}", self.0)).expect("the namespace");
        std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(
                file.as_fd(),
                Some(LinkNameSpaceType::Network),
            )
            .expect("setns");
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = try_sh(&format!("ip netns del {}", self.0));
    }
}
