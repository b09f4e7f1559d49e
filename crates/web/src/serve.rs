//! Takes connections and answers requests, within bounds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::{DefaultBodyLimit, Extension, Query, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response, Sse, sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use bramblegate_config::Public;
use futures_util::stream::{Stream, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

use crate::discovery;
use crate::follow::{Follower, Known};
use crate::history::Span;
use crate::live::{BEAT, Live, Sources};
use crate::metrics;
use crate::options::Options;
use crate::orders::{self, Desk};
use crate::page::{self, Access, Language};
use crate::plain;
use crate::sight::Sight;

/// Connections at the same time; more wait in the kernel's queue.
const CONNECTIONS: usize = 2048;
/// … from one address that is not the head's own.
const PER_ADDRESS: usize = 1100;
/// A request's head comes within this time, or not at all.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// What a request's head may be long, bytes.
const HEAD_SIZE: usize = 16 << 10;
/// What a form may be long, bytes.
const BODY: usize = 4 << 10;
/// A viewer that has taken nothing for so long is gone (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How programs call themselves that show what they get in a terminal.
const TERMINALS: [&str; 3] = ["curl/", "Wget/", "HTTPie/"];
/// Pause after accept(2) failed, as where there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// The page is its own files and nothing else: no script within it, no form elsewhere, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What every answer is made of.
#[derive(Debug, Clone)]
pub struct Site {
    pub follower: Follower,
    pub live: Live,
    pub sources: Sources,
    pub desk: Arc<Desk>,
    pub options: watch::Receiver<Arc<Options>>,
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
        self.sources.summaries.seen(self.follower.known(), sight)
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
        .layer(middleware::from_fn(guard))
        .with_state(site)
}

/// Answers at `listener` for as long as the process runs.
pub async fn serve(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let by_address = Arc::new(ByAddress::default());
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(guest) = ByAddress::admit(&by_address, peer) else { continue };
        let routes = routes.clone();
        tokio::spawn(async move {
            connection(stream, peer.ip(), routes).await;
            drop((place, guest));
        });
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, routes: Router) {
    // Without the limit a viewer that has gone without a word keeps its place for ever.
    if set_limits(&stream).is_err() {
        return;
    }
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.to_canonical()));
        routes.clone().call(request)
    });
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    // What a client sends wrong is its own matter.
    let _ = answered.await;
}

fn set_limits(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// How many connections there are from each address.
#[derive(Debug, Default)]
struct ByAddress(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts.
struct Guest(Arc<ByAddress>, IpAddr);

impl ByAddress {
    fn admit(this: &Arc<Self>, peer: SocketAddr) -> Option<Guest> {
        let address = peer.ip().to_canonical();
        let mut counts = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= PER_ADDRESS && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Guest(Arc::clone(this), address))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Refuses what only an attack asks, and gives every answer the headers of a page that stands
/// alone.
async fn guard(request: Request, next: Next) -> Response {
    let refused = if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        Some(StatusCode::METHOD_NOT_ALLOWED)
    } else if request.headers().get_all(header::HOST).iter().count() > 1 {
        Some(StatusCode::BAD_REQUEST)
    } else {
        None
    };
    let mut answer = match refused {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

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
        return StatusCode::FORBIDDEN.into_response();
    }
    request.extensions_mut().insert(sight);
    next.run(request).await
}

fn language(headers: &HeaderMap) -> Language {
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
            return StatusCode::FORBIDDEN.into_response();
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
    let headers =
        [(header::VARY, "Accept, Accept-Language"), (header::CONTENT_LANGUAGE, language.code())];
    (headers, Html(site.live.whole(language, sight, &access))).into_response()
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE)
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], page::SCRIPT)
}

#[derive(Debug, Deserialize)]
struct GroupQuery {
    #[serde(default)]
    group: String,
}

async fn nodes(
    State(site): State<Site>,
    Query(query): Query<GroupQuery>,
    Extension(sight): Extension<Sight>,
    headers: HeaderMap,
) -> Html<String> {
    let known = site.seen(sight);
    let words = language(&headers).words();
    let snapshot = known.snapshot.as_deref();
    Html(
        snapshot.map_or_else(String::new, |snapshot| {
            page::group(snapshot, &query.group, known.at, words)
        }),
    )
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
        Sight::Full => site.follower.lines(since).boxed(),
        _ => site.follower.snapshots(Arc::clone(&site.sources.summaries)).boxed(),
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
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    // A browser that reconnects names the last event that it took, whatever the address says.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let since = last.or(query.since.as_deref());
    let stream = site.live.events(language(&headers), sight, since).map(Ok);
    let stream = stream.take_until(site.other_sight());
    let beat = sse::Event::default().event("beat").data("");
    Sse::new(stream).keep_alive(sse::KeepAlive::new().interval(BEAT).event(beat))
}

async fn status(State(site): State<Site>, Extension(sight): Extension<Sight>) -> Response {
    match site.seen(sight).snapshot {
        Some(snapshot) => {
            let json = bramblegate_api::line(&*snapshot);
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Answers 200 while the daemon answers, else 503, with the reason.
async fn health(State(site): State<Site>) -> Response {
    match site.follower.known().lost {
        None => "ok\n".into_response(),
        Some((why, _)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
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
    match metrics::encode(&site.seen(sight), nodes_max, openmetrics) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct DiscoveryQuery {
    port: Option<u16>,
}

async fn discovered(
    State(site): State<Site>,
    Query(query): Query<DiscoveryQuery>,
    Extension(sight): Extension<Sight>,
) -> Response {
    // Nothing but addresses is in it.
    if sight != Sight::Full {
        return StatusCode::FORBIDDEN.into_response();
    }
    let known = site.follower.known();
    // An empty list would take every target away; Prometheus keeps the last list after a failure.
    let Some(snapshot) = known.snapshot else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    Json(discovery::targets(&snapshot, query.port)).into_response()
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
) -> Html<String> {
    let span = if query.span == "day" { Span::Day } else { Span::Hour };
    let words = language(&headers).words();
    Html(page::draw_plots(&site.sources.history, span, sight, words).into_string())
}
