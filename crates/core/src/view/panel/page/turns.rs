//! The order and duration of the display's screens.
//!
//! The most severe alerts get at least half of the time that the address leaves, notices a third if
//! nothing is more severe. None of them is hidden for more than ten seconds, and every other alert
//! gets its turn. `tests/turns.rs` checks this for arbitrary sets of alerts.

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
const LONGEST_BESIDE: Duration = Duration::from_secs(4);
/// Number of pages per notice.
const PAGES_A_NOTICE: usize = 2;
/// Limit on other screens between two alerts; an alert with fewer screens is followed by as many
/// others.
const OTHERS: usize = 2;

/// The screens for the slots, in turn.
struct Screens {
    /// Lines for the slots, and whether they show one of the most severe alerts.
    turns: Vec<(Vec<String>, Role)>,
    /// The keys of the most severe alerts, and the index in `turns` where each first appears.
    gravest: Vec<(String, usize)>,
    /// No alert is more severe than a notice.
    calm: bool,
}

impl Scene<'_> {
    /// Returns a playlist with a permanent heading, and the pages in turn below it.
    pub(super) fn below(&self, geometry: Geometry, heading: &[String]) -> Playlist {
        let slots = room::slots(geometry, heading.len());
        let Screens { mut turns, gravest, .. } = self.screens(&slots);
        if turns.is_empty() {
            turns.push((Vec::new(), Role::Ordinary));
        }
        let longest = if gravest.is_empty() { Duration::MAX } else { LONGEST_BESIDE };
        let dwell = self.settings.lcd.page_time.min(longest);
        let page = |(lines, role): &(Vec<String>, Role)| {
            let mut frame = Frame::from_lines(geometry, heading);
            room::place(&mut frame, &slots, lines);
            Page { frame, dwell, role: *role }
        };
        Playlist { pages: turns.iter().map(page).collect(), gravest, ..Playlist::default() }
    }

    /// Returns a playlist for a heading that fills all rows, with the pages as guests in between.
    pub(super) fn beside(&self, geometry: Geometry, heading: &[Vec<String>]) -> Playlist {
        let keep = if geometry.columns < NARROW {
            0
        } else {
            usize::from(geometry.rows).saturating_sub(1)
        };
        let slots = room::slots(geometry, keep);
        let Screens { turns, gravest, calm } = self.screens(&slots);
        // Part of the address stays visible, so an alert may take as much time as the address.
        let shares = keep > 0 && !gravest.is_empty();
        let time = if shares { SHARED_TIME } else { ADDRESS_TIME };
        let address = parts(geometry, heading, time);
        let guest = |lines: &[String], dwell: Duration, role: Role| {
            let mut frame = Frame::blank(geometry);
            for (row, line) in heading.first().into_iter().flatten().take(keep).enumerate() {
                frame.write(row, 0, line);
            }
            room::place(&mut frame, &slots, lines);
            Page { frame, dwell, role }
        };
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
            for turn in visit {
                let Some((lines, role)) = turns.get(*turn) else { continue };
                let dwell = match (shares, *role) {
                    (true, Role::Alert) => SHARED_TIME,
                    (true, _) if calm => short,
                    (true, _) => SHARED_TIME,
                    (false, _) => short / share,
                };
                if let Some(first @ None) = first_page.get_mut(*turn) {
                    *first = Some(pages.len());
                }
                pages.push(guest(lines, dwell, *role));
            }
        }
        let gravest = gravest
            .into_iter()
            .map(|(key, turn)| (key, first_page.get(turn).copied().flatten().unwrap_or(0)));
        Playlist {
            pages,
            gravest: gravest.collect(),
            guest_limit: (!shares).then_some(short),
            ..Playlist::default()
        }
    }

    /// Returns the screens for the slots. Alerts pre-empt the pages, and share a screen with them
    /// if there is room.
    fn screens(&self, slots: &[Slot]) -> Screens {
        let top = self
            .alerts
            .iter()
            .filter(|alert| !alert.acknowledged)
            .map(|alert| alert.severity)
            .max();
        let top = top.unwrap_or(Severity::Ok);
        let calm = top < Severity::Warning;
        let is_urgent = |alert: &Alert| alert.severity >= Severity::Warning && !alert.acknowledged;
        let is_gravest = |alert: &Alert| alert.severity == top && !alert.acknowledged;
        let pages = || self.pages();
        let known = || self.alerts_where(|alert| alert.acknowledged);
        let gravest = self.alerts_where(is_gravest);
        if gravest.is_empty() {
            let all: Vec<Topic> = pages().into_iter().chain(self.alerts_where(|_| true)).collect();
            return Screens {
                turns: ordinary(topic::pack(&all, slots)),
                gravest: Vec::new(),
                calm: true,
            };
        }
        let keys: Vec<String> = self.shown(is_gravest).map(super::topic_key).collect();
        let (screens, firsts) = topic::pack_placed(&gravest, slots);
        // The most severe alerts are among the urgent ones, unless none is urgent.
        let all_urgent = (self.shown(is_urgent).count() != gravest.len())
            .then(|| topic::pack(&self.alerts_where(is_urgent), slots));
        let all_else = || pages().into_iter().chain(known()).collect::<Vec<Topic>>();
        let less = || {
            let is_less =
                |alert: &Alert| !alert.acknowledged && !is_urgent(alert) && !is_gravest(alert);
            self.alerts_where(is_less).into_iter().chain(all_else()).collect::<Vec<Topic>>()
        };
        let others = || self.alerts_where(|alert| !is_gravest(alert));
        let rest = || if calm { all_else() } else { others() };
        // Keep all urgent alerts on screen if that leaves room for others, else the most severe
        // only.
        for (packed, is_all) in [(all_urgent.as_ref().unwrap_or(&screens), true), (&screens, false)]
        {
            let [lines] = packed.as_slice() else { continue };
            if lines.len() < slots.len() {
                let rest = if is_all { less() } else { rest() };
                let mut beside = topic::pack(&rest, slots.get(lines.len()..).unwrap_or_default());
                if beside.is_empty() {
                    beside.push(Vec::new());
                }
                let turns = beside
                    .into_iter()
                    .map(|rest| (lines.iter().cloned().chain(rest).collect(), Role::Alert));
                let keys = keys.into_iter().map(|key| (key, 0)).collect();
                return Screens { turns: turns.collect(), gravest: keys, calm };
            }
        }
        if calm {
            return with_notices((keys, screens, firsts), topic::pack(&all_else(), slots));
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

/// The most severe alerts: keys, screens, and the index of each alert's first screen.
type Gravest = (Vec<String>, Vec<Vec<String>>, Vec<usize>);

/// Returns turns without any of the most severe alerts.
fn ordinary(screens: Vec<Vec<String>>) -> Vec<(Vec<String>, Role)> {
    screens.into_iter().map(|lines| (lines, Role::Ordinary)).collect()
}

/// Returns the most severe alerts and the others alternately, so that the former get at least half
/// of the time.
fn interleaved((keys, screens, firsts): Gravest, others: Vec<Vec<String>>) -> Screens {
    let units = units(&firsts, screens.len());
    let (mut turns, mut placed) = (Vec::new(), vec![0; screens.len()]);
    let (mut round, mut shown) = (0, 0);
    // Until all of both kinds have had their turn.
    while round < units.len()
        || (shown < others.len() || round % units.len().max(1) != 0) && !units.is_empty()
    {
        let unit = units.get(round % units.len().max(1)).cloned().unwrap_or_default();
        let room = unit.len().min(OTHERS);
        for screen in unit {
            let Some(lines) = screens.get(screen) else { continue };
            if round < units.len() {
                if let Some(place) = placed.get_mut(screen) {
                    *place = turns.len();
                }
            }
            turns.push((lines.clone(), Role::Alert));
        }
        for lines in others.iter().cycle().skip(shown).take(room) {
            turns.push((lines.clone(), Role::Ordinary));
            shown += 1;
        }
        round += 1;
    }
    Screens { turns, gravest: at(keys, &firsts, &placed), calm: false }
}

/// Returns page, notice, page, and so on, so that notices get a third of the time.
fn with_notices((keys, screens, firsts): Gravest, pages: Vec<Vec<String>>) -> Screens {
    let units = units(&firsts, screens.len());
    let rounds = pages.len().div_ceil(PAGES_A_NOTICE).next_multiple_of(units.len().max(1));
    let (mut turns, mut placed) = (Vec::new(), vec![0; screens.len()]);
    let mut pages = pages.iter().cycle();
    for round in 0..rounds.max(units.len()) {
        turns.extend(pages.next().map(|lines| (lines.clone(), Role::Ordinary)));
        for screen in units.get(round % units.len().max(1)).cloned().into_iter().flatten() {
            let Some(lines) = screens.get(screen) else { continue };
            if round < units.len() {
                if let Some(place) = placed.get_mut(screen) {
                    *place = turns.len();
                }
            }
            turns.push((lines.clone(), Role::Alert));
        }
        turns.extend(pages.next().map(|lines| (lines.clone(), Role::Ordinary)));
    }
    Screens { turns, gravest: at(keys, &firsts, &placed), calm: true }
}

/// Returns the ranges of consecutive screens that belong to one alert.
fn units(firsts: &[usize], screens: usize) -> Vec<std::ops::Range<usize>> {
    let mut begins = firsts.to_vec();
    begins.dedup();
    let ends = begins.iter().skip(1).copied().chain([screens]);
    begins.iter().copied().zip(ends).map(|(begin, end)| begin..end).collect()
}

/// Returns each alert's key with its position among the turns.
fn at(keys: Vec<String>, firsts: &[usize], placed: &[usize]) -> Vec<(String, usize)> {
    keys.into_iter()
        .zip(firsts.iter().map(|first| placed.get(*first).copied().unwrap_or(0)))
        .collect()
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
fn paired(turns: &[(Vec<String>, Role)]) -> Vec<Vec<usize>> {
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
fn shared(turns: &[(Vec<String>, Role)], calm: bool) -> Vec<Vec<usize>> {
    let pairs = paired(turns);
    let again = |pair: Vec<usize>| match pair.as_slice() {
        [alert, other] if !calm => vec![*alert, *other, *alert],
        _ => pair,
    };
    pairs.into_iter().map(again).collect()
}
