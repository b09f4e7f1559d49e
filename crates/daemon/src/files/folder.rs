//! Safe access to our files in directories of another user: the state and run-time directories
//! belong to the service's user, and root runs verbs that write there. The owner of a directory can
//! replace a file by a symlink, a FIFO or a directory. So files are opened relative to a descriptor
//! of their directory, without following links. A new version is written to `NAME.new` and renamed.
//! Only regular files with one link and a trusted owner are read.
//!
//! Replacing is atomic, also across a power cut.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use tracing::debug;

use super::reading;

/// Mode of files for the owner of their directory.
pub const OWN: u32 = 0o600;
/// Mode of files for all users, whatever the umask of the writer.
pub const PUBLIC: u32 = 0o644;
/// Size limit of our files, bytes; the leases of a full /16 need a tenth of it.
pub const LONGEST: u64 = 64 << 20;
/// Limit on attempts while another program keeps replacing the file.
const ATTEMPTS: u32 = 8;

/// An open directory.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    /// User and group.
    owner: (u32, u32),
}

impl Folder {
    /// Opens a directory. A symlink to it is followed only if root or this user owns the link.
    ///
    /// # Errors
    /// The directory does not exist, or the path is not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let open = |path: &Path| rustix::fs::open(path, DIRECTORY, Mode::empty());
        let fd = match open(path) {
            Err(Errno::LOOP | Errno::NOTDIR) if path.is_symlink() => {
                if !is_trusted_link(path) {
                    return Err(in_the_way(path, "a link of another user is in its place"));
                }
                open(&fs::canonicalize(path)?)?
            }
            other => other?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, path: path.to_owned(), owner: (stat.st_uid, stat.st_gid) })
    }

    /// Opens a directory; if it does not exist, creates it with this mode, and its ancestors.
    ///
    /// # Errors
    /// The directory cannot be created, or the path is not a directory.
    pub fn make(path: &Path, mode: u32) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if let Some(parent) =
            path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
        {
            fs::create_dir_all(parent)?;
        }
        match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                let made = Self::open(path)?;
                rustix::fs::fchmod(&made.fd, Mode::from_raw_mode(mode))?;
                Ok(made)
            }
            Err(Errno::EXIST) => Self::open(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory of a file. Returns it and the file's name.
    ///
    /// # Errors
    /// As [`Folder::open`]; the path has no file name.
    pub fn of(path: &Path) -> io::Result<(Self, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((Self::open(path.parent().unwrap_or(Path::new(".")))?, name.to_owned()))
    }

    /// Returns the user that owns the directory.
    pub fn owner(&self) -> u32 {
        self.owner.0
    }

    /// Returns whether the owner is neither root nor this process's user.
    pub fn is_anothers(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.owner.0 != 0 && self.owner.0 != own
    }

    /// Returns the metadata of an entry, without following a symlink.
    ///
    /// # Errors
    /// As fstatat(2).
    pub fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens an entry of any type as a location only (`O_PATH`), without following a symlink.
    ///
    /// # Errors
    /// As openat(2).
    pub fn handle(&self, name: impl AsRef<OsStr>) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty())?)
    }

    /// Reads a file of at most `longest` bytes.
    ///
    /// # Errors
    /// As [`Folder::existing`]; the file is longer.
    pub fn read(&self, name: impl AsRef<OsStr>, longest: u64) -> io::Result<Vec<u8>> {
        let file = self.existing(name.as_ref(), OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        file.take(longest + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > longest {
            let why = format!("it is longer than {longest} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(bytes)
    }

    /// Opens an existing regular file with one link, owned by the directory's owner, root or this
    /// user.
    ///
    /// # Errors
    /// The file does not exist, or is not such a file.
    pub fn existing(&self, name: &OsStr, access: OFlags) -> io::Result<File> {
        let opened = rustix::fs::openat(&self.fd, name, access | FILE, Mode::empty());
        let fd = match opened {
            Err(Errno::LOOP) => {
                return Err(in_the_way(&self.path.join(name), "it is a link and no file"));
            }
            Err(Errno::NXIO) => {
                return Err(in_the_way(
                    &self.path.join(name),
                    "it is a FIFO or a socket and no file",
                ));
            }
            other => other?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        match self.distrust(&stat) {
            Some(why) => Err(in_the_way(&self.path.join(name), &why)),
            None => Ok(fd.into()),
        }
    }

    /// Returns why an entry is not trusted as a file of ours, `None` if it is.
    pub fn distrust(&self, stat: &Stat) -> Option<String> {
        let own = rustix::process::geteuid().as_raw();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_nlink > 1 => {
                Some("it has another name elsewhere (a hard link)".to_owned())
            }
            FileType::RegularFile if ![0, own, self.owner.0].contains(&stat.st_uid) => {
                Some(format!("it belongs to another user ({})", stat.st_uid))
            }
            FileType::RegularFile => None,
            other => Some(format!("it is {} and no file", reading::kind(other))),
        }
    }

    /// Creates a new file with exactly this mode, owned by the directory's owner.
    ///
    /// # Errors
    /// An entry exists ([`io::ErrorKind::AlreadyExists`]), or the disk is full or read-only.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(OWN))?;
        let prepared =
            self.chown(&fd).and_then(|()| rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)));
        if let Err(error) = prepared {
            self.remove_incomplete(name);
            return Err(error.into());
        }
        Ok(fd.into())
    }

    fn remove_incomplete(&self, name: &OsStr) {
        if let Err(error) = self.remove(name) {
            debug!(?name, %error, "a file that was not written whole stays");
        }
    }

    /// Gives a file that root created to the directory's owner, so that the service's user can read
    /// and replace it later.
    fn chown(&self, fd: &OwnedFd) -> rustix::io::Result<()> {
        if !rustix::process::geteuid().is_root() || self.owner.0 == 0 {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        rustix::fs::fchown(fd, Some(user), Some(group))
    }

    /// Replaces a file atomically. An existing entry of any type is unlinked, never written to.
    ///
    /// # Errors
    /// The disk is full or read-only, or the name is a directory; the old file is unchanged, and no
    /// temporary file remains.
    pub fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.put(name.as_ref(), bytes, mode, false)
    }

    /// Replaces a file as [`Folder::replace`] does; it is on disk when this returns.
    ///
    /// # Errors
    /// As [`Folder::replace`].
    pub fn keep(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.put(name.as_ref(), bytes, mode, true)
    }

    fn put(&self, name: &OsStr, bytes: &[u8], mode: u32, durable: bool) -> io::Result<()> {
        let mut temporary = name.to_owned();
        temporary.push(".new");
        let mut file = self.recreate(&temporary, mode)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
            .and_then(|()| Ok(rustix::fs::renameat(&self.fd, &temporary, &self.fd, name)?));
        if written.is_err() {
            self.remove_incomplete(&temporary);
        }
        written?;
        // The rename is on disk once the directory is.
        if durable { Ok(rustix::fs::fsync(&self.fd)?) } else { Ok(()) }
    }

    /// Removes an entry and creates a file in its place.
    fn recreate(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        for _ in 0..ATTEMPTS {
            self.remove(name)?;
            match self.create(name, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        Err(in_the_way(&self.path.join(name), "another program keeps replacing it"))
    }

    /// Removes an entry: a file, a symlink itself, a FIFO or an empty directory. A missing entry is
    /// no error.
    ///
    /// # Errors
    /// The entry is a directory that is not empty; otherwise as unlinkat(2).
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name.as_ref();
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) if self.is_folder(name) => {
                Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).map_err(|error| {
                    match error {
                        Errno::NOTEMPTY => {
                            in_the_way(&self.path.join(name), "a folder is in its place: remove it")
                        }
                        other => other.into(),
                    }
                })?)
            }
            // On a read-only file system unlinkat(2) fails with EROFS even for a missing entry.
            Err(_)
                if self.look(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
            {
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn is_folder(&self, name: &OsStr) -> bool {
        self.look(name)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Follows no symlink, does not block on a FIFO, and acquires no controlling terminal.
const FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn in_the_way(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// Returns whether a symlink may be followed: root or this process's user owns both the link and
/// its directory.
pub fn is_trusted_link(path: &Path) -> bool {
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = rustix::process::geteuid().as_raw();
    let trusted = |path| owner(path).is_ok_and(|owner| owner == 0 || owner == own);
    let parent = fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned());
    trusted(path) && trusted(&parent)
}

/// Returns the owner of a file, without following a symlink.
fn owner(path: &Path) -> rustix::io::Result<u32> {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_uid)
}

/// Reads a file of at most [`LONGEST`] bytes, as [`Folder::read`].
///
/// # Errors
/// As [`Folder::read`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (folder, name) = Folder::of(path)?;
    folder.read(name, LONGEST)
}

/// Replaces a file of mode [`OWN`], as [`Folder::replace`].
///
/// # Errors
/// As [`Folder::replace`].
pub fn replace(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.replace(name, bytes.as_ref(), OWN)
}

/// Replaces a file of mode [`OWN`]; it is on disk when this returns.
///
/// # Errors
/// As [`Folder::replace`].
pub fn keep(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.keep(name, bytes.as_ref(), OWN)
}

/// Replaces a file of mode [`PUBLIC`]; it is on disk when this returns.
///
/// # Errors
/// As [`Folder::replace`].
pub fn keep_public(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.keep(name, bytes.as_ref(), PUBLIC)
}

/// Removes a file as [`Folder::remove`]. A missing directory is no error.
///
/// # Errors
/// As [`Folder::remove`].
pub fn remove(path: &Path) -> io::Result<()> {
    match Folder::of(path) {
        Ok((folder, name)) => folder.remove(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_failed_replacement_leaves_no_temporary_file() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let (file, taken) = (folder.join("list"), folder.join("folder"));
        fs::create_dir_all(taken.join("full")).unwrap();
        keep_public(&file, "rpi1\n").unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let error = keep(&taken, "rpi1\n").unwrap_err();
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!((text.as_str(), mode), ("rpi1\n", 0o644));
        assert_eq!(names, ["folder", "list"], "{error}");
    }

    #[test]
    fn links_and_special_files_are_replaced_and_never_followed() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let canary = folder.join("canary");
        for kind in ["link", "hard link", "nowhere", "fifo", "folder"] {
            fs::write(&canary, "root's own").unwrap();
            for name in ["list", "list.new"] {
                let place = folder.join(name);
                match kind {
                    "link" => symlink(&canary, &place).unwrap(),
                    "hard link" => fs::hard_link(&canary, &place).unwrap(),
                    "nowhere" => symlink(folder.join("none"), &place).unwrap(),
                    "fifo" => {
                        rustix::fs::mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).unwrap()
                    }
                    _ => fs::create_dir(&place).unwrap(),
                }
            }
            let place = folder.join("list");
            read(&place).expect_err(kind);
            // A directory under the name itself is not ours, and stays.
            let written = replace(&place, "ours");
            assert_eq!(written.is_ok(), kind != "folder", "{kind}: {written:?}");
            assert_eq!(fs::read_to_string(&canary).unwrap(), "root's own", "{kind}");
            assert!(!folder.join("none").exists(), "{kind}");
            assert!(
                fs::symlink_metadata(folder.join("list.new")).is_err(),
                "{kind}: nothing is left beside it"
            );
            if kind != "folder" {
                assert_eq!(read(&place).unwrap(), b"ours", "{kind}");
            }
            remove(&place).unwrap();
            remove(&place).unwrap();
        }
    }

    #[test]
    fn a_file_above_the_limit_is_not_read() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        File::create(folder.join("x")).unwrap().set_len(11).unwrap();
        let opened = Folder::open(&folder).unwrap();
        assert_eq!(opened.read("x", 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(opened.read("x", 11).unwrap().len(), 11);
    }
}
