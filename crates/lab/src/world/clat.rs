//! The translator's program beside the gateway under test.

use std::fs;
use std::path::{Path, PathBuf};

use bramblegate_api::clat;

use super::super::inside::HOME;
use super::super::shell::{Running, spawn, within};
use super::super::{Error, Result, while_doing};
use super::World;

/// The kernel's TUN device.
const TUN: &str = "/dev/net/tun";

/// Returns the translator's program, which is beside the gateway's.
///
/// # Errors
/// The program or the TUN device is missing, in words for users.
pub fn is_possible(gateway: &Path) -> Result<PathBuf> {
    let program = gateway.with_file_name("bramblegate-clat");
    if !program.is_file() {
        return Err(Error("bramblegate-clat is not installed".to_owned()));
    }
    let tun = fs::File::options().read(true).write(true).open(TUN);
    tun.map_err(|error| Error(format!("{TUN}: {error}"))).map(|_| program)
}

impl World {
    /// Starts the translator's program in the head, which follows the gateway's orders.
    ///
    /// # Errors
    /// See [`is_possible`].
    pub fn start_clat(&mut self) -> Result<()> {
        self.start_clat_with(&[])
    }

    /// Starts the translator as [`World::start_clat`] does, with more arguments.
    ///
    /// # Errors
    /// See [`is_possible`].
    pub fn start_clat_with(&mut self, arguments: &[&str]) -> Result<()> {
        let program = is_possible(&self.program)?;
        let folder = Path::new(clat::STATE).parent().unwrap_or(Path::new(HOME));
        fs::create_dir_all(folder).map_err(while_doing(folder.display()))?;
        let mut command = within("head", &program.to_string_lossy());
        command.args(["--orders", &format!("{HOME}/run/clat.json"), "--state", clat::STATE]);
        command.args(arguments);
        self.clat = Some(spawn(&mut command, &log())?);
        Ok(())
    }

    /// Returns the translator's process.
    pub fn clat(&mut self) -> Option<&mut Running> {
        self.clat.as_mut()
    }
}

/// Returns the program's log file.
pub fn log() -> PathBuf {
    Path::new(HOME).join("clat.log")
}
