//! Reads untrusted files safely: only regular files, up to a size limit, and with a timeout. A FIFO
//! has no end, a device may have none, and a network file system may never respond.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

/// Size limit for the machine's settings and tables, in bytes.
const MAX_SIZE: u64 = 4 << 20;
/// Timeout for callers that may block.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a regular file.
///
/// # Errors
/// It does not exist, or is another kind of file, which the error names.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        match Errno::from_io_error(&error) {
            // A socket, or a device without a driver (open(2)).
            Some(Errno::NXIO) => rustix::fs::stat(path)
                .map_or(error, |stat| not_regular(FileType::from_raw_mode(stat.st_mode))),
            _ => error,
        }
    })?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        other => Err(not_regular(other)),
    }
}

/// Reads a regular file of at most `longest` bytes.
///
/// # Errors
/// As [`open`]; or it is longer.
pub fn bytes(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        let why = format!("it is longer than {} MiB", longest >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Reads the text of a regular file of at most 4 MiB.
///
/// # Errors
/// As [`bytes`]; or it is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path, MAX_SIZE)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Returns the entries of a folder, sorted; none if it cannot be listed.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Returns the kind of a file in plain English.
pub fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a link",
        _ => "something else",
    }
}

fn not_regular(found: FileType) -> io::Error {
    io::Error::other(format!("it is {} and no file", kind(found)))
}

/// Runs `work`, which may block forever, in a thread of its own, and waits at most `patience`.
///
/// # Errors
/// It took longer ([`io::ErrorKind::TimedOut`]) or panicked, or the thread could not start.
pub fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, answer) = mpsc::sync_channel(1);
    thread::Builder::new().name("reader".to_owned()).spawn(move || drop(done.send(work())))?;
    answer.recv_timeout(patience).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => {
            let words = format!(
                "not within {} s: does the file system answer that it is on?",
                patience.as_secs()
            );
            io::Error::new(io::ErrorKind::TimedOut, words)
        }
        mpsc::RecvTimeoutError::Disconnected => {
            io::Error::other("the thread that reads it panicked")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_others_are_named() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        mknodat(CWD, folder.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = UnixListener::bind(folder.join("socket")).unwrap();
        fs::write(folder.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        assert_eq!(
            text(&folder.join("link")).unwrap(),
            "text",
            "links of an administrator are followed"
        );
        assert!(bytes(&folder.join("file"), 3).unwrap_err().to_string().contains("longer"));
        for (path, word) in [
            (folder.join("fifo"), "a FIFO"),
            (folder.join("socket"), "a socket"),
            (folder.clone(), "a folder"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = text(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(text(Path::new("/proc/self/status")).unwrap().contains("Pid:"));
    }

    #[test]
    fn blocking_work_times_out() {
        let (hold, held) = mpsc::channel::<()>();
        let error = within(Duration::from_millis(20), move || held.recv().is_ok()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(hold);
        assert_eq!(within(Duration::from_secs(5), || 7).unwrap(), 7);
    }
}
