//! Sends what has changed on the page to everybody who looks at it.
//!
//! The page is drawn once for each language that somebody reads, compared with what was drawn
//! before, and only parts that differ are sent, as one event for all viewers. The last events are
//! kept: a viewer that was away for a moment is given what it missed (`Last-Event-ID`), one that
//! was away longer is given every part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::follow::Follower;
use crate::history::{History, Span};
use crate::page::{self, Access, Language, Parts};
use crate::ready::{Answer, Ready};

/// Changes within this time are one event.
const COALESCE: Duration = Duration::from_millis(80);
/// A page that has heard nothing for longer than two of these says that it is stale.
pub const BEAT: Duration = Duration::from_secs(2);
/// Events kept for those who come back.
const KEPT: usize = 64;
/// Events that a slow viewer may be behind before it is given every part anew.
const BEHIND: usize = 32;

/// What one event changes on the page.
#[derive(Debug, Default, Serialize)]
struct Update<'a> {
    /// id of an element → what is in it
    parts: Vec<(&'a str, &'a str)>,
    /// name of a node → its element
    nodes: Vec<(&'a str, &'a str)>,
    /// names of nodes that are gone
    gone: Vec<&'a str>,
    /// the layout of the nodes has changed: their elements are in the part "nodes"
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    layout: bool,
}

/// One event as it goes to every viewer: written once, shared by all.
#[derive(Debug, Clone)]
struct Sent {
    id: u64,
    text: Bytes,
}

/// The page in one language, and who looks at it.
#[derive(Debug)]
struct Channel {
    language: Language,
    state: Mutex<Drawn>,
    viewers: broadcast::Sender<Sent>,
}

#[derive(Debug, Default)]
struct Drawn {
    parts: Parts,
    /// the follower's generation that `parts` shows
    generation: Option<u64>,
    /// number of the last event
    id: u64,
    kept: VecDeque<Sent>,
    /// every part in one event, where somebody has asked for it since the last one
    everything: Option<Sent>,
    /// when the last event was sent
    sent: Option<Instant>,
    /// the page as it is for those who may look, and for those who may log in
    pages: [Ready; 2],
}

/// All languages.
#[derive(Debug, Clone)]
pub struct Live {
    follower: Follower,
    history: History,
    channels: Arc<Vec<Channel>>,
    /// tells the ids of this process from those of the one before
    run: u64,
}

impl Live {
    /// Returns the page of a daemon; [`Self::run`] keeps it up to date.
    pub fn new(follower: Follower, history: History, run: u64) -> Self {
        let channels = Language::ALL
            .into_iter()
            .map(|language| Channel {
                language,
                state: Mutex::default(),
                viewers: broadcast::channel(BEHIND).0,
            })
            .collect();
        Self { follower, history, channels: Arc::new(channels), run }
    }

    /// Draws what changes, and sends beats while nothing does, for as long as the process runs.
    pub async fn run(self) {
        let mut changes = self.follower.changes();
        loop {
            for channel in
                self.channels.iter().filter(|channel| channel.viewers.receiver_count() > 0)
            {
                let mut drawn = lock(&channel.state);
                self.draw(channel, &mut drawn);
                beat(channel, &mut drawn);
            }
            tokio::time::sleep(COALESCE).await;
            let waited = tokio::time::timeout(BEAT / 4, changes.changed()).await;
            if let Ok(Err(_)) = waited {
                return;
            }
        }
    }

    /// Returns the whole page, with the number of the event that it holds everything of.
    pub fn whole(&self, language: Language, access: &Access) -> Answer {
        let Some(channel) = self.channels.iter().find(|channel| channel.language == language)
        else {
            return Answer::default();
        };
        let mut drawn = lock(&channel.state);
        self.draw(channel, &mut drawn);
        let (id, samples) = (drawn.id, self.history.taken());
        let Drawn { parts, pages, .. } = &mut *drawn;
        let make = || {
            let plots = page::draw_plots(&self.history, Span::Hour, language.words());
            page::whole(language, parts, &plots, access, &self.name(id))
        };
        let [look, log_in] = pages;
        match access {
            Access::View => look.get((id, samples), make),
            Access::LogIn => log_in.get((id, samples), make),
            // It holds a secret: it is kept nowhere, and not compressed together with texts of
            // others (CVE-2013-3587).
            Access::Order(_) => Answer::plain(make()),
        }
    }

