//! Runs dnsmasq for the nodes: writes its files, parses its log, restarts it, saves its leases.

mod advertisement;
mod child;
mod clock_step;
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
pub mod withdrawal;

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

/// Returns the directory of dnsmasq's files.
pub fn folder(run_directory: &Path) -> PathBuf {
    run_directory.join("dnsmasq")
}

/// Returns dnsmasq's lease file.
pub fn leases(run_directory: &Path) -> PathBuf {
    folder(run_directory).join("leases")
}

/// Returns the copy of the lease file that outlives a power cut.
pub fn copied_leases(state_directory: &Path) -> PathBuf {
    state_directory.join("dnsmasq.leases")
}

/// Handle of the supervisor's task.
#[derive(Debug)]
pub struct DnsmasqHandle {
    renderer: Renderer,
    folder: PathBuf,
    desired: watch::Sender<Option<Files>>,
    forgotten: mpsc::UnboundedSender<Forgotten>,
    task: JoinHandle<()>,
}

/// Resolves once a request was carried out, or with its error.
pub type Reply = oneshot::Sender<Result<(), String>>;

/// A request to forget the address of a node.
type Forgotten = (Mac, Reply);

/// Spawns the supervisor, which serves nothing before the first [`DnsmasqHandle::publish`].
/// `questions` counts the nodes' DHCP requests on the wire.
pub fn spawn(
    run_directory: &Path,
    state_directory: &Path,
    events: mpsc::Sender<Event>,
    questions: Questions,
) -> DnsmasqHandle {
    let (desired, receiver) = watch::channel(None);
    let (forgotten, requests) = mpsc::unbounded_channel();
    let folder = folder(run_directory);
    let supervisor = Supervisor::new(folder.clone(), state_directory, events, questions);
    let task = tokio::spawn(supervisor.run(receiver, requests));
    DnsmasqHandle { renderer: Renderer::default(), folder, desired, forgotten, task }
}

impl DnsmasqHandle {
    /// Publishes the files for a plan; equal ones wake no task.
    pub fn publish(&mut self, settings: &Settings, facts: &Facts, plan: Option<&ServicePlan>) {
        let folder = self.folder.display().to_string();
        if let Some(files) = self.renderer.render(plan, settings, facts, &folder) {
            publish(&self.desired, files);
        }
    }

    /// Forgets the address of a node and releases its lease; `reply` resolves once that is on disk.
    pub fn forget(&self, mac: Mac, reply: Reply) {
        let _ = self.forgotten.send((mac, reply));
    }

    /// Ends dnsmasq.
    pub async fn stop(self) {
        drop(self.desired);
        let _ = self.task.await;
    }
}

/// Removes the directory that a dead daemon has left.
///
/// # Errors
/// A file cannot be removed.
pub fn remove(run_directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder(run_directory)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
