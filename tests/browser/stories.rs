//! The page as users see it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bramblegate::api::status::{Change, NodeHealth, Severity, Share, Shutdown, Snapshot};
use bramblegate::panel::Charset;
use bramblegate_lab::{Error, Result, Venue, World};
use serde_json::{Value, json};

use crate::common::daemon::{Daemon, cluster};
use crate::common::program::{PASSWORD, Program, beside};
use crate::webdriver::{Browser, Look};

pub type Story = (&'static str, fn() -> Result<()>);

pub const ALL: [Story; 16] = [
    ("a_node_that_dies_is_seen_without_a_reload", a_node_that_dies),
    ("the_glass_is_the_display_dot_by_dot", the_glass),
    ("attributes_are_as_the_contract_has_them", attributes),
    ("phone_and_desktop_light_and_dark", widths),
    ("without_a_script_it_is_a_page", without_script),
    ("it_paints_at_once_and_is_small", paint),
    ("orders_need_a_log_in", orders),
    ("a_stale_page_says_so_within_five_seconds", stale),
    ("axe_finds_nothing", axe),
    ("german_on_a_phone", german),
    ("a_summary_names_no_nodes", summary),
    ("ten_thousand_nodes_are_legible_and_live", ten_thousand),
    ("shared_disks_and_a_shutdown_are_seen", shares),
    ("axe_finds_nothing_on_other_pages", axe_elsewhere),
    ("ten_tabs_are_live_one_by_one", tabs),
    ("the_page_comes_back_with_its_server", comes_back),
];

/// A browser that shows a cluster.
struct Scene {
    browser: Browser,
    program: Program,
    daemon: Option<Daemon>,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(snapshot: Snapshot, look: Look) -> Result<Self> {
        Self::with(snapshot, look, &[])
    }

    fn with(snapshot: Snapshot, look: Look, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| Error(error.to_string()))?;
        let daemon = Daemon::start(folder.path(), snapshot);
        let program = Program::start(folder.path(), "127.0.0.1", arguments);
        let browser = Browser::start(folder.path(), look)?;
        let scene = Self { browser, program, daemon: Some(daemon), folder };
        scene.browser.open(&scene.url())?;
        Ok(scene)
    }

    fn url(&self) -> String {
        format!("http://{}/", self.program.at)
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }
}

fn ensure(what: impl Into<String>, is: bool) -> Result<()> {
    if is { Ok(()) } else { Err(Error(format!("not so: {}", what.into()))) }
}

