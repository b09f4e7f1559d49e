//! The status page of the gateway under test, a separate program.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::super::inside::HOME;
use super::super::shell::{Running, spawn_reading, within};
use super::super::{Result, while_doing};
use super::World;

/// A shell command that passes standard input to a program as the first socket of
/// sd_listen_fds(3).
const HAND_OVER: &str = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null";

impl World {
    /// Starts the status page in the head, on the ports of the settings and, if given, on a
    /// listening socket of another namespace. Returns whether its program exists beside the
    /// gateway's.
    pub fn start_web(&mut self, socket: Option<OwnedFd>) -> Result<bool> {
        let program = self.program.with_file_name("bramblegate-web");
        if !program.is_file() {
            return Ok(false);
        }
        let folder = format!("{HOME}/web");
        fs::create_dir_all(&folder).map_err(while_doing(&folder))?;
        let settings = format!("{HOME}/bramblegate.toml");
        let password = format!("{HOME}/web.password");
        let program = program.to_string_lossy();
        let own = [&*program, "-c", &settings, "--password", &password];
        let (mut command, input) = match socket {
            Some(socket) => {
                let mut command = within("head", "sh");
                command.args(["-c", HAND_OVER]).args(own).args(["--listen", "[::]:80"]);
                (command, Stdio::from(socket))
            }
            None => {
                let mut command = within("head", &program);
                command.args(own.iter().skip(1));
                (command, Stdio::null())
            }
        };
        command.env_remove("NOTIFY_SOCKET");
        self.web = Some(spawn_reading(&mut command, input, &web_log())?);
        Ok(true)
    }

    /// Returns the status page's process.
    pub fn web(&mut self) -> Option<&mut Running> {
        self.web.as_mut()
    }
}

fn web_log() -> PathBuf {
    Path::new(HOME).join("web.log")
}
