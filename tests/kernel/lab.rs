//! Namespaces and commands for the tests.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use rustix::thread::UnshareFlags;

/// Set in the process that runs inside the namespaces.
const INSIDE: &str = "BRAMBLEGATE_KERNEL_TESTS_INSIDE";

/// Goes on inside namespaces of this process's own; the process outside only waits. Listing tests needs none.
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
    command.arg(std::env::current_exe().expect("path of this program")).args(std::env::args_os().skip(1));
    let error = command.env(INSIDE, "1").exec();
    panic!("unshare (util-linux) is needed to run these tests: {error}");
}

/// A test in a network namespace of its own, with `lo` up. Commands started by it are in that namespace too.
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
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").into()
}

/// Moves the calling thread, and what it starts from now on, into a fresh network namespace with `lo` up.
pub fn own_network() {
    // SAFETY: only the network namespace changes, and only for this thread; no memory or file table is unshared.
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
