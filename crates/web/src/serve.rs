//! Takes connections and answers requests, within bounds.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Query, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Version};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response, Sse, sse};
use axum::routing::{get, post};
use bramblegate_api::client::Known;
use bramblegate_api::status::Snapshot;
use bramblegate_config::Public;
use futures_util::stream::{self, Stream, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tower_service::Service;

use crate::discovery;
use crate::feed::Feed;
use crate::guests::{Guest, Guests};
use crate::history::Span;
use crate::host::{self, Names};
use crate::live::{BEAT, Live, Sources};
use crate::metrics;
use crate::options::Options;
use crate::orders::{self, Desk};
use crate::page::{self, Access, Language};
use crate::plain;
use crate::ready::{Answer, Answers, State as Made};
use crate::sight::Sight;

/// Connections at the same time; when there are more, who has most loses one.
pub const CONNECTIONS: usize = 2048;
/// The type of pages.
pub const HTML: &str = "text/html; charset=utf-8";
/// A request's head comes within this time, or not at all.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// What a request's head may be long, bytes.
const HEAD_SIZE: usize = 16 << 10;
/// What a form may be long, bytes.
const BODY: usize = 4 << 10;
/// An answer is taken within this time, events aside; so does a form come.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A viewer that has taken nothing for so long is gone (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How programs call themselves that show what they get in a terminal.
const TERMINALS: [&str; 3] = ["curl/", "Wget/", "HTTPie/"];
/// Lists for service discovery that are being sent at the same time.
const DISCOVERING: usize = 16;
/// Ports whose lists are kept; lists of further ones are made for each who asks.
const PORTS: usize = 4;
/// Of a long answer so much is handed on at once, bytes.
const PIECE: usize = 16 << 10;
/// Pause after accept(2) failed, as where there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// The page is its own files and nothing else: no script within it, no form elsewhere, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What every answer is made of.
#[derive(Debug, Clone)]
pub struct Site {
    pub feed: Feed,
    pub live: Live,
    pub sources: Sources,
    pub desk: Arc<Desk>,
    pub options: watch::Receiver<Arc<Options>>,
    /// long answers that are kept
    pub kept: Arc<Kept>,
}

/// Answers that are made once for all who ask.
#[derive(Debug)]
pub struct Kept {
    /// long answers of now
    ready: Mutex<Answers<Question>>,
    /// the files of the page
    assets: Mutex<Answers<Question>>,
    /// the figures of this second
    measured: Mutex<Answers<Figures>>,
    /// lists of targets of now, by the port that they name
    targets: Mutex<Answers<Option<u16>>>,
    /// the plots since the last sample
    plots: Mutex<Answers<(Span, Sight, Language)>>,
    /// places for lists of targets that are being sent
    discovering: Arc<Semaphore>,
}

impl Default for Kept {
    fn default() -> Self {
        let (ready, assets, measured, targets, plots) = Default::default();
        let discovering = Arc::new(Semaphore::new(DISCOVERING));
        Self { ready, assets, measured, targets, plots, discovering }
    }
}

impl Kept {
    /// Returns the list of targets at a port, made once while nothing changes.
    fn targets(
        &self,
        made: Made,
        snapshot: &Snapshot,
        port: Option<u16>,
    ) -> serde_json::Result<Answer> {
        // Nothing is done under the lock that could leave it half made.
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = targets.find(made, &port) {
            return Ok(answer);
        }
        let json = serde_json::to_vec(&discovery::targets(snapshot, port))?;
        if targets.kept() < PORTS {
            return Ok(targets.put(port, Answer::compressed(json)));
        }
        Ok(Answer::plain(json))
    }
}

/// What is answered to all of one sight alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Status(Sight),
    Style,
    Script,
    /// nodes of a group that there is
    Group(Sight, Language, String, Option<usize>),
}

/// Which figures somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Figures {
    sight: Sight,
    openmetrics: bool,
    /// nodes are series of their own up to so many
    nodes_max: usize,
}

impl Site {
    /// Returns how much somebody sees at `from`.
    fn sight(&self, headers: &HeaderMap, from: IpAddr) -> Sight {
        let public = self.options.borrow().public;
        match public {
            Public::Full => Sight::Full,
            _ if self.desk.csrf(headers, from).is_some() => Sight::Full,
            Public::Summary => Sight::Summary,
            Public::Off => Sight::Nothing,
        }
    }

    /// Returns what is known, as somebody of this sight may know it.
    fn seen(&self, sight: Sight) -> Known {
        self.sources.summaries.seen(self.feed.known(), sight)
    }

