//! Scraping one head.

use std::fs;
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{feed, must, run};
use bramblegate_lab::{Error, Result};

use super::prometheus::{Prometheus, quick_rules};
use super::{ensure, get, online, shipped, until};

/// The settings of a home Prometheus, in a file without anything else.
pub fn settings(target: &str, more: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n{more}\
         scrape_configs:\n  - {{job_name: bramblegate, \
         static_configs: [{{targets: [\"{target}\"]}}]}}\n"
    )
}

/// `promtool check metrics` parses text 0.0.4; Prometheus itself parses OpenMetrics, which it
/// prefers.
pub fn metrics_are_clean() -> Result<()> {
    online(|_| {
        let text = get("head", "http://127.0.0.1/metrics")?;
        let complaints = feed("promtool", &["check", "metrics"], &text)?;
        ensure(&format!("no complaint: {complaints}"), complaints.trim().is_empty())?;
        let names = ["rpi1", "rpi2", "rpi3"];
        ensure(
            "every node is in it",
            names.iter().all(|name| text.contains(&format!("node_up{{node=\"{name}\"}} 1"))),
        )?;
        let open = must(
            "head",
            "busybox wget -q -O - --header 'Accept: application/openmetrics-text;version=1.0.0,\
             text/plain;q=0.5' http://127.0.0.1/metrics",
        )?;
        ensure("it is OpenMetrics", open.ends_with("# EOF\n"))
    })
}

pub fn rules_are_valid() -> Result<()> {
    run("promtool", &["check", "rules", &shipped("alerts.yml")])?;
    run("promtool", &["test", "rules", &shipped("alerts_test.yml")])?;
    // Each rule is tested: one that never fires would be useless.
    let read = |name: &str| {
        fs::read_to_string(shipped(name)).map_err(|error| Error(format!("{name}: {error}")))
    };
    let (rules, tests) = (read("alerts.yml")?, read("alerts_test.yml")?);
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let head = format!("alertname: {name}\n");
        let mut parts = tests.split(&head).skip(1);
        ensure(
            &format!("{name} is seen to fire"),
            parts.any(|part| part.trim_start().starts_with("exp_alerts:\n")),
        )?;
    }
    Ok(())
}

/// From a node's place, over the cluster's network, in the format that Prometheus prefers.
pub fn one_line_shows_every_node() -> Result<()> {
    online(|_| {
        let server = Prometheus::start("rpi1", 9090, &settings("192.168.50.1:80", ""))?;
        server.await_value("sum(bramblegate_node_up)", 3.0)?;
        server.await_value("up{job=\"bramblegate\"}", 1.0)?;
        // A duplicate series would be dropped after the scrape.
        let stored = "count({job=\"bramblegate\", __name__!~\"up|scrape_.*\"})";
        until("all series that are sent are taken and stored", || {
            let text = get("head", "http://127.0.0.1/metrics").unwrap_or_default();
            let sent = text.lines().filter(|line| !line.starts_with('#')).count() as f64;
            let counts = [server.value("scrape_samples_scraped"), server.value(stored)];
            sent > 100.0 && counts == [Some(sent); 2]
        })?;
        for (name, kind) in [
            ("bramblegate_uplink_receive_bytes_total", "counter"),
            ("bramblegate_rule_packets_total", "counter"),
            ("bramblegate_node_rtt_seconds", "gauge"),
        ] {
            let family = name.trim_end_matches("_total");
            let data = server.api(&format!("targets/metadata?metric={family}"))?;
            let known = data[0]["type"].as_str().unwrap_or_default().to_owned();
            ensure(&format!("{name} is a {kind}, not a {known:?}: {data}"), known == kind)?;
        }
        Ok(())
    })
}

pub fn a_node_that_dies_fires() -> Result<()> {
    online(|world| {
        let rules = format!("rule_files: [{}]\n", quick_rules()?);
        let server = Prometheus::start("head", 9090, &settings("127.0.0.1:80", &rules))?;
        server.await_value("sum(bramblegate_node_up)", 3.0)?;
        let down = ("BramblegateNodeDown".to_owned(), "rpi2".to_owned());
        ensure(&format!("nothing fires: {:?}", server.firing()), server.firing().is_empty())?;
        world.node_down("rpi2")?;
        until("its alert fires", || server.firing().contains(&down))?;
        server.await_value("bramblegate_node_up{node=\"rpi2\"}", 0.0)?;
        server.await_value("bramblegate_nodes{health=\"down\"}", 1.0)?;
        server.await_value("count(bramblegate_alert{code=\"node-down\"})", 1.0)?;
        let changed = "count(bramblegate_node_health_changes_total > 0)";
        server.await_value(changed, 1.0)?;
        server.await_value("count(bramblegate_node_health_changes_total)", 3.0)?;
        server.await_value("count(bramblegate_group_health_changes_total > 0)", 1.0)?;
        let others = server.firing();
        ensure(
            &format!("of no other node: {others:?}"),
            others.iter().all(|(_, node)| node.is_empty() || node == "rpi2"),
        )?;
        world.node_up("rpi2")?;
        until("it is over", || !server.firing().contains(&down))?;
        server.await_value("sum(bramblegate_node_up)", 3.0)
    })
}

/// The page keeps answering: only the daemon is gone.
pub fn a_daemon_that_is_gone_fires() -> Result<()> {
    online(|world| {
        let rules = format!("rule_files: [{}]\n", quick_rules()?);
        let server = Prometheus::start("head", 9090, &settings("127.0.0.1:80", &rules))?;
        server.await_value("bramblegate_up", 1.0)?;
        world.stop_gateway("TERM", Duration::from_secs(10))?;
        server.await_value("bramblegate_up", 0.0)?;
        let gone = ("BramblegateDoesNotAnswer".to_owned(), String::new());
        until("that is an alert", || server.firing().contains(&gone))?;
        // Its last values are not exported as if they were current.
        until("its nodes are no series any more", || {
            server.query("bramblegate_node_up").is_ok_and(|samples| samples.is_empty())
        })?;
        let log = fs::read_to_string(format!("{HOME}/prometheus-9090/log")).unwrap_or_default();
        ensure(&format!("no warning:\n{log}"), !log.contains("level=warn"))
    })
}
