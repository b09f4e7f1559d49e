//! The table of 750 nodes walked by `snmpbulkwalk`, through snmpd and the subagent; against the
//! table of net-snmp's own that comes nearest: ipNetToPhysicalTable (RFC 4293) with 750 neighbours,
//! which snmpd itself has in a sorted container. Both in one snmpd, taking turns, per value: one has
//! 6 columns, the other 5.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bramblegate::api::status::{Node, NodeHealth, Snapshot};
use bramblegate::api::{self, status};
use bramblegate_lab::shell::{Running, spawn, within};
use bramblegate_lab::{Error, Result};

use super::lab::{Namespace, fail, file, median, ms, program, write};
use super::table::Row;

const ROUNDS: usize = 21;
const NODES: u16 = 750;
/// bgNodeTable and ipNetToPhysicalTable, with the number of their columns.
const OURS: (&str, usize) = (".1.3.6.1.4.1.8072.9999.9999.7654.1.3", 6);
const THEIRS: (&str, usize) = (".1.3.6.1.2.1.4.35", 5);

pub fn measure() -> Result<Vec<Row>> {
    let namespace = Namespace::new("snmp")?;
    namespace.ip("link add n0 type veth peer name n1\nlink set n0 up\nlink set n1 up\naddr add 10.9.255.1/16 dev n0")?;
    let neighbour = |number: u16| {
        let [high, low] = number.to_be_bytes();
        format!(
            "neigh add 10.9.{high}.{low} lladdr 02:00:00:00:{high:02x}:{low:02x} dev n0 nud permanent"
        )
    };
    namespace.ip(&(1..=NODES).map(neighbour).collect::<Vec<_>>().join("\n"))?;
    serve(&file("snmp.status"))?;
    let _running = start(&namespace)?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (table, times) in [OURS, THEIRS].into_iter().zip(&mut times) {
            times.push(walk(&namespace, table)?);
        }
    }
    let [ours, theirs] = times.map(|times| median(&times));
    Ok(vec![
        Row::new("SNMP, a table of 750 nodes walked, 1000 values", ours, "ms")
            .against("ms, snmpd's own ipNetToPhysicalTable", theirs)
            .target("<= 1.5x", ours <= 1.5 * theirs),
    ])
}

/// Returns the milliseconds for 1000 values.
fn walk(namespace: &Namespace, (table, columns): (&str, usize)) -> Result<f64> {
    let line = format!("MIBS= snmpbulkwalk -v2c -c public -t 5 127.0.0.1 {table}");
    let begin = Instant::now();
    let text = namespace.sh(&line)?;
    let took = ms(begin.elapsed());
    let values = text.lines().count();
    if values != columns * usize::from(NODES) {
        return Err(Error(format!("{table} has {values} values")));
    }
    Ok(took * 1e3 / values as f64)
}

/// Serves a status to each who connects, until the bench ends.
fn serve(path: &Path) -> Result<()> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(fail("the status socket"))?;
    let nodes = (1..=NODES).map(|number| {
        let [high, low] = number.to_be_bytes();
        Node {
            name: format!("node{number}").into(),
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 9, high, low))),
            mac: Some(format!("02:00:00:00:{high:02x}:{low:02x}").into()),
            health: NodeHealth::Up.into(),
            rtt_us: Some(400),
            group: Some("rack".into()),
            ..Node::default()
        }
    });
    let snapshot = Snapshot {
        severity: status::Severity::Ok.into(),
        nodes: nodes.collect(),
        ..Snapshot::default()
    };
    let line = api::line(&snapshot);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&line);
            kept.push(stream);
        }
    });
    Ok(())
}

/// Starts snmpd and the subagent, and waits until both tables are there.
fn start(namespace: &Namespace) -> Result<[Running; 2]> {
    let folder = file("snmp.persistent");
    std::fs::create_dir_all(&folder).map_err(fail("snmpd's folder"))?;
    let socket = file("snmp.agentx");
    let text = format!(
        "agentaddress udp:127.0.0.1:161\nmaster agentx\nagentXSocket unix:{}\nrocommunity public\n",
        socket.display()
    );
    let settings = write("snmpd.conf", &text)?;
    let mut snmpd = within(&namespace.0, "snmpd");
    snmpd.args(["-f", "-Lo", "-C", "-c"]).arg(settings).env("SNMP_PERSISTENT_DIR", folder);
    let snmpd = spawn(snmpd.env("MIBS", ""), &file("snmpd.log"))?;
    let agent = program().with_file_name("bramblegate-snmp");
    if !agent.exists() {
        return Err(Error(format!("there is no {}: `make bench` builds it", agent.display())));
    }
    let mut command: Command = within(&namespace.0, &agent.to_string_lossy());
    command.arg("--agentx").arg(socket).arg("--status").arg(file("snmp.status"));
    let agent = spawn(&mut command, &file("snmp.log"))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = walk(namespace, OURS).and_then(|_| walk(namespace, THEIRS)) {
        if Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok([snmpd, agent])
}
