//! Log-in and orders by the page's forms.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

use crate::log;
use crate::login::{self, COOKIE, Refused, Sessions};
use crate::options::Options;
use crate::page::{self, Access, Words};
use crate::serve::{HTML, Peer, Site, language};

/// Who may log in, with what, and where orders go.
#[derive(Debug)]
pub struct Desk {
    /// who may log in, by which password's hash (read at each log-in, so that a new one counts at
    /// once), and the control socket
    options: watch::Receiver<Arc<Options>>,
    sessions: Mutex<Sessions>,
    /// somebody has logged out
    closed: watch::Sender<()>,
    /// one password is checked at a time: each takes 19 MiB
    checking: Semaphore,
}

impl Desk {
    /// Returns a desk without sessions.
    pub fn new(options: watch::Receiver<Arc<Options>>) -> Self {
        let (sessions, checking) = (Mutex::default(), Semaphore::new(1));
        Self { options, sessions, closed: watch::channel(()).0, checking }
    }

    /// Returns a receiver that wakes when somebody has logged out.
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

    /// Returns the token for the forms of a page that is asked for by an open session.
    pub fn csrf(&self, headers: &HeaderMap, from: IpAddr) -> Option<String> {
        let token = session(headers).filter(|_| self.admits(from))?;
        self.sessions().csrf(token, Instant::now())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing is done under the lock that could leave it half made.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.filter_map(login::token).next()
}

/// Returns whether a form was sent by a page of this very server.
fn is_own_form(headers: &HeaderMap) -> bool {
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = field(header::ORIGIN).and_then(|origin| origin.parse::<Uri>().ok()) else {
        return false;
    };
    origin.authority().map(|authority| authority.as_str()) == field(header::HOST)
}

// It holds a password: nothing may show it.
#[allow(missing_debug_implementations)]
#[derive(Deserialize)]
pub struct Login {
    #[serde(default)]
    password: String,
}

/// Opens a session for who knows the password.
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
            // These two are not bounded: a loop of requests would fill the journal.
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

/// Returns why a form was refused: as a page for a browser, else as `line`.
fn answer(
    headers: &HeaderMap,
    status: StatusCode,
    line: &str,
    why: impl FnOnce(&Words) -> String,
    access: &Access,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if !accept.is_some_and(|accept| accept.contains("text/html")) {
        return (status, format!("{line}\n")).into_response();
    }
    let language = language(headers);
    let text = page::refused(language, &why(language.words()), access);
    (status, [(header::CONTENT_TYPE, HTML)], text).into_response()
}

/// Returns the token of a new session.
async fn check(desk: &Arc<Desk>, from: IpAddr, password: String) -> Result<String, Refused> {
    let file = desk.options().password.clone();
    let kept = tokio::fs::read_to_string(file).await.map_err(|_| Refused::NoPassword)?;
    desk.sessions().begin_try(from, Instant::now())?;
    // The semaphore is never closed.
    let place = desk.checking.acquire().await.map_err(|_| Refused::Wrong)?;
    let right = tokio::task::spawn_blocking(move || login::verify(&password, &kept)).await;
    drop(place);
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

// It holds a token: nothing may show it.
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
    let known = session(&headers)
        .is_some_and(|token| desk.sessions().may_order(token, &form.csrf, Instant::now()));
    if !known || !desk.admits(peer) || !is_own_form(&headers) {
        // Who has no session could fill the journal.
        if desk.csrf(&headers, peer).is_some() {
            let shown = printable_line(&form.order);
            log::line(format_args!("{peer} ordered: {shown}: refused, not by a form of the page"));
        }
        // A page that lay open for too long, most often: it shows the log-in.
        let access = if desk.admits(peer) { Access::LogIn } else { Access::View };
        let why = |words: &Words| words.logged_out.to_owned();
        return answer(&headers, StatusCode::FORBIDDEN, "not logged in", why, &access);
    }
    let node = form.node.filter(|node| !node.is_empty());
    let shown = format!("{} {}", form.order, node.as_deref().unwrap_or_default());
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == form.order);
    // An order for all has no node, whatever stands in the form's field.
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
