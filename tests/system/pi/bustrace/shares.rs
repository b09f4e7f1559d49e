//! The shares of the time from power-on to the address on the display.

use std::time::Duration;

use crate::console::Console;
use crate::glass::{Glass, bus_time};
use crate::trace::{Message, seconds};

/// The limit of the gateway's share, of the time from power-on to the address on the display.
pub const MOST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Share {
    what: &'static str,
    begins: Duration,
    took: Duration,
    /// What a real bus would have taken longer.
    bus: Duration,
    ours: bool,
}

#[derive(Debug)]
pub struct Shares {
    shares: Vec<Share>,
    whole: Duration,
    /// Kernel modules that the first text waited for.
    modules: Vec<String>,
    /// The program's name, and the time from its start to its first text, for each further start.
    again: Vec<(String, Duration)>,
}

impl Shares {
    /// # Errors
    /// Names the missing event.
    pub fn measure(console: &Console, messages: &[Message], glass: &Glass) -> Result<Self, String> {
        let mut shares = Vec::new();
        let mut share = |what, from: Duration, to: Duration, ours| {
            let bus = if ours { bus_time(messages, from, to) } else { Duration::ZERO };
            shares.push(Share { what, begins: from, took: to.saturating_sub(from), bus, ours });
        };
        let at = |word| console.first(word).map(|mark| mark.at);
        let start = at("start")?;
        let first = first_text(glass, start).ok_or("no text reached the glass")?;
        let lease = console.first("lease")?;
        let drawn = glass
            .first(lease.at, |rows| rows.iter().any(|row| row.contains(&lease.rest)))
            .ok_or_else(|| format!("{} was never on the glass", lease.rest))?
            .since;
        let init = seconds(&console.first("init")?.rest).ok_or("no time at which init began")?;
        share("kernel, from its first step", Duration::ZERO, init, false);
        share("initramfs: file systems", init, at("modules")?, false);
        share("modules by device tree", at("modules")?, at("loaded")?, false);
        share("bramblegate: first text", start, first, true);
        share("USB: the uplink's port", at("loaded")?, at("appeared")?, false);
        share("its cable", at("appeared")?, at("carrier")?, false);
        share("DHCP", at("carrier")?, lease.at, false);
        // A lease that comes before the first text waits for it.
        share("bramblegate: address", lease.at.max(first), drawn, true);

        let again = console.all("start").skip(1).map(|mark| {
            let text = first_text(glass, mark.at)
                .ok_or_else(|| format!("{} started again without a text", mark.rest))?;
            let took = text.saturating_sub(mark.at) + bus_time(messages, mark.at, text);
            Ok((mark.rest.clone(), took))
        });
        Ok(Self {
            again: again.collect::<Result<_, String>>()?,
            modules: console.requests(start, first).map(str::to_owned).collect(),
            whole: drawn,
            shares,
        })
    }

    /// Returns the gateway's share, including what a real bus would have taken.
    pub fn ours(&self) -> Duration {
        self.shares.iter().filter(|share| share.ours).map(|share| share.took + share.bus).sum()
    }

    pub fn print(&self) {
        println!("{:<28}{:>8}{:>10}", "boot to address, emulated", "from", "took");
        for share in &self.shares {
            let ours = if share.ours { "  ours" } else { "" };
            let bus = match share.bus.as_millis() {
                0 => String::new(),
                longer => format!(", and {longer} ms more on a bus of 100 kHz"),
            };
            let (begins, took) = (share.begins.as_secs_f64(), share.took.as_secs_f64());
            println!("{:<28}{begins:>7.2}s{took:>9.3}s{ours}{bus}", share.what);
        }
        println!("{:<28}{:>17.3}s", "boot to address", self.whole.as_secs_f64());
        println!(
            "{:<28}{:>17.3}s  at most {} s",
            "of it ours",
            self.ours().as_secs_f64(),
            MOST.as_secs()
        );
        let modules = match self.modules.as_slice() {
            [] => "none".to_owned(),
            modules => format!("{}: {}", modules.len(), modules.join(" ")),
        };
        println!("kernel modules loaded during the first start: {modules}");
        self.print_starts();
    }

    /// Returns the times from a further start of this program to its first text, ascending.
    fn times_of(&self, name: &str) -> Vec<Duration> {
        let times = self.again.iter().filter(|(program, _)| program == name);
        let mut times: Vec<Duration> = times.map(|(_, time)| *time).collect();
        times.sort();
        times
    }

    /// Returns the median of this build's times to the first text as a fraction of that of the other
    /// build; `None` if no other was started.
    pub fn ratio(&self) -> Option<f64> {
        let median = |name| {
            let times = self.times_of(name);
            times.get(times.len() / 2).map(Duration::as_secs_f64)
        };
        Some(median("bramblegate")? / median("another")?)
    }

    fn print_starts(&self) {
        for name in ["another", "bramblegate"] {
            let times = self.times_of(name);
            if let (Some(least), Some(most)) = (times.first(), times.last()) {
                println!(
                    "first text of {name}, started again {} times: {:.3} s to {:.3} s",
                    times.len(),
                    least.as_secs_f64(),
                    most.as_secs_f64()
                );
            }
        }
        if let Some(ratio) = self.ratio() {
            println!("this build's first text after {ratio:.2} of the other's time");
        }
    }
}

fn first_text(glass: &Glass, from: Duration) -> Option<Duration> {
    glass.first(from, |rows| rows.iter().any(|row| !row.is_empty())).map(|picture| picture.since)
}
