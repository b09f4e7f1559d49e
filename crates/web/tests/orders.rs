//! Log-in, orders and what is shown without a session, by curl(1) against the real program, with an
//! emulated daemon behind its two sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bramblegate-web");
const PASSWORD: &str = "words of a secret";
const PATIENCE: Duration = Duration::from_secs(20);
const SNAPSHOT: &str = concat!(
    r#"{"schema":1,"type":"snapshot","version":"0.1.0","severity":"fault","#,
    r#""alerts":[{"acknowledged":false,"code":"node-down","severity":"fault","subject":"rpi2","text":"rpi2 is down"}],"#,
    r#""uplink":{"address":"10.99.0.126/24","interface":"eth1","state":"online"},"#,
    r#""uplinks":[{"address":"10.99.0.126/24","addresses":["10.99.0.126/24"],"interface":"eth1","state":"online"}],"#,
    r#""cluster":{"up":1,"total":2},"nodes":["#,
    r#"{"name":"rpi1","mac":"b8:27:eb:00:00:01","address":"192.168.50.11","health":"up","rtt_us":310},"#,
    r#"{"name":"rpi2","mac":"b8:27:eb:00:00:02","address":"192.168.50.12","health":"down"}],"#,
    r#""shares":[{"name":"usb","path":"/mnt/rpi1","access":"rw","clients":["rpi1"],"mounted":true,"exported":true}],"#,
    r#""shutdown":{"head":false,"left_s":9,"waiting":["rpi1"],"waiting_total":1},"#,
    r#""panel":{"lcd":{"state":"ok","lines":["10.99.0.126     ","rpi2 down       "]}}}"#,
    "\n"
);

/// The program with an emulated daemon; dropping this ends it.
struct Page {
    program: Child,
    url: String,
    orders: Receiver<String>,
    /// The program's log lines.
    journal: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Page {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        play_status(&path("status.sock"));
        let orders = play_control(&path("control.sock"));
        std::fs::write(path("password"), hash(PASSWORD).unwrap()).unwrap();
        let mut program = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0"])
            .arg("--status")
            .arg(path("status.sock"))
            .arg("--control")
            .arg(path("control.sock"))
            .arg("--password")
            .arg(path("password"))
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            line.unwrap().strip_prefix("the status page is at port ")?.parse().ok()
        });
        let port: u16 = port.expect("it prints its port");
        let (into, journal) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = into.send(line);
            }
        });
        let url = format!("http://127.0.0.1:{port}");
        let page = Self { program, url, orders, journal, _folder: folder };
        let start = Instant::now();
        while page.curl("/healthz", &[]).0 != 200 {
            assert!(start.elapsed() < PATIENCE, "it does not find its daemon");
            std::thread::sleep(Duration::from_millis(20));
        }
        page
    }

    /// Returns the status code and the whole answer.
    fn curl(&self, path: &str, options: &[&str]) -> (u16, String) {
        let output = Command::new("curl")
            .args(["-s", "-i", "--max-time", "2"])
            .args(options)
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (code, text)
    }

    /// Sends a form like the page does, with further options of curl.
    fn post(&self, path: &str, form: &str, options: &[&str]) -> (u16, String) {
        let origin = format!("Origin: {}", self.url);
        self.curl(path, &[&["-H", &origin, "-d", form], options].concat())
    }

    fn log_in(&self) -> String {
        let (code, answer) = self.post("/login", "password=words+of+a+secret", &[]);
        assert_eq!(code, 303, "{answer}");
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
        format!("Cookie: {}", set.split(';').next().unwrap())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn hash(password: &str) -> Result<String, String> {
    let mut program = Command::new(PROGRAM)
        .arg("--hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(program.stdin.take().unwrap(), "{password}").unwrap();
    let output = program.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Sends the snapshot to every client and keeps the connections.
fn play_status(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(SNAPSHOT.as_bytes());
            held.push(stream);
        }
    });
}

/// Accepts every order.
fn play_control(path: &Path) -> Receiver<String> {
    let listener = UnixListener::bind(path).unwrap();
    let (into, orders) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            into.send(line).unwrap();
            let _ = reader.get_mut().write_all(b"{\"ok\":true,\"schema\":1}\n");
        }
    });
    orders
}

