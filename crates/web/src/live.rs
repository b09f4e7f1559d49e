//! Live updates of the page for its viewers.
//!
//! The page is rendered once for each language and sight with viewers and compared with the
//! previous rendering; the parts that differ are sent as one event to all viewers. A viewer that
//! reconnects gets the recent events that it missed (`Last-Event-ID`), or else every part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::feed::Feed;
use crate::heads::Heads;
use crate::history::{History, Span};
use crate::lock::lock;
use crate::logbook::Logbook;
use crate::page::{self, Access, Language, Parts, Scene};
use crate::ready::{Answer, Ready};
use crate::sight::{Sight, Summaries};

/// Changes within this time become one event.
const COALESCE: Duration = Duration::from_millis(80);
/// The maximum time between two events: after more than two of these, the page shows that it is
/// stale.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// How many recent events are kept for viewers that reconnect.
const RECENT: usize = 64;
/// How many events a slow viewer may lag before it gets every part instead.
const LAG: usize = 32;

/// What one event changes on the page.
#[derive(Debug, Default, Serialize)]
struct Update<'a> {
    /// The content of elements, by id.
    parts: Vec<(&'a str, &'a str)>,
    /// The elements of nodes, by name.
    nodes: Vec<(&'a str, &'a str)>,
    /// The names of removed nodes.
    gone: Vec<&'a str>,
    /// The layout of the nodes has changed: their elements are in the part "nodes".
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    layout: bool,
}

/// One serialized event, which all viewers share.
#[derive(Debug, Clone)]
struct Sent {
    id: u64,
    text: Bytes,
}

/// The page in one language for one sight, and its viewers.
#[derive(Debug)]
struct Channel {
    language: Language,
    sight: Sight,
    /// The index in [`Live::channels`].
    index: usize,
    state: Mutex<Drawn>,
    viewers: broadcast::Sender<Sent>,
}

/// The last rendering of a channel.
#[derive(Debug, Default)]
struct Drawn {
    parts: Parts,
    /// The generations of feed, heads and logbook that `parts` shows.
    generations: Option<[u64; 3]>,
    /// The id of the last event.
    id: u64,
    recent: VecDeque<Sent>,
    /// Every part in one event, cached.
    full_update: Option<Sent>,
    /// The time of the last event.
    sent: Option<Instant>,
    /// The cached page for viewers without a session: those that may not log in, and those that
    /// may.
    pages: [Ready; 2],
}

/// The sources of the page, besides the feed.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub history: History,
    pub heads: Heads,
    pub logbook: Logbook,
    pub summaries: Arc<Summaries>,
}

/// The page in all languages and sights.
#[derive(Debug, Clone)]
pub struct Live {
    feed: Feed,
    sources: Sources,
    channels: Arc<Vec<Channel>>,
    /// Distinguishes event ids of this process from those of an earlier one.
    run: u64,
}

impl Live {
    /// Returns the page; [`Self::run`] keeps it up to date.
    pub fn new(feed: Feed, sources: Sources, run: u64) -> Self {
        let pages = Language::ALL
            .into_iter()
            .flat_map(|language| Sight::SEEING.map(|sight| (language, sight)));
        let channels = pages
            .enumerate()
            .map(|(index, (language, sight))| Channel {
                language,
                sight,
                index,
                state: Mutex::default(),
                viewers: broadcast::channel(LAG).0,
            })
            .collect();
        Self { feed, sources, channels: Arc::new(channels), run }
    }

