use std::io::Write;
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::*;

fn snapshot() -> Value {
    json!({
        "schema": 1, "type": "snapshot", "version": "0.1.0", "uptime_s": 4000, "severity": "fault",
        "alerts": [{ "severity": "fault", "code": "gateway-blocked", "text": "Docker drops" }],
        "uplink": { "state": "online", "interface": "eth1", "address": "10.99.0.126/24", "gateway": "10.99.0.1",
                    "since_s": 12, "lease_left_s": 118, "addresses": ["10.99.0.126/24", "2001:db8::7/64"] },
        "uplinks": [
            { "state": "online", "interface": "eth1", "address": "10.99.0.126/24", "gateway": "10.99.0.1",
              "since_s": 12, "lease_left_s": 118, "addresses": ["10.99.0.126/24", "2001:db8::7/64"] },
            { "state": "no-carrier", "interface": "wlan0", "address": null, "gateway": null, "since_s": 3,
              "lease_left_s": null, "addresses": [] },
        ],
        "gateway": { "forwarding": true, "masquerade": null, "applied": 1, "repaired": 2, "overlap": "routed",
                     "blocked_by": { "table": "ip filter", "chain": "FORWARD", "remedy": "sudo this" },
                     "ipv6_forwarding": false },
        "cluster": { "interface": "eth0", "address": "192.168.50.1/24", "dhcp": "off", "up": 1, "total": 2 },
        "nodes": [
            { "name": "rpi1", "mac": null, "address": "192.168.50.11", "health": "up", "rtt_us": 310, "since_s": 40 },
            { "name": "rpi2", "mac": null, "address": null, "health": "down", "rtt_us": 1234, "since_s": 90000 },
        ],
        "panel": { "lcd": { "state": "ok", "lines": ["10.99.0.126     ", "BLOCKED        ♥"], "bytes": 140, "errors": 2 },
                   "led": { "state": "absent", "colour": null, "pattern": null, "leds": null } },
    })
}

fn view(lines: &[Value]) -> View {
    let mut view = View::default();
    lines.iter().for_each(|line| view.take(line));
    view
}

#[test]
fn the_page_tells_everything_in_a_few_rows() {
    let wanted = "\
status    fault  version 0.1.0  running 66 min
          fault: Docker drops
uplink    eth1  online  10.99.0.126/24  2001:db8::7/64  gateway 10.99.0.1  lease 118 s  for 12 s
          wlan0  no-carrier  for 3 s
gateway   forwarding yes  masquerade unknown  overlap routed  applied 1x  repaired 2x
          blocked by ip filter FORWARD: sudo this
          IPv6 is not forwarded: nodes get none yet
cluster   eth0  192.168.50.1/24  1/2 up  dhcp off
          rpi1  192.168.50.11    up          310 µs  for 40 s
          rpi2                   down                for 25 h 0 min
lcd       ok  [10.99.0.126     ] [BLOCKED        ♥]  2 bus errors
led       absent
";
    assert_eq!(text::page(&view(&[snapshot()]), false), wanted);
}

#[test]
fn what_is_not_so_is_not_said() {
    let mut status = snapshot();
    status["uplinks"][0]["addresses"] = json!(["10.99.0.126/24"]);
    status["panel"]["lcd"]["errors"] = 0.into();
    let page = text::page(&view(&[status.clone()]), false);
    assert!(!page.contains("IPv6") && !page.contains("bus error"), "{page}");
    status["uplinks"][0]["addresses"] = json!(["2001:db8::7/64"]);
    status["gateway"]["ipv6_forwarding"] = Value::Null;
    let page = text::page(&view(&[status]), false);
    assert!(!page.contains("IPv6"), "without our rules nobody knows: {page}");
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let page = text::page(&view(&[snapshot()]), true);
    assert!(page.contains("\x1b[31mfault\x1b[0m") && page.contains("\x1b[32monline\x1b[0m"));
    assert!(!text::page(&view(&[snapshot()]), false).contains('\x1b'));
}

#[test]
fn names_cannot_steer_the_terminal() {
    let mut hostile = snapshot();
    hostile["nodes"][0]["name"] = "evil\u{1b}[2J".into();
    assert!(!text::page(&view(&[hostile]), false).contains('\x1b'));
}

