//! A child process that ends with the daemon.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::ChildStderr;
use tokio::time::timeout;
use tracing::debug;

use super::ExitCause;
use super::exit_cause::oom_kills;

/// A child process in its own process group.
///
/// The kernel sends it `SIGTERM` when the thread that started it ends (`PR_SET_PDEATHSIG`), so
/// start it on a thread that lives as long as the daemon. Dropping the value kills the child.
#[derive(Debug)]
pub struct Child {
    child: tokio::process::Child,
    id: Option<Pid>,
    /// The kernel's count of OOM kills when the child was started.
    oom_kills: Option<u64>,
}

impl Child {
    /// Starts `command` with its configured pipes. `SIGHUP` is ignored until the program installs
    /// its handler, since an early reload request would end it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        let parent = rustix::process::getpid();
        // SAFETY: the closure makes only async-signal-safe calls.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                // If the parent died before that call, the signal would never be sent.
                if rustix::process::getppid() == Some(parent) {
                    Ok(())
                } else {
                    Err(io::ErrorKind::BrokenPipe.into())
                }
            });
        }
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, id, oom_kills: read_oom_kills() })
    }

    /// Takes the pipe of the standard error, unless it was taken before.
    pub const fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Returns the PID, also after the exit.
    pub const fn id(&self) -> Option<Pid> {
        self.id
    }

    /// Waits for the exit. Cancel-safe.
    ///
    /// # Errors
    /// As waitpid(2).
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal unless the child has exited.
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.id.filter(|_| self.child.id().is_some()) {
            // The child may exit at any moment, so a failure is expected.
            if let Err(error) = kill_process(id, signal) {
                debug!(?id, ?signal, %error, "a child was not signalled");
            }
        }
    }

    /// Terminates the child, kills it after `patience`, and kills the rest of its process group.
    pub async fn end(mut self, patience: Duration) {
        self.signal(Signal::TERM);
        if timeout(patience, self.child.wait()).await.is_err() {
            debug!(id = ?self.id, ?patience, "a child does not end by itself");
            return self.kill().await;
        }
        self.sweep();
    }

    /// Kills the child and the rest of its process group.
    pub async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            debug!(id = ?self.id, %error, "a child was not killed");
        }
        self.sweep();
    }

    /// Kills the processes that remain in the child's process group.
    pub fn sweep(&self) {
        if let Some(id) = self.id {
            // The group is usually empty, so a failure is expected.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }

    /// Classifies an exit returned by [`Self::wait`].
    pub fn cause(&self, status: ExitStatus) -> ExitCause {
        let counts = self.oom_kills.zip(read_oom_kills());
        ExitCause::of(status, counts.is_some_and(|(before, now)| before != now))
    }
}

fn read_oom_kills() -> Option<u64> {
    oom_kills(&std::fs::read_to_string("/proc/vmstat").ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        Child::start(command).unwrap()
    }

    #[tokio::test]
    async fn an_exit_and_a_kill_are_distinguished() {
        let mut failed = shell("exit 3");
        let status = failed.wait().await.unwrap();
        assert_eq!((status.code(), failed.cause(status)), (Some(3), ExitCause::Own));
        let mut killed = shell("exec sleep 60");
        killed.signal(Signal::TERM);
        let status = killed.wait().await.unwrap();
        assert_eq!(killed.cause(status), ExitCause::Killed);
        killed.signal(Signal::TERM);
    }

    /// The grandchild holds the pipe open, which reaches its end once both are gone.
    #[tokio::test]
    async fn a_child_that_ignores_sigterm_is_killed_with_its_group() {
        let mut child = shell("trap '' TERM; sleep 60 & echo ready; wait; sleep 60");
        let mut output = child.child.stdout.take().unwrap();
        let mut word = [0; 6];
        output.read_exact(&mut word).await.unwrap();
        let begin = Instant::now();
        child.end(Duration::from_millis(100)).await;
        assert!(begin.elapsed() >= Duration::from_millis(100));
        let rest = timeout(Duration::from_secs(5), output.read(&mut word)).await;
        assert_eq!(rest.expect("a process survived").unwrap(), 0);
    }

    #[tokio::test]
    async fn sighup_before_the_handler_is_installed_is_ignored() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line; exit 4"]).stdin(Stdio::piped());
        let mut child = Child::start(command).unwrap();
        child.signal(Signal::HUP);
        let mut input = child.child.stdin.take().unwrap();
        input.write_all(b"go\n").await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(4));
    }
}
