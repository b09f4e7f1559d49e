//! Alerts of the head itself.

use super::alert;
use crate::config::Settings;
use crate::event::{Applied, Output, in_words};
use crate::policy::alert::{Alert, Severity};
use crate::state::State;

/// What each part of [`crate::state::Trouble::pressure`] is, what helps, and the words for the panel.
const PRESSURE: [(&str, &str, &str); 3] = [
    ("the processor", "see what runs: top", "BUSY"),
    ("memory", "see who takes it: ps aux --sort=-rss | head", "MEMORY BUSY"),
    ("the disk", "see who writes: sudo iotop -o", "DISK BUSY"),
];

/// Texts hold the limit and not the figure: that is in the status, and a figure that moves would be news each time.
pub fn alerts(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let (limits, trouble) = (&settings.vitals, state.vitals().trouble);
    let percent = |limit: Option<u8>| limit.unwrap_or(0);
    let mut warn = |stands: bool, code: &'static str, text: String, panel: &str| {
        if stands {
            raised.push(alert(Severity::Warning, code, text, panel));
        }
    };
    warn(
        trouble.under_voltage,
        "host-under-voltage",
        "the head's supply sags below what the board needs: use a stronger power supply and a short, thick cable"
            .to_owned(),
        "LOW VOLT",
    );
    warn(
        // Without enough voltage it is slowed down as well: one cause, one alert.
        trouble.throttled && !trouble.under_voltage,
        "host-throttled",
        "the firmware slows the head's processor down: cool it better (vcgencmd get_throttled shows why)".to_owned(),
        "THROTTLED",
    );
    warn(
        trouble.hot,
        "host-temperature",
        format!("the head is hotter than {} degrees: give it air, or a fan", limits.temperature),
        "HOT",
    );
    warn(
        trouble.memory,
        "host-memory",
        format!(
            "less than {} % of the head's memory is available: see who takes it: ps aux --sort=-rss | head",
            percent(limits.memory)
        ),
        "LOW MEMORY",
    );
    warn(
        trouble.disk,
        "host-disk",
        format!(
            "less than {} % of the root file system is free: see what fills it: sudo du -xh / | sort -h | tail",
            percent(limits.disk)
        ),
        "DISK FULL",
    );
    warn(
        trouble.inodes,
        "host-inodes",
        format!(
            "less than {} % of the root file system's inodes are free: too many small files: sudo du --inodes -x / | sort -n | tail",
            percent(limits.disk)
        ),
        "INODES FULL",
    );
    for (stands, (what, remedy, panel)) in trouble.pressure.into_iter().zip(PRESSURE) {
        let text =
            format!("tasks waited for {what} for more than {} % of a minute: {remedy}", percent(limits.pressure));
        warn(stands, "host-pressure", text, panel);
    }
    let hanging = &state.vitals().hanging;
    if !hanging.is_empty() {
        let text = format!(
            "reading {} gets no answer, so it is not watched: a driver or device hangs (dmesg shows which); it is watched again when it answers",
            hanging.join(" and ")
        );
        raised.push(alert(Severity::Warning, "host-sensor", text, "SENSOR HANGS"));
    }
    read_only_and_clock(state, raised);
    kept_from_us(state, raised);
}

/// What this machine keeps from us: the right to probe, and room for what is to be remembered.
fn kept_from_us(state: &State, raised: &mut Vec<Alert>) {
    let denied = &state.vitals().denied_probes;
    if !denied.is_empty() {
        let kinds: Vec<&str> = denied.iter().map(String::as_str).collect();
        let text = format!(
            "CAP_NET_RAW is missing, so nothing can be asked by {}: start the gateway by its service, or as root",
            kinds.join(" and ")
        );
        raised.push(alert(Severity::Warning, "host-no-net-raw", text, "NO PROBES"));
    }
    if let Some(Applied::Link { unkept: Some(why) }) = state.outputs().held(Output::Link) {
        let text = format!("{}: how the ports were before is known to this run only", in_words(why));
        raised.push(alert(Severity::Notice, "host-state", text, "STATE NOT KEPT"));
    }
}

fn read_only_and_clock(state: &State, raised: &mut Vec<Alert>) {
    let trouble = state.vitals().trouble;
    if trouble.read_only {
        let text = "the root file system has become read-only: the card or disk is failing; save what is on it, see dmesg, and replace it";
        raised.push(alert(Severity::Fault, "host-read-only", text, "DISK READONLY"));
    }
    if trouble.clock_unset {
        let text =
            "the head's clock is not set yet: certificates look invalid until a time server answers (timedatectl)";
        raised.push(alert(Severity::Notice, "host-clock", text, "CLOCK UNSET"));
    }
}
