//! Orders: from the command line, or from a file that the daemon writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bramblegate_api::clat::{Mode, Order as Wire, State};
use bramblegate_clat::{LengthError, Prefix};
use rustix::fs::OFlags;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use thiserror::Error;

use crate::plan::Order;

/// The maximum size of the file, in octets.
const MAX_SIZE: u64 = 4096;
/// The maximum length of an interface's name, in octets (`IFNAMSIZ` of linux/if.h, without the
/// NUL).
const NAME: usize = 15;

/// What is wrong with an order.
#[derive(Debug, Error)]
pub enum OrderError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("not an ordinary file")]
    NotAFile,
    /// The file does not hold an order.
    #[error("{0}")]
    Line(String),
    #[error("mode {0} is not known here")]
    Mode(String),
    #[error(transparent)]
    Prefix(#[from] LengthError),
    #[error("{0:?} cannot be the name of an interface")]
    Name(String),
    #[error("{0} cannot be a NAT64 prefix: it leads to no network")]
    Unroutable(Prefix),
}

/// An order's error, with the file that holds it.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: OrderError,
}

/// The source of orders.
#[derive(Debug)]
pub enum Orders {
    Fixed(Order),
    File(FileOrders),
}

/// A file, and an inotify watch of its folder: the daemon replaces the file by renaming.
#[derive(Debug)]
pub struct FileOrders {
    path: PathBuf,
    watch: OwnedFd,
}

impl Orders {
    /// Watches a file, whose folder may be created later.
    ///
    /// # Errors
    /// The system refuses an inotify instance.
    pub fn follow(path: PathBuf) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let orders = FileOrders { path, watch };
        orders.attach();
        Ok(Self::File(orders))
    }

    /// Returns the current order; `None` without one.
    ///
    /// # Errors
    /// The file cannot be read, or its order is invalid.
    pub fn read(&self) -> Result<Option<Order>, FileError> {
        match self {
            Self::Fixed(order) => Ok(Some(order.clone())),
            Self::File(file) => {
                file.drain();
                read(&file.path).map_err(|source| FileError { path: file.path.clone(), source })
            }
        }
    }

    /// Returns a file descriptor that is readable when the order may have changed.
    pub fn changed(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fixed(_) => None,
            Self::File(file) => Some(file.watch.as_fd()),
        }
    }
}

impl FileOrders {
    /// Watches the folder, and its parent in case the folder is created again.
    fn attach(&self) {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        for folder in self.path.ancestors().skip(1).take(2) {
            let _ = inotify::add_watch(&self.watch, folder, flags);
        }
    }

    /// Discards pending events, and watches a folder that was created since.
    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        while reader.next().is_ok() {}
        self.attach();
    }
}

/// Reads the order from a file. The daemon, which owns the folder, has fewer rights than this
/// program: so symbolic links are not followed, and anything but an ordinary file is refused.
fn read(path: &Path) -> Result<Option<Order>, OrderError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(OrderError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    order(Wire::parse(&bytes).map_err(OrderError::Line)?).map(Some)
}

/// Converts an order from its JSON form.
fn order(wire: Wire) -> Result<Order, OrderError> {
    let mode = wire.mode.known().ok_or_else(|| OrderError::Mode(wire.mode.to_string()))?;
    let prefix = Prefix::new(wire.prefix.addr(), wire.prefix.prefix_len())?;
    checked(Order { uplink: wire.uplink, prefix, mode, address: wire.address, mtu: wire.mtu })
}

/// Validates an order beyond its types.
///
/// # Errors
/// The interface's name is invalid, or the prefix is not routable.
pub fn checked(order: Order) -> Result<Order, OrderError> {
    let name = &order.uplink;
    let invalid = |byte: u8| byte <= b' ' || byte >= 0x7f || byte == b'/' || byte == b':';
    if name.is_empty() || name.len() > NAME || name.starts_with('.') || name.bytes().any(invalid) {
        return Err(OrderError::Name(name.clone()));
    }
    if !order.prefix.is_routable() {
        return Err(OrderError::Unroutable(order.prefix));
    }
    Ok(order)
}

/// Writes the state file, atomically: to a new file, which is then renamed.
pub fn report(path: &Path, state: &State) {
    let new = path.with_extension("new");
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(&bramblegate_api::line(state)))
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        eprintln!("bramblegate-clat: {}: {error}", path.display());
    }
}

/// Parses a mode from the command line.
pub fn mode(word: &str) -> Result<Mode, String> {
    let all = Mode::ALL.map(Mode::name);
    let found = Mode::ALL.into_iter().find(|mode| mode.name() == word);
    found.ok_or_else(|| format!("write {}", all.join(", ")))
}
