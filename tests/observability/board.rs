//! The Grafana dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::{self, HOME};
use bramblegate_lab::shell::{must, run};
use bramblegate_lab::{Error, Result};
use serde_json::Value;

use super::prometheus::Prometheus;
use super::scrape::settings;
use super::{ensure, online_by, shipped, until};

/// Grafana's values for its variables.
const VARIABLES: [(&str, &str); 2] = [("$instance", ".*"), ("$__rate_interval", "10s")];

/// Returns the title, the kind and the expressions of each panel.
fn panels(board: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = board["panels"].as_array().cloned().unwrap_or_default();
    panels
        .iter()
        .map(|panel| {
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            let expressions = targets.iter().map(|target| text(&target["expr"])).collect();
            (text(&panel["title"]), text(&panel["type"]), expressions)
        })
        .collect()
}

/// Grafana's own types accept each key and each value of the dashboard; `scripts/grafana-sdk.sh`
/// fetches them.
pub fn is_as_grafana_has_it() -> Result<()> {
    inside::furnish()?;
    let root = env!("CARGO_MANIFEST_DIR");
    let script = format!("{root}/tests/observability/schema.py");
    let sdk = format!("{root}/target/observability/grafana-sdk");
    let board = shipped("grafana.json");
    let printed = run("python3", &["-B", &script, &sdk, &board])?;
    println!("{printed}");
    // Grafana would ignore or refuse unknown values; this detects them.
    let text = fs::read_to_string(&board).map_err(|error| Error(format!("{board}: {error}")))?;
    for (right, wrong) in [
        ("\"lineWidth\": ", "\"lineWidht\": "),
        ("\"drawStyle\": \"line\"", "\"drawStyle\": \"lines\""),
        ("\"type\": \"stat\"", "\"type\": \"static\""),
    ] {
        ensure(&format!("the board has {right}"), text.contains(right))?;
        let file = format!("{HOME}/wrong.json");
        fs::write(&file, text.replace(right, wrong))
            .map_err(|error| Error(format!("{file}: {error}")))?;
        let found = run("python3", &["-B", &script, &sdk, &file]);
        ensure(&format!("{wrong} is found"), found.is_err())?;
    }
    Ok(())
}

/// A head with every metric, whatever this machine has: a temperature sensor, a root file system
/// that its `fstab` lists, and a shared disk in the NFS server's records. In the mount namespace of
/// the gateway's process alone.
const WHOLE: [&str; 3] = [
    "sh",
    "-ec",
    "mount -t tmpfs tmpfs /sys/class/thermal
     mkdir /sys/class/thermal/thermal_zone0
     echo 48000 > /sys/class/thermal/thermal_zone0/temp
     echo '/dev/root / ext4 defaults 0 1' > /run/world/fstab
     mount --bind /run/world/fstab /etc/fstab
     mount -t tmpfs tmpfs /mnt
     mkdir /mnt/usb
     mount -t tmpfs -o size=4m tmpfs /mnt/usb
     mount -t tmpfs tmpfs /var/lib
     mkdir /var/lib/nfs
     printf '/mnt/usb\\t192.168.50.0/24(rw)\\n' > /var/lib/nfs/etab
     exec \"$0\" \"$@\"",
];
/// A range for nodes without settings, and the disk.
const SERVING: &str = "[cluster.dhcp]\n[[share]]\npath = \"/mnt/usb\"\nname = \"usb\"\n";

