//! Sends what has changed on the page to everybody who looks at it.
//!
//! The page is drawn once for each language and sight that somebody has, compared with what was drawn
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

use crate::feed::Feed;
use crate::heads::Heads;
use crate::history::{History, Span};
use crate::logbook::Logbook;
use crate::page::{self, Access, Language, Parts, Scene};
use crate::ready::{Answer, Ready};
use crate::sight::{Sight, Summaries};

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

/// The page in one language for one sight, and who looks at it.
#[derive(Debug)]
struct Channel {
    language: Language,
    sight: Sight,
    /// its place among all
    place: usize,
    state: Mutex<Drawn>,
    viewers: broadcast::Sender<Sent>,
}

#[derive(Debug, Default)]
struct Drawn {
    parts: Parts,
    /// the generations of the daemon, the heads and the logbook that `parts` shows
    generations: Option<[u64; 3]>,
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

/// What the page is drawn of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub history: History,
    pub heads: Heads,
    pub logbook: Logbook,
    pub summaries: Arc<Summaries>,
}

/// All languages and sights.
#[derive(Debug, Clone)]
pub struct Live {
    feed: Feed,
    sources: Sources,
    channels: Arc<Vec<Channel>>,
    /// keeps the ids of this process apart from those of the one before
    run: u64,
}

impl Live {
    /// Returns the page of a daemon; [`Self::run`] keeps it up to date.
    pub fn new(feed: Feed, sources: Sources, run: u64) -> Self {
        let pages = Language::ALL
            .into_iter()
            .flat_map(|language| Sight::SEEING.map(|sight| (language, sight)));
        let channels = pages
            .enumerate()
            .map(|(place, (language, sight))| Channel {
                language,
                sight,
                place,
                state: Mutex::default(),
                viewers: broadcast::channel(BEHIND).0,
            })
            .collect();
        Self { feed, sources, channels: Arc::new(channels), run }
    }

    /// Draws what changes, and sends beats while nothing does, for as long as the process runs.
    pub async fn run(self) {
        let mut changes = self.feed.changes();
        let mut heads = self.sources.heads.changes();
        let mut lines = self.sources.logbook.changes();
        loop {
            for channel in
                self.channels.iter().filter(|channel| channel.viewers.receiver_count() > 0)
            {
                let mut drawn = lock(&channel.state);
                self.draw(channel, &mut drawn);
                beat(channel, &mut drawn);
            }
            tokio::time::sleep(COALESCE).await;
            let changed = async {
                tokio::select! {
                    changed = changes.changed() => changed,
                    changed = heads.changed() => changed,
                    changed = lines.changed() => changed,
                }
            };
            if let Ok(Err(_)) = tokio::time::timeout(BEAT / 4, changed).await {
                return;
            }
        }
    }

    /// Returns the whole page, with the number of the event that it holds everything of.
    pub fn whole(&self, language: Language, sight: Sight, access: &Access) -> Answer {
        let Some(channel) = self.channel(language, sight) else {
            return Answer::plain(page::closed(language, access));
        };
        let mut drawn = lock(&channel.state);
        self.draw(channel, &mut drawn);
        let (id, samples) = (drawn.id, self.sources.history.taken());
        let Drawn { parts, pages, .. } = &mut *drawn;
        let make = || {
            let history = &self.sources.history;
            let plots = page::draw_plots(history, Span::Hour, sight, language.words());
            page::whole(language, parts, &plots, access, &self.name(channel, id))
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
        sight: Sight,
        since: Option<&str>,
    ) -> impl Stream<Item = Bytes> + use<> {
        let live = self.clone();
        let channel = self.channel(language, sight);
        let since = since.and_then(|name| self.number(channel?, name));
        let receiver = channel.map(|channel| channel.viewers.subscribe());
        let missed = channel.map(|channel| self.missed(channel, since)).unwrap_or_default();
        let place = channel.map(|channel| channel.place);
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
                            live.everything(channel, &mut lock(&channel.state))
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    let last = last.max(sent.id);
                    return Some((sent, (live.clone(), Some(receiver), last)));
                }
            });
        begin.chain(go_on).map(|sent| sent.text)
    }

    /// Returns the channel of a page; none for those who see nothing.
    fn channel(&self, language: Language, sight: Sight) -> Option<&Channel> {
        let mut channels = self.channels.iter();
        channels.find(|channel| (channel.language, channel.sight) == (language, sight))
    }

    /// Returns the name of a channel's event: of this process, and of no other channel.
    fn name(&self, channel: &Channel, id: u64) -> String {
        format!("{:x}.{}-{id}", self.run, channel.place)
    }

    /// Returns the number in an event's name; `None` where another process or channel made it.
    fn number(&self, channel: &Channel, name: &str) -> Option<u64> {
        let id = name.rsplit_once('-')?.1.parse().ok()?;
        (self.name(channel, id) == name).then_some(id)
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
            _ => vec![self.everything(channel, &mut drawn)],
        }
    }

    fn everything(&self, channel: &Channel, drawn: &mut Drawn) -> Sent {
        if let Some(known) = drawn.everything.as_ref().filter(|known| known.id == drawn.id) {
            return known.clone();
        }
        let update =
            Update { parts: drawn.parts.all().collect(), layout: true, ..Update::default() };
        let sent = self.sent(channel, drawn.id, &json(&update));
        drawn.everything = Some(sent.clone());
        sent
    }

    /// Returns an event as it is sent (HTML, section 9.2.5); JSON has no line break.
    fn sent(&self, channel: &Channel, id: u64, json: &str) -> Sent {
        let text = format!("id: {}\nevent: update\ndata: {json}\n\n", self.name(channel, id));
        Sent { id, text: text.into() }
    }

    /// Draws the page anew where something has changed, and sends what differs.
    fn draw(&self, channel: &Channel, drawn: &mut Drawn) {
        let Sources { heads, logbook, summaries, .. } = &self.sources;
        // Before what is read: what comes in between is drawn again.
        let generations = [self.feed.generation(), heads.generation(), logbook.generation()];
        if drawn.generations == Some(generations) {
            return;
        }
        let known = summaries.seen(self.feed.known(), channel.sight);
        // The journal names nodes.
        let full = channel.sight == Sight::Full;
        let entries = if full { logbook.entries() } else { Vec::new() };
        let scene = Scene { known: &known, heads: &heads.known(), entries: &entries };
        let parts = page::draw(channel.language, &scene, &drawn.parts);
        drawn.generations = Some(generations);
        let Some(json) = difference(&drawn.parts, &parts) else { return };
        drawn.id += 1;
        let sent = self.sent(channel, drawn.id, &json);
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