    /// Sends updates, and heartbeats while nothing changes, for as long as the process runs.
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
                heartbeat(channel, &mut drawn);
            }
            tokio::time::sleep(COALESCE).await;
            let changed = async {
                tokio::select! {
                    changed = changes.changed() => changed,
                    changed = heads.changed() => changed,
                    changed = lines.changed() => changed,
                }
            };
            if let Ok(Err(_)) = tokio::time::timeout(HEARTBEAT / 4, changed).await {
                return;
            }
        }
    }

    /// Returns the whole page, with the id of the last event that it includes.
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
        let [view, log_in] = pages;
        match access {
            Access::View => view.get((id, samples), make),
            Access::LogIn => log_in.get((id, samples), make),
            // It holds the CSRF token: neither cached, nor compressed together with foreign text
            // (CVE-2013-3587).
            Access::Order(_) => Answer::plain(make()),
        }
    }

    /// Returns the events after `since`, then new ones as they come, heartbeats included.
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
        let catch_up = channel.map(|channel| self.catch_up(channel, since)).unwrap_or_default();
        let index = channel.map(|channel| channel.index);
        let last = catch_up.last().map(|sent| sent.id).or(since).unwrap_or(0);
        let following =
            stream::unfold((live, receiver, last), move |(live, receiver, last)| async move {
                let mut receiver = receiver?;
                let channel = live.channels.get(index?)?;
                loop {
                    let sent = match receiver.recv().await {
                        // A heartbeat has the id of the event before it.
                        Ok(sent) if sent.id > last || sent.text == HEARTBEAT_TEXT => sent,
                        Ok(_) => continue,
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            live.full_update(channel, &mut lock(&channel.state))
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    let last = last.max(sent.id);
                    return Some((sent, (live.clone(), Some(receiver), last)));
                }
            });
        stream::iter(catch_up).chain(following).map(|sent| sent.text)
    }

    /// Returns the channel of a page; `None` for [`Sight::Nothing`].
    fn channel(&self, language: Language, sight: Sight) -> Option<&Channel> {
        let mut channels = self.channels.iter();
        channels.find(|channel| (channel.language, channel.sight) == (language, sight))
    }

    /// Returns the public id of an event, unique among processes and channels.
    fn name(&self, channel: &Channel, id: u64) -> String {
        format!("{:x}.{}-{id}", self.run, channel.index)
    }

    /// Returns the number in an event's public id; `None` for another process or channel.
    fn number(&self, channel: &Channel, name: &str) -> Option<u64> {
        let id = name.rsplit_once('-')?.1.parse().ok()?;
        (self.name(channel, id) == name).then_some(id)
    }

    /// Returns the events that a viewer missed after `since`, or a full update.
    fn catch_up(&self, channel: &Channel, since: Option<u64>) -> Vec<Sent> {
        let mut drawn = lock(&channel.state);
        self.draw(channel, &mut drawn);
        let newest = drawn.id;
        let oldest = drawn.recent.front().map_or(newest + 1, |sent| sent.id);
        match since {
            Some(since) if since == newest => Vec::new(),
            Some(since) if since < newest && since + 1 >= oldest => {
                drawn.recent.iter().filter(|sent| sent.id > since).cloned().collect()
            }
            _ => vec![self.full_update(channel, &mut drawn)],
        }
    }

    fn full_update(&self, channel: &Channel, drawn: &mut Drawn) -> Sent {
        if let Some(cached) = drawn.full_update.as_ref().filter(|cached| cached.id == drawn.id) {
            return cached.clone();
        }
        let update =
            Update { parts: drawn.parts.all().collect(), layout: true, ..Update::default() };
        let sent = self.sent(channel, drawn.id, &json(&update));
        drawn.full_update = Some(sent.clone());
        sent
    }

    /// Serializes an event (HTML, section 9.2.5); the JSON has no line break.
    fn sent(&self, channel: &Channel, id: u64, json: &str) -> Sent {
        let text = format!("id: {}\nevent: update\ndata: {json}\n\n", self.name(channel, id));
        Sent { id, text: text.into() }
    }

    /// Renders the page if a source has changed, and sends the difference.
    fn draw(&self, channel: &Channel, drawn: &mut Drawn) {
        let Sources { heads, logbook, summaries, .. } = &self.sources;
        // Read before the sources, so that a change in between causes another rendering.
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
        if drawn.recent.len() == RECENT {
            drawn.recent.pop_front();
        }
        drawn.recent.push_back(sent.clone());
        drawn.parts = parts;
        drawn.sent = Some(Instant::now());
        // Fails, harmlessly, without viewers.
        let _ = channel.viewers.send(sent);
    }
}

/// The heartbeat event.
const HEARTBEAT_TEXT: &[u8] = b"event: beat\ndata:\n\n";

/// Sends a heartbeat if no event was sent for long enough.
fn heartbeat(channel: &Channel, drawn: &mut Drawn) {
    // The loop runs every quarter of an interval: send one now, before it would be late.
    if drawn.sent.is_some_and(|sent| sent.elapsed() < HEARTBEAT * 3 / 4) {
        return;
    }
    drawn.sent = Some(Instant::now());
    let _ = channel.viewers.send(Sent { id: drawn.id, text: Bytes::from_static(HEARTBEAT_TEXT) });
}

/// Returns the update from `old` to `new`; `None` where they are equal.
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
    // Serializing lists of strings does not fail.
    serde_json::to_string(update).unwrap_or_default()
}
