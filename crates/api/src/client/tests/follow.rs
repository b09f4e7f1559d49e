//! The follower, against daemons that answer, end, restart or hang.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Place, SNAPSHOT};
use crate::client::{Follower, Step};
use crate::status::NodeHealth;

/// The deadline of every wait in these tests.
const SOON: Duration = Duration::from_secs(10);
const NEVER: Duration = Duration::from_secs(3600);

fn snapshot() -> String {
    SNAPSHOT.replace('\n', " ") + "\n"
}

/// Accepts a client and sends it the state.
fn accept(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(snapshot().as_bytes()).unwrap();
    stream
}

fn follow(place: &Place, refresh: Duration) -> (Follower, Receiver<Step>) {
    let (sender, steps) = channel();
    let follower = Follower::start(place.0.clone(), refresh, move |_, step| {
        let _ = sender.send(step);
    });
    (follower.unwrap(), steps)
}

/// Waits for a step; skips others before it.
fn until(steps: &Receiver<Step>, wanted: impl Fn(&Step) -> bool) -> Step {
    let end = Instant::now() + SOON;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let step = steps.recv_timeout(left).expect("the step comes");
        if wanted(&step) {
            return step;
        }
    }
}

#[test]
fn lines_are_known_before_they_are_reported_by_their_numbers() {
    let place = Place::new("follow-lines");
    let listener = UnixListener::bind(&place.0).unwrap();
    let (follower, steps) = follow(&place, NEVER);
    let mut daemon = accept(&listener);
    assert_eq!(until(&steps, |_| true), Step::Begun);
    let first = follower.known();
    assert!(first.live().is_some() && first.at.is_some(), "{first:?}");
    let change = r#"{"schema":1,"type":"change","seq":1,"nodes":[{"name":"rpi2","health":"up"}]}"#;
    daemon.write_all(format!("{change}\n").as_bytes()).unwrap();
    assert_eq!(until(&steps, |_| true), Step::Line { seq: 1, text: change.to_owned() });
    let known = follower.known();
    assert!(known.generation > first.generation);
    let nodes = &known.live().unwrap().nodes;
    assert_eq!(nodes[1].health.known(), Some(NodeHealth::Up));
}

/// Its last state stays available, marked as stale.
#[test]
fn a_daemon_that_ends_is_lost_until_it_is_back() {
    let place = Place::new("follow-back");
    let listener = UnixListener::bind(&place.0).unwrap();
    let (follower, steps) = follow(&place, NEVER);
    drop((accept(&listener), listener));
    until(&steps, |step| *step == Step::Lost);
    let known = follower.known();
    assert!(known.live().is_none() && known.snapshot.is_some(), "{known:?}");
    let since = known.lost.unwrap().1;
    // Its socket file still exists, then it is removed: two reasons of one absence.
    std::fs::remove_file(&place.0).unwrap();
    let end = Instant::now() + SOON;
    while !follower.known().lost.is_some_and(|(why, _)| why.contains("No such file")) {
        assert!(Instant::now() < end, "{:?}", follower.known().lost);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(follower.known().lost.unwrap().1, since);
    let listener = UnixListener::bind(&place.0).unwrap();
    let _daemon = accept(&listener);
    until(&steps, |step| *step == Step::Begun);
    assert!(follower.known().live().is_some());
}

#[test]
fn a_snapshot_in_between_brings_what_causes_no_line() {
    let place = Place::new("follow-refresh");
    let listener = UnixListener::bind(&place.0).unwrap();
    let (follower, steps) = follow(&place, Duration::from_millis(50));
    let _daemon = accept(&listener);
    let later = snapshot().replace("\"rtt_us\":1234", "\"rtt_us\":77").replace("fault", "ok");
    listener.accept().unwrap().0.write_all(later.as_bytes()).unwrap();
    until(&steps, |step| *step == Step::Refreshed);
    let known = follower.known();
    let known = known.live().unwrap();
    assert_eq!(known.nodes[1].rtt_us, Some(77));
    assert_eq!(known.severity, crate::status::Severity::Fault, "a line reports that");
}

#[test]
fn a_daemon_that_hangs_is_lost_soon() {
    let place = Place::new("follow-hangs");
    let listener = UnixListener::bind(&place.0).unwrap();
    let (follower, steps) = follow(&place, Duration::from_millis(50));
    let _daemon = accept(&listener);
    until(&steps, |step| *step == Step::Begun);
    // It accepts the next connection, and sends nothing on either.
    until(&steps, |step| *step == Step::Lost);
    assert!(follower.known().live().is_none());
}

#[test]
fn a_follower_that_is_dropped_leaves_the_daemon() {
    let place = Place::new("follow-dropped");
    let listener = UnixListener::bind(&place.0).unwrap();
    let (follower, steps) = follow(&place, Duration::from_millis(50));
    let _daemon = accept(&listener);
    until(&steps, |step| *step == Step::Begun);
    drop(follower);
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(snapshot().as_bytes());
        }
    });
    let end = Instant::now() + SOON;
    while steps.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {
        assert!(Instant::now() < end, "it goes on");
    }
    assert!(Instant::now() < end, "the thread has ended, and its end of the channel with it");
}