/// Waits until a script on the page returns true; returns how long that took.
fn until(browser: &Browser, what: &str, most: Duration, script: &str) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        if browser.run(script, json!([]))? == Value::Bool(true) {
            println!("{what}: after {:?}", begin.elapsed());
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > most {
            return Err(Error(format!("not within {most:?}: {what}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Saves a screenshot of the window.
fn keep(browser: &Browser, name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/web-shots");
    std::fs::create_dir_all(&folder).map_err(|error| Error(error.to_string()))?;
    let path = folder.join(format!("{name}.png"));
    let png = base64(&browser.picture(None)?);
    std::fs::write(&path, png).map_err(|error| Error(error.to_string()))?;
    Ok(path)
}

/// Writes the screenshot of the documentation with `UPDATE=1`: small, since it is in the
/// repository.
fn document(browser: &Browser) -> Result<()> {
    if std::env::var_os("UPDATE").is_none() {
        return Ok(());
    }
    let size = json!({"width": 960, "height": 440, "deviceScaleFactor": 1, "mobile": false});
    browser.devtools("Emulation.setDeviceMetricsOverride", &size)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures/status-page.png");
    let failed = |error: std::io::Error| Error(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(path.parent().unwrap()).map_err(failed)?;
    std::fs::write(&path, base64(&browser.picture(None)?)).map_err(failed)
}

/// Decodes base64 (RFC 4648, section 4).
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|known| *known == byte)) {
        held = held << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    bytes
}

const HEALTH: &str =
    "return document.querySelector('[data-node=\"NODE\"]')?.dataset.health === 'WANTED'";

fn health(node: &str, wanted: &str) -> String {
    HEALTH.replace("NODE", node).replace("WANTED", wanted)
}

/// The real gateway in a real venue: the page shows what the status contains.
fn a_node_that_dies() -> Result<()> {
    const HOME_ROUTER: &str = "purpose = \"A home router\"\n[[network]]\naddress = \"10.99.0.1/24\"\n\
                               [network.dhcp]\naddress = \"10.99.0.126\"\n";
    let venue = Venue::parse("page", HOME_ROUTER)?;
    let mut world = World::build_furnished(&venue, &beside("bramblegate"))?;
    world.start_gateway()?;
    let folder = tempfile::tempdir().map_err(|error| Error(error.to_string()))?;
    std::os::unix::fs::symlink(world.socket(), folder.path().join("status.sock"))
        .map_err(|error| Error(error.to_string()))?;
    let program = Program::start(folder.path(), "127.0.0.1", &[]);
    let browser = Browser::start(folder.path(), Look::default())?;
    browser.open(&format!("http://{}/", program.at))?;
    until(&browser, "rpi1 is up", Duration::from_secs(20), &health("rpi1", "up"))?;
    browser.run("window.never_reloaded = true", json!([]))?;
    keep(&browser, "real-gateway")?;
    world.node_down("rpi1")?;
    until(&browser, "rpi1 is down", Duration::from_secs(20), &health("rpi1", "down"))?;
    ensure(
        "it was not reloaded",
        browser.run("return window.never_reloaded === true", json!([]))? == true,
    )?;
    let begin = Instant::now();
    loop {
        let label = browser
            .run("return document.querySelector('#lcd').getAttribute('aria-label')", json!([]))?;
        let lines = world.status()?.panel.lcd.lines.unwrap_or_default();
        let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
        if label == lines.join("\n") && dots(&browser)? == rom(&lines) {
            break;
        }
        ensure(
            format!("the glass is the display's: {label}"),
            begin.elapsed() < Duration::from_secs(10),
        )?;
    }
    keep(&browser, "real-gateway-node-down")?;
    document(&browser)?;
    world.node_up("rpi1")?;
    until(&browser, "rpi1 is back", Duration::from_secs(20), &health("rpi1", "up"))?;
    world.stop_gateway("KILL", Duration::from_secs(10))?;
    until(
        &browser,
        "the page says that the daemon is gone",
        Duration::from_secs(5),
        "return !!document.querySelector('#state .lost')",
    )
    .map(drop)
}

/// Returns which dots of the display are lit on the screen: a row of text for each row of dots,
/// gaps between characters included.
fn dots(browser: &Browser) -> Result<Vec<String>> {
    const SCRIPT: &str = r##"
const [png, done] = arguments;
const svg = document.querySelector("#lcd");
const box = svg.getBoundingClientRect(), matrix = svg.getScreenCTM();
const view = svg.viewBox.baseVal;
const image = new Image();
image.onload = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const scale = image.width / box.width;
  const rows = [];
  for (let y = 0; y < view.height; y++) {
    let row = "";
    for (let x = 0; x < view.width; x++) {
      const left = (matrix.a * (x + .45) + matrix.e - box.left) * scale;
      const top = (matrix.d * (y + .5) + matrix.f - box.top) * scale;
      const [red] = context.getImageData(Math.floor(left), Math.floor(top), 1, 1).data;
      row += red > 128 ? "#" : ".";
    }
    rows.push(row);
  }
  done(rows);
};
image.onerror = () => done(["no picture"]);
image.src = "data:image/png;base64," + png;
"##;
    let rows = browser.run_later(SCRIPT, json!([browser.picture(Some("#lcd"))?]))?;
    let rows = rows.as_array().cloned().unwrap_or_default();
    Ok(rows.iter().map(|row| row.as_str().unwrap_or_default().to_owned()).collect())
}

/// Returns the same from the controller's character ROM.
fn rom(lines: &[&str]) -> Vec<String> {
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let dark = ".".repeat(columns * 6 + 1);
    let mut rows = vec![dark.clone()];
    for line in lines {
        for y in 0..8 {
            let mut row = ".".to_owned();
            for scalar in line.chars() {
                let bits = Charset::A00.dots(scalar)[y];
                row.extend((0..5).map(|x| if bits >> (4 - x) & 1 == 1 { '#' } else { '.' }));
                row.push('.');
            }
            rows.push(format!("{row:.<width$}", width = dark.len()));
        }
        rows.push(dark.clone());
    }
    rows
}

fn the_glass() -> Result<()> {
    let mut snapshot = cluster(3);
    // Every letter, digit and sign of the ROM's first half that the panel uses.
    let all: String = (' '..='}').filter(|scalar| *scalar != '\\').collect();
    let rows: Vec<String> = all
        .chars()
        .collect::<Vec<_>>()
        .chunks(20)
        .map(|row| format!("{:<20}", row.iter().collect::<String>()))
        .collect();
    for rows in [&rows[..4], &rows[1..]] {
        snapshot.panel.lcd.lines = Some(rows.iter().map(|row| row.into()).collect());
        let scene = Scene::new(snapshot.clone(), Look::default())?;
        let wanted: Vec<&str> = rows.iter().map(String::as_str).collect();
        let (seen, rom) = (dots(&scene.browser)?, rom(&wanted));
        ensure(format!("seen\n{}\nROM\n{}", seen.join("\n"), rom.join("\n")), seen == rom)?;
        ensure("something is lit", rom.concat().contains('#'))?;
    }
    Ok(())
}

fn attributes() -> Result<()> {
    let scene = Scene::new(cluster(3), Look::default())?;
    let browser = &scene.browser;
    let get = |script: &str| browser.run(&format!("return {script}"), json!([]));
    let lines = cluster(3).panel.lcd.lines.unwrap_or_default();
    let label = get("document.querySelector('#lcd').getAttribute('aria-label')")?;
    ensure(
        "the label is the lines",
        label == lines.iter().map(|line| &**line).collect::<Vec<_>>().join("\n"),
    )?;
    ensure("the LED's colour", get("document.querySelector('#led').dataset.colour")? == "#00ff00")?;
    ensure(
        "the LED's rhythm",
        get("document.querySelector('#led').dataset.pattern")? == "breathe",
    )?;
    let nodes = get(
        "[...document.querySelectorAll('[data-node]')].map(e => e.dataset.node + ' ' + e.dataset.health)",
    )?;
    ensure("three nodes", nodes == json!(["node-001 up", "node-002 up", "node-003 up"]))?;
    for (health_now, word) in [
        (NodeHealth::Down, "down"),
        (NodeHealth::Booting, "booting"),
        (NodeHealth::Maintenance, "maintenance"),
    ] {
        scene.daemon().health("node-002", health_now);
        let took = until(browser, word, Duration::from_secs(5), &health("node-002", word))?;
        println!("{word} on the page {took:?} after the status socket sent it");
    }
    let mut panel = cluster(3).panel;
    panel.led.pattern = Some(bramblegate::api::status::Pattern::FastBlink.into());
    panel.led.colour = Some("#ff0000".into());
    panel.lcd.backlight = Some(false);
    scene.daemon().change(Change {
        panel: Some(panel),
        severity: Some(Severity::Fault.into()),
        ..Change::default()
    });
    until(
        browser,
        "the LED blinks red",
        Duration::from_secs(5),
        "const led = document.querySelector('#led').dataset; return led.colour === '#ff0000' && led.pattern === 'fast-blink'",
    )?;
    let unlit = get("document.querySelector('#lcd').classList.contains('unlit')")?;
    ensure("the glass is dark without its backlight", unlit == true)?;
    keep(browser, "backlight-off").map(drop)
}

/// Returns the element that reaches furthest to the right.
const WIDEST: &str = "const all = [...document.querySelectorAll('body *')]; \
    const right = (element) => element.getBoundingClientRect().right; \
    const widest = all.reduce((one, other) => right(other) > right(one) ? other : one); \
    return widest.outerHTML.slice(0, 200)";

fn widths() -> Result<()> {
    for nodes in [3, 40, 750] {
        let scene = Scene::new(crowded(nodes), Look::default())?;
        // The plots come with the second sample, and name nodes too.
        std::thread::sleep(bramblegate_web::history::STEP + Duration::from_secs(1));
        for (width, name) in [(390, "phone"), (1280, "desktop")] {
            for dark in [false, true] {
                scene.browser.look(Look { width, dark, script: true })?;
                scene.browser.open(&scene.url())?;
                // A resized window takes a moment to settle; an element that is really too wide
                // stays so.
                let fits = format!(
                    "return innerWidth === {width} && document.documentElement.scrollWidth <= {width}"
                );
                let what = format!("{nodes} nodes fit on a {name}");
                until(&scene.browser, &what, Duration::from_secs(5), &fits).or_else(|error| {
                    let widest = scene.browser.run(WIDEST, json!([]))?;
                    Err(Error(format!("{error}; the widest element is {widest}")))
                })?;
                let plots = "return document.querySelectorAll('#plots figure').length > 0";
                ensure("there are plots", scene.browser.run(plots, json!([]))? == true)?;
                let back = scene
                    .browser
                    .run("return getComputedStyle(document.body).backgroundColor", json!([]))?;
                let wanted = if dark { "rgb(22, 24, 26)" } else { "rgb(244, 244, 241)" };
                ensure(format!("the background is {back}"), back == wanted)?;
                // The nodes that need attention have to be legible.
                let cut = scene.browser.run("return [...document.querySelectorAll('[data-node]:not(.up)')].filter(e => e.dataset.node.length < 20 && [...e.children].some(c => c.scrollWidth > c.clientWidth && getComputedStyle(c).display !== 'inline')).map(e => e.dataset.node)", json!([]))?;
                ensure(format!("{nodes} nodes, {name}: cut off: {cut}"), cut == json!([]))?;
                let colours = if dark { "dark" } else { "light" };
                keep(&scene.browser, &format!("{nodes}-{name}-{colours}"))?;
                scene.browser.run(TO_NODES, json!([]))?;
                keep(&scene.browser, &format!("{nodes}-{name}-{colours}-nodes"))?;
            }
        }
    }
    Ok(())
}

/// Returns a cluster with an example of everything, and a name without a break opportunity.
fn crowded(nodes: usize) -> Snapshot {
    let mut snapshot = cluster(nodes);
    let states = [
        NodeHealth::Down,
        NodeHealth::Degraded,
        NodeHealth::Booting,
        NodeHealth::Maintenance,
        NodeHealth::Unknown,
    ];
    for (node, state) in snapshot.nodes.iter_mut().skip(1).step_by(7).zip(states) {
        node.health = state.into();
    }
    let up = snapshot.nodes.iter().filter(|node| node.health == NodeHealth::Up);
    snapshot.cluster.up = up.count();
    if let Some(node) = snapshot.nodes.last_mut() {
        node.name = "a".repeat(63).into();
    }
    snapshot.severity = Severity::Warning.into();
    snapshot.alerts = vec![bramblegate::api::status::Alert {
        code: "node-down".into(),
        severity: Severity::Warning.into(),
        text: "node-002 down".into(),
        ..Default::default()
    }];
    snapshot
}

fn without_script() -> Result<()> {
    let scene = Scene::new(cluster(3), Look { script: false, ..Look::default() })?;
    let source = scene.browser.source()?;
    for wanted in ["data-node=\"node-003\"", "data-health=\"up\"", "id=\"lcd\"", "ssh 10.99.0.126"]
    {
        ensure(format!("{wanted} in {source}"), source.contains(wanted))?;
    }
    // The script would have shown the button.
    ensure("no script has run", source.contains("hidden=\"\""))?;
    keep(&scene.browser, "without-script").map(drop)
}

/// The first paint of a page of one word on an idle machine, in milliseconds.
const PLAIN: f64 = 40.0;

/// Opens a page with an empty cache; returns its first paint, in milliseconds.
fn first_paint(browser: &Browser, url: &str) -> Result<f64> {
    browser.devtools("Network.clearBrowserCache", &json!({}))?;
    browser.open(url)?;
    let script = "const done = arguments[0]; new PerformanceObserver(list => done(list.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1)).observe({type: 'paint', buffered: true})";
    Ok(browser.run_later(script, json!([]))?.as_f64().unwrap_or(f64::NAN))
}

/// On a busy machine everything is painted later, a page of one word too.
fn paint() -> Result<()> {
    let scene = Scene::new(cluster(750), Look::default())?;
    let (mut paints, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        plain.push(first_paint(&scene.browser, "data:text/html,word")?);
        paints.push(first_paint(&scene.browser, &scene.url())?);
    }
    paints.sort_by(f64::total_cmp);
    plain.sort_by(f64::total_cmp);
    let sizes = scene.browser.run(
        "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter(e => !e.name.includes('/live'));
         return [all.reduce((n, e) => n + e.encodedBodySize, 0), all.reduce((n, e) => n + e.decodedBodySize, 0)]", json!([]))?;
    println!(
        "first paint of 750 nodes: {paints:.0?} ms, of one word: {plain:.0?} ms; bytes on the wire, unpacked: {sizes}"
    );
    let sent = sizes[0].as_u64().unwrap_or(u64::MAX);
    ensure(format!("{sent} bytes <= 60,000"), (1000..=60_000).contains(&sent))?;
    let allowed = 300.0 * (plain[4] / PLAIN).max(1.0);
    ensure(format!("median {} ms <= {allowed}", paints[4]), (0.1..=allowed).contains(&paints[4]))
}

fn orders() -> Result<()> {
    let scene = Scene::new(cluster(3), Look::default())?;
    let browser = &scene.browser;
    browser.type_into("input[type=password]", "wrong")?;
    browser.click("form[action='/login'] button")?;
    until(
        browser,
        "a wrong password is refused",
        Duration::from_secs(5),
        "return document.body.textContent.includes('This is not the password') && !!document.querySelector('input[type=password]')",
    )?;
    browser.open(&scene.url())?;
    browser.type_into("input[type=password]", PASSWORD)?;
    browser.click("form[action='/login'] button")?;
    until(
        browser,
        "logged in",
        Duration::from_secs(5),
        "return !!document.querySelector(\"form[action='/orders']\")",
    )?;
    let cookie = browser.run("return document.cookie", json!([]))?;
    ensure("no script reads the cookie", cookie == "")?;
    keep(browser, "logged-in")?;
    // Another site's form, in the same browser: the cookie is not sent with it, and if it were, the
    // origin would be wrong.
    let evil = format!(
        "data:text/html,<form method=post action='{}orders'><input name=order value=acknowledge><input name=csrf value=x><button>x</button></form>",
        scene.url()
    );
    browser.open(&evil)?;
    browser.click("button")?;
    std::thread::sleep(Duration::from_secs(1));
    ensure("nothing was ordered", scene.daemon().orders.try_recv().is_err())?;
    browser.open(&scene.url())?;
    let wait = Duration::from_secs(5);
    let order = |scene: &Scene| {
        let next = scene.daemon().orders.recv_timeout(wait);
        next.map_err(|error| Error(error.to_string()))
    };
    browser.click("button[value=next-page]")?;
    let turned = order(&scene)?;
    ensure(format!("the order is {turned}"), turned.contains("\"next-page\""))?;
    browser.open(&scene.url())?;
    browser.click("input[name=node]")?;
    until(
        browser,
        "the names are offered",
        wait,
        "return [...document.querySelectorAll('#names option')].map(e => e.value).join() === 'node-001,node-002,node-003'",
    )?;
    browser.type_into("input[name=node]", "node-002")?;
    browser.click("button[value=drain]")?;
    let order = order(&scene)?;
    ensure(format!("the order is {order}"), order.contains("drain") && order.contains("node-002"))?;
    browser.click("form[action='/logout'] button")?;
    until(
        browser,
        "logged out",
        Duration::from_secs(5),
        "return !!document.querySelector('input[type=password]')",
    )
    .map(drop)
}

fn stale() -> Result<()> {
    const FIVE: Duration = Duration::from_secs(5);
    const STALE: &str = "return document.body.classList.contains('stale')";
    const LOST: &str = "return !!document.querySelector('#state .lost')";
    let mut scene = Scene::new(cluster(3), Look::default())?;
    std::thread::sleep(Duration::from_secs(7));
    ensure("a page without news is not stale", scene.browser.run(STALE, json!([]))? == false)?;
    scene.program.signal("STOP");
    let took = until(&scene.browser, "the page is stale", FIVE, STALE);
    keep(&scene.browser, "stale")?;
    scene.program.signal("CONT");
    took?;
    until(
        &scene.browser,
        "it is not any more",
        FIVE,
        "return !document.body.classList.contains('stale')",
    )?;
    scene.daemon = None;
    until(&scene.browser, "the daemon is gone", FIVE, LOST)?;
    keep(&scene.browser, "daemon-gone").map(drop)
}

/// Returns whether the page is no wider than a phone.
const FITS: &str = "return document.documentElement.scrollWidth <= 390";

fn german() -> Result<()> {
    let phone = Look { width: 390, ..Look::default() };
    let scene = Scene::new(crowded(40), phone)?;
    scene.browser.devtools("Network.enable", &json!({}))?;
    let german = json!({"headers": {"Accept-Language": "de-DE,de;q=0.9"}});
    scene.browser.devtools("Network.setExtraHTTPHeaders", &german)?;
    scene.browser.open(&scene.url())?;
    let text = scene
        .browser
        .run("return document.documentElement.lang + document.body.textContent", json!([]))?;
    let text = text.as_str().unwrap_or_default().to_owned();
    for wanted in [
        "de",
        "Knoten erreichbar",
        "LED: grün",
        "ssh zu den Knoten",
        "beeinträchtigt",
        "0,3\u{a0}ms",
    ] {
        ensure(format!("{wanted} in {text}"), text.contains(wanted))?;
    }
    // The commands to reach the nodes, opened.
    scene.browser.click("#address summary")?;
    let lines = scene.browser.run(
        "return [...document.querySelectorAll('#address details code')].map(e => e.textContent)",
        json!([]),
    )?;
    let wanted = json!([
        "ssh -J 10.99.0.126 10.1.1.1",
        "ssh 10.99.0.126 bramblegate ssh-config > ~/.ssh/bramble"
    ]);
    ensure(format!("the lines are {lines}"), lines == wanted)?;
    ensure("it fits on a phone", scene.browser.run(FITS, json!([]))? == true)?;
    keep(&scene.browser, "german-phone").map(drop)
}

fn summary() -> Result<()> {
    let phone = Look { width: 390, dark: true, script: true };
    let scene = Scene::with(crowded(40), phone, &["--public", "summary"])?;
    let source = scene.browser.source()?;
    for private in ["node-002", "10.1.1.", "b8:27:eb"] {
        ensure(format!("{private} in {source}"), !source.contains(private))?;
    }
    ensure("the head's address is there", source.contains("ssh 10.99.0.126"))?;
    ensure("it fits on a phone", scene.browser.run(FITS, json!([]))? == true)?;
    keep(&scene.browser, "summary-phone").map(drop)
}

/// Scrolls the nodes to the top of the window.
const TO_NODES: &str = "document.querySelector('.nodes').scrollIntoView()";

/// With and without groups: nodes that are not up are visible at once, the others can be opened,
/// and opened groups are kept up to date.
fn ten_thousand() -> Result<()> {
    const FIVE: Duration = Duration::from_secs(5);
    for (grouped, name) in [(true, "groups"), (false, "blocks")] {
        let mut snapshot = crowded(10_000);
        for (place, node) in snapshot.nodes.iter_mut().enumerate().filter(|_| grouped) {
            node.group = Some(format!("rack{:02}", place / 500 + 1).into());
        }
        let scene = Scene::new(snapshot, Look::default())?;
        let browser = &scene.browser;
        let seen =
            "return [...document.querySelectorAll('#not-up [data-node]')].map(e => e.dataset.node)";
        let seen = browser.run(seen, json!([]))?;
        let wanted = json!(["node-002", "node-009", "node-016", "node-023", "node-030"]);
        ensure(format!("not up: {seen}"), seen == wanted)?;
        for (width, window) in [(390, "phone"), (1280, "desktop")] {
            for (dark, colours) in [(false, "light"), (true, "dark")] {
                browser.look(Look { width, dark, script: true })?;
                browser.open(&scene.url())?;
                let fits = format!(
                    "return innerWidth === {width} && document.documentElement.scrollWidth <= {width}"
                );
                until(browser, "10,000 nodes fit", FIVE, &fits)?;
                browser.run(TO_NODES, json!([]))?;
                browser.click("#nodes details:nth-of-type(2) summary")?;
                let there = "return document.querySelectorAll('#nodes details:nth-of-type(2) [data-node]').length >= 250";
                until(browser, "a group opens", FIVE, there)?;
                browser.run(TO_NODES, json!([]))?;
                keep(browser, &format!("10000-{name}-{window}-{colours}"))?;
            }
        }
        // The first node of the second heading.
        let node = if grouped { "node-501" } else { "node-251" };
        let dead = format!(
            "return document.querySelector('#nodes details:nth-of-type(2) [data-node=\"{node}\"]')?.dataset.health === 'down'"
        );
        scene.daemon().health(node, NodeHealth::Down);
        until(browser, "a node of an open group is seen to die", FIVE, &dead)?;
        // Another node appears: every heading is drawn again.
        let mut new = cluster(1).nodes;
        new[0].name = "a-new-node".into();
        new[0].group = Some("annexe".into());
        scene.daemon().change(Change { nodes: new, ..Change::default() });
        let annexe = "return [...document.querySelectorAll('#nodes summary')].some(e => e.textContent.includes('annexe'))";
        until(browser, "a group is added", FIVE, annexe)?;
        let open = format!(
            "return !!document.querySelector('#nodes details[open] [data-node=\"{node}\"]')"
        );
        until(browser, "what was open stays open", FIVE, &open)?;
    }
    Ok(())
}

/// A browser has six connections to a server: background tabs must not hold them.
fn tabs() -> Result<()> {
    const FIVE: Duration = Duration::from_secs(5);
    let scene = Scene::new(cluster(3), Look::default())?;
    let first = scene.browser.window()?;
    for tab in 2..=10 {
        scene.browser.new_tab()?;
        scene.browser.open(&scene.url())?;
        let styled = "return getComputedStyle(document.querySelector('header')).display === 'flex'";
        until(&scene.browser, &format!("tab {tab} is loaded"), FIVE, styled)?;
    }
    scene.daemon().health("node-002", NodeHealth::Down);
    until(&scene.browser, "the last tab sees a change", FIVE, &health("node-002", "down"))?;
    // The first tab was in the background meanwhile.
    scene.browser.switch_to(&first)?;
    until(&scene.browser, "and so does the first", FIVE, &health("node-002", "down"))?;
    let stale = scene.browser.run("return document.body.classList.contains('stale')", json!([]))?;
    ensure("it is not stale", stale == false)
}

fn comes_back() -> Result<()> {
    const TEN: Duration = Duration::from_secs(10);
    let mut scene = Scene::new(cluster(3), Look::default())?;
    scene.browser.run("window.never_reloaded = true", json!([]))?;
    let at = scene.program.at.to_string();
    scene.program.signal("KILL");
    let stale = "return document.body.classList.contains('stale')";
    until(&scene.browser, "the page is stale", TEN, stale)?;
    // A server that refuses the event stream, such as a page that is off: browsers do not retry.
    scene.program = Program::start_at(scene.folder.path(), &at, &["--public", "off"]);
    std::thread::sleep(Duration::from_secs(6));
    scene.program.signal("KILL");
    scene.program = Program::start_at(scene.folder.path(), &at, &[]);
    scene.daemon().health("node-002", NodeHealth::Down);
    until(&scene.browser, "it is live again", TEN, &health("node-002", "down"))?;
    ensure(
        "by itself",
        scene.browser.run("return window.never_reloaded === true", json!([]))? == true,
    )
}

fn shared() -> Vec<Share> {
    let usb = Share {
        name: "usb".into(),
        path: "/mnt/usb".into(),
        access: "rw".into(),
        clients: vec!["node-001".into(), "node-003".into()],
        errors: Some(3),
        exported: true,
        free_percent: Some(42),
        mounted: true,
        read_only: Some(false),
    };
    let gone = Share {
        name: "archive".into(),
        path: "/mnt/archive".into(),
        access: "ro".into(),
        ..Share::default()
    };
    vec![usb, gone]
}

fn shares() -> Result<()> {
    let mut snapshot = cluster(3);
    snapshot.shares = shared();
    let scene = Scene::new(snapshot, Look { width: 390, ..Look::default() })?;
    let text = |selector: &str| {
        let script = format!("return document.querySelector(`{selector}`)?.innerText ?? ''");
        scene.browser.run(&script, json!([])).map(|text| text.as_str().unwrap_or("").to_owned())
    };
    let usb = text("[data-share=usb]")?;
    for wanted in ["in service", "/mnt/usb", "42 % free", "errors: 3", "node-001, node-003"] {
        ensure(format!("{wanted} in {usb}"), usb.contains(wanted))?;
    }
    let archive = text("[data-share=archive]")?;
    ensure(archive.clone(), archive.contains("not plugged in"))?;
    scene.browser.run("document.querySelector('#shares').scrollIntoView()", json!([]))?;
    keep(&scene.browser, "shares-phone")?;
    let waiting =
        Shutdown { head: true, left_s: 20, waiting: vec!["node-003".into()], waiting_total: 1 };
    scene.daemon().change(Change { shutdown: Some(Some(waiting)), ..Change::default() });
    let ending =
        "return document.querySelector('#state').innerText.includes('Still up: 1 (node-003)')";
    until(&scene.browser, "the shutdown is seen", Duration::from_secs(5), ending)?;
    scene.browser.run("scrollTo(0, 0)", json!([]))?;
    keep(&scene.browser, "shutdown-phone")?;
    // A removed share leaves no empty frame.
    scene.daemon().change(Change { shares: Some(Vec::new()), ..Change::default() });
    let hidden = "return document.querySelector('#shares').offsetHeight === 0";
    until(&scene.browser, "without shares there is no frame", Duration::from_secs(5), hidden)
        .map(drop)
}

/// The path where `scripts/axe.sh` puts it.
const AXE: &str = "target/axe-core/axe.min.js";

/// Checks the current page with axe-core, at both widths, light and dark.
fn look_over(browser: &Browser, what: &str) -> Result<()> {
    const SCRIPT: &str = "const done = arguments[0]; axe.run().then(r => done([r.passes.length, r.violations.map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 150) + ' ' + n.failureSummary)])]), e => done(String(e)))";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE);
    let axe = std::fs::read_to_string(path)
        .map_err(|error| Error(format!("{AXE}: {error}; make web-test brings it")))?;
    browser.run(&axe, json!([]))?;
    for (width, window) in [(390, "phone"), (1280, "desktop")] {
        for (dark, colours) in [(false, "light"), (true, "dark")] {
            browser.look(Look { width, dark, script: true })?;
            let found = browser.run_later(SCRIPT, json!([]))?;
            println!("axe-core, {what}, {window}, {colours}: {} rules passed", found[0]);
            ensure(
                format!("{what}, {window}, {colours}: {:#}", found[1]),
                found[1] == json!([]) && found[0].as_u64() > Some(10),
            )?;
        }
    }
    Ok(())
}

fn axe() -> Result<()> {
    for nodes in [3, 750, 10_000] {
        let mut snapshot = crowded(nodes);
        snapshot.shares = shared();
        let scene = Scene::new(snapshot, Look::default())?;
        if nodes == 10_000 {
            scene.browser.click("#nodes details:nth-of-type(2) summary")?;
            let there = "return document.querySelectorAll('#nodes [data-node]').length >= 250";
            until(&scene.browser, "a group opens", Duration::from_secs(5), there)?;
        }
        look_over(&scene.browser, &format!("{nodes} nodes"))?;
    }
    Ok(())
}

/// The summary, other heads, the stale page, the log-in, its refusal and the page after it.
fn axe_elsewhere() -> Result<()> {
    const FIVE: Duration = Duration::from_secs(5);
    let scene = Scene::with(crowded(40), Look::default(), &["--public", "summary"])?;
    look_over(&scene.browser, "summary")?;
    drop(scene);

    // One head that answers, one that does not.
    let other = Scene::new(cluster(5), Look::default())?;
    let (there, gone) = (other.url(), "http://127.0.0.1:9");
    let heads = ["--head", there.trim_end_matches('/'), "--head", gone];
    let scene = Scene::with(crowded(40), Look::default(), &heads)?;
    let both = "return document.querySelectorAll('[data-head]').length === 2 && !!document.querySelector('.gone .lost') && !!document.querySelector('[data-head]:not(.gone) .severity')";
    until(&scene.browser, "both heads are on the page", Duration::from_secs(10), both)?;
    look_over(&scene.browser, "heads")?;
    scene.browser.run("document.querySelector('#heads').scrollIntoView()", json!([]))?;
    keep(&scene.browser, "heads")?;
    scene.browser.look(Look { width: 390, ..Look::default() })?;
    scene.browser.run("document.querySelector('#heads').scrollIntoView()", json!([]))?;
    keep(&scene.browser, "heads-phone")?;
    let fits = scene.browser.run(FITS, json!([]))?;
    ensure("it fits on a phone", fits == true)?;
    scene.program.signal("STOP");
    let stale = until(
        &scene.browser,
        "the page is stale",
        FIVE,
        "return document.body.classList.contains('stale')",
    )
    .and_then(|_| look_over(&scene.browser, "stale"));
    scene.program.signal("CONT");
    stale?;
    drop(scene);

    let scene =
        Scene::with(cluster(3), Look { width: 390, ..Look::default() }, &["--public", "off"])?;
    look_over(&scene.browser, "log-in")?;
    scene.browser.look(Look { width: 390, ..Look::default() })?;
    keep(&scene.browser, "log-in-phone")?;
    scene.browser.type_into("input[type=password]", "wrong")?;
    scene.browser.click("form[action='/login'] button")?;
    until(
        &scene.browser,
        "it is refused",
        FIVE,
        "return !!document.querySelector('[role=alert]')",
    )?;
    look_over(&scene.browser, "log-in refused")?;
    scene.browser.look(Look { width: 390, ..Look::default() })?;
    keep(&scene.browser, "log-in-refused-phone")?;
    scene.browser.type_into("input[type=password]", PASSWORD)?;
    scene.browser.click("form[action='/login'] button")?;
    let inside = "return !!document.querySelector(\"form[action='/orders']\")";
    until(&scene.browser, "logged in", FIVE, inside)?;
    look_over(&scene.browser, "logged in")?;
    scene.browser.look(Look { width: 390, ..Look::default() })?;
    scene.browser.run("document.querySelector('footer').scrollIntoView(false)", json!([]))?;
    keep(&scene.browser, "logged-in-phone").map(drop)
}
