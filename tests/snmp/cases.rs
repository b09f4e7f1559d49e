//! The test cases.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bramblegate::api::status::{Alert, Node, NodeHealth, Severity, Share, Snapshot};

use super::{Case, source};
use crate::stage::{Daemon, Stage, cluster, eventually, node};

pub const ALL: &[Case] = &[
    ("the_mib_is_clean", the_mib_is_clean),
    ("a_walk_equals_the_status", a_walk_equals_the_status),
    ("names_are_text_whatever_they_hold", names_are_text_whatever_they_hold),
    ("a_table_with_names", a_table_with_names),
    ("shared_disks_are_a_table", shared_disks_are_a_table),
    ("nothing_can_be_set", nothing_can_be_set),
    ("a_node_that_dies_is_notified", a_node_that_dies_is_notified),
    ("what_happens_while_snmpd_restarts_is_notified", notified_after_a_restart),
    ("snmpd_restarts", snmpd_restarts),
    ("snmpd_comes_late", snmpd_comes_late),
    ("snmpd_hangs_and_goes_on", snmpd_hangs_and_goes_on),
    ("snmpd_never_answers", snmpd_never_answers),
    ("snmpd_drips_and_babbles", snmpd_drips_and_babbles),
    ("the_daemon_restarts", the_daemon_restarts),
    ("doctor_leads_to_an_answer", doctor_leads_to_an_answer),
];

/// bgNodeTable.
const NODES: &str = ".1.3.6.1.4.1.8072.9999.9999.7654.1.3";

/// `smilint` at its strictest reports nothing. It needs the imported modules, which no package of
/// Debian's main section has: an npm package has them.
fn the_mib_is_clean() {
    let modules = source("target/observability/mibs/package/lib/mibs");
    assert!(modules.join("SNMPv2-SMI.mib").exists(), "make observability-test fetches them");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("smi.conf");
    std::fs::write(&settings, format!("path {}\n", modules.display())).unwrap();
    let mut lint = Command::new("smilint");
    lint.arg("-c").arg(&settings).args(["-l", "6"]);
    let output = lint.arg(source("docs/observability/BRAMBLEGATE-MIB.txt")).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && text.is_empty(), "{}", String::from_utf8_lossy(&text));
}

/// Returns the lines of a walk: identifier → value, as the tools print them with names disabled.
fn walk(stage: &Stage, command: &str) -> BTreeMap<String, String> {
    let text = stage.ask(command);
    let lines: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(lines.len(), text.lines().count(), "each once, each in a line:\n{text}");
    lines
}

/// Returns a name as it is in an identifier.
fn index(name: &str) -> String {
    let bytes: String = name.bytes().map(|byte| format!(".{byte}")).collect();
    format!("{}{bytes}", name.len())
}

fn wanted(nodes: &[Node]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for node in nodes {
        let health = match node.health.known().unwrap() {
            NodeHealth::Up => 2,
            NodeHealth::Down => 4,
            other => panic!("{other}"),
        };
        let text = |text: &str| match text {
            "" => "\"\"".to_owned(),
            text => format!("STRING: \"{text}\""),
        };
        let values = [
            text(&node.address.unwrap().to_string()),
            text(node.mac.as_deref().unwrap_or_default()),
            format!("INTEGER: {health}"),
            format!("Gauge32: {}", node.rtt_us.unwrap_or(0)),
            format!("Gauge32: {}", node.since_s),
            text(node.group.as_deref().unwrap_or_default()),
        ];
        for (column, value) in (2..).zip(values) {
            all.insert(format!("{NODES}.1.{column}.{}", index(&node.name)), value);
        }
    }
    all
}

/// Ages advance: their values may be a few seconds larger.
fn assert_equal(walked: BTreeMap<String, String>, wanted: &BTreeMap<String, String>) {
    assert_eq!(walked.len(), wanted.len());
    for (name, value) in walked {
        let want = wanted.get(&name).unwrap_or_else(|| panic!("{name} = {value}"));
        let age =
            |text: &str| text.strip_prefix("Gauge32: ").and_then(|text| text.parse::<u32>().ok());
        let close = name.starts_with(&format!("{NODES}.1.6."))
            && matches!((age(&value), age(want)), (Some(is), Some(was)) if (was..was + 60).contains(&is));
        assert!(value == *want || close, "{name} = {value}, not {want}");
    }
}

