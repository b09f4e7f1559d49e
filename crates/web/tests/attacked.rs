//! Attacks on the page's server. After each, it answers an ordinary client within a second, and its
//! memory is bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bramblegate_api::status::{Change, NodeHealth, Severity, Snapshot};
use common::client::{Answer, ask, get, get_with, post};
use common::daemon::{Daemon, cluster};
use common::program::{PASSWORD, Program, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of the server's memory, in kB; its unit ends it at 96 MB.
const MOST: u64 = 64 << 10;

struct Place {
    // The order of the fields is that of dropping.
    program: Program,
    daemon: Daemon,
    _folder: tempfile::TempDir,
}

fn place_with(snapshot: Snapshot, arguments: &[&str]) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), snapshot);
    let program = Program::start(folder.path(), "127.0.0.1", arguments);
    Place { program, daemon, _folder: folder }
}

fn place(nodes: usize) -> Place {
    place_with(cluster(nodes), &[])
}

impl Place {
    fn at(&self) -> SocketAddr {
        self.program.at
    }

    /// Checks that an ordinary client gets an answer within a second, and that the memory is
    /// bounded.
    fn is_well(&self, after: &str) {
        let begin = Instant::now();
        let answer = get(self.at(), "/").unwrap_or_else(|error| panic!("{after}: {error}"));
        let (took, pss) = (begin.elapsed(), self.program.pss());
        assert_eq!(answer.status, 200, "{after}");
        assert!(answer.text().contains("data-node=\"node-001\""), "{after}");
        assert!(took < Duration::from_secs(1), "{after}: answered after {took:?}");
        assert!(pss < MOST, "{after}: {pss} kB");
        println!("{after}: answered after {took:?}, {pss} kB");
    }
}

/// Opens connections, sends `what` on each, and keeps them open.
fn hold(at: SocketAddr, number: usize, what: &[u8]) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = TcpStream::connect(at).unwrap();
        // The server may have closed the connection already.
        let _ = stream.write_all(what);
        stream
    };
    (0..number).map(one).collect()
}