    /// Ends when somebody may see another part than before: streams begin anew then.
    fn other_sight(&self) -> impl Future<Output = ()> + use<> {
        let mut options = self.options.clone();
        let mut sessions = self.desk.closed();
        async move {
            let before = options.borrow().public;
            tokio::select! {
                _ = options.wait_for(|options| options.public != before) => {}
                _ = sessions.changed(), if before != Public::Full => {}
            }
        }
    }

    /// Returns what answers of now are made of.
    fn now(&self) -> Made {
        (self.feed.generation(), 0)
    }

    /// Returns a file of the page, which is always the same.
    fn asset(&self, question: Question, make: impl FnOnce() -> Bytes) -> Answer {
        let mut assets = self.kept.assets.lock().unwrap_or_else(PoisonError::into_inner);
        assets.get((0, 0), question, make)
    }

    /// Returns the answer to a question as of now; `make` makes it once.
    fn answer(&self, question: Question, made: Made, make: impl FnOnce() -> Bytes) -> Answer {
        // Nothing is done under the lock that could leave it half made.
        let mut ready = self.kept.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.get(made, question, make)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Returns the routes.
pub fn routes(site: Site) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/page.css", get(style))
        .route("/page.js", get(script))
        .route("/nodes", get(nodes))
        .route("/events", get(events))
        .route("/live", get(live))
        .route("/status.json", get(status))
        .route("/login", post(orders::log_in))
        .route("/logout", post(orders::log_out))
        .route("/orders", post(orders::order))
        .route("/healthz", get(health))
        .route("/plots", get(plots))
        .route("/metrics", get(measured))
        .route("/sd", get(discovered))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(site.clone(), look))
        .layer(middleware::from_fn_with_state(site.options.clone(), guard))
        .with_state(site)
}

/// Answers at `listener` for as long as the process runs.
pub async fn serve(listener: TcpListener, guests: Guests, routes: Router) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        tokio::spawn(connection(stream, guests.admit(peer.ip()), peer.ip(), routes.clone()));
    }
}

async fn connection(stream: TcpStream, guest: Guest, peer: IpAddr, routes: Router) {
    // Without the limit a viewer that has gone without a word keeps its place for ever.
    if set_limits(&stream).is_err() {
        return;
    }
    let watch = Arc::new(Watch::default());
    let watched = Arc::clone(&watch);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        watched.begin(matches!(request.uri().path(), "/live" | "/events"));
        request.extensions_mut().insert(Peer(peer.to_canonical()));
        routes.clone().call(request)
    });
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What a client sends wrong is its own matter.
        _ = answered => {}
        () = guest.must_leave() => {}
        () = watch.late() => {}
    }
}

/// Watches that who asks also takes the answer: one that reads a byte now and then would keep it,
/// and its place, for ever.
#[derive(Debug)]
struct Watch {
    begun: Instant,
    /// of the last request, in ms after `begun`; the greatest number for events, which never end
    asked: AtomicU64,
}

impl Default for Watch {
    fn default() -> Self {
        Self { begun: Instant::now(), asked: AtomicU64::new(0) }
    }
}