#[test]
fn changes_are_merged_into_the_snapshot() {
    let change = json!({
        "schema": 1, "type": "change", "seq": 1, "severity": "ok", "alerts": [], "mood": "good",
        "nodes": [{ "name": "rpi2", "health": "up" }, { "name": "rpi3", "health": "unknown" }],
        "nodes_removed": ["rpi1"],
    });
    let view = view(&[snapshot(), change, json!({ "type": "song" })]);
    let value = Value::Object(view.value().clone());
    assert_eq!(value["type"], "snapshot");
    assert_eq!(value["severity"], "ok");
    assert_eq!(value["mood"], "good", "new keys are taken as they are");
    assert!(value.get("seq").is_none());
    assert_eq!(value["nodes"], json!([{ "name": "rpi2", "health": "up" }, { "name": "rpi3", "health": "unknown" }]));
    assert_eq!(value["uplink"]["address"], "10.99.0.126/24", "what did not change stays");
}

#[test]
fn ages_go_on_from_the_line_that_told_them() {
    let view = view(&[snapshot()]);
    let later = view.at(std::time::Instant::now() + Duration::from_millis(60_500));
    assert_eq!(later["uptime_s"], 4060);
    assert_eq!(later["uplink"]["since_s"], 72);
    assert_eq!(later["uplink"]["lease_left_s"], 58);
    assert_eq!(later["uplinks"][1]["since_s"], 63);
    assert_eq!(later["uplinks"][1]["lease_left_s"], Value::Null);
    assert_eq!(later["nodes"][1]["since_s"], 90_060);
    assert_eq!(later["nodes"][1]["rtt_us"], 1234);
}

#[test]
fn the_exit_code_is_how_bad_it_is() {
    for (severity, code) in [("ok", 0), ("notice", 0), ("warning", 1), ("fault", 2), ("doom", 2)] {
        let mut status = snapshot();
        status["severity"] = severity.into();
        assert_eq!(severity_code(&view(&[status])), code, "{severity}");
    }
    assert_eq!(severity_code(&View::default()), 0, "nothing was told, so nothing is wrong");
}

/// A socket that says `text` to whoever comes first, and closes.
fn who_says(folder: &Path, text: &'static str) -> PathBuf {
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.accept().unwrap().0.write_all(text.as_bytes()).unwrap());
    path
}

#[test]
fn who_refuses_or_babbles_or_leaves_is_told_apart() {
    let ask = |text| {
        let held = tempfile::tempdir().unwrap();
        let path = who_says(held.path(), text);
        let error = Client::connect(&path).unwrap().next_line().unwrap_err();
        assert!(!remedy(&error).is_empty());
        error
    };
    assert!(matches!(ask("{\"schema\":1,\"type\":\"refused\",\"reason\":\"full\"}\n"), Error::Refused(_)));
    assert!(matches!(ask("SSH-2.0-OpenSSH_9.2\n"), Error::NotStatus(_)));
    assert!(matches!(ask("{\"schema\":1"), Error::Ended));
    let nobody = Client::connect(Path::new("/nonexistent/status.sock")).unwrap_err();
    assert!(remedy(&nobody).contains("systemctl start bramblegate"));
}

#[test]
fn a_line_may_come_in_pieces() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("file");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = Client::connect(&path).unwrap();
    client.patience(Some(Duration::from_millis(20)));
    let (mut daemon, _) = listener.accept().unwrap();
    daemon.write_all("{\"type\":\"change\",\"a\":\"gr\u{fc}".as_bytes().split_last().unwrap().1).unwrap();
    assert_eq!(client.next_line().unwrap(), None);
    daemon.write_all(&[0xbc]).unwrap();
    daemon.write_all(b"n\"}\n").unwrap();
    assert_eq!(client.next_line().unwrap().unwrap().value["a"], "gr\u{fc}n");
}

/// A daemon that hangs accepts nobody: its queue fills.
#[test]
fn who_accepts_nobody_is_not_waited_for_for_ever() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("file");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let first = Client::connect(&path).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let hanging = path.clone();
    std::thread::spawn(move || sender.send(Client::connect(&hanging)));
    let error = receiver.recv_timeout(Duration::from_secs(15)).expect("it ends").unwrap_err();
    assert!(remedy(&error).contains("hangs"), "{error}");
    drop(first);
}

#[test]
fn patience_is_for_a_whole_line_and_not_for_each_byte() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("file");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut daemon, _) = listener.accept().unwrap();
        while daemon.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (sender, receiver) = std::sync::mpsc::channel();
    let dripping = path.clone();
    std::thread::spawn(move || {
        let mut client = Client::connect(&dripping).unwrap();
        client.patience(Some(Duration::from_millis(200)));
        sender.send(client.next_line().unwrap())
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(5)).expect("it ends"), None);
}
