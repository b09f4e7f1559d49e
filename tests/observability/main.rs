//! `make observability-test`: Debian's real Prometheus with `/metrics`, `/sd`, the rules and the
//! Grafana dashboard, with the real program and its status page. Each test has namespaces of its
//! own; needs prometheus and promtool, so it is not part of `cargo test`.

#![allow(clippy::indexing_slicing)]

mod announced;
mod board;
#[path = "../common/frame.rs"]
mod frame;
mod prometheus;
mod scrape;
mod service_discovery;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, must, spawn, within};
use bramblegate_lab::{Error, Result, Venue, World, serve, watch};

use frame::Trial;

/// The time limit of a test.
const LIMIT: Duration = Duration::from_secs(120);

/// Prometheus needs the processors.
const PLACES: usize = 2;

/// A home router.
const HOME_ROUTER: &str = r#"
purpose = "A home router"
[[network]]
address = "10.99.0.1/24"
laptop = "10.99.0.20/24"
[network.dhcp]
address = "10.99.0.126"
"#;

/// The function of a test.
type Test = fn() -> Result<()>;

const TESTS: [(&str, Test); 10] = [
    ("promtool::metrics_of_both_formats_are_clean", scrape::metrics_are_clean),
    ("promtool::rules_are_valid_and_each_fires", scrape::rules_are_valid),
    ("scrape::one_line_shows_every_node", scrape::one_line_shows_every_node),
    ("scrape::a_node_that_dies_fires_and_resolves", scrape::a_node_that_dies_fires),
    ("scrape::a_daemon_that_is_gone_fires", scrape::a_daemon_that_is_gone_fires),
    ("sd::a_cluster_of_750_is_found_by_one_line", service_discovery::a_cluster_of_750_is_found),
    ("federation::a_third_has_the_nodes_of_two_heads", service_discovery::federation),
    ("board::is_as_grafanas_own_types_have_it", board::is_as_grafana_has_it),
    ("board::every_panel_has_data", board::every_panel_has_data),
    ("mdns::the_page_is_found_by_a_computer_in_the_venue", announced::the_page_is_found_by_mdns),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program also runs the world's own servers.
    serve::helper(&arguments).unwrap_or_else(|| {
        let trials = TESTS.iter().map(|(name, test)| Trial::new(*name, test)).collect();
        frame::run(PLACES, LIMIT, trials)
    })
}

/// Returns the file beside the program under test, or beside `BRAMBLEGATE_PROGRAM`.
fn program(name: &str) -> std::path::PathBuf {
    let gateway = std::env::var_os("BRAMBLEGATE_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_bramblegate").into(), std::path::PathBuf::from);
    gateway.with_file_name(name)
}

/// Returns a file of the documentation.
fn shipped(name: &str) -> String {
    format!("{}/docs/observability/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a test with a gateway that is online, all three nodes up, and its status page on port 80 of
/// the head.
fn online(test: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    online_by(&[], "", test)
}

/// Does the same, with a program that starts the gateway, and more settings for it.
fn online_by(
    starter: &[&str],
    settings: &str,
    test: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    gateway(starter, settings, |world| {
        let _page = page("head", &world.socket(), 80)?;
        test(world)
    })
}

/// Does the same without the status page.
fn gateway(
    starter: &[&str],
    settings: &str,
    test: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let venue = Venue::parse("observability", HOME_ROUTER)?;
    let mut world = World::build(&venue, &program("bramblegate"))?;
    world.set_settings(settings);
    let result = world.start_gateway_by(starter, &[]).and_then(|()| {
        until("online, three nodes up", || {
            world.status().is_ok_and(|status| {
                watch::at(&status, "uplink.state") == "online"
                    && watch::at(&status, "cluster.up") == "3"
            })
        })?;
        test(&mut world)
    });
    if result.is_err() {
        println!("{}", world.story());
    }
    result
}

/// Starts the status page of the daemon at `socket` in a namespace and waits until it is healthy.
fn page(namespace: &str, socket: &std::path::Path, port: u16) -> Result<Running> {
    let mut command = within(namespace, &program("bramblegate-web").to_string_lossy());
    command.args(["--listen", &format!("[::]:{port}"), "--status"]).arg(socket);
    let log = format!("{HOME}/page-{namespace}.log");
    let page = spawn(&mut command, std::path::Path::new(&log))?;
    let url = format!("http://127.0.0.1:{port}/healthz");
    until("the page is healthy", || get(namespace, &url).is_ok_and(|text| text == "ok\n"))
        .map_err(|error| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            Error(format!("{error}\n{text}{:?}", get(namespace, &url)))
        })?;
    Ok(page)
}

/// Fetches a page from a place of the world.
fn get(namespace: &str, url: &str) -> Result<String> {
    must(namespace, &format!("busybox wget -q -O - '{url}'"))
}

/// Repeats until the answer is yes, 30 s at most.
fn until(what: &str, mut answer: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if answer() {
            println!("{what}: after {:?}", start.elapsed());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Error(format!("not within 30 s: {what}")))
}

/// Returns an error with this text unless the condition holds.
fn ensure(what: &str, yes: bool) -> Result<()> {
    if yes { Ok(()) } else { Err(Error(format!("not so: {what}"))) }
}