impl Watch {
    fn begin(&self, endless: bool) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0);
        self.asked.store(if endless { u64::MAX } else { now }, Ordering::Relaxed);
    }

    /// Waits until the last request is too long ago.
    async fn late(&self) {
        loop {
            let asked = self.asked.load(Ordering::Relaxed);
            if asked == u64::MAX {
                return std::future::pending().await;
            }
            let end = self.begun + Duration::from_millis(asked) + ANSWER_TIME;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

fn set_limits(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Refuses what only an attack asks, and gives every answer the headers of a page that stands
/// alone.
async fn guard(
    State(options): State<watch::Receiver<Arc<Options>>>,
    request: Request,
    next: Next,
) -> Response {
    let options = Arc::clone(&options.borrow());
    let mut answer = match refuse(&request, &options.names) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer" a browser sends our own forms with "Origin: null" (Fetch, section
        // 3.1), which is_own_form refuses.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Why less is shown than there is.
const CLOSED: &str = "This is not shown without a log-in. To show it, set in \
                      /etc/bramblegate/bramblegate.toml on this head: [web] public = \"full\"\n";
/// What everybody may ask for: the page says by itself that it shows nothing.
const OPEN: [&str; 6] = ["/", "/page.css", "/page.js", "/healthz", "/login", "/logout"];

/// Notes how much somebody sees, and refuses those who see nothing.
async fn look(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let sight = site.sight(request.headers(), peer);
    if sight == Sight::Nothing && !OPEN.contains(&request.uri().path()) {
        return (StatusCode::FORBIDDEN, CLOSED).into_response();
    }
    request.extensions_mut().insert(sight);
    next.run(request).await
}

fn refuse(request: &Request, names: &Names) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        let allow = [(header::ALLOW, "GET, HEAD, POST")];
        return Some((StatusCode::METHOD_NOT_ALLOWED, allow).into_response());
    }
    // RFC 9112, section 3.2: one Host, from version 1.1 on; what stands in the target counts too.
    let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
    if hosts.len() > 1 || (hosts.is_empty() && request.version() >= Version::HTTP_11) {
        return Some((StatusCode::BAD_REQUEST, "one Host is needed\n").into_response());
    }
    let target = request.uri().authority().map(|authority| authority.as_str());
    let named = hosts.first().map(|host| host.to_str().unwrap_or_default());
    let wrong = [target, named].into_iter().flatten().find(|host| !names.has(host))?;
    let name = host::name_in(wrong).unwrap_or("NAME");
    let why = format!(
        "This head does not answer to the name {name}. Use its address or its host name.\n\
         If {name} is a name of this head, add it to /etc/bramblegate/bramblegate.toml on it:\n\n\
         [web]\nnames = [\"{name}\"]\n\n\
         Then: sudo systemctl reload bramblegate-web\n"
    );
    Some((StatusCode::MISDIRECTED_REQUEST, why).into_response())
}

/// Returns the language of who asks.
pub fn language(headers: &HeaderMap) -> Language {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    accepted.map_or(Language::English, Language::accepted)
}

/// Returns whether the client is a terminal's, or asks for text.
fn wants_text(headers: &HeaderMap) -> bool {
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accept = field(header::ACCEPT);
    if accept.contains("text/html") {
        return false;
    }
    accept.contains("text/plain")
        || TERMINALS.iter().any(|name| field(header::USER_AGENT).starts_with(name))
}

async fn index(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(sight): Extension<Sight>,
    request: Request,
) -> Response {
    let headers = request.headers();
    if wants_text(headers) || request.uri().query() == Some("text") {
        if sight == Sight::Nothing {
            return (StatusCode::FORBIDDEN, CLOSED).into_response();
        }
        let text = plain::page(&site.seen(sight), SystemTime::now());
        return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    }
    let language = language(headers);
    let access = match site.desk.csrf(headers, peer) {
        Some(csrf) => Access::Order(csrf),
        None if site.desk.admits(peer) => Access::LogIn,
        None => Access::View,
    };
    let vary = "Accept, Accept-Encoding, Accept-Language, Cookie, User-Agent";
    let about = [(header::VARY, vary), (header::CONTENT_LANGUAGE, language.code())];
    (about, site.live.whole(language, sight, &access).respond(HTML, headers)).into_response()
}

async fn style(State(site): State<Site>, headers: HeaderMap) -> Response {
    let make = || Bytes::from_static(page::STYLE.as_bytes());
    site.asset(Question::Style, make).respond("text/css; charset=utf-8", &headers)
}

async fn script(State(site): State<Site>, headers: HeaderMap) -> Response {
    let make = || Bytes::from_static(page::SCRIPT.as_bytes());
    site.asset(Question::Script, make).respond("text/javascript; charset=utf-8", &headers)
}

#[derive(Debug, Deserialize)]
struct GroupQuery {
    #[serde(default)]
    group: String,
    /// which of its blocks; all of it without
    block: Option<usize>,
}

async fn nodes(
    State(site): State<Site>,
    Query(query): Query<GroupQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let made = site.now();
    let known = site.seen(sight);
    let GroupQuery { group, block } = query;
    let is_there = |all: &Arc<Snapshot>| page::members(all, &group, block).next().is_some();
    let Some(snapshot) = known.snapshot.filter(is_there) else {
        return Html("").into_response();
    };
    let language = language(&headers);
    let question = Question::Group(sight, language, group.clone(), block);
    let make = || page::group(&snapshot, &group, block, known.at, language.words()).into();
    site.answer(question, made, make).respond(HTML, &headers)
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    since: Option<String>,
}

/// Sends the lines of the status socket: a snapshot, then changes, numbered by their `seq`.
async fn events(
    State(site): State<Site>,
    Query(query): Query<EventsQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let since = last.or(query.since.as_deref()).and_then(|number| number.parse().ok());
    let lines = match sight {
        Sight::Full => site.feed.lines(since).boxed(),
        _ => site.feed.snapshots(Arc::clone(&site.sources.summaries)).boxed(),
    };
    let stream = lines
        .take_until(site.other_sight())
        .map(|sent| Ok(sse::Event::default().id(sent.seq.to_string()).data(&sent.text)));
    Sse::new(stream).keep_alive(sse::KeepAlive::new().interval(BEAT))
}

/// Sends what changes on the page.
async fn live(
    State(site): State<Site>,
    Query(query): Query<EventsQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    // A browser that reconnects names the last event that it took, whatever the address says.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let since = last.or(query.since.as_deref());
    let stream = site.live.events(language(&headers), sight, since).map(Ok::<_, Infallible>);
    let stream = stream.take_until(site.other_sight());
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
}

async fn status(
    State(site): State<Site>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let made = site.now();
    match site.seen(sight).snapshot {
        Some(snapshot) => {
            let make = || bramblegate_api::line(&*snapshot).into();
            site.answer(Question::Status(sight), made, make).respond("application/json", &headers)
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Answers 200 while the daemon answers, else 503, with the reason.
async fn health(State(site): State<Site>) -> Response {
    let known = site.feed.known();
    let why = match (known.lost, known.snapshot) {
        (None, Some(_)) => return "ok\n".into_response(),
        (Some((why, _)), _) => why,
        (None, None) => "no status yet".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

async fn measured(
    State(site): State<Site>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let openmetrics = accept.is_some_and(metrics::wants_openmetrics);
    let kind = if openmetrics { metrics::OPENMETRICS } else { metrics::TEXT };
    // Nodes without names are no series.
    let nodes_max = if sight == Sight::Full { site.options.borrow().nodes_max } else { 0 };
    let figures = Figures { sight, openmetrics, nodes_max };
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut measured = site.kept.measured.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = measured.find((second, 0), &figures) {
        return answer.respond(kind, &headers);
    }
    match metrics::encode(&site.seen(sight), &site.feed.health_changes(), nodes_max, openmetrics) {
        Ok(text) => measured.put(figures, Answer::plain(text)).respond(kind, &headers),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct DiscoveryQuery {
    port: Option<NonZeroU16>,
}

async fn discovered(
    State(site): State<Site>,
    query: Result<Query<DiscoveryQuery>, QueryRejection>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    // Nothing but addresses is in it.
    if sight != Sight::Full {
        return (StatusCode::FORBIDDEN, CLOSED).into_response();
    }
    let Ok(Query(DiscoveryQuery { port })) = query else {
        let why = "The port is a number from 1 to 65535: /sd?port=9100\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    let made = site.now();
    let known = site.feed.known();
    // An empty list would take every target away; Prometheus keeps the last list after a failure.
    let Some(snapshot) = known.snapshot else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Each port is a list of its own: slow readers of many lists would fill the memory.
    let Ok(place) = Arc::clone(&site.kept.discovering).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response();
    };
    match site.kept.targets(made, &snapshot, port.map(NonZeroU16::get)) {
        Ok(answer) => answer.respond_by("application/json", &headers, |list| in_place(list, place)),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Returns a body that keeps a place until the most of it is sent.
fn in_place(bytes: Bytes, place: OwnedSemaphorePermit) -> Body {
    let pieces = stream::unfold((bytes, place), |(mut left, place)| async move {
        let piece = left.split_to(left.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (left, place)))
    });
    Body::from_stream(pieces)
}

#[derive(Debug, Deserialize)]
struct PlotsQuery {
    #[serde(default)]
    span: String,
}

/// Answers with the plots alone; a browser without script shows them as a page.
async fn plots(
    State(site): State<Site>,
    Query(query): Query<PlotsQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let span = if query.span == "day" { Span::Day } else { Span::Hour };
    let (history, language) = (&site.sources.history, language(&headers));
    let make = || page::draw_plots(history, span, sight, language.words()).into_string().into();
    let mut plots = site.kept.plots.lock().unwrap_or_else(PoisonError::into_inner);
    plots.get((history.taken(), 0), (span, sight, language), make).respond(HTML, &headers)
}

#[cfg(test)]
mod tests {
    use bramblegate_api::status::Node;

    use super::*;

    fn snapshot(nodes: usize) -> Snapshot {
        let node = |place: usize| Node {
            name: format!("node-{place}").into(),
            address: format!("10.0.{}.{}", place / 250, place % 250 + 1).parse().ok(),
            ..Node::default()
        };
        Snapshot { nodes: (0..nodes).map(node).collect(), ..Snapshot::default() }
    }

    #[test]
    fn targets_are_listed_once_for_each_state_and_only_a_few_ports_are_kept() {
        let (kept, snapshot) = (Kept::default(), snapshot(100));
        let list = |state, port| kept.targets((state, 0), &snapshot, Some(port)).unwrap();
        let same = |one: &Answer, other: &Answer| one.is_same(other);
        let first = list(1, 9100);
        assert!(same(&first, &list(1, 9100)), "made twice");
        assert!(!same(&first, &list(1, 9101)) && !same(&first, &list(2, 9100)));
        for port in 1..=50 {
            list(2, port);
        }
        assert_eq!(kept.targets.lock().unwrap().kept(), PORTS);
    }
}
