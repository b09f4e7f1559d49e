//! Where orders come from: the command line, or a file that the daemon writes.

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

/// The file's size at most, in octets.
const LONGEST: u64 = 4096;
/// Octets of an interface's name (`IFNAMSIZ` of linux/if.h, without its end).
const NAME: usize = 15;

/// Says what is wrong with an order.
#[derive(Debug, Error)]
pub enum OrderError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("not an ordinary file")]
    NotAFile,
    /// It is not a line of this kind.
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

/// Says which file holds an order that is wrong.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: OrderError,
}

/// Names where orders come from.
#[derive(Debug)]
pub enum Orders {
    Fixed(Order),
    File(FileOrders),
}

/// A file, and a watch of its folder: it is replaced as a whole.
#[derive(Debug)]
pub struct FileOrders {
    path: PathBuf,
    watch: OwnedFd,
}

impl Orders {
    /// Watches a file, whose folder may come later.
    ///
    /// # Errors
    /// The kernel watches nothing.
    pub fn follow(path: PathBuf) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let orders = FileOrders { path, watch };
        orders.attach();
        Ok(Self::File(orders))
    }

    /// Returns the order; `None`: there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self) -> Result<Option<Order>, FileError> {
        match self {
            Self::Fixed(order) => Ok(Some(order.clone())),
            Self::File(file) => {
                file.drain();
                read(&file.path).map_err(|source| FileError { path: file.path.clone(), source })
            }
        }
    }

    /// Returns what becomes readable when the order may have changed.
    pub fn changed(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fixed(_) => None,
            Self::File(file) => Some(file.watch.as_fd()),
        }
    }
}

impl FileOrders {
    /// Watches the folder, and the one above for the case that the folder is made anew.
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

    /// Takes what the watch has to report, and watches a folder that is new.
    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        while reader.next().is_ok() {}
        self.attach();
    }
}

/// Reads an order of the file. The folder is the daemon's, whose rights are less than ours: a link
/// is not followed, and what is no ordinary file is not opened for long.
fn read(path: &Path) -> Result<Option<Order>, OrderError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Err(OrderError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    order(Wire::parse(&bytes).map_err(OrderError::Line)?).map(Some)
}

/// Takes an order from the wire.
fn order(wire: Wire) -> Result<Order, OrderError> {
    let mode = wire.mode.known().ok_or_else(|| OrderError::Mode(wire.mode.to_string()))?;
    let prefix = Prefix::new(wire.prefix.addr(), wire.prefix.prefix_len())?;
    checked(Order { uplink: wire.uplink, prefix, mode, address: wire.address, mtu: wire.mtu })
}

/// Checks what no type holds.
///
/// # Errors
/// The interface's name is one that none can have, or the prefix leads nowhere.
pub fn checked(order: Order) -> Result<Order, OrderError> {
    let name = &order.uplink;
    let bad = |byte: u8| byte <= b' ' || byte >= 0x7f || byte == b'/' || byte == b':';
    if name.is_empty() || name.len() > NAME || name.starts_with('.') || name.bytes().any(bad) {
        return Err(OrderError::Name(name.clone()));
    }
    if !order.prefix.is_routable() {
        return Err(OrderError::Unroutable(order.prefix));
    }
    Ok(order)
}

/// Writes what is translated now, beside the file and then over it.
pub fn report(path: &Path, state: &State) {
    let new = path.with_extension("new");
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(&bramblegate_api::line(state)))
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        eprintln!("bramblegate-clat: {}: {error}", path.display());
    }
}

/// Returns a mode of the command line.
pub fn mode(word: &str) -> Result<Mode, String> {
    let all = Mode::ALL.map(Mode::name);
    let found = Mode::ALL.into_iter().find(|mode| mode.name() == word);
    found.ok_or_else(|| format!("write {}", all.join(", ")))
}
