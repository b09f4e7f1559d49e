//! Runs dnsmasq for the nodes: gives it its files, listens to it, starts it again when it dies,
//! keeps its leases.

mod child;
mod error;
mod folder;
mod lease_store;
mod log_limit;
mod log_parser;
mod port;
pub mod pref64;
mod pulse;
mod reclaim;
mod remembered;
mod supervisor;
mod transfers;

use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::decide::dhcp::ServicePlan;
use crate::event::{Event, Mac};
use crate::facts::Facts;
use crate::sync::publish;
use crate::view::dhcp::{Files, Renderer};
use crate::watch::dhcp::Questions;
use supervisor::Supervisor;

pub use child::program;

/// Returns the folder of its files.
pub fn folder(run_directory: &Path) -> PathBuf {
    run_directory.join("dnsmasq")
}

/// Returns the file in which dnsmasq has its leases.
pub fn leases(run_directory: &Path) -> PathBuf {
    folder(run_directory).join("leases")
}

/// Returns the file in which they outlive a power cut.
pub fn copied_leases(state_directory: &Path) -> PathBuf {
    state_directory.join("dnsmasq.leases")
}

/// The task that runs dnsmasq, and what it was given last.
#[derive(Debug)]
pub struct DnsmasqHandle {
    renderer: Renderer,
    folder: PathBuf,
    desired: watch::Sender<Option<Files>>,
    forgotten: mpsc::UnboundedSender<Forgotten>,
    task: JoinHandle<()>,
}

/// Resolved once an order has been carried out, or with why it was not.
pub type Reply = oneshot::Sender<Result<(), String>>;

/// A board whose address is to be forgotten.
type Forgotten = (Mac, Reply);

/// Starts the task; nothing is served before the first [`DnsmasqHandle::publish`].
/// `asked` counts what nodes ask for on the wire.
pub fn spawn(
    run_directory: &Path,
    state_directory: &Path,
    events: mpsc::Sender<Event>,
    asked: Questions,
) -> DnsmasqHandle {
    let (desired, receiver) = watch::channel(None);
    let (forgotten, orders) = mpsc::unbounded_channel();
    let folder = folder(run_directory);
    let supervisor = Supervisor::new(folder.clone(), state_directory, events, asked);
    let task = tokio::spawn(supervisor.run(receiver, orders));
    DnsmasqHandle { renderer: Renderer::default(), folder, desired, forgotten, task }
}

impl DnsmasqHandle {
    /// Hands out what is to be served; an equal plan is no work.
    pub fn publish(&mut self, settings: &Settings, facts: &Facts, plan: Option<&ServicePlan>) {
        let folder = self.folder.display().to_string();
        if let Some(files) = self.renderer.render(plan, settings, facts, &folder) {
            publish(&self.desired, files);
        }
    }

    /// Forgets a board's address, and ends its lease; `reply` hears when that is on the disk.
    pub fn forget(&self, mac: Mac, reply: Reply) {
        let _ = self.forgotten.send((mac, reply));
    }

    /// Ends dnsmasq.
    pub async fn stop(self) {
        drop(self.desired);
        let _ = self.task.await;
    }
}

/// Takes the files away that a daemon which died has left.
///
/// # Errors
/// As the file system says.
pub fn remove(run_directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder(run_directory)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
