//! A single HTTP/1.1 GET request with `hyper`, to distinguish internet access from a captive portal
//! and to probe nodes.

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

/// Maximum size of the headers and of a body, in bytes.
const MAX_SIZE: usize = 64 * 1024;
/// Maximum number of bytes read from a connection, which includes interim responses and chunk
/// headers: a server could send many of these at no cost to itself.
const MAX_READ: u64 = 4 * MAX_SIZE as u64;
/// Maximum number of header lines.
const MAX_HEADERS: usize = 256;
/// Size of the part of a portal's page that is searched for a redirect, in bytes.
const PAGE: usize = 16 * 1024;
/// Timeout for reading it.
const PAGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of searches while it arrives; ordinary segments need a dozen.
const MAX_SEARCHES: usize = 32;
/// Maximum length of a tag in it, in bytes.
const MAX_TAG: usize = 2048;

/// The requested host, port and path with query.
type Target<'a> = (&'a str, u16, &'a str);

/// Holds a response whose headers have arrived; the body is read on demand.
struct Response {
    status: u16,
    location: Option<Vec<u8>>,
    body: Incoming,
    /// The part of the body read so far.
    bytes: Vec<u8>,
    /// Drives the connection.
    _connection: Task,
}

impl Response {
    /// Sends a request and waits for the headers of the final response, after any interim ones
    /// (1xx, RFC 9110, section 15.2). Ignores malformed header lines, which some portals send.
    ///
    /// # Errors
    /// The response is not HTTP, is too long, or ends within its headers.
    async fn get<Stream>(stream: Stream, target: Target<'_>) -> Result<Self, hyper::Error>
    where
        Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut client = http1::Builder::new();
        client
            .max_buf_size(MAX_SIZE)
            .max_headers(MAX_HEADERS)
            .ignore_invalid_headers_in_responses(true);
        let (reader, writer) = tokio::io::split(stream);
        let stream = TokioIo::new(tokio::io::join(reader.take(MAX_READ), writer));
        let (mut sender, connection) = client.handshake(stream).await?;
        let connection = Task::spawn(async move {
            // Errors surface when the body is read.
            drop(connection.await);
        });
        let response = sender.send_request(request(target)).await?;
        let location =
            response.headers().get(LOCATION).map(|location| location.as_bytes().to_vec());
        let status = response.status().as_u16();
        Ok(Self {
            status,
            location,
            body: response.into_body(),
            bytes: Vec::new(),
            _connection: connection,
        })
    }

    /// Reads more of the body. Returns false at its end, after an error, and beyond [`MAX_SIZE`].
    async fn read_more(&mut self) -> bool {
        while let Some(Ok(frame)) = self.body.frame().await {
            if let Ok(data) = frame.into_data() {
                let room = MAX_SIZE.saturating_sub(self.bytes.len());
                self.bytes.extend(data.iter().take(room));
                return room > 0;
            }
        }
        false
    }

    /// Compares the response with the expected one. Returns `Portal` if it differs.
    async fn judge(&mut self, expect: &HttpExpectation) -> Reachability {
        match expect {
            HttpExpectation::Status(wanted) if *wanted == self.status => Reachability::Online,
            HttpExpectation::Body(text) if self.status == 200 => {
                let mut searched = 0;
                while !contains(self.bytes.get(searched..).unwrap_or_default(), text.as_bytes()) {
                    // The expected text may span two reads.
                    searched = (self.bytes.len() + 1).saturating_sub(text.len());
                    if !self.read_more().await {
                        return Reachability::Portal;
                    }
                }
                Reachability::Online
            }
            _ => Reachability::Portal,
        }
    }

    /// Returns the target of a redirect by `Location` (RFC 9110, 10.2.2) or by a
    /// `<meta http-equiv="refresh">` in the page. `host` and `port` resolve a relative one.
    async fn redirect(&mut self, host: &str, port: u16) -> Option<PortalUrl> {
        if let Some(location) = &self.location {
            return PortalUrl::relative_to(host, port, std::str::from_utf8(location).ok()?);
        }
        for _ in 0..MAX_SEARCHES {
            let page = self.bytes.get(..PAGE).unwrap_or(&self.bytes);
            let page = String::from_utf8_lossy(page);
            let url = meta_refresh(&page).and_then(|url| PortalUrl::relative_to(host, port, &url));
            if url.is_some() || self.bytes.len() >= PAGE || !self.read_more().await {
                return url;
            }
        }
        None
    }
}

fn request((host, port, path): Target<'_>) -> Request<Empty<Bytes>> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let request = Request::get(path)
        .header(HOST, format!("{host}{port}"))
        .header(USER_AGENT, "bramblegate")
        .header(ACCEPT, "*/*")
        .header(CACHE_CONTROL, "no-cache")
        .header(CONNECTION, "close")
        .body(Empty::new());
    // The settings accept valid paths only; the fallback is a request for "/".
    request.unwrap_or_else(|error| {
        debug!(path, %error, "not a path of HTTP");
        Request::new(Empty::new())
    })
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}

