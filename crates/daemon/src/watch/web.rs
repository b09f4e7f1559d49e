//! Reports the TCP port of the status page, which its server, a separate process, writes to a file.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::event::{Event, Web};
use crate::files::inotify::Files;
use crate::files::reading;
use crate::watch::emit;

/// Maximum size of the file, in bytes.
const MAX_SIZE: u64 = 16;

/// Reports the status page's port at the start, and each change. `file` is the planned path of the
/// port file, which need not exist.
///
/// # Errors
/// inotify is unavailable, or the receiver is gone (`Closed`).
pub async fn run(
    mut file: watch::Receiver<PathBuf>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let files = Files::new()?;
    let mut reported = None;
    loop {
        let path = file.borrow_and_update().clone();
        // The run-time folder of the server exists only while it runs, so its parent is watched
        // too.
        for folder in path.ancestors().skip(1).take(2) {
            files.folder(folder);
        }
        let now = spawn_blocking(move || read(&path)).await?;
        let now = now.map_or(Web::Absent, Web::Listens);
        if reported != Some(now) {
            emit(&events, Event::Web(now)).await?;
            reported = Some(now);
        }
        tokio::select! {
            changed = files.changed() => changed?,
            // An error here means that the daemon is stopping, which ends this task as well.
            Ok(()) = file.changed() => {}
        }
    }
}

/// Returns the port in the file; `None` if the file is missing or invalid.
pub fn read(file: &Path) -> Option<u16> {
    let bytes = reading::bytes(file, MAX_SIZE).ok()?;
    let port: u16 = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    (port > 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_server_that_comes_moves_and_goes_is_reported() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let (_plan, seen) = watch::channel(folder.join("port"));
        let (events, mut heard) = mpsc::channel(8);
        let task = tokio::spawn(run(seen, events));
        let mut next = async || timeout(Duration::from_secs(5), heard.recv()).await.unwrap();
        assert_eq!(next().await, Some(Event::Web(Web::Absent)));
        for port in [80, 8080] {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("new"), format!("{port}\n")).unwrap();
            fs::rename(folder.join("new"), folder.join("port")).unwrap();
            assert_eq!(next().await, Some(Event::Web(Web::Listens(port))));
            fs::remove_dir_all(&folder).unwrap();
            assert_eq!(next().await, Some(Event::Web(Web::Absent)));
        }
        task.abort();
    }

    #[test]
    fn invalid_content_is_no_port() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("port");
        for (text, port) in
            [("80\n", Some(80)), ("0", None), ("65536", None), ("-1", None), ("80 22", None)]
        {
            fs::write(&file, text).unwrap();
            assert_eq!(read(&file), port, "{text:?}");
        }
        fs::write(&file, "8".repeat(1 << 20)).unwrap();
        assert_eq!(read(&file), None);
    }
}
