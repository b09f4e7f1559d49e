//! Alerts of the head itself.

use crate::config::{Settings, Unset};
use crate::decide::alert::{Alert, AlertCode, Part, Subject};
use crate::event::{Applied, Output, in_words};
use crate::facts::Facts;
use crate::facts::Trouble;

/// The parts of [`Trouble::pressure`] in their order, each with its name and remedy.
const PRESSURE: [(Part, &str, &str); 3] = [
    (Part::Processor, "the processor", "see what runs: top"),
    (Part::Memory, "memory", "see what uses it: ps aux --sort=-rss | head"),
    (Part::Disk, "the disk", "see what writes: sudo iotop -o"),
];

/// Raises what is wrong with the head itself. Texts contain the limit, not the current figure: a
/// changing text would be a new alert each time. The status has the figure.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    raised.extend(settings.unset.as_ref().map(not_set_up));
    for (holds, code, text) in conditions(settings, facts.vitals().trouble) {
        if holds {
            raised.push(Alert::whole(code, text));
        }
    }
    pressure(settings, facts, raised);
    let hanging = &facts.vitals().hanging;
    if !hanging.is_empty() {
        let text = format!(
            "reading {} hangs, so it is not monitored: look for the driver or device in dmesg. \
             Monitoring resumes when it answers",
            hanging.join(" and ")
        );
        raised.push(Alert::whole(AlertCode::HostSensor, text));
    }
    denied_resources(facts, raised);
}

/// Returns the alert that the head is not set up.
fn not_set_up(why: &Unset) -> Alert {
    match why {
        Unset::NoFile => Alert::whole(
            AlertCode::HostNotSetUp,
            "there are no settings yet, so addresses are shown and nothing in the network is changed",
        ),
        Unset::BootFile(why) => Alert::whole(
            AlertCode::HostBootFile,
            format!("the settings on the boot partition are not used: {why}"),
        ),
    }
}

/// Returns the possible conditions of the head: whether each holds, its code and its text.
fn conditions(settings: &Settings, trouble: Trouble) -> [(bool, AlertCode, String); 8] {
    let limits = &settings.vitals;
    [
        (
            trouble.under_voltage,
            AlertCode::HostUnderVoltage,
            "the head's supply sags below what the board needs".to_owned(),
        ),
        (
            // Under-voltage throttles too: one cause, one alert.
            trouble.throttled && !trouble.under_voltage,
            AlertCode::HostThrottled,
            "the firmware slows the head's processor down".to_owned(),
        ),
        (
            trouble.hot,
            AlertCode::HostTemperature,
            format!("the head is hotter than {} degrees", limits.temperature_above),
        ),
        (
            trouble.memory,
            AlertCode::HostMemory,
            format!(
                "less than {} % of the head's memory is available",
                percent(limits.memory_free_below)
            ),
        ),
        (
            trouble.disk,
            AlertCode::HostDisk,
            format!(
                "less than {} % of the root file system is free",
                percent(limits.disk_free_below)
            ),
        ),
        (
            trouble.inodes,
            AlertCode::HostInodes,
            format!(
                "less than {} % of the root file system's inodes are free",
                percent(limits.disk_free_below)
            ),
        ),
        (
            trouble.read_only,
            AlertCode::HostReadOnly,
            "the root file system has become read-only".to_owned(),
        ),
        (trouble.clock_unset, AlertCode::HostClock, "the head's clock is not set yet".to_owned()),
    ]
}

/// Returns a limit in percent. A limit that is off raises nothing.
fn percent(limit: Option<u8>) -> u8 {
    limit.unwrap_or(0)
}

/// Raises each resource under pressure (PSI).
fn pressure(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    let share = percent(settings.vitals.pressure);
    for (holds, (part, what, remedy)) in facts.vitals().trouble.pressure.into_iter().zip(PRESSURE) {
        if holds {
            let text =
                format!("tasks waited for {what} for more than {share} % of a minute: {remedy}");
            raised.push(Alert::new(AlertCode::HostPressure, Subject::Part(part), text));
        }
    }
}

/// Raises what this machine denies us: the right to send probes, and storage for state.
fn denied_resources(facts: &Facts, raised: &mut Vec<Alert>) {
    let denied = &facts.vitals().denied_probes;
    if !denied.is_empty() {
        let kinds: Vec<&str> = denied.iter().map(String::as_str).collect();
        let text =
            format!("CAP_NET_RAW is missing, so nodes cannot be probed by {}", kinds.join(" and "));
        raised.push(Alert::whole(AlertCode::HostNoNetRaw, text));
    }
    if let Some(Applied::Link { unkept: Some(why) }) = facts.outputs().held(Output::Link) {
        let text = format!(
            "{}: the earlier settings of the interfaces are known to this run only",
            in_words(why)
        );
        raised.push(Alert::whole(AlertCode::HostState, text));
    }
}
