//! Accepts connections and answers requests, within limits.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Query, Request, State};
use axum::http::header::{self, AsHeaderName, HeaderMap, HeaderName, HeaderValue};
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
use crate::live::{HEARTBEAT, Live, Sources};
use crate::lock::lock;
use crate::metrics;
use crate::options::Options;
use crate::orders::{self, Desk};
use crate::page::{self, Access, Language};
use crate::plain;
use crate::ready::{Answer, Answers, StateVersion};
use crate::sight::Sight;

/// The limit of concurrent connections ([`Guests`]).
pub const CONNECTIONS: usize = 2048;
/// The media type of pages.
pub const HTML: &str = "text/html; charset=utf-8";
/// The deadline for a request's header section.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// The maximum size of a request's header section, in bytes.
const HEADER_SIZE: usize = 16 << 10;
/// The maximum size of a form, in bytes.
const BODY: usize = 4 << 10;
/// The deadline for receiving a form and sending the answer, event streams excepted.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// The time without an acknowledgement after which a viewer is gone (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// `User-Agent` prefixes of programs that print the answer to a terminal.
const TERMINALS: [&str; 3] = ["curl/", "Wget/", "HTTPie/"];
/// The limit of service discovery lists that are sent concurrently.
const DISCOVERING: usize = 16;
/// The limit of ports whose lists are cached.
const PORTS: usize = 4;
/// The size of the chunks of a long answer, in bytes.
const CHUNK: usize = 16 << 10;
/// The pause after accept(2) failed, for example without free file descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// The page consists of its own files only: no inline script, no form to other sites, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The state that handlers share.
#[derive(Debug, Clone)]
pub struct Site {
    pub feed: Feed,
    pub live: Live,
    pub sources: Sources,
    pub desk: Arc<Desk>,
    pub options: watch::Receiver<Arc<Options>>,
    pub cache: Arc<Cache>,
}

/// Cached answers.
#[derive(Debug)]
pub struct Cache {
    /// Renderings of the current state.
    ready: Mutex<Answers<Key>>,
    /// The files of the page.
    assets: Mutex<Answers<Key>>,
    /// The metrics of this second.
    metrics: Mutex<Answers<MetricsKey>>,
    /// Service discovery lists of the current state, by port.
    targets: Mutex<Answers<Option<u16>>>,
    /// The plots since the last sample.
    plots: Mutex<Answers<(Span, Sight, Language)>>,
    /// Permits for lists that are being sent.
    discovering: Arc<Semaphore>,
}

impl Default for Cache {
    fn default() -> Self {
        let (ready, assets, metrics, targets, plots) = Default::default();
        let discovering = Arc::new(Semaphore::new(DISCOVERING));
        Self { ready, assets, metrics, targets, plots, discovering }
    }
}

impl Cache {
    /// Returns the list of targets at a port, from the cache if possible.
    fn targets(
        &self,
        version: StateVersion,
        snapshot: &Snapshot,
        port: Option<u16>,
    ) -> serde_json::Result<Answer> {
        let mut targets = lock(&self.targets);
        if let Some(answer) = targets.find(version, &port) {
            return Ok(answer);
        }
        let json = serde_json::to_vec(&discovery::targets(snapshot, port))?;
        if targets.count() < PORTS {
            return Ok(targets.put(port, Answer::compressed(json)));
        }
        Ok(Answer::plain(json))
    }
}

/// What a cached answer depends on, besides the state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Status(Sight),
    Style,
    Script,
    /// Nodes of an existing group, or of one of its blocks.
    Group(Sight, Language, String, Option<usize>),
}

/// What cached metrics depend on, besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct MetricsKey {
    sight: Sight,
    openmetrics: bool,
    /// The maximum number of nodes with series of their own.
    nodes_max: usize,
}

