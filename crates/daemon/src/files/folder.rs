//! Files of ours in folders that may be another user's: the state folder and the run folder belong
//! to the service's user, and root runs verbs that write there. The owner of a folder can put a
//! link, a FIFO or a folder in the place of a file. So a file is only reached below a descriptor of
//! its folder, never through a link; a new one is made beside (`NAME.new`) and put in the old one's
//! place; what is read is an ordinary file with one name, of an owner that may be.
//!
//! Replacing also outlives a power cut: whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use tracing::debug;

use super::reading;

/// Of files that only the owner of their folder reads.
pub const OWN: u32 = 0o600;
/// Of files that everybody reads: the daemon's user among them, whatever the umask of who writes.
pub const PUBLIC: u32 = 0o644;
/// No file of ours in such a folder is longer, bytes: leases of a full /16 are a tenth of it.
pub const LONGEST: u64 = 64 << 20;
/// Somebody who puts something in the way again and again is given up on after so many tries.
const TRIES: u32 = 8;

/// Holds a folder open: whatever is put in its place later, this one is meant.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    owner: (u32, u32),
}

impl Folder {
    /// Opens the folder. A link in its place is followed only if root or this user made it.
    ///
    /// # Errors
    /// There is none, or it is something else.
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

    /// Opens the folder, which is made with this mode if it is not there, and those above it.
    ///
    /// # Errors
    /// It cannot be made, or something else is in its place.
    pub fn make(path: &Path, mode: u32) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if let Some(above) =
            path.parent().filter(|above| !above.as_os_str().is_empty() && !above.exists())
        {
            fs::create_dir_all(above)?;
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

    /// Returns the folder of a file, opened, and the file's name in it.
    ///
    /// # Errors
    /// As [`Folder::open`]; a path without a name.
    pub fn of(path: &Path) -> io::Result<(Self, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((Self::open(path.parent().unwrap_or(Path::new(".")))?, name.to_owned()))
    }

    /// Returns the user whose folder it is.
    pub fn owner(&self) -> u32 {
        self.owner.0
    }

    /// Returns whether users other than root and this process's may write there.
    pub fn is_anothers(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.owner.0 != 0 && self.owner.0 != own
    }

    /// Returns what is at a name; never what a link there leads to.
    ///
    /// # Errors
    /// There is nothing.
    pub fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Holds what is at a name for its place alone (`O_PATH`), whatever it is; a link itself.
    ///
    /// # Errors
    /// There is nothing.
    pub fn handle(&self, name: impl AsRef<OsStr>) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty())?)
    }

    /// Reads an ordinary file of at most `longest` bytes.
    ///
    /// # Errors
    /// There is none, it is longer, or what is there may not be believed.
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

    /// Opens a file that is there: an ordinary one, with one name, of the folder's owner, root or
    /// this user.
    ///
    /// # Errors
    /// There is none, or what is there is something else.
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

    /// Returns why what is there is not believed to be a file of ours.
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

    /// Makes a file that is not there yet, with exactly this mode, and gives it to the folder's
    /// owner.
    ///
    /// # Errors
    /// Something is there ([`io::ErrorKind::AlreadyExists`]), or the disk does not take it.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(OWN))?;
        let made =
            self.hand_over(&fd).and_then(|()| rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)));
        if let Err(error) = made {
            self.remove_half(name);
            return Err(error.into());
        }
        Ok(fd.into())
    }

    /// Removes a file that was not written whole: no other process uses it.
    fn remove_half(&self, name: &OsStr) {
        if let Err(error) = self.remove(name) {
            debug!(?name, %error, "a file that was not written whole stays");
        }
    }

    /// Gives what root makes to the folder's owner: what root makes in the folder of the service's
    /// user is that user's: he is to read and replace it later.
    fn hand_over(&self, fd: &OwnedFd) -> rustix::io::Result<()> {
        if !rustix::process::geteuid().is_root() || self.owner.0 == 0 {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        rustix::fs::fchown(fd, Some(user), Some(group))
    }

    /// Puts bytes in a file's place, whole or not at all; what was there under that name, of
    /// whatever kind, is only taken out of the folder.
    ///
    /// # Errors
    /// The disk is full, or read-only, or a folder is in the way; the file is as it was, and
    /// nothing lies beside it.
    pub fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.put(name.as_ref(), bytes, mode, false)
    }

    /// Replaces as [`Folder::replace`] does; it is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Folder::replace`].
    pub fn keep(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.put(name.as_ref(), bytes, mode, true)
    }

    fn put(&self, name: &OsStr, bytes: &[u8], mode: u32, durable: bool) -> io::Result<()> {
        let mut beside = name.to_owned();
        beside.push(".new");
        let mut file = self.anew(&beside, mode)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
            .and_then(|()| Ok(rustix::fs::renameat(&self.fd, &beside, &self.fd, name)?));
        if written.is_err() {
            self.remove_half(&beside);
        }
        written?;
        // The new name stands in the folder.
        if durable { Ok(rustix::fs::fsync(&self.fd)?) } else { Ok(()) }
    }

    /// Makes a file in the place of whatever is there.
    fn anew(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        for _ in 0..TRIES {
            self.remove(name)?;
            match self.create(name, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        Err(in_the_way(&self.path.join(name), "another program keeps replacing it"))
    }

    /// Takes a name out of the folder: a file, a link (not what it leads to), a FIFO, an empty
    /// folder. Nothing there is well.
    ///
    /// # Errors
    /// A folder that is not empty; or as the file system says.
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
            // Of a read-only disk nothing can be removed, not even what is not there.
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

/// Opens a folder and nothing else.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opens no link, waits for no FIFO, takes no terminal.
const FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn in_the_way(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// Returns whether a link may be followed: it and the folder that holds it belong to root or to
/// this process's user.
pub fn is_trusted_link(path: &Path) -> bool {
    let above =
        path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = rustix::process::geteuid().as_raw();
    let trusted =
        |owner: rustix::io::Result<u32>| owner.is_ok_and(|owner| owner == 0 || owner == own);
    let above = fs::canonicalize(above).unwrap_or_else(|_| above.to_owned());
    trusted(owner(path)) && trusted(owner(&above))
}

/// Returns the owner of a file, of a link itself.
fn owner(path: &Path) -> rustix::io::Result<u32> {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_uid)
}

/// Reads a file by its path, as [`Folder::read`] does, at most [`LONGEST`] bytes.
///
/// # Errors
/// As [`Folder::read`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (folder, name) = Folder::of(path)?;
    folder.read(name, LONGEST)
}

/// Puts bytes in the place of a file that only its owner reads.
///
/// # Errors
/// As [`Folder::replace`].
pub fn replace(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.replace(name, bytes.as_ref(), OWN)
}

/// Replaces as [`replace`] does; it is on the disk when this returns.
///
/// # Errors
/// As [`Folder::replace`].
pub fn keep(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.keep(name, bytes.as_ref(), OWN)
}

/// Keeps as [`keep`] does, readable by everybody.
///
/// # Errors
/// As [`Folder::replace`].
pub fn keep_public(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.keep(name, bytes.as_ref(), PUBLIC)
}

/// Takes a file out of its folder, as [`Folder::remove`] does; no folder is no file.
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
    fn what_cannot_take_its_place_leaves_nothing_beside_it() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let (place, taken) = (folder.join("list"), folder.join("folder"));
        fs::create_dir_all(taken.join("full")).unwrap();
        keep_public(&place, "rpi1\n").unwrap();
        let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o777;
        let error = keep(&taken, "rpi1\n").unwrap_err();
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let text = fs::read_to_string(&place).unwrap();
        assert_eq!((text.as_str(), mode), ("rpi1\n", 0o644));
        assert_eq!(names, ["folder", "list"], "{error}");
    }

    #[test]
    fn whatever_lies_at_a_name_leads_nowhere() {
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
            // A folder in the place itself is no file of ours, and stays.
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
    fn what_is_too_long_is_not_read() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        File::create(folder.join("x")).unwrap().set_len(11).unwrap();
        let opened = Folder::open(&folder).unwrap();
        assert_eq!(opened.read("x", 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(opened.read("x", 11).unwrap().len(), 11);
    }
}
