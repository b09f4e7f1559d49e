//! One HTTP/1.1 GET (RFC 9110, 9112), bound to a port: enough to tell the internet from a captive portal.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tcp::connect;
use crate::config::{HttpExpectation, NodeProbe};
use crate::event::{PortalUrl, Reachability};

/// No more of an answer is read.
const LONGEST: usize = 64 * 1024;
/// `httparse` wants to know how many headers there can be.
const HEADERS: usize = 64;
/// So much of a portal's page is looked at, and waited for so long, for where it leads.
const PAGE: usize = 16 * 1024;
const PAGE_WAIT: Duration = Duration::from_secs(1);

/// The request's bytes.
pub fn request(host: &str, port: u16, path: &str) -> Vec<u8> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: bramblegate\r\nAccept: */*\r\nCache-Control: no-cache\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// more bytes could change the judgement
    Incomplete,
    /// not HTTP
    Nonsense,
    Status {
        code: u16,
        /// where it begins
        body: usize,
        /// where it ends, if that is told
        ends: Option<usize>,
    },
}

/// Reads the head of an answer; interim ones before it (1xx, RFC 9110 section 15.2) are passed over.
pub fn head(bytes: &[u8]) -> Answer {
    let mut from = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match (response.parse(bytes.get(from..).unwrap_or_default()), response.code) {
            (Ok(httparse::Status::Complete(length)), Some(100..=199)) if bytes.len() < LONGEST => from += length,
            (Ok(httparse::Status::Complete(length)), Some(code)) => {
                return Answer::Status { code, body: from + length, ends: end(response.headers, from + length) };
            }
            // More headers than we have room for, or one with a forbidden character: the status line was good.
            (Err(_), Some(code)) => {
                return Answer::Status { code, body: bytes.len(), ends: None };
            }
            (Ok(_), _) if bytes.len() < LONGEST => return Answer::Incomplete,
            _ => return Answer::Nonsense,
        }
    }
}

/// Where a body that begins at `body` ends, if a header says so: some servers do not close.
fn end(headers: &[httparse::Header<'_>], body: usize) -> Option<usize> {
    let length = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(length.value).ok()?.trim().parse().ok()?;
    Some(body.saturating_add(length))
}

/// What an answer says; `None` when more of it is needed. `ended`: there will be no more.
pub fn judge(bytes: &[u8], expect: &HttpExpectation, ended: bool) -> Option<Reachability> {
    let (code, body, ended) = match head(bytes) {
        Answer::Incomplete => return ended.then_some(Reachability::Nothing),
        Answer::Nonsense => return Some(Reachability::Nothing),
        Answer::Status { code, body, ends } => {
            let whole = ends.is_some_and(|ends| bytes.len() >= ends);
            let ends = ends.map_or(bytes.len(), |ends| ends.min(bytes.len()));
            (code, bytes.get(body..ends).unwrap_or_default(), ended || whole)
        }
    };
    match expect {
        HttpExpectation::Status(wanted) if *wanted == code => Some(Reachability::Online),
        HttpExpectation::Body(text) if code == 200 => {
            let needle = text.as_bytes();
            let found = needle.is_empty() || body.windows(needle.len()).any(|window| window == needle);
            match found {
                true => Some(Reachability::Online),
                false => (ended || bytes.len() >= LONGEST).then_some(Reachability::Portal),
            }
        }
        _ => Some(Reachability::Portal),
    }
}

/// Asks once, over a connection that is there.
///
/// # Errors
/// The connection broke before it could be judged.
async fn ask(
    stream: &mut TcpStream,
    request: &[u8],
    expect: &HttpExpectation,
    bytes: &mut Vec<u8>,
) -> io::Result<Reachability> {
    stream.write_all(request).await?;
    loop {
        let ended = stream.read_buf(bytes).await? == 0;
        if let Some(reachability) = judge(bytes, expect, ended) {
            return Ok(reachability);
        }
    }
}

/// Asks `host` for `path` once, over a connection that is there; of a captive portal also where it is, if it says so.
///
/// # Errors
/// The connection broke before it could be judged.
pub async fn probe(
    stream: &mut TcpStream,
    (host, port, path): (&str, u16, &str),
    expect: &HttpExpectation,
) -> io::Result<(Reachability, Option<PortalUrl>)> {
    let mut bytes = Vec::new();
    let found = ask(stream, &request(host, port, path), expect, &mut bytes).await?;
    if found != Reachability::Portal {
        return Ok((found, None));
    }
    let rest = async {
        while bytes.len() < PAGE && portal(&bytes, host, port).is_none() && !is_whole(&bytes) {
            if stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // What breaks off has said what it has said.
    let _ = timeout(PAGE_WAIT, rest).await;
    Ok((found, portal(&bytes, host, port)))
}

/// Returns whether the answer says where it ends, and has come so far.
fn is_whole(bytes: &[u8]) -> bool {
    matches!(head(bytes), Answer::Status { ends: Some(ends), .. } if bytes.len() >= ends)
}

/// Returns where an answer of `host` leads: by its `Location` (RFC 9110, 10.2.2), or by a `<meta http-equiv="refresh">` of its
/// page.
fn portal(bytes: &[u8], host: &str, port: u16) -> Option<PortalUrl> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).ok()? else { return None };
    let location = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("location"));
    if let Some(location) = location {
        return PortalUrl::relative_to(host, port, std::str::from_utf8(location.value).ok()?);
    }
    let page = String::from_utf8_lossy(bytes.get(length..)?);
    refreshed_to(&page).and_then(|url| PortalUrl::relative_to(host, port, &url))
}

/// Returns where the first `<meta http-equiv="refresh" content="0; url=…">` of a page leads.
fn refreshed_to(page: &str) -> Option<String> {
    // Letters of ASCII alone change, so places stay the same.
    let lower = page.to_ascii_lowercase();
    lower.match_indices("<meta").find_map(|(at, _)| {
        let end = lower.get(at..)?.find('>')? + at;
        let (tag, original) = (lower.get(at..end)?, page.get(at..end)?);
        let refresh = tag.contains("http-equiv") && tag.contains("refresh");
        let url = tag.find("url=").filter(|_| refresh)? + 4;
        let rest = original.get(url..)?.trim_start_matches(['"', '\'', ' ']);
        let url = rest.split(['"', '\'', ' ']).next().unwrap_or_default();
        Some(url.replace("&amp;", "&"))
    })
}

/// `http://:PORT/PATH` of a node: well when it answers as expected; where nothing is said, with a status of 2xx or 3xx.
pub fn is_well(address: Ipv4Addr, probe: NodeProbe) -> BoxFuture<'static, bool> {
    Box::pin(async move {
        let NodeProbe::Http { port: number, path, expect } = probe else { return false };
        is_healthy(address, number, &path, expect.as_ref()).await.unwrap_or(false)
    })
}

async fn is_healthy(address: Ipv4Addr, number: u16, path: &str, expect: Option<&HttpExpectation>) -> io::Result<bool> {
    let mut stream = connect(SocketAddr::new(IpAddr::V4(address), number), None, None).await?;
    let request = request(&address.to_string(), number, path);
    if let Some(expect) = expect {
        return Ok(ask(&mut stream, &request, expect, &mut Vec::new()).await? == Reachability::Online);
    }
    stream.write_all(&request).await?;
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await? > 0 {
        match head(&bytes) {
            Answer::Incomplete => {}
            Answer::Nonsense => return Ok(false),
            Answer::Status { code, .. } => return Ok((200..400).contains(&code)),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NO_CONTENT: HttpExpectation = HttpExpectation::Status(204);

    #[test]
    fn the_expected_status_is_the_internet_and_any_other_a_portal() {
        let judged = |text: &str| judge(text.as_bytes(), &NO_CONTENT, false);
        assert_eq!(judged("HTTP/1.1 204 No Content\r\n\r\n"), Some(Reachability::Online));
        assert_eq!(judged("HTTP/1.1 302 Found\r\nLocation: http://login.hotel/\r\n\r\n"), Some(Reachability::Portal));
        assert_eq!(judged("HTTP/1.0 200 OK\r\n\r\n<html>Welcome"), Some(Reachability::Portal));
        assert_eq!(judged("HTTP/1.1 302 Found\r\nLocation: http://a/\u{1b}[2J\r\n\r\n"), Some(Reachability::Portal));
        assert_eq!(judged("HTTP/1.1 302 Found\r\nno header\r\n\r\n"), Some(Reachability::Portal));
        assert_eq!(judged("HTTP/1.1 204 No Con"), None);
        assert_eq!(judged("SSH-2.0-OpenSSH_9.2\r\n"), Some(Reachability::Nothing));
    }

    #[test]
    fn a_portal_says_where_it_is_by_its_redirect_or_its_page() {
        let read = |text: &str| portal(text.as_bytes(), "probe.example", 80).map(|url| url.to_string());
        let to = |location: &str| format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nlocation: {location}\r\n\r\n");
        assert_eq!(read(&to("http://login.hotel/a?b=c")).as_deref(), Some("http://login.hotel/a?b=c"));
        assert_eq!(read(&to("/login")).as_deref(), Some("http://probe.example/login"));
        for bad in ["javascript:alert(1)", "http://a/\u{1b}[2J", "file:///etc/passwd", ""] {
            assert_eq!(read(&to(bad)), None, "{bad:?}");
        }
        let page = |tag: &str| format!("HTTP/1.1 200 OK\r\n\r\n<html><META charset=utf-8><head>{tag}</head>");
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
    fn a_connection_that_closes_without_a_word_is_nothing() {
        assert_eq!(judge(b"", &NO_CONTENT, false), None);
        assert_eq!(judge(b"", &NO_CONTENT, true), Some(Reachability::Nothing));
        assert_eq!(judge(b"HTTP/1.1 204 No Con", &NO_CONTENT, true), Some(Reachability::Nothing));
    }

    #[test]
    fn an_expected_body_may_come_in_pieces() {
        let expect = HttpExpectation::Body("NetworkManager is online".into());
        let all = b"HTTP/1.1 200 OK\r\n\r\nNetworkManager is online\n";
        assert_eq!(judge(&all[..30], &expect, false), None);
        assert_eq!(judge(all, &expect, false), Some(Reachability::Online));
        assert_eq!(judge(&all[..30], &expect, true), Some(Reachability::Portal));
    }

    #[test]
    fn an_interim_answer_is_none_and_a_server_that_does_not_close_is_not_waited_for() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert_eq!(judge(interim, &NO_CONTENT, false), None);
        let answered = [&interim[..], b"HTTP/1.1 204 No Content\r\n\r\n"].concat();
        assert_eq!(judge(&answered, &NO_CONTENT, false), Some(Reachability::Online));
        let expect = HttpExpectation::Body("Success".into());
        let login = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlog in";
        assert_eq!(judge(login, &expect, false), Some(Reachability::Portal));
        assert_eq!(judge(&login[..login.len() - 1], &expect, false), None);
        assert_eq!(
            judge(&[login, &b"Success"[..]].concat(), &expect, true),
            Some(Reachability::Portal),
            "beyond its end"
        );
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nx", &expect, false), None);
    }

    #[test]
    fn the_request_names_host_and_port_as_a_server_expects_them() {
        let text = String::from_utf8(request("internet.example", 8080, "/generate_204")).unwrap();
        assert!(text.starts_with("GET /generate_204 HTTP/1.1\r\nHost: internet.example:8080\r\n"), "{text}");
        assert!(String::from_utf8(request("2001:db8::1", 80, "/")).unwrap().contains("Host: [2001:db8::1]\r\n"));
    }

    proptest! {
        #[test]
        fn arbitrary_answers_are_judged_once_they_have_ended(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(judge(&bytes, &NO_CONTENT, true).is_some());
        }

        #[test]
        fn arbitrary_pages_lead_somewhere_or_nowhere(page in "(<meta http-equiv=refresh |url=|[<>'\"é]|.){0,40}") {
            portal(format!("HTTP/1.1 200 OK\r\n\r\n{page}").as_bytes(), "probe.example", 80);
        }

        #[test]
        fn a_judgement_does_not_change_with_more_bytes(cut in 0_usize..60, rest in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n".to_vec();
            bytes.extend(rest);
            let early = judge(&bytes[..cut.min(bytes.len())], &NO_CONTENT, false);
            prop_assert!(early.is_none() || early == judge(&bytes, &NO_CONTENT, true));
        }
    }
}
