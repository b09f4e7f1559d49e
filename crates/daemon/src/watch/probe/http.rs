//! One HTTP/1.1 GET by `hyper`, over a connection that is bound to a port: enough to know the
//! internet from a captive portal.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::tcp::connect;
use crate::config::{HttpExpectation, NodeProbe};
use crate::event::{PortalUrl, Reachability};
use crate::supervise::Task;

/// Bounds what is read of a head, or of a body (bytes).
const LONGEST: usize = 64 * 1024;
/// Bounds what is read of an answer with all that is none of it (bytes): interim answers and the
/// frames of chunks may be many, and each costs as much as a long one.
const MOST: u64 = 4 * LONGEST as u64;
/// No head has more lines.
const HEADERS: usize = 256;
/// Bounds how much of a portal's page is searched for where it leads (bytes), and the wait for it.
const PAGE: usize = 16 * 1024;
const PAGE_WAIT: Duration = Duration::from_secs(1);
/// It is looked at so often while it comes: in ordinary segments it is a dozen.
const LOOKS: usize = 32;
/// No tag of it is longer (bytes).
const TAG: usize = 2048;

/// Holds where to ask: host, port, path with query.
type Place<'a> = (&'a str, u16, &'a str);

/// Holds an answer whose head has come; its body comes as it is read.
struct Answer {
    status: u16,
    location: Option<Vec<u8>>,
    body: Incoming,
    /// what of the body has been read
    bytes: Vec<u8>,
    /// moves bytes while the body is read
    _connection: Task,
}

impl Answer {
    /// Asks once, and waits for the head of the answer; interim ones before it (1xx, RFC 9110
    /// section 15.2) are passed over. Lines of the head that are none are passed over too: portals
    /// write such.
    ///
    /// # Errors
    /// What came is no HTTP, is too long, or ended before the end of its head.
    async fn get<Stream>(stream: Stream, place: Place<'_>) -> Result<Self, hyper::Error>
    where
        Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut client = http1::Builder::new();
        client.max_buf_size(LONGEST).max_headers(HEADERS).ignore_invalid_headers_in_responses(true);
        let (reader, writer) = tokio::io::split(stream);
        let stream = TokioIo::new(tokio::io::join(reader.take(MOST), writer));
        let (mut sender, connection) = client.handshake(stream).await?;
        let connection = Task::spawn(async move {
            // The body says as well that it broke off.
            drop(connection.await);
        });
        let answer = sender.send_request(request(place)).await?;
        let location = answer.headers().get(LOCATION).map(|location| location.as_bytes().to_vec());
        let status = answer.status().as_u16();
        Ok(Self {
            status,
            location,
            body: answer.into_body(),
            bytes: Vec::new(),
            _connection: connection,
        })
    }

    /// Reads on. Returns whether more of the body came: not at its end, nor where it breaks off or
    /// is too long.
    async fn more(&mut self) -> bool {
        while let Some(Ok(frame)) = self.body.frame().await {
            if let Ok(data) = frame.into_data() {
                let room = LONGEST.saturating_sub(self.bytes.len());
                self.bytes.extend(data.iter().take(room));
                return room > 0;
            }
        }
        false
    }

    /// Returns what the answer says of the way to the internet.
    async fn judge(&mut self, expect: &HttpExpectation) -> Reachability {
        match expect {
            HttpExpectation::Status(wanted) if *wanted == self.status => Reachability::Online,
            HttpExpectation::Body(text) if self.status == 200 => {
                let mut searched = 0;
                while !contains(self.bytes.get(searched..).unwrap_or_default(), text.as_bytes()) {
                    // What has been read may end with the first part of it.
                    searched = (self.bytes.len() + 1).saturating_sub(text.len());
                    if !self.more().await {
                        return Reachability::Portal;
                    }
                }
                Reachability::Online
            }
            _ => Reachability::Portal,
        }
    }

