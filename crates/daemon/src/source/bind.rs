//! Making a socket that people's programs connect to, and taking its file away again.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// A listening socket and its file.
#[derive(Debug)]
pub struct Bound {
    pub listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Bound {
    /// Listens at `path`, for those whom `mode` lets; its folder is made if need be, a file that nobody answers at is replaced.
    ///
    /// # Errors
    /// The socket cannot be made, or somebody answers there ([`io::ErrorKind::AddrInUse`]).
    pub fn at(path: &Path, mode: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            DirBuilder::new().mode(0o755).create(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        clear_the_way(path)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let inode = fs::metadata(path)?.ino();
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Another instance may have made its own in the meantime.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What to do about a socket that cannot be made at the path of this setting.
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

/// Removes a socket that nobody answers at. Never a file of another kind.
fn clear_the_way(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    if is_answered(path)? {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    fs::remove_file(path)
}

/// Whether somebody listens; does not wait for them to accept.
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
    use super::*;

    #[tokio::test]
    async fn whatever_is_in_the_way_is_told_with_its_remedy() {
        let folder = std::env::temp_dir().join(format!("bramblegate-bind-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let remedy = |path: &Path| remedy(&Bound::at(path, 0o600).unwrap_err(), "control.socket");
        let held = Bound::at(&folder.join("held.sock"), 0o600).unwrap();
        assert_eq!(remedy(held.path()), "stop that process, or name another path in control.socket");
        let file = folder.join("file");
        fs::write(&file, "somebody's").unwrap();
        assert_eq!(remedy(&file), "remove it, or name another path in control.socket");
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
        assert_eq!(remedy(&file.join("x.sock")), "make its folder, or name another path in control.socket");
        assert_eq!(remedy(&folder.join("a/b/x.sock")), "make its folder, or name another path in control.socket");
        fs::remove_dir_all(folder).unwrap();
    }
}
