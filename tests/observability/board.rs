//! The Grafana board.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bramblegate_lab::shell::must;
use bramblegate_lab::{Error, Result};
use serde_json::Value;

use super::prometheus::Prometheus;
use super::scrape::settings;
use super::{ensure, online, shipped, until};

/// What Grafana puts in the place of its variables.
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

/// Every expression is asked of a real Prometheus, with Grafana's variables filled in, while a node
/// is down: it is understood, and something comes back.
pub fn every_panel_has_data() -> Result<()> {
    let file = shipped("grafana.json");
    let text = fs::read_to_string(&file).map_err(|error| Error(format!("{file}: {error}")))?;
    let board: Value = serde_json::from_str(&text).map_err(|error| Error(error.to_string()))?;
    structure(&board)?;
    online(|world| {
        let server = Prometheus::start("rpi1", 9090, &settings("192.168.50.1:80", ""))?;
        // A change of another program's has the rules' counters read soon.
        must("head", "nft add table ip other")?;
        must("rpi1", "ping -c 5 -i 0.2 203.0.113.80")?;
        must("head", "nft delete table ip other")?;
        world.node_down("rpi2")?;
        server.await_value("count(bramblegate_alert)", 1.0)?;
        until("rules have counted", || {
            server.value("sum(bramblegate_rule_packets_total) > 0").is_some()
        })?;
        for (title, _, expressions) in panels(&board) {
            for expression in expressions {
                let mut filled = expression.clone();
                for (name, value) in VARIABLES {
                    filled = filled.replace(name, value);
                }
                ensure(&format!("no variable is left in {filled}"), !filled.contains('$'))?;
                let silent = is_silent_here(&expression);
                let mut samples = server.query(&filled)?;
                // A rate needs two samples.
                let end = Instant::now() + Duration::from_secs(20);
                while samples.is_empty() && !silent && Instant::now() < end {
                    sleep(Duration::from_millis(500));
                    samples = server.query(&filled)?;
                }
                println!("{title}: {} samples of {filled}", samples.len());
                ensure(&format!("{title}: {filled} has data"), silent || !samples.is_empty())?;
            }
        }
        let health = panels(&board).into_iter().find(|(_, kind, _)| kind == "state-timeline");
        let expression = health.map(|(_, _, expressions)| expressions.concat()).unwrap_or_default();
        let mut values: Vec<f64> = server
            .query(&expression.replace("$instance", ".*"))?
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        values.sort_by(f64::total_cmp);
        ensure(&format!("two nodes up, one down: {values:?}"), values == [0.0, 5.0, 5.0])
    })
}

/// What there is no figure of on this machine, or now: a daemon that answers is no "no answer", and
/// a machine without sensors has no temperature, and a head in namespaces no root file system of its
/// own. This head serves no addresses.
fn is_silent_here(expression: &str) -> bool {
    let zones = fs::read_dir("/sys/class/thermal").into_iter().flatten().flatten();
    let has_sensor =
        zones.into_iter().any(|zone| fs::read_to_string(zone.path().join("temp")).is_ok());
    expression.contains("bramblegate_up{instance=~\"$instance\"} == 0")
        || expression.contains("bramblegate_host_read_only")
        || expression.contains("bramblegate_dhcp_range_addresses")
        || (expression.contains("bramblegate_host_temperature") && !has_sensor)
        || (expression.contains("conntrack")
            && !Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists())
}

/// What Grafana's import needs, and what a board of its own needs to be found again.
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