    /// Returns the events after `since`, then those that come; with beats while nothing does.
    pub fn events(
        &self,
        language: Language,
        since: Option<&str>,
    ) -> impl Stream<Item = Bytes> + use<> {
        let live = self.clone();
        let place = self.channels.iter().position(|channel| channel.language == language);
        let since = since.and_then(|name| self.number(name));
        let receiver = place
            .and_then(|place| self.channels.get(place))
            .map(|channel| channel.viewers.subscribe());
        let missed = match place.and_then(|place| self.channels.get(place)) {
            Some(channel) => self.missed(channel, since),
            None => Vec::new(),
        };
        let last = missed.last().map(|sent| sent.id).or(since).unwrap_or(0);
        let begin = stream::iter(missed);
        let go_on =
            stream::unfold((live, receiver, last), move |(live, receiver, last)| async move {
                let mut receiver = receiver?;
                let channel = live.channels.get(place?)?;
                loop {
                    let sent = match receiver.recv().await {
                        // A beat has the number of the event before it.
                        Ok(sent) if sent.id > last || sent.text == BEAT_TEXT => sent,
                        Ok(_) => continue,
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            live.everything(&mut lock(&channel.state))
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    let last = last.max(sent.id);
                    return Some((sent, (live.clone(), Some(receiver), last)));
                }
            });
        begin.chain(go_on).map(|sent| sent.text)
    }

    fn name(&self, id: u64) -> String {
        format!("{:x}-{id}", self.run)
    }

    /// Returns the number in an event's name; `None` where another process made it.
    fn number(&self, name: &str) -> Option<u64> {
        let (run, id) = name.split_once('-')?;
        (u64::from_str_radix(run, 16).ok()? == self.run).then(|| id.parse().ok())?
    }

    /// Returns what a viewer that knows everything up to `since` has missed.
    fn missed(&self, channel: &Channel, since: Option<u64>) -> Vec<Sent> {
        let mut drawn = lock(&channel.state);
        self.draw(channel, &mut drawn);
        let newest = drawn.id;
        let oldest = drawn.kept.front().map_or(newest + 1, |sent| sent.id);
        match since {
            Some(since) if since == newest => Vec::new(),
            Some(since) if since < newest && since + 1 >= oldest => {
                drawn.kept.iter().filter(|sent| sent.id > since).cloned().collect()
            }
            _ => vec![self.everything(&mut drawn)],
        }
    }

    fn everything(&self, drawn: &mut Drawn) -> Sent {
        if let Some(known) = drawn.everything.as_ref().filter(|known| known.id == drawn.id) {
            return known.clone();
        }
        let update =
            Update { parts: drawn.parts.all().collect(), layout: true, ..Update::default() };
        let sent = self.sent(drawn.id, &json(&update));
        drawn.everything = Some(sent.clone());
        sent
    }

    /// Returns an event as it is sent (HTML, section 9.2.5); JSON has no line break.
    fn sent(&self, id: u64, json: &str) -> Sent {
        let text = format!("id: {}\nevent: update\ndata: {json}\n\n", self.name(id));
        Sent { id, text: text.into() }
    }

    /// Draws the page anew where something has changed, and sends what differs.
    fn draw(&self, channel: &Channel, drawn: &mut Drawn) {
        let generation = self.follower.generation();
        if drawn.generation == Some(generation) {
            return;
        }
        let parts = page::draw(channel.language, &self.follower.known(), &drawn.parts);
        drawn.generation = Some(generation);
        let Some(json) = difference(&drawn.parts, &parts) else { return };
        drawn.id += 1;
        let sent = self.sent(drawn.id, &json);
        if drawn.kept.len() == KEPT {
            drawn.kept.pop_front();
        }
        drawn.kept.push_back(sent.clone());
        drawn.parts = parts;
        drawn.sent = Some(Instant::now());
        // No viewer is no failure.
        let _ = channel.viewers.send(sent);
    }
}

/// An event that shows that the server is there.
const BEAT_TEXT: &[u8] = b"event: beat\ndata:\n\n";

/// Sends a beat where nothing else was sent for long enough.
fn beat(channel: &Channel, drawn: &mut Drawn) {
    // The loop comes by four times a beat: late by a quarter is late enough.
    if drawn.sent.is_some_and(|sent| sent.elapsed() < BEAT * 3 / 4) {
        return;
    }
    drawn.sent = Some(Instant::now());
    let _ = channel.viewers.send(Sent { id: drawn.id, text: Bytes::from_static(BEAT_TEXT) });
}

/// Returns the event that makes `new` of `old`; `None` where they are alike.
fn difference(old: &Parts, new: &Parts) -> Option<String> {
    let layout = old.layout != new.layout;
    let mut update = Update { layout, ..Update::default() };
    update.parts =
        new.all().filter(|(id, html)| *id != page::NODES && old.get(id) != Some(*html)).collect();
    if layout {
        update.parts.extend(new.all().filter(|(id, _)| *id == page::NODES));
    } else {
        update.nodes = new.nodes().filter(|(name, html)| old.node(name) != Some(*html)).collect();
        update.gone =
            old.nodes().map(|(name, _)| name).filter(|name| new.node(name).is_none()).collect();
    }
    let empty = update.parts.is_empty() && update.nodes.is_empty() && update.gone.is_empty();
    (!empty).then(|| json(&update))
}

fn json(update: &Update<'_>) -> String {
    // Texts in lists: writing them into memory does not fail.
    serde_json::to_string(update).unwrap_or_default()
}

fn lock(drawn: &Mutex<Drawn>) -> MutexGuard<'_, Drawn> {
    drawn.lock().unwrap_or_else(PoisonError::into_inner)
}
