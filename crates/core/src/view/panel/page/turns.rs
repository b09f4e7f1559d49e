//! The order and duration of the display's screens.
//!
//! The most severe alerts get at least half of the time that the address leaves, notices a third if
//! nothing is more severe. None of them is hidden for more than ten seconds, and every other alert
//! gets its turn. `tests/turns.rs` checks this for arbitrary sets of alerts.

use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use super::room::{self, Slot};
use super::topic::{self, Topic};
use super::{PAGES, Scene, host, words};
use crate::decide::alert::{Alert, Severity};
use crate::panel::{Frame, Geometry, Page, Playlist, Role};

/// If the address fills the display it is shown for this long …
const ADDRESS_TIME: Duration = Duration::from_secs(6);
/// … before a guest screen is shown for at most this long.
const GUEST_TIME: Duration = Duration::from_secs(2);
/// If an address fills even a wide display (IPv6), it and the alerts are shown for this long in
/// turn.
const SHARED_TIME: Duration = Duration::from_secs(4);
/// On displays with fewer columns a guest gets all rows, otherwise only the last one.
const NARROW: u8 = 16;
/// Upper limit of a page's time beside alerts, whatever `lcd.page_time` is: even with two pages
/// between its turns an alert is hidden for less than ten seconds.
const MAX_BESIDE_ALERT: Duration = Duration::from_secs(4);
/// Number of pages per notice.
const PAGES_PER_NOTICE: usize = 2;
/// Limit on other screens between two alerts; an alert with fewer screens is followed by as many
/// others.
const MAX_OTHERS: usize = 2;

/// Lines for the slots, and whether they show one of the most severe alerts.
type Turn = (Vec<String>, Role);

/// The screens for the slots, in turn.
struct Screens {
    turns: Vec<Turn>,
    /// The keys of the most severe alerts, and the index in `turns` where each first appears.
    top_alerts: Vec<(String, usize)>,
    /// No alert is more severe than a notice.
    calm: bool,
}

