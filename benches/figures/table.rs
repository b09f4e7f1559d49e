//! The printed table.

use std::fmt;

use bramblegate_lab::Error;

/// One line: Bramblegate compared with one alternative.
#[derive(Debug, Clone, Default)]
pub struct Row {
    figure: String,
    unit: &'static str,
    ours: f64,
    peer: Option<(String, f64)>,
    ratio: Option<f64>,
    limit: Option<(String, f64)>,
    target: Option<(String, bool)>,
}

impl Row {
    pub fn new(figure: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self { figure: figure.into(), ours, unit, ..Self::default() }
    }

    /// Sets the alternative.
    pub fn against(mut self, name: impl Into<String>, value: f64) -> Self {
        self.peer = Some((name.into(), value));
        self
    }

    /// Sets the ratio, where it is not simply that of the two medians.
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self
    }

    /// Sets the limit by physics, the kernel or the chip.
    pub fn limit(mut self, name: impl Into<String>, value: f64) -> Self {
        self.limit = Some((name.into(), value));
        self
    }

    /// Sets the target.
    pub fn target(mut self, text: impl Into<String>, met: bool) -> Self {
        self.target = Some((text.into(), met));
        self
    }

    fn cells(&self) -> [String; 6] {
        let with = |side: &Option<(String, f64)>| {
            side.as_ref()
                .map_or_else(String::new, |(name, value)| format!("{} {name}", number(*value)))
        };
        let ratio = self.ratio.or(self.peer.as_ref().map(|(_, peer)| self.ours / peer));
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{}x", number(ratio)));
        let (target, mark) = match &self.target {
            Some((text, met)) => (text.clone(), if *met { "PASS" } else { "MISS" }),
            None => (String::new(), ""),
        };
        let ours = format!("{} {}", number(self.ours), self.unit);
        [
            self.figure.clone(),
            ours,
            with(&self.peer),
            ratio,
            with(&self.limit),
            format!("{target} {mark}").trim().into(),
        ]
    }
}

/// Formats with at most three significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".into(),
        0.0 => "0".into(),
        size if size < 0.000_5 => "<0.001".into(),
        size if size >= 99.5 => format!("{value:.0}"),
        size if size >= 9.95 => format!("{value:.1}"),
        size if size >= 0.995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Table {
    pub fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    pub fn fail(&mut self, figure: &str, error: &Error) {
        self.failures.push(format!("{figure}: not measured: {error}"));
    }

    pub fn failed(&self) -> bool {
        !self.failures.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["figure", "ours", "against", "ratio", "limit", "target"].map(String::from);
        let lines: Vec<[String; 6]> =
            std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        for (number, line) in lines.iter().enumerate() {
            let cells: Vec<String> = line
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}", width = width))
                .collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if number == 0 {
                writeln!(f, "|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"))?;
            }
        }
        let targets = self.rows.iter().filter_map(|row| row.target.as_ref());
        let missed = targets.clone().filter(|(_, met)| !met).count();
        writeln!(f, "\n{} targets, {missed} missed", targets.count())?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "{failure}"))
    }
}
