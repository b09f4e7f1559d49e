//! Runs other programs in this namespace or in one of the world's, to completion or in the
//! background.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::{Error, Result, while_doing};

/// Runs a program to completion. Returns its output.
///
/// # Errors
/// It cannot be started, or fails: the error contains its standard error.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(while_doing(format!("cannot start {program}")))?;
    checked(&format!("{program} {}", arguments.join(" ")), output)
}

/// Runs a program as [`run`] does, with `input` on its standard input.
pub fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(while_doing(format!("cannot start {program}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(while_doing(format!("{program} does not read")))?;
    }
    let output = child.wait_with_output().map_err(while_doing(format!("waiting for {program}")))?;
    checked(&format!("{program} {} with input\n{input}", arguments.join(" ")), output)
}

/// Runs a batch of `ip` commands in one of the world's namespaces, or with an empty name in the
/// outer one.
pub fn ip(namespace: &str, lines: &str) -> Result<()> {
    let arguments: &[&str] =
        if namespace.is_empty() { &["-batch", "-"] } else { &["-n", namespace, "-batch", "-"] };
    feed("ip", arguments, lines).map(drop)
}

/// Returns a command that will run in one of the world's namespaces, with its `/sys`.
pub fn within(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]).stdin(Stdio::null());
    command
}

/// Runs a shell command in a namespace. Returns its exit code and its combined output.
pub fn exec(namespace: &str, line: &str) -> Result<(i32, String)> {
    let output = within(namespace, "sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .output()
        .map_err(while_doing(format!("cannot run {line} in {namespace}")))?;
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Runs a shell command in a namespace. Returns its output, or an error that contains it.
pub fn must(namespace: &str, line: &str) -> Result<String> {
    match exec(namespace, line)? {
        (0, text) => Ok(text),
        (code, text) => Err(Error(format!("in {namespace}: {line}: exit {code}: {}", text.trim()))),
    }
}

/// Starts a command in the background, with its output appended to the file `log`.
pub fn spawn(command: &mut Command, log: &Path) -> Result<Running> {
    spawn_reading(command, Stdio::null(), log)
}

/// Starts a program as [`spawn`] does, with standard input.
pub fn spawn_reading(command: &mut Command, input: Stdio, log: &Path) -> Result<Running> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(while_doing(format!("cannot write {}", log.display())))?;
    let copy = file.try_clone().map_err(while_doing("cannot duplicate a file"))?;
    let child = command
        .stdin(input)
        .stdout(file)
        .stderr(copy)
        .spawn()
        .map_err(while_doing(format!("cannot start {command:?}")))?;
    Ok(Running(child))
}

/// A program in the background; killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Returns its process ID in our PID namespace.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal by name (`"USR1"`).
    pub fn signal(&self, name: &str) -> Result<()> {
        run("busybox", &["kill", &format!("-{name}"), &self.0.id().to_string()]).map(drop)
    }

    /// Returns its exit code, if it has ended; 128 + N if signal N killed it.
    pub fn ended(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.0.try_wait().ok().flatten()?;
        status.code().or_else(|| status.signal().map(|number| 128 + number))
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn checked(what: &str, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error(format!("{what}: {}: {}", output.status, complaint.trim())))
}
