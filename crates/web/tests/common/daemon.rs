//! An emulated status socket and control socket, for clusters of any size.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use bramblegate_api::client::View;
use bramblegate_api::status::{
    Change, DeviceState, Line, Node, NodeHealth, Pattern, Severity, Snapshot, UplinkState,
};

/// The state that all connections share.
#[derive(Debug, Default)]
struct Shared {
    view: Mutex<View>,
    clients: Mutex<Vec<UnixStream>>,
    seq: Mutex<u64>,
}

/// The two sockets; dropping this closes them and every connection.
#[derive(Debug)]
pub struct Daemon {
    pub status: PathBuf,
    pub control: PathBuf,
    shared: Arc<Shared>,
    /// Received orders.
    pub orders: Receiver<String>,
}

impl Daemon {
    /// Listens in `folder` with this state.
    pub fn start(folder: &Path, snapshot: Snapshot) -> Self {
        let (status, control) = (folder.join("status.sock"), folder.join("control.sock"));
        let _ = (std::fs::remove_file(&status), std::fs::remove_file(&control));
        let shared = Arc::new(Shared::default());
        shared.view.lock().unwrap().take(Line::Snapshot(Box::new(snapshot)));
        let (listener, known) = (UnixListener::bind(&status).unwrap(), Arc::downgrade(&shared));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), Some(shared)) = (stream, known.upgrade()) else { return };
                let view = shared.view.lock().unwrap();
                if stream.write_all(&bramblegate_api::line(&view.now().unwrap())).is_ok() {
                    shared.clients.lock().unwrap().push(stream);
                }
            }
        });
        let listener = UnixListener::bind(&control).unwrap();
        let (sender, orders) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                if sender.send(line).is_err() {
                    return;
                }
                let _ = stream.write_all(b"{\"ok\":true}\n");
            }
        });
        Self { status, control, shared, orders }
    }

    /// Sends a change to every client.
    pub fn change(&self, change: Change) {
        let mut seq = self.shared.seq.lock().unwrap();
        *seq += 1;
        let change = Change { seq: *seq, ..change };
        let line = bramblegate_api::line(&change);
        let mut view = self.shared.view.lock().unwrap();
        view.take(Line::Change(Box::new(change)));
        let mut clients = self.shared.clients.lock().unwrap();
        clients.retain_mut(|client| client.write_all(&line).is_ok());
    }

    /// Changes the health of a node.
    pub fn health(&self, name: &str, health: NodeHealth) {
        let now = self.shared.view.lock().unwrap().now().unwrap();
        let node = now.nodes.iter().find(|node| &*node.name == name).unwrap();
        let nodes = vec![Node { health: health.into(), since_s: 0, ..node.clone() }];
        self.change(Change { nodes, ..Change::default() });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.status);
        for client in self.shared.clients.lock().unwrap().drain(..) {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Returns the state of a head that is online, with so many nodes, all up.
pub fn cluster(nodes: usize) -> Snapshot {
    let mut snapshot = Snapshot { version: "0.1.0".into(), ..Snapshot::default() };
    snapshot.severity = Severity::Ok.into();
    snapshot.uplink.interface = Some("eth1".into());
    snapshot.uplink.state = UplinkState::Online.into();
    snapshot.uplink.address = "10.99.0.126/24".parse().ok();
    snapshot.uplink.addresses = snapshot.uplink.address.map(|address| vec![address]);
    snapshot.uplinks = vec![snapshot.uplink.clone()];
    snapshot.gateway.masquerade = Some(true);
    snapshot.gateway.forwarding = true;
    snapshot.cluster.address = "10.1.0.1/16".parse().ok();
    (snapshot.cluster.total, snapshot.cluster.up) = (nodes, nodes);
    snapshot.panel.lcd.state = DeviceState::Ok.into();
    let lines = ["ssh 10.99.0.126", "eth1 online   64°C", "nodes up: {all}", "NAT on  7.2 Mbit/s"];
    snapshot.panel.lcd.lines =
        Some(lines.iter().map(|line| format!("{line:<20}").into()).collect());
    snapshot.panel.led.colour = Some("#00ff00".into());
    snapshot.panel.led.pattern = Some(Pattern::Breathe.into());
    snapshot.nodes = (0..nodes)
        .map(|number| Node {
            name: format!("node-{:03}", number + 1).into(),
            mac: Some(format!("b8:27:eb:00:{:02x}:{:02x}", number / 256, number % 256).into()),
            address: format!("10.1.{}.{}", number / 250 + 1, number % 250 + 1).parse().ok(),
            health: NodeHealth::Up.into(),
            rtt_us: Some(300 + number as u64 % 90),
            since_s: 600,
            ..Node::default()
        })
        .collect();
    snapshot
}
