//! The head's vitals.

use super::{Scene, Topic};

/// Returns `48°C load 0.3`, then the free resources. Omits values without a sensor.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let Some(head) = scene.facts.vitals().head else { return Vec::new() };
    let temperature = head.temperature.map(|degrees| format!("{degrees}°C"));
    let load = head.load.map(|load| format!("load {}.{}", load / 100, load % 100 / 10));
    let free = [("mem", head.memory), ("disk", head.disk)];
    let works = match (temperature, load) {
        (Some(temperature), Some(load)) => vec![format!("{temperature} {load}"), temperature],
        (temperature, load) => temperature.into_iter().chain(load).collect(),
    };
    let free = free
        .into_iter()
        .filter_map(|(what, free)| Some(Topic::wordings([format!("{what} {}% free", free?)])));
    let works = Some(works).filter(|wordings| !wordings.is_empty()).map(Topic::Wordings);
    works.into_iter().chain(free).collect()
}
