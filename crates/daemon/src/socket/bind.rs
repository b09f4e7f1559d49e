//! Makes a socket that clients connect to, and takes its file away again.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Gid, Mode};
use rustix::net::SendFlags;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::files::folder::Folder;
use crate::oneshot::OneShot;

/// After so many who got no place …
const REFUSALS: u32 = 128;
/// … everybody waits so long in the kernel's queue. Somebody who fills it delays the next by 0.4 s.
const REST: Duration = Duration::from_millis(50);
const QUEUE: i32 = 1024;

/// Holds a listening socket and its file.
#[derive(Debug)]
pub struct Bound {
    listener: OneShot<UnixListener>,
    /// who got no place since the last rest
    refusals: u32,
    rest: Option<Instant>,
    path: PathBuf,
    folder: Folder,
    name: OsString,
    /// the socket's file, whatever is put in its place later
    file: OwnedFd,
    inode: u64,
}

impl Bound {
    /// Listens at `path`, for those whom `mode` lets; its folder is made if need be, a file that
    /// no process answers at is replaced.
    ///
    /// # Errors
    /// The socket cannot be made, or a process answers there ([`io::ErrorKind::AddrInUse`]).
    pub fn at(path: &Path, mode: u32) -> io::Result<Self> {
        let (above, name) = (
            path.parent().unwrap_or(Path::new(".")),
            path.file_name().ok_or(io::ErrorKind::InvalidInput)?,
        );
        let folder = match Folder::open(above) {
            // One folder is made and not a whole path: a slip of the finger makes no tree.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && above.parent().is_some_and(Path::exists) =>
            {
                Folder::make(above, 0o755)?
            }
            other => other?,
        };
        clear_the_way(path, &folder)?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, QUEUE)?;
        let file = folder.handle(name)?;
        let stat = rustix::fs::fstat(&file)?;
        let own = rustix::process::geteuid().as_raw();
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket
            || stat.st_uid != own
            || stat.st_nlink > 1
        {
            return Err(io::Error::other("another program has replaced it"));
        }
        let bound = Self {
            listener: OneShot::new(listener),
            refusals: 0,
            rest: None,
            path: path.to_owned(),
            folder,
            name: name.to_owned(),
            file,
            inode: stat.st_ino,
        };
        // fchmod(2) takes no descriptor that was opened for its place alone.
        rustix::fs::chmod(bound.descriptor(), Mode::from_raw_mode(mode))?;
        Ok(bound)
    }

    /// Waits for the next who connects. A caller that stops waiting may begin again: no connection
    /// is lost.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub async fn accept(&mut self) -> io::Result<UnixStream> {
        if let Some(until) = self.rest {
            sleep_until(until).await;
            self.rest = None;
        }
        loop {
            match self.listener.get_ref().accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    return UnixStream::from_std(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listener.readable().await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers one that was accepted and gets no place with this line; after too many of these the
    /// rest waits a moment.
    pub fn refuse(&mut self, stream: &UnixStream, line: &[u8]) {
        // A new socket's buffer takes this; if not, being closed says enough. (The runtime does not
        // know yet that it may write.)
        let _ = rustix::net::send(stream, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        self.refusals += 1;
        if self.refusals >= REFUSALS {
            self.refusals = 0;
            self.rest = Some(Instant::now() + REST);
        }
    }

    /// Gives the socket's file to a group.
    ///
    /// # Errors
    /// This user may not.
    pub fn give_to_group(&self, group: u32) -> io::Result<()> {
        let group = Some(Gid::from_raw(group));
        Ok(rustix::fs::chownat(&self.file, "", None, group, AtFlags::EMPTY_PATH)?)
    }

    /// Returns the user and the group of the socket's file.
    ///
    /// # Errors
    /// As the file system says.
    pub fn owner(&self) -> io::Result<(u32, u32)> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok((stat.st_uid, stat.st_gid))
    }

    fn descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Another instance may have made its own in the meantime.
        if self.folder.look(&self.name).is_ok_and(|stat| stat.st_ino == self.inode) {
            if let Err(error) = self.folder.remove(&self.name) {
                debug!(path = %self.path.display(), %error, "a socket's file stays");
            }
        }
    }
}

/// Returns what to do about a socket that cannot be made at the path of this setting.
pub fn remedy(error: &io::Error, setting: &str) -> String {
    use io::ErrorKind::{AddrInUse, AlreadyExists, NotADirectory, NotFound, PermissionDenied};
    let help = match error.kind() {
        AddrInUse => "stop that process",
        AlreadyExists => "remove it",
        NotFound | NotADirectory => "make its folder",
        PermissionDenied => "let this user write to its folder",
        _ => return format!("name a path in {setting} where a file can be made"),
    };
    format!("{help}, or name another path in {setting}")
}

/// Removes a socket that no process answers at. Never a file of another kind.
fn clear_the_way(path: &Path, folder: &Folder) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let stat = match folder.look(name) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is not a socket",
        ));
    }
    if is_answered(path)? {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    folder.remove(name)
}

/// Returns whether a process listens; does not wait for them to accept.
fn is_answered(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(match socket.connect(&SockAddr::unix(path)?) {
        // EAGAIN: their queue is full, so they are there.
        Ok(()) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn whatever_is_in_the_way_is_reported_with_its_remedy() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let remedy = |path: &Path| remedy(&Bound::at(path, 0o600).unwrap_err(), "sockets.control");
        let held = Bound::at(&folder.join("held.sock"), 0o600).unwrap();
        assert_eq!(
            remedy(held.path()),
            "stop that process, or name another path in sockets.control"
        );
        let file = folder.join("file");
        fs::write(&file, "somebody's").unwrap();
        assert_eq!(remedy(&file), "remove it, or name another path in sockets.control");
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
        assert_eq!(
            remedy(&file.join("x.sock")),
            "make its folder, or name another path in sockets.control"
        );
        assert_eq!(
            remedy(&folder.join("a/b/x.sock")),
            "make its folder, or name another path in sockets.control"
        );
    }
}