#[test]
fn an_order_needs_the_password_the_pages_own_form_and_its_token() {
    let page = Page::start(&[]);
    let wrong =
        |form: &str, options: &[&str]| page.curl("/login", &[&["-d", form], options].concat()).0;
    assert_eq!(wrong("password=words+of+a+secret", &[]), 403, "no Origin");
    let other = ["-H", "Origin: http://elsewhere.example"];
    assert_eq!(wrong("password=words+of+a+secret", &other), 403, "another's page");
    assert_eq!(page.post("/login", "password=wrong", &[]).0, 403);
    // A browser gets a page in its language, with the form for another try.
    let browser = ["-H", "Accept: text/html,*/*", "-H", "Accept-Language: de"];
    let (code, refused) = page.post("/login", "password=wrong", &browser);
    assert_eq!(code, 403);
    for wanted in ["Das ist nicht das Passwort.", "type=\"password\"", "href=\"/\"", "lang=\"de\""]
    {
        assert!(refused.contains(wanted), "{wanted} in {refused}");
    }

    let cookie = page.log_in();
    let with = ["-H", cookie.as_str(), "-H", "Accept: text/html"];
    let (code, html) = page.curl("/", &with);
    assert_eq!(code, 200);
    let csrf = html.split("name=\"csrf\" value=\"").nth(1).expect("a form with a token");
    let csrf = csrf.split('"').next().unwrap();
    let form = format!("order=drain&node=rpi1&csrf={csrf}");
    assert_eq!(page.post("/orders", &form, &[]).0, 403, "no session");
    assert_eq!(page.post("/orders", "order=drain&node=rpi1&csrf=", &with).0, 403, "no token");
    let elsewhere = [&other[..], &with, &["-d", &form]].concat();
    assert_eq!(page.curl("/orders", &elsewhere).0, 403, "another's page");
    assert!(page.orders.try_recv().is_err(), "none of them has reached the daemon");
    assert_eq!(page.post("/orders", &form, &with).0, 303);
    let order = page.orders.recv_timeout(PATIENCE).unwrap();
    assert!(order.contains("drain") && order.contains("rpi1"), "{order}");

    assert_eq!(page.post("/logout", "", &with).0, 303);
    let (code, over) = page.post("/orders", &form, &with);
    assert_eq!(code, 403, "the session is over");
    assert!(
        over.contains("not logged in any more") && over.contains("type=\"password\""),
        "{over}"
    );
}

/// The journal names each order and where it came from; clients without a session cannot fill it.
#[test]
fn every_order_is_in_the_journal() {
    let page = Page::start(&[]);
    let reads = |line: &str| assert_eq!(page.journal.recv_timeout(PATIENCE).unwrap(), line);
    assert_eq!(page.post("/orders", "order=drain&node=rpi1&csrf=x", &[]).0, 403, "a stranger");
    assert_eq!(page.post("/login", "password=wrong", &[]).0, 403);
    reads("127.0.0.1 was not logged in: this is not the password");
    let cookie = page.log_in();
    reads("127.0.0.1 has logged in");
    let with = ["-H", cookie.as_str(), "-H", "Accept: text/html"];
    let html = page.curl("/", &with).1;
    let csrf = html.split("name=\"csrf\" value=\"").nth(1).expect("a form with a token");
    let form = format!("order=drain&node=rpi1&csrf={}", csrf.split('"').next().unwrap());
    assert_eq!(page.post("/orders", "order=drain&node=rpi1&csrf=x", &with).0, 403);
    reads("127.0.0.1 ordered: drain: refused, not by a form of the page");
    assert_eq!(page.curl("/orders", &[&["-d", &form][..], &with].concat()).0, 403, "no Origin");
    reads("127.0.0.1 ordered: drain: refused, not by a form of the page");
    assert_eq!(page.post("/orders", &form, &with).0, 303);
    reads("127.0.0.1 ordered: drain rpi1: done");
    assert_eq!(page.post("/logout", "", &with).0, 303);
    reads("127.0.0.1 has logged out");
    let tries: Vec<u16> = (0..20).map(|_| page.post("/login", "password=x", &[]).0).collect();
    assert_eq!(tries.iter().filter(|code| **code == 403).count(), 5, "{tries:?}");
    for _ in 0..5 {
        reads("127.0.0.1 was not logged in: this is not the password");
    }
    let more = page.journal.recv_timeout(Duration::from_millis(500));
    assert!(more.is_err(), "a loop of requests fills the journal: {more:?}");
}

/// Invalid requests are answered in the page's own words, not in a library's.
#[test]
fn an_invalid_request_is_answered_with_the_right_form() {
    let page = Page::start(&[]);
    for port in ["0", "65536", "-1", "http", ""] {
        let (code, text) = page.curl(&format!("/sd?port={port}"), &[]);
        assert!(code == 400 && text.ends_with(": /sd?port=9100\n"), "{port}: {text}");
    }
    assert_eq!(page.curl("/sd?port=65535", &[]).0, 200);
    assert_eq!(page.post("/login", "", &[]).0, 403);
    assert_eq!(page.post("/orders", "", &[]).0, 403);
    let page = Page::start(&["--public", "off"]);
    for path in ["/", "/metrics", "/sd?port=9100"] {
        let (code, text) = page.curl(path, &[]);
        assert!(code == 403 && text.ends_with("public = \"full\"\n"), "{path}: {text}");
    }
}

