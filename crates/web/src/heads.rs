//! Polls the status pages of other heads, so that one page shows every module of a large cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::http::{Request, StatusCode, Uri, header};
use bramblegate_api::Word;
use bramblegate_api::printable::printable_line;
use bramblegate_api::status::{Severity, Snapshot};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::options::Options;

/// The pause between two requests to one head.
const INTERVAL: Duration = Duration::from_secs(3);
/// The deadline for a complete answer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The maximum size of an answer, in bytes; the status of 10,000 nodes has about 3 MB.
const LONGEST: usize = 8 << 20;

/// The state of another head.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The URL of its page, without a path.
    pub url: String,
    /// Its last report.
    pub last: Option<Report>,
    /// Why it does not answer, and since when; `None` while it does.
    pub lost: Option<(String, SystemTime)>,
}

/// A report of another head.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub severity: Word<Severity>,
    pub address: Option<String>,
    pub up: usize,
    pub total: usize,
    /// The number of alerts that are not acknowledged.
    pub alerts: usize,
}

impl Report {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            severity: snapshot.severity.clone(),
            address: snapshot.uplink.address.map(|net| net.addr().to_string()),
            up: snapshot.cluster.up,
            total: snapshot.cluster.total,
            alerts: snapshot.alerts.iter().filter(|alert| !alert.acknowledged).count(),
        }
    }
}

/// The states by the head's index in the settings, and the generation.
type States = (BTreeMap<usize, Head>, u64);

/// All other heads, whose states clones share.
#[derive(Debug, Clone, Default)]
pub struct Heads(Arc<watch::Sender<States>>);

impl Heads {
    /// Returns their states, in the order of the settings.
    pub fn known(&self) -> Vec<Head> {
        self.0.borrow().0.values().cloned().collect()
    }

    /// Returns a number that grows with every change.
    pub fn generation(&self) -> u64 {
        self.0.borrow().1
    }

    /// Returns a receiver that wakes at every change.
    pub fn changes(&self) -> watch::Receiver<States> {
        self.0.subscribe()
    }

    /// Polls the heads of the settings, for as long as the process runs.
    pub async fn run(self, mut options: watch::Receiver<Arc<Options>>) {
        loop {
            let urls = options.borrow_and_update().heads.clone();
            self.change(BTreeMap::clear);
            let mut tasks = JoinSet::new();
            for (index, url) in urls.into_iter().enumerate() {
                tasks.spawn(self.clone().poll(index, url));
            }
            if options.changed().await.is_err() {
                return;
            }
        }
    }

    async fn poll(self, index: usize, url: String) {
        let mut head = Head { url, last: None, lost: None };
        loop {
            let answer = tokio::time::timeout(TIMEOUT, fetch(&head.url)).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(format!("it has not answered for {} s", TIMEOUT.as_secs()))
            });
            match answer {
                Ok(snapshot) => (head.last, head.lost) = (Some(Report::of(&snapshot)), None),
                Err(why) => {
                    let since = head.lost.map_or_else(SystemTime::now, |(_, since)| since);
                    head.lost = Some((why, since));
                }
            }
            let now = head.clone();
            self.change(|heads| drop(heads.insert(index, now)));
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<usize, Head>)) {
        self.0.send_if_modified(|(heads, generation)| {
            let before = heads.clone();
            change(heads);
            let changed = *heads != before;
            *generation += u64::from(changed);
            changed
        });
    }
}

/// Fetches the status of a head (RFC 9112).
async fn fetch(url: &str) -> Result<Snapshot, String> {
    let words = |error: &dyn std::error::Error| printable_line(&error.to_string()).to_string();
    let uri: Uri = url.parse().map_err(|error| words(&error))?;
    let authority = uri.authority().ok_or("its URL has no host")?.clone();
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await.map_err(|error| words(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let request = Request::get("/status.json")
        .header(header::HOST, authority.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| words(&error))?;
    // The task drives the connection until this function returns.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| words(&error))?;
    if answer.status() == StatusCode::MISDIRECTED_REQUEST {
        return Err(format!(
            "it does not answer to the name {host}: add \"{host}\" to web.names in its settings"
        ));
    }
    if answer.status() != StatusCode::OK {
        return Err(format!("it answers {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| words(&*error))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| words(&error))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves one connection with these bytes; returns the URL.
    async fn answering(text: &str) -> String {
        let text = text.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /status.json HTTP/1.1\r\n"));
            // Fails, harmlessly, where the client hangs up early.
            let _ = stream.write_all(text.as_bytes()).await;
        });
        url
    }

    #[tokio::test]
    async fn an_answer_is_a_report_and_anything_else_a_reason() {
        let body = r#"{"type":"snapshot","severity":"fault","cluster":{"up":2,"total":3}}"#;
        let good = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let report = Report::of(&fetch(&answering(&good).await).await.unwrap());
        assert_eq!((report.up, report.total), (2, 3));
        for (answer, why) in [
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
            (
                "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n",
                "add \"127.0.0.1\" to web.names",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "expected"),
            // The server hangs up before the end.
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nabc", ""),
            ("rubbish", ""),
        ] {
            let error = fetch(&answering(answer).await).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let long = "x".repeat(LONGEST + 1);
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len());
        let error = fetch(&answering(&long).await).await.unwrap_err();
        assert!(error.contains("limit"), "{error}");
    }

    #[tokio::test]
    async fn an_unreachable_head_is_lost() {
        let heads = Heads::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let task = tokio::spawn(heads.clone().poll(0, url));
        let mut changes = heads.changes();
        changes.changed().await.unwrap();
        let known = heads.known();
        assert!(known[0].lost.is_some() && known[0].last.is_none(), "{known:?}");
        task.abort();
    }
}
