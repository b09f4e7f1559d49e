//! The cost of the idle gateway: wake-ups, CPU time, memory, size. All candidates are measured
//! concurrently.

use std::time::Duration;

use bramblegate_lab::router;
use bramblegate_lab::shell::{Running, run, spawn, within};
use bramblegate_lab::{Error, Result};

use crate::lab::{Head, fail, file, program, pss, used};
use crate::table::Row;

/// The duration, which includes the slowest periodic task, the display's initialization, once.
const WATCHED: Duration = Duration::from_secs(300);
/// The start of a program is over after this time.
const SETTLED: Duration = Duration::from_secs(12);
/// The gateway checks for other DHCP servers for a minute after a carrier appears.
const ALONE: Duration = Duration::from_secs(65);

/// The watchdog interval of the unit.
const WATCHDOG: [(&str, &str); 1] = [("WATCHDOG_USEC", "30000000")];

const NODES: &str = "[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\n[[node]]\nname = \"rpi2\"\n\
                     address = \"192.168.50.12\"\n[[node]]\nname = \"rpi3\"\naddress = \"192.168.50.13\"\n";
/// No pressure limits: while other work makes tasks wait, the head reads the pressure every ten
/// seconds, which would distort the figure.
const STILL: &str = "[vitals]\npressure = \"off\"\n[lcd]\nbus = \"emulator\"\nheartbeat = false\npage_time = \"3600s\"\n[led]\ndevice = \"off\"\n";
const SHIPPED: &str = "[lcd]\nbus = \"emulator\"\n[led]\ndevice = \"emulator\"\n";

pub fn measure() -> Result<Vec<Row>> {
    let heads = ["shipped", "still", "unit", "probed", "advertised"].map(Head::new);
    let [shipped, still, unit, probed, advertised] = heads;
    let (shipped, still, unit, probed, advertised) =
        (shipped?, still?, unit?, probed?, advertised?);
    let mut rows = vec![size()?];
    // Memory first, while no other process shares the program's pages.
    let all = shipped.start(&format!("{SHIPPED}{NODES}"))?;
    let script = poller(&shipped)?;
    std::thread::sleep(SETTLED);
    let memory = pss(all.id())?;
    rows.push(
        Row::new("memory (PSS)", memory, "MiB")
            .against("Python, polling 1 s", pss(script.id())?)
            .target("<= 8 MB", memory * 1.048_576 <= 8.0),
    );
    let still = still.start(STILL)?;
    let unit = unit.start_in(STILL, &WATCHDOG)?;
    let probed = probed.start(&format!("{STILL}{NODES}"))?;
    let advertised = hearing(&advertised)?;
    let gateways = [all, still, unit, probed, script, advertised];
    std::thread::sleep(ALONE);
    let watched: Result<Vec<(f64, f64)>> = watch(&gateways);
    let watched = watched?;
    let (all, still, unit, probed, script, advertised) =
        (watched[0], watched[1], watched[2], watched[3], watched[4], watched[5]);
    let percent = |cpu: f64| cpu * 100.0;
    rows.push(
        Row::new("wake-ups a minute, nothing but events", still.0 * 60.0, "")
            .against("Python, polling 1 s", script.0 * 60.0)
            .target("<= 30", still.0 * 60.0 <= 30.0),
    );
    rows.push(Row::new("the same, with the unit's watchdog", unit.0 * 60.0, ""));
    let more = (advertised.0 - still.0) * 60.0;
    rows.push(
        Row::new("wake-ups a minute more, a router advertises every 3 s", more, "")
            .target("<= 1", more <= 1.0),
    );
    rows.push(
        Row::new("wake-ups a second, three nodes probed", probed.0, "")
            .target("<= 15", probed.0 <= 15.0),
    );
    rows.push(
        Row::new("wake-ups a second, as shipped", all.0, "")
            .against("Python, polling 1 s", script.0)
            .target("<= 36", all.0 <= 36.0),
    );
    rows.push(
        Row::new("CPU, as shipped", percent(all.1), "% of a core")
            .against("Python, polling 1 s", percent(script.1))
            .target("<= 0.3 %", percent(all.1) <= 0.3),
    );
    rows.push(Row::new("CPU, three nodes probed", percent(probed.1), "% of a core"));
    rows.push(Row::new("CPU, nothing but events", percent(still.1), "% of a core"));
    Ok(rows)
}

/// Starts a gateway in a venue whose router advertises every three seconds. The kernel ignores the
/// advertisements, as dhcpcd, systemd-networkd and NetworkManager configure it.
fn hearing(head: &Head) -> Result<Running> {
    head.namespace.sh("echo 0 > /proc/sys/net/ipv6/conf/eth1/accept_ra")?;
    let listed = head.venue.sh("ip -o link show v0")?;
    let index = listed.split(':').next().and_then(|index| index.trim().parse().ok());
    let index = index.ok_or_else(|| Error(format!("no index of v0: {listed}")))?;
    let words = "prefix=2001:db8:7::/64 nat64=2001:db8:64::/96@1800".parse()?;
    // It ends with the benchmark.
    head.venue.thread(move || router::advertise("v0", index, &words))?;
    head.start(STILL)
}

/// Returns the size of the installed program, in megabytes.
fn size() -> Result<Row> {
    let stripped = file("stripped");
    run("cp", &[&program().to_string_lossy(), &stripped.to_string_lossy()])?;
    let _ = run("strip", &[&stripped.to_string_lossy()]);
    let bytes = std::fs::metadata(&stripped).map_err(fail("the program"))?.len();
    let size = bytes as f64 / 1e6;
    Ok(Row::new("stripped program", size, "MB").target("<= 10 MB", size <= 10.0))
}

fn poller(head: &Head) -> Result<Running> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/lcd.py");
    let mut command = within(&head.namespace.0, "python3");
    command.arg(script).args(["/dev/null", "eth1", "poll", "1"]);
    spawn(&mut command, &file("poller.log"))
}

/// Returns the wake-ups a second and the share of a core, of each process.
fn watch(programs: &[Running]) -> Result<Vec<(f64, f64)>> {
    let before: Result<Vec<_>> = programs.iter().map(|program| used(program.id())).collect();
    std::thread::sleep(WATCHED);
    let seconds = WATCHED.as_secs_f64();
    let differences = programs.iter().zip(before?).map(|(program, before)| {
        let after = used(program.id())?;
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        Ok((after.wakeups.saturating_sub(before.wakeups) as f64 / seconds, cpu / seconds))
    });
    differences.collect()
}