/// Sends one request and judges the response; for a captive portal also returns its URL, if the
/// response contains one. Only reading the page has a timeout of its own.
pub async fn probe<Stream>(
    stream: Stream,
    target: Target<'_>,
    expect: &HttpExpectation,
) -> (Reachability, Option<PortalUrl>)
where
    Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (host, port, _) = target;
    let mut response = match Response::get(stream, target).await {
        Ok(response) => response,
        Err(error) => {
            debug!(host, port, %error, "no answer of HTTP");
            return (Reachability::Nothing, None);
        }
    };
    let found = response.judge(expect).await;
    if found != Reachability::Portal {
        return (found, None);
    }
    (found, timeout(PAGE_TIMEOUT, response.redirect(host, port)).await.unwrap_or_default())
}

/// Returns the URL of the first `<meta http-equiv="refresh" content="0; url=…">` in a page.
fn meta_refresh(page: &str) -> Option<String> {
    // Only ASCII letters change, so offsets stay valid for the original.
    let lower = page.to_ascii_lowercase();
    lower.match_indices("<meta").find_map(|(at, _)| {
        let end = lower.bytes().skip(at).take(MAX_TAG).position(|byte| byte == b'>')? + at;
        let (tag, original) = (lower.get(at..end)?, page.get(at..end)?);
        let refresh = tag.contains("http-equiv") && tag.contains("refresh");
        let url = tag.find("url=").filter(|_| refresh)? + 4;
        let rest = original.get(url..)?.trim_start_matches(['"', '\'', ' ']);
        let url = rest.split(['"', '\'', ' ']).next().unwrap_or_default();
        Some(url.replace("&amp;", "&"))
    })
}

/// Probes `http://:PORT/PATH` of a node. It is healthy if the response is as expected; the default
/// is a status of 2xx or 3xx.
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
    let response = Response::get(stream, (&address.to_string(), number, path)).await;
    let mut response = response.map_err(io::Error::other)?;
    match expect {
        Some(expect) => Ok(response.judge(expect).await == Reachability::Online),
        None => Ok((200..400).contains(&response.status)),
    }
}

/// Processes arbitrary bytes as the response of a web server that then closes, for fuzzing.
#[doc(hidden)]
pub fn read_any(bytes: &[u8], expect: &HttpExpectation) -> Option<Reachability> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    let found = async {
        let (ours, theirs) = tokio::io::duplex(MAX_SIZE);
        let served = serve(theirs, vec![bytes.to_vec()]);
        let asked = probe(ours, ("probe.example", 80, "/"), expect);
        // The response has ended, so judging it must not wait.
        timeout(Duration::from_secs(5), futures_util::future::join(asked, served)).await.ok()
    };
    runtime.block_on(found).map(|((found, _), _)| found)
}

/// Answers the first request with `pieces`, then closes. Returns the request.
async fn serve(mut stream: tokio::io::DuplexStream, pieces: Vec<Vec<u8>>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n")
        && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0)
    {}
    for piece in pieces {
        // A client that has seen enough stops reading.
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

    /// Returns the result for a response in pieces, after which the server closes.
    fn found(pieces: &[&str], expect: &HttpExpectation) -> (Reachability, Option<String>) {
        run(async {
            let (ours, theirs) = duplex(MAX_SIZE);
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
    fn the_expected_status_means_online_and_any_other_a_portal() {
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
    fn the_url_of_a_portal_is_found_in_its_redirect_or_page() {
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
    fn interim_responses_are_skipped_and_a_body_ends_at_its_content_length() {
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

    /// Covers a server that does not close, and endless bodies and headers.
    #[test]
    fn a_response_is_read_no_further_than_necessary() {
        run(async {
            let (ours, mut theirs) = duplex(MAX_SIZE);
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
            format!("HTTP/1.1 204 No Content\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_SIZE));
        assert_eq!(judged(&long_head), Reachability::Nothing);
    }

    /// The cost is bounded by bytes, not by time alone, since one thread runs all tasks.
    #[test]
    fn the_cost_of_a_response_does_not_depend_on_its_chunks() {
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
    fn the_request_names_host_and_port() {
        let sent = |host: &'static str, port, path| {
            run(async move {
                let (ours, theirs) = duplex(MAX_SIZE);
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
        fn arbitrary_responses_are_judged_at_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_any(&bytes, &NO_CONTENT).is_some());
        }

        #[test]
        fn arbitrary_pages_never_panic(page in "(<meta http-equiv=refresh |url=|[<>'\"é]|.){0,40}") {
            meta_refresh(&page);
        }
    }
}