impl Scene<'_> {
    /// Returns a playlist with a permanent heading, and the pages in turn below it.
    pub(super) fn below(&self, geometry: Geometry, heading: &[String]) -> Playlist {
        let slots = room::slots(geometry, heading.len());
        let Screens { mut turns, top_alerts, .. } = self.screens(&slots);
        if turns.is_empty() {
            turns.push((Vec::new(), Role::Ordinary));
        }
        let longest = if top_alerts.is_empty() { Duration::MAX } else { MAX_BESIDE_ALERT };
        let dwell = self.settings.lcd.page_time.min(longest);
        let pages = turns.iter().map(|turn| page(geometry, heading, &slots, turn, dwell));
        Playlist { pages: pages.collect(), top_alerts, ..Playlist::default() }
    }

    /// Returns a playlist for a heading that fills all rows, with the pages as guests in between.
    pub(super) fn beside(&self, geometry: Geometry, heading: &[Vec<String>]) -> Playlist {
        let keep = if geometry.columns < NARROW {
            0
        } else {
            usize::from(geometry.rows).saturating_sub(1)
        };
        let slots = room::slots(geometry, keep);
        let Screens { turns, top_alerts, calm } = self.screens(&slots);
        // Part of the address stays visible, so an alert may take as much time as the address.
        let shares = keep > 0 && !top_alerts.is_empty();
        let time = if shares { SHARED_TIME } else { ADDRESS_TIME };
        let address = parts(geometry, heading, time);
        let rows = heading.first().map_or(&[][..], Vec::as_slice);
        let kept = rows.get(..keep).unwrap_or(rows);
        let short = self.settings.lcd.page_time.min(GUEST_TIME);
        let visits: Vec<Vec<usize>> = if shares { shared(&turns, calm) } else { paired(&turns) };
        if visits.is_empty() {
            return Playlist { pages: address.concat(), ..Playlist::default() };
        }
        let mut pages = Vec::new();
        let mut first_page = vec![None; turns.len()];
        let rounds = visits.len().max(address.len()).next_multiple_of(address.len().max(1));
        for round in 0..rounds {
            pages.extend(address.get(round % address.len().max(1)).into_iter().flatten().cloned());
            let Some(visit) = visits.get(round % visits.len()) else { continue };
            let share = u32::try_from(visit.len()).unwrap_or(1).max(1);
            for index in visit {
                let Some(turn) = turns.get(*index) else { continue };
                let dwell = if !shares {
                    short / share
                } else if calm && turn.1 != Role::Alert {
                    short
                } else {
                    SHARED_TIME
                };
                if let Some(first) = first_page.get_mut(*index) {
                    first.get_or_insert(pages.len());
                }
                pages.push(page(geometry, kept, &slots, turn, dwell));
            }
        }
        let top_alerts = top_alerts
            .into_iter()
            .map(|(key, turn)| (key, first_page.get(turn).copied().flatten().unwrap_or(0)));
        Playlist {
            pages,
            top_alerts: top_alerts.collect(),
            guest_limit: (!shares).then_some(short),
            ..Playlist::default()
        }
    }

    /// Returns the screens for the slots. Alerts pre-empt the pages, and share a screen with them
    /// if there is room.
    fn screens(&self, slots: &[Slot]) -> Screens {
        let new = self.alerts.iter().filter(|alert| !alert.acknowledged);
        let top = new.map(|alert| alert.severity).max().unwrap_or(Severity::Ok);
        let calm = top < Severity::Warning;
        let is_urgent = |alert: &Alert| alert.severity >= Severity::Warning && !alert.acknowledged;
        let is_top = |alert: &Alert| alert.severity == top && !alert.acknowledged;
        let top_alerts = self.alerts_where(is_top);
        if top_alerts.is_empty() {
            let alerts = self.alerts_where(|_| true);
            let all: Vec<Topic> = self.pages().into_iter().chain(alerts).collect();
            return Screens {
                turns: ordinary(topic::pack(&all, slots)),
                top_alerts: Vec::new(),
                calm: true,
            };
        }
        let keys: Vec<String> = self.shown(is_top).map(super::topic_key).collect();
        let (screens, firsts) = topic::pack_placed(&top_alerts, slots);
        // The most severe alerts are among the urgent ones, unless none is urgent.
        let all_urgent = (self.shown(is_urgent).count() != top_alerts.len())
            .then(|| topic::pack(&self.alerts_where(is_urgent), slots));
        let background = || {
            let acknowledged = self.alerts_where(|alert| alert.acknowledged);
            self.pages().into_iter().chain(acknowledged).collect::<Vec<Topic>>()
        };
        let less_severe = || {
            let is_less =
                |alert: &Alert| !alert.acknowledged && !is_urgent(alert) && !is_top(alert);
            self.alerts_where(is_less).into_iter().chain(background()).collect::<Vec<Topic>>()
        };
        let others = || self.alerts_where(|alert| !is_top(alert));
        let rest = || if calm { background() } else { others() };
        // Keep all urgent alerts on screen if that leaves room for others, else the most severe
        // only.
        for (packed, is_all) in [(all_urgent.as_ref().unwrap_or(&screens), true), (&screens, false)]
        {
            let [lines] = packed.as_slice() else { continue };
            if lines.len() < slots.len() {
                let rest = if is_all { less_severe() } else { rest() };
                let mut beside = topic::pack(&rest, slots.get(lines.len()..).unwrap_or_default());
                if beside.is_empty() {
                    beside.push(Vec::new());
                }
                let turns = beside
                    .into_iter()
                    .map(|rest| (lines.iter().cloned().chain(rest).collect(), Role::Alert));
                let keys = keys.into_iter().map(|key| (key, 0)).collect();
                return Screens { turns: turns.collect(), top_alerts: keys, calm };
            }
        }
        if calm {
            return with_notices((keys, screens, firsts), topic::pack(&background(), slots));
        }
        interleaved((keys, screens, firsts), topic::pack(&others(), slots))
    }

    /// Returns the topics of all pages. Beside an IPv6 address, which users rarely type, the host
    /// name that replaces it comes first.
    fn pages(&self) -> Vec<Topic> {
        let long = self.active.as_ref().and_then(|active| active.address);
        let named = matches!(long, Some(IpNet::V6(_))) && host::announced(self).is_some();
        let (first, rest): (Vec<_>, Vec<_>) =
            PAGES.iter().partition(|(name, _)| named && *name == "host");
        first.into_iter().chain(rest).flat_map(|(_, page)| page(self)).collect()
    }

    /// Returns the panel texts of these alerts.
    fn alerts_where(&self, wanted: impl Fn(&Alert) -> bool) -> Vec<Topic> {
        self.shown(wanted).map(|alert| Topic::Text(alert.panel.clone())).collect()
    }

    /// Returns these alerts, without those whose text row 1 shows.
    fn shown(&self, wanted: impl Fn(&Alert) -> bool) -> impl Iterator<Item = &Alert> {
        let active = self.active.as_ref();
        let addressed = active.is_some_and(|active| active.address.is_some());
        let words = if addressed { "" } else { words::no_address(active) };
        let alerts = self.alerts.iter().filter(move |alert| wanted(alert));
        alerts.filter(move |alert| !alert.panel.is_empty() && alert.panel != words)
    }
}

