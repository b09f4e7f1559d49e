//! Progress of all nodes: printed, and reported to the daemon for the panel.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::node::Stage;
use crate::api::client::ControlClient;
use crate::api::control::{Order, Shutdown};
use crate::cli::output;

/// Limits on the names in a report, as an order is a line of at most 4096 bytes: nodes still up,
/// and changes.
const MAX_WAITING: usize = 8;
const MAX_CHANGES: usize = 24;

/// All nodes, each with its stage.
#[derive(Debug)]
pub struct Progress {
    nodes: Vec<(String, Stage)>,
    /// Nodes that are being shut down and not reported yet.
    going: VecDeque<String>,
    /// Nodes that stay up and are not reported yet.
    staying: VecDeque<String>,
    head: bool,
}

impl Progress {
    pub fn new(names: impl Iterator<Item = String>, head: bool) -> Self {
        let nodes: Vec<_> = names.map(|name| (name, Stage::Asked)).collect();
        let going = nodes.iter().map(|(name, _)| name.clone()).collect();
        Self { nodes, going, staying: VecDeque::new(), head }
    }

    /// Records and prints the new stage of a node.
    pub fn note(&mut self, index: usize, stage: Stage) {
        let Some((name, known)) = self.nodes.get_mut(index) else { return };
        match &stage {
            Stage::Asked => {}
            Stage::Going => output::out(&format!("{name}: powers off\n")),
            Stage::Off => output::out(&format!("{name}: off\n")),
            Stage::Silent => output::out(&format!("{name}: does not answer, so it is left out\n")),
            Stage::LeftOut(why) => {
                output::out(&format!("{name}: not in the settings, so it is left out: {why}\n"));
            }
            Stage::Refused(why) => output::err(&format!("{name}: still up: {why}\n")),
        }
        if matches!(stage, Stage::Silent | Stage::LeftOut(_) | Stage::Refused(_)) {
            self.staying.push_back(name.clone());
        }
        *known = stage;
    }

    /// Returns the nodes that are not off yet.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        let up = |(_, stage): &&(String, Stage)| {
            !matches!(stage, Stage::Off | Stage::Silent | Stage::LeftOut(_))
        };
        self.nodes.iter().filter(up).map(|(name, _)| name.as_str())
    }

    /// Returns how many nodes are off.
    pub fn off(&self) -> usize {
        self.nodes.iter().filter(|(_, stage)| *stage == Stage::Off).count()
    }

    /// Returns whether no node can change any more.
    pub fn is_settled(&self) -> bool {
        !self.nodes.iter().any(|(_, stage)| matches!(stage, Stage::Asked | Stage::Going))
    }

    /// Returns the next report to the daemon.
    pub fn report(&mut self, left: Duration, ended: bool) -> Shutdown {
        let waiting: Vec<String> = self.waiting().map(str::to_owned).collect();
        Shutdown {
            ended,
            going: take_names(&mut self.going),
            staying: take_names(&mut self.staying),
            head: self.head,
            left_s: left.as_secs(),
            waiting_total: waiting.len(),
            waiting: waiting.into_iter().take(MAX_WAITING).collect(),
        }
    }

    /// Ends the waiting: nodes that are not off stay up.
    pub fn give_up(&mut self, head: bool) {
        self.head = head;
        for (name, stage) in &self.nodes {
            if matches!(stage, Stage::Asked | Stage::Going) {
                self.staying.push_back(name.clone());
            }
        }
    }

    /// Returns whether all changes are reported.
    pub fn is_reported(&self) -> bool {
        self.going.is_empty() && self.staying.is_empty()
    }
}

fn take_names(names: &mut VecDeque<String>) -> Vec<String> {
    names.drain(..names.len().min(MAX_CHANGES)).collect()
}

/// Sends reports to the daemon from a thread, so that a daemon that hangs delays nothing.
#[derive(Debug)]
pub struct Reporter {
    reports: Sender<Shutdown>,
    thread: JoinHandle<()>,
}

impl Reporter {
    pub fn start(socket: PathBuf) -> Self {
        let (reports, received) = channel();
        Self { reports, thread: std::thread::spawn(move || send_all(&socket, &received)) }
    }

    pub fn send(&self, report: Shutdown) {
        // The nodes are shut down also without reports.
        let _ = self.reports.send(report);
    }

    /// Waits until the last report is sent.
    pub fn finish(self) {
        drop(self.reports);
        let _ = self.thread.join();
    }
}

fn send_all(socket: &std::path::Path, reports: &Receiver<Shutdown>) {
    let mut client = match ControlClient::connect(socket) {
        Ok(client) => client,
        Err(error) => return report_failure(&format!("{}: {error}", socket.display())),
    };
    for report in reports {
        match client.send(&Order::Shutdown(report)) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return report_failure(&why),
            Err(error) => return report_failure(&error.to_string()),
        }
    }
}

/// Reports that the panel does not show the shutdown.
fn report_failure(why: &str) {
    output::note(
        &format!("the panel does not show the shutdown: {why}"),
        "`systemctl status bramblegate` shows whether the daemon runs",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_an_order_with_any_number_of_nodes() {
        let names = (0..750).map(|number| format!("{number:0>63}"));
        let mut progress = Progress::new(names, true);
        let mut reported = 0;
        let mut report_all = |progress: &mut Progress| {
            while !progress.is_reported() {
                let report = progress.report(Duration::from_secs(9), false);
                reported += report.going.len() + report.staying.len();
                assert!(crate::api::line(&Order::Shutdown(report)).len() <= 4096);
            }
            std::mem::take(&mut reported)
        };
        assert_eq!(report_all(&mut progress), 750);
        (0..700).for_each(|index| progress.note(index, Stage::Off));
        progress.note(700, Stage::Refused("no".to_owned()));
        assert!(!progress.is_settled());
        progress.give_up(false);
        assert_eq!(report_all(&mut progress), 50);
        assert_eq!((progress.off(), progress.waiting().count()), (700, 50));
    }
}
