//! The handlers of the page's forms: log-in, log-out and orders.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::Form;
use axum::extract::{Extension, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use bramblegate_api::client::ControlClient;
use bramblegate_api::control::{Order, Verb};
use bramblegate_api::printable::printable_line;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use crate::lock::lock;
use crate::log;
use crate::login::{self, COOKIE, Refused, Sessions};
use crate::options::Options;
use crate::page::{self, Access, Words};
use crate::serve::{HTML, Peer, Site, field, language};

/// Checks log-ins and sessions.
#[derive(Debug)]
pub struct Desk {
    /// Networks, the control socket, and the file with the password's hash, which is read at each
    /// log-in so that a new password applies at once.
    options: watch::Receiver<Arc<Options>>,
    sessions: Mutex<Sessions>,
    /// Notifies of log-outs.
    closed: watch::Sender<()>,
    /// Allows one password check at a time, since each takes 19 MiB.
    checking: Semaphore,
}

impl Desk {
    /// Returns a desk without open sessions.
    pub fn new(options: watch::Receiver<Arc<Options>>) -> Self {
        let (sessions, checking) = (Mutex::default(), Semaphore::new(1));
        Self { options, sessions, closed: watch::channel(()).0, checking }
    }

    /// Returns a receiver that wakes at each log-out.
    pub fn closed(&self) -> watch::Receiver<()> {
        self.closed.subscribe()
    }

    fn options(&self) -> Arc<Options> {
        Arc::clone(&self.options.borrow())
    }

    /// Returns whether an address may log in.
    pub fn admits(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        from.is_loopback() || self.options().admin_from.iter().any(|net| net.contains(&from))
    }

    /// Returns the CSRF token of the request's session; `None` without an open one.
    pub fn csrf(&self, headers: &HeaderMap, from: IpAddr) -> Option<String> {
        let token = session(headers).filter(|_| self.admits(from))?;
        self.sessions().csrf(token, Instant::now())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }
}

/// Returns the session's token from the request.
fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.filter_map(login::token).next()
}

/// Returns whether a form comes from a page of this server.
fn is_own_form(headers: &HeaderMap) -> bool {
    let origin = field(headers, header::ORIGIN).and_then(|origin| origin.parse::<Uri>().ok());
    let Some(origin) = origin else { return false };
    origin.authority().map(|authority| authority.as_str()) == field(headers, header::HOST)
}

// It holds a password, which must not be logged.
#[allow(missing_debug_implementations)]
#[derive(Deserialize)]
pub struct Login {
    #[serde(default)]
    password: String,
}

/// Checks the password and opens a session.
pub async fn log_in(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Form(form): Form<Login>,
) -> Response {
    let desk = &site.desk;
    if !desk.admits(peer) || !is_own_form(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match check(desk, peer, form.password).await {
        Ok(token) => {
            log::line(format_args!("{peer} has logged in"));
            let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Err(refused) => {
            // Nothing limits these two: a loop of requests would fill the journal.
            if !matches!(refused, Refused::TooMany | Refused::NoPassword) {
                log::line(format_args!("{peer} was not logged in: {refused}"));
            }
            let status = match refused {
                Refused::TooMany => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::FORBIDDEN,
            };
            let why = |words: &Words| match refused {
                Refused::NoPassword => words.no_password.to_owned(),
                Refused::Wrong => words.wrong_password.to_owned(),
                Refused::TooMany => words.too_many_tries.to_owned(),
                Refused::NoRandomness => refused.to_string(),
            };
            answer(&headers, status, &refused.to_string(), why, &Access::LogIn)
        }
    }
}

/// Returns the refusal of a form: as a page for a browser, else as `line`.
fn answer(
    headers: &HeaderMap,
    status: StatusCode,
    line: &str,
    why: impl FnOnce(&Words) -> String,
    access: &Access,
) -> Response {
    if !field(headers, header::ACCEPT).is_some_and(|accept| accept.contains("text/html")) {
        return (status, format!("{line}\n")).into_response();
    }
    let language = language(headers);
    let text = page::refused(language, &why(language.words()), access);
    (status, [(header::CONTENT_TYPE, HTML)], text).into_response()
}

/// Checks the password; returns the token of a new session.
async fn check(desk: &Arc<Desk>, from: IpAddr, password: String) -> Result<String, Refused> {
    let file = desk.options().password.clone();
    let hash = tokio::fs::read_to_string(file).await.map_err(|_| Refused::NoPassword)?;
    desk.sessions().begin_try(from, Instant::now())?;
    // The semaphore is never closed.
    let permit = desk.checking.acquire().await.map_err(|_| Refused::Wrong)?;
    let right = tokio::task::spawn_blocking(move || login::verify(&password, &hash)).await;
    drop(permit);
    if !right.unwrap_or(false) {
        return Err(Refused::Wrong);
    }
    desk.sessions().open(from, Instant::now())
}

/// Ends the session.
pub async fn log_out(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Some(token) = session(&headers).filter(|_| is_own_form(&headers)) {
        if site.desk.sessions().close(token) {
            log::line(format_args!("{peer} has logged out"));
            site.desk.closed.send_replace(());
        }
    }
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

// It holds a token, which must not be logged.
#[allow(missing_debug_implementations)]
#[derive(Deserialize)]
pub struct OrderForm {
    #[serde(default)]
    order: String,
    node: Option<String>,
    #[serde(default)]
    csrf: String,
}

/// Sends an order to the daemon.
pub async fn order(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Form(form): Form<OrderForm>,
) -> Response {
    let desk = &site.desk;
    let authentic = session(&headers)
        .is_some_and(|token| desk.sessions().may_order(token, &form.csrf, Instant::now()));
    if !authentic || !desk.admits(peer) || !is_own_form(&headers) {
        // Logged only with a session: without one, anyone could fill the journal.
        if desk.csrf(&headers, peer).is_some() {
            let shown = printable_line(&form.order);
            log::line(format_args!("{peer} ordered: {shown}: refused, not by a form of the page"));
        }
        // Mostly a page whose session has expired: offer the log-in.
        let access = if desk.admits(peer) { Access::LogIn } else { Access::View };
        let why = |words: &Words| words.logged_out.to_owned();
        return answer(&headers, StatusCode::FORBIDDEN, "not logged in", why, &access);
    }
    let node = form.node.filter(|node| !node.is_empty());
    let shown = format!("{} {}", form.order, node.as_deref().unwrap_or_default());
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == form.order);
    // The form's field is ignored for orders without a node.
    let node = node.filter(|_| verb.is_some_and(Verb::has_node));
    let Some(order) = verb.and_then(|verb| Order::new(verb, node)) else {
        let why = "this is not an order, or it needs a node";
        return answer(&headers, StatusCode::BAD_REQUEST, why, |_| why.to_owned(), &Access::View);
    };
    let control = desk.options().control.clone();
    let sent = tokio::task::spawn_blocking(move || {
        ControlClient::connect(&control).and_then(|mut client| client.send(&order))
    });
    let result = match sent.await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(format!("the daemon does not take orders: {error}")),
        Err(error) => Err(error.to_string()),
    };
    let outcome = result.as_ref().map_or_else(Clone::clone, |()| "done".to_owned());
    log::line(format_args!(
        "{peer} ordered: {}: {}",
        printable_line(shown.trim()),
        printable_line(&outcome)
    ));
    match result {
        Ok(()) => Redirect::to("/").into_response(),
        Err(why) => answer(&headers, StatusCode::CONFLICT, &why, |_| why.clone(), &Access::View),
    }
}
