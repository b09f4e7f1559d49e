//! Where the status page is: its server, a process of its own, writes its port into a file.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::event::{Event, Web};
use crate::files::inotify::Files;
use crate::files::reading;
use crate::watch::emit;

/// A port needs no more bytes.
const LONGEST: u64 = 16;

/// Reports where the status page is at the start, and each change; `file` is where its server
/// writes its port, also while there is none.
///
/// # Errors
/// No inotify to be had, or the receiver is gone (`Closed`).
pub async fn run(
    mut file: watch::Receiver<PathBuf>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let files = Files::new()?;
    let mut reported = None;
    loop {
        let path = file.borrow_and_update().clone();
        // The server's folder comes and goes with it.
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
            // One that is gone is the end of the daemon, which ends this too.
            Ok(()) = file.changed() => {}
        }
    }
}

/// Returns the port in the file; `None` where there is none, or something else in it.
pub fn read(file: &Path) -> Option<u16> {
    let bytes = reading::bytes(file, LONGEST).ok()?;
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
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().join("run");
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
    fn what_is_no_port_is_none() {
        let held = tempfile::tempdir().unwrap();
        let file = held.path().join("port");
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
