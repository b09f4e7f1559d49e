//! Alerts of the head itself.

use super::raise::alert;
use crate::config::Settings;
use crate::decide::alert::{Alert, AlertCode, Part, Subject};
use crate::event::{Applied, Output, in_words};
use crate::facts::State;

/// What each part of [`crate::facts::Trouble::pressure`] is, and what helps.
const PRESSURE: [(Part, &str, &str); 3] = [
    (Part::Processor, "the processor", "see what runs: top"),
    (Part::Memory, "memory", "see who takes it: ps aux --sort=-rss | head"),
    (Part::Disk, "the disk", "see who writes: sudo iotop -o"),
];

/// Texts hold the limit and not the figure: that is in the status, and a figure that moves would be
/// news each time.
pub fn alerts(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let (limits, trouble) = (&settings.vitals, state.vitals().trouble);
    let percent = |limit: Option<u8>| limit.unwrap_or(0);
    let mut warn = |stands: bool, code: AlertCode, what: String| {
        if stands {
            raised.push(alert(code, what));
        }
    };
    let supply = "the head's supply sags below what the board needs";
    warn(trouble.under_voltage, AlertCode::HostUnderVoltage, supply.to_owned());
    // Without enough voltage it is slowed down as well: one cause, one alert.
    let throttled = trouble.throttled && !trouble.under_voltage;
    warn(
        throttled,
        AlertCode::HostThrottled,
        "the firmware slows the head's processor down".to_owned(),
    );
    let hot = format!("the head is hotter than {} degrees", limits.temperature);
    warn(trouble.hot, AlertCode::HostTemperature, hot);
    let memory =
        format!("less than {} % of the head's memory is available", percent(limits.memory));
    warn(trouble.memory, AlertCode::HostMemory, memory);
    let disk = format!("less than {} % of the root file system is free", percent(limits.disk));
    warn(trouble.disk, AlertCode::HostDisk, disk);
    let inodes =
        format!("less than {} % of the root file system's inodes are free", percent(limits.disk));
    warn(trouble.inodes, AlertCode::HostInodes, inodes);
    for (stands, (part, what, remedy)) in trouble.pressure.into_iter().zip(PRESSURE) {
        if stands {
            let share = percent(limits.pressure);
            let text =
                format!("tasks waited for {what} for more than {share} % of a minute: {remedy}");
            raised.push(Alert::new(AlertCode::HostPressure, Subject::Part(part), text));
        }
    }
    let hanging = &state.vitals().hanging;
    if !hanging.is_empty() {
        let text = format!(
            "reading {} gets no answer, so it is not watched: a driver or device hangs (dmesg \
             shows which); it is watched again when it answers",
            hanging.join(" and ")
        );
        raised.push(alert(AlertCode::HostSensor, text));
    }
    read_only_and_clock(state, raised);
    kept_from_us(state, raised);
}

/// What this machine keeps from us: the right to probe, and room for what is to be remembered.
fn kept_from_us(state: &State, raised: &mut Vec<Alert>) {
    let denied = &state.vitals().denied_probes;
    if !denied.is_empty() {
        let kinds: Vec<&str> = denied.iter().map(String::as_str).collect();
        let text =
            format!("CAP_NET_RAW is missing, so nothing can be asked by {}", kinds.join(" and "));
        raised.push(alert(AlertCode::HostNoNetRaw, text));
    }
    if let Some(Applied::Link { unkept: Some(why) }) = state.outputs().held(Output::Link) {
        let text =
            format!("{}: how the ports were before is known to this run only", in_words(why));
        raised.push(alert(AlertCode::HostState, text));
    }
}

fn read_only_and_clock(state: &State, raised: &mut Vec<Alert>) {
    let trouble = state.vitals().trouble;
    if trouble.read_only {
        raised.push(alert(AlertCode::HostReadOnly, "the root file system has become read-only"));
    }
    if trouble.clock_unset {
        raised.push(alert(AlertCode::HostClock, "the head's clock is not set yet"));
    }
}