    /// Returns where the answer of `host` leads: by its `Location` (RFC 9110, 10.2.2), or by a
    /// `<meta http-equiv="refresh">` of its page.
    async fn leads_to(&mut self, host: &str, port: u16) -> Option<PortalUrl> {
        if let Some(location) = &self.location {
            return PortalUrl::relative_to(host, port, std::str::from_utf8(location).ok()?);
        }
        for _ in 0..LOOKS {
            let page = self.bytes.get(..PAGE).unwrap_or(&self.bytes);
            let page = String::from_utf8_lossy(page);
            let url = refreshed_to(&page).and_then(|url| PortalUrl::relative_to(host, port, &url));
            if url.is_some() || self.bytes.len() >= PAGE || !self.more().await {
                return url;
            }
        }
        None
    }
}

fn request((host, port, path): Place<'_>) -> Request<Empty<Bytes>> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let request = Request::get(path)
        .header(HOST, format!("{host}{port}"))
        .header(USER_AGENT, "bramblegate")
        .header(ACCEPT, "*/*")
        .header(CACHE_CONTROL, "no-cache")
        .header(CONNECTION, "close")
        .body(Empty::new());
    // Only what the settings let through gets here; anything else is asked for its first page.
    request.unwrap_or_else(|error| {
        debug!(path, %error, "not a path of HTTP");
        Request::new(Empty::new())
    })
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}

/// Asks `host` for `path` once; of a captive portal also where it is, if it says so. Waits as long
/// as it is let.
pub async fn probe<Stream>(
    stream: Stream,
    place: Place<'_>,
    expect: &HttpExpectation,
) -> (Reachability, Option<PortalUrl>)
where
    Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (host, port, _) = place;
    let mut answer = match Answer::get(stream, place).await {
        Ok(answer) => answer,
        Err(error) => {
            debug!(host, port, %error, "no answer of HTTP");
            return (Reachability::Nothing, None);
        }
    };
    let found = answer.judge(expect).await;
    if found != Reachability::Portal {
        return (found, None);
    }
    (found, timeout(PAGE_WAIT, answer.leads_to(host, port)).await.unwrap_or_default())
}

/// Returns where the first `<meta http-equiv="refresh" content="0; url=…">` of a page leads.
fn refreshed_to(page: &str) -> Option<String> {
    // Letters of ASCII alone change, so places stay the same.
    let lower = page.to_ascii_lowercase();
    lower.match_indices("<meta").find_map(|(at, _)| {
        let end = lower.bytes().skip(at).take(TAG).position(|byte| byte == b'>')? + at;
        let (tag, original) = (lower.get(at..end)?, page.get(at..end)?);
        let refresh = tag.contains("http-equiv") && tag.contains("refresh");
        let url = tag.find("url=").filter(|_| refresh)? + 4;
        let rest = original.get(url..)?.trim_start_matches(['"', '\'', ' ']);
        let url = rest.split(['"', '\'', ' ']).next().unwrap_or_default();
        Some(url.replace("&amp;", "&"))
    })
}

/// Asks for `http://:PORT/PATH` of a node: it is well when it answers as expected; where nothing is
/// said, with a status of 2xx or 3xx.
pub fn is_well(address: IpAddr, probe: NodeProbe) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let NodeProbe::Http { port: number, path, expect } = probe else { return false };
        is_healthy(address, number, &path, expect.as_ref()).await.unwrap_or(false)
    })
}

async fn is_healthy(
    address: IpAddr,
    number: u16,
    path: &str,
    expect: Option<&HttpExpectation>,
) -> io::Result<bool> {
    let stream = connect(SocketAddr::new(address, number), None, None).await?;
    let answer = Answer::get(stream, (&address.to_string(), number, path)).await;
    let mut answer = answer.map_err(io::Error::other)?;
    match expect {
        Some(expect) => Ok(answer.judge(expect).await == Reachability::Online),
        None => Ok((200..400).contains(&answer.status)),
    }
}

/// Reads any bytes as what a web server answers before it closes: the door for fuzzing.
#[doc(hidden)]
pub fn read_any(bytes: &[u8], expect: &HttpExpectation) -> Option<Reachability> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    let found = async {
        let (ours, theirs) = tokio::io::duplex(LONGEST);
        let served = serve(theirs, vec![bytes.to_vec()]);
        let asked = probe(ours, ("probe.example", 80, "/"), expect);
        // No answer of bytes that have ended may take long.
        timeout(Duration::from_secs(5), futures_util::future::join(asked, served)).await.ok()
    };
    runtime.block_on(found).map(|((found, _), _)| found)
}