fn closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 65536];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn header_sections_that_never_end_time_out() {
    let place = place(3);
    let begin = Instant::now();
    let mut slow = hold(place.at(), 600, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
    while begin.elapsed() < Duration::from_secs(13) {
        for stream in &mut slow {
            let _ = stream.write_all(b"a");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    place.is_well("600 heads that come byte by byte");
    assert!(slow.iter_mut().all(closed), "one of them is still open after 13 s");
}

#[test]
fn incomplete_and_invalid_requests_are_refused() {
    let place = place(3);
    let at = place.at();
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let shown = String::from_utf8_lossy(request).into_owned();
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(request).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        if let Ok(answer) = common::client::read(&mut stream) {
            assert!(answer.status >= 400, "{shown}: {}", answer.head);
        }
    }
    let half =
        hold(at, 200, b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\npass");
    drop(half);
    // Conflicting lengths: the chunks count, and nothing after them is parsed as a request (RFC
    // 9112, 6.1).
    let two = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: \
               chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let answer = ask(at, two).unwrap();
    assert!(!answer.text().contains("HTTP/1.1"), "a second answer: {}", answer.text());
    place.is_well("half requests");
}

#[test]
fn large_header_sections_and_forms_take_no_memory() {
    let place = place(3);
    let at = place.at();
    let long = "a".repeat(200_000);
    for (what, request) in [
        ("target", format!("GET /{long} HTTP/1.1\r\nHost: {at}\r\n\r\n")),
        ("header", format!("GET / HTTP/1.1\r\nHost: {at}\r\nX: {long}\r\n\r\n")),
        ("cookie", format!("GET / HTTP/1.1\r\nHost: {at}\r\nCookie: bramblegate={long}\r\n\r\n")),
        ("many", format!("GET / HTTP/1.1\r\nHost: {at}\r\n{}\r\n", "X: y\r\n".repeat(30_000))),
    ] {
        // Refused with a status, or the connection is reset while the rest is still in flight.
        match ask(at, request) {
            Ok(answer) => assert!((400..500).contains(&answer.status), "{what}: {}", answer.head),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{what}"),
        }
    }
    let own = format!("Origin: http://{at}\r\n");
    let form = format!("password={}", "a".repeat(5000));
    assert_eq!(post(at, "/login", &own, &form).unwrap().status, 413);
    let endless = format!(
        "POST /login HTTP/1.1\r\nHost: {at}\r\n{own}Content-Type: \
         application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("1000\r\n{}\r\n", "a".repeat(4096)).repeat(200)
    );
    if let Ok(answer) = ask(at, endless) {
        assert_eq!(answer.status, 413);
    }
    place.is_well("long heads and forms");
}

/// Held by attacks that measure time, which a concurrent one would distort.
static LOAD: Mutex<()> = Mutex::new(());

/// Waits until no other timed attack runs.
fn alone() -> MutexGuard<'static, ()> {
    LOAD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn stalled_readers_share_the_memory_of_an_answer() {
    let _alone = alone();
    let place = place(750);
    let at = place.at();
    let ask_for = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").repeat(4);
    let mut readers = Vec::new();
    for round in 0..20 {
        let name = format!("node-{:03}", round + 1);
        place.daemon.health(&name, NodeHealth::Down);
        for path in ["/", "/status.json", "/events", "/live", "/metrics", "/nodes", "/sd?port=1"] {
            readers.extend(hold(at, 10, ask_for(path).as_bytes()));
        }
    }
    for round in 0..200 {
        place.daemon.health(&format!("node-{:03}", round + 100), NodeHealth::Booting);
        std::thread::sleep(Duration::from_millis(5));
    }
    place.is_well("1,400 readers that take nothing");
    drop(readers);
}

/// Returns the processor time that a process has used (proc(5), stat: fields 14 and 15).
fn cpu(id: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Drawing the plots of 750 nodes takes longer than sending a file.
#[test]
fn plots_are_drawn_once_for_all_clients() {
    let _alone = alone();
    let place = place(750);
    let at = place.at();
    let drawn = || get(at, "/plots").unwrap().text().contains("<figure");
    let begin = Instant::now();
    while !drawn() {
        assert!(begin.elapsed() < Duration::from_secs(30), "there are no plots");
        std::thread::sleep(Duration::from_millis(500));
    }
    let cost = |path: &str| {
        let before = cpu(place.program.id());
        for _ in 0..1000 {
            assert_eq!(get(at, path).unwrap().status, 200);
        }
        cpu(place.program.id()) - before
    };
    let (file, plots) = (cost("/page.css"), cost("/plots"));
    println!("1,000 times: the style {file:?}, the plots {plots:?}");
    // Drawn for each client, they took 2.4 times as long after ten seconds, and longer each minute.
    assert!(plots * 10 <= file * 17, "{plots:?}, a file {file:?}");
    place.is_well("plots");
}

#[test]
fn an_answer_that_is_not_read_in_time_is_dropped() {
    let place = place(750);
    let usual = descriptors(place.program.id());
    // Many answers on one connection, so that they exceed the kernel's buffers.
    let request = format!("GET /status.json HTTP/1.1\r\nHost: {}\r\n\r\n", place.at()).repeat(100);
    let mut slow = hold(place.at(), 20, request.as_bytes());
    let begin = Instant::now();
    let mut open = slow.len();
    let mut byte = [0; 1];
    while open > 0 && begin.elapsed() < Duration::from_secs(45) {
        std::thread::sleep(Duration::from_millis(500));
        // A byte now and then, so that the connection is never idle for long.
        for stream in &mut slow {
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let _ = stream.read(&mut byte);
        }
        // The server opens a connection for a status snapshot now and then.
        open = descriptors(place.program.id()).saturating_sub(usual + 1);
    }
    assert_eq!(open, 0, "answers are still kept after {:?}", begin.elapsed());
    place.is_well("20 readers that take a byte now and then");
}

/// Returns the number of sockets that a process holds.
fn descriptors(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

#[test]
fn only_the_pages_own_paths_exist() {
    let place = place(3);
    for path in [
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/page.css/../../etc/passwd",
        "/page.css%00.html",
        "/etc/passwd",
        "/.git/config",
        "/index.php?x=<script>",
        "/status.json/",
        "/%",
    ] {
        let answer = get(place.at(), path).unwrap();
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.head);
        assert!(!answer.text().contains("root:") && !answer.text().contains("<script"), "{path}");
    }
    place.is_well("path tricks");
}

#[test]
fn unknown_methods_are_refused_and_get_changes_nothing() {
    let place = place(3);
    let at = place.at();
    for verb in [
        "PROPFIND", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "LOCK", "TRACE", "OPTIONS", "PATCH",
        "X",
    ] {
        let answer =
            ask(at, format!("{verb} / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"));
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD, POST")),
            "{verb}"
        );
    }
    let head =
        ask(at, format!("HEAD / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(get(at, "/orders").unwrap().status, 405);
    assert_eq!(post(at, "/", "", "").unwrap().status, 405);
    place.is_well("verbs");
}

#[test]
fn foreign_host_names_are_refused() {
    let place = place_with(cluster(3), &["--host", "rack1.example"]);
    let at = place.at();
    let as_host = |host: &str, path: &str| {
        ask(at, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
            .unwrap()
    };
    for path in ["/", "/status.json", "/live", "/events", "/metrics", "/page.js", "/nothing"] {
        let answer = as_host("evil.example", path);
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.text().contains("names = [\"evil.example\"]"), "{path}: the remedy");
    }
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let hostname = hostname.trim().split('.').next().unwrap();
    for host in [
        "127.0.0.1",
        "[::1]:80",
        "localhost",
        "rack1.example:8080",
        hostname,
        &format!("{hostname}.local"),
        &format!("{hostname}.bramble"),
    ] {
        assert_eq!(as_host(host, "/healthz").status, 200, "{host}");
    }
    let ask_with =
        |lines: &str| ask(at, format!("{lines}\r\nConnection: close\r\n\r\n")).unwrap().status;
    assert_eq!(ask_with("GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1"), 421);
    assert_eq!(ask_with("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example"), 400);
    assert_eq!(ask_with("GET / HTTP/1.1"), 400, "without one");
    assert_eq!(ask_with("GET /healthz HTTP/1.0"), 200, "which 1.0 does not have");
    place.is_well("wrong names");
}

/// Returns every text of a page that a browser would parse as an element's name.
fn elements(html: &str) -> Vec<String> {
    let starts = html.split('<').skip(1);
    let name = |text: &str| text.chars().take_while(char::is_ascii_alphanumeric).collect();
    starts.map(name).collect()
}

#[test]
fn a_node_named_like_a_script_is_text_everywhere() {
    const NAME: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    const SPLIT: &str = "x\r\nSet-Cookie: a=b\r\n\r\n<b>";
    let mut snapshot = cluster(3);
    for (node, name) in snapshot.nodes.iter_mut().skip(1).zip([NAME, SPLIT]) {
        node.name = name.into();
        node.group = Some(name.into());
    }
    let place = place_with(snapshot, &[]);
    let at = place.at();
    let group =
        "/nodes?group=%3Cscript%3Ealert(1)%3C/script%3E%22'%3E%3Cimg%20src=x%20onerror=alert(1)%3E";
    let plain = get(at, "/").unwrap();
    for (answer, scripts) in [
        (plain, 1),
        (get(at, group).unwrap(), 0),
        (get_with(at, "/", "Accept-Language: de\r\n").unwrap(), 1),
    ] {
        let names = elements(&answer.text());
        let count = |name: &str| names.iter().filter(|own| *own == name).count();
        assert_eq!((count("script"), count("img")), (scripts, 0), "{}", answer.text());
        assert!(answer.text().contains("&lt;script&gt;alert(1)"), "{}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("text/html"));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
    for (path, kind) in [
        ("/status.json", "application/json"),
        ("/metrics", "text/plain"),
        ("/sd", "application/json"),
        ("/?text", "text/plain"),
    ] {
        let answer = get(at, path).unwrap();
        assert!(answer.header("content-type").unwrap().starts_with(kind), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("set-cookie"), None, "{path}");
        assert!(!answer.text().contains("\r\nSet-Cookie"), "{path}: {}", answer.text());
    }
    let json: serde_json::Value =
        serde_json::from_slice(&get(at, "/status.json").unwrap().body).unwrap();
    assert_eq!(json["nodes"][1]["name"], NAME);
    // Both streams: a line is an event's data, whatever a name contains.
    for (path, severity) in [("/events", Severity::Notice), ("/live?since=none", Severity::Warning)]
    {
        let mut stream = TcpStream::connect(at).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        place.daemon.change(Change { severity: Some(severity.into()), ..Change::default() });
        stream.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        assert!(text.contains("\r\ncontent-type: text/event-stream\r\n"), "{path}: {text}");
        let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert!(data.len() >= 2, "{path}: {text}");
        for line in data {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(text.contains("script"), "{path}");
        if path != "/events" {
            assert!(!text.contains("<script"), "{path}: {text}");
        }
    }
    place.is_well("names of nodes");
}

fn cookie(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("{}", answer.head));
    for wanted in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(wanted), "{cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

fn csrf(at: SocketAddr, cookie: &str) -> Option<String> {
    let page = get_with(at, "/", &format!("Cookie: {cookie}\r\n")).unwrap().text();
    let (_, rest) = page.split_once("name=\"csrf\" value=\"")?;
    Some(rest.split('"').next().unwrap().to_owned())
}

#[test]
fn an_order_needs_the_session_its_token_and_the_pages_origin() {
    let place = place(3);
    let at = place.at();
    let form = format!("password={}", PASSWORD.replace(' ', "+"));
    let origin = format!("Origin: http://{at}\r\n");
    for headers in [
        "",
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://127.0.0.1:1\r\n",
    ] {
        assert_eq!(post(at, "/login", headers, &form).unwrap().status, 403, "{headers}");
    }
    assert_eq!(post(at, "/login", &origin, "password=").unwrap().status, 403);
    let cookie = cookie(&post(at, "/login", &origin, &form).unwrap());
    let token = csrf(at, &cookie).unwrap();
    let own = format!("{origin}Cookie: {cookie}\r\n");
    let acknowledge = format!("order=acknowledge&csrf={token}");
    for (what, headers, form) in [
        ("no session", origin.as_str(), acknowledge.as_str()),
        ("no token", &own, "order=acknowledge"),
        ("a wrong token", &own, "order=acknowledge&csrf=0"),
        ("an empty token", &own, "order=acknowledge&csrf="),
        ("no origin", &format!("Cookie: {cookie}\r\n"), &acknowledge),
        (
            "another origin",
            &format!("Origin: http://evil.example\r\nCookie: {cookie}\r\n"),
            &acknowledge,
        ),
        ("an empty cookie", &format!("{origin}Cookie: bramblegate=\r\n"), &acknowledge),
        ("the token as cookie", &format!("{origin}Cookie: bramblegate={token}\r\n"), &acknowledge),
        ("a name like it", &format!("{origin}Cookie: x{cookie}\r\n"), &acknowledge),
    ] {
        let status = post(at, "/orders", headers, form).unwrap().status;
        assert!(matches!(status, 403 | 422), "{what}: {status}");
    }
    let wait = Duration::from_secs(2);
    assert!(place.daemon.orders.try_recv().is_err(), "one of them was carried out");
    assert_eq!(post(at, "/orders", &own, &acknowledge).unwrap().status, 303);
    assert!(place.daemon.orders.recv_timeout(wait).unwrap().contains("acknowledge"));
    let drain = format!("order=drain&node=rpi1%0Aorder&csrf={token}");
    post(at, "/orders", &own, &drain).unwrap();
    let order = place.daemon.orders.recv_timeout(wait).unwrap();
    assert_eq!(order.matches('\n').count(), 1, "one line, whatever the name: {order}");
    assert_eq!(post(at, "/logout", &own, "").unwrap().status, 303);
    assert_eq!(csrf(at, &cookie), None);
    assert_eq!(post(at, "/orders", &own, &acknowledge).unwrap().status, 403);
    place.is_well("orders of others");
}

#[test]
fn guessing_is_limited_and_does_not_delay_the_page() {
    let place = place(3);
    let at = place.at();
    let origin = format!("Origin: http://{at}\r\n");
    let begin = Instant::now();
    let guesses: Vec<_> = (0..100)
        .map(|number| {
            let origin = origin.clone();
            std::thread::spawn(move || {
                post(at, "/login", &origin, &format!("password=guess{number}")).unwrap().status
            })
        })
        .collect();
    place.is_well("in the middle of guessing");
    let answers: Vec<u16> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
    let tried = answers.iter().filter(|status| **status == 403).count();
    let refused = answers.iter().filter(|status| **status == 429).count();
    assert!(tried <= 5 && tried + refused == 100, "{tried} tried, {refused} refused");
    // Even the right password is refused, until a minute has passed.
    let form = format!("password={}", PASSWORD.replace(' ', "+"));
    assert_eq!(post(at, "/login", &origin, &form).unwrap().status, 429);
    println!("100 guesses in {:?}", begin.elapsed());
}

/// An environment variable that is set inside the namespace.
const INSIDE: &str = "BRAMBLEGATE_CONNECTIONS";

#[test]
fn ten_thousand_connections_leave_room_for_other_clients() {
    let _alone = alone();
    if std::env::var_os(INSIDE).is_some() {
        return ten_thousand();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--fork", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let name = "ten_thousand_connections_leave_room_for_other_clients";
    command.arg("--").arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
    let output = command.env(INSIDE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs in a network namespace of its own: connects from one address, then from fifty.
fn ten_thousand() {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    let place = place(3);
    // The attacker's own limit of open files; the server has one of its own.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(maximum.is_none_or(|maximum| maximum > 10_100), "ulimit -n allows {maximum:?} at most");
    setrlimit(Resource::Nofile, Rlimit { current: Some(10_100), maximum }).unwrap();
    for peers in [1, 50] {
        // Ten at a time, since a connection that meets a full backlog waits for a second (tcp(7)).
        // Once a request is answered, the connections before it have left the backlog.
        let at = place.at();
        let part = |part: u32| {
            std::thread::spawn(move || -> Vec<TcpStream> {
                let one = |number: u32| {
                    if number % 8 == 0 {
                        assert_eq!(get(at, "/healthz").unwrap().status, 200, "in the flood");
                    }
                    connect(at, (part * 1000 + number) % peers)
                };
                (0..1000).map(one).collect()
            })
        };
        let parts: Vec<_> = (0..10).map(part).collect();
        let flood: Vec<_> = parts.into_iter().flat_map(|part| part.join().unwrap()).collect();
        assert_eq!(flood.len(), 10_000);
        let id = place.program.id();
        until("the flood is cut back", || descriptors(id) < 2100);
        place.is_well(&format!("10,000 connections from {peers} addresses"));
        drop(flood);
    }
}

/// Connects from one of several addresses of the loopback interface.
fn connect(to: SocketAddr, from: u32) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from(([127, 0, 1, u8::try_from(from).unwrap() + 1], 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}
