//! Plots of the last hour and day.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use super::words::Words;
use crate::history::{History, Span, Subject};
use crate::sight::Sight;

/// The size of a drawing, in its own units.
const SIZE: (f32, f32) = (600.0, 120.0);
/// The limit of lines in one plot; more are drawn as a band.
const LINES: usize = 8;

/// Draws every plot that has values; series of nodes only for the full sight.
pub fn draw(history: &History, span: Span, sight: Sight, words: &Words) -> Markup {
    let traffic = |subject: &Subject| matches!(subject, Subject::Received(_) | Subject::Sent(_));
    let trips = |subject: &Subject| match subject {
        Subject::NodeRoundTrip(_) => sight == Sight::Full,
        Subject::GroupRoundTrip(_) => true,
        _ => false,
    };
    let losses = |subject: &Subject| match subject {
        Subject::NodeLoss(_) => sight == Sight::Full,
        Subject::GroupLoss(_) => true,
        _ => false,
    };
    let plots = html! {
        (plot(words.plot_traffic, &history.read(span, traffic), span, rate, words))
        (plot(words.plot_round_trip, &band(history.read(span, trips), words), span, trip, words))
        (plot(words.plot_loss, &band(history.read(span, losses), words), span, share, words))
        (plot(words.plot_nodes, &history.read(span, |s| *s == Subject::NodesUp), span, whole, words))
        (plot(words.temperature, &history.read(span, |s| *s == Subject::Temperature), span, degrees, words))
    };
    if plots.0.is_empty() {
        html! { p.dim { (words.no_plots) } }
    } else {
        plots
    }
}

/// Returns few series unchanged; reduces many to minimum, mean and maximum at each time.
fn band(series: Vec<(Subject, Vec<f32>)>, words: &Words) -> Vec<(Subject, Vec<f32>)> {
    if series.len() <= LINES {
        return series;
    }
    let length = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let mut rows: [Vec<f32>; 3] = Default::default();
    for back in (1..=length).rev() {
        let now = || {
            let values = series
                .iter()
                .filter_map(|(_, values)| values.get(values.len().checked_sub(back)?).copied());
            values.filter(|value| value.is_finite())
        };
        let number = now().count() as f32;
        let mean = if number > 0.0 { now().sum::<f32>() / number } else { f32::NAN };
        for (row, value) in rows.iter_mut().zip([
            now().reduce(f32::min).unwrap_or(f32::NAN),
            mean,
            now().reduce(f32::max).unwrap_or(f32::NAN),
        ]) {
            row.push(value);
        }
    }
    let names = [words.plot_lowest, words.plot_mean, words.plot_highest];
    names
        .into_iter()
        .zip(rows)
        .map(|(name, row)| (Subject::GroupRoundTrip(name.into()), row))
        .collect()
}

fn plot(
    title: &str,
    series: &[(Subject, Vec<f32>)],
    span: Span,
    show: fn(f32) -> String,
    words: &Words,
) -> Markup {
    let values = || series.iter().flat_map(|(_, values)| values).copied().filter(|v| v.is_finite());
    let Some(highest) = values().reduce(f32::max) else { return html! {} };
    let top = if highest > 0.0 { highest } else { 1.0 };
    let show = |value: f32| words.number(&show(value));
    let last = |values: &[f32]| values.iter().rev().copied().find(|v| v.is_finite()).map(show);
    let keys: Vec<String> = series
        .iter()
        .map(|(subject, values)| {
            let value = last(values).unwrap_or_else(|| "–".to_owned());
            format!("{} {value}", name(subject)).trim().to_owned()
        })
        .collect();
    let label = keys.join(", ");
    let begin = match span {
        Span::Hour => words.plot_hour_ago,
        Span::Day => words.plot_day_ago,
    };
    html! {
        figure {
            figcaption {
                b { (title) } " "
                small {
                    @for (place, key) in keys.iter().enumerate() {
                        span class={ "key key-" (place % LINES) } { (key) } " "
                    }
                    "(max " (show(highest)) ")"
                }
            }
            svg.plot role="img" aria-label=(format!("{title}: {label}"))
                viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) preserveAspectRatio="none" {
                @for (place, (_, values)) in series.iter().enumerate() {
                    path class={ "line line-" (place % LINES) } d=(PreEscaped(line(values, span, top))) {}
                }
            }
            small.axis { span { (begin) } span { (words.plot_now) } }
        }
    }
}

/// Returns the SVG path of a series, with the newest value at the right edge and its gaps.
fn line(values: &[f32], span: Span, top: f32) -> String {
    let (samples, _) = span.samples();
    let step = SIZE.0 / (samples as f32 - 1.0);
    let first = samples.saturating_sub(values.len());
    let mut path = String::new();
    let mut open = false;
    for (place, value) in values.iter().enumerate() {
        if !value.is_finite() {
            open = false;
            continue;
        }
        let x = (first + place) as f32 * step;
        let y = SIZE.1 - 2.0 - value / top * (SIZE.1 - 4.0);
        let command = if open { 'L' } else { 'M' };
        let _ = write!(path, "{command}{x:.0} {y:.0}");
        if !open {
            // A stroke makes a single value visible.
            let _ = write!(path, "h1");
        }
        open = true;
    }
    path
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::NodesUp | Subject::Temperature => String::new(),
        Subject::Received(name) => format!("{name} ↓"),
        Subject::Sent(name) => format!("{name} ↑"),
        Subject::NodeRoundTrip(name)
        | Subject::GroupRoundTrip(name)
        | Subject::NodeLoss(name)
        | Subject::GroupLoss(name) => name.clone(),
    }
}

fn rate(bytes: f32) -> String {
    let bits = bytes * 8.0;
    match bits {
        1e9.. => format!("{:.1} Gbit/s", bits / 1e9),
        1e6.. => format!("{:.1} Mbit/s", bits / 1e6),
        1e3.. => format!("{:.0} kbit/s", bits / 1e3),
        _ => format!("{bits:.0} bit/s"),
    }
}

fn trip(microseconds: f32) -> String {
    format!("{:.1} ms", microseconds / 1000.0)
}

fn share(percent: f32) -> String {
    format!("{percent:.0} %")
}

fn whole(value: f32) -> String {
    format!("{value:.0}")
}

fn degrees(value: f32) -> String {
    format!("{value:.0} °C")
}
