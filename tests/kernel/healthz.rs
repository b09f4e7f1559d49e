//! HTTP probes of nodes, as configured by a settings file, against web servers at the other end of
//! a cable.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread::spawn;
use std::time::Duration;

use bramblegate::board::Board;
use bramblegate::config::load;
use bramblegate::event::{Event, NodeId, Probe};
use bramblegate::watch::probe::{NodeProbePlan, NodeTarget, run_nodes};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::frame::Trial;
use crate::lab::{sh, trial};
use crate::netlink::block_on;
use crate::probe::elsewhere;

pub fn tests() -> Vec<Trial> {
    vec![trial("healthz::an_answer_is_judged_by_what_the_settings_expect", judged)]
}

/// The answers of the nodes' web servers; each node has an address of its own, in this order from
/// .11.
const SERVERS: [&str; 5] = [
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ndisk is full",
    "HTTP/1.1 503 Service Unavailable\r\n\r\nall is well\n",
    "HTTP/1.1 301 Moved Permanently\r\nLocation: /elsewhere\r\n\r\n",
];

/// The requested paths, and the nodes that are healthy by each.
const ASKED: [(&str, &[u8]); 4] = [
    ("http://:80/healthz", &[11, 12, 13, 15]),
    ("http://:80/healthz 204", &[11]),
    ("http://:80/healthz 503", &[14]),
    ("http://:80/healthz all is well", &[12]),
];

/// Starts a web server for each answer. The header section comes first and the rest a moment later,
/// as from a slow machine; a request for another path gets no answer.
fn serve() {
    sh("ip link set node-peer up");
    for (last, answer) in (11..).zip(SERVERS) {
        sh(&format!("ip addr add 192.168.50.{last}/24 dev node-peer"));
        let web = TcpListener::bind((Ipv4Addr::new(192, 168, 50, last), 80)).unwrap();
        spawn(move || {
            for stream in web.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap_or(0);
                if !request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n") {
                    continue;
                }
                let (head, rest) = answer.split_at(20);
                let _ = stream.write_all(head.as_bytes());
                std::thread::sleep(Duration::from_millis(5));
                let _ = stream.write_all(rest.as_bytes());
            }
        });
    }
}

/// Returns the nodes of the settings, all with this probe.
fn targets(probe: &str) -> Vec<NodeTarget> {
    let nodes = (11..).zip(SERVERS).map(|(last, _)| {
        format!(
            "[[node]]\nname = \"rpi{last}\"\naddress = \"192.168.50.{last}\"\nprobe = \"{probe}\"\n"
        )
    });
    let text = format!(
        "[uplink]\ninterfaces = [\"eth1\"]\n[cluster]\ninterface = \"cluster\"\n{}",
        nodes.collect::<String>()
    );
    let settings = load(&[("healthz", text)], &Board::built_in("emulated").unwrap()).unwrap();
    let target = |node: &bramblegate::config::Node| {
        let address = node.address.unwrap();
        let slot = u32::from(address.octets()[3]);
        NodeTarget {
            node: NodeId { slot, generation: 0 },
            address: address.into(),
            mac: None,
            probes: node.probes.clone(),
            timeout: 0,
        }
    };
    settings.nodes.iter().map(target).collect()
}

fn judged() {
    elsewhere("node", "cluster", serve);
    sh("ip addr add 192.168.50.1/24 dev cluster");
    for (probe, expected) in ASKED {
        let well = block_on(well(targets(probe)));
        assert_eq!(well, expected.iter().map(|last| u32::from(*last)).collect(), "{probe}");
    }
}

/// Returns the healthy nodes, after a round of each.
async fn well(nodes: Vec<NodeTarget>) -> BTreeSet<u32> {
    let count = nodes.len();
    let second = Duration::from_secs(1);
    let plan = NodeProbePlan {
        nodes: nodes.into(),
        interval: second,
        timeout: second,
        port: Some("cluster".into()),
    };
    let (_plan, wanted) = watch::channel(plan);
    let (sender, mut events) = mpsc::channel(64);
    let asking = tokio::spawn(run_nodes(wanted, sender));
    let (mut ended, mut well) = (BTreeSet::new(), BTreeSet::new());
    while ended.len() < count {
        let Ok(Some(Event::Probe(Probe::Nodes(rounds)))) =
            timeout(Duration::from_secs(10), events.recv()).await
        else {
            panic!("no round ended");
        };
        ended.extend(rounds.iter().map(|round| round.node.slot));
        well.extend(rounds.iter().filter(|round| round.rtt.is_some()).map(|round| round.node.slot));
    }
    asking.abort();
    well
}
