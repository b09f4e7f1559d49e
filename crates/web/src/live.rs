//! Sends what has changed on the page to everybody who looks at it.
//!
//! The page is drawn once for each language and sight that somebody has, compared with what was drawn
//! before, and only parts that differ are sent, as one event for all viewers. The last events are
//! kept: a viewer that was away for a moment is given what it missed (`Last-Event-ID`), one that
//! was away longer is given every part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse;
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::follow::Follower;
use crate::heads::Heads;
use crate::history::{History, Span};
use crate::logbook::Logbook;
use crate::page::{self, Access, Language, Parts, Scene};
use crate::sight::{Sight, Summaries};

/// Changes within this time are one event.
const COALESCE: Duration = Duration::from_millis(150);
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

/// One event as it goes to every viewer.
#[derive(Debug)]
struct Sent {
    id: u64,
    data: String,
}

/// The page in one language for one sight, and who looks at it.
#[derive(Debug)]
struct Channel {
    language: Language,
    sight: Sight,
    state: Mutex<Drawn>,
    viewers: broadcast::Sender<Arc<Sent>>,
}

#[derive(Debug, Default)]
struct Drawn {
    parts: Parts,
    /// number of the last event
    id: u64,
    kept: VecDeque<Arc<Sent>>,
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
    follower: Follower,
    sources: Sources,
    channels: Arc<Vec<Channel>>,
    /// tells the ids of this process from those of the one before
    run: u64,
}

impl Live {
    /// Returns the page of a daemon; [`Self::run`] keeps it up to date.
    pub fn new(follower: Follower, sources: Sources, run: u64) -> Self {
        let pages = Language::ALL
            .into_iter()
            .flat_map(|language| Sight::SEEING.map(|sight| (language, sight)));
        let channels = pages
            .map(|(language, sight)| Channel {
                language,
                sight,
                state: Mutex::default(),
                viewers: broadcast::channel(BEHIND).0,
            })
            .collect();
        Self { follower, sources, channels: Arc::new(channels), run }
    }

    /// Draws what changes, for as long as the process runs.
    pub async fn run(self) {
        let mut changes = self.follower.changes();
        let mut heads = self.sources.heads.changes();
        let mut lines = self.sources.logbook.changes();
        loop {
            for channel in
                self.channels.iter().filter(|channel| channel.viewers.receiver_count() > 0)
            {
                self.draw(channel);
            }
            tokio::time::sleep(COALESCE).await;
            let changed = tokio::select! {
                changed = changes.changed() => changed,
                changed = heads.changed() => changed,
                changed = lines.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Returns the whole page, with the number of the event that it holds everything of.
    pub fn whole(&self, language: Language, sight: Sight, access: &Access) -> String {
        let place = self.place(language, sight);
        let Some((place, channel)) =
            place.and_then(|place| Some((place, self.channels.get(place)?)))
        else {
            return page::closed(language, access);
        };
        let (parts, id) = self.draw(channel);
        let plots = page::draw_plots(&self.sources.history, Span::Hour, sight, language.words());
        page::whole(language, &parts, &plots, access, &self.name(place, id))
    }

    /// Returns the events after `since`, then those that come; with beats while nothing does.
    pub fn events(
        &self,
        language: Language,
        sight: Sight,
        since: Option<&str>,
    ) -> impl Stream<Item = sse::Event> + use<> {
        let live = self.clone();
        let place = self.place(language, sight);
        let since = since.and_then(|name| self.number(place?, name));
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
                    match receiver.recv().await {
                        Ok(sent) if sent.id > last => {
                            let id = sent.id;
                            return Some((sent, (live.clone(), Some(receiver), id)));
                        }
                        Ok(_) => {}
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            let whole = live.everything(channel);
                            let id = whole.id;
                            return Some((whole, (live.clone(), Some(receiver), id)));
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    }
                }
            });
        let named = self.clone();
        begin.chain(go_on).map(move |sent| {
            let name = named.name(place.unwrap_or_default(), sent.id);
            sse::Event::default().id(name).event("update").data(&sent.data)
        })
    }

    fn place(&self, language: Language, sight: Sight) -> Option<usize> {
        let wanted = |channel: &Channel| (channel.language, channel.sight) == (language, sight);
        self.channels.iter().position(wanted)
    }

    /// Returns the name of a channel's event: of this process, and of no other channel.
    fn name(&self, place: usize, id: u64) -> String {
        format!("{:x}.{place}-{id}", self.run)
    }

    /// Returns the number in an event's name; `None` where another process or channel made it.
    fn number(&self, place: usize, name: &str) -> Option<u64> {
        let id = name.rsplit_once('-')?.1.parse().ok()?;
        (self.name(place, id) == name).then_some(id)
    }

    /// Returns what a viewer that knows everything up to `since` has missed.
    fn missed(&self, channel: &Channel, since: Option<u64>) -> Vec<Arc<Sent>> {
        let (_, newest) = self.draw(channel);
        let drawn = lock(&channel.state);
        let oldest = drawn.kept.front().map_or(newest + 1, |sent| sent.id);
        match since {
            Some(since) if since == newest => Vec::new(),
            Some(since) if since < newest && since + 1 >= oldest => {
                drawn.kept.iter().filter(|sent| sent.id > since).cloned().collect()
            }
            _ => {
                drop(drawn);
                vec![self.everything(channel)]
            }
        }
    }

    fn everything(&self, channel: &Channel) -> Arc<Sent> {
        let drawn = lock(&channel.state);
        let update =
            Update { parts: drawn.parts.all().collect(), layout: true, ..Update::default() };
        Arc::new(Sent { id: drawn.id, data: json(&update) })
    }

    /// Draws the page anew, sends what differs; returns it with the number of the last event.
    fn draw(&self, channel: &Channel) -> (Parts, u64) {
        let known = self.sources.summaries.seen(self.follower.known(), channel.sight);
        // The journal names nodes.
        let full = channel.sight == Sight::Full;
        let entries = if full { self.sources.logbook.entries() } else { Vec::new() };
        let scene = Scene { known: &known, heads: &self.sources.heads.known(), entries: &entries };
        let mut drawn = lock(&channel.state);
        let parts = page::draw(channel.language, &scene, &drawn.parts);
        let update = difference(&drawn.parts, &parts);
        if let Some(data) = update {
            drawn.id += 1;
            let sent = Arc::new(Sent { id: drawn.id, data });
            if drawn.kept.len() == KEPT {
                drawn.kept.pop_front();
            }
            drawn.kept.push_back(Arc::clone(&sent));
            drawn.parts = parts;
            // No viewer is no failure.
            let _ = channel.viewers.send(sent);
        }
        (drawn.parts.clone(), drawn.id)
    }
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
