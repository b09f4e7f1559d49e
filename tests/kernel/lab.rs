//! Namespaces and commands for the tests.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use libtest_mimic::{Failed, Trial};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Set in the process that runs inside the namespaces.
const INSIDE: &str = "BRAMBLEGATE_KERNEL_TESTS_INSIDE";

/// Goes on inside namespaces of this process's own; the process outside only waits. Listing tests
/// needs none.
pub fn enter() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        sh("mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .arg(std::env::current_exe().expect("path of this program"))
        .args(std::env::args_os().skip(1));
    let error = command.env(INSIDE, "1").exec();
    panic!("unshare (util-linux) is needed to run these tests: {error}");
}

/// A test in a network namespace of its own, with `lo` up. Commands started by it are in that
/// namespace too.
pub fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let run = || {
            own_network();
            test();
        };
        // A thread of its own: the namespace goes with it, and so do those it starts.
        let result = std::thread::spawn(move || catch_unwind(AssertUnwindSafe(run))).join();
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(panic)) | Err(panic) => Err(message(panic.as_ref())),
        }
    })
}

fn message(panic: &(dyn std::any::Any + Send)) -> Failed {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").into()
}

/// Moves the calling thread, and what it starts from now on, into a fresh network namespace with
/// `lo` up.
pub fn own_network() {
    // SAFETY: only the network namespace changes, and only for this thread; no memory or file table
    // is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
    sh("ip link set lo up");
}

/// Runs a shell script that must succeed; its standard output.
pub fn sh(script: &str) -> String {
    let (ok, output) = try_sh(script);
    assert!(ok, "failed: {script}\n{output}");
    output
}

/// Runs a shell script: whether it succeeded, and its output and errors.
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

/// Set in a process of this program that a test has started as a helper.
const HELPER: &str = "BRAMBLEGATE_KERNEL_TESTS_HELPER";

/// The name of the helper that this process is to be, if it is one.
pub fn helper_name() -> Option<String> {
    std::env::var(HELPER).ok()
}

/// Starts this program once more, in the caller's namespaces, as the helper `name`; returns when it
/// has printed a line, and that line. `wrapper` is put before the command (`setpriv …`).
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

/// A named network namespace with `lo` up; it goes with the value.
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

    /// Runs a shell script in it that must succeed.
    pub fn sh(&self, script: &str) -> String {
        let (ok, output) = self.try_sh(script);
        assert!(ok, "failed in {}: {script}\n{output}", self.0);
        output
    }

    /// Runs a shell script in it.
    pub fn try_sh(&self, script: &str) -> (bool, String) {
        feed(&format!("ip netns exec {} sh -ec \"$(cat)\"", self.0), script)
    }

    /// Runs `work` on a thread that lives in it.
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