/// Answers the first request in pieces, then closes. Returns the request.
async fn serve(mut stream: tokio::io::DuplexStream, pieces: Vec<Vec<u8>>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n")
        && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0)
    {}
    for piece in pieces {
        // Who has seen enough does not read on.
        if stream.write_all(&piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    String::from_utf8_lossy(&request).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join;
    use proptest::prelude::*;
    use tokio::io::duplex;

    const NO_CONTENT: HttpExpectation = HttpExpectation::Status(204);
    const HOUR: Duration = Duration::from_secs(3600);

    fn run<T>(work: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(work)
    }

    /// What is found of an answer in pieces, after which the server closes.
    fn found(pieces: &[&str], expect: &HttpExpectation) -> (Reachability, Option<String>) {
        run(async {
            let (ours, theirs) = duplex(LONGEST);
            let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
            let (found, _) =
                join(probe(ours, ("probe.example", 80, "/"), expect), serve(theirs, pieces)).await;
            (found.0, found.1.map(|url| url.to_string()))
        })
    }

    fn judged(text: &str) -> Reachability {
        found(&[text], &NO_CONTENT).0
    }

    #[test]
    fn the_expected_status_is_the_internet_and_any_other_a_portal() {
        assert_eq!(judged("HTTP/1.1 204 No Content\r\n\r\n"), Reachability::Online);
        for portal in [
            "HTTP/1.1 302 Found\r\nLocation: http://login.hotel/\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n<html>Welcome",
            "HTTP/1.1 302 Found\r\nLocation: http://a/\u{1b}[2J\r\n\r\n",
            "HTTP/1.1 302 Found\r\nno header\r\n\r\n",
        ] {
            assert_eq!(judged(portal), Reachability::Portal, "{portal}");
        }
        for nothing in ["", "HTTP/1.1 204 No Con", "SSH-2.0-OpenSSH_9.2\r\n"] {
            assert_eq!(judged(nothing), Reachability::Nothing, "{nothing}");
        }
    }

    #[test]
    fn a_portal_reports_where_it_is_by_its_redirect_or_its_page() {
        let read = |text: &str| found(&[text], &NO_CONTENT).1;
        let to = |location: &str| {
            format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nlocation: {location}\r\n\r\n")
        };
        assert_eq!(
            read(&to("http://login.hotel/a?b=c")).as_deref(),
            Some("http://login.hotel/a?b=c")
        );
        assert_eq!(read(&to("/login")).as_deref(), Some("http://probe.example/login"));
        for bad in ["javascript:alert(1)", "http://a/\u{1b}[2J", "file:///etc/passwd", ""] {
            assert_eq!(read(&to(bad)), None, "{bad:?}");
        }
        let page = |tag: &str| {
            format!("HTTP/1.1 200 OK\r\n\r\n<html><META charset=utf-8><head>{tag}</head>")
        };
        for tag in [
            "<meta http-equiv=\"refresh\" content=\"0; url=http://login.hotel/?a=1&amp;b=2\">",
            "<META HTTP-EQUIV='Refresh' CONTENT='0;URL=http://login.hotel/?a=1&b=2'/>",
            "<meta content=\"1; url='http://login.hotel/?a=1&amp;b=2'\" http-equiv=refresh>",
        ] {
            assert_eq!(read(&page(tag)).as_deref(), Some("http://login.hotel/?a=1&b=2"), "{tag}");
        }
        for tag in [
            "<meta name=\"x\" content=\"url=http://no/\">",
            "<meta http-equiv=\"refresh\" content=\"30\">",
            "<meta ",
            "é<meta",
        ] {
            assert_eq!(read(&page(tag)), None, "{tag}");
        }
    }

    #[test]
    fn an_expected_body_may_come_in_pieces_and_in_chunks() {
        let expect = HttpExpectation::Body("NetworkManager is online".into());
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        let read = |pieces: &[&str]| found(pieces, &expect).0;
        assert_eq!(read(&[head, "NetworkManager ", "is online\n"]), Reachability::Online);
        assert_eq!(read(&[head, "NetworkManager "]), Reachability::Portal);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(
            read(&[chunked, "f\r\nNetworkManager \r\n", "9\r\nis online\r\n0\r\n\r\n"]),
            Reachability::Online
        );
        assert_eq!(
            read(&["HTTP/1.1 503 Busy\r\n\r\nNetworkManager is online"]),
            Reachability::Portal
        );
        assert_eq!(found(&[head], &HttpExpectation::Body(String::new())).0, Reachability::Online);
    }

    #[test]
    fn an_interim_answer_is_none_and_a_body_ends_where_its_head_reports() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert_eq!(judged(interim), Reachability::Nothing);
        assert_eq!(
            judged(&format!("{interim}HTTP/1.1 204 No Content\r\n\r\n")),
            Reachability::Online
        );
        let expect = HttpExpectation::Body("Success".into());
        let login = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlog in";
        assert_eq!(found(&[login], &expect).0, Reachability::Portal);
        assert_eq!(found(&[login, "Success"], &expect).0, Reachability::Portal, "beyond its end");
    }

    /// What a server does that does not close, and one whose page never ends.
    #[test]
    fn no_longer_than_needed_is_waited_or_read() {
        run(async {
            let (ours, mut theirs) = duplex(LONGEST);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nlog in";
            tokio::io::AsyncWriteExt::write_all(&mut theirs, b"").await.unwrap();
            let asked = timeout(HOUR, probe(ours, ("probe.example", 80, "/"), &NO_CONTENT));
            let served = async {
                tokio::io::AsyncReadExt::read(&mut theirs, &mut [0; 4096]).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut theirs, answer).await.unwrap();
                std::future::pending::<()>().await;
            };
            let found = tokio::select! { found = asked => found, () = served => unreachable!() };
            assert_eq!(
                found.expect("it waits for the end of the connection").0,
                Reachability::Portal
            );
        });
        let endless = vec!["x".repeat(8192); 100];
        let mut pieces = vec!["HTTP/1.1 200 OK\r\n\r\n"];
        pieces.extend(endless.iter().map(String::as_str));
        assert_eq!(found(&pieces, &HttpExpectation::Body("y".into())).0, Reachability::Portal);
        let long_head =
            format!("HTTP/1.1 204 No Content\r\nX: {}\r\n\r\n", "x".repeat(2 * LONGEST));
        assert_eq!(judged(&long_head), Reachability::Nothing);
    }

    /// What it costs to read is bounded by bytes, not by time alone: one thread serves all.
    #[test]
    fn an_answer_costs_little_however_it_is_cut() {
        let begin = std::time::Instant::now();
        let body = |text: &str| HttpExpectation::Body(text.into());
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2048);
        assert_eq!(found(&[interim.as_str(); 100], &NO_CONTENT).0, Reachability::Nothing);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let single = |text: &str| -> String {
            text.chars().cycle().take(32 * 1024).map(|byte| format!("1\r\n{byte}\r\n")).collect()
        };
        let (letters, tags) = (single("x"), single("<meta"));
        assert_eq!(found(&[chunked, &letters], &body("y")).0, Reachability::Portal);
        let ends = [chunked, &letters, "1\r\ny\r\n"];
        assert_eq!(found(&ends, &body("xxxxxxxxy")).0, Reachability::Online);
        assert_eq!(found(&[chunked, &tags], &NO_CONTENT), (Reachability::Portal, None));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }

    #[test]
    fn the_request_names_host_and_port_as_a_server_expects_them() {
        let sent = |host: &'static str, port, path| {
            run(async move {
                let (ours, theirs) = duplex(LONGEST);
                join(probe(ours, (host, port, path), &NO_CONTENT), serve(theirs, Vec::new()))
                    .await
                    .1
                    .to_lowercase()
            })
        };
        let text = sent("internet.example", 8080, "/generate_204");
        assert!(
            text.starts_with("get /generate_204 http/1.1\r\nhost: internet.example:8080\r\n"),
            "{text}"
        );
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert!(sent("2001:db8::1", 80, "/").contains("host: [2001:db8::1]\r\n"));
    }

    proptest! {
        #[test]
        fn arbitrary_answers_are_judged_once_they_have_ended(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_any(&bytes, &NO_CONTENT).is_some());
        }

        #[test]
        fn arbitrary_pages_lead_somewhere_or_nowhere(page in "(<meta http-equiv=refresh |url=|[<>'\"é]|.){0,40}") {
            refreshed_to(&page);
        }
    }
}