fn a_walk_equals_the_status() {
    let status = cluster(750);
    let wanted = wanted(&status.nodes);
    let stage = Stage::new(status);
    stage.start();
    for command in ["snmpbulkwalk -On", "snmpbulkwalk -On -Cr100", "snmpwalk -On"] {
        assert_equal(walk(&stage, &format!("{command} @ {NODES}")), &wanted);
    }
    // More than fits into a packet, of two columns and a scalar: the rest is omitted.
    let many = stage.ask(&format!(
        "snmpbulkget -On -Cn1 -Cr2000 @ .1.3.6.1.4.1.8072.9999.9999.7654.1.1.1 {NODES}.1.2 {NODES}.1.4"
    ));
    let lines: Vec<&str> = many.lines().collect();
    assert!(lines.len() > 50, "{many}");
    assert!(lines[0].ends_with(".1.1.1.0 = INTEGER: 0"), "{many}");
    for pair in lines[1..].chunks_exact(2) {
        assert!(pair[0].contains(".1.3.1.2.") && pair[1].contains(".1.3.1.4."), "{pair:?}");
    }
    let missing = format!("snmpget -On @ {NODES}.1.4.4.120.120.120.120 {NODES}.1.9.1.120");
    let answer = stage.ask(&missing);
    assert!(answer.contains("No Such Instance") && answer.contains("No Such Object"), "{answer}");
    // The system's own tables are unaffected.
    assert!(stage.ask("snmpget -On @ .1.3.6.1.2.1.1.5.0").contains("STRING"), "sysName");
}

fn names_are_text_whatever_they_hold() {
    let long = "n".repeat(100);
    let names = ["a b", "<script>alert(1)</script>", "Küche", "x\ny", "\u{1b}[31m", &long, "'; --"];
    let nodes = names.iter().zip(1..).map(|(name, number)| node(name, number, NodeHealth::Up));
    let alert = Alert {
        code: "node-down".into(),
        severity: Severity::Fault.into(),
        text: "<b>rpi1</b>\nis down: \"ümlaut\"".into(),
        ..Alert::default()
    };
    let status = Snapshot { nodes: nodes.collect(), alerts: vec![alert], ..Snapshot::default() };
    let wanted = wanted(&status.nodes);
    let stage = Stage::new(status);
    stage.start();
    assert_equal(walk(&stage, &format!("snmpbulkwalk -On @ {NODES}")), &wanted);
    assert!(wanted.keys().any(|name| name.contains(&index("x\\u{a}y"))), "escaped: {wanted:?}");
    let text = stage.ask("snmpget -Oqv -m BRAMBLEGATE-MIB @ BRAMBLEGATE-MIB::bgAlertText.1");
    assert_eq!(text.trim(), "<b>rpi1</b>\\u{a}is down: \"ümlaut\"");
}

/// What a user of Debian sees who has the MIB but none of those that it imports.
fn a_table_with_names() {
    let mut status = cluster(3);
    status.nodes[1].health = NodeHealth::Down.into();
    let stage = Stage::new(status);
    stage.start();
    let table = stage.ask("snmptable -Ci -m BRAMBLEGATE-MIB @ BRAMBLEGATE-MIB::bgNodeTable");
    let row =
        table.lines().find(|line| line.contains("node1")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains("10.1.0.1") && row.contains(" down "), "{table}");
    assert!(table.contains("bgNodeHealth"), "{table}");
    let scalars = stage.ask("snmpwalk -m BRAMBLEGATE-MIB @ BRAMBLEGATE-MIB::bgScalars");
    assert!(scalars.contains("BRAMBLEGATE-MIB::bgSeverity.0 = INTEGER: ok(0)"), "{scalars}");
    assert!(scalars.contains("BRAMBLEGATE-MIB::bgDaemonAnswers.0 = INTEGER: true(1)"), "{scalars}");
    assert!(scalars.contains("bgUplinkLeaseLeft.0 = Gauge32: 0 seconds"), "{scalars}");
}

