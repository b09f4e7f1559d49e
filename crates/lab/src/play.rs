//! Plays a venue's moments and checks its expectations.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bramblegate_api::status::Snapshot;

use super::file::{Check, Expect, Moment, Venue, attempt_in_words};
use super::shell::within;
use super::world::World;
use super::{Error, Result, watch, while_doing, wiring};

/// Follows the play: a test, or the demo.
pub trait Observer {
    /// Announces a step.
    fn caption(&mut self, text: &str);

    /// Reports that an expectation was met.
    fn seen(&mut self, sight: &Sight<'_>);

    /// Reports that an expectation was not met in time.
    fn missing(&mut self, words: &str);

    /// Is called regularly, with the current status if the daemon replies. Returns whether the play
    /// goes on.
    fn look(&mut self, world: &mut World, status: Option<&Snapshot>) -> bool;

    /// Returns whether the next moment may begin, since a user may still be reading.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Describes an expectation that was met.
#[derive(Debug)]
pub struct Sight<'s> {
    /// Its caption in the venue file.
    pub say: Option<&'s str>,
    pub expected: String,
    /// The actual values of the status and rows of the LCD.
    pub found: String,
    /// Time until it was met.
    pub after: Duration,
}

/// Plays all moments. With `in_time`, none begins before its time. Ends early if an expectation is
/// not met.
pub fn play(
    world: &mut World,
    venue: &Venue,
    in_time: bool,
    observer: &mut dyn Observer,
) -> Result<()> {
    let start = Instant::now();
    for moment in &venue.moments {
        while in_time && (start.elapsed() < moment.at || !observer.is_ready()) {
            if !glance(world, observer) {
                return Ok(());
            }
        }
        if !moment_of(world, moment, observer)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Plays the steps of a moment, then checks its expectations. Returns false if the observer left.
fn moment_of(world: &mut World, moment: &Moment, observer: &mut dyn Observer) -> Result<bool> {
    for step in &moment.steps {
        observer.caption(&step.say.clone().unwrap_or_else(|| step.action.to_string()));
        world.act(&step.action)?;
    }
    for (number, expect) in moment.expects.iter().enumerate() {
        match wait_for(world, expect, observer)? {
            Outcome::Seen(after) => observer.seen(&Sight {
                say: expect.say.as_deref(),
                expected: expect.to_string(),
                found: found(world, expect),
                after,
            }),
            Outcome::Left => return Ok(false),
            Outcome::Missing(missing) => {
                let text = format!("at {:?}, expectation {}: {missing}", moment.at, number + 1);
                observer.missing(&text);
                return Err(Error(text));
            }
        }
    }
    Ok(true)
}

/// The result of waiting for an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Met after this time.
    Seen(Duration),
    /// Timed out; what was unmet at the end.
    Missing(String),
    /// The observer left.
    Left,
}

fn wait_for(world: &mut World, expect: &Expect, observer: &mut dyn Observer) -> Result<Outcome> {
    wait_until(world, expect.within, expect.hold, &|world| unmet(world, expect), observer)
}

/// Waits at most `within` until `unmet` returns `None`, and does so for the time `hold`.
pub fn wait_until(
    world: &mut World,
    within: Duration,
    hold: Duration,
    unmet: &dyn Fn(&World) -> Option<String>,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let start = Instant::now();
    let mut since: Option<Instant> = None;
    loop {
        let missing = unmet(world);
        match (&missing, since) {
            (None, None) if hold.is_zero() => return Ok(Outcome::Seen(start.elapsed())),
            (None, None) => since = Some(Instant::now()),
            (None, Some(since)) if since.elapsed() >= hold => {
                return Ok(Outcome::Seen(start.elapsed()));
            }
            (None, Some(_)) => {}
            (Some(_), _) => since = None,
        }
        if let Some(missing) = missing.filter(|_| start.elapsed() > within) {
            return Ok(Outcome::Missing(missing));
        }
        if !glance(world, observer) {
            return Ok(Outcome::Left);
        }
    }
}

fn glance(world: &mut World, observer: &mut dyn Observer) -> bool {
    sleep(Duration::from_millis(40));
    let status = world.status().ok();
    observer.look(world, status.as_ref())
}

/// Returns the first unmet part of `expect`, in words; `None` if all of it is met.
pub fn unmet(world: &World, expect: &Expect) -> Option<String> {
    if needs_status(expect) {
        let status = match world.status() {
            Ok(status) => status,
            Err(error) => return Some(format!("no status: {error}")),
        };
        if let Some(missing) =
            unmet_status(&status, expect).or_else(|| unmet_panel(world, &status, expect))
        {
            return Some(missing);
        }
    }
    expect.checks.iter().find_map(|(place, works, check)| {
        let tried = attempt(world, place, check);
        match (tried, works) {
            (Ok(()), true) | (Err(_), false) => None,
            (Err(error), true) => Some(format!("from {place}: {check}: {error}")),
            (Ok(()), false) => Some(format!("from {place}: {check} works, and must not")),
        }
    })
}

/// Returns the actual values, in the order of [`Expect`]'s formatted parts.
fn found(world: &World, expect: &Expect) -> String {
    let mut words = Vec::new();
    if let Some(row) = expect.row1.as_ref().and_then(|_| world.glass().into_iter().next()) {
        words.push(format!("\"{}\" on the LCD", row.trim_end()));
    }
    match world.status() {
        Ok(status) => {
            let pairs = expect.status.iter();
            words.extend(pairs.map(|(path, _)| format!("{path} {}", watch::at(&status, path))));
            if expect.panel.is_some() {
                let rows = watch::lcd(&status);
                let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
                words.push(format!("\"{}\" on the LCD", rows.join(" | ")));
            }
            if !(expect.alerts.is_empty() && expect.no_alerts.is_empty()) {
                let texts: Vec<&str> = status.alerts.iter().map(|alert| &*alert.text).collect();
                words.push(match texts.as_slice() {
                    [] => "no alert".to_owned(),
                    texts => format!("the alert: {}", texts.join("; ")),
                });
            }
        }
        Err(_) if !needs_status(expect) => {}
        Err(error) => words.push(format!("no status: {error}")),
    }
    match expect.checks.as_slice() {
        [] => {}
        [check] => words.push(attempt_in_words(check)),
        checks => words.push(format!("all {} attempts as expected", checks.len())),
    }
    words.join(", ")
}

fn needs_status(expect: &Expect) -> bool {
    expect.row1.is_some()
        || expect.panel.is_some()
        || !expect.status.is_empty()
        || !expect.alerts.is_empty()
        || !expect.no_alerts.is_empty()
}

fn unmet_status(status: &Snapshot, expect: &Expect) -> Option<String> {
    for (path, wanted) in &expect.status {
        let found = watch::at(status, path);
        if !super::file::glob(wanted, &found) {
            return Some(format!("{path} is {found} instead of {wanted}"));
        }
    }
    let codes: Vec<&str> = status.alerts.iter().map(|alert| &*alert.code).collect();
    for wanted in &expect.alerts {
        if !codes.iter().any(|code| super::file::glob(wanted, code)) {
            return Some(format!("no alert {wanted} but {codes:?}"));
        }
    }
    for unwanted in &expect.no_alerts {
        if let Some(code) = codes.iter().find(|code| super::file::glob(unwanted, code)) {
            return Some(format!("the alert {code} stands, and must not"));
        }
    }
    None
}

fn unmet_panel(world: &World, status: &Snapshot, expect: &Expect) -> Option<String> {
    if expect.row1.is_none() && expect.panel.is_none() {
        return None;
    }
    let rows = watch::lcd(status);
    if let Some(wanted) = &expect.row1 {
        let row = rows.first().map(|line| line.trim_end()).unwrap_or_default();
        if !super::file::glob(wanted, row) {
            return Some(format!("row 1 is \"{row}\" instead of \"{wanted}\""));
        }
        // The LCD itself must show the same as the status.
        let glass = world.glass();
        let row = glass.first().map(|line| line.trim_end()).unwrap_or_default();
        if !super::file::glob(wanted, row) {
            return Some(format!("row 1 of the glass is \"{row}\" instead of \"{wanted}\""));
        }
    }
    let wanted = expect.panel.as_ref()?;
    let found = rows.iter().any(|line| super::file::glob(wanted, line.trim_end()));
    (!found).then(|| format!("the panel shows {rows:?}, not \"{wanted}\""))
}

/// Runs a check from one of the places.
pub fn attempt(world: &World, place: &str, check: &Check) -> Result<()> {
    let place = if place == "laptop" && !world.has_laptop() { "venue" } else { place };
    let head = world.head_address();
    let fill = |text: &str| -> Result<String> {
        match (&head, text.contains("HEAD")) {
            (_, false) => Ok(text.to_owned()),
            (Some(head), true) => Ok(text.replace("HEAD", head)),
            (None, true) => Err(Error("the head has no address".into())),
        }
    };
    let own = std::env::current_exe().map_err(while_doing("this program's file"))?;
    let own = own.to_string_lossy();
    let port = match place {
        "venue" => "lan0",
        _ => "eth0",
    };
    let resolver = world.resolver_of(place);
    let (Check::Ping(target)
    | Check::Arp(target)
    | Check::Tcp(target)
    | Check::Http(target, _)
    | Check::Name(target)) = check;
    let target = fill(target)?;
    let code;
    let (program, arguments) = match check {
        Check::Ping(_) => ("busybox", vec!["ping", "-c", "1", "-W", "1", &*target]),
        Check::Arp(_) => ("busybox", vec!["arping", "-c", "1", "-w", "1", "-I", port, &target]),
        Check::Tcp(_) => (&*own, vec!["venue-try", "tcp", &target, &resolver]),
        Check::Http(_, status) => {
            code = status.to_string();
            (&*own, vec!["venue-try", "http", &target, &code, &resolver])
        }
        Check::Name(_) => (&*own, vec!["venue-try", "name", &target, &resolver]),
    };
    let output = within(place, program)
        .args(arguments)
        .output()
        .map_err(while_doing(format!("cannot try {check}")))?;
    let answered = String::from_utf8_lossy(&output.stdout).contains(wiring::HEAD_MAC);
    if output.status.success() && (answered || !matches!(check, Check::Arp(_))) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error(if text.is_empty() { "no answer".to_owned() } else { text }))
}