/// Returns a page with the heading in the top rows and a turn's lines in the slots.
fn page(
    geometry: Geometry,
    heading: &[String],
    slots: &[Slot],
    (lines, role): &Turn,
    dwell: Duration,
) -> Page {
    let mut frame = Frame::from_lines(geometry, heading);
    room::place(&mut frame, slots, lines);
    Page { frame, dwell, role: *role }
}

/// The most severe alerts: keys, screens, and the index of each alert's first screen.
type TopAlerts = (Vec<String>, Vec<Vec<String>>, Vec<usize>);

/// Returns turns without any of the most severe alerts.
fn ordinary(screens: Vec<Vec<String>>) -> Vec<Turn> {
    screens.into_iter().map(|lines| (lines, Role::Ordinary)).collect()
}

/// Returns the most severe alerts and the others alternately, so that the former get at least half
/// of the time.
fn interleaved((keys, screens, firsts): TopAlerts, others: Vec<Vec<String>>) -> Screens {
    let units = units(&firsts, screens.len());
    let (mut turns, mut placed) = (Vec::new(), vec![None; screens.len()]);
    let (mut round, mut shown) = (0, 0);
    // Until all of both kinds have had their turn.
    while round < units.len()
        || (shown < others.len() || round % units.len().max(1) != 0) && !units.is_empty()
    {
        let unit = units.get(round % units.len().max(1)).cloned().unwrap_or_default();
        let room = unit.len().min(MAX_OTHERS);
        push_alert(unit, &screens, &mut turns, &mut placed);
        for lines in others.iter().cycle().skip(shown).take(room) {
            turns.push((lines.clone(), Role::Ordinary));
            shown += 1;
        }
        round += 1;
    }
    Screens { turns, top_alerts: at(keys, &firsts, &placed), calm: false }
}

/// Returns page, notice, page, and so on, so that notices get a third of the time.
fn with_notices((keys, screens, firsts): TopAlerts, pages: Vec<Vec<String>>) -> Screens {
    let units = units(&firsts, screens.len());
    let rounds = pages.len().div_ceil(PAGES_PER_NOTICE).next_multiple_of(units.len().max(1));
    let (mut turns, mut placed) = (Vec::new(), vec![None; screens.len()]);
    let mut pages = pages.iter().cycle();
    for round in 0..rounds.max(units.len()) {
        turns.extend(pages.next().map(|lines| (lines.clone(), Role::Ordinary)));
        let unit = units.get(round % units.len().max(1)).cloned().unwrap_or_default();
        push_alert(unit, &screens, &mut turns, &mut placed);
        turns.extend(pages.next().map(|lines| (lines.clone(), Role::Ordinary)));
    }
    Screens { turns, top_alerts: at(keys, &firsts, &placed), calm: true }
}

