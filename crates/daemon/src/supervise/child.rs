//! A child process that ends when we do.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::ChildStderr;
use tokio::time::timeout;
use tracing::debug;

use super::ExitCause;
use super::exit_cause::memory_kills;

/// Holds a child that runs, in a process group of its own.
///
/// It is sent `SIGTERM` by the kernel when the thread that started it ends, however that happens,
/// so start it on a thread that lives as long as the daemon. Dropping the value kills the child.
#[derive(Debug)]
pub struct Child {
    child: tokio::process::Child,
    id: Option<Pid>,
    /// programs that the kernel had killed for want of memory when this one was started
    memory_kills: Option<u64>,
}

impl Child {
    /// Starts `command` with the pipes that it names. `SIGHUP` is ignored until the program sets
    /// its own handler: the word to read its files again may come before that, and would end it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        let parent = rustix::process::getpid();
        // SAFETY: only system calls that a forked child may make.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                // The parent died between fork and that call: no signal would come.
                if rustix::process::getppid() == Some(parent) {
                    Ok(())
                } else {
                    Err(io::ErrorKind::BrokenPipe.into())
                }
            });
        }
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, id, memory_kills: read_memory_kills() })
    }

    /// Takes the end of its standard error, if that is a pipe and was not taken before.
    pub const fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Returns its process number, also when it has ended.
    pub const fn id(&self) -> Option<Pid> {
        self.id
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// # Errors
    /// As the system says.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends it a signal; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.id.filter(|_| self.child.id().is_some()) {
            // It may end at any moment: then there is no process to signal.
            if let Err(error) = kill_process(id, signal) {
                debug!(?id, ?signal, %error, "a child was not signalled");
            }
        }
    }

    /// Asks it to end, makes it after `patience`, and ends what it has started.
    pub async fn end(mut self, patience: Duration) {
        self.signal(Signal::TERM);
        if timeout(patience, self.child.wait()).await.is_err() {
            debug!(id = ?self.id, ?patience, "a child does not end by itself");
            return self.kill().await;
        }
        self.sweep();
    }

    /// Ends it by force, and what it has started.
    pub async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            debug!(id = ?self.id, %error, "a child was not killed");
        }
        self.sweep();
    }

    /// Ends what it has started and left behind.
    pub fn sweep(&self) {
        if let Some(id) = self.id {
            // An empty group is the usual case.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }

    /// Returns who brought the end about that [`Self::wait`] saw.
    pub fn cause(&self, status: ExitStatus) -> ExitCause {
        let now = self.memory_kills.zip(read_memory_kills());
        ExitCause::of(status, now.is_some_and(|(before, now)| before != now))
    }
}

fn read_memory_kills() -> Option<u64> {
    memory_kills(&std::fs::read_to_string("/proc/vmstat").ok()?)
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
    async fn an_end_of_its_own_and_one_by_signal_are_distinguished() {
        let mut failed = shell("exit 3");
        let status = failed.wait().await.unwrap();
        assert_eq!((status.code(), failed.cause(status)), (Some(3), ExitCause::Own));
        let mut killed = shell("exec sleep 60");
        killed.signal(Signal::TERM);
        let status = killed.wait().await.unwrap();
        assert_eq!(killed.cause(status), ExitCause::Killed);
        killed.signal(Signal::TERM);
    }

    /// Its grandchild holds the pipe: that reads its end once both are gone.
    #[tokio::test]
    async fn one_that_does_not_listen_is_ended_with_what_it_started() {
        let mut child = shell("trap '' TERM; sleep 60 & echo ready; wait; sleep 60");
        let mut output = child.child.stdout.take().unwrap();
        let mut word = [0; 6];
        output.read_exact(&mut word).await.unwrap();
        let begin = Instant::now();
        child.end(Duration::from_millis(100)).await;
        assert!(begin.elapsed() >= Duration::from_millis(100));
        let rest = timeout(Duration::from_secs(5), output.read(&mut word)).await;
        assert_eq!(rest.expect("somebody lives").unwrap(), 0);
    }

    #[tokio::test]
    async fn a_word_before_it_listens_does_not_end_it() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line; exit 4"]).stdin(Stdio::piped());
        let mut child = Child::start(command).unwrap();
        child.signal(Signal::HUP);
        let mut input = child.child.stdin.take().unwrap();
        input.write_all(b"go\n").await.unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(4));
    }
}
