//! Many nodes, and many heads.

use std::fs;
use std::path::Path;

use bramblegate_lab::inside::{self, HOME};
use bramblegate_lab::shell::{Running, ip, run, spawn, within};
use bramblegate_lab::{Error, Result};

use super::prometheus::Prometheus;
use super::scrape::settings;
use super::{ensure, page, program, until};

/// A gateway with this many nodes in the settings, on a head of its own; none of them exists.
fn head(name: &str, nodes: u32) -> Result<Running> {
    run("ip", &["netns", "add", name])?;
    let ports =
        "link add eth0 type veth peer name p0\nlink set p0 up\nlink set lo up\nlink set eth0 up\n";
    ip(name, ports)?;
    let socket = format!("{HOME}/{name}.sock");
    let mut text = format!(
        "board = \"emulated\"\n[uplink]\ninterfaces = [\"eth1\"]\ncheck = false\n[cluster]\n\
         interface = \"eth0\"\naddress = \"10.42.0.1/22\"\n[gateway]\ntrust = [\"v0\"]\n\
         [lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n\
         [sockets]\nstatus = \"{socket}\"\n"
    );
    for number in 1..=nodes {
        let place = number + 10;
        text += &format!(
            "[[node]]\nname = \"{name}-{number}\"\naddress = \"10.42.{}.{}\"\n",
            place / 256,
            place % 256
        );
    }
    let file = format!("{HOME}/{name}.toml");
    fs::write(&file, text).map_err(|error| Error(format!("{file}: {error}")))?;
    let mut command = within(name, &program("bramblegate").to_string_lossy());
    for (variable, folder) in [("STATE_DIRECTORY", "state"), ("RUNTIME_DIRECTORY", "run")] {
        let path = format!("{HOME}/{name}-{folder}");
        let _ = fs::create_dir_all(&path);
        command.env(variable, path);
    }
    command.args(["run", "-c", &file]).env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    let log = format!("{HOME}/{name}.log");
    let gateway = spawn(&mut command, Path::new(&log))?;
    until("the status socket answers", || {
        bramblegate_lab::watch::snapshot(Path::new(&socket)).is_ok()
    })
    .map_err(|error| Error(format!("{error}\n{}", fs::read_to_string(&log).unwrap_or_default())))?;
    Ok(gateway)
}

/// One line of settings: every node is a target, with labels to select and name it by.
pub fn a_cluster_of_750_is_found() -> Result<()> {
    inside::furnish()?;
    let _gateway = head("rack", 750)?;
    let _page = page("rack", Path::new(&format!("{HOME}/rack.sock")), 8080)?;
    let settings = settings("127.0.0.1:8080", "")
        + "  - job_name: node\n    scrape_interval: 1h\n    http_sd_configs:\n\
           \x20     - {url: \"http://127.0.0.1:8080/sd?port=9100\", refresh_interval: 1s}\n\
           \x20   relabel_configs:\n\
           \x20     - {source_labels: [__meta_bramblegate_node], target_label: node}\n\
           \x20     - {source_labels: [__meta_bramblegate_health], target_label: health_then}\n";
    let server = Prometheus::start("rack", 9090, &settings)?;
    let targets = || -> Result<Vec<serde_json::Value>> {
        let data = server.api("targets?state=active")?;
        let all = data["activeTargets"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().filter(|target| target["scrapePool"] == "node").collect())
    };
    until("750 targets are found", || targets().is_ok_and(|all| all.len() == 750))?;
    for target in targets()? {
        let number = target["labels"]["node"].as_str().and_then(|name| name.strip_prefix("rack-"));
        let number: Option<u32> = number.and_then(|number| number.parse().ok());
        let place = number.unwrap_or_default() + 10;
        let url = format!("http://10.42.{}.{}:9100/metrics", place / 256, place % 256);
        ensure(&format!("{url} is in {target}"), target["scrapeUrl"] == url.as_str())?;
        let health = target["labels"]["health_then"].as_str().unwrap_or_default();
        ensure(&format!("{health} is a health"), ["unknown", "down"].contains(&health))?;
    }
    server.await_value("sum(bramblegate_nodes)", 750.0)?;
    server.await_value("count(bramblegate_node_up)", 750.0)?;
    server.await_value("max(prometheus_sd_http_failures_total) or vector(0)", 0.0)
}

/// Two heads of two racks, each with its own Prometheus, and a third that federates both.
pub fn federation() -> Result<()> {
    inside::furnish()?;
    run("ip", &["netns", "add", "far"])?;
    ip("far", "link set lo up\n")?;
    let mut running = Vec::new();
    for (number, name) in [(1_u8, "rack1"), (2, "rack2")] {
        running.push(head(name, 3)?);
        ip("", &format!("link add v0 netns {name} type veth peer name {name} netns far\n"))?;
        ip(name, &format!("link set v0 up\naddr add 10.7.{number}.2/24 dev v0\n"))?;
        ip("far", &format!("link set {name} up\naddr add 10.7.{number}.1/24 dev {name}\n"))?;
        running.push(page(name, Path::new(&format!("{HOME}/{name}.sock")), 8080)?);
    }
    let local = |name: &str, port| {
        let text = format!(
            "global: {{scrape_interval: 1s, external_labels: {{rack: {name}}}}}\nscrape_configs:\n\
             \x20 - job_name: bramblegate\n    static_configs: \
             [{{targets: [\"127.0.0.1:8080\"]}}]\n"
        );
        Prometheus::start(name, port, &text)
    };
    let (first, second) = (local("rack1", 9091)?, local("rack2", 9092)?);
    for server in [&first, &second] {
        server.await_value("count(bramblegate_node_up)", 3.0)?;
    }
    let third = Prometheus::start(
        "far",
        9090,
        "global: {scrape_interval: 1s}\nscrape_configs:\n\
         \x20 - job_name: federate\n    honor_labels: true\n    metrics_path: /federate\n\
         \x20   params: {\"match[]\": ['{job=\"bramblegate\"}']}\n\
         \x20   static_configs: [{targets: [\"10.7.1.2:9091\", \"10.7.2.2:9092\"]}]\n",
    )?;
    third.await_value("count(bramblegate_node_up)", 6.0)?;
    for rack in ["rack1", "rack2"] {
        third.await_value(&format!("count(bramblegate_node_up{{rack=\"{rack}\"}})"), 3.0)?;
        third.await_value(&format!("count(bramblegate_node_up{{node=~\"{rack}-.*\"}})"), 3.0)?;
    }
    Ok(())
}
