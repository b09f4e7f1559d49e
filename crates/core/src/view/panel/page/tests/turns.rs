//! Property tests: any alerts on any display. The most severe alerts appear at once and for most of
//! the time, and everything else appears too.

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::story::{ETH1, Story};
use crate::decide;
use crate::decide::alert::{Alert, AlertCode, Severity, Subject};
use crate::event::Reachability;
use crate::panel::playlist::Rotation;
use crate::panel::{Frame, Geometry, Playlist};
use crate::view::panel::page::playlist;

const STEP: Duration = Duration::from_millis(200);
/// Steps in eight seconds, of which the address has six, less one step.
const EIGHT: usize = 40;
const SIX: usize = 29;
const SECOND: Duration = Duration::from_secs(1);
/// The ten-second limit, plus one sampling step.
const AWAY: Duration = Duration::from_millis(10_200);

/// Returns an alert in which each word begins with a unique mark.
fn alert(number: usize, severity: Severity, more: &str, acknowledged: bool) -> Alert {
    let words = std::iter::once("").chain(more.split_whitespace());
    let panel = words.map(|word| format!("#{number:02}{word}")).collect::<Vec<_>>().join(" ");
    let alert = Alert::new(AlertCode::NodeDown, Subject::Whole, panel.clone())
        .graded(severity)
        .shown_as(panel);
    Alert { acknowledged, ..alert }
}

fn severity() -> impl Strategy<Value = Severity> {
    prop_oneof![Just(Severity::Notice), Just(Severity::Warning), Just(Severity::Fault)]
}

fn alerts() -> impl Strategy<Value = Vec<Alert>> {
    let words = prop_oneof![Just(""), Just("down"), Just("CLAS H192"), Just("SWAP")];
    proptest::collection::vec((severity(), words, proptest::bool::weighted(0.2)), 0..12).prop_map(
        |all| {
            let numbered = all.into_iter().enumerate();
            sorted(
                numbered
                    .map(|(number, (severity, more, known))| alert(number, severity, more, known))
                    .collect(),
            )
        },
    )
}

/// Sorts as `decide::alert` does.
fn sorted(mut alerts: Vec<Alert>) -> Vec<Alert> {
    alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.text.cmp(&b.text)));
    alerts
}

fn venue() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("10.99.0.126/24"),
        Just("2001:db8:7::5054:ff:fe12:3456/64"),
        Just("10.0.0.1/24"),
        Just("")
    ]
}

fn story(address: &str) -> Story {
    let story = Story::new().port(ETH1, "eth1", true);
    if address.is_empty() {
        return story.node("rpi1", 1, true);
    }
    let gateway = if address.contains(':') { "fe80::1" } else { "10.99.0.1" };
    story
        .address(ETH1, address)
        .default_route(ETH1, gateway, 100)
        .reached(ETH1, Reachability::Online)
        .loaded()
}

/// Returns the playlist for these alerts.
fn played(story: &Story, geometry: Geometry, page_time: Duration, alerts: &[Alert]) -> Playlist {
    let mut settings = story.sized(&geometry.to_string());
    settings.lcd.page_time = page_time;
    let desired = decide::decide(&settings, &story.facts);
    playlist(&settings, &story.facts, &decide::Desired { alerts: alerts.to_vec(), ..desired })
}

/// What the display showed in one step.
#[derive(Debug)]
struct Seen {
    text: String,
    address: bool,
}

impl Seen {
    fn shows(&self, alert: &Alert) -> bool {
        self.text.contains(&alert.panel[..3])
    }
}

/// Returns the alerts that must appear first.
fn top_alerts(alerts: &[Alert]) -> Vec<&Alert> {
    let top = alerts.iter().filter(|alert| !alert.acknowledged).map(|alert| alert.severity).max();
    alerts.iter().filter(|alert| !alert.acknowledged && Some(alert.severity) == top).collect()
}

/// Returns whether the display has eight columns or one row: there the address has priority.
fn is_small(geometry: Geometry) -> bool {
    geometry.columns < 16 || geometry.rows == 1
}

/// Records what the display shows in each step.
struct Watch<'s> {
    rotation: Rotation,
    now: Duration,
    frames: Vec<Rc<Seen>>,
    last: Option<(Frame, Rc<Seen>)>,
    story: &'s Story,
    geometry: Geometry,
    page_time: Duration,
}