impl Site {
    /// Returns how much a client with these headers and the address `from` may see.
    fn sight(&self, headers: &HeaderMap, from: IpAddr) -> Sight {
        let public = self.options.borrow().public;
        match public {
            Public::Full => Sight::Full,
            _ if self.desk.csrf(headers, from).is_some() => Sight::Full,
            Public::Summary => Sight::Summary,
            Public::Off => Sight::Nothing,
        }
    }

    /// Returns the state, reduced to what this sight may see.
    fn seen(&self, sight: Sight) -> Known {
        self.sources.summaries.seen(self.feed.known(), sight)
    }

    /// Completes when what clients may see has changed, so that event streams have to reconnect.
    fn access_changed(&self) -> impl Future<Output = ()> + use<> {
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

    /// Returns the version of the current state.
    fn version(&self) -> StateVersion {
        (self.feed.generation(), 0)
    }

    /// Returns a file of the page, which never changes.
    fn asset(&self, key: Key, make: impl FnOnce() -> Bytes) -> Answer {
        lock(&self.cache.assets).get((0, 0), key, make)
    }

    /// Returns the answer for a key, from the cache or else from `make`.
    fn answer(&self, key: Key, version: StateVersion, make: impl FnOnce() -> Bytes) -> Answer {
        lock(&self.cache.ready).get(version, key, make)
    }
}

/// The client's address.
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
        .route("/metrics", get(metrics_text))
        .route("/sd", get(targets))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(site.clone(), authorize))
        .layer(middleware::from_fn_with_state(site.options.clone(), guard))
        .with_state(site)
}

/// Serves `listener` for as long as the process runs.
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
    // Without a timeout, a viewer that vanished would hold its connection for ever.
    if set_limits(&stream).is_err() {
        return;
    }
    let timer = Arc::new(AnswerTimer::default());
    let request_timer = Arc::clone(&timer);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request_timer.restart(matches!(request.uri().path(), "/live" | "/events"));
        request.extensions_mut().insert(Peer(peer.to_canonical()));
        routes.clone().call(request)
    });
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Errors are the client's, and need no log.
        _ = answered => {}
        () = guest.evicted() => {}
        () = timer.expired() => {}
    }
}

/// The deadline of an answer: a client that reads a byte now and then would otherwise hold it, and
/// its connection, for ever.
#[derive(Debug)]
struct AnswerTimer {
    connected: Instant,
    /// The time of the last request, in ms after `connected`; the maximum for event streams, which
    /// never end.
    requested: AtomicU64,
}

impl Default for AnswerTimer {
    fn default() -> Self {
        Self { connected: Instant::now(), requested: AtomicU64::new(0) }
    }
}

impl AnswerTimer {
    fn restart(&self, endless: bool) {
        let now = u64::try_from(self.connected.elapsed().as_millis()).unwrap_or(0);
        self.requested.store(if endless { u64::MAX } else { now }, Ordering::Relaxed);
    }