fn shared_disks_are_a_table() {
    let mut status = cluster(1);
    status.shares = vec![
        Share {
            name: "usb".into(),
            path: "/mnt/usb".into(),
            access: "rw".into(),
            clients: vec!["node0".into(), "node7".into()],
            errors: Some(3),
            exported: true,
            free_percent: Some(42),
            mounted: true,
            read_only: Some(false),
        },
        Share { name: "gone".into(), path: "/mnt/gone".into(), ..Share::default() },
    ];
    let stage = Stage::new(status);
    stage.start();
    let walk = stage.ask("snmpwalk -Oq -m BRAMBLEGATE-MIB @ BRAMBLEGATE-MIB::bgShareTable");
    for line in [
        "bgSharePath.\"usb\" /mnt/usb",
        "bgShareWritable.\"usb\" true",
        "bgShareMounted.\"usb\" true",
        "bgShareMounted.\"gone\" false",
        "bgShareExported.\"gone\" false",
        "bgShareReadOnly.\"usb\" false",
        "bgShareFree.\"usb\" 42 percent",
        "bgShareFree.\"gone\" -1 percent",
        "bgShareErrors.\"usb\" 3",
        "bgShareClients.\"usb\" 2",
    ] {
        let there = walk.lines().any(|own| own == format!("BRAMBLEGATE-MIB::{line}"));
        assert!(there, "{line} in\n{walk}");
    }
    assert_eq!(walk.lines().count(), 16, "{walk}");
}

fn nothing_can_be_set() {
    let stage = Stage::new(cluster(1));
    stage.start();
    for what in ["i 1", "s text", "x ff00fe"] {
        let set = format!("snmpset -v2c -c private -On @ {NODES}.1.4.{} {what}", index("node0"));
        let answer = stage.ask_whatever(&set);
        assert!(answer.contains("notWritable"), "{what}: {answer}");
    }
    assert_eq!(stage.health("node0"), "INTEGER: 2");
}

