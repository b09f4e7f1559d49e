//! The translator's program beside the gateway under test.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::inside::HOME;
use super::super::shell::{Running, spawn, within};
use super::super::{Error, Result};
use super::World;

/// The device by which a program gets packets of the kernel.
const TUN: &str = "/dev/net/tun";

/// Looks for what a translator needs beside this gateway's program.
///
/// # Errors
/// What is absent, for users.
pub fn is_possible(gateway: &Path) -> Result<PathBuf> {
    let program = gateway.with_file_name("bramblegate-clat");
    if !program.is_file() {
        return Err(Error("bramblegate-clat is not installed".to_owned()));
    }
    let tun = fs::File::options().read(true).write(true).open(TUN);
    tun.map_err(|error| Error(format!("{TUN}: {error}"))).map(|_| program)
}

impl World {
    /// Starts the translator's program in the head: it follows the gateway's orders.
    ///
    /// # Errors
    /// What it needs is absent.
    pub fn start_clat(&mut self) -> Result<()> {
        let program = is_possible(&self.program)?;
        let mut command = within("head", &program.to_string_lossy());
        command.args(["--orders", &format!("{HOME}/run/clat.json")]);
        command.args(["--state", &format!("{HOME}/clat.state")]);
        self.clat = Some(spawn(&mut command, &log())?);
        Ok(())
    }

    /// Returns the translator's process.
    pub fn clat(&mut self) -> Option<&mut Running> {
        self.clat.as_mut()
    }
}

/// Returns where the program logs.
pub fn log() -> PathBuf {
    Path::new(HOME).join("clat.log")
}