/// Appends the screens of one alert, and records in `placed` where each first appears.
fn push_alert(
    unit: Range<usize>,
    screens: &[Vec<String>],
    turns: &mut Vec<Turn>,
    placed: &mut [Option<usize>],
) {
    let places = placed.iter_mut().zip(screens).skip(unit.start).take(unit.len());
    for (place, lines) in places {
        place.get_or_insert(turns.len());
        turns.push((lines.clone(), Role::Alert));
    }
}

/// Returns the ranges of consecutive screens that belong to one alert.
fn units(firsts: &[usize], screens: usize) -> Vec<Range<usize>> {
    let mut begins = firsts.to_vec();
    begins.dedup();
    let ends = begins.iter().skip(1).copied().chain([screens]);
    begins.iter().copied().zip(ends).map(|(begin, end)| begin..end).collect()
}

/// Returns each alert's key with its position among the turns.
fn at(keys: Vec<String>, firsts: &[usize], placed: &[Option<usize>]) -> Vec<(String, usize)> {
    let place = |first: &usize| placed.get(*first).copied().flatten().unwrap_or(0);
    keys.into_iter().zip(firsts.iter().map(place)).collect()
}

/// Returns the pages of the address in groups that take `time` each. Each part of a long address
/// takes at least two seconds, so the parts may be spread over several groups.
fn parts(geometry: Geometry, heading: &[Vec<String>], time: Duration) -> Vec<Vec<Page>> {
    let most = usize::try_from(time.as_secs() / GUEST_TIME.as_secs()).unwrap_or(1).max(1);
    let groups = heading.len().div_ceil(most).max(1);
    let size = heading.len().div_ceil(groups).max(1);
    heading.chunks(size).map(|parts| group(geometry, parts, time)).collect()
}

/// Returns the pages of some parts, which share `time`.
fn group(geometry: Geometry, parts: &[Vec<String>], time: Duration) -> Vec<Page> {
    let dwell = time / u32::try_from(parts.len()).unwrap_or(1).max(1);
    let page = |rows: &Vec<String>| Page {
        frame: Frame::from_lines(geometry, rows),
        dwell,
        role: Role::Address,
    };
    parts.iter().map(page).collect()
}

/// Returns the screens of each visit between two turns of the address, which is limited to a
/// quarter of the time: each of the most severe alerts' screens paired with another one.
fn paired(turns: &[Turn]) -> Vec<Vec<usize>> {
    let of = |role: Role| {
        (0..turns.len()).filter(move |turn| turns.get(*turn).is_some_and(|(_, r)| *r == role))
    };
    let (alerts, others): (Vec<usize>, Vec<usize>) =
        (of(Role::Alert).collect(), of(Role::Ordinary).collect());
    if alerts.is_empty() || others.is_empty() {
        return (0..turns.len()).map(|turn| vec![turn]).collect();
    }
    // The turns repeat the alerts among the others; this many visits show all of both.
    let visits = alerts.len().max(others.len());
    let pair = |visit: usize| {
        let alert = alerts.get(visit % alerts.len()).copied();
        alert.into_iter().chain(others.get(visit % others.len()).copied()).collect()
    };
    (0..visits).map(pair).collect()
}

/// Returns the screens of each visit if the address shares the display with alerts: an alert, then
/// possibly another screen and the alert again; or a notice and a page.
fn shared(turns: &[Turn], calm: bool) -> Vec<Vec<usize>> {
    let pairs = paired(turns);
    let again = |pair: Vec<usize>| match pair.as_slice() {
        [alert, other] if !calm => vec![*alert, *other, *alert],
        _ => pair,
    };
    pairs.into_iter().map(again).collect()
}
