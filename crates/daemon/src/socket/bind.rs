//! Creates a listening Unix socket, and removes its file at the end.

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

/// After this many refused connections …
const REFUSALS: u32 = 128;
/// … accepting pauses for this long. A full backlog of refused clients delays the next by 0.4 s.
const PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: i32 = 1024;

/// A listening socket and its file.
#[derive(Debug)]
pub struct Bound {
    listener: OneShot<UnixListener>,
    /// Connections refused since the last pause.
    refusals: u32,
    /// End of the pause.
    paused_until: Option<Instant>,
    path: PathBuf,
    folder: Folder,
    name: OsString,
    /// The socket's file itself, which another program may replace.
    file: OwnedFd,
    inode: u64,
}

impl Bound {
    /// Listens at `path` with file mode `mode`. Creates the directory if it is missing, and
    /// replaces a stale socket.
    ///
    /// # Errors
    /// The socket cannot be created, or a process listens there ([`io::ErrorKind::AddrInUse`]).
    pub fn at(path: &Path, mode: u32) -> io::Result<Self> {
        let (parent, name) = (
            path.parent().unwrap_or(Path::new(".")),
            path.file_name().ok_or(io::ErrorKind::InvalidInput)?,
        );
        let folder = match Folder::open(parent) {
            // Only one level is created, so that a typing error makes no tree.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && parent.parent().is_some_and(Path::exists) =>
            {
                Folder::make(parent, 0o755)?
            }
            other => other?,
        };
        remove_stale(path, &folder)?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
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
            paused_until: None,
            path: path.to_owned(),
            folder,
            name: name.to_owned(),
            file,
            inode: stat.st_ino,
        };
        // fchmod(2) refuses an `O_PATH` descriptor.
        rustix::fs::chmod(bound.descriptor(), Mode::from_raw_mode(mode))?;
        Ok(bound)
    }

    /// Accepts the next connection. Cancel-safe.
    ///
    /// # Errors
    /// As accept(2), for example when descriptors run out.
    pub async fn accept(&mut self) -> io::Result<UnixStream> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
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

    /// Refuses an accepted connection with this line; after `REFUSALS` of them accepting pauses.
    pub fn refuse(&mut self, stream: &UnixStream, line: &[u8]) {
        // Sent directly, since the runtime does not know yet that the stream is writable. A failure
        // is ignored: the client sees the close.
        let _ = rustix::net::send(stream, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        self.refusals += 1;
        if self.refusals >= REFUSALS {
            self.refusals = 0;
            self.paused_until = Some(Instant::now() + PAUSE);
        }
    }

    /// Changes the group of the socket's file.
    ///
    /// # Errors
    /// As fchownat(2).
    pub fn give_to_group(&self, group: u32) -> io::Result<()> {
        let group = Some(Gid::from_raw(group));
        Ok(rustix::fs::chownat(&self.file, "", None, group, AtFlags::EMPTY_PATH)?)
    }

    /// Returns the user and the group of the socket's file.
    ///
    /// # Errors
    /// As fstat(2).
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
        // Another instance may have replaced the file by its own.
        if self.folder.look(&self.name).is_ok_and(|stat| stat.st_ino == self.inode) {
            if let Err(error) = self.folder.remove(&self.name) {
                debug!(path = %self.path.display(), %error, "a socket's file stays");
            }
        }
    }
}

/// Returns the remedy for a socket that cannot be created at the path in `setting`.
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

/// Removes a socket on which no process listens, and no other type of file.
fn remove_stale(path: &Path, folder: &Folder) -> io::Result<()> {
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
    if is_listening(path)? {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    folder.remove(name)
}

/// Returns whether a process listens at the path, without waiting for it to accept.
fn is_listening(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => true,
        // EAGAIN means that a process listens and its backlog is full.
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn each_obstacle_has_its_remedy() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let remedy = |path: &Path| remedy(&Bound::at(path, 0o600).unwrap_err(), "sockets.control");
        let held = Bound::at(&folder.join("held.sock"), 0o600).unwrap();
        assert_eq!(
            remedy(held.path()),
            "stop that process, or name another path in sockets.control"
        );
        let file = folder.join("file");
        fs::write(&file, "a user's").unwrap();
        assert_eq!(remedy(&file), "remove it, or name another path in sockets.control");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a user's");
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