#[test]
fn a_summary_names_no_node_and_a_session_sees_everything() {
    let page = Page::start(&["--public", "summary"]);
    let html = ["-H", "Accept: text/html"];
    let private = ["rpi", "b8:27", "192.168.50."];
    let everything = [
        ("/", &html[..]),
        ("/", &[]),
        ("/status.json", &[]),
        ("/nodes?group=", &[]),
        ("/events", &[]),
        ("/live", &[]),
        ("/metrics", &[]),
        ("/plots", &[]),
        ("/sd", &[]),
    ];
    for (path, options) in everything {
        let (code, answer) = page.curl(path, options);
        assert_eq!(code, if path == "/sd" { 403 } else { 200 }, "{path}");
        for private in private {
            assert!(!answer.contains(private), "{path} has {private}: {answer}");
        }
    }
    let (_, seen) = page.curl("/", &html);
    assert!(seen.contains("data-node=\"node-2\" data-health=\"down\""), "{seen}");
    let (_, events) = page.curl("/events", &[]);
    assert!(events.contains("\"up\":1"), "{events}");
    let cookie = page.log_in();
    let with = ["-H", cookie.as_str()];
    for path in ["/", "/status.json", "/events", "/metrics", "/sd"] {
        let (code, answer) = page.curl(path, &with);
        assert_eq!(code, 200, "{path}");
        assert!(answer.contains("rpi1") || answer.contains("192.168.50.11"), "{path}: {answer}");
    }
}

#[test]
fn an_answer_cached_for_one_sight_is_not_sent_to_another() {
    let page = Page::start(&["--public", "summary"]);
    let cookie = page.log_in();
    let anybody = ["--compressed", "--max-time", "0.7", "-H", "Accept: text/html,*/*"];
    let member = [&anybody[..], &["-H", cookie.as_str()]].concat();
    let private = ["rpi", "b8:27", "192.168.50.", "name=\"csrf\""];
    // Each sight first in turn: the order of requests must not matter.
    for member_first in [true, false, true, false] {
        for path in ["/status.json", "/metrics", "/nodes?group=", "/", "/live", "/events"] {
            for as_member in [member_first, !member_first, member_first] {
                let options = if as_member { &member[..] } else { &anybody };
                let (code, answer) = page.curl(path, options);
                assert_eq!(code, 200, "{path}");
                if as_member {
                    assert!(answer.contains("rpi1"), "{path} hides a node: {answer}");
                } else {
                    let found = private.iter().find(|private| answer.contains(**private));
                    assert_eq!(found, None, "{path} shows it to anybody: {answer}");
                }
                let is_page = answer.contains("<title>");
                assert_eq!(is_page, path == "/", "{path}");
                if is_page {
                    let gzip = answer.to_lowercase().contains("content-encoding: gzip");
                    assert_eq!(gzip, !as_member, "a page with a token is not compressed");
                    assert_eq!(answer.contains("name=\"csrf\""), as_member);
                }
            }
        }
    }
}

#[test]
fn a_page_that_is_off_shows_only_the_log_in() {
    let page = Page::start(&["--public", "off"]);
    for path in
        ["/status.json", "/events", "/live", "/metrics", "/plots", "/sd", "/nodes", "/?text"]
    {
        let (code, answer) = page.curl(path, &[]);
        assert_eq!(code, 403, "{path}");
        assert!(!answer.contains("10.99.0.126") && !answer.contains("rpi"), "{path}: {answer}");
    }
    let (code, html) = page.curl("/", &["-H", "Accept: text/html"]);
    assert_eq!(code, 200);
    assert!(html.contains("type=\"password\"") && !html.contains("10.99.0.126"), "{html}");
    let cookie = page.log_in();
    assert!(page.curl("/status.json", &["-H", &cookie]).1.contains("rpi1"));
}

#[test]
fn a_short_password_is_refused() {
    assert!(hash("short").unwrap_err().contains("8 characters"));
    assert!(hash(&"x".repeat(2000)).is_err());
    assert!(hash(PASSWORD).unwrap().starts_with("$argon2id$"));
}

#[test]
fn it_ends_on_a_signal() {
    let mut page = Page::start(&[]);
    let id = page.program.id().to_string();
    assert!(
        Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().unwrap().success()
    );
    let start = Instant::now();
    let status = loop {
        if let Some(status) = page.program.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
}
