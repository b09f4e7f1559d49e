//! Real sockets, with peers that hang, send slowly, send garbage or close.

mod follow;

use std::io::{ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::Word;
use crate::control::Order;
use crate::status::{Line, NodeHealth, Severity};

/// A socket whose file is removed on drop.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("bramblegate-api-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    /// Serves the first client.
    fn serve(name: &str, serve: impl FnOnce(UnixStream) + Send + 'static) -> Self {
        let place = Self::new(name);
        let listener = UnixListener::bind(&place.0).unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `part`, which must end within `time`.
fn within<T: Send + 'static>(time: Duration, part: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(part()));
    receiver.recv_timeout(time).expect("it ends")
}

#[test]
fn a_refusal_garbage_and_a_closed_connection_are_distinct_errors() {
    let ask = |name: &str, text: &'static str| {
        let place =
            Place::serve(name, move |mut stream| stream.write_all(text.as_bytes()).unwrap());
        StatusClient::fetch(&place.0, Duration::from_secs(5)).unwrap_err()
    };
    assert!(
        matches!(ask("refuses", "{\"schema\":1,\"type\":\"refused\",\"reason\":\"full\"}\n"), Error::Refused(why) if why == "full")
    );
    assert!(matches!(ask("babbles", "SSH-2.0-OpenSSH_9.2\n"), Error::NotStatus(_)));
    assert!(matches!(
        ask("changes", "{\"schema\":1,\"type\":\"change\",\"seq\":1}\n"),
        Error::NotStatus(_)
    ));
    assert!(matches!(ask("leaves", "{\"schema\":1"), Error::Ended));
    let absent = StatusClient::connect(Path::new("/nonexistent/status.sock")).unwrap_err();
    assert!(matches!(absent, Error::Io(error) if error.kind() == ErrorKind::NotFound));
}

#[test]
fn a_line_may_arrive_in_parts() {
    let place = Place::new("pieces");
    let listener = UnixListener::bind(&place.0).unwrap();
    let mut client = StatusClient::connect(&place.0).unwrap();
    client.set_timeout(Some(Duration::from_millis(20)));
    let (mut daemon, _) = listener.accept().unwrap();
    daemon
        .write_all(
            "{\"type\":\"change\",\"severity\":\"gr\u{fc}".as_bytes().split_last().unwrap().1,
        )
        .unwrap();
    assert_eq!(client.next_line().unwrap(), None);
    daemon.write_all(&[0xbc]).unwrap();
    daemon.write_all(b"n\"}\n").unwrap();
    let Line::Change(change) = client.next_line().unwrap().unwrap().line else {
        panic!("no change")
    };
    assert_eq!(change.severity, Some(Word::Other("gr\u{fc}n".into())));
}

/// A daemon that hangs does not accept, and its backlog is full; or it accepts and sends nothing,
/// or a byte now and then.
#[test]
fn every_wait_for_a_hanging_daemon_ends() {
    let place = Place::new("hangs");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&place.0).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = StatusClient::connect(&place.0).unwrap();
    let (path, other) = (place.0.clone(), place.0.clone());
    let (status, control) = within(Duration::from_secs(15), move || {
        let control = thread::spawn(move || ControlClient::connect(&other));
        (StatusClient::connect(&path), control.join().unwrap())
    });
    assert!(matches!(status, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut));
    assert_eq!(control.unwrap_err().kind(), ErrorKind::TimedOut);
    let dripping = Place::serve("drips", |mut stream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let path = dripping.0.clone();
    let error = within(Duration::from_secs(5), move || {
        StatusClient::fetch(&path, Duration::from_millis(200))
    });
    assert!(matches!(error, Err(Error::NotStatus(why)) if why.contains("nothing")));
}

#[test]
fn an_order_is_answered() {
    let place = Place::serve("orders", |stream| {
        let mut reader = std::io::BufReader::new(stream);
        for answer in [
            "{\"ok\":true,\"schema\":1}\n",
            "{\"error\":\"no such node\",\"ok\":false,\"schema\":1}\n",
            "220 ftp\n",
        ] {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
            assert_eq!(Order::parse(line.as_bytes()), Ok(Order::Drain("rpi1".to_owned())));
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut client = ControlClient::connect(&place.0).unwrap();
    let order = Order::Drain("rpi1".to_owned());
    assert_eq!(client.send(&order).unwrap(), Ok(()));
    assert_eq!(client.send(&order).unwrap(), Err("no such node".to_owned()));
    assert_eq!(client.send(&order).unwrap_err().kind(), ErrorKind::InvalidData);
}

fn view(lines: &[&str]) -> View {
    let mut view = View::default();
    lines.iter().for_each(|line| view.take(Line::parse(line.as_bytes()).unwrap()));
    view
}

const SNAPSHOT: &str = r#"{"schema":1,"type":"snapshot","uptime_s":4000,"severity":"fault",
    "uplink":{"state":"online","address":"10.99.0.126/24","since_s":12,"lease_left_s":118},
    "uplinks":[{"state":"online","since_s":12,"lease_left_s":118},{"state":"no-carrier","since_s":3}],
    "nodes":[{"name":"rpi1","health":"up","since_s":40},{"name":"rpi2","health":"down","rtt_us":1234,"since_s":90000}]}"#;

#[test]
fn changes_are_merged_into_the_snapshot() {
    let change = r#"{"schema":1,"type":"change","seq":1,"severity":"ok","alerts":[],"mood":"good",
        "nodes":[{"name":"rpi2","health":"up"},{"name":"rpi3","health":"unknown"}],"nodes_removed":["rpi1"]}"#;
    let last = r#"{"schema":1,"type":"change","seq":2,"nodes":[{"name":"rpi3","health":"up"}]}"#;
    let view = view(&[SNAPSHOT, change, r#"{"type":"song"}"#, last]);
    let snapshot = view.snapshot().unwrap();
    assert_eq!(snapshot.severity, Severity::Ok);
    let nodes: Vec<_> =
        snapshot.nodes.iter().map(|node| (&*node.name, node.health.known())).collect();
    assert_eq!(nodes, [("rpi2", Some(NodeHealth::Up)), ("rpi3", Some(NodeHealth::Up))]);
    assert!(snapshot.uplink.address.is_some(), "what did not change stays");
    assert!(View::default().now().is_none());
}

#[test]
fn ages_advance_from_the_line_that_brought_them() {
    let later = view(&[SNAPSHOT]).at(Instant::now() + Duration::from_millis(60_500)).unwrap();
    assert_eq!(later.uptime_s, 4060);
    assert_eq!((later.uplink.since_s, later.uplink.lease_left_s), (Some(72), Some(58)));
    assert_eq!((later.uplinks[1].since_s, later.uplinks[1].lease_left_s), (Some(63), None));
    assert_eq!((later.nodes[1].since_s, later.nodes[1].rtt_us), (90_060, Some(1234)));
}