fn a_node_that_dies_is_notified() {
    let mut status = cluster(3);
    let stage = Stage::new(status.clone());
    stage.start();
    stage.trapd();
    status.nodes[2].health = NodeHealth::Down.into();
    status.severity = Severity::Warning.into();
    let begin = Instant::now();
    stage.daemon().change(&status);
    let log = stage.notified("bgNodeHealth.\"node2\" = INTEGER: down(4)");
    let took = begin.elapsed();
    assert!(log.contains("bgNodeAddress.\"node2\" = STRING: 10.1.0.2"), "{log}");
    assert!(log.contains("bgSeverity.0 = INTEGER: warning(2)"), "{log}");
    assert!(!log.contains("node1"), "only what changed: {log}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Back, by a change alone.
    status.nodes[2].health = NodeHealth::Up.into();
    stage.daemon().change(&status);
    stage.notified("bgNodeHealth.\"node2\" = INTEGER: up(2)");
}

fn notified_after_a_restart() {
    let mut status = cluster(3);
    let mut stage = Stage::new(status.clone());
    stage.start();
    stage.trapd();
    stage.stop_snmpd();
    status.nodes[0].health = NodeHealth::Down.into();
    stage.daemon().change(&status);
    thread::sleep(Duration::from_millis(500));
    stage.snmpd();
    stage.notified("bgNodeHealth.\"node0\" = INTEGER: down(4)");
}

/// The net-snmp library needs 15 s.
fn snmpd_restarts() {
    let mut stage = Stage::new(cluster(3));
    stage.start();
    for away in [0, 300, 3000] {
        stage.stop_snmpd();
        thread::sleep(Duration::from_millis(away));
        let begin = Instant::now();
        stage.snmpd();
        eventually(Duration::from_secs(10), || stage.health("node1") == "INTEGER: 2");
        let took = begin.elapsed();
        println!("away for {away} ms: back after {took:?}");
        assert!(took < Duration::from_secs(2), "away for {away} ms: back after {took:?}");
    }
    assert!(stage.agent_lives());
}

fn snmpd_comes_late() {
    let stage = Stage::new(cluster(3));
    stage.agent();
    thread::sleep(Duration::from_secs(3));
    assert!(stage.agent_lives());
    let begin = Instant::now();
    stage.snmpd();
    eventually(Duration::from_secs(10), || stage.health("node1") == "INTEGER: 2");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let log = stage.agent_log();
    assert_eq!(log.matches("No such file").count(), 1, "a line for each reason: {log}");
}

/// Longer than a session may be silent, so that it is closed and others wait in the backlog.
fn snmpd_hangs_and_goes_on() {
    let stage = Stage::new(cluster(3));
    stage.start();
    for seconds in [3, 40] {
        stage.signal_snmpd("STOP");
        thread::sleep(Duration::from_secs(seconds));
        assert!(stage.agent_lives());
        stage.signal_snmpd("CONT");
        let begin = Instant::now();
        eventually(Duration::from_secs(20), || stage.health("node1") == "INTEGER: 2");
        println!("hung for {seconds} s: back after {:?}", begin.elapsed());
    }
    let log = stage.agent_log();
    assert!(log.contains("snmpd does not answer"), "{log}");
}

/// A server that accepts every connection and sends nothing; then a real one in its place.
fn snmpd_never_answers() {
    let stage = Stage::new(cluster(3));
    let listener = UnixListener::bind(stage.socket()).unwrap();
    let kept = thread::spawn(move || {
        let first = listener.accept().unwrap();
        let second = listener.accept().unwrap();
        (first, second)
    });
    stage.agent();
    drop(kept.join().unwrap());
    std::fs::remove_file(stage.socket()).unwrap();
    assert!(stage.agent_lives());
    stage.snmpd();
    eventually(Duration::from_secs(10), || stage.health("node1") == "INTEGER: 2");
}

/// A proxy in front of the real one that forwards byte by byte; and a server that sends invalid
/// messages.
fn snmpd_drips_and_babbles() {
    let mut stage = Stage::new(cluster(3));
    let listener = UnixListener::bind(stage.socket()).unwrap();
    let real = stage.beside("real");
    stage.snmpd_at(&real);
    let target = real.clone();
    let proxy = thread::spawn(move || {
        let (mut babbled, _) = listener.accept().unwrap();
        babbled.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let (agent, _) = listener.accept().unwrap();
        let master = UnixStream::connect(target).unwrap();
        let (mut from, mut to) = (agent.try_clone().unwrap(), master.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut master, mut agent) = (master, agent);
        let mut byte = [0];
        while master.read(&mut byte).is_ok_and(|count| count > 0) && agent.write_all(&byte).is_ok()
        {
            thread::sleep(Duration::from_micros(300));
        }
    });
    stage.agent();
    eventually(Duration::from_secs(20), || stage.health("node1") == "INTEGER: 2");
    assert!(stage.ask(&format!("snmpbulkwalk -On @ {NODES}")).lines().count() == 18);
    assert!(stage.agent_log().contains("no message of AgentX"), "{}", stage.agent_log());
    stage.stop_snmpd();
    proxy.join().unwrap();
}

fn the_daemon_restarts() {
    let mut stage = Stage::new(cluster(3));
    stage.start();
    stage.trapd();
    let answers = "snmpget -Oqv @ .1.3.6.1.4.1.8072.9999.9999.7654.1.1.8.0";
    let severity = "snmpget -Oqv @ .1.3.6.1.4.1.8072.9999.9999.7654.1.1.1.0";
    assert_eq!(stage.ask(answers).trim(), "1");
    stage.daemon = None;
    eventually(Duration::from_secs(5), || stage.ask(answers).trim() == "2");
    assert_eq!(stage.ask(severity).trim(), "4");
    stage.notified("bgSeverity.0 = INTEGER: unknown(4)");
    let status = cluster(2);
    stage.daemon = Some(Daemon::new(&stage.beside("status"), &status));
    eventually(Duration::from_secs(5), || stage.ask(answers).trim() == "1");
    stage.notified("bgSeverity.0 = INTEGER: ok(0)");
    assert_eq!(stage.ask(&format!("snmpbulkwalk -On @ {NODES}")).lines().count(), 12);
}

/// Debian's own settings and, command by command as doctor prints them, what is missing; the agent
/// without root, like its unit.
fn doctor_leads_to_an_answer() {
    let stage = Stage::new(cluster(3));
    stage.debian();
    assert_eq!(stage.findings(), [], "not wanted, so nothing is missing");
    stage.sh("bramblegate print snmpd > /etc/snmp/snmpd.conf.d/bramblegate.conf");
    stage.put_right("host-snmpd-stopped");
    stage.put_right("host-snmp-stopped");
    assert_eq!(stage.findings(), []);
    let answers = || eventually(Duration::from_secs(10), || stage.health("node1") == "INTEGER: 2");
    answers();
    // Before it had its settings.
    stage.sh("chown root:root /run/agentx/master");
    stage.put_right("host-snmpd-socket");
    stage.sh("echo 'view systemonly included .1.3' > /etc/snmp/snmpd.conf.d/bramblegate.conf");
    stage.put_right("host-snmpd-settings");
    stage.sh("sed -i /includeDir/d /etc/snmp/snmpd.conf");
    stage.put_right("host-snmpd-settings");
    stage.sh("mount --bind /dev/null /usr/sbin/snmpd");
    stage.put_right("host-snmpd-missing");
    assert_eq!(stage.findings(), []);
    answers();
}
