//! `snmpbulkwalk` of a table of 750 nodes, through snmpd and the subagent; compared with net-snmp's
//! most similar table, ipNetToPhysicalTable (RFC 4293) with 750 neighbours, served by net-snmp's
//! own subagent (`snmpd -X`) behind the same master, and by an snmpd itself. They take turns, and
//! times are per value: one table has 6 columns, the other 5.
//!
//! The limit is a minimal subagent. net-snmp (5.9.3) sends no GetBulk to a subagent: each
//! repetition is a GetNext with a range for each object of the request, and a walk has one. So
//! AgentX costs two process switches per value, whatever the subagent does.

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

use super::agentx::Table;
use super::lab::{Namespace, fail, file, median, ms, program, write};
use super::table::Row;

const ROUNDS: usize = 21;
const NODES: u16 = 750;
/// bgNodeTable and ipNetToPhysicalTable, with the number of their columns.
const OURS: (&str, usize) = (".1.3.6.1.4.1.8072.9999.9999.7654.1.3", 6);
const THEIRS: (&str, usize) = (".1.3.6.1.2.1.4.35", 5);
/// The master, and the snmpd that serves the table itself.
const MASTER: &str = "127.0.0.1:161";
const ALONE: &str = "127.0.0.1:1161";
/// The minimal subagent's root, and its size, which equals bgNodeTable's.
const LEAST: (&str, usize) = (".1.3.6.1.4.1.8072.9999.9999.7655", 6);
const LEAST_ROOT: [u32; 10] = [1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 7655];
/// The walked tables: Bramblegate's, net-snmp's by its subagent, the minimal one, net-snmp's
/// without a subagent.
const WALKS: [(&str, (&str, usize)); 4] =
    [(MASTER, OURS), (MASTER, THEIRS), (MASTER, LEAST), (ALONE, THEIRS)];
/// The module of snmpd that serves ipNetToPhysicalTable (`snmpd -Dmib_init`).
const PART: &str = "inetNetToMediaTable";

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
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((snmpd, table), times) in WALKS.into_iter().zip(&mut times) {
            times.push(walk(&namespace, snmpd, table)?);
        }
    }
    let [ours, theirs, least, alone] = times.map(|times| median(&times));
    let what = "SNMP: 1000 values of a table of 750 nodes";
    Ok(vec![
        Row::new(what, ours, "ms")
            .against("ms net-snmp's subagent", theirs)
            .limit("ms a subagent that does nothing else", least)
            .target("<= 1.5x", ours <= 1.5 * theirs),
        Row::new(format!("{what}, none of them through AgentX"), alone, "ms"),
    ])
}

/// Returns the milliseconds for 1000 values.
fn walk(namespace: &Namespace, snmpd: &str, (table, columns): (&str, usize)) -> Result<f64> {
    let line = format!("MIBS= snmpbulkwalk -v2c -c public -t 5 {snmpd} {table}");
    let begin = Instant::now();
    let text = namespace.sh(&line)?;
    let took = ms(begin.elapsed());
    let values = text.lines().count();
    if values != columns * usize::from(NODES) {
        return Err(Error(format!("{table} has {values} values")));
    }
    Ok(took * 1e3 / values as f64)
}

/// Serves a status to every client, until the benchmark ends.
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

/// Starts an snmpd with these settings and arguments, and a folder of its own.
fn snmpd(namespace: &Namespace, name: &str, settings: &str, more: &[&str]) -> Result<Running> {
    let folder = file(&format!("{name}.persistent"));
    std::fs::create_dir_all(&folder).map_err(fail("snmpd's folder"))?;
    let settings = write(&format!("{name}.conf"), settings)?;
    let mut command = within(&namespace.0, "snmpd");
    command.args(["-f", "-Lo", "-C", "-c"]).arg(settings).args(more);
    command.env("SNMP_PERSISTENT_DIR", folder).env("MIBS", "");
    spawn(&mut command, &file(&format!("{name}.log")))
}

/// Starts everything, and waits until the tables are available.
fn start(namespace: &Namespace) -> Result<[Running; 4]> {
    let socket = file("snmp.agentx");
    let agentx = format!("agentXSocket unix:{}\nmaster agentx\n", socket.display());
    let listen = |address: &str| format!("agentaddress udp:{address}\nrocommunity public\n");
    let alone = snmpd(namespace, "alone", &listen(ALONE), &[])?;
    let without = ["-I", &format!("-{PART}")];
    let master = snmpd(namespace, "master", &(listen(MASTER) + &agentx), &without)?;
    std::thread::sleep(Duration::from_secs(1));
    Table::new(&LEAST_ROOT, 6, u32::from(NODES)).serve(&socket)?;
    let at = format!("unix:{}", socket.display());
    let theirs = snmpd(namespace, "subagent", "", &["-X", "-x", &at, "-I", PART])?;
    let agent = program().with_file_name("bramblegate-snmp");
    if !agent.exists() {
        return Err(Error(format!("there is no {}: `make bench` builds it", agent.display())));
    }
    let mut command: Command = within(&namespace.0, &agent.to_string_lossy());
    command.arg("--agentx").arg(socket).arg("--status").arg(file("snmp.status"));
    let ours = spawn(&mut command, &file("snmp.log"))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let all =
        || WALKS.iter().try_for_each(|(snmpd, table)| walk(namespace, snmpd, *table).map(drop));
    while let Err(error) = all() {
        if Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok([alone, master, theirs, ours])
}