impl<'s> Watch<'s> {
    fn new(story: &'s Story, geometry: Geometry, page_time: Duration) -> Self {
        let now = 100 * SECOND;
        Self {
            rotation: Rotation::new(now),
            now,
            frames: Vec::new(),
            last: None,
            story,
            geometry,
            page_time,
        }
    }

    fn give(&mut self, alerts: &[Alert]) {
        self.rotation.update(played(self.story, self.geometry, self.page_time, alerts), self.now);
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.rotation.advance(self.now);
            let frame = self.rotation.frame().unwrap();
            let same = self
                .last
                .as_ref()
                .filter(|(last, _)| last == frame)
                .map(|(_, seen)| Rc::clone(seen));
            let seen = same.unwrap_or_else(|| Rc::new(self.see(frame)));
            self.last = Some((frame.clone(), Rc::clone(&seen)));
            self.frames.push(seen);
            self.now += STEP;
        }
    }

    /// Returns the longest time without any of these, in the frames from `from` on.
    fn away(&self, alerts: &[&Alert], from: usize) -> Duration {
        let (mut away, mut longest) = (Duration::ZERO, Duration::ZERO);
        for frame in &self.frames[from..] {
            away = if alerts.iter().any(|alert| frame.shows(alert)) {
                Duration::ZERO
            } else {
                away + STEP
            };
            longest = longest.max(away);
        }
        longest
    }

    fn see(&self, frame: &Frame) -> Seen {
        let lines = frame.lines();
        let part = lines[0].trim().split(' ').next().unwrap_or_default().to_owned();
        let address = self.story.facts.active().and_then(|active| active.address);
        let address = address
            .is_none_or(|address| !part.is_empty() && address.addr().to_string().contains(&part));
        Seen { text: lines.join("\n"), address }
    }

    /// Checks that the address has six of any eight seconds.
    fn address_comes_first(&self) -> Result<(), TestCaseError> {
        if !is_small(self.geometry) {
            return Ok(());
        }
        for window in self.frames.windows(EIGHT) {
            let seen = window.iter().filter(|seen| seen.address).count();
            prop_assert!(
                seen >= SIX,
                "{}: the address is seen for {seen} of {EIGHT} steps",
                self.geometry
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_most_severe_alerts_have_their_share_and_everything_is_seen(
        venue in venue(), place in 0..Geometry::ALL.len(), page_time in 1..20_u32, alerts in alerts()
    ) {
        let (story, geometry) = (story(venue), Geometry::ALL[place]);
        let mut watch = Watch::new(&story, geometry, page_time * SECOND);
        watch.give(&alerts);
        let cycle: Duration = watch_length(&played(&story, geometry, page_time * SECOND, &alerts));
        // A few seconds for each thing to show.
        let most = Duration::from_secs(300 + 60 * alerts.len() as u64);
        prop_assert!(cycle <= most, "{cycle:?}");
        watch.run((2 * cycle).max(20 * SECOND));
        watch.address_comes_first()?;
        for alert in &alerts {
            prop_assert!(watch.away(&[alert], 0) < 2 * cycle, "{geometry}: {alert:?} is never seen");
        }
        let top_alerts = top_alerts(&alerts);
        let Some(first) = top_alerts.first() else { return Ok(()) };
        prop_assert!(watch.away(&top_alerts, 0) <= AWAY, "{geometry} {page_time}: away for {:?}", watch.away(&top_alerts, 0));
        let steps = usize::try_from(cycle.as_millis() / STEP.as_millis()).unwrap().clamp(1, watch.frames.len());
        let window = &watch.frames[..steps];
        let guests = window.iter().filter(|seen| !is_small(geometry) || !seen.address).count();
        let seen = window.iter().filter(|seen| top_alerts.iter().any(|alert| seen.shows(alert))).count();
        // On a small display, half of the time that the address leaves.
        let all = guests.max(seen);
        let share = if first.severity == Severity::Notice { 33 } else { 49 };
        prop_assert!(seen * 100 >= all * share, "{geometry} {page_time}: {seen} of {all}: {alerts:?}");
    }

    #[test]
    fn a_new_most_severe_alert_is_seen_at_once(
        venue in venue(), place in 0..Geometry::ALL.len(), page_time in 1..20_u32, before in alerts(), steps in 1..400_u32
    ) {
        let (story, geometry) = (story(venue), Geometry::ALL[place]);
        let mut watch = Watch::new(&story, geometry, page_time * SECOND);
        watch.give(&before);
        watch.run(steps * STEP);
        let top = top_alerts(&before).first().map_or(Severity::Notice, |alert| alert.severity);
        let new = alert(99, top, "", false);
        let from = watch.frames.len();
        watch.give(&sorted([before, vec![new.clone()]].concat()));
        watch.run(20 * SECOND);
        watch.address_comes_first()?;
        let waits = watch.frames[from..].iter().take_while(|seen| !seen.shows(&new)).count();
        let waits = STEP * u32::try_from(waits).unwrap();
        let most = match (is_small(geometry), top) {
            // If the address has six of every eight seconds.
            (true, _) => 8 * SECOND,
            (false, Severity::Notice) => 5 * SECOND,
            (false, _) => SECOND,
        };
        prop_assert!(waits <= most, "{geometry}: after {waits:?}");
    }

    #[test]
    fn flapping_alerts_hide_neither_the_most_severe_nor_the_address(
        venue in venue(), place in 0..Geometry::ALL.len(), page_time in 1..20_u32,
        changes in proptest::collection::vec((alerts(), 1..40_u32), 1..40)
    ) {
        let (story, geometry) = (story(venue), Geometry::ALL[place]);
        let mut watch = Watch::new(&story, geometry, page_time * SECOND);
        let fault = alert(98, Severity::Fault, "", false);
        let mut from = 0;
        for (alerts, steps) in changes {
            // The fault stays; other, less severe alerts come and go.
            let others = alerts.into_iter().map(|alert| Alert { severity: alert.severity.min(Severity::Warning), ..alert });
            watch.give(&sorted(others.chain([fault.clone()]).collect()));
            from = if from == 0 { watch.frames.len() } else { from };
            watch.run(steps * STEP);
        }
        watch.address_comes_first()?;
        prop_assert!(watch.away(&[&fault], from) <= AWAY, "{geometry} {page_time}: {:?}", watch.away(&[&fault], from));
    }
}

/// Returns the time that all pages take.
fn watch_length(playlist: &Playlist) -> Duration {
    match playlist.pages.as_slice() {
        [_] => SECOND,
        pages => pages.iter().map(|page| page.dwell).sum(),
    }
}

/// Sixteen warnings of four seconds each: 64 s.
#[test]
fn a_fault_has_half_of_the_time_however_many_warnings_take_turns_with_it() {
    let story = story("10.99.0.126/24");
    let fault = alert(0, Severity::Fault, "down", false);
    let warnings = (1..=16).map(|number| alert(number, Severity::Warning, "CLAS H192", false));
    let alerts = sorted(std::iter::once(fault.clone()).chain(warnings).collect());
    for geometry in Geometry::ALL.into_iter().filter(|geometry| !is_small(*geometry)) {
        let mut watch = Watch::new(&story, geometry, 4 * SECOND);
        watch.give(&alerts);
        watch.run(300 * SECOND);
        let away = watch.away(&[&fault], 0);
        assert!(away <= AWAY, "{geometry}: the fault is away for {away:?}");
        let seen = watch.frames.iter().filter(|seen| seen.shows(&fault)).count();
        let all = watch.frames.len();
        assert!(seen * 100 >= all * 49, "{geometry}: the fault is seen in {seen} of {all} steps");
    }
}

#[test]
fn in_a_venue_without_ipv4_it_is_seen_within_five_seconds_that_the_nodes_are_offline() {
    for (geometry, address) in Geometry::ALL
        .into_iter()
        .flat_map(|g| [(g, "2001:db8:7::5054:ff:fe12:3456/64"), (g, "2001:db8::7/64")])
    {
        let story = story(address);
        let alerts =
            [Alert { panel: "NODES OFFLINE".into(), ..alert(1, Severity::Notice, "", false) }];
        let mut watch = Watch::new(&story, geometry, 4 * SECOND);
        watch.give(&alerts);
        watch.run(120 * SECOND);
        let seen: Vec<usize> = (0..watch.frames.len())
            .filter(|step| watch.frames[*step].text.contains("OFFLINE"))
            .collect();
        let first = STEP * u32::try_from(seen[0]).unwrap();
        if !is_small(geometry) {
            assert!(first <= 5 * SECOND, "{geometry} {address}: {first:?}");
            assert!(
                seen.len() * 100 >= watch.frames.len() * 33,
                "{geometry} {address}: {} of {}",
                seen.len(),
                watch.frames.len()
            );
        }
    }
}
