//! Orders about nodes: given on the control socket, and kept through a restart.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use super::Daemon;
use crate::event::Order;
use crate::source::control::Request;

/// In the state directory: who is worked on, one a line; the names of nodes of the settings, the hardware addresses of others.
const DRAINED: &str = "drained";

/// A list to write down, and who waits for it.
type Entry = (BTreeSet<String>, oneshot::Sender<Result<(), String>>);

/// Writes in its own task: a card that takes its time holds nothing up.
#[derive(Debug)]
pub(super) struct Keeper {
    entries: mpsc::UnboundedSender<Entry>,
    /// given to be written last, or read at the start
    kept: BTreeSet<String>,
}

impl Keeper {
    pub fn spawn(state_directory: &Path, kept: BTreeSet<String>) -> Self {
        let path = state_directory.join(DRAINED);
        let (sender, mut entries) = mpsc::unbounded_channel::<Entry>();
        tokio::spawn(async move {
            while let Some((names, reply)) = entries.recv().await {
                let file = path.clone();
                let written = tokio::task::spawn_blocking(move || write(&file, &names)).await;
                let result = written.map_err(io::Error::other).and_then(|result| result);
                let told = result
                    .map_err(|error| format!("done, but not kept for the next start: {}: {error}", path.display()));
                let _ = reply.send(told);
            }
        });
        Self { entries: sender, kept }
    }

    /// An equal list is not written. `reply`: who waits for it.
    pub fn keep(&mut self, names: &BTreeSet<String>, reply: oneshot::Sender<Result<(), String>>) {
        if self.kept == *names {
            let _ = reply.send(Ok(()));
            return;
        }
        self.kept.clone_from(names);
        let _ = self.entries.send((names.clone(), reply));
    }
}

impl Daemon {
    /// Carries an order out and answers when it is on disk.
    pub(super) async fn order(&mut self, request: Request) {
        let Request { order, reply } = request;
        if let Order::Drain(name) | Order::Resume(name) = &order {
            let known = self.state.nodes().by_name(name).is_some();
            // One that is not here can still be let go.
            let noted = self.state.nodes().drained().contains(&name.to_ascii_lowercase());
            let resumes = matches!(order, Order::Resume(_));
            if !(known || noted && resumes) {
                let _ = reply.send(Err(format!("there is no node {name}: `bramblegate nodes` lists them")));
                return;
            }
        }
        let mut transitions = Vec::new();
        self.take(&crate::event::Event::Order(order), &mut transitions).await;
        self.publish(&transitions).await;
        self.keeper.keep(self.state.nodes().drained(), reply);
    }

    /// An order follows its node to another name, and ends with it.
    pub(super) fn keep_orders(&mut self) {
        self.keeper.keep(self.state.nodes().drained(), oneshot::channel().0);
    }
}

/// The orders of an earlier run; none where there was none, or what is there cannot be read.
pub(super) fn kept(state_directory: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(state_directory.join(DRAINED)).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Whole or not at all, whenever the power fails.
fn write(path: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = File::create(&beside)?;
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_known_again_and_a_missing_file_is_none() {
        let folder = std::env::temp_dir().join(format!("bramblegate-orders-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(kept(&folder).is_empty());
        let names: BTreeSet<String> = ["rpi1", "rpi2"].map(str::to_owned).into();
        write(&folder.join(DRAINED), &names).unwrap();
        assert_eq!(kept(&folder), names);
        write(&folder.join(DRAINED), &BTreeSet::new()).unwrap();
        assert!(kept(&folder).is_empty());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(&folder).unwrap();
    }
}
