use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::ButtonChip;

fn buttons(path: PathBuf) -> Buttons {
    Buttons {
        chip: ButtonChip::Emulator(path),
        next: Some(17),
        acknowledge: Some(27),
        power: Some(22),
        active_low: true,
    }
}

/// Waits for the next event; fails after five seconds.
async fn next_event(events: &mut mpsc::Receiver<Event>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
    event.expect("no event").expect("the watch has ended")
}

#[tokio::test]
async fn presses_of_each_button_are_reported_through_a_fifo() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("file");
    let (sender, mut events) = mpsc::channel(8);
    let (plan, seen) = watch::channel(None);
    let source = tokio::spawn(run(sender, seen));
    plan.send(Some(buttons(path.clone()))).unwrap();
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut fifo = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // A press pulls the line to ground. It bounces; line 4 is no button, malformed lines are
    // skipped.
    fifo.write_all(b"1000000 17 0\n2000000 17 1\n3000000 17 0\n3000000 4 0\nrubbish\n").unwrap();
    assert_eq!(next_event(&mut events).await, Event::Button(Button::Next));
    fifo.write_all(b"500000000 17 1\n600000000 27 0\n700000000 27 1\n").unwrap();
    assert_eq!(next_event(&mut events).await, Event::Order(Order::Acknowledge));
    fifo.write_all(b"900000000 22 0\n").unwrap();
    assert_eq!(next_event(&mut events).await, Event::Button(Button::Power { held: true }));
    fifo.write_all(b"1900000000 22 1\n").unwrap();
    assert_eq!(next_event(&mut events).await, Event::Button(Button::Power { held: false }));
    // Without buttons in the settings the lines are released.
    plan.send(None).unwrap();
    drop(plan);
    let ended = tokio::time::timeout(Duration::from_secs(5), source).await.unwrap().unwrap();
    assert!(Closed::is_cause_of(&ended.unwrap_err()));
    assert!(events.try_recv().is_err(), "another event");
}

#[test]
fn a_missing_chip_is_named_in_the_error() {
    let settings =
        Buttons { chip: ButtonChip::Gpio("pinctrl-nowhere".to_owned()), ..buttons(PathBuf::new()) };
    let Err(error) = Lines::open(&settings) else { panic!("it was opened") };
    assert!(error.to_string().contains("pinctrl-nowhere"), "{error}");
}