    /// Waits until [`ANSWER_TIME`] has passed since the last request.
    async fn expired(&self) {
        loop {
            let requested = self.requested.load(Ordering::Relaxed);
            if requested == u64::MAX {
                return std::future::pending().await;
            }
            let deadline = self.connected + Duration::from_millis(requested) + ANSWER_TIME;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

fn set_limits(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Refuses invalid requests, and adds the security headers to every answer.
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
        // With "no-referrer", browsers would send the page's own forms with "Origin: null" (Fetch,
        // section 3.1), which `is_own_form` refuses.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// The answer without a session where `web.public` requires one.
const CLOSED: &str = "This is not shown without a log-in. To show it, set in \
                      /etc/bramblegate/bramblegate.toml on this head: [web] public = \"full\"\n";
/// Paths that need no session: the page itself shows only the log-in then.
const OPEN: [&str; 6] = ["/", "/page.css", "/page.js", "/healthz", "/login", "/logout"];

/// Determines how much the client may see, and refuses clients that may see nothing.
async fn authorize(
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

/// Returns the refusal of a request with a wrong method or `Host`.
fn refuse(request: &Request, names: &Names) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        let allow = [(header::ALLOW, "GET, HEAD, POST")];
        return Some((StatusCode::METHOD_NOT_ALLOWED, allow).into_response());
    }
    // RFC 9112, section 3.2: exactly one Host since version 1.1. An absolute target is checked too.
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

/// Returns the value of a header field; `None` also if it is not visible ASCII.
pub fn field(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the client's preferred language.
pub fn language(headers: &HeaderMap) -> Language {
    field(headers, header::ACCEPT_LANGUAGE).map_or(Language::English, Language::accepted)
}

/// Returns whether the client prints to a terminal, or asks for text.
fn wants_text(headers: &HeaderMap) -> bool {
    let accept = field(headers, header::ACCEPT).unwrap_or_default();
    if accept.contains("text/html") {
        return false;
    }
    let agent = field(headers, header::USER_AGENT).unwrap_or_default();
    accept.contains("text/plain") || TERMINALS.iter().any(|name| agent.starts_with(name))
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
    let fields = [(header::VARY, vary), (header::CONTENT_LANGUAGE, language.code())];
    (fields, site.live.whole(language, sight, &access).respond(HTML, headers)).into_response()
}

async fn style(State(site): State<Site>, headers: HeaderMap) -> Response {
    let make = || Bytes::from_static(page::STYLE.as_bytes());
    site.asset(Key::Style, make).respond("text/css; charset=utf-8", &headers)
}

async fn script(State(site): State<Site>, headers: HeaderMap) -> Response {
    let make = || Bytes::from_static(page::SCRIPT.as_bytes());
    site.asset(Key::Script, make).respond("text/javascript; charset=utf-8", &headers)
}

#[derive(Debug, Deserialize)]
struct GroupQuery {
    #[serde(default)]
    group: String,
    /// The block of the group; without it, the whole group.
    block: Option<usize>,
}

async fn nodes(
    State(site): State<Site>,
    Query(query): Query<GroupQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let version = site.version();
    let known = site.seen(sight);
    let GroupQuery { group, block } = query;
    let exists = |all: &Arc<Snapshot>| page::members(all, &group, block).next().is_some();
    let Some(snapshot) = known.snapshot.filter(exists) else {
        return Html("").into_response();
    };
    let language = language(&headers);
    let key = Key::Group(sight, language, group.clone(), block);
    let make = || page::group(&snapshot, &group, block, known.at, language.words()).into();
    site.answer(key, version, make).respond(HTML, &headers)
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    since: Option<String>,
}

impl EventsQuery {
    /// Returns the id of the client's last event: from the header of a browser that reconnects,
    /// which is newer than the query.
    fn last_event<'a>(&'a self, headers: &'a HeaderMap) -> Option<&'a str> {
        field(headers, "last-event-id").or(self.since.as_deref())
    }
}

/// Streams the lines of the status socket: a snapshot, then changes, with `seq` as event id.
async fn events(
    State(site): State<Site>,
    Query(query): Query<EventsQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let since = query.last_event(&headers).and_then(|number| number.parse().ok());
    let lines = match sight {
        Sight::Full => site.feed.lines(since).boxed(),
        _ => site.feed.snapshots(Arc::clone(&site.sources.summaries)).boxed(),
    };
    let stream = lines
        .take_until(site.access_changed())
        .map(|sent| Ok(sse::Event::default().id(sent.seq.to_string()).data(&sent.text)));
    Sse::new(stream).keep_alive(sse::KeepAlive::new().interval(HEARTBEAT))
}

/// Streams updates of the page.
async fn live(
    State(site): State<Site>,
    Query(query): Query<EventsQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let since = query.last_event(&headers);
    let stream = site.live.events(language(&headers), sight, since).map(Ok::<_, Infallible>);
    let stream = stream.take_until(site.access_changed());
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
}

async fn status(
    State(site): State<Site>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let version = site.version();
    match site.seen(sight).snapshot {
        Some(snapshot) => {
            let make = || bramblegate_api::line(&*snapshot).into();
            site.answer(Key::Status(sight), version, make).respond("application/json", &headers)
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Answers 200 while the daemon responds, else 503 with the reason.
async fn health(State(site): State<Site>) -> Response {
    let known = site.feed.known();
    let why = match (known.lost, known.snapshot) {
        (None, Some(_)) => return "ok\n".into_response(),
        (Some((why, _)), _) => why,
        (None, None) => "no status yet".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

async fn metrics_text(
    State(site): State<Site>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let openmetrics = field(&headers, header::ACCEPT).is_some_and(metrics::wants_openmetrics);
    let kind = if openmetrics { metrics::OPENMETRICS } else { metrics::TEXT };
    // Without their names, nodes cannot have series.
    let nodes_max = if sight == Sight::Full { site.options.borrow().nodes_max } else { 0 };
    let key = MetricsKey { sight, openmetrics, nodes_max };
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut cached = lock(&site.cache.metrics);
    if let Some(answer) = cached.find((second, 0), &key) {
        return answer.respond(kind, &headers);
    }
    match metrics::encode(&site.seen(sight), &site.feed.health_changes(), nodes_max, openmetrics) {
        Ok(text) => cached.put(key, Answer::plain(text)).respond(kind, &headers),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct DiscoveryQuery {
    port: Option<NonZeroU16>,
}

async fn targets(
    State(site): State<Site>,
    query: Result<Query<DiscoveryQuery>, QueryRejection>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    // The list has nothing but addresses.
    if sight != Sight::Full {
        return (StatusCode::FORBIDDEN, CLOSED).into_response();
    }
    let Ok(Query(DiscoveryQuery { port })) = query else {
        let why = "The port is a number from 1 to 65535: /sd?port=9100\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    let version = site.version();
    let known = site.feed.known();
    // An empty list would remove every target; after a failure, Prometheus keeps the last list.
    let Some(snapshot) = known.snapshot else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Each port has a list of its own, so slow readers of many lists would fill the memory.
    let Ok(permit) = Arc::clone(&site.cache.discovering).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response();
    };
    match site.cache.targets(version, &snapshot, port.map(NonZeroU16::get)) {
        Ok(answer) => {
            answer.respond_by("application/json", &headers, |list| with_permit(list, permit))
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Returns a body that holds a permit until its last chunk is taken for sending.
fn with_permit(bytes: Bytes, permit: OwnedSemaphorePermit) -> Body {
    let chunks = stream::unfold((bytes, permit), |(mut left, permit)| async move {
        let chunk = left.split_to(left.len().min(CHUNK));
        (!chunk.is_empty()).then_some((Ok::<_, Infallible>(chunk), (left, permit)))
    });
    Body::from_stream(chunks)
}

#[derive(Debug, Deserialize)]
struct PlotsQuery {
    #[serde(default)]
    span: String,
}

/// Answers with the plots only; a browser without scripts shows them as a page.
async fn plots(
    State(site): State<Site>,
    Query(query): Query<PlotsQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Response {
    let span = if query.span == "day" { Span::Day } else { Span::Hour };
    let (history, language) = (&site.sources.history, language(&headers));
    let make = || page::draw_plots(history, span, sight, language.words()).into_string().into();
    let key = (span, sight, language);
    lock(&site.cache.plots).get((history.taken(), 0), key, make).respond(HTML, &headers)
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
    fn targets_are_listed_once_for_each_state_and_few_ports_are_cached() {
        let (cache, snapshot) = (Cache::default(), snapshot(100));
        let list = |state, port| cache.targets((state, 0), &snapshot, Some(port)).unwrap();
        let same = |one: &Answer, other: &Answer| one.is_same(other);
        let first = list(1, 9100);
        assert!(same(&first, &list(1, 9100)), "made twice");
        assert!(!same(&first, &list(1, 9101)) && !same(&first, &list(2, 9100)));
        for port in 1..=50 {
            list(2, port);
        }
        assert_eq!(lock(&cache.targets).count(), PORTS);
    }
}