/// A real Prometheus evaluates every expression, with Grafana's variables filled in, while a node
/// is down and then while the daemon is: it is valid, and returns data.
pub fn every_panel_has_data() -> Result<()> {
    let file = shipped("grafana.json");
    let text = fs::read_to_string(&file).map_err(|error| Error(format!("{file}: {error}")))?;
    let board: Value = serde_json::from_str(&text).map_err(|error| Error(error.to_string()))?;
    structure(&board)?;
    online_by(&WHOLE, SERVING, |world| {
        let server = Prometheus::start("rpi1", 9090, &settings("192.168.50.1:80", ""))?;
        // A change by another program causes an early read of the rules' counters.
        must("head", "nft add table ip other")?;
        must("rpi1", "ping -c 5 -i 0.2 203.0.113.80")?;
        must("head", "nft delete table ip other")?;
        world.node_down("rpi2")?;
        server.await_value("count(bramblegate_alert)", 1.0)?;
        until("rules have counted", || {
            server.value("sum(bramblegate_rule_packets_total) > 0").is_some()
        })?;
        let mut silent = Vec::new();
        for (title, _, expressions) in panels(&board) {
            for expression in expressions {
                if !has_data(&server, &title, &expression, Duration::from_secs(20))? {
                    silent.push((title.clone(), expression));
                }
            }
        }
        let nodes = states(&server, &board, "Nodes")?;
        ensure(&format!("two nodes up, one down: {nodes:?}"), nodes == [0.0, 5.0, 5.0])?;
        until("the disk is well", || {
            states(&server, &board, "Shared disks").is_ok_and(|states| states == [4.0])
        })?;
        let gateway = world.gateway().map(|gateway| gateway.id().to_string()).unwrap_or_default();
        run("nsenter", &["-t", &gateway, "--mount", "umount", "/mnt/usb"])?;
        until("it is missing", || {
            states(&server, &board, "Shared disks").is_ok_and(|states| states == [0.0])
        })?;
        // The remaining metrics show that the daemon does not answer.
        world.stop_gateway("TERM", Duration::from_secs(10))?;
        server.await_value("bramblegate_up", 0.0)?;
        ensure(&format!("one expression waits for that: {silent:?}"), silent.len() == 1)?;
        for (title, expression) in silent {
            let seen = has_data(&server, &title, &expression, Duration::from_secs(5))?;
            ensure(&format!("{title}: {expression} has data"), seen)?;
        }
        Ok(())
    })
}

/// Returns the values of the first expression of a panel, in their order.
fn states(server: &Prometheus, board: &Value, panel: &str) -> Result<Vec<f64>> {
    let found = panels(board).into_iter().find(|(title, _, _)| title == panel);
    let expression = found.map(|(_, _, expressions)| expressions.concat()).unwrap_or_default();
    let samples = server.query(&expression.replace("$instance", ".*"))?;
    let mut values: Vec<f64> = samples.into_iter().map(|(_, value)| value).collect();
    values.sort_by(f64::total_cmp);
    Ok(values)
}

/// Returns whether an expression of the dashboard has data within this time: a rate needs two
/// samples.
fn has_data(
    server: &Prometheus,
    title: &str,
    expression: &str,
    patience: Duration,
) -> Result<bool> {
    let mut filled = expression.to_owned();
    for (name, value) in VARIABLES {
        filled = filled.replace(name, value);
    }
    ensure(&format!("no variable is left in {filled}"), !filled.contains('$'))?;
    let end = Instant::now() + patience;
    let mut samples = server.query(&filled)?;
    while samples.is_empty() && Instant::now() < end {
        sleep(Duration::from_millis(500));
        samples = server.query(&filled)?;
    }
    println!("{title}: {} samples of {filled}", samples.len());
    Ok(!samples.is_empty())
}

/// What Grafana's import requires, and what identifies a dashboard.
fn structure(board: &Value) -> Result<()> {
    ensure("its uid stays", board["uid"] == "bramblegate-rack")?;
    ensure("its schema is Grafana 10's or newer", board["schemaVersion"].as_u64() >= Some(38))?;
    ensure("it is imported as a new one", board["id"].is_null())?;
    let variables: Vec<&str> = board["templating"]["list"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    ensure("its variables", variables == ["datasource", "instance"])?;
    let panels = board["panels"].as_array().cloned().unwrap_or_default();
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    ensure("each panel has a number of its own", ids.len() == panels.len() && ids.len() > 10)?;
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let source = "${datasource}";
        ensure("the source is the variable", panel["datasource"]["uid"] == source)?;
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        ensure(
            "of each query too",
            !targets.is_empty()
                && targets.iter().all(|target| target["datasource"]["uid"] == source),
        )?;
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap_or(u64::MAX);
        let (x, y, width, height) = (place("x"), place("y"), place("w"), place("h"));
        ensure(&format!("{} is on the grid", panel["title"]), x.saturating_add(width) <= 24)?;
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            ensure(&format!("{} covers none", panel["title"]), taken.insert(cell))?;
        }
    }
    Ok(())
}
